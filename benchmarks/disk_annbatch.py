"""annbatch as a peer of `disk.py`: its shuffled copy of the rows, and zarrs.

Twice: with the chunks that its README shows, and with the defaults of its loader,
which are larger and, over a shuffled copy, mix as well. Needs Python 3.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NEEDS = "annbatch", "zarrs"
CHUNKS = {"annbatch, as in its README": (32, 256), "annbatch, defaults": (512, 32)}
"""Rows in a chunk, and chunks that are loaded at a time."""


def write(path: Path, h5ad: Path) -> None:
    """Writes the collection that annbatch reads: the rows of an .h5ad, shuffled."""
    import anndata
    import pandas as pd

    def load(source: Any) -> Any:
        x = anndata.read_h5ad(source).X
        numbers = pd.DataFrame({"row": np.arange(x.shape[0])})
        numbers.index = numbers.index.astype(str)
        return anndata.AnnData(x, obs=numbers)

    _collection(path, "a").add_adatas([str(h5ad)], load_adata=load)


def batches(name: str, path: Path, batch_size: int) -> Iterator[int]:
    """Yields 0, then the number of rows of each batch."""
    loader = _loader(name, path, batch_size, numbered=False)
    yield 0
    for batch in loader:
        yield batch["X"].shape[0]


def order(name: str, path: Path, batch_size: int) -> npt.NDArray[np.int64]:
    """The row ids of an epoch."""
    loader = _loader(name, path, batch_size, numbered=True)
    return np.concatenate([batch["obs"]["row"].to_numpy() for batch in loader])


def _collection(path: Path, mode: Any) -> Any:
    import annbatch
    import zarr

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return annbatch.DatasetCollection(zarr.open_group(path, mode=mode))


def _loader(name: str, path: Path, batch_size: int, numbered: bool) -> Any:
    import annbatch
    import anndata

    def load(group: Any) -> Any:
        x = anndata.io.sparse_dataset(group["X"])
        # Columns that nobody asks for would cost it time.
        obs = anndata.io.read_elem(group["obs"])[["row"]] if numbered else None
        return anndata.AnnData(x, obs=obs)

    chunk, chunks = CHUNKS[name]
    loader = annbatch.Loader(
        batch_size=batch_size,
        chunk_size=chunk,
        preload_nchunks=chunks,
        shuffle=True,
        to=None,
    )
    return loader.use_collection(_collection(path, "r"), load_adata=load)

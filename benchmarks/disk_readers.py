"""What `disk.py` measures: the same rows in four kinds of files, and their readers.

What a peer needs is imported when it is measured, and named if it is missing.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import disk_annbatch
import feeds  # first: it tells TensorFlow to be quiet
import numpy as np
import scipy.sparse as sp
from shapes import CLASSES, Shape

from sequence_loader import (
    BlockShuffleSampler,
    ShuffleSampler,
    SparseBatchSequence,
    StoreWriter,
    open_store,
)
from sequence_loader.store.dtypes import index_dtype

WARM, COLD, CAPPED = "warm", "cold", "capped"
MEMORY, STORE, WINDOWS = "in memory", "store", "store, windows"
MEMMAP, SCDATASET = "scipy over memmaps", "scDataset, h5ad"
BLOCK, FETCHED = 16, 64
"""Neighbouring rows in a block, and batches that are mixed together."""

CAP = 8
"""The memory of the capped readers is the bytes of the store divided by this."""

ARRAYS = ("data", "indices", "indptr")
Order = Callable[[], feeds.Rows]


@dataclass(frozen=True)
class Data:
    """Rows sorted by class, on disk; see `write`.

    Attributes:
        shape: What they look like.
        rows: How many.
        folder: Where the files are.
    """

    shape: Shape
    rows: int
    folder: Path

    @property
    def labels(self) -> feeds.Rows:
        """int64 array of shape (rows,): the class of each row."""
        return np.arange(self.rows) * CLASSES // self.rows

    def row_bytes(self, kind: str) -> int:
        """Bytes of the values and indices of a row in files of one kind."""
        values = np.dtype(np.float32)
        indices = np.dtype(np.int32)
        if kind == "store":
            indices = index_dtype(self.shape.features, values)
        return self.shape.per_row * (values.itemsize + indices.itemsize)

    @property
    def memory(self) -> int:
        """Bytes that the windows of the store may have."""
        return self.rows * self.row_bytes("store") // CAP

    def files(self, kind: str) -> list[Path]:
        """The files of one kind: ``store``, ``plain``, ``h5ad``, ``tfrecord``, ..."""
        path = self.path(kind)
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        return [file for file in inside if file.is_file()]

    def path(self, kind: str) -> Path:
        """A file, or the directory of several."""
        # What --folder keeps may have been written by another release.
        version = f"{self.row_bytes(kind)}-bytes"
        return self.folder / f"{self.shape.name}-{self.rows}-{version}.{kind}"

    def write(self) -> None:
        """Writes what is not there yet."""
        kinds: dict[str, Callable[[Path, sp.csr_array, feeds.Rows], None]] = {
            "store": _write_store,
            "plain": _write_plain,
            "tfrecord": feeds.write_tfrecord,
        }
        if find_spec("anndata"):
            kinds["h5ad"] = _write_h5ad
        if all(map(find_spec, disk_annbatch.NEEDS)):
            h5ad = self.path("h5ad")
            kinds["annbatch"] = lambda path, x, y: disk_annbatch.write(path, h5ad)
        missing = [kind for kind in kinds if not self.path(kind).exists()]
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        x, _ = self.shape.matrix(self.rows)
        for kind in missing:
            # Written under another name: what is there is whole.
            part = self.path(kind).with_suffix(f".{kind}.part")
            if part.is_dir():
                shutil.rmtree(part)
            kinds[kind](part, x, self.labels)
            part.rename(self.path(kind))


def _write_store(path: Path, x: sp.csr_array, y: feeds.Rows) -> None:
    with StoreWriter(path, x.shape[1]) as writer:
        writer.append(x, y=y)


def _write_plain(path: Path, x: sp.csr_array, y: feeds.Rows) -> None:
    path.mkdir()
    for name in ARRAYS:
        np.save(path / f"{name}.npy", getattr(x, name))


def _write_h5ad(path: Path, x: sp.csr_array, y: feeds.Rows) -> None:
    import anndata

    anndata.AnnData(sp.csr_matrix(x)).write_h5ad(path)


@dataclass(frozen=True)
class Reader:
    """One way to read batches.

    Attributes:
        name: What it is called.
        batches: Yields 0 where an epoch begins, then the number of rows of each
            batch. Who maps files reads two epochs: the first pays for the mapping.
        order: The row ids of an epoch, an int64 array.
        kind: Which files it reads, or ``""``.
        states: The states of the page cache in which it is measured.
        needs: Packages that must be installed.
    """

    name: str
    batches: Callable[[], Iterator[int]]
    order: Order
    kind: str = "store"
    states: tuple[str, ...] = (WARM, COLD)
    needs: tuple[str, ...] = ()


def ours(data: Data, batch: int, output: str) -> list[Reader]:
    """Our sequence over memory and over the store, in both orders."""
    samplers = {
        "uniform": ShuffleSampler(1),
        "block": BlockShuffleSampler(1, BLOCK, FETCHED * batch // BLOCK),
    }
    kinds = {MEMORY: (WARM,), STORE: (WARM, COLD), WINDOWS: (COLD, CAPPED)}
    return [
        Reader(
            f"{name}, {order}",
            partial(_ours, data, batch, output, name, sampler),
            partial(sampler.rows, data.rows, 0, 0, data.rows),
            states=states,
        )
        for name, states in kinds.items()
        for order, sampler in samplers.items()
        # Of windows in uniform order the sequence itself says what is wrong.
        if (name, order) != (WINDOWS, "uniform")
    ]


def _ours(data: Data, batch: int, output: str, *how: Any) -> Iterator[int]:
    name, sampler = how
    path = data.path("store")
    memory = data.memory if name == WINDOWS else 2 * CAP * data.memory
    with open_store(path, memory=memory) as store:
        x: Any = store
        if name == MEMORY:
            arrays = [np.load(path / f"{array}.npy") for array in ARRAYS]
            arrays[2] = arrays[2].astype(np.int32)
            x = sp.csr_array(tuple(arrays), shape=store.shape)
        sequence = SparseBatchSequence(
            x, store.y, batch_size=batch, sampler=sampler, output=output
        )
        for epoch in range(2):
            sequence.set_epoch(epoch)
            yield 0
            for features, _ in sequence:
                yield features.shape[0]


def peers(data: Data, batch: int) -> list[Reader]:
    """What else there is; all but AnnLoader make sparse batches."""
    uniform = partial(np.random.default_rng(1).permutation, data.rows)
    blocks = partial(_scdataset_order, data, batch)
    streamed = partial(_tfrecord_order, data)
    copied = data.path("annbatch"), batch
    every, h5py = (WARM, COLD, CAPPED), ("anndata", "h5py")
    torch, scdataset = (*h5py, "torch"), (*h5py, "torch", "scdataset")

    def peer(name: str, read: Callable[..., Iterator[int]], *rest: Any) -> Reader:
        return Reader(name, partial(read, data, batch), *rest)

    h5ad, whole = partial(_scdataset, "h5ad"), partial(_scdataset, "AnnCollection")
    shuffled, ordered = partial(_memmap, uniform), partial(_h5py, uniform)
    return [
        peer(MEMMAP, shuffled, uniform, "plain"),
        peer("TFRecord, shuffle(10000)", _tfrecord, streamed, "tfrecord", every),
        peer(SCDATASET, h5ad, blocks, "h5ad", every, scdataset),
        peer("scDataset, AnnCollection", whole, blocks, "h5ad", every, scdataset),
        peer("h5py, sorted reads", ordered, uniform, "h5ad", every, h5py),
        peer("AnnLoader (dense)", _annloader, uniform, "h5ad", (WARM, COLD), torch),
        *(
            Reader(
                name,
                partial(disk_annbatch.batches, name, *copied),
                partial(disk_annbatch.order, name, *copied),
                "annbatch",
                every,
                disk_annbatch.NEEDS,
            )
            for name in disk_annbatch.CHUNKS
        ),
    ]


def _memmap(order: Order, data: Data, batch: int) -> Iterator[int]:
    folder, rows = data.path("plain"), order()
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
    x = sp.csr_array(tuple(arrays), shape=(data.rows, data.shape.features))
    for _ in range(2):
        yield 0
        for start in range(0, data.rows, batch):
            yield x[rows[start : start + batch]].shape[0]


def _tfrecord(data: Data, batch: int) -> Iterator[int]:
    dataset = feeds.tfrecord_dataset(
        data.path("tfrecord"), data.shape.features, batch, "sparse"
    )
    yield 0
    for features, _ in dataset:
        yield features.shape[0]


def _tfrecord_order(data: Data) -> feeds.Rows:
    dataset = feeds.tf.data.Dataset.range(data.rows).shuffle(10_000)
    (rows,) = dataset.batch(data.rows).as_numpy_iterator()
    return rows


def _scdataset(over: str, data: Data, batch: int) -> Iterator[int]:
    import anndata
    from anndata.experimental import AnnCollection

    opened = anndata.read_h5ad(data.path("h5ad"), backed="r")
    # Rows are taken from X itself, in both: whole AnnData objects take it longer.
    if over == "AnnCollection":
        dataset = _shuffled(AnnCollection([opened]), batch, lambda x, rows: x[rows].X)
    else:
        dataset = _shuffled(opened, batch, lambda x, rows: x.X[rows])
    try:
        yield 0
        for features in dataset:
            yield features.shape[0]
    finally:
        opened.file.close()


def _scdataset_order(data: Data, batch: int) -> feeds.Rows:
    return np.concatenate(list(_shuffled(np.arange(data.rows), batch, None)))


def _shuffled(collection: Any, batch: int, fetch: Any) -> Any:
    from scdataset import BlockShuffling, scDataset

    return scDataset(
        collection,
        BlockShuffling(block_size=BLOCK),
        batch_size=batch,
        fetch_factor=FETCHED,
        fetch_callback=fetch,
        seed=1,
    )


def _h5py(order: Order, data: Data, batch: int) -> Iterator[int]:
    import h5py

    rows = order()
    with h5py.File(data.path("h5ad")) as file:
        values, columns = file["X/data"], file["X/indices"]
        indptr = file["X/indptr"][:]
        yield 0
        for start in range(0, data.rows, batch):
            wanted = np.sort(rows[start : start + batch])
            spans = [slice(indptr[row], indptr[row + 1]) for row in wanted.tolist()]
            taken = [
                np.concatenate([array[span] for span in spans])
                for array in (values, columns)
            ]
            ends = np.cumsum([0, *(span.stop - span.start for span in spans)])
            shape = len(wanted), data.shape.features
            yield sp.csr_array((*taken, ends), shape=shape).shape[0]


def _annloader(data: Data, batch: int) -> Iterator[int]:
    import anndata
    from anndata.experimental.pytorch import AnnLoader

    opened = anndata.read_h5ad(data.path("h5ad"), backed="r")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and used all the same
        loader = AnnLoader([opened], batch_size=batch, shuffle=True)
    try:
        yield 0
        for features in loader:
            yield features.X.shape[0]
    finally:
        opened.file.close()

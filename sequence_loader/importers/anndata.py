"""AnnData files, ``.h5ad`` and zarr, as a source of rows.

anndata reads names and labels. The matrix is read as anndata's documented layout
says, in slices: its own backed mode keeps `indptr` in memory, and reads layers whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.importers.labels import class_places
from sequence_loader.importers.row_sort import entry_bytes, rows_of_entries
from sequence_loader.importers.source import (
    Advance,
    Block,
    Source,
    SourceError,
    check_real_values,
    reading,
    required,
)
from sequence_loader.importers.streams import csc_entries, csr_blocks

KIND = "AnnData"
DENSE_BYTES = 1 << 22
"""Bytes of a dense matrix in a block: finding its values takes ten times as much."""
CHUNK_BLOCKS = 16
"""Blocks in a chunk of HDF5 or zarr that is still read as one."""


def read_anndata(
    paths: Sequence[Path],
    scratch: Path,
    *,
    layer: str | None = None,
    label_column: str | None = None,
    class_names: tuple[str, ...] | None = None,
) -> list[Source]:
    """Opens AnnData files; observations are rows, `var_names` the feature names.

    Args:
        paths: ``.h5ad`` files, or directories of zarr.
        scratch: Directory for the temporary files of a CSC matrix.
        layer: A layer to read instead of `X`.
        label_column: A column of `obs` for `y`: numbers as they are; categories
            and text as integers, with the classes of all files as `class_names`.
        class_names: The names to look classes up in; by default those of all files,
            in the order in which they list them.

    Raises:
        ImportError: anndata, or zarr, is missing.
        SourceError: A file is damaged, or lacks what was asked for.
        ValueError: `class_names` lacks a class.
    """
    required("anndata", "anndata", "reading AnnData files")
    sources, labels = [], []
    for path in paths:
        with reading(path, KIND), _opened(path) as file:
            labels.append(_labels(file, path, label_column))
            sources.append(_source(file, path, scratch, layer))
    targets, classes = _coded(labels, class_names)
    return [
        replace(source, blocks=_with(source, y), class_names=classes)
        for source, y in zip(sources, targets)
    ]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.is_dir():
        zarr = required("zarr", "anndata", "reading zarr")
        yield zarr.open_group(str(path), mode="r")
    else:
        with required("h5py", "anndata", "reading .h5ad").File(path, "r") as file:
            yield file


def _element(file: Any, path: Path, name: str) -> Any:
    """A part of the file by its path inside it, or an error that lists the others."""
    parent, _, child = name.rpartition("/")
    group = file[parent] if parent else file
    if child not in group:
        others = ", ".join(sorted(group)[:20])
        known = f"{others}. Pass a name that it has" if others else "none. Leave it out"
        raise SourceError(f"{path} has no {name!r}; it has {known}.")
    return group[child]


def _read_elem(element: Any) -> Any:
    try:
        from anndata.io import read_elem
    except ImportError:  # before 0.11
        from anndata.experimental import read_elem
    try:
        return read_elem(element)
    except Exception as error:  # anndata's own is of no type of this world
        if type(error).__name__ != "IORegistryError":
            raise
        raise ValueError(str(error)) from error


def _source(file: Any, path: Path, scratch: Path, layer: str | None) -> Source:
    if layer is not None and "layers" not in file:
        raise SourceError(f"{path} has no layers. Leave `layer` out.")
    where = "X" if layer is None else f"layers/{layer}"
    matrix = _element(file, path, where)
    kind = matrix.attrs.get("encoding-type", "array")
    if kind in ("csr_matrix", "csc_matrix"):
        shape = tuple(map(int, matrix.attrs["shape"]))
        dtype, count = matrix["data"].dtype, int(matrix["data"].shape[0])
        work = count * (dtype.itemsize + matrix["indices"].dtype.itemsize)
    elif kind == "array" and hasattr(matrix, "dtype") and len(matrix.shape) == 2:
        shape, dtype = tuple(map(int, matrix.shape)), matrix.dtype
        work = shape[0] * shape[1] * dtype.itemsize
    else:
        raise SourceError(
            f"{path} has a {where} of encoding {kind!r}, which is not read. Write it "
            f"again with a current anndata, as csr_matrix, csc_matrix or an array."
        )
    check_real_values(f"{path}: {where}", dtype)
    size = (shape[0], shape[1])
    if kind == "csc_matrix":
        work = 2 * count * entry_bytes(size, dtype)
    var = _element(file, path, "var")
    names = _read_elem(var[var.attrs["_index"]])

    def blocks(advance: Advance) -> Generator[Block]:
        with reading(path, KIND), _opened(path) as again:
            found = _element(again, path, where)
            if kind == "array":
                yield from _dense(found, size, advance)
                return
            major = size[0 if kind == "csr_matrix" else 1]
            if found["indptr"].shape != (major + 1,):
                raise ValueError(f"`indptr` must have {major + 1} entries")
            report = advance if kind == "csr_matrix" else None
            indptr = _Stream(found["indptr"], None)
            rest = _Stream(found["indices"], report), _Stream(found["data"], report)
            if kind == "csr_matrix":
                rows = csr_blocks(indptr, *rest, size[1])
            else:
                entries = csc_entries(indptr, *rest)
                rows = rows_of_entries(entries, size, count, scratch, advance)
            for block in rows:
                yield Block(block)

    return Source(
        str(path), size[1], dtype, blocks, work, tuple(str(name) for name in names)
    )


def _dense(matrix: Any, shape: tuple[int, int], advance: Advance) -> Generator[Block]:
    row_bytes = max(1, shape[1] * matrix.dtype.itemsize)
    block = max(1, DENSE_BYTES // row_bytes)
    # Whole chunks, where they are not huge: one is decompressed for any row of it.
    chunk = (matrix.chunks or (1,))[0]
    step = max(block - block % chunk, min(chunk, block * CHUNK_BLOCKS))
    for start in range(0, shape[0], step):
        rows = np.asarray(matrix[start : start + step])
        for first in range(0, len(rows), block):
            yield Block(rows[first : first + block])
        advance(rows.nbytes)


class _Stream:
    """A dataset of HDF5 or zarr, read along its first axis."""

    def __init__(self, dataset: Any, advance: Advance | None) -> None:
        self._dataset, self._advance = dataset, advance
        self._position = 0
        self.shape: tuple[int, ...] = tuple(dataset.shape)

    def read(self, count: int) -> Array:
        """The next `count` entries."""
        start, self._position = self._position, self._position + count
        found: Array = np.asarray(self._dataset[start : self._position])
        if len(found) != count:
            raise ValueError(f"{self._dataset.name} is too short")
        if self._advance is not None:
            self._advance(found.nbytes)
        return found


def _labels(file: Any, path: Path, column: str | None) -> Any:
    """The column of `obs`: a pandas Categorical for classes, an array for numbers."""
    if column is None:
        return None
    import pandas

    values = _read_elem(_element(file, path, f"obs/{column}"))
    missing = int(np.asarray(pandas.isna(values)).sum())
    if missing:
        raise SourceError(
            f"{path} has {missing} missing values in obs[{column!r}], and a label must "
            f"be known for each row. Remove those rows, or give them a class."
        )
    if isinstance(values, pandas.Categorical):
        return values
    if not pandas.api.types.is_numeric_dtype(values):
        return pandas.Categorical(np.asarray(values, object).astype(str))
    return np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)


def _coded(
    labels: list[Any], class_names: tuple[str, ...] | None
) -> tuple[list[Any], tuple[str, ...] | None]:
    """Labels of all files as numbers: their places among the names of classes."""
    if not any(hasattr(each, "categories") for each in labels):
        return labels, None
    for each in labels:
        if not hasattr(each, "categories"):
            raise SourceError(
                "the label column must hold classes in all files or in none. Convert "
                "it to one kind."
            )
    if class_names is None:
        listed = [str(name) for each in labels for name in each.categories]
        class_names = tuple(dict.fromkeys(listed))
    coded = []
    for each in labels:
        names = [str(name) for name in each.categories]
        used = np.unique(np.asarray(each.codes))
        places = np.zeros(len(names), np.int32)
        places[used] = class_places([names[code] for code in used], class_names)
        coded.append(places[np.asarray(each.codes)])
    return coded, class_names


def _with(source: Source, y: Any) -> Callable[[Advance], Generator[Block]]:
    """The blocks of `source`, each with its part of `y`."""

    def blocks(advance: Advance) -> Generator[Block]:
        first = 0
        for block in source.blocks(advance):
            stop = first + block.num_rows
            yield replace(block, y=None if y is None else y[first:stop])
            first = stop
        if y is not None and first != len(y):
            raise SourceError(
                f"{source.name} has {first} rows and {len(y)} labels. Write it again."
            )

    return blocks

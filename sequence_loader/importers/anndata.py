"""AnnData files, ``.h5ad`` and zarr, as a source of rows.

They are read as anndata's documented layout says, those of anndata 0.7 as well, in
slices: anndata's own backed mode keeps `indptr` in memory, and reads layers whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.importers.anndata_columns import check_known, coded, column
from sequence_loader.importers.containers import (
    Stream,
    attribute,
    element,
    is_group,
    names,
    opened,
    warn_of_lost_chunks,
)
from sequence_loader.importers.labels import Named, named
from sequence_loader.importers.row_sort import entry_bytes, rows_of_entries
from sequence_loader.importers.source import (
    Advance,
    Block,
    Source,
    SourceError,
    check_real_values,
    reading,
)
from sequence_loader.importers.streams import csc_entries, csr_blocks

KIND = "AnnData"
RAW = ("raw/X", "raw.X")
"""How `layer` names the matrix of `raw`, unless a layer has that name."""
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
    missing_labels: str = "refuse",
    classes: bool = False,
) -> list[Source]:
    """Opens AnnData files; observations are rows, `var_names` the feature names.

    Args:
        paths: ``.h5ad`` files, or directories of zarr.
        scratch: Directory for the temporary files of a CSC matrix.
        layer: A layer to read instead of `X`, or ``raw/X``, whose columns are those
            of ``raw.var``.
        label_column: A column of `obs` for `y`: numbers as they are; categories
            and text as integers, with the classes of all files as `class_names`.
        class_names: The names to look classes up in; by default those of all files,
            in the order in which they list them.
        missing_labels: ``"refuse"``, or what leaves them to the writer.
        classes: Whether numbers are classes, too.

    Raises:
        ImportError: zarr is missing.
        SourceError: A file is damaged, or lacks what was asked for.
        ValueError: `class_names` lacks a class.
    """
    sources: list[Source] = []
    labels: list[Any] = []
    for path in paths:
        with reading(path, KIND), opened(path) as file:
            _check_version(file, path)
            sources.append(_source(file, path, scratch, layer))
            labels.append(None)
            if label_column is not None:
                found = column(file, path, "obs", label_column)
                is_named = isinstance(found, Named)
                labels[-1] = found if is_named else named(found, numbers=classes)
                if missing_labels == "refuse":
                    check_known(labels[-1], path, label_column, class_names or ())
    targets, class_names = coded(paths, labels, class_names)
    return [
        replace(source, blocks=_with(source, y), class_names=class_names)
        for source, y in zip(sources, targets)
    ]


def _check_version(file: Any, path: Path) -> None:
    """Raises SourceError for files from before tables were groups of columns."""
    tables = [file[name] for name in ("obs", "var") if name in file]
    matrix = file["X"] if "X" in file else None
    old = matrix is not None and "h5sparse_format" in matrix.attrs
    if old or not all(map(is_group, tables)):
        kind = "zarr" if path.is_dir() else "h5ad"
        raise SourceError(
            f"{path} was written by anndata before 0.7, in a layout that is not read. "
            f"Write it again: anndata.read_{kind}(p).write_{kind}(q)."
        )


def _source(file: Any, path: Path, scratch: Path, layer: str | None) -> Source:
    where = _place(file, path, layer)
    matrix = element(file, path, where)
    kind = attribute(matrix, "encoding-type", "array")
    if kind in ("csr_matrix", "csc_matrix"):
        shape = tuple(map(int, matrix.attrs["shape"]))
        dtype, count = matrix["data"].dtype, int(matrix["data"].shape[0])
        work = count * (dtype.itemsize + matrix["indices"].dtype.itemsize)
    elif kind == "array" and not is_group(matrix) and len(matrix.shape) == 2:
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
    table = "raw/var" if where == "raw/X" else "var"
    genes = tuple(_names(file, path, table))
    if len(genes) != size[1]:
        raise ValueError(
            f"{where} has {size[1]} columns, and there are {len(genes)} names of them"
        )

    def row_names() -> list[str]:
        with reading(path, KIND), opened(path) as again:
            return _names(again, path, "obs")

    def blocks(advance: Advance) -> Generator[Block]:
        with reading(path, KIND), opened(path) as again:
            found = element(again, path, where)
            if kind == "array":
                yield from _dense(found, size, advance)
                return
            major = size[0 if kind == "csr_matrix" else 1]
            if found["indptr"].shape != (major + 1,):
                raise ValueError(f"`indptr` must have {major + 1} entries")
            report = advance if kind == "csr_matrix" else None
            for name in ("indices", "data"):
                warn_of_lost_chunks(found[name], path)
            indptr = Stream(found["indptr"])
            rest = Stream(found["indices"], report), Stream(found["data"], report)
            if kind == "csr_matrix":
                rows = csr_blocks(indptr, *rest, size[1])
            else:
                entries = csc_entries(indptr, *rest)
                rows = rows_of_entries(entries, size, count, scratch, advance)
            for block in rows:
                yield Block(block)

    source = Source(str(path), size[1], dtype, blocks, work, genes)
    return replace(source, row_names=row_names) if "obs" in file else source


def _names(file: Any, path: Path, table: str) -> list[str]:
    """What the index of a table holds, as texts."""
    index = attribute(element(file, path, table), "_index", "_index")
    return [str(name) for name in column(file, path, table, index)]


def _place(file: Any, path: Path, layer: str | None) -> str:
    """Where `X`, a layer, or the matrix of `raw` is in the file."""
    layers = file["layers"] if "layers" in file else {}
    raw = "raw" in file and is_group(file["raw"]) and "X" in file["raw"]
    others = [*names(layers)[:20], *["raw/X"] * raw]
    if layer is None:
        if "X" in file and attribute(file["X"], "encoding-type") != "null":
            return "X"
        mend = f"Pass {argument('layer', others[0])}" if others else "Write it again"
        raise SourceError(f"{path} has no 'X'; it has "
                          f"{', '.join(others) or 'no layers'}. {mend}.")
    if layer in layers:
        return f"layers/{layer}"
    if layer in RAW and raw:
        return "raw/X"
    known = f"{', '.join(others)}. Pass one of them"
    if not others:
        known = f"none. Leave {argument('layer')} out"
    raise SourceError(f"{path} has no layer {layer!r}; it has {known}.")


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

"""What ``scipy.sparse.save_npz`` wrote, as a source of rows.

A ``.npz`` is a zip of ``.npy`` files. They are read side by side as streams,
compressed or not, and zip's checksums are checked on the way. CSR and BSR come in
the order of their rows; CSC, COO and DIA do not, and are sorted on disk (`entries`).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.lib import format as npy

from sequence_loader.arrays import Array
from sequence_loader.importers.row_sort import Entries, entry_bytes, rows_of_entries
from sequence_loader.importers.source import (
    Advance,
    Block,
    Source,
    SourceError,
    check_real_values,
    reading,
)
from sequence_loader.importers.streams import csc_entries, csr_blocks, runs
from sequence_loader.store.blocks import WRITE_PIECE_VALUES

KIND = ".npz"
FORMATS = ("csr", "csc", "coo", "bsr", "dia")


def read_npz(paths: Sequence[Path], scratch: Path) -> list[Source]:
    """Opens files of ``scipy.sparse.save_npz``.

    Args:
        paths: The files.
        scratch: Directory for the temporary files of formats that are not in the
            order of their rows: as many entries of (row, column, value) as there
            are values.

    Raises:
        SourceError: A file is damaged, or holds something else.
        TypeError: The values are not real numbers.
    """
    return [_read(path, scratch) for path in paths]


def _read(path: Path, scratch: Path) -> Source:
    # Not with np.load, which does not close a file that is no whole zip.
    with reading(path, KIND), _Archive(path) as archive:
        if "format" not in archive or "shape" not in archive:
            raise SourceError(
                f"{path} holds {', '.join(archive.names()[:5])} and not a sparse "
                f"matrix. Write it with scipy.sparse.save_npz."
            )
        kind = archive.stream("format").values(1)[0]
        kind = kind.decode("ascii") if isinstance(kind, bytes) else str(kind)
        sizes = archive.stream("shape")
        shape = tuple(sizes.values(sizes.size).tolist())
        if kind not in FORMATS or len(shape) != 2:
            rows = "" if len(shape) == 2 else "reshape((rows, -1))."
            raise SourceError(
                f"{path} must hold a matrix of format {', '.join(FORMATS)}; it has "
                f"format {kind!r} and shape {shape}. Save its {rows}tocsr()."
            )
        if "fill_value" in archive:  # of the package sparse, which tells formats, too
            (gaps,) = archive.stream("fill_value").values(1)
            if gaps != 0:
                raise SourceError(
                    f"{path} must hold a matrix whose gaps are zeros; its fill_value "
                    f"is {gaps}. Save scipy.sparse.csr_array(matrix.todense())."
                )
        data = archive.stream("data")
        work = archive.size
    check_real_values(str(path), data.dtype)
    found = _Matrix(path, kind, (shape[0], shape[1]), scratch)
    if kind in ("csc", "coo", "dia"):
        work = 2 * data.size * entry_bytes(found.shape, data.dtype)
    return Source(str(path), shape[1], data.dtype, found.blocks, work)


@dataclass(frozen=True)
class _Matrix:
    """A matrix in a file, by its description."""

    path: Path
    kind: str
    shape: tuple[int, int]
    scratch: Path

    def blocks(self, advance: Advance) -> Generator[Block]:
        """Its rows, from first to last."""
        with reading(self.path, KIND), _Archive(self.path) as archive:
            if self.kind in ("csr", "bsr"):
                archive.advance = advance
                rows = self._csr(archive) if self.kind == "csr" else self._bsr(archive)
            else:
                rows = rows_of_entries(
                    _ENTRIES[self.kind](archive, self.shape),
                    self.shape,
                    archive.stream("data").size,
                    self.scratch,
                    advance,
                )
            for block in rows:
                yield Block(block)
            archive.check_ends()

    def _csr(self, archive: _Archive) -> Iterator[Any]:
        indptr = archive.stream("indptr", (self.shape[0] + 1,))
        streams = archive.stream("indices"), archive.stream("data")
        return csr_blocks(indptr, *streams, self.shape[1])

    def _bsr(self, archive: _Archive) -> Iterator[Any]:
        indices, data = archive.stream("indices"), archive.stream("data")
        block = data.shape[1:]
        if len(block) != 2 or 0 in block or self.shape[0] % block[0]:
            raise ValueError(f"`data` has shape {data.shape}, which makes no BSR")
        indptr = archive.stream("indptr", (self.shape[0] // block[0] + 1,))
        stored = min(indices.shape[0], data.shape[0])
        most = max(1, WRITE_PIECE_VALUES // math.prod(block))
        for _, ends in runs(indptr, stored, most):
            count = int(ends[-1] - ends[0])
            values = data.read(count)
            yield sp.bsr_array(
                # scipy knows no values in the order of bytes of another machine
                (
                    values.astype(values.dtype.newbyteorder("="), copy=False),
                    indices.read(count),
                    ends - ends[0],
                ),
                shape=((len(ends) - 1) * block[0], self.shape[1]),
            )


def _csc(archive: _Archive, shape: tuple[int, int]) -> Iterator[Entries]:
    indptr = archive.stream("indptr", (shape[1] + 1,))
    yield from csc_entries(indptr, archive.stream("indices"), archive.stream("data"))


def _coo(archive: _Archive, shape: tuple[int, int]) -> Iterator[Entries]:
    data = archive.stream("data")
    count = data.size
    if "coords" in archive:
        row, column = archive.stream("coords", (2, count)), archive.stream("coords")
        column.skip(count)
    else:
        row, column = (archive.stream(name, (count,)) for name in ("row", "col"))
    for start in range(0, count, WRITE_PIECE_VALUES):
        size = min(WRITE_PIECE_VALUES, count - start)
        yield Entries(row.values(size), column.values(size), data.values(size))


def _dia(archive: _Archive, shape: tuple[int, int]) -> Iterator[Entries]:
    offsets = archive.stream("offsets")
    data = archive.stream("data", (offsets.size, *archive.stream("data").shape[1:]))
    for offset in offsets.values(offsets.size).tolist():
        length = data.size // max(offsets.size, 1)
        for start in range(0, length, WRITE_PIECE_VALUES):
            values = data.values(min(WRITE_PIECE_VALUES, length - start))
            column = np.arange(start, start + len(values))
            row = column - offset
            # What lies outside of the matrix, and zeros, are no entries to scipy.
            kept = (row >= 0) & (row < shape[0]) & (column < shape[1]) & (values != 0)
            yield Entries(row[kept], column[kept], values[kept])


_ENTRIES: dict[str, Callable[[_Archive, tuple[int, int]], Iterator[Entries]]] = {
    "csc": _csc,
    "coo": _coo,
    "dia": _dia,
}


class _Archive:
    """The streams of a ``.npz``, to be closed together."""

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self._zip = self._stack.enter_context(zipfile.ZipFile(path))
        self._streams: list[_Stream] = []
        self.advance: Advance = lambda count: None
        self.size = sum(info.file_size for info in self._zip.infolist())

    def stream(self, name: str, shape: tuple[int, ...] | None = None) -> _Stream:
        """The array `name`, from its start; of the given shape, where there is one."""
        stream = _Stream(self, self._stack.enter_context(self._zip.open(f"{name}.npy")))
        if shape is not None and stream.shape != shape:
            raise ValueError(
                f"`{name}` must have shape {shape}; it has {stream.shape}"
            )
        self._streams.append(stream)
        return stream

    def check_ends(self) -> None:
        """Reads on where an array has not been read whole, for its checksum."""
        for stream in self._streams:
            if stream.started:
                stream.finish()

    def names(self) -> list[str]:
        """The arrays it holds."""
        return sorted(name.removesuffix(".npy") for name in self._zip.namelist())

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


class _Stream:
    """A ``.npy`` in a zip, read from its start to its end."""

    def __init__(self, archive: _Archive, file: Any) -> None:
        self._archive, self._file = archive, file
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"{file.name} has version {version} of the npy format")
        self.shape, fortran, dtype = read[version](file)
        self.dtype: np.dtype[Any] = dtype
        self.size = math.prod(self.shape)
        self.started = False
        if dtype.hasobject or (fortran and len(self.shape) > 1):
            what = "Python objects" if dtype.hasobject else "Fortran order"
            raise ValueError(f"{file.name} is in {what}, which cannot be streamed")

    def read(self, count: int) -> Array:
        """The next `count` entries along the first axis."""
        tail = self.shape[1:]
        return self.values(count * math.prod(tail)).reshape(count, *tail)

    def values(self, count: int) -> Array:
        """The next `count` values, whatever the shape, in one dimension."""
        self.started = True
        content = self._file.read(count * self.dtype.itemsize)
        if len(content) != count * self.dtype.itemsize:
            raise ValueError(f"{self._file.name} is shorter than its header says")
        self._archive.advance(len(content))
        return np.frombuffer(content, self.dtype)

    def skip(self, count: int) -> None:
        """Passes over values."""
        for start in range(0, count, WRITE_PIECE_VALUES):
            self.values(min(WRITE_PIECE_VALUES, count - start))

    def finish(self) -> None:
        """Reads to the end, where zip compares the checksum."""
        while self._file.read(1 << 20):
            pass

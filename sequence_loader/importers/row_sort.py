"""(row, column, value) entries in any order -> rows, in bounded memory.

An external bucket sort. Entries are dealt out to files, each for a range of rows;
a file that fits in memory becomes rows, a larger one is dealt out again. The files
have no names, so that the kernel removes them with the process, however it ends.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers
from sequence_loader.importers.source import Advance
from sequence_loader.rows.csr import CsrRows, unsigned, unsigned_limit

SORTED_ENTRIES = 1 << 21
"""Entries that are sorted in memory: some 120 MB with what sorting them takes."""
BLOCK_ROWS = 1 << 20
"""Rows, empty ones too, that become one block."""
BUCKET_FILES = 256
"""Files open at a time, at each of the two levels that 100 GB need."""


@dataclass(frozen=True, eq=False, slots=True)
class Entries:
    """Some entries of a matrix, in any order; those at the same place add up.

    Attributes:
        row: Integer array of shape (n,).
        column: Integer array of shape (n,).
        value: Array of shape (n,).
    """

    row: Array
    column: Array
    value: Array


def rows_of_entries(
    entries: Iterable[Entries],
    shape: tuple[int, int],
    expected: int,
    scratch: Path,
    advance: Advance,
) -> Iterator[CsrRows]:
    """Sorts entries by row, and keeps their order within a row.

    Args:
        entries: Pieces of bounded size.
        shape: (rows, features) of the matrix.
        expected: How many entries there are, about.
        scratch: Directory on a disk with room for the entries.
        advance: Told of each byte that is written to a file, or read from one, the
            first time: 2 `entry_bytes` for each entry.

    Yields:
        All rows, in order; columns are not sorted.

    Raises:
        ValueError: A row or column is out of range, or there is no room on the disk
            for as many rows as are claimed.
        OSError: The disk is full.
    """
    free = shutil.disk_usage(scratch).free
    if 8 * shape[0] > free:  # where they begin and end
        raise ValueError(
            f"it claims {shape[0]} rows, and {free} bytes are free in {scratch}"
        )
    packed = (_packed(part, shape) for part in entries)
    return _dealt(packed, (0, shape[0]), shape[1], expected, scratch, advance)


def mirrored(part: Entries, skew: bool) -> Entries:
    """Entries on one side of the diagonal, and on the other.

    Raises:
        ValueError: What is below 0 has no opposite.
    """
    row, column, values = part.row, part.column, part.value
    off = row != column
    if skew and values.dtype.kind == "i":
        least = np.iinfo(values.dtype).min
        if (values[off] == least).any():
            raise ValueError(
                f"it holds {least}, whose opposite, on the other side of the diagonal, "
                f"{values.dtype} cannot hold. Write real in the first line"
            )
    return Entries(
        np.concatenate([row, column[off]]),
        np.concatenate([column, row[off]]),
        np.concatenate([values, -values[off] if skew else values[off]]),
    )


def entry_bytes(shape: tuple[int, int], dtype: np.dtype[Any]) -> int:
    """Bytes of an entry in a file."""
    return _record(shape, dtype).itemsize


def _dealt(
    records: Iterable[Array],
    rows: tuple[int, int],
    num_features: int,
    expected: int,
    scratch: Path,
    advance: Advance,
) -> Iterator[CsrRows]:
    first, last = rows
    count = -(-3 * expected // (2 * SORTED_ENTRIES))
    count = max(count, -(-(last - first) // BLOCK_ROWS), 1)
    width = -(-(last - first) // min(count, BUCKET_FILES)) or 1
    count = -(-(last - first) // width)
    with ExitStack() as stack:
        files: list[IO[bytes] | None] = [None] * count
        sizes = np.zeros(count, np.int64)
        dtype = None
        for part in records:
            dtype = part.dtype
            bucket = ((part["row"] - first) // width).astype(np.uint16)
            order = np.argsort(bucket, kind="stable")
            part, bucket = part.take(order), bucket.take(order)
            cuts = np.searchsorted(bucket, np.arange(count + 1))
            sizes += np.diff(cuts)
            for number in np.flatnonzero(np.diff(cuts)).tolist():
                file = files[number]
                if file is None:
                    file = stack.enter_context(
                        tempfile.TemporaryFile(dir=scratch, buffering=1 << 15)
                    )
                    files[number] = file
                file.write(part[cuts[number] : cuts[number + 1]].data)
            advance(part.nbytes)
        for number, file in enumerate(files):
            start = first + number * width
            stop, size = min(start + width, last), int(sizes[number])
            fits = size <= SORTED_ENTRIES and stop - start <= BLOCK_ROWS
            if fits or stop - start == 1:
                found = _read(file, dtype, size) if size else None
                advance(found.nbytes if found is not None else 0)
                yield _as_rows(found, start, stop, num_features)
            else:
                yield from _dealt(
                    _pieces(file, dtype, size),
                    (start, stop),
                    num_features,
                    size,
                    scratch,
                    _ignore,
                )
                advance(size * dtype.itemsize if dtype is not None else 0)
            if file is not None:
                file.close()  # its disk space is free again


def _ignore(count: int) -> None:
    """For what has been counted before."""


def _record(shape: tuple[int, int], dtype: np.dtype[Any]) -> np.dtype[Any]:
    row, column = (np.int32 if size < 2**31 else np.int64 for size in shape)
    value = dtype.newbyteorder("=")
    return np.dtype([("row", row), ("column", column), ("value", value)])


def _packed(part: Entries, shape: tuple[int, int]) -> Array:
    for what, given, size in (
        ("row", part.row, shape[0]),
        ("column", part.column, shape[1]),
    ):
        if given.dtype.kind not in "iu":
            raise ValueError(f"{what} numbers must be integers, not {given.dtype}")
        limit = unsigned_limit(given, size)
        if len(given) and int(unsigned(given).max()) >= limit:
            wrong = given[unsigned(given) >= limit][0]
            raise ValueError(
                f"{what} {wrong} is out of range: it must be in [0, {size})"
            )
    packed = np.empty(len(part.row), _record(shape, part.value.dtype))
    packed["row"], packed["column"] = part.row, part.column
    packed["value"] = part.value
    return packed


def _read(file: Any, dtype: Any, count: int) -> Array:
    file.seek(0)
    return np.frombuffer(file.read(count * dtype.itemsize), dtype)


def _pieces(file: Any, dtype: Any, count: int) -> Iterator[Array]:
    if count:
        file.seek(0)
    for start in range(0, count, SORTED_ENTRIES // 2):
        size = min(SORTED_ENTRIES // 2, count - start) * dtype.itemsize
        yield np.frombuffer(file.read(size), dtype)


def _as_rows(
    records: Array | None, start: int, stop: int, num_features: int
) -> CsrRows:
    rows = stop - start
    if records is None:
        empty = np.zeros(0, np.int32)
        return CsrRows(np.zeros(rows + 1, np.int64), empty, empty, num_features)
    count = len(records)
    # scipy's counting sort, of positions instead of values: it knows few dtypes, and
    # would add up what has the same place.
    places = sp.coo_array(
        (np.ones(count, np.int8), (records["row"] - start, np.arange(count))),
        shape=(rows, count),
    ).tocsr()
    order = places.indices
    return CsrRows(
        places.indptr.astype(np.int64),
        records["column"].take(order),
        records["value"].take(order),
        num_features,
    )


def in_triangle(place: Integers, size: int, below: int) -> tuple[Integers, Integers]:
    """Rows and columns of places in a lower triangle, listed column after column.

    Args:
        place: int64 array of shape (n,).
        size: Rows of the matrix.
        below: 1 where the diagonal is left out, 0 otherwise.
    """
    longest = size - below
    # From the end, where column c from the last one begins after c * (c + 1) / 2
    # places. The root is a little off where it is large.
    place = longest * (longest + 1) // 2 - 1 - place
    column = ((np.sqrt(8.0 * place + 1) - 1) / 2).astype(np.int64)
    column -= column * (column + 1) // 2 > place
    column += (column + 1) * (column + 2) // 2 <= place
    row = place - column * (column + 1) // 2
    return size - 1 - row, longest - 1 - column

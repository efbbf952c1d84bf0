"""Rows of a CSR matrix, in memory or mapped: gathered as they are, or canonical."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.arrays import Array, Integers, distinct
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows.csr import (
    MOST,
    CsrRows,
    DamagedRows,
    canonical,
    ends_of,
    index_type,
    is_canonical,
    unsigned,
    unsigned_limit,
)
from sequence_loader.rows.narrow import (
    PIECE_VALUES,
    copy_narrow,
    is_constant,
    is_narrow,
)

try:  # not public, and the same since scipy 1.1; `take` stands in for it
    from scipy.sparse._sparsetools import csr_row_index as _copy_rows
except ImportError:
    _copy_rows = None

# What stands for values of so many bytes: `_copy_rows` does not know every dtype.
_SAME_SIZE = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


GATHER_WHOLE_BYTES, GATHER_PIECE_BYTES = 1 << 23, 1 << 21
"""Up to the first, rows are gathered at once. Beyond, they are gathered in pieces of
the second, which are checked and converted while they are in a cache: 4,096 rows of
9 kB then take 7 ms, and not 11."""


def read_rows(
    matrix: CsrRows,
    rows: Integers,
    pool: BufferPool,
    name: str,
    ids: Integers,
    dtype: np.dtype[Any] | None = None,
    *,
    must_ascend: bool = False,
) -> CsrRows:
    """Takes rows of a CSR matrix, and makes them canonical.

    Args:
        matrix: See `gather`.
        rows: See `gather`.
        pool: Where the memory of many rows comes from, which would be slow to get anew.
        name: What they are, for the error message.
        ids: int64 array of shape (n,): what the rows are called in the error message.
        dtype: What values become, by default what they are; it holds each of them.
        must_ascend: See `canonical`.

    Returns:
        What `canonical` makes of what `gather` returns.

    Raises:
        DamagedRows: `indptr` points outside the arrays, a column index is out of
            range, or they must ascend and do not.
    """
    found = _locate(matrix, rows, name)
    dtype = matrix.data.dtype if dtype is None else dtype
    value_bytes = matrix.indices.itemsize + matrix.data.itemsize
    large = found.ends[-1] * value_bytes > GATHER_WHOLE_BYTES
    narrow = _copy_rows is not None and is_narrow(matrix.indices, matrix.data)
    read = None
    if narrow:
        read = _read_narrow(matrix, found, dtype, pool)
    elif large or dtype != matrix.data.dtype:
        read = _read_in_pieces(matrix, found, dtype, pool)
    if read is not None:
        return read
    whole = canonical(_gather(matrix, found), name, ids, must_ascend=must_ascend)
    if not dtype.isnative or whole.data.dtype == dtype:
        return whole
    return replace(whole, data=whole.data.astype(dtype))


def _read_in_pieces(
    matrix: CsrRows, found: _Spans, dtype: np.dtype[Any], pool: BufferPool
) -> CsrRows | None:
    """`None` where rows are not canonical, or of a kind that is not copied so."""
    total, features = int(found.ends[-1]), matrix.num_features
    stored, served = matrix.indices.dtype, np.dtype(index_type(features))
    kept = matrix.data.dtype
    if not kept.isnative or not _is_copied(matrix):
        return None
    indices, data = pool.empty((total,), served), pool.empty((total,), dtype)
    most = GATHER_PIECE_BYTES // (stored.itemsize + kept.itemsize)
    for start, stop in _cuts(found, most):
        piece = found.cut(start, stop)
        place = slice(int(found.ends[start]), int(found.ends[stop]))
        columns, values = indices[place], data[place]
        if stored != served:
            columns = np.empty(len(columns), stored)
        if kept != dtype:
            values = np.empty(len(values), kept)
        if not _copy(matrix, piece, columns, values):
            return None
        batch = CsrRows(piece.ends, columns, values, features)
        if not is_canonical(batch):
            return None
        if stored != served:
            indices[place] = columns
        if kept != dtype:
            data[place] = values
    return CsrRows(found.ends, indices, data, features)


def _read_narrow(
    matrix: CsrRows, found: _Spans, dtype: np.dtype[Any], pool: BufferPool
) -> CsrRows | None:
    """`None` where rows are not canonical, or of a kind that is not copied so."""
    total, features = int(found.ends[-1]), matrix.num_features
    if index_type(features) is not np.int32:
        return None
    # Memory of few values is had anew in less time than the pool takes.
    empty = pool.empty if total > PIECE_VALUES else np.empty
    indices, data = empty((total,), np.int32), empty((total,), dtype)
    arrays = matrix.indices, matrix.data
    for start, stop in _cuts(found, PIECE_VALUES):
        piece = found.cut(start, stop)
        place = slice(int(found.ends[start]), int(found.ends[stop]))
        columns = copy_narrow(
            _copy_rows, arrays, *piece, indices[place], data[place]
        )
        if columns is None:
            return None
        batch = CsrRows(piece.ends, columns, columns, features)
        if not is_canonical(batch):
            return None
    return CsrRows(found.ends, indices, data, features)


def _cuts(found: _Spans, most: int) -> list[tuple[int, int]]:
    """The first of some rows and one past the last, of at most so many values."""
    total, count = int(found.ends[-1]), len(found.spans)
    if total <= most:
        return [(0, count)] if count else []
    cuts = np.searchsorted(found.ends, np.arange(0, total, most), side="right") - 1
    # Empty rows at the beginning, or beside a cut, need not be in a piece.
    bounds = distinct(np.append(cuts, count)).tolist()
    return list(zip(bounds, bounds[1:]))


def gather(matrix: CsrRows, rows: Integers, name: str = "x") -> CsrRows:
    """Takes rows of a CSR matrix, without a check of their content.

    Works on any dtype and on a memmap, and keeps an int64 `indptr` beside int32
    `indices`, which scipy's own row selection would upcast.

    Args:
        matrix: All rows, in memory or mapped; `indptr` of any integer type.
        rows: int64 array of shape (n,), each in ``[0, all rows)``.
        name: What they are, for the error message.

    Returns:
        The rows, in the order asked for; to be passed through `canonical`.

    Raises:
        DamagedRows: `indptr` points outside the arrays.
    """
    return _gather(matrix, _locate(matrix, rows, name))


class _Spans(NamedTuple):
    """Where rows lie in a matrix, and where they go.

    Attributes:
        spans: Signed integer array of shape (n, 2): where each row starts and stops.
        ends: int64 array of shape (n + 1,): where it goes.
    """

    spans: Array
    ends: Integers

    def cut(self, start: int, stop: int) -> _Spans:
        """Those of some rows, which go to the start."""
        ends = self.ends[start : stop + 1]
        return _Spans(self.spans[start:stop], ends - ends[0])


def _locate(matrix: CsrRows, rows: Integers, name: str) -> _Spans:
    # Where each row starts and stops, side by side: one look-up, and what the
    # compiled loop is given.
    spans = np.asarray(matrix.indptr).take(rows[:, np.newaxis] + _START_AND_STOP)
    if spans.dtype.kind != "i":
        spans = spans.astype(np.int64)
    lengths = spans[:, 1] - spans[:, 0]
    limit = min(len(matrix.indices), len(matrix.data))
    above = unsigned_limit(spans, limit + 1)
    if len(rows) and (int(unsigned(spans).max()) >= above or lengths.min() < 0):
        starts, stops = spans.T
        wrong = (starts < 0) | (stops < starts) | (stops > limit)
        raise DamagedRows(
            f"`{name}` is a damaged CSR matrix: `indptr` must not decrease and must "
            f"stay within the {limit} stored values, which it does not at rows "
            f"{rows[wrong][:3].tolist()}",
            "Build it again, for example with scipy.sparse.csr_array(coo)",
        )
    return _Spans(spans, ends_of(lengths))


def _gather(matrix: CsrRows, found: _Spans) -> CsrRows:
    total = int(found.ends[-1])
    indices = np.empty(total, matrix.indices.dtype)
    data = np.empty(total, matrix.data.dtype)
    if not _copy(matrix, found, indices, data):
        indices, data = _taken(matrix, found)
    return CsrRows(found.ends, indices, data, matrix.num_features)


TOUCHED_ROW_VALUES = 512
"""Values in a row from which its beginnings are touched before it is copied: the
processor then waits for many rows at once. Of 1,500 values that saves 10 to 20 %."""

_START_AND_STOP = np.array([0, 1])


def _copy(matrix: CsrRows, found: _Spans, indices: Array, data: Array) -> bool:
    """Row after row, in one compiled loop: a third of the time of `_taken`.

    Args:
        matrix: See `gather`.
        found: What to copy.
        indices: Array of shape (nnz,) and the dtype of the matrix, to copy to.
        data: Array of shape (nnz,) and the dtype of the matrix, to copy to.

    Returns:
        Whether they were copied; not where the loop does not know such arrays.
    """
    spans, ends = found
    if len(spans) == 0:
        return True
    if is_constant(matrix.data):
        data[:] = matrix.data[:1]
    if not _is_copied(matrix):
        return False
    sources, targets = (matrix.indices, matrix.data), (indices, data)
    if is_constant(matrix.data):  # columns alone are copied, twice, to the same place
        sources, targets = (matrix.indices,) * 2, (indices,) * 2
    # The loop moves two arrays alike. One of them has the type of its pointers, which
    # is int32 or int64: where the indices are narrower, the values take their part,
    # and where both are, neither can.
    if matrix.indices.dtype.itemsize < 4:
        sources, targets = sources[::-1], targets[::-1]
    words, into = (
        [array.view(_SAME_SIZE[array.dtype.itemsize]) for array in arrays]
        for arrays in (sources, targets)
    )
    kind = words[0].dtype
    most, top = MOST[kind.itemsize], int(spans.max())
    if top > most:
        # Far into a matrix of more than 2^31 values, int32 pointers still do.
        base = int(spans.min())
        if top - base > most:
            return False
        words, spans = [array[base:top] for array in words], spans - base
    if ends[-1] > TOUCHED_ROW_VALUES * len(spans):
        for array in words:
            # An empty row may begin where the array ends, hence clip.
            array.take(spans[:, 0], mode="clip")
    # As if these were the pointers of a matrix whose every second row is wanted.
    pointers = spans.astype(kind, copy=False).ravel()
    every_second = np.arange(0, len(pointers), 2, dtype=kind)
    _copy_rows(len(spans), every_second, pointers, *words, *into)
    return True


def _is_copied(matrix: CsrRows) -> bool:
    """Whether the compiled loop knows such arrays, and need not copy them whole."""
    arrays = [matrix.indices, *([] if is_constant(matrix.data) else [matrix.data])]
    wide = max(array.dtype.itemsize for array in arrays) >= 4
    return _copy_rows is not None and wide and all(map(_is_plain, arrays))


def _is_plain(array: Array) -> bool:
    flags = array.flags
    return array.dtype.itemsize in _SAME_SIZE and flags.c_contiguous and flags.aligned


def _taken(matrix: CsrRows, found: _Spans) -> tuple[Array, Array]:
    """Value by value, for arrays of any kind."""
    spans, ends = found
    positions = np.repeat(spans[:, 0] - ends[:-1], np.diff(ends))
    positions += np.arange(ends[-1])
    return matrix.indices.take(positions), matrix.data.take(positions)

"""gather: the arrays of a CSR matrix, in memory or mapped -> some of its rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sequence_loader.csr import MOST, Array, CsrRows, unsigned
from sequence_loader.permutation import Integers

try:  # not public, and the same since scipy 1.1; `take` stands in for it
    from scipy.sparse._sparsetools import csr_row_index as _copy_rows
except ImportError:
    _copy_rows = None

# What stands for values of so many bytes: `_copy_rows` does not know every dtype.
_SAME_SIZE = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


def gather(
    indptr: Array,
    indices: Array,
    data: Array,
    rows: Integers,
    num_features: int,
    name: str = "x",
) -> CsrRows:
    """Takes rows of CSR arrays, without a check of their content.

    Works on any dtype and on a memmap, and keeps an int64 `indptr` beside int32
    `indices`, which scipy's own row selection would upcast.

    Args:
        indptr: Integer array of shape (all rows + 1,).
        indices: Integer array of shape (nnz,).
        data: Array of shape (nnz,).
        rows: int64 array of shape (n,), each in ``[0, all rows)``.
        num_features: Number of columns.
        name: What they are, for the error message.

    Returns:
        The rows, in the order asked for; to be passed through `canonical`.

    Raises:
        ValueError: `indptr` points outside the arrays.
    """
    # Where each row starts and stops, side by side: one look-up, and what the
    # compiled loop is given.
    spans = np.asarray(indptr).take(rows[:, np.newaxis] + _START_AND_STOP)
    if spans.dtype.kind != "i":
        spans = spans.astype(np.int64)
    lengths = spans[:, 1] - spans[:, 0]
    limit = min(len(indices), len(data))
    top = int(unsigned(spans).max()) if len(rows) else 0
    if top > limit or (len(rows) and lengths.min() < 0):
        starts, stops = spans.T
        wrong = (starts < 0) | (stops < starts) | (stops > limit)
        raise ValueError(
            f"`{name}` is a damaged CSR matrix: `indptr` must not decrease and must "
            f"stay within the {limit} stored values, which it does not at rows "
            f"{_first_rows(rows, wrong)}. Build it again, for example with "
            f"scipy.sparse.csr_array(coo)."
        )
    ends = np.zeros(len(rows) + 1, dtype=np.int64)
    lengths.cumsum(out=ends[1:])
    taken = _copied(indices, data, spans, ends, top)
    if taken is None:
        taken = _taken(indices, data, spans, ends)
    return CsrRows(ends, *taken, int(num_features))


LONG = 512
"""Values in a row from which its beginnings are touched before it is copied: the
processor then waits for many rows at once. Of 1,500 values that saves 10 to 20 %."""

_START_AND_STOP = np.array([0, 1])


def _copied(
    indices: Array, data: Array, spans: Array, ends: Integers, top: int
) -> tuple[Array, Array] | None:
    """Row after row, in one compiled loop: a third of the time of `_taken`.

    Args:
        indices: See `gather`.
        data: See `gather`.
        spans: Integer array of shape (n, 2): where each row starts and stops.
        ends: int64 array of shape (n + 1,): where it goes.
        top: The largest of the spans.

    Returns:
        The taken indices and values; `None` for arrays that the loop does not know,
        or would copy whole, each time.
    """
    if _copy_rows is None or not (_is_plain(indices) and _is_plain(data)):
        return None
    # The loop moves two arrays alike. One of them has the type of its pointers, which
    # is int32 or int64: where the indices are narrower, the values take their part,
    # and where both are, neither can.
    narrow = indices.dtype.itemsize < 4
    pair = (data, indices) if narrow else (indices, data)
    words = [array.view(_SAME_SIZE[array.dtype.itemsize]) for array in pair]
    kind = words[0].dtype
    if kind.itemsize < 4:
        return None
    most = MOST[kind.itemsize]
    if top > most:
        # Far into a matrix of more than 2^31 values, int32 pointers still do.
        base = int(spans.min())
        if top - base > most:
            return None
        words, spans = [array[base:top] for array in words], spans - base
    if ends[-1] > LONG * len(spans):
        for array in words:
            array.take(spans[:, 0], mode="clip")  # whose rows may be empty at the end
    # As if these were the pointers of a matrix whose every second row is wanted.
    pointers = spans.astype(kind, copy=False).ravel()
    every_second = np.arange(0, len(pointers), 2, dtype=kind)
    taken = [np.empty(ends[-1], array.dtype) for array in words]
    _copy_rows(len(spans), every_second, pointers, *words, *taken)
    first, second = (out.view(array.dtype) for out, array in zip(taken, pair))
    return (second, first) if narrow else (first, second)


def _is_plain(array: Array) -> bool:
    flags = array.flags
    return array.dtype.itemsize in _SAME_SIZE and flags.c_contiguous and flags.aligned


def _taken(
    indices: Array, data: Array, spans: Array, ends: Integers
) -> tuple[Array, Array]:
    """Value by value, for arrays of any kind."""
    positions = np.repeat(spans[:, 0] - ends[:-1], np.diff(ends))
    positions += np.arange(ends[-1])
    return indices.take(positions), data.take(positions)


def _first_rows(rows: Integers, wrong: npt.NDArray[np.bool_]) -> list[int]:
    found: list[int] = rows[wrong][:3].tolist()
    return found

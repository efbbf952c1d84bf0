"""Rows whose columns take two bytes, beside values of two, of one, or of none.

The compiled loop that copies rows (`gather`) counts in four bytes or eight. Long rows
are joined as bytes instead. Of short ones, two neighbouring columns are one word to the
loop, and the values beside them another. A row that begins or ends within a word brings
a neighbour along; a second copy, of what is in a cache by then, leaves it out. Either
takes about as long as copying 4-byte values once, and half of the bytes or less come
from the memory, or from the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.memory.buffers import ALIGNMENT_BYTES
from sequence_loader.rows.csr import MOST

PIECE_VALUES = 1 << 18
"""Values that are copied at a time, in a cache. Of 2^17 and less, what is done once for
each piece takes 5 to 40 % longer."""

JOINED_ROW_VALUES = 256
"""Mean length of rows that are joined: those of 1,100 values in 0.8 of the time of two
copies, of 300 in the same, of 60 in twice."""

_WORDS: dict[int, np.dtype[Any]] = {1: np.dtype(np.int16), 2: np.dtype(np.int32)}
"""What two values of so many bytes are together."""
_ALONE: dict[int, np.dtype[Any]] = {1: np.dtype(np.int8), 2: np.dtype(np.int16)}
_FOUR: np.dtype[Any] = np.dtype(np.int32)

CopyRows = Callable[..., Any]
"""scipy's ``csr_row_index``; see `gather`."""


_NONE = np.empty(0, np.uint8)


class _Scratch(threading.local):
    """Memory that each thread uses again: had anew, its pages would take longer."""

    block: Array = _NONE

    def take(self, size: int) -> Array:
        """A block of so many bytes or more: it is nobody else's until it is put back.

        A finaliser may read rows as well, in the middle of what this thread does.
        """
        block, self.block = self.block, _NONE
        if not size <= len(block) <= 4 * size + 16 * PIECE_VALUES:
            block = np.empty(size * 5 // 4, np.uint8)
        return block


_SCRATCH = _Scratch()


def is_narrow(indices: Array, data: Array) -> bool:
    """Whether rows of these arrays can be copied so.

    Args:
        indices: Column indices, array of shape (nnz,).
        data: Values, array of shape (nnz,).
    """
    if indices.dtype != np.uint16 or not _is_plain(indices):
        return False
    return is_constant(data) or (data.itemsize in _WORDS and _is_plain(data))


def is_constant(data: Array) -> bool:
    """Whether an array is one value over and over, as `ones` are, in no memory."""
    return data.strides == (0,)


def copy_narrow(
    copy_rows: CopyRows,
    matrix: tuple[Array, Array],
    spans: Array,
    ends: Integers,
    indices: Array,
    data: Array,
) -> Array | None:
    """Copies rows.

    Args:
        copy_rows: The compiled loop.
        matrix: Column indices and values of all rows, which are narrow.
        spans: Signed integer array of shape (n, 2), n > 0: where rows start and stop.
        ends: int64 array of shape (n + 1,): where they go, from 0 on.
        indices: int32 array of shape (nnz,), to copy to.
        data: Array of shape (nnz,), to copy to; of any dtype that holds the values.

    Returns:
        The columns, in an array to check them in; `None` where they were not copied,
        because rows are too far apart for 32 bits, or arrays lie at odd places.
    """
    columns, values = matrix
    if is_constant(values):
        data[:] = values[:1]
    if ends[-1] > JOINED_ROW_VALUES * len(spans):
        _touch(columns, spans)
        slices = list(map(slice, *spans.T.tolist()))
        taken = _joined(columns, slices)
        indices[:] = taken
        if not is_constant(values):
            _touch(values, spans)
            data[:] = _joined(values, slices)
        return taken
    return _copied_twice(copy_rows, matrix, spans, ends, indices, data)


def _touch(array: Array, spans: Array) -> None:
    """Has the processor wait for the beginnings of many rows at once; see `gather`.

    A thread that reads files ahead is not kept from it meanwhile, as by `_joined`.
    """
    array.take(spans[:, 0], mode="clip")  # an empty row may begin where the array ends


def _joined(array: Array, slices: list[slice]) -> Array:
    """Slices of an array, one after the other."""
    view = array.view(f"u{array.itemsize}").data  # of any dtype
    content = b"".join(map(view.__getitem__, slices))
    return np.frombuffer(content, array.dtype)


def _copied_twice(
    copy_rows: CopyRows,
    matrix: tuple[Array, Array],
    spans: Array,
    ends: Integers,
    indices: Array,
    data: Array,
) -> Array | None:
    """See `copy_narrow`; words first, and then what is wanted of them."""
    columns, values = matrix
    stored, count, base = len(columns), len(spans), 0
    if stored >= MOST[4]:
        spans = spans.astype(np.int64)
        base = int(spans.min()) // 2 * 2
        if int(spans.max()) - base >= 2 * MOST[4]:
            return None
    # From the word that a row begins in to the one that it ends in, if that is whole.
    words = spans - base
    odd = words[:, 0] & 1
    words[:, 1] += 1
    words = (words >> 1).astype(np.int32, copy=False)
    if stored % 2:
        np.minimum(words, (stored - base) // 2, out=words)
    begins = np.zeros(count + 1, np.int32)
    (words[:, 1] - words[:, 0]).cumsum(out=begins[1:])
    total = int(begins[-1])
    whole = slice(base, stored // 2 * 2)
    # Without values, columns are copied twice, to the same place.
    second, one, two = columns, _FOUR, _FOUR
    if not is_constant(values):
        second, one, two = values, _ALONE[values.itemsize], _WORDS[values.itemsize]
    # A row of one value, the last of all, may have no whole word: hence one more.
    dtypes = _FOUR, _FOUR, two, one
    counts = 2 * total + 2, total + 1, total + 1, len(data)
    sizes = [many * dtype.itemsize for many, dtype in zip(counts, dtypes)]
    steps = (-(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for size in sizes)
    starts = [0, *accumulate(steps)]
    block = _SCRATCH.take(starts[-1])
    wide, pairs, beside, alone = (
        block[start : start + size].view(dtype)
        for start, size, dtype in zip(starts, sizes, dtypes)
    )
    every_second = np.arange(0, 2 * count, 2, dtype=np.int32)
    sources = columns[whole].view(_FOUR), second[whole].view(two)
    if not (sources[0].flags.aligned and sources[1].flags.aligned):
        return None  # they would be copied whole
    copy_rows(count, every_second, words.ravel(), *sources, pairs, beside)
    wide[: 2 * total] = pairs[:total].view(columns.dtype)
    own = np.empty((count, 2), np.int32)
    np.add(2 * begins[:-1], odd, out=own[:, 0], casting="same_kind")
    np.add(own[:, 0], ends[1:] - ends[:-1], out=own[:, 1], casting="same_kind")
    if second is columns:
        copy_rows(count, every_second, own.ravel(), wide, wide, indices, indices)
    else:
        from_these = wide, beside.view(one)
        copy_rows(count, every_second, own.ravel(), *from_these, indices, alone)
        data[:] = alone.view(values.dtype)
    _SCRATCH.block = block
    if stored % 2:  # the last value is in no word
        for place in ends[1:][(spans[:, 1] == stored) & (spans[:, 0] < stored)] - 1:
            indices[place], data[place] = columns[-1], values[-1]
    return indices


def _is_plain(array: Array) -> bool:
    return array.flags.c_contiguous and array.dtype.isnative

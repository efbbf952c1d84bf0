"""Many parts of a mapped file, copied in one call that leaves the interpreter free.

Beside a thread that computes, each read of a few kilobytes waits for the interpreter
afterwards, until that thread lets go of it. One call of ``process_vm_readv(2)``, from
this process to itself, copies a thousand parts: windows of short rows gained two
fifths. Where a file has been cut it copies less, while touching the map would kill
the process; but zeros where it was cut within its last page, so who copies looks at
the size of the file afterwards.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.memory.libc import MOST_PARTS, PARTS, linux_call

COPIED_PART_BYTES = 1 << 15
"""Mean bytes of parts from which ``preadv``, which need not map pages, is as fast."""

MAPPED_AROUND_BYTES = 1 << 21
"""The kernel maps what it has around what is touched: 64 kB, or a large folio whole."""


def copy_parts(
    mapped: Array, starts: Integers, lengths: Integers, out: Array, places: Integers
) -> bool:
    """Copies parts of a map, if the kernel does that and the parts are short.

    Their pages are let go of afterwards: a map is to count as memory of the process,
    and to keep pages from being evicted, no longer than they are read.

    Args:
        mapped: Contiguous array over a `mmap.mmap` of a file, which nobody writes to.
        starts: int64 array of shape (n,): bytes of the array.
        lengths: int64 array of shape (n,): bytes to copy.
        out: Contiguous array to copy them to.
        places: int64 array of shape (n,): bytes of `out`.

    Returns:
        Whether all were copied. Otherwise they are to be read in another way, which
        tells what is wrong with the file, if anything is.

    Raises:
        ValueError: A part is not within the map, or its place not within `out`.
    """
    count = len(starts)
    if _process_vm_readv is None or lengths.sum() > COPIED_PART_BYTES * count:
        return False
    memory: Any = mapped.base
    if not isinstance(memory, mmap.mmap):
        return False  # its pages would be lost
    if count == 0:
        return True
    start, stop = _span(mapped, starts, lengths)
    _span(out, places, lengths)
    sources, targets = (
        np.stack([array.ctypes.data + begins, lengths], axis=1).astype(np.uintp)
        for array, begins in ((mapped, starts), (out, places))
    )
    try:
        return all(
            _copied(sources[first : first + MOST_PARTS], targets[first:])
            for first in range(0, count, MOST_PARTS)
        )
    finally:
        begin = max(start - MAPPED_AROUND_BYTES, 0)
        end = min(stop + MAPPED_AROUND_BYTES, mapped.nbytes)
        _advise(mapped, begin, end, mmap.MADV_DONTNEED)


def expect_parts(mapped: Array) -> None:
    """Has a map fetch no more than what is touched of it."""
    if _process_vm_readv is not None and mapped.nbytes:
        _advise(mapped, 0, mapped.nbytes, mmap.MADV_RANDOM)


def _copied(sources: Array, targets: Array) -> bool:
    """Whether some parts, at most `MOST_PARTS`, were copied in full."""
    count, wanted = len(sources), int(sources[:, 1].sum())
    taken: int = _process_vm_readv(  # type: ignore[misc]
        os.getpid(), targets.ctypes.data, count, sources.ctypes.data, count, 0
    )
    return taken == wanted


def _span(array: Array, starts: Integers, lengths: Integers) -> tuple[int, int]:
    """The first byte of parts of an array and one past the last; never outside it."""
    start, last = int(starts.min()), int(starts.max())
    shortest, longest = int(lengths.min()), int(lengths.max())
    stop = int((starts + lengths).max())
    if min(start, shortest) < 0 or max(last, longest, stop) > array.nbytes:
        raise ValueError(
            f"parts must lie within the {array.nbytes} bytes of an array; received "
            f"starts {start} to {last} and lengths {shortest} to {longest}. Pass parts "
            f"of this array."
        )
    return start, stop


_process_vm_readv = linux_call(
    "process_vm_readv", ctypes.c_ssize_t, ctypes.c_int, *PARTS, *PARTS, ctypes.c_ulong
)
_madvise = linux_call(
    "madvise", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
)


def _advise(mapped: Array, start: int, stop: int, advice: int) -> None:
    """Advises the kernel on the pages of bytes of a map: never on others."""
    if _madvise is None or not 0 <= start <= stop <= mapped.nbytes:
        return
    address = mapped.ctypes.data + start
    begun = address % mmap.PAGESIZE  # it wants whole pages
    _madvise(address - begun, begun + stop - start, advice)  # it may be refused

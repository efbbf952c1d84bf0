"""The page cache: what is in it, and asking the kernel to read files into it."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.memory.libc import MOST_PARTS, PARTS, linux_call


class OpenFile(Protocol):
    """A file that stays open for as long as this is referred to."""

    @property
    def number(self) -> int:
        """Its descriptor, which may get to mean another file once this is gone."""


File = tuple[OpenFile, int]
"""(open file, length in bytes)"""

FILL_STEP_BYTES = 1 << 23
"""Bytes asked for in one call: enough for the disk's full speed, and a filler can
end between two calls."""

SAMPLED_PAGES = 64
"""Pages of a file that are looked at to tell whether it is cached."""


def will_need(handle: int, start: int, length: int) -> None:
    """Asks for a part of a file to be read soon, and returns at once."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice is all it is
            os.posix_fadvise(handle, start, length, os.POSIX_FADV_WILLNEED)


def will_need_parts(
    handle: int, offset: int, mapped: Array, starts: Integers, stops: Integers
) -> None:
    """Asks for many parts of a file to be read soon.

    Beside a thread that computes, each call of Python's into the kernel waits until
    that thread lets go of the interpreter: a thousand parts in one call gave windows of
    short rows a fifth more.

    Args:
        handle: Descriptor of the file.
        offset: Where in the file the map begins.
        mapped: A map of the file from there on, contiguous.
        starts: int64 array of shape (n,): bytes of the map, ``0 <= start < stop``.
        stops: int64 array of shape (n,): at most the bytes of the map.
    """
    addresses = np.stack([starts, stops - starts], axis=1)
    addresses[:, 0] += mapped.ctypes.data
    if not _process_advice(addresses):
        for start, length in zip(starts.tolist(), addresses[:, 1].tolist()):
            will_need(handle, offset + start, length)


def _process_advice(parts: Integers) -> bool:
    """Asks for parts of maps in few calls, if the kernel takes that.

    See process_madvise(2). Linux 5.10 to 6.12 wants CAP_SYS_NICE for it.

    Args:
        parts: int64 array of shape (n, 2): addresses and numbers of bytes.

    Returns:
        Whether all of them were asked for.
    """
    if _process_madvise is None or not hasattr(os, "pidfd_open"):
        return False
    begun = parts[:, 0] % mmap.PAGESIZE  # it wants whole pages
    spans = (parts + begun[:, np.newaxis] * np.array([-1, 1])).astype(np.uintp)
    try:
        process = os.pidfd_open(os.getpid())  # a forked child is another one
    except OSError:
        return False
    try:
        for first in range(0, len(spans), MOST_PARTS):
            some = spans[first : first + MOST_PARTS]
            place, advice = some.ctypes.data, mmap.MADV_WILLNEED
            taken = _process_madvise(process, place, len(some), advice, 0)
            if taken != some[:, 1].sum():
                return False
    finally:
        os.close(process)
    return True


_process_madvise = linux_call(
    "process_madvise",
    ctypes.c_ssize_t,
    ctypes.c_int,
    *PARTS,
    ctypes.c_int,
    ctypes.c_uint,
)


def at_random(files: Sequence[File]) -> None:
    """Has reads of files fetch what they ask for, and nothing around it."""
    if hasattr(os, "posix_fadvise"):
        for file, _ in files:
            with suppress(OSError):  # advice is all it is
                os.posix_fadvise(file.number, 0, 0, os.POSIX_FADV_RANDOM)


def resident(files: Sequence[File]) -> bool:
    """Whether files are in memory, as far as a few pages of each tell."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    byte = bytearray(1)
    for file, size in files:
        for start in range(0, size, max(1, size // SAMPLED_PAGES)):
            try:
                os.preadv(file.number, [byte], start, os.RWF_NOWAIT)
            except OSError:  # not cached, or a file system that does not say
                return False
    return True


class CacheFiller:
    """A thread that asks the kernel for files, from their start to their end.

    A cold map that is touched at random faults once for each stretch; read in order
    the files arrive at the disk's full speed, and training starts meanwhile. Of what
    is cached already the kernel reads nothing, which takes it 15 ms a gigabyte.

    The thread is a daemon. It ends when it is done, soon after `close`, or with the
    object; it has descriptors of its own, since those of a closed store may get to
    mean other files.

    Args:
        files: What to read.
    """

    def __init__(self, files: Sequence[File]) -> None:
        self._closed = threading.Event()
        copies = [(os.dup(file.number), size) for file, size in files]
        self._thread = threading.Thread(
            target=_fill,
            args=(copies, self._closed),
            name="sequence_loader-cache-filler",
            daemon=True,
        )
        self._thread.start()

    @property
    def filling(self) -> bool:
        """Whether there is more to ask for."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._thread.join()

    def __del__(self) -> None:
        self._closed.set()


def _fill(files: Sequence[tuple[int, int]], closed: threading.Event) -> None:
    for handle, size in files:
        for start in range(0, size, FILL_STEP_BYTES):
            if closed.is_set():
                break
            will_need(handle, start, FILL_STEP_BYTES)
        os.close(handle)

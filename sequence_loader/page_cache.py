"""The page cache: what is in it, and asking the kernel to read files into it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol


class OpenFile(Protocol):
    """A file that stays open for as long as this is referred to."""

    @property
    def number(self) -> int:
        """Its descriptor, which may get to mean another file once this is gone."""


File = tuple[OpenFile, int]
"""(open file, length in bytes)"""

STEP = 1 << 23
"""Bytes asked for in one call: enough for the disk's full speed, and a filler can
end between two calls."""

SAMPLES = 64
"""Pages of a file that are looked at to tell whether it is cached."""


def will_need(handle: int, start: int, length: int) -> None:
    """Asks for a part of a file to be read soon, and returns at once."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice is all it is
            os.posix_fadvise(handle, start, length, os.POSIX_FADV_WILLNEED)


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
        for start in range(0, size, max(1, size // SAMPLES)):
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
        for start in range(0, size, STEP):
            if closed.is_set():
                break
            will_need(handle, start, STEP)
        os.close(handle)

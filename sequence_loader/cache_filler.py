"""Reads the files of a store that fits in memory into the page cache, once."""

from __future__ import annotations

import os
import threading

from sequence_loader.store_part import StorePart

STEP = 1 << 23
"""Bytes asked for in one call: enough for the disk's full speed, and the thread can
end between two calls."""


class CacheFiller:
    """A thread that asks the kernel for all files, from their start to their end.

    A cold map that is touched at random faults once for each stretch; read in order
    the files arrive at the disk's full speed, and training starts meanwhile. Of
    files that are cached already the kernel reads nothing, which takes it some
    10 ms a gigabyte.

    The thread is a daemon that ends when it is done, or soon after `close`.

    Args:
        parts: What to read.
    """

    def __init__(self, parts: list[StorePart]) -> None:
        self._closed = threading.Event()
        # Descriptors of its own: closing the store must not pull the files, or
        # others that got the same numbers, from under the thread.
        files = [(os.dup(fd), size) for part in parts for fd, size in part.files()]
        self._thread = threading.Thread(
            target=self._fill, args=(files,), name="store-cache-filler", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._thread.join(timeout=5)

    def _fill(self, files: list[tuple[int, int]]) -> None:
        for handle, size in files:
            for start in range(0, size, STEP):
                if self._closed.is_set():
                    break
                try:
                    os.posix_fadvise(handle, start, STEP, os.POSIX_FADV_WILLNEED)
                except OSError:
                    break  # advice is all it is
            os.close(handle)

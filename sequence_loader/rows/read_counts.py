"""What was read from a source: sums that its readers add to."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

from sequence_loader.forks import renew_after_fork


class ReadCounts(NamedTuple):
    """What was read from a source since it was opened in this process.

    Attributes:
        bytes_read: Bytes of stored rows that were taken from its files, whether the
            page cache had them or the disk.
        window_hits: Readings that a window in memory answered.
        window_misses: Readings that went to the files, beside windows.
    """

    bytes_read: int = 0
    window_hits: int = 0
    window_misses: int = 0

    @classmethod
    def total(cls, counts: Iterable[ReadCounts]) -> ReadCounts:
        """The sums of several."""
        return cls(*map(sum, zip(cls(), *counts)))


class ReadCounter:
    """Adds up `ReadCounts`. Safe to share by threads; begins anew in a forked child."""

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()
        self._bytes = self._hits = self._misses = 0

    def add(self, bytes_read: int = 0, hits: int = 0, misses: int = 0) -> None:
        """Adds what was read just now."""
        with self._lock:
            self._bytes += bytes_read
            self._hits += hits
            self._misses += misses

    def counts(self) -> ReadCounts:
        """The sums up to now."""
        with self._lock:
            return ReadCounts(self._bytes, self._hits, self._misses)

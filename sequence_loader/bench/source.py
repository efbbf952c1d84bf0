"""ReopenedStore: a row source whose store can be closed, and opened again.

Pages of a file that is mapped stay in memory, whoever asks for them to go. So a store
is closed before its pages are dropped, while the sequence over it, and the graph that
TensorFlow has made of that, stay.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.bench.interrupts import Interrupt
from sequence_loader.memory.page_cache import resident
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.read_counts import ReadCounts
from sequence_loader.rows.sources import Traits
from sequence_loader.store.opening import open_store
from sequence_loader.store.sparse_store import SparseStore


QUIET_SECONDS, SETTLE_SECONDS = 0.02, 5.0
"""An iterator of TensorFlow that was let go makes what it was to keep ready: nothing
is measured meanwhile, but for an iterator that takes very long."""

DROP_ATTEMPTS = 12
"""How often pages are dropped until they are gone, in 0.7 s: the kernel keeps those
that it is just reading, for longer where the machine is busy."""


class ReopenedStore:
    """A store as a row source; its labels and weights are in memory.

    A thread of TensorFlow may still be reading for an iterator that was let go: the
    store is closed when nobody is inside.

    Args:
        paths: Of its parts.
        interrupt: What ends runs over it early; by default nothing does.

    Attributes:
        interrupt: It.
    """

    numeric = True

    def __init__(
        self, paths: Sequence[str], interrupt: Interrupt | None = None
    ) -> None:
        self.interrupt = interrupt or Interrupt()
        self._inside, self._visits, self._changed = 0, 0, threading.Condition()
        self._paths = paths[0] if len(paths) == 1 else list(paths)
        self.store: SparseStore = open_store(self._paths)
        self.num_rows, self.num_features = self.store.shape
        self.y: Array | None = _copied(self.store.y)
        self.sample_weight: Array | None = _copied(self.store.sample_weight)

    def read(self, rows: Integers) -> CsrRows:
        """See `RowSource.read`."""
        with self._visit() as store:
            return store.read(rows)

    @property
    def traits(self) -> Traits:
        """Those of the store, of whichever store it is now."""
        with self._visit() as store:
            return replace(
                store.traits,
                look_ahead=self._look_ahead,
                read_counts=self._read_counts,
            )

    def reopen(self, *, cold: bool) -> bool:
        """Closes the store and opens it again.

        Args:
            cold: Whether its pages are dropped in between. No rights are needed.

        Returns:
            Whether the pages are gone, if they were to be.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._inside)
            self.store.close()
            gone = cold and drop_pages(self.store.paths)
            self.store = open_store(self._paths)
        return gone

    def close(self) -> None:
        """Closes the store."""
        with self._changed:
            self._changed.wait_for(lambda: not self._inside)
            self.store.close()

    def settle(self) -> None:
        """Waits until nobody has read for a moment, or for `SETTLE_SECONDS`."""
        until = time.perf_counter() + SETTLE_SECONDS
        while time.perf_counter() < until and not self.interrupt.noted:
            visits = self._visits
            time.sleep(QUIET_SECONDS)
            if not self._inside and visits == self._visits:
                return

    @contextmanager
    def _visit(self) -> Iterator[SparseStore]:
        with self._changed:
            self._inside += 1
            self._visits += 1
        try:
            yield self.store
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _look_ahead(self, plan: BatchPlan, epoch: int, number: int) -> None:
        with self._visit() as store:
            hint = store.traits.look_ahead
            if hint is not None:
                hint(plan, epoch, number)

    def _read_counts(self) -> ReadCounts:
        counts = self.store.traits.read_counts
        return counts() if counts is not None else ReadCounts()


def drop_pages(folders: Sequence[Path]) -> bool:
    """Has the kernel forget what it has of files that nobody maps; whether it did."""
    for attempt in range(DROP_ATTEMPTS):
        if attempt == 1:
            gc.collect()  # a map that only a cycle refers to keeps its pages
        time.sleep(0.01 * attempt)
        _ask_to_drop(folders)
        if not in_memory(folders):
            return True
    return False


def _ask_to_drop(folders: Sequence[Path]) -> None:
    for folder in folders:
        for file in folder.iterdir():
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)  # pages that are still to be written would stay
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


class _Opened:
    """A file, open while this is referred to."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.number)


def in_memory(folders: Sequence[Path]) -> bool:
    """Whether files are in memory, as far as a few pages of each tell."""
    files = [file for folder in folders for file in folder.iterdir()]
    return resident([(_Opened(file), file.stat().st_size) for file in files])


def _copied(column: Any) -> Array | None:
    return None if column is None else np.array(column)


def read_pages(folders: Sequence[Path], seconds: float, stop: Interrupt) -> bool:
    """Reads files whole, so that their pages are in memory.

    Args:
        folders: Where they lie.
        seconds: How long it may take.
        stop: What ends it early.

    Returns:
        Whether that was enough.
    """
    until = time.perf_counter() + seconds
    memory = bytearray(1 << 22)
    for folder in folders:
        for path in folder.iterdir():
            with open(path, "rb", buffering=0) as file:
                while file.readinto(memory):
                    if time.perf_counter() > until or stop.noted:
                        return False
    return True

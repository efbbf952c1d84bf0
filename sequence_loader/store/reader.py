"""How the rows of a store are read: chosen by its size and the memory there is.

- It is in memory, or fits: rows are taken from the maps. While a sequence trains,
  the files are read ahead whole. Until those of a large store are, which takes
  seconds, the rows of the next batches are asked for as well: in a map that is
  touched row by row, each waits for the disk by itself, behind megabytes of that.
- It is larger: the next windows of the order are read into memory of our own.

All give the same rows. Once the files have been asked for whole, rows are not: of
pages that are in memory that costs more than reading them.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Protocol

from sequence_loader.arrays import Integers
from sequence_loader.checks import integer, shown
from sequence_loader.memory.free_memory import free_memory
from sequence_loader.memory.page_cache import CacheFiller, resident
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows
from sequence_loader.store.parts import StoreParts
from sequence_loader.store.window_reader import WindowReader

WINDOW_BYTES = 112 << 20
"""Memory for windows where nothing is asked for: some 6,000 rows of 9 kB or 80,000 of
520 B in each, and a process that reads stays below 150 MB."""

ASKED_STORE_BYTES = 1 << 30
"""Bytes of a store whose filling takes so long that rows are asked for meanwhile. Of a
cold store of 6 GB two seconds gave 150 batches of 128, and none where nothing was asked
for. A store that is read in half a second loses a tenth of it by asking."""

ASKED_ROWS = 512
"""Rows that are asked for beyond those of a batch. With 2,000, the thread that reads
the files whole had too little of the disk."""


class StoreReader(Protocol):
    """Reads rows. Safe to share by threads, and usable in a forked child."""

    def read(self, rows: Integers) -> CsrRows:
        """The given rows, in that order; see `SparseStore.read`."""

    def look_ahead(self, plan: BatchPlan, epoch: int, index: int) -> None:
        """Says that a batch is about to be read; see `Traits`."""

    def close(self) -> None:
        """Ends what reads ahead, and waits for it."""


class MapReader:
    """Takes rows from the maps, and fills the page cache when training starts.

    Args:
        parts: The store.
    """

    def __init__(self, parts: StoreParts) -> None:
        self._parts = parts
        self._filler: CacheFiller | None = None
        self._once = threading.Lock()  # taken once, and never waited for
        # A plan, an epoch, and of neighbouring batches that were asked for the first
        # and the one after the last.
        self._asked: tuple[BatchPlan | None, int, int, int] = (None, 0, 0, 0)

    def read(self, rows: Integers) -> CsrRows:
        """The given rows, in that order."""
        found = self._parts.gather(rows)
        nbytes = len(found.data) * self._parts.value_bytes
        self._parts.counter.add(bytes_read=nbytes)
        return found

    def look_ahead(self, plan: BatchPlan, epoch: int, index: int) -> None:
        """Starts to fill the page cache, the first time; helps while that lasts."""
        if self._filler is None and self._once.acquire(blocking=False):
            files = self._parts.files
            if not resident(files):
                self._filler = CacheFiller(files)
        large = self._parts.nbytes > ASKED_STORE_BYTES
        if large and self._filler is not None and self._filler.filling:
            self._ask(plan, epoch, index)

    def _ask(self, plan: BatchPlan, epoch: int, index: int) -> None:
        """Asks for a batch and, where batches are read in order, for the next ones.

        Threads may do so at once: at worst some rows are asked for twice.
        """
        asked_plan, asked_epoch, first, stop = self._asked
        if plan is asked_plan and epoch == asked_epoch and first <= index <= stop:
            upto = min(index + 1 + ASKED_ROWS // plan.batch_size, plan.num_batches)
        else:
            first, stop, upto = index, index, index + 1
        if stop < upto:
            self._asked = plan, epoch, first, upto
            with suppress(Exception):  # what is wrong is told to who reads the batch
                self._parts.advise(plan.rows_ahead(epoch, stop, upto))

    def close(self) -> None:
        """Ends the filling."""
        if self._filler is not None:
            self._filler.close()


def checked_memory(memory: int | str) -> int | str:
    """The argument `memory`; raises TypeError or ValueError."""
    if isinstance(memory, str):
        if memory == "auto":
            return memory
        raise ValueError(
            f"`memory` must be 'auto' or a number of bytes; received {shown(memory)}. "
            f"Pass for example memory=2**30."
        )
    return integer("memory", memory, minimum=1)


def choose_reader(parts: StoreParts, memory: int | str) -> StoreReader:
    """The reader for a store.

    Args:
        parts: The store.
        memory: Bytes that may hold rows, or ``"auto"``.
    """
    if not isinstance(memory, str):
        fits = parts.nbytes <= memory
        return MapReader(parts) if fits else WindowReader(parts, memory)
    free = free_memory()
    # A quarter is left to what the job has yet to allocate. What is in memory
    # already costs nothing, whoever's limit it counts against.
    if parts.nbytes <= free // 4 * 3 or resident(parts.files):
        return MapReader(parts)
    return WindowReader(parts, min(WINDOW_BYTES, free // 4))

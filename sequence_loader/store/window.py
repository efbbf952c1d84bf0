"""Window: some batches to come, read into memory by a thread of their own."""

from __future__ import annotations

import threading
import time

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows, ends_of, ones
from sequence_loader.rows.gather import read_rows
from sequence_loader.store.parts import Located, StoreParts


class Window:
    """Some batches to come, in memory from a pool.

    Args:
        parts: The store.
        pool: Where memory comes from.
        values: Bytes that its values may take.
        count: Rows it may have.
        first: Number of the first batch.
        stop: The batch after the last one; fewer are read if they do not fit.

    Attributes:
        first: Number of the first batch.
        cancelled: Set where it is no longer wanted.
        finished: When it was read, a time of ``time.perf_counter``.
    """

    def __init__(
        self,
        parts: StoreParts,
        pool: BufferPool,
        values: int,
        count: int,
        first: int,
        stop: int,
    ) -> None:
        self._parts, self._room, self._count = parts, values, count
        self.first, self._stop = first, stop
        self.cancelled, self.finished = False, float("inf")
        self._memory: Array | None = pool.empty((values + 64,), np.uint8)
        self._rows: Integers = np.empty(0, np.int64)
        self._values: CsrRows | None = None
        self._located, self._done = threading.Event(), threading.Event()

    @property
    def stop(self) -> int:
        """The batch after the last one; `first` where none fits."""
        self._located.wait()
        return self._stop

    def take(self, rows: Integers) -> CsrRows | None:
        """Rows in the order given, or `None` unless all of them are here."""
        self._located.wait()
        if len(self._rows) == 0 or len(rows) == 0:
            return None
        places = np.searchsorted(self._rows, rows)
        places[places == len(self._rows)] = 0
        if not np.array_equal(self._rows[places], rows):
            return None
        self._done.wait()
        values = self._values
        if values is None:
            return None
        pool, name, dtype = self._parts.pool, self._parts.name, self._parts.dtype
        return read_rows(values, places, pool, name, rows, dtype, must_ascend=True)

    def run(self, plan: BatchPlan, epoch: int) -> None:
        """Reads the window."""
        try:
            try:
                located = self._locate(plan, epoch)
            finally:
                self._located.set()
            self._read(located)
        except Exception:
            # Damage, perhaps in a batch that nobody will ask for; or no memory. Who
            # asks reads the rows by themselves, and is told.
            pass
        finally:
            self._memory, self.finished = None, time.perf_counter()
            self._done.set()

    def _locate(self, plan: BatchPlan, epoch: int) -> Located:
        """Finds how many batches fit, and where their rows lie."""
        first, stop, size = self.first, self._stop, plan.batch_size
        self._stop = first  # should it fail
        rows = plan.rows_ahead(epoch, first, stop)
        order = np.argsort(rows, kind="stable")
        located = self._parts.locate(rows[order])
        lengths = np.empty(len(rows), np.int64)
        lengths[order] = located.stops - located.starts
        last = np.minimum(np.arange(1, stop - first + 1) * size, len(rows)) - 1
        ends = np.cumsum(lengths * self._parts.value_bytes)[last]
        fit = int(np.searchsorted(ends, self._room, side="right"))
        fit = min(fit, int(np.searchsorted(last, self._count)))
        kept = order < fit * size
        self._rows, self._stop = rows[order][kept], first + fit
        return Located(*(array[kept] for array in located))

    def _read(self, located: Located) -> None:
        memory = self._memory
        if memory is None or self.cancelled:
            return
        indptr = ends_of(located.stops - located.starts)
        parts, count = self._parts, int(indptr[-1])
        size = count * parts.index_dtype.itemsize
        indices, data = memory[:size].view(parts.index_dtype), None
        if parts.kept_as is not None:
            rest = memory[-(-size // 64) * 64 :]
            data = rest[: count * parts.kept_as.itemsize].view(parts.kept_as)
        parts.fill(located, indptr[:-1], indices, data, lambda: self.cancelled)
        if not self.cancelled:
            values = ones(count, parts.dtype) if data is None else data
            self._values = CsrRows(indptr, indices, values, parts.num_features)

"""Windows: the next batches of an epoch, read ahead into memory of fixed size.

For stores larger than memory. Pages that are read ahead through the page cache may
be evicted before they are used, and then come back one fault at a time; memory of
our own stays. The batches to come are cut into windows of as many as fit into half
of the budget; while batches are taken out of one, a thread reads the next.

Neighbouring rows are read once if they are in one window, so windows end where those
of `BlockShuffleSampler` do, or in equal parts of one (`BatchPlan.stretch`). Where
reading is what takes the time, and a window of nearly the whole budget saves a second
reading of the same rows, it is read by itself, with nothing beside it.

What `look_ahead` does, by where the batch lies that is asked for:

    in the first window     begins a second behind it, if there is none
    behind it               lets go of those that end before; begins one here, if none
                            is left
    before all, or far      a jump, which scores: lets go of all, and begins a small
    behind                  one here
    before all, of a        nothing: it lags behind other threads, and reads by itself
    thread never further
    in another epoch        lets go of all, and begins a small one here

Jumps in number, `PERMUTED_SCORE`, stop all this, until batches come in order again.

Guarantees:
- `read` gives the same rows whether a window holds them or not; windows only make
  it faster. What fails in a window is read again by itself, and fails there, in the
  thread that asked for it.
- At most two windows have memory, and with what their rows are located by they take
  at most the budget. A batch of more than half of it is read by itself.
- A thread reads one window and ends. Nobody waits for a thread that is not running:
  a forked child leaves the windows behind and begins anew.
"""

from __future__ import annotations

import threading
import time
import warnings

from sequence_loader.arrays import Integers
from sequence_loader.forks import renew_after_fork
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import BlockShuffleSampler, ShuffleSampler
from sequence_loader.rows.csr import CsrRows
from sequence_loader.store.part import READ_GAP_BYTES
from sequence_loader.store.parts import StoreParts
from sequence_loader.store.window import Window

FIRST_WINDOW_BYTES = 1 << 20
"""Bytes of the first window where reading begins; each is four times as large as the
one before, so that neither the first batch nor a jump waits for much."""

WINDOW_ROW_BYTES = 200
"""Bytes that a row of a window takes besides its values: its number, its place, and
what they are computed from."""

LONE_WINDOW_SHARE, LONE_WINDOW_GAIN = 0.9, 1.4
"""A window that is read by itself takes this part of the budget. It must hold so many
times the batches of one that takes half of the budget."""

STRAGGLER_BATCHES = 64
"""Threads that share an order may be this many batches apart."""

PERMUTED_SCORE = 16
"""The score at which reading ahead stops: a jump adds 2, a batch in order takes 1
away."""


class WindowReader:
    """Reads rows of a store larger than memory. Safe to share by threads.

    Args:
        parts: The store.
        budget: Bytes of memory for windows.
    """

    def __init__(self, parts: StoreParts, budget: int) -> None:
        self._parts, self._budget = parts, budget
        stored = parts.nnz * parts.value_bytes / max(parts.num_rows, 1)
        self._row_bytes = WINDOW_ROW_BYTES + stored
        self._value_share = stored / self._row_bytes
        # What is wanted is asked for ahead. Where it has been evicted again, megabytes
        # around it would come back with it.
        for part in parts.list:
            part.expect_windows()
        self._told: set[str] = set()
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._pool, self._alone = BufferPool(spare=2), False
        # What is read now, and perhaps what follows it.
        self._windows: list[Window] = []
        self._threads: list[threading.Thread] = []
        self._stream: tuple[BatchPlan, int] | None = None
        self._frontier = 0  # the first batch that no window has held
        self._limit = FIRST_WINDOW_BYTES
        self._asked: dict[int, int] = {}  # by each thread, the last batch
        self._jumps = 0
        # Since the last window was begun: how long the rows of windows were waited for.
        self._waited, self._since = 0.0, time.perf_counter()

    def read(self, rows: Integers) -> CsrRows:
        """The given rows, in that order; see `StoreParts.read`."""
        for window in list(self._windows):
            asked = time.perf_counter()
            found = window.take(rows)
            if found is not None:
                self._waited += window.finished - min(asked, window.finished)
                self._parts.counter.add(hits=1)
                return found
        self._parts.counter.add(misses=1)
        return self._parts.read(rows)

    def look_ahead(self, plan: BatchPlan, epoch: int, index: int) -> None:
        """Says that a batch is about to be read; what follows it is read ahead.

        Args:
            plan: The batches; the same object for as long as they are the same.
            epoch: The epoch.
            index: Number of the batch.
        """
        with self._lock:
            self._follow(plan, epoch, index)
            messages = self._messages(plan)
        for message in messages:
            warnings.warn(message, stacklevel=6)  # where the sequence was indexed

    def close(self) -> None:
        """Ends the threads and gives up the memory."""
        with self._lock:
            for window in self._windows:
                window.cancelled = True
            self._windows = []
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()

    def __del__(self) -> None:
        for window in getattr(self, "_windows", ()):
            window.cancelled = True

    def _follow(self, plan: BatchPlan, epoch: int, index: int) -> None:
        windows = self._windows
        if self._stream != (plan, epoch):
            if self._stream is None or self._stream[0] is not plan:
                self._jumps = 0
            self._stream = plan, epoch
            self._asked.clear()
            self._restart(index)
        thread = threading.get_ident()
        backwards = index < self._asked.get(thread, 0)
        self._asked[thread] = index
        begin = windows[0].first if windows else self._frontier
        while windows and windows[0].stop <= index:
            self._frontier = windows[0].stop
            windows.pop(0).cancelled = True
        if index < begin and not backwards:
            return  # a thread that is behind the others: let them go on
        far = self._frontier + STRAGGLER_BATCHES
        if index < begin or (not windows and index >= far):
            self._jumps = min(self._jumps + 2, 2 * PERMUTED_SCORE)
            self._restart(index)
        else:
            self._jumps = max(0, self._jumps - 1)
        if self._jumps >= PERMUTED_SCORE:
            self._frontier = index
        elif not windows:
            self._start(index)
        elif len(windows) == 1:
            self._start(windows[0].stop)

    def _restart(self, index: int) -> None:
        for window in self._windows:
            window.cancelled = True
        self._windows.clear()
        self._frontier, self._limit = index, FIRST_WINDOW_BYTES

    def _start(self, first: int) -> None:
        # More than one in use: somebody still reads in a window that has passed.
        if self._stream is None or first >= self._stream[0].num_batches:
            return
        if self._pool.in_use > 1:
            return
        if self._alone and self._pool.in_use:
            return
        stop, alone = self._next_stop(self._stream[0], first)
        if alone and self._pool.in_use:
            return
        if alone != self._alone:  # memory of the other size is of no use
            self._pool, self._alone = BufferPool(spare=1 if alone else 2), alone
        self._frontier = first
        most = int(self._budget * LONE_WINDOW_SHARE) if alone else self._budget // 2
        # One part for values, one for all else. The memory of a window is used again
        # by the next, whose rows may be shorter and more.
        values = int(most * self._value_share)
        count = (most - values) // WINDOW_ROW_BYTES
        window = Window(self._parts, self._pool, values, count, first, stop)
        thread = threading.Thread(
            target=window.run,
            args=self._stream,
            name="sequence_loader-window",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads; or the interpreter ends
            return
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        self._windows.append(window)
        self._limit = min(4 * self._limit, max(self._budget, FIRST_WINDOW_BYTES))
        self._waited, self._since = 0.0, time.perf_counter()

    def _next_stop(self, plan: BatchPlan, first: int) -> tuple[int, bool]:
        """Where the next window ends, and whether it is read by itself."""

        def stop_within(nbytes: float) -> int:
            batches = min(self._limit, nbytes) / (self._row_bytes * plan.batch_size)
            return plan.stretch(first, max(1, int(batches)))

        # Most often there is room for somewhat longer rows than are expected.
        beside = stop_within(0.95 * self._budget / 2)
        elapsed = time.perf_counter() - self._since
        if self._waited > elapsed / 2 and plan.cuts(beside):
            alone = stop_within(0.95 * self._budget * LONE_WINDOW_SHARE)
            if alone - first > LONE_WINDOW_GAIN * (beside - first):
                return alone, True
        return beside, False

    def _messages(self, plan: BatchPlan) -> list[str]:
        found = []
        if isinstance(plan.sampler, ShuffleSampler):
            block, rows = BlockShuffleSampler(0), max(self._parts.num_rows, 1)
            length = self._parts.nnz * self._parts.value_bytes
            alone = 2 * READ_GAP_BYTES + length / rows
            gain = alone / (alone - 2 * READ_GAP_BYTES * (1 - 1 / block.block_size))
            found.append(
                f"the store is larger than the memory it is given, and shuffle=True "
                f"reads each row by itself, from anywhere. shuffle=\"block\" reads "
                f"{block.block_size} neighbouring rows at once, about {gain:.0f} times "
                f"as fast, and mixes {block.window} such blocks at a time."
            )
        if self._jumps >= PERMUTED_SCORE:
            found.append(
                "the store is larger than the memory it is given, and batches are "
                "asked for out of order, so that none can be read ahead. Keras does so "
                "unless told otherwise: pass shuffle=False to fit. The sequence itself "
                "shuffles the rows."
            )
        fresh = [message for message in found if message not in self._told]
        self._told.update(fresh)
        return fresh

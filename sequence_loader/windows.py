"""Windows: the next rows of an epoch, read ahead into private memory of fixed size.

For stores larger than memory. Pages that are read ahead through the page cache may
be evicted before they are used, and then come back one fault at a time; private
memory stays. The batches to come are cut into windows of as many batches as fit
into half of the budget. While batches are served out of one window, a thread reads
the next.

Guarantees:
- `read` gives the same rows whether a window holds them or not; windows only make
  it faster. What a window raised is raised by who reads from it.
- At most two windows are alive, and together take at most the budget: a window's
  memory is used again, or given up, before the next one begins. A batch that does
  not fit into half the budget is read by itself.
- A thread reads one window and ends. Nobody waits for a thread that is not running:
  a fork leaves the threads behind and begins anew.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from sequence_loader.csr import Array, CsrRows, canonical, gather
from sequence_loader.permutation import Integers
from sequence_loader.samplers import ShuffleSampler
from sequence_loader.store_parts import Extent, StoreParts

JUMPS = 8
"""Batches asked for out of order, by which an order counts as permuted."""


class Plan(Protocol):
    """What the reader needs to know of the batches to come: a `BatchPlan`."""

    @property
    def num_batches(self) -> int:
        """The number of batches in an epoch."""

    def batch(self, epoch: int, index: int) -> Any:
        """Something whose `rows` are the row ids of that batch."""


class WindowReader:
    """Reads rows of a store larger than memory. Safe to share by threads.

    Args:
        parts: The store.
        budget: Bytes of private memory for windows.
    """

    def __init__(self, parts: StoreParts, budget: int) -> None:
        self._parts, self._budget = parts, budget
        self._warned: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._windows: list[_Window] = []
        self._spare: list[Array] = []
        self._stream: tuple[Plan, int] | None = None
        self._last = -1
        self._jumps = 0

    def look_ahead(self, plan: Plan, epoch: int, index: int) -> None:
        """Says that a batch is about to be read; starts reading what follows it.

        Args:
            plan: The batches; the same object for as long as they are the same.
            epoch: The epoch.
            index: Number of the batch.
        """
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            messages = self._follow(plan, epoch, index)
        for message in messages:
            warnings.warn(message, stacklevel=4)

    def read(self, rows: Integers) -> CsrRows:
        """The given rows, in that order; see `RowSource.read`."""
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            windows = list(self._windows)
            for window in windows:
                window.users += 1
        try:
            for window in windows:
                found = window.take(rows)
                if found is not None:
                    return found
        finally:
            with self._lock:
                for window in windows:
                    window.users -= 1
        ids, places = np.unique(rows, return_inverse=True)
        extents = self._parts.extents(ids)
        return _Values(self._parts, extents, None).read().take(places, rows)

    def close(self) -> None:
        """Ends the threads and gives up the memory."""
        with self._lock:
            windows, self._windows = self._windows, []
            self._spare, self._stream = [], None
        for window in windows:
            window.cancel()
        for window in windows:
            window.join()

    def _follow(self, plan: Plan, epoch: int, index: int) -> list[str]:
        """Drops windows that are behind, and starts the next one."""
        new = self._stream is None or self._stream[0] is not plan
        if new or self._stream[1] != epoch:  # type: ignore[index]
            self._drop(len(self._windows))
            self._stream = plan, epoch
            self._jumps = 0 if new else min(self._jumps, JUMPS)
            self._last = index if self._jumps >= JUMPS else index - 1
        in_order = 0 <= index - self._last <= 1
        self._jumps = max(0, self._jumps - 1) if in_order else self._jumps + 1
        consecutive = index == self._last + 1
        self._last = index
        while len(self._windows) > 1 and index >= self._windows[1].first:
            self._drop(1)
        if self._windows and not self._windows[0].covers(index):
            if in_order or self._jumps >= JUMPS:
                self._drop(len(self._windows))
        if not self._windows:
            if consecutive:
                self._start(index)
        elif len(self._windows) == 1 and self._windows[0].planned:
            if self._windows[0].covers(index):
                self._start(self._windows[0].stop)
        return self._messages(plan)

    def _start(self, first: int) -> None:
        assert_stream = self._stream
        if assert_stream is None or first >= assert_stream[0].num_batches:
            return
        memory = self._spare.pop() if self._spare else None
        window = _Window(self._parts, self._budget // 2, *assert_stream, first, memory)
        self._windows.append(window)

    def _drop(self, count: int) -> None:
        for window in self._windows[:count]:
            window.cancel()
            if window.idle and window.memory is not None and len(self._spare) < 2:
                self._spare.append(window.memory)
        del self._windows[:count]

    def _messages(self, plan: Plan) -> list[str]:
        found = []
        if isinstance(getattr(plan, "sampler", None), ShuffleSampler):
            found.append(
                "The store is larger than memory, and shuffle=True reads single rows "
                "from all over it. shuffle=\"block\" mixes neighbouring rows in large "
                "windows, and reads many times faster."
            )
        if self._jumps > JUMPS:
            found.append(
                "The batches of a store larger than memory are read out of order, so "
                "none can be read ahead. Keras permutes them unless told otherwise: "
                "pass shuffle=False to fit; the sequence shuffles the rows itself."
            )
        fresh = [message for message in found if message not in self._warned]
        self._warned.update(fresh)
        return fresh

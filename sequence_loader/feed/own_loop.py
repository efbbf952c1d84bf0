"""A loop of the user's own, and any reader that is not found.

It is no consumer, and reads the epoch of the sequence. `end` moves that on once all
batches were read, or, where the loop calls `begin` as well, the next `begin` does.
"""

from __future__ import annotations

import threading

from sequence_loader.backends.keras_calls import adapters_beside
from sequence_loader.feed.consumers import Passes
from sequence_loader.feed.epoch_warnings import ENDED_TWICE, READ_BESIDE
from sequence_loader.feed.passes import Current, Pass


class OwnLoop:
    """The pass of such a loop; `EpochTracker` has its lock.

    Args:
        current: The epoch of the sequence.
        passes: Those of the consumers of Keras.
        num_batches: Batches in an epoch.

    Attributes:
        way: Its pass.
    """

    def __init__(self, current: Current, passes: Passes, num_batches: int) -> None:
        self._current, self._passes = current, passes
        self.way = Pass(num_batches)
        self._reads_at_end = -1

    @property
    def resumes(self) -> int:
        """How many batches it leaves out when it begins."""
        way = self.way
        return 0 if way.stale or way.epoch != self._current.epoch else way.first

    @property
    def is_amid(self) -> bool:
        """Whether some of the batches of the sequence's epoch were asked for."""
        way = self.way
        is_current = not way.stale and way.epoch == self._current.epoch
        return is_current and way.served > 0 and not way.whole

    def iterated(self, epoch: int) -> int:
        """A `for` loop begins; returns how many batches it leaves out."""
        resumes = epoch == self._current.epoch and self.resumes
        first = self.way.begun() if resumes else 0
        self._current.place = epoch, first
        return first

    def read(self, batch: int) -> None:
        """A batch was asked for; the loop may be what a `fit` is fed by."""
        way, current = self._follow(), self._current
        again = way.whole
        if way.is_open or not way.begins:
            way.mark(batch)
        if again and not batch and not current.is_warned:
            beside = adapters_beside()
            passes = filter(None, map(self._passes.get, beside))
            if beside and not any(each.served for each in passes):
                current.warn_of_order(READ_BESIDE)

    def begin(self) -> None:
        """`on_epoch_begin` was called."""
        way, current = self._follow(), self._current
        whole = way.begins and way.whole
        again = current.is_over or whole or way.is_open or not way.begins
        if again and not way.first:
            way.start(current.epoch + (current.is_over or whole))
        way.begins = way.is_hooked = way.is_open = True
        current.move(way.epoch, way)

    def end(self) -> None:
        """`on_epoch_end` was called."""
        way, current = self._follow(), self._current
        current.place = None
        before, self._reads_at_end = self._reads_at_end, current.reads
        if way.whole and not way.begins:
            current.move(current.epoch + 1)
        elif way.begins:
            current.over = current.over or (way.is_open and way.whole)
            way.is_open = False
        elif current.reads == before:
            current.warn(ENDED_TWICE)

    def _follow(self) -> Pass:
        """The pass, which is one of the epoch of the sequence from now on."""
        way, epoch = self.way, self._current.epoch
        if way.stale or way.epoch != epoch:
            way.start(epoch)
            way.begins = way.is_hooked = False
        return way


class FixedEpoch(threading.local):
    """What the running thread reads for an iteration of its own.

    Attributes:
        epoch: The epoch that the iteration serves; `None` outside of one.
        marks: Whether what it reads counts as read by a loop of the user's own.
        is_told: Whether the begin and the end of the iteration are known without hooks.
    """

    epoch: int | None = None
    marks: bool = False
    is_told: bool = False

"""What a reader has seen of an epoch, and the epoch that the sequence serves."""

from __future__ import annotations

import mmap
import warnings
from typing import Any


class Pass:
    """One reader's way through the batches; see `EpochTracker` for its states.

    Attributes:
        epoch: The epoch it is served.
        served: How many different batches were.
        reads: How many batches were, the same ones again included.
        stale: Whether its next begin takes the sequence's epoch.
        is_open: Whether it has begun and not ended.
        is_guest: Whether it is inside the call of another consumer.
        begins: Whether a loop of the user's own calls `on_epoch_begin` for it.
        is_hooked: Whether Keras calls `on_epoch_end` for it, or the loop does.
        is_resumed: Whether it went on in an epoch of a saved state.
        trains: Whether it is of a dataset and of `fit`.
        is_finished: Whether its iterator has asked for its last batch.
        left: How many calls of `fit` had left its epoch before, in a row, or others in
            the same order.
        ends: How many epochs of Keras have ended in it.
        has_read: Whether a batch was ever asked for, but for peeks.
        idle_ends: How many epochs of Keras have ended before one was.
        in_order: How many batches were asked for as 0, 1, 2, ... up to now.
        run: Its iterator, once that has read.
        run_before: The iterator before it, which was served `epoch_before`.
        restarts: How often, in a row, it ended before it was whole and began again.
        iteration: The number of its iteration, of a dataset.
        first: How many batches the iteration that comes next leaves out, which were
            trained before the state was saved that it goes on from.
    """

    def __init__(self, num_batches: int) -> None:
        self._num_batches = num_batches
        self.stale = True
        self.is_open = self.is_guest = self.begins = self.is_hooked = False
        self.is_resumed = self.trains = self.has_read = False
        self.run: Any = None
        self.run_before: Any = None
        self.epoch = self.epoch_before = 0
        self.restarts = self.iteration = self.in_order = self.left = 0
        self.idle_ends = 0
        self._forget()

    @property
    def whole(self) -> bool:
        """Whether all batches were read, or all that its iterator asks for."""
        return self.is_finished or self.served == self._num_batches

    @property
    def is_closed(self) -> bool:
        """Whether it is whole and has ended."""
        return self.whole and not self.is_open

    def start(self, epoch: int) -> None:
        """Serves `epoch` from its start."""
        if self.run is not None:
            self.run_before, self.epoch_before = self.run, self.epoch
        self.run, self.epoch, self.stale = None, epoch, False
        self._forget()

    def resume(self, epoch: int, batches: int) -> None:
        """Goes on in `epoch` behind its first `batches`, which count as read."""
        self.start(epoch)
        self.is_resumed = True
        self._seen[:batches] = b"\1" * batches
        self.served = self.in_order = self.first = batches

    def begun(self) -> int:
        """An iteration begins: how many batches it leaves out, once."""
        first, self.first = self.first, 0
        return first

    def mark(self, batch: int, is_last: bool = False) -> None:
        """A batch was read; `is_last`, if its iterator asks for no other."""
        follows = batch in (0, self.in_order)
        self.in_order = batch + 1 if follows else -1
        self.served += not self._seen[batch]
        self._seen[batch] = True
        self.reads += 1
        self.has_read = True
        self.is_finished |= is_last

    def _forget(self) -> None:
        self._seen = bytearray(self._num_batches)
        self.served = self.reads = self.first = self.ends = 0
        self.is_finished: bool = False
        self.in_order = 0


class Current:
    """The epoch of the sequence.

    Args:
        epoch: Its number, from 0.
        repeats: Whether all epochs are in the same order.

    Attributes:
        latest: The pass that it was begun for.
        over: Whether the next begin moves it on, for `latest` has ended.
        untrained: Whether it is over by a call that trains nothing.
        reads: How many batches were asked for in this process, of any epoch.
        left: How many calls of `fit`, in a row, have left it before it was whole, or
            others in the same order.
        repeats: Whether all epochs are in the same order, and Keras kept to it.
        place: An epoch, and how many batches of it a `for` loop was given that was
            the last to read; else `None`.
    """

    def __init__(self, epoch: int, repeats: bool = False) -> None:
        self.reads, self.epoch, self.repeats = 0, 0, repeats
        self.place: tuple[int, int] | None = None
        self._warned = mmap.mmap(-1, 1)  # which forked children share
        self.move(epoch)

    @property
    def is_warned(self) -> bool:
        """Whether the user was warned."""
        return bool(self._warned[0])

    @property
    def is_over(self) -> bool:
        """Whether it is over.

        Its last read says so where Keras calls no hook. A generator may, but is not
        asked to go on after the last batch of a `fit`.
        """
        latest = self.latest
        return self.over or bool(latest and latest.whole and not latest.is_hooked)

    @property
    def upcoming(self) -> int:
        """The epoch that a pass is served that begins now."""
        return self.epoch + self.is_over

    def move(self, epoch: int, latest: Pass | None = None) -> None:
        """Makes another one the current one, begun for a pass."""
        if latest is None or epoch != self.epoch:
            self.left = 0 if latest is None else latest.left
        self.epoch, self.over, self.latest = epoch, False, latest
        self.untrained = False

    def end(self, trains: bool) -> None:
        """All of it was read, by `fit` or by a call that trains nothing."""
        self.over, self.untrained = True, not trains

    def warn(self, what: str) -> None:
        """Warns, once for a sequence."""
        if not self.is_warned:
            self._warned[0] = True
            warnings.warn(what, stacklevel=5)

    def warn_of_order(self, what: str) -> None:
        """The same, where epochs differ."""
        if not self.repeats:
            self.warn(what)

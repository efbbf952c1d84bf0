"""What one reader has seen of an epoch, and the epoch that the sequence serves."""

from __future__ import annotations

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
        is_finished: Whether its iterator has asked for its last batch.
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
        self.run: Any = None
        self.run_before: Any = None
        self.epoch = self.epoch_before = 0
        self.restarts = self.iteration = self.in_order = 0
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
        self.is_finished |= is_last

    def _forget(self) -> None:
        self._seen = bytearray(self._num_batches)
        self.served = self.reads = self.first = 0
        self.is_finished: bool = False
        self.in_order = 0


class Current:
    """The epoch of the sequence.

    Args:
        epoch: Its number, from 0.

    Attributes:
        latest: The pass that it was begun for.
        over: Whether the next begin moves it on, for `latest` has ended.
        reads: How many batches were asked for in this process, of any epoch.
    """

    def __init__(self, epoch: int) -> None:
        self.reads = 0
        self.move(epoch)

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
        self.epoch, self.over, self.latest = epoch, False, latest

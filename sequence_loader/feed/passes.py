"""What each reader has seen of an epoch, and the epoch that the sequence serves."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

_KEPT_ITERATIONS = 64
"""Iterations of datasets that are waited for: those that are dropped never say so."""


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
        self.is_resumed = self.trains = False
        self.run: Any = None
        self.run_before: Any = None
        self.epoch = self.epoch_before = 0
        self.restarts = self.iteration = self.in_order = self.left = 0
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
    """

    def __init__(self, epoch: int, repeats: bool = False) -> None:
        self.reads, self.epoch, self.repeats = 0, 0, repeats
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
        if latest is None or epoch != self.epoch:
            self.left = 0 if latest is None else latest.left
        self.epoch, self.over, self.latest = epoch, False, latest
        self.untrained = False

    def end(self, trains: bool) -> None:
        """All of it was read, by `fit` or by a call that trains nothing."""
        self.over, self.untrained = True, not trains


class Passes:
    """The pass of every consumer, by its data adapter; `EpochTracker` has its lock.

    Args:
        current: The epoch of the sequence.
        num_batches: Batches in an epoch.

    Attributes:
        iterations_begun: How many iterations of datasets have.
    """

    def __init__(self, current: Current, num_batches: int) -> None:
        self._current, self._num_batches = current, num_batches
        self._of: weakref.WeakKeyDictionary[Any, Pass] = weakref.WeakKeyDictionary()
        self._unmet: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._iterations: dict[int, tuple[Pass, bool]] = {}
        self.iterations_begun = 0

    def __contains__(self, consumer: Any) -> bool:
        return consumer in self._of

    def __getitem__(self, consumer: Any) -> Pass:
        return self._of[consumer]

    def __iter__(self) -> Iterator[Pass]:
        return iter(list(self._of.values()))

    def get(self, consumer: Any) -> Pass | None:
        """The pass of a consumer; `None`, if there is none, or it is `None`."""
        return None if consumer is None else self._of.get(consumer)

    def meet(self, consumer: Any, around: Iterable[Any]) -> None:
        """A consumer comes, before it reads."""
        found = self._of[consumer] = Pass(self._num_batches)
        found.is_guest = self.is_inside(around, consumer)
        before = self._unmet.pop(consumer, None)
        if before is not None and not found.is_guest:
            self._current.move(before)

    def is_inside(self, around: Iterable[Any], consumer: Any = None) -> bool:
        """Whether a call is running that reads this sequence.

        A callback may read before its `fit` asks a dataset for the first batch. That
        it was a guest is known later, by `meet`, which begins where it did.
        """
        others = [one for one in around if one is not consumer]
        for one in others:
            if one not in self._of:
                self._unmet.setdefault(one, self._current.upcoming)
        return any(one in self._of for one in others)

    def set(self) -> None:
        """The epoch of the sequence is another one, which all take that begin."""
        self._unmet.clear()
        for each in self:
            each.stale = True

    def begin(self, found: Pass, *, again: bool = False) -> None:
        """Begins a pass, or goes on in it; `again`, where its iterator is new."""
        current = self._current
        if found.stale:
            found.start(current.epoch if found.is_guest else current.upcoming)
            is_alike = current.untrained and current.repeats
            left_again = is_alike or found.epoch == current.epoch
            found.left = current.left if left_again else 0
        elif found.whole:
            found.start(found.epoch + 1)
            found.restarts = found.left = 0
        elif found.is_open or again:
            found.restarts += not found.is_open
            found.start(found.epoch)
        found.is_open = True
        if not found.is_guest:
            current.move(found.epoch, found)

    def iterate(self, found: Pass, *, by_loop: bool) -> int:
        """An iteration of a dataset begins, of a loop of the user's own or of Keras."""
        self.iterations_begun += 1
        found.iteration = self.iterations_begun
        self._iterations[found.iteration] = found, by_loop
        if len(self._iterations) > _KEPT_ITERATIONS:
            del self._iterations[min(self._iterations)]
        return found.iteration

    def iterated(self, iteration: int) -> None:
        """Its last batch was handed out."""
        found, by_loop = self._iterations.pop(iteration, (None, False))
        if found is None or found.iteration != iteration or found.stale:
            return
        found.is_finished, found.is_open = True, False
        if found.is_guest or self._current.epoch != found.epoch:
            return
        if by_loop:
            self._current.move(found.epoch + 1)
        else:
            self._current.end(found.trains)

"""The pass of every consumer: which epoch each is served, and what moves it on."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from sequence_loader.backends.keras_calls import trains_again
from sequence_loader.backends.keras_frames import Reader, Steps
from sequence_loader.feed.epoch_warnings import (
    READ_AHEAD,
    begins_anew,
    never_whole,
    read_twice,
)
from sequence_loader.feed.passes import Current, Pass

_KEPT_ITERATIONS = 64
"""Iterations of datasets that are waited for: those that are dropped never say so."""


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
        self.iterations_begun = self._ended_short = 0

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
            current.place = None

    def enter(self, found: Pass, reader: Reader, batch: int) -> int:
        """Begins what a read begins; returns the epoch that it is served."""
        run = reader.run
        if run is None:
            # Threads of Keras ask for each batch once, in any order.
            in_order = found.in_order == self._num_batches
            once = reader.by_enqueuer and found.whole and not found.is_hooked
            wraps = once or (batch == 0 and in_order)
            if found.stale or found.is_closed or wraps:
                self.begin(found, again=wraps)
            elif found.whole and self._is_read_again(found, reader.consumer):
                self._current.warn_of_order(read_twice(found.epoch))
            found.is_open = True
        elif run is found.run_before:  # what it had read ahead before it was dropped
            return found.epoch_before
        elif found.run is not run:
            if found.stale or found.run is not None or found.is_closed:
                self.begin(found, again=True)
            found.run = run
        return found.epoch

    def read(self, found: Pass, reader: Reader, batch: int) -> int:
        """A batch was asked for; returns the epoch that it is served."""
        if reader.by_enqueuer:
            self._current.warn(READ_AHEAD)
        if reader.peeks:
            return self._current.epoch if found.stale else found.epoch
        epoch = self.enter(found, reader, batch)
        if reader.run is None or reader.run is found.run:
            found.mark(batch, reader.is_last)
        return epoch

    def end(
        self,
        reader: Reader,
        elsewhere: tuple[bool, bool],
        trains: bool,
        steps: Steps | None,
    ) -> None:
        """`on_epoch_end` was called; see `EpochTracker`."""
        found, current = self._of[reader.consumer], self._current
        found.ends += found.served > 0  # Keras 3 also ends what it only peeks at
        found.idle_ends += not found.has_read and not elsewhere[0]
        short = False  # for what was read ahead may make it whole
        if steps is not None and 0 < found.ends * steps.count < steps.batches:
            short = not steps.begins_anew
            found.is_finished |= steps.begins_anew
            self._ended_short += trains and steps.begins_anew
            if trains and (steps.follows or self._ended_short > 2):
                current.warn(begins_anew(steps))
        found.is_hooked = found.is_hooked or reader.has_hooks
        if elsewhere[0]:
            if found.stale or found.whole:
                self.begin(found)
            found.is_finished = True
        found.is_open = False
        if found is current.latest and found.whole and not short:
            current.end(trains)
        if elsewhere[1]:
            self.begin(found)
            found.is_open = False
        elif trains and found.served and (short or not found.whole):
            self._leave(found, again=found.restarts > 0)

    def begin_iteration(
        self, found: Pass, *, trains: bool, by_loop: bool
    ) -> tuple[int, int]:
        """An iteration of a dataset begins, of a loop of the user's own or of Keras.

        Returns:
            Its number, and how many batches it leaves out.
        """
        found.trains = trains
        first = found.begun()
        if first:
            found.is_open, self._current.place = True, None
        else:
            again = not (found.stale or found.whole)
            self.begin(found, again=True)
            if trains and not found.is_resumed:  # until all of it was handed out
                self._leave(found, again=again)
        found.is_hooked = True  # it is over when its last batch was handed out
        self.iterations_begun += 1
        found.iteration = self.iterations_begun
        self._iterations[found.iteration] = found, by_loop
        if len(self._iterations) > _KEPT_ITERATIONS:
            del self._iterations[min(self._iterations)]
        if first == self._num_batches:  # none is left, which would say so
            self.iterated(found.iteration)
        return found.iteration, first

    def iterated(self, iteration: int, epoch: int = -1) -> None:
        """Its last batch was handed out, of `epoch` if that is known."""
        found, by_loop = self._iterations.pop(iteration, (None, False))
        if found is None and iteration > 0 and epoch >= self._current.epoch:
            self._current.move(epoch + 1)  # begun in another process, and restored
        if found is None or found.iteration != iteration or found.stale:
            return
        found.is_finished, found.is_open = True, False
        if found.is_guest or self._current.epoch != found.epoch:
            return
        if by_loop:
            self._current.move(found.epoch + 1)
        else:
            self._current.end(found.trains)

    def _is_read_again(self, found: Pass, consumer: Any) -> bool:
        """Whether more is read again than may be ahead of the end of a `fit`."""
        times, rest = divmod(found.reads, self._num_batches)
        return not rest and (times == 2 or (times == 1 and trains_again(consumer)))

    def _leave(self, found: Pass, *, again: bool) -> None:
        """`fit` leaves an epoch before it is whole; `again`, if it did so before.

        Calls that were broken off are no habit before the third.
        """
        current = self._current
        current.left = found.left + 1
        current.repeats &= found.served == found.in_order
        if again or found.left > 1:
            current.warn(never_whole(found.epoch, current.repeats))

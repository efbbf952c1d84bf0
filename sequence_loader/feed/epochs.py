"""Whose pass is this, and which epoch is it served: a small state machine.

An epoch of the data is not an epoch of Keras. Keras reads batches ahead and in
any order, reads some only to learn their shapes, goes on in the same pass over
several of its epochs under ``steps_per_epoch``, and stops in the middle without
a word. And while one reader is on its way, others come: a callback evaluates.

Every `fit`, `evaluate` and `predict` is a consumer, known by its data adapter
(`keras_frames`), and has a pass of its own:

    stale --begin--> open --end--> closed --begin--> open ...

    begin    Keras 3 begins one of its epochs, or a batch is asked for by another
             iterator than before (of a generator: batch 0 once more): the next
             epoch, if the pass was whole; the same pass goes on, if it was closed and
             not whole (``steps_per_epoch``); else the same epoch from its start, for
             the pass was left early
    read     marks the batch; a pass is whole once all were read, or all that its
             iterator asks for. A peek marks nothing
    end      closes the pass
    set      makes every pass stale: its next begin takes the sequence's epoch

The order of a pass is fixed when it begins; no other reader changes it. A consumer
that begins inside the call of another is its guest: it starts from the epoch of the
sequence, and does not move it. Every other moves it, and takes the one after it where
the pass before it was whole and closed.

A pass that is resumed goes on behind batches that count as read: the next `for` loop
or iteration of a dataset leaves them out.
"""

from __future__ import annotations

import mmap
import threading
import warnings
from collections.abc import Iterable
from multiprocessing import parent_process
from typing import Any

from sequence_loader.backends.keras_calls import (
    Call,
    adapters_beside,
    trains_again,
)
from sequence_loader.backends.keras_frames import Reader, Steps
from sequence_loader.feed.epoch_warnings import (
    ENDED_TWICE,
    READ_AHEAD,
    READ_BESIDE,
    READ_IN_COPIES,
    begins_anew,
    never_whole,
    read_twice,
)
from sequence_loader.feed.own_loop import OwnLoop
from sequence_loader.feed.passes import Current, Pass, Passes
from sequence_loader.forks import renew_after_fork


class EpochTracker:
    """Decides which epoch a reader is served. Safe to use from any thread.

    Args:
        num_batches: Batches in an epoch.
        epoch: The epoch to begin with.
        repeats: Whether all epochs are in the same order.
        is_copy: Whether it was made for the copy of a sequence in another process.

    Attributes:
        is_set: Whether the user has said which epoch is served.
    """

    def __init__(
        self,
        num_batches: int,
        epoch: int = 0,
        repeats: bool = False,
        is_copy: bool = False,
    ) -> None:
        self._num_batches = num_batches
        self._current = Current(epoch, repeats)
        self._loop = OwnLoop(self._current, num_batches)
        self._passes = Passes(self._current, num_batches)
        self._said = mmap.mmap(-1, 1)  # which forked children share
        self._ended_short, self.is_set = 0, False
        self.after_fork()
        self._is_copy = is_copy
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.RLock()  # a signal's handler may ask for the epoch
        self._is_copy = True

    @property
    def epoch(self) -> int:
        """The current epoch of the data, from 0."""
        return self._current.epoch

    def upcoming(self) -> int:
        """The epoch that a pass is served that begins now."""
        with self._lock:
            return self._current.upcoming

    @property
    def position(self) -> tuple[int, int]:
        """An epoch, and how many batches of it a `for` loop was given.

        Of other readers it is not known how many were trained of what was read: the
        start of the epoch that comes next, in the middle of a pass that of the pass.
        """
        with self._lock:
            if self.resumes:
                return self._current.epoch, self.resumes
            return self._loop.place or (self._current.upcoming, 0)

    @property
    def resumes(self) -> int:
        """How many batches the loop leaves out that comes next."""
        return self._loop.resumes

    @property
    def served(self) -> int:
        """How many different batches of this epoch have been served."""
        latest = self._current.latest
        return 0 if latest is None else latest.served

    def set(self, epoch: int) -> None:
        """Makes `epoch` the current one, with nothing served of it.

        The epoch that was resumed stays where it is, until a loop goes on in it.
        """
        with self._lock:
            if self.resumes and epoch == self._current.epoch:
                return
            self.is_set = True
            self._current.move(epoch)
            self._loop.place = None
            self._loop.way.stale = True
            self._passes.set()

    def resume(
        self,
        epoch: int,
        batches: int,
        consumer: Any = None,
        *,
        leaves_out: bool = True,
    ) -> None:
        """Goes on in `epoch` behind its first `batches`, which count as read.

        Args:
            epoch: Becomes the current one.
            batches: How many the next loop or iteration leaves out.
            consumer: The one that goes on, known by `meet`; `None` for a loop.
            leaves_out: Whether its next iteration leaves them out; it may not ask for
                them.
        """
        with self._lock:
            self._loop.way.stale = True
            self.set(epoch)
            found = self._loop.way if consumer is None else self._passes[consumer]
            found.resume(epoch, batches)
            found.first *= leaves_out
            found.is_open = found.begins = found.is_hooked = False
            if consumer is not None:
                self._current.move(epoch, found)

    def loop_begins(self, epoch: int) -> int:
        """A `for` loop begins; returns how many batches it leaves out."""
        with self._lock:
            return self._loop.iterated(epoch)

    def hand_out(self, epoch: int, batches: int) -> None:
        """A `for` loop is given a batch, the last one of so many."""
        self._loop.place = epoch, batches

    def pass_epoch(self, consumer: Any) -> int | None:
        """The epoch of a consumer's pass; `None`, if it has begun none."""
        with self._lock:
            found = self._passes.get(consumer)
            return None if found is None or found.stale else found.epoch

    def next_epoch(self, consumer: Any) -> int:
        """The epoch of a consumer's next pass; of the next one to come, for `None`."""
        with self._lock:
            epoch = None if consumer is None else self.pass_epoch(consumer)
            if epoch is None:
                return self._current.upcoming
            return epoch + self._passes[consumer].whole

    def knows(self, consumer: Any) -> bool:
        """Whether `meet` was called with it."""
        return consumer is None or consumer in self._passes

    def meet(
        self, consumer: Any, around: Iterable[Any], is_hooked: bool = False
    ) -> None:
        """A consumer comes, before it reads.

        Args:
            consumer: A data adapter of Keras.
            around: The adapters of the calls that are running.
            is_hooked: Whether `end` is certain to be called for it.
        """
        with self._lock:
            self._passes.meet(consumer, around)
            self._passes[consumer].is_hooked = is_hooked

    def entered(self, reader: Reader) -> int:
        """The epoch that a reader is served, where it reads on from here."""
        with self._lock:
            found = self._passes.get(reader.consumer)
            if found is None or (found.stale and (reader.peeks or reader.run is None)):
                return self._current.epoch
            if reader.run is not None and not reader.peeks:
                return self._enter(found, reader, -1)
            return found.epoch

    def read(self, reader: Reader, batch: int) -> int:
        """A batch was asked for.

        Args:
            reader: Who asks; known by `meet`, if it is a consumer.
            batch: Its number.

        Returns:
            The epoch it is served from.
        """
        with self._lock:
            self._current.reads += 1
            if reader.consumer is None:
                if self._is_copy and not (self.is_set or reader.by_enqueuer):
                    if parent_process() is not None:  # it serves that one, and no file
                        self._say_of_order(READ_IN_COPIES)
                self._read_alone(batch)
                return self._current.epoch
            found = self._passes[reader.consumer]
            if reader.by_enqueuer:
                self._say(READ_AHEAD)
            if reader.peeks:
                return self._current.epoch if found.stale else found.epoch
            epoch = self._enter(found, reader, batch)
            if reader.run is None or reader.run is found.run:
                found.mark(batch, reader.is_last)
            return epoch

    def read_at(self, epoch: int, batch: int) -> None:
        """A loop of the user's own was served a batch of an epoch it began before."""
        with self._lock:
            if epoch == self._current.epoch:
                self._current.reads += 1
                self._read_alone(batch)

    def begin(self, reader: Reader) -> None:
        """`on_epoch_begin` was called."""
        with self._lock:
            if reader.consumer is None:
                self._loop.begin()
            else:
                self._begin(self._passes[reader.consumer])

    def end(
        self,
        reader: Reader,
        *,
        elsewhere: tuple[bool, bool] = (False, False),
        trains: bool = False,
        steps: Steps | None = None,
    ) -> None:
        """`on_epoch_end` was called.

        Args:
            reader: Who calls.
            elsewhere: Whether other processes read a whole epoch, and another comes.
            trains: Whether the end is one of `fit`.
            steps: Those of the epoch of Keras, if they were asked for.
        """
        with self._lock:
            if reader.is_enqueuer:
                return
            if reader.consumer is None:
                if not self._loop.end():
                    self._say(ENDED_TWICE)
                return
            found = self._passes[reader.consumer]
            found.ends += found.served > 0  # Keras 3 also ends what it only peeks at
            short = False  # for what was read ahead may make it whole
            if steps is not None and 0 < found.ends * steps.count < steps.batches:
                short = not steps.begins_anew
                found.is_finished |= steps.begins_anew
                self._ended_short += trains and steps.begins_anew
                if trains and (steps.follows or self._ended_short > 2):
                    self._say(begins_anew(steps))
            found.is_hooked = found.is_hooked or reader.has_hooks
            if elsewhere[0]:
                if found.stale or found.whole:
                    self._begin(found)
                found.is_finished = True
            found.is_open = False
            if found is self._current.latest and found.whole and not short:
                self._current.end(trains)
            if elsewhere[1]:
                self._begin(found)
                found.is_open = False
            elif trains and found.served and (short or not found.whole):
                self._leave(found, again=found.restarts > 0)

    def begin_iteration(
        self, call: Call, *, trains: bool = False
    ) -> tuple[int, int, int]:
        """A dataset is iterated.

        Args:
            call: What Keras is running.
            trains: Whether that is `fit`.

        Returns:
            The epoch that the iteration serves, its number, for `iterated`, and how
            many batches it leaves out.
        """
        with self._lock:
            self._current.reads += 1
            if call.peeks:
                return self._current.epoch, -1, 0
            if call.consumer is None:
                found = Pass(self._num_batches)
                found.is_guest = self._passes.is_inside(call.around)
                if self.resumes and not found.is_guest:
                    found.resume(self._current.epoch, self._loop.way.begun())
            else:
                if not self.knows(call.consumer):
                    self.meet(call.consumer, call.around)
                found = self._passes[call.consumer]
            found.trains = trains
            first = found.begun()
            if first:
                found.is_open, self._loop.place = True, None
            else:
                again = not (found.stale or found.whole)
                self._begin(found, again=True)
                if trains and not found.is_resumed:  # until all of it was handed out
                    self._leave(found, again=again)
            found.is_hooked = True  # it is over when its last batch was handed out
            number = self._passes.iterate(found, by_loop=call.consumer is None)
            if first == self._num_batches:  # none is left, which would say so
                self.iterated(number)
            return found.epoch, number, first

    def iterated(self, iteration: int) -> None:
        """A dataset has handed out the last batch of an iteration."""
        with self._lock:
            self._passes.iterated(iteration)

    def _read_alone(self, batch: int) -> None:
        """A loop of the user's own asks; it may be what a `fit` is fed by."""
        if self._loop.read(batch) and not batch and not self._said[0]:
            beside = adapters_beside()
            passes = filter(None, map(self._passes.get, beside))
            if beside and not any(each.served for each in passes):
                self._say_of_order(READ_BESIDE)

    def _enter(self, found: Pass, reader: Reader, batch: int) -> int:
        """Begins what a read begins; returns the epoch that it is served."""
        run = reader.run
        if run is None:
            # Threads of Keras ask for each batch once, in any order.
            in_order = found.in_order == self._num_batches
            once = reader.by_enqueuer and found.whole and not found.is_hooked
            wraps = once or (batch == 0 and in_order)
            if found.stale or found.is_closed or wraps:
                self._begin(found, again=wraps)
            elif found.whole and self._is_read_again(found, reader.consumer):
                self._say_of_order(read_twice(found))
            found.is_open = True
        elif run is found.run_before:  # what it had read ahead before it was dropped
            return found.epoch_before
        elif found.run is not run:
            if found.stale or found.run is not None or found.is_closed:
                self._begin(found, again=True)
            found.run = run
        return found.epoch

    def _is_read_again(self, found: Pass, consumer: Any) -> bool:
        """Whether more is read again than may be ahead of the end of a `fit`."""
        times, rest = divmod(found.reads, self._num_batches)
        return not rest and (times == 2 or (times == 1 and trains_again(consumer)))

    def _begin(self, found: Pass, *, again: bool = False) -> None:
        """Begins a pass, or goes on in it; `again`, where its iterator is new."""
        self._passes.begin(found, again=again)
        if not found.is_guest:
            self._loop.place = None

    def _leave(self, found: Pass, *, again: bool) -> None:
        """`fit` leaves an epoch before it is whole; `again`, if it did so before.

        Calls that were broken off are no habit before the third.
        """
        self._current.left = found.left + 1
        self._current.repeats &= found.served == found.in_order
        if again or found.left > 1:
            self._say(never_whole(found.epoch, self._current.repeats))

    def _say(self, what: str) -> None:
        """Warns, once for a sequence."""
        if not self._said[0]:
            self._said[0] = True
            warnings.warn(what, stacklevel=4)

    def _say_of_order(self, what: str) -> None:
        """Warns, where epochs differ."""
        if not self._current.repeats:
            self._say(what)

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
sequence, and does not move it; so does one that trains nothing, in the middle of a loop
of the user's own. Every other moves it, and takes the one after it where the pass
before it was whole and closed.

A pass that is resumed goes on behind batches that count as read: the next `for` loop
or iteration of a dataset leaves them out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from multiprocessing import parent_process
from typing import Any

from sequence_loader.backends.keras_calls import Call, is_of_fit
from sequence_loader.backends.keras_frames import Reader, Steps
from sequence_loader.feed.consumers import Passes
from sequence_loader.feed.epoch_warnings import ENDED_TWICE, READ_IN_COPIES
from sequence_loader.feed.own_loop import OwnLoop
from sequence_loader.feed.passes import Current, Pass
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
        times_set: How often that was.
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
        self._passes = Passes(self._current, num_batches)
        self._loop = OwnLoop(self._current, self._passes, num_batches)
        self.is_set, self.times_set = False, 0
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
            return self._current.place or (self._current.upcoming, 0)

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
            self.times_set += 1
            self._current.move(epoch)
            self._current.place = None
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
        self._current.place = epoch, batches

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
        self,
        consumer: Any,
        around: Iterable[Any],
        is_hooked: bool = False,
        *,
        trains: bool = True,
    ) -> None:
        """A consumer comes, before it reads.

        Args:
            consumer: A data adapter of Keras.
            around: The adapters of the calls that are running.
            is_hooked: Whether `end` is certain to be called for it.
            trains: Whether it is one of `fit`. Any other that comes in the middle of a
                loop of the user's own is a guest of that: a `fit` would go on alone,
                for the loop may have looked at one batch and left.
        """
        with self._lock:
            self._passes.meet(consumer, around)
            found = self._passes[consumer]
            found.is_hooked = is_hooked
            found.is_guest |= self._loop.is_amid and not trains

    def entered(self, reader: Reader) -> int:
        """The epoch that a reader is served, where it reads on from here."""
        with self._lock:
            found = self._passes.get(reader.consumer)
            if found is None or (found.stale and (reader.peeks or reader.run is None)):
                return self._current.epoch
            if reader.run is not None and not reader.peeks:
                return self._passes.enter(found, reader, -1)
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
            if reader.consumer is not None:
                return self._passes.read(self._passes[reader.consumer], reader, batch)
            if self._copies(batch) and not reader.by_enqueuer:
                self._current.warn_of_order(READ_IN_COPIES)
            self._loop.read(batch)
            return self._current.epoch

    def read_at(self, epoch: int, batch: int) -> None:
        """A loop of the user's own was served a batch of an epoch it began before."""
        with self._lock:
            if epoch == self._current.epoch:
                self._current.reads += 1
                if self._copies(batch):
                    self._current.warn_of_order(READ_IN_COPIES)
                self._loop.read(batch)

    def _copies(self, batch: int) -> bool:
        """Whether a copy is read, past the batch that is looked at before a `fit`."""
        if not batch or self.is_set or not self._is_copy:
            return False
        return parent_process() is not None  # it serves that one, and no file

    def begin(self, reader: Reader) -> None:
        """`on_epoch_begin` was called."""
        with self._lock:
            if reader.consumer is None:
                self._loop.begin()
            else:
                self._passes.begin(self._passes[reader.consumer])

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
                self._loop.end()
            else:
                self._passes.end(reader, elsewhere, trains, steps)
                idle = self._passes[reader.consumer].idle_ends > 1 and not self.is_set
                if idle and is_of_fit(reader.consumer):
                    self._current.warn_of_order(ENDED_TWICE)

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
                    self.meet(call.consumer, call.around, trains=trains)
                found = self._passes[call.consumer]
            number, first = self._passes.begin_iteration(
                found, trains=trains, by_loop=call.consumer is None
            )
            return found.epoch, number, first

    def iterated(self, iteration: int, epoch: int = -1) -> None:
        """A dataset has handed out the last batch of an iteration of `epoch`."""
        with self._lock:
            self._passes.iterated(iteration, epoch)

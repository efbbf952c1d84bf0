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

A loop of the user's own, and any reader that is not found, is no consumer. It reads
the epoch of the sequence; `end` moves that on once all batches were read, or, where
the loop calls `begin` as well, the next `begin` does.

A pass that is resumed goes on behind batches that count as read: the next `for` loop
or iteration of a dataset leaves them out.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

from sequence_loader.backends.keras_frames import NOBODY, Call, Reader
from sequence_loader.feed.passes import Pass
from sequence_loader.forks import renew_after_fork

_KEPT_ITERATIONS = 64
"""Iterations of datasets that are waited for: those that are dropped never say so."""


class EpochTracker:
    """Decides which epoch a reader is served. Safe to use from any thread.

    Args:
        num_batches: Batches in an epoch.
        epoch: The epoch to begin with.
    """

    def __init__(self, num_batches: int, epoch: int = 0) -> None:
        self._num_batches = num_batches
        self._epoch = epoch
        self._passes: weakref.WeakKeyDictionary[Any, Pass] = (
            weakref.WeakKeyDictionary()
        )
        self._iterations: dict[int, Pass] = {}
        self._iterations_begun = 0
        self._loop = Pass(num_batches)  # of the user's own
        self._latest: Pass | None = None  # the pass that the epoch is begun for
        self._over = False  # the next begin moves the epoch
        self._place: tuple[int, int] | None = None  # of a `for` loop
        self._reads, self._reads_at_end = 0, -1
        self._said = False
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.RLock()  # a signal's handler may ask for the epoch

    @property
    def epoch(self) -> int:
        """The current epoch of the data, from 0."""
        return self._epoch

    def upcoming(self) -> int:
        """The epoch that a pass is served that begins now."""
        with self._lock:
            return self._epoch + self._is_over()

    @property
    def position(self) -> tuple[int, int]:
        """An epoch, and how many batches of it a `for` loop was given.

        Of other readers it is not known how many were trained of what was read: the
        start of the epoch that comes next, in the middle of a pass that of the pass.
        """
        with self._lock:
            if self.resumes:
                return self._epoch, self.resumes
            return self._place or (self.upcoming(), 0)

    @property
    def resumes(self) -> int:
        """How many batches the loop leaves out that comes next."""
        loop = self._loop
        return 0 if loop.stale or loop.epoch != self._epoch else loop.first

    @property
    def served(self) -> int:
        """How many different batches of this epoch have been served."""
        return 0 if self._latest is None else self._latest.served

    def set(self, epoch: int) -> None:
        """Makes `epoch` the current one, with nothing served of it.

        The epoch that was resumed stays where it is, until a loop goes on in it.
        """
        with self._lock:
            if self.resumes and epoch == self._epoch:
                return
            self._move(epoch)
            self._place = None
            for each in (self._loop, *self._passes.values()):
                each.stale = True

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
            self._loop.stale = True
            self.set(epoch)
            found = self._loop if consumer is None else self._passes[consumer]
            found.resume(epoch, batches)
            found.first *= leaves_out
            found.is_open = found.begins = found.is_hooked = False
            if consumer is not None:
                self._move(epoch, found)

    def loop_begins(self, epoch: int) -> int:
        """A `for` loop begins; returns how many batches it leaves out."""
        with self._lock:
            first = self._loop.begun() if epoch == self._epoch and self.resumes else 0
            self._place = epoch, first
            return first

    def hand_out(self, epoch: int, batches: int) -> None:
        """A `for` loop is given a batch, the last one of so many."""
        self._place = epoch, batches

    def pass_epoch(self, consumer: Any) -> int | None:
        """The epoch of a consumer's pass; `None`, if it has begun none."""
        with self._lock:
            found = self._passes.get(consumer)
            return None if found is None or found.stale else found.epoch

    def next_epoch(self, consumer: Any) -> int | None:
        """The epoch of a consumer's next pass; `None`, if it has begun none."""
        with self._lock:
            epoch = self.pass_epoch(consumer)
            return None if epoch is None else epoch + self._passes[consumer].whole

    def knows(self, consumer: Any) -> bool:
        """Whether `meet` was called with it."""
        return consumer is None or consumer in self._passes

    def meet(self, consumer: Any, around: Iterable[Any]) -> None:
        """A consumer comes, before it reads.

        Args:
            consumer: A data adapter of Keras.
            around: The adapters of the calls that are running.
        """
        with self._lock:
            found = self._passes[consumer] = Pass(self._num_batches)
            found.is_guest = self._is_inside(around, consumer)

    def entered(self, reader: Reader) -> int:
        """The epoch that a reader is served, where it reads on from here."""
        with self._lock:
            found = self._passes.get(reader.consumer) if reader.consumer else None
            if found is None or (found.stale and (reader.peeks or reader.run is None)):
                return self._epoch
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
            self._reads += 1
            if reader.consumer is None:
                self._follow()
                if self._loop.is_open or not self._loop.begins:
                    self._loop.mark(batch)
                return self._epoch
            found = self._passes[reader.consumer]
            if reader.by_enqueuer:
                self._say(
                    "a dataset of your own that holds this sequence has `workers` or "
                    "`use_multiprocessing`: threads of Keras 3 read ahead of an epoch "
                    "that ends, and train some batches twice and others never. Pass "
                    "them to SparseBatchSequence, and workers=1 to your dataset."
                )
            if reader.peeks:
                return self._epoch if found.stale else found.epoch
            epoch = self._enter(found, reader, batch)
            if reader.run is None or reader.run is found.run:
                found.mark(batch, reader.is_last)
            return epoch

    def read_at(self, epoch: int, batch: int) -> None:
        """A loop of the user's own was served a batch of an epoch it began before."""
        with self._lock:
            if epoch == self._epoch:
                self.read(NOBODY, batch)

    def begin(self, reader: Reader) -> None:
        """`on_epoch_begin` was called."""
        with self._lock:
            if reader.consumer is not None:
                found = self._passes[reader.consumer]
                self._begin(found)
                return
            self._follow()
            loop, whole = self._loop, self._loop.begins and self._loop.whole
            again = self._is_over() or whole or loop.is_open or not loop.begins
            if again and not loop.first:
                loop.start(self._epoch + (self._is_over() or whole))
            loop.begins = loop.is_hooked = loop.is_open = True
            self._move(loop.epoch, loop)

    def end(
        self,
        reader: Reader,
        *,
        elsewhere: tuple[bool, bool] = (False, False),
        trains: bool = False,
    ) -> None:
        """`on_epoch_end` was called.

        Args:
            reader: Who calls.
            elsewhere: Whether other processes read a whole epoch, and another comes.
            trains: Whether the end is one of `fit`.
        """
        with self._lock:
            if reader.is_enqueuer:
                return
            if reader.consumer is None:
                self._end_loop()
                return
            found = self._passes[reader.consumer]
            found.is_hooked = found.is_hooked or reader.has_hooks
            if elsewhere[0]:
                if found.stale or found.whole:
                    self._begin(found)
                found.is_finished = True
            found.is_open = False
            if found is self._latest and found.whole:
                self._over = True
            if elsewhere[1]:
                self._begin(found)
                found.is_open = False
            elif trains and found.restarts and not found.whole:
                self._say(
                    f"only {found.served} of {self._num_batches} batches of epoch "
                    f"{found.epoch} were read before `on_epoch_end`, not for the first "
                    f"time: an epoch is served again until all of it was read, so the "
                    f"other batches are never trained. Leave `steps_per_epoch` away, "
                    f"or call set_epoch(epoch) before each epoch."
                )

    def begin_iteration(self, call: Call) -> tuple[int, int, int]:
        """A dataset is iterated.

        Args:
            call: What Keras is running.

        Returns:
            The epoch that the iteration serves, its number, for `iterated`, and how
            many batches it leaves out.
        """
        with self._lock:
            self._reads += 1
            if call.peeks:
                return self._epoch, -1, 0
            if call.consumer is None:
                found = Pass(self._num_batches)
                found.is_guest = self._is_inside(call.around)
                if self.resumes and not found.is_guest:
                    found.resume(self._epoch, self._loop.begun())
            else:
                if not self.knows(call.consumer):
                    self.meet(call.consumer, call.around)
                found = self._passes[call.consumer]
            first = found.begun()
            if first:
                found.is_open, self._place = True, None
            else:
                self._begin(found, again=True)
            found.is_hooked = True  # it is over when its last batch was handed out
            self._iterations_begun += 1
            found.iteration = self._iterations_begun
            self._iterations[found.iteration] = found
            if len(self._iterations) > _KEPT_ITERATIONS:
                del self._iterations[min(self._iterations)]
            if first == self._num_batches:  # none is left, which would say so
                self.iterated(found.iteration)
            return found.epoch, found.iteration, first

    def iterated(self, iteration: int) -> None:
        """A dataset has handed out the last batch of an iteration."""
        with self._lock:
            found = self._iterations.pop(iteration, None)
            if found is None or found.iteration != iteration or found.stale:
                return
            found.is_finished, found.is_open = True, False
            if not found.is_guest and self._epoch == found.epoch:
                self._move(found.epoch + 1)

    def _is_inside(self, around: Iterable[Any], consumer: Any = None) -> bool:
        return any(one is not consumer and one in self._passes for one in around)

    def _is_over(self) -> bool:
        """Whether the sequence's epoch is over.

        Its last read says so where Keras calls no hook. A generator may, but is not
        asked to go on after the last batch of a `fit`.
        """
        latest = self._latest
        return self._over or bool(latest and latest.whole and not latest.is_hooked)

    def _move(self, epoch: int, latest: Pass | None = None) -> None:
        self._epoch, self._over, self._latest = epoch, False, latest

    def _enter(self, found: Pass, reader: Reader, batch: int) -> int:
        """Begins what a read begins; returns the epoch that it is served."""
        run = reader.run
        if run is None:
            wraps = batch == 0 and found.in_order == self._num_batches
            if found.stale or found.is_closed or wraps:
                self._begin(found, again=wraps)
            elif found.reads == 2 * self._num_batches and found.whole:
                self._say(
                    f"a generator or dataset over this sequence has read epoch "
                    f"{found.epoch} twice, and not in order: where it ends cannot be "
                    f"known. Have it call on_epoch_end() after all batches, or "
                    f"set_epoch(epoch) before them."
                )
            found.is_open = True
        elif run is found.run_before:  # what it had read ahead before it was dropped
            return found.epoch_before
        elif found.run is not run:
            if found.stale or found.run is not None or found.is_closed:
                self._begin(found, again=True)
            found.run = run
        return found.epoch

    def _begin(self, found: Pass, *, again: bool = False) -> None:
        """Begins a pass, or goes on in it; `again`, where its iterator is new."""
        if found.stale:
            found.start(self._epoch + (not found.is_guest and self._is_over()))
        elif found.whole:
            found.start(found.epoch + 1)
            found.restarts = 0
        elif found.is_open or again:
            found.restarts += not found.is_open
            found.start(found.epoch)
        found.is_open = True
        if not found.is_guest:
            self._move(found.epoch, found)
            self._place = None

    def _follow(self) -> None:
        """A loop of the user's own reads the sequence's epoch."""
        if self._loop.stale or self._loop.epoch != self._epoch:
            self._loop.start(self._epoch)
            self._loop.begins = self._loop.is_hooked = False

    def _end_loop(self) -> None:
        self._follow()
        self._place = None
        loop = self._loop
        if loop.whole and not loop.begins:
            self._move(self._epoch + 1)
        elif loop.begins:
            self._over = self._over or (loop.is_open and loop.whole)
            loop.is_open = False
        elif self._reads == self._reads_at_end:
            self._say(
                "`on_epoch_end` was called twice, and no batch was read in this "
                "process in between: where other processes read, a sequence cannot "
                "know that its epoch is over, and serves it again. Call "
                "set_epoch(epoch) before each epoch."
            )
        self._reads_at_end = self._reads

    def _say(self, what: str) -> None:
        """Warns, once for a sequence."""
        if not self._said:
            self._said = True
            warnings.warn(what, stacklevel=4)

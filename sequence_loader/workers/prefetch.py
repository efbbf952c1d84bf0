"""Workers: the batches asked for -> their features, prepared beside the training.

- While batches are asked for in order, the next ones are prepared ahead, whole
  batches side by side. One that is asked for out of order is split over the workers.
- What is prepared ahead is a cache that nothing depends on: a batch has the same
  bytes wherever it comes from.
- Nobody waits in silence: a worker that fails is an error of the batch it worked
  on, or of the next one; a worker that takes long is warned of.
"""

from __future__ import annotations

import math
import os
import threading
import time
import warnings
import weakref
from collections import OrderedDict
from concurrent.futures import wait
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.batches.reader import BatchReader
from sequence_loader.batches.structures import Structure, leaves, map_structure
from sequence_loader.order.plan import BatchPlan, PlannedBatch
from sequence_loader.rows.csr import CsrRows, joined
from sequence_loader.workers import errors, pickling
from sequence_loader.workers.errors import WorkerError
from sequence_loader.workers.interrupts import watch
from sequence_loader.workers.pool import Crew, Served, Task, ended, visits
from sequence_loader.workers.process import CLOSE_SECONDS
from sequence_loader.workers.readahead import ReadAhead

STUCK_SECONDS = 30.0
"""A worker that takes so long for a job is reported. It is still waited for: a
transform may take its time."""

POLL_SECONDS = 0.2
"""How often one who waits looks whether it is still worth waiting."""


class WorkerCounts(NamedTuple):
    """What workers have done for the batches that were asked for.

    Attributes:
        prepared: Batches that were begun before they were asked for.
        ahead: Batches that are done now and have not been asked for.
        seconds: What serving their rows took, summed over workers.
        bytes_read: What processes have read from files.
    """

    prepared: int = 0
    ahead: int = 0
    seconds: float = 0.0
    bytes_read: int = 0


class Workers:
    """Prepares the features of batches on threads or processes. Picklable.

    They start when the first batch is asked for, and again after `close`; they stay
    from one epoch and one `fit` to the next. Without a `transform` there are only
    threads, since rows would cost more to send than to take, and none where they
    would not help either. In a forked child there are none.

    Args:
        reader: Reads the batches.
        count: The most workers; 0, or 1 thread, stand for none at all.
        processes: Whether they are processes.
        limit: The most batches to prepare ahead.

    Raises:
        TypeError: A transform cannot be sent to another process.
        ImportError: Processes need an extra that is not installed.
        OSError: There are no process workers on this platform.
    """

    def __init__(
        self, reader: BatchReader, count: int, processes: bool, limit: int
    ) -> None:
        self._arguments = reader, count, processes, limit
        self._reader, self._limit = reader, limit
        self._readers = leaves(reader.inputs)
        self._sent = {
            i: pickling.sent(one)
            for i, one in enumerate(self._readers)
            if processes and count and pickling.travels(one)
        }
        if self._sent:
            pickling.check_available()
            pickling.description(list(self._sent.values()))
        self.processes = bool(self._sent)
        self._only_reads = not reader.has_transform and not self.processes
        useless = count < 2 or (self._only_reads and not reader.threads_help)
        self.count = count if self.processes or not useless else 0
        self._pid = os.getpid()
        self._lock = threading.Lock()  # guards the crew, the cache and the guesses
        self._crew: Crew | None = None
        self._interrupted, self._counts = False, WorkerCounts()
        self._forget()

    def __reduce__(self) -> tuple[Any, ...]:
        return Workers, self._arguments

    def __str__(self) -> str:
        kind = "process" if self.processes else "thread"
        plural = "" if self.count == 1 else "es" if self.processes else "s"
        number = f"{self.count or 'no'} worker {kind}{plural}"
        return number if self._crew is None else f"{number}, running"

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that they belong to."""
        return os.getpid() != self._pid

    def features(
        self, plan: BatchPlan, planned: PlannedBatch, by_threads: bool = False
    ) -> Structure | None:
        """The features of a batch; called from several threads at once.

        Args:
            plan: What is in which batch.
            planned: One of its batches.
            by_threads: Whether as many threads as there are workers ask side by
                side, and may as well read the rows themselves.

        Returns:
            What ``reader.read_features`` returns; `None` if the caller is to
            call that.

        Raises:
            WorkerError: A worker failed.
        """
        if not self.count or self.forked or (by_threads and self._only_reads):
            return None
        if _in_main_thread():
            self.resume()
            return self._features(plan, planned)
        with visits:
            if self._interrupted or ended.is_set():
                raise errors.closed(planned)
            return self._features(plan, planned)

    def _features(self, plan: BatchPlan, planned: PlannedBatch) -> Structure:
        tasks = self._tasks(plan, planned)
        try:
            parts = [self._structured(self._result(task)) for task in tasks]
        except WorkerError:
            raise
        except BaseException:  # Ctrl-C, or a warning that is made an error
            # A thread in a stuck transform is not waited for.
            self._close(CLOSE_SECONDS if self.processes else 0)
            raise
        with self._lock:
            prepared, _, seconds, nbytes = self._counts
            self._counts = WorkerCounts(
                prepared + any(task.was_ahead for task in tasks),
                0,
                seconds + sum(task.seconds for task in tasks),
                nbytes + sum(task.bytes_read for task in tasks),
            )
        return parts[0] if len(parts) == 1 else map_structure(_joined, *parts)

    def counts(self) -> WorkerCounts:
        """What they have done in this process."""
        if self.forked:
            return WorkerCounts()
        with self._lock:
            done = sum(task.future.done() for task in self._cache.values())
            return self._counts._replace(ahead=done)

    def resume(self) -> None:
        """Has what Ctrl-C has stopped go on: it is the user who asks again.

        Until then, nothing that TensorFlow's threads ask for starts new workers.
        """
        self._interrupted = False

    def close(self) -> None:
        """Ends the workers; the next batch starts new ones."""
        self._close(CLOSE_SECONDS)

    def _close(self, patience: float) -> None:
        if self.forked:
            return
        with self._lock:
            crew, self._crew = self._crew, None
            self._forget()
        if crew is not None:
            self._finalizer.detach()
            crew.close(patience)

    def _forget(self) -> None:
        self._cache: OrderedDict[tuple[int, int], Task] = OrderedDict()
        self._readahead = ReadAhead(max(self.count, 1), self._limit)
        self._splits = False

    def _start(self) -> Crew:
        if self._crew is None:
            description = pickling.description(list(self._sent.values()))
            self._crew = Crew(self.count, self._readers, self._sent, description)
            # At exit, the crew sees to itself.
            self._finalizer = weakref.finalize(self, self._crew.close, 0)
            self._finalizer.atexit = False
        return self._crew

    def _tasks(self, plan: BatchPlan, planned: PlannedBatch) -> list[Task]:
        """The tasks that give a batch, and those ahead of it set going."""
        with self._lock:
            crew = self._start()
            crew.raise_deaths()
            epoch, rows = planned.epoch, planned.rows
            found = self._cache.pop((epoch, planned.number), None)
            if found is not None and _is_good(found, rows):
                found.was_ahead = True
                tasks = [found]
            else:
                parts = [rows]
                if self._splits and len(rows) > 1:
                    parts = np.array_split(rows, min(self.count, len(rows)))
                tasks = [crew.submit(planned._replace(rows=part)) for part in parts]
            ahead = self._readahead.asked(epoch, planned.number, plan.num_batches)
            if ahead is None:
                self._drop(len(self._cache))
            for number in ahead or ():
                if (epoch, number) not in self._cache:
                    self._cache[epoch, number] = crew.submit(plan.batch(epoch, number))
            self._drop(len(self._cache) - self._limit)
        return tasks

    def _drop(self, number: int) -> None:
        for _ in range(number):
            self._cache.popitem(last=False)[1].future.cancel()

    def _result(self, task: Task) -> Served:
        if wait([task.future], POLL_SECONDS).done:
            return task.future.result()
        with nullcontext() if _in_main_thread() else watch:
            return self._late_result(task)

    def _late_result(self, task: Task) -> Served:
        told = False
        while not wait([task.future], POLL_SECONDS).done:
            if watch.interrupted:
                self._interrupted = True
                self._close(0)
            if self._crew is not task.crew or task.crew.closed:
                raise errors.closed(task.job)
            seconds = time.monotonic() - (task.started or math.inf)
            if seconds > STUCK_SECONDS and not told:
                told = True
                warnings.warn(
                    errors.stuck(task.worker, seconds, task.job),
                    RuntimeWarning,
                    stacklevel=2,
                )
        return task.future.result()

    def _structured(self, served: Served) -> Structure:
        # The last bits of a product of dense matrices depend on how many rows are
        # multiplied at once: what comes out sparse is made row by row, and has the
        # same bytes in parts.
        self._splits = all(
            isinstance(rows, CsrRows)
            for rows, reader in zip(served, self._readers)
            if reader.transform is not None
        )
        rows = iter(served)
        features = map_structure(lambda _: next(rows), self._reader.inputs)
        self._reader.check_widths(features)
        return features


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_good(task: Task, rows: Integers) -> bool:
    """Whether a task that was set going ahead is what is wanted now."""
    if not np.array_equal(task.job.rows, rows):
        return False
    if not task.future.done():
        return True
    error = task.future.exception()
    # Ctrl-C at the terminal ended the worker; the user goes on regardless.
    return not (isinstance(error, WorkerError) and error.by_interrupt)


def _joined(*parts: Any) -> CsrRows | Array:
    """The rows of all parts, in order."""
    if len({isinstance(part, CsrRows) for part in parts}) > 1:
        raise TypeError(
            "`transform` must return rows of one kind; it returned sparse rows for "
            "some and an array for others. Return one of those."
        )
    return joined(parts) if isinstance(parts[0], CsrRows) else np.concatenate(parts)

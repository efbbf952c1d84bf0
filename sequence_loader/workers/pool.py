"""The threads that do the work, each with a process of its own where there are any.

- They are daemons: `concurrent.futures` joins its threads when the interpreter ends,
  and one in a stuck transform would turn Ctrl-C into a hang.
- A task is never lost: its future has a result or a `WorkerError`, or is cancelled.
- After `close`, in every order of events, no process is left, and no thread but one
  in a transform that does not return.
- `close` may be called from any thread, and by a garbage collection in the middle
  of anything: it takes no lock.
- In a forked child there is no crew: it must not touch the workers of its parent.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
import weakref
from concurrent.futures import Future
from typing import TypeAlias

from sequence_loader.arrays import Array
from sequence_loader.batches.inputs import InputReader
from sequence_loader.forks import renew_after_fork
from sequence_loader.order.plan import PlannedBatch
from sequence_loader.rows.csr import CsrRows
from sequence_loader.workers import errors
from sequence_loader.workers.errors import WorkerError
from sequence_loader.workers.process import CLOSE_SECONDS, WorkerProcess

Served: TypeAlias = "list[CsrRows | Array]"
"""The rows of each input, in the order of the readers."""


class Task:
    """A job, and what is known of it.

    Attributes:
        job: The rows.
        future: Where the result arrives.
        crew: Who it was submitted to.
        worker: Who works on it: ``worker process 1234``.
        started: Time of ``time.monotonic`` at which that began, or `None`.
        was_ahead: Whether it was submitted before its batch was asked for.
        seconds: What serving the rows took; of a process, what it says.
        bytes_read: What a process has read from files for it.
    """

    def __init__(self, job: PlannedBatch, crew: Crew) -> None:
        self.job, self.crew = job, crew
        self.future: Future[Served] = Future()
        self.worker = ""
        self.started: float | None = None
        self.was_ahead, self.seconds, self.bytes_read = False, 0.0, 0


class Crew:
    """Up to `count` workers. Safe for use by threads.

    Args:
        count: How many.
        readers: Of all inputs.
        sent: Those of them, by position, that processes serve; empty for threads.
        description: What each process loads before its first job.
    """

    def __init__(
        self,
        count: int,
        readers: list[InputReader],
        sent: dict[int, InputReader],
        description: bytes,
    ) -> None:
        self.closed = False
        self.processes: list[WorkerProcess] = []
        self._readers, self._sent = readers, sent
        self._description = description
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._pid = os.getpid()
        self._threads = [
            threading.Thread(
                target=self._work, name=f"sequence-worker-{i}", daemon=True
            )
            for i in range(count)
        ]
        _crews.add(self)
        renew_after_fork(self)
        for thread in self._threads:
            thread.start()

    def submit(self, job: PlannedBatch) -> Task:
        """Has a worker do it, some time."""
        task = Task(job, self)
        self._tasks.put(task)
        return task

    def raise_deaths(self) -> None:
        """Raises WorkerError, once, if a process died while it was idle."""
        for process in list(self.processes):
            death = process.found_dead()
            if death is not None:
                raise death

    def close(self, patience: float) -> None:
        """Ends all workers: those that are busy at once.

        Args:
            patience: Seconds to wait for their end; 0 does not wait.
        """
        if os.getpid() != self._pid:
            return
        self.closed = True
        for _ in self._threads:
            self._tasks.put(None)
        for process in list(self.processes):
            if not process.idle:
                process.kill()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            if patience and thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0))
        for process in list(self.processes) if patience else []:
            process.kill()  # its thread has not come to see that it is closed

    def after_fork(self) -> None:
        """Lets go of the workers, which are the parent's; see `Forkable`."""
        for process in self.processes:
            process.disown()

    def _work(self) -> None:
        process: WorkerProcess | None = None
        while (task := self._tasks.get()) is not None:
            if task.future.set_running_or_notify_cancel():
                try:
                    if process is not None and not process.usable:
                        lost, process = process, None
                        self._dismiss(lost)
                        death = lost.found_dead()
                        if death is not None:
                            raise death
                    if process is None and self._sent and not self.closed:
                        process = WorkerProcess(self._description)
                        self.processes.append(process)
                    if self.closed:
                        raise errors.closed(task.job)
                    task.worker = threading.current_thread().name
                    if process is not None:
                        task.worker = f"worker process {process.pid}"
                    task.started = time.monotonic()
                    task.future.set_result(self._serve(task, process))
                except BaseException as error:
                    task.future.set_exception(self._failure(error, task.job))
            del task  # between tasks, a thread holds on to none of them
        if process is not None:
            self._dismiss(process)

    def _serve(self, task: Task, process: WorkerProcess | None) -> Served:
        job, rows, answers = task.job, task.job.rows, {}
        begun = time.perf_counter()
        if process is not None:
            work = [
                (rows, self._readers[i].take(rows) if reader.source is None else None)
                for i, reader in self._sent.items()
            ]
            before = process.bytes_read
            answers = dict(zip(self._sent, process.ask(work, job)))
            task.bytes_read = process.bytes_read - before
            for i, columns in zip(self._sent, process.columns):
                self._readers[i].check_columns(columns)
        served = [
            answers[i] if i in answers else reader.serve(rows)
            for i, reader in enumerate(self._readers)
        ]
        task.seconds = process.seconds if process else time.perf_counter() - begun
        return served

    def _failure(self, error: BaseException, job: PlannedBatch) -> WorkerError:
        if self.closed:
            return errors.closed(job)
        if isinstance(error, WorkerError):
            return error
        failure = errors.raised_in_thread(error, job)
        failure.__cause__ = error
        return failure

    def _dismiss(self, process: WorkerProcess) -> None:
        process.dispose()
        self.processes.remove(process)


_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


ended = threading.Event()
"""Set when the interpreter ends: no crew is made any more."""


class Visits:
    """The calls of threads that are not ours, such as TensorFlow's.

    One that is in Python when the interpreter ends never returns, and TensorFlow
    waits for it for ever. A pipeline that gets errors goes on asking for a moment,
    until what it keeps ready is full of them.
    """

    def __init__(self) -> None:
        self._inside: dict[int, int] = {}  # by each thread, how deep
        self._last = 0.0

    def __enter__(self) -> None:
        thread = threading.get_ident()
        self._inside[thread] = self._inside.get(thread, 0) + 1

    def __exit__(self, *error: object) -> None:
        self._last = time.monotonic()
        thread = threading.get_ident()
        self._inside[thread] -= 1
        if not self._inside[thread]:
            del self._inside[thread]

    def settle(self, patience: float) -> None:
        """Waits until nobody has called for a tenth of a second."""
        deadline = time.monotonic() + patience
        while self._inside or time.monotonic() < self._last + 0.1:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)


visits = Visits()


@atexit.register
def _close_all() -> None:
    ended.set()
    for crew in list(_crews):
        # Threads without a process may be stuck, and end with the interpreter.
        crew.close(CLOSE_SECONDS if crew.processes else 0)
    visits.settle(CLOSE_SECONDS)

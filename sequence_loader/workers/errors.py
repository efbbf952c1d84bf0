"""What a worker was doing when it failed, and how that is told."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np

from sequence_loader.order.plan import PlannedBatch


class WorkerError(RuntimeError):
    """A worker failed: its transform raised, or its process died.

    Attributes:
        epoch: Epoch of the batch it worked on; `None` if it was idle.
        batch: Number of that batch, or `None`.
        rows: int64 array of the row ids it worked on; empty if it was idle.
        pid: Process id of the worker; `None` for a thread.
        exit_code: Of a process that died, negative for a signal; else `None`.

    Example:
        >>> try:
        ...     SparseBatchSequence(x, transform=lambda rows: 1 / 0, workers=2)[0]
        ... except WorkerError as error:
        ...     print(error.batch, error.rows[:3])
        0 [0 1 2]
    """

    def __init__(
        self,
        message: str,
        job: PlannedBatch | None = None,
        pid: int | None = None,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.epoch = None if job is None else job.epoch
        self.batch = None if job is None else job.number
        self.rows = np.zeros(0, np.int64) if job is None else job.rows
        self.pid = pid
        self.exit_code = exit_code
        self._job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self._job, self.pid, self.exit_code)

    @property
    def by_interrupt(self) -> bool:
        """Whether Ctrl-C ended the worker, as it does to all of a terminal."""
        return self.exit_code == -signal.SIGINT


def raised_in_thread(error: BaseException, job: PlannedBatch) -> WorkerError:
    """The error of a transform in a thread, whose own traceback is its cause."""
    return WorkerError(
        f"a worker thread failed on {job}: {type(error).__name__}: {error}", job
    )


def raised_in_process(
    summary: str, trace: str, job: PlannedBatch, pid: int
) -> WorkerError:
    """The error of a transform in another process.

    Args:
        summary: Type and text of the exception.
        trace: Its traceback, formatted where it was raised.
        job: What the worker was doing.
        pid: The worker.
    """
    return WorkerError(
        f"worker process {pid} failed on {job}: {summary}\n\n"
        f"Traceback in the worker:\n{trace}",
        job,
        pid,
    )


def died(pid: int, exit_code: int | None, job: PlannedBatch | None) -> WorkerError:
    """The error of a process that is gone."""
    if exit_code is None:
        how = "closed its connection and did not exit"
    elif exit_code >= 0:
        how = f"exited with code {exit_code}"
    else:
        try:
            how = f"was killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            how = f"was killed by signal {-exit_code}"
    if exit_code == -signal.SIGKILL:
        how += ", which is also how the system ends a process when memory runs out"
    doing = "it was idle" if job is None else f"it worked on {job}"
    mend = "The next batch starts a new one." if job is None else job.mend
    return WorkerError(
        f"worker process {pid} {how} while {doing}. {mend}",
        job,
        pid,
        exit_code,
    )


def closed(job: PlannedBatch) -> WorkerError:
    """The error of a batch that was under way when the sequence was closed."""
    return WorkerError(
        f"the sequence was closed, or interrupted by Ctrl-C, before {job} was ready. "
        f"Close it after the last batch has been taken.",
        job,
    )


def stuck(worker: str, seconds: float, job: PlannedBatch) -> str:
    """The warning about a worker that does not answer."""
    return (
        f"{worker} has been busy for {seconds:.0f} seconds with {job}. It is waited "
        f"for; Ctrl-C or close() stops it."
    )

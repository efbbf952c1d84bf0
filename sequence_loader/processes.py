"""Worker processes: started, spoken to, and ended.

- No process is a fork of this one, and none runs the user's script: each is a new
  interpreter that imports `sequence_loader.worker`.
- A worker is used by one thread at a time, the one that has checked it out. Others
  may kill its process, which wakes that thread; only it closes the connection.
- A worker that dies, idle or busy, is an error of the call that finds it, at the
  latest the next one; the worker after it is new.
- A connection is used again only after a whole answer: what is interrupted in the
  middle ends with the worker.
- After `close`, in every order of events, no process is left.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from multiprocessing.spawn import get_executable
from typing import Any

from sequence_loader import failures
from sequence_loader.channel import Channel
from sequence_loader.failures import Job
from sequence_loader.sending import dumps
from sequence_loader.worker import BOOTSTRAP, INTERRUPTED, RAISED

PATIENCE = 2.0
"""Seconds that an idle worker has to end by itself, and run its exit handlers."""


class WorkerProcess:
    """One worker process and the connection to it.

    Args:
        description: What it loads before its first job.

    Attributes:
        process: The process.
        pid: Its id.
        lost: Whether it must not be used again.
    """

    def __init__(self, description: bytes) -> None:
        ours, theirs = socket.socketpair()
        reading, self._lifeline = os.pipe()
        handles = theirs.fileno(), reading
        path = [entry or os.getcwd() for entry in sys.path]
        try:
            self.process = subprocess.Popen(
                [get_executable(), *_interpreter_flags(), "-c", BOOTSTRAP]
                + [*map(str, handles), *path],
                stdin=subprocess.DEVNULL,
                pass_fds=handles,
            )
        except BaseException:
            ours.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(reading)
        self.pid = self.process.pid
        self._channel = Channel(ours, dumps)
        self._greeting: bytes | None = description
        self.lost = False

    def ask(self, work: list[Any], job: Job) -> list[Any]:
        """Has the worker serve some rows.

        Args:
            work: For each input, the arguments of `InputReader.serve`.
            job: What it is, for messages.

        Returns:
            What each of them returned.

        Raises:
            WorkerError: It failed.
        """
        told = False

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                warnings.warn(
                    failures.stuck(
                        f"worker process {self.pid}", failures.STUCK_SECONDS, str(job)
                    ),
                    RuntimeWarning,
                    stacklevel=2,
                )

        self._channel.silence, self._channel.on_silence = failures.STUCK_SECONDS, tell
        try:
            if self._greeting is not None:
                greeting, self._greeting = self._greeting, None
                self._channel.send(greeting)
            self._channel.send(work)
            answer = self._channel.receive()
        except (EOFError, ConnectionError):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
            code = self.process.returncode
            self._give_up()
            raise failures.died(self.pid, code, job) from None
        except BaseException:  # it may be in the middle of an answer
            self._give_up()
            raise
        if answer[0] == INTERRUPTED:
            raise failures.interrupted(self.pid, job)
        if answer[0] == RAISED:
            raise failures.raised_in_process(*answer[1:], job, self.pid)
        served: list[Any] = answer[1]
        return served

    def _give_up(self) -> None:
        self.lost = True
        self.process.kill()

    def hang_up(self) -> None:
        """Lets the worker end."""
        self._channel.close()

    def dispose(self, deadline: float) -> None:
        """Sees to the end of the worker.

        Args:
            deadline: Time of ``time.monotonic`` at which it is killed.
        """
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(deadline - time.monotonic(), 0))
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def disown(self) -> None:
        """In a forked child, closes the copies of what its parent uses."""
        self.process.returncode = 0  # it is not a child of this process
        self.process._child_created = False  # type: ignore[attr-defined]
        self._channel.close()
        os.close(self._lifeline)


class ProcessPool:
    """Up to `count` workers, started as they are needed. Safe for use by threads.

    Args:
        count: How many.
        description: What each loads before its first job.
    """

    def __init__(self, count: int, description: bytes) -> None:
        self._description = description
        self._places = threading.Semaphore(count)
        self._lock = threading.Lock()  # guards the three below
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers there are."""
        with self._lock:
            return sorted(worker.pid for worker in [*self._idle, *self._busy])

    def run(self, work: list[Any], job: Job) -> list[Any]:
        """Has a worker do it, and waits for one if all are busy.

        Args:
            work: See `WorkerProcess.ask`.
            job: What it is, for messages.

        Raises:
            WorkerError: The worker failed, or the pool was closed.
        """
        with self._places:
            worker = self._check_out(job)
            try:
                return worker.ask(work, job)
            except failures.WorkerError:
                if self._closed:
                    raise failures.closed(job) from None
                raise
            finally:
                self._check_in(worker)

    def close(self) -> None:
        """Ends all workers: those that are busy at once."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
            for worker in busy:  # in the lock: afterwards they may be gone
                worker.process.kill()
        for worker in idle:  # all first, so that they end side by side
            worker.hang_up()
        deadline = time.monotonic() + PATIENCE
        for worker in idle:
            worker.dispose(deadline)
        for worker in busy:
            worker.process.wait()

    def disown(self) -> None:
        """See `WorkerProcess.disown`."""
        for worker in [*self._idle, *self._busy]:
            worker.disown()

    def _check_out(self, job: Job) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise failures.closed(job)
            for worker in self._idle:
                if worker.process.poll() is not None:
                    self._idle.remove(worker)
                    worker.dispose(0)
                    code = worker.process.returncode
                    raise failures.died(worker.pid, code, None)
            # The last one back: what it needs is still in the processor's caches.
            worker = (
                self._idle.pop() if self._idle else WorkerProcess(self._description)
            )
            self._busy.add(worker)
            return worker

    def _check_in(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._busy.discard(worker)
            # Not returncode: one that was just killed may not have ended yet.
            if not self._closed and not worker.lost:
                self._idle.append(worker)
                return
        worker.dispose(0)


def _interpreter_flags() -> list[str]:
    """``-W error``, ``-X utf8`` and their like, as this interpreter was given."""
    flags: list[str] = getattr(
        subprocess, "_args_from_interpreter_flags", lambda: []
    )()
    return flags

"""One worker process: started, asked, and seen to its end.

Not on an executor of `loky` or `concurrent.futures`. In both, all sides hold both
ends of the pipe that results come through: a worker that is killed (by the system,
when memory runs out) in the middle of a result of more than 64 KB leaves the parent
reading for ever, in 3 of 4 trials of loky 3.7; and workers outlive a parent that is
killed. Here each worker has a socket of its own, of which nobody else holds the
other end, so that the end of one side is the end of the stream for the other. There
is nothing in /dev/shm and no helper process.

- No process is a fork of this one, and none runs the user's script: each is a new
  interpreter that imports `sequence_loader.workers.child`.
- One thread asks. Others may kill the process, which wakes that thread.
- A worker answers a whole job or is at its end: what is interrupted in the middle
  is not used again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.spawn import get_executable
from typing import Any

from sequence_loader.order.plan import PlannedBatch
from sequence_loader.workers import errors
from sequence_loader.workers.channel import loads, receive, send
from sequence_loader.workers.child import BOOTSTRAP
from sequence_loader.workers.pickling import dumps

CLOSE_SECONDS = 2.0
"""Seconds that an idle worker has to end by itself, and run its exit handlers."""


class WorkerProcess:
    """A worker process and the connection to it.

    Args:
        description: What it loads before its first job.

    Attributes:
        pid: Its process id.
        idle: Whether it waits for a job. One that failed in the middle of a job is
            not idle again.
        seconds: What it took for the last job, as it says.
        bytes_read: What its sources have read from their files.
        columns: For each of its inputs, those of the first table that it made.
    """

    def __init__(self, description: bytes) -> None:
        self._connection, theirs = socket.socketpair()
        reading, self._lifeline = os.pipe()
        handles = theirs.fileno(), reading
        path = [entry or os.getcwd() for entry in sys.path]
        try:
            self._process = subprocess.Popen(
                [get_executable(), *_interpreter_flags(), "-c", BOOTSTRAP]
                + [*map(str, handles), *path],
                stdin=subprocess.DEVNULL,
                pass_fds=handles,
            )
        except BaseException:
            self._close_handles()
            raise
        finally:
            theirs.close()
            os.close(reading)
        self.pid = self._process.pid
        self.idle = True
        self.seconds, self.bytes_read = 0.0, 0
        self.columns: list[list[tuple[str, ...]]] = []
        self._missed = False
        self._description: bytes | None = description

    def found_dead(self) -> errors.WorkerError | None:
        """The error of a worker that died while it was idle, told once."""
        # In this order: it may be given a job in between, and die of it.
        if self._process.poll() is None or not self.idle or self._missed:
            return None
        self._missed = True
        return errors.died(self.pid, self._process.returncode, None)

    @property
    def usable(self) -> bool:
        """Whether it can be given a job."""
        return self.idle and self._process.poll() is None

    def ask(self, work: list[Any], job: PlannedBatch) -> list[Any]:
        """Has the worker serve some rows.

        Args:
            work: For each of its inputs, the arguments of `InputReader.serve`.
            job: What it is, for messages.

        Returns:
            What each of them returned.

        Raises:
            WorkerError: It failed.
        """
        self.idle = False
        try:
            if self._description is not None:
                send(self._connection, self._description)
                self._description = None
            send(self._connection, work, dumps)
            answer = loads(receive(self._connection))
        except (EOFError, ConnectionError):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_SECONDS)
            code = self._process.returncode
            self.kill()
            raise errors.died(self.pid, code, job) from None
        self.idle = True
        if len(answer) == 2:
            summary, trace = answer
            raise errors.raised_in_process(summary, trace, job, self.pid)
        served: list[Any] = answer[0]
        self.seconds, self.bytes_read, self.columns = answer[1:]
        return served

    def kill(self) -> None:
        """Ends the process at once; from any thread, how often so ever."""
        self._process.kill()

    def dispose(self) -> None:
        """Sees to the end of the process, and leaves nothing of it."""
        self._close_handles(lifeline=False)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        self._process.kill()
        self._process.wait()
        self._close_handles()

    def disown(self) -> None:
        """In a forked child, closes the copies of what its parent uses."""
        self._process.returncode = 0  # it is not a child of this process
        self._close_handles()

    def _close_handles(self, lifeline: bool = True) -> None:
        self._connection.close()
        if lifeline and self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def _interpreter_flags() -> list[str]:
    """``-W error``, ``-X utf8`` and their like, as this interpreter was given."""
    flags: list[str] = getattr(
        subprocess, "_args_from_interpreter_flags", lambda: []
    )()
    return flags

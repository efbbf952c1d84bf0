"""What runs in a worker process.

- It imports NumPy, scipy and what the user's transform needs: no backend.
- It holds the transforms, and the sources it reads itself; other rows come with
  each job. What it sends back is sparse where the rows are.
- It dies with its parent, however that ends and whatever it is doing.
- Ctrl-C ends the job it is at, not the worker.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import select
import signal
import socket
import threading
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any

from sequence_loader.channel import Channel

DONE, RAISED, INTERRUPTED = "done", "raised", "interrupted"

BOOTSTRAP = (
    "import sys; handle, lifeline, *sys.path = sys.argv[1:]; "
    "from sequence_loader.worker import main; main(int(handle), int(lifeline))"
)
"""Run by ``python -c``, with the parent's ``sys.path``: the user's script is not."""


def main(handle: int, lifeline: int) -> None:
    """Answers jobs until the parent closes the connection.

    Args:
        handle: Descriptor of the socket to the parent.
        lifeline: Descriptor of a pipe that the parent holds the other end of.
    """
    _die_with_parent(lifeline)
    with suppress(AttributeError, OSError, RuntimeError, ValueError):  # no stderr
        faulthandler.enable()  # a crash in compiled code leaves its stack
    channel = Channel(socket.socket(fileno=handle))
    with suppress(EOFError, OSError):
        _Worker(channel).serve()


class _Worker:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._busy = False
        # Ctrl-C reaches every process of the terminal. An idle worker stays.
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._busy:
            raise KeyboardInterrupt

    def serve(self) -> None:
        """Answers jobs."""
        description = self._channel.receive()
        loaded: list[Any] | None = None
        while True:
            given = self._channel.receive()
            answer: tuple[Any, ...]
            try:
                self._busy = True
                if loaded is None:
                    loaded = pickle.loads(description)
                answer = DONE, [
                    reader.serve(*work) for reader, work in zip(loaded, given)
                ]
                self._busy = False
            except KeyboardInterrupt:
                answer = (INTERRUPTED,)
            except BaseException as error:  # SystemExit as well
                self._busy = False
                answer = RAISED, _summary(error), traceback.format_exc()
            finally:
                self._busy = False
            del given
            self._channel.send(answer)
            del answer


def _summary(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _die_with_parent(lifeline: int) -> None:
    """Ends this process when the other end of `lifeline` is closed.

    On Linux the kernel does it, by a signal: also while a regular expression holds
    the GIL for hours, and also if the process is stopped. (Its PR_SET_PDEATHSIG
    would strike when the *thread* that started the worker ends.)
    """
    if hasattr(os, "O_ASYNC"):
        import fcntl

        if hasattr(fcntl, "F_SETSIG"):
            fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
            flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
            fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
            if select.select([lifeline], [], [], 0)[0]:  # it was closed before
                os._exit(1)
            return

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

"""What runs in a worker process.

- It imports NumPy, scipy and what the user's transform needs: no backend.
- It holds the transforms, and the sources it reads itself; other rows come with
  each job. What it sends back is sparse where the rows are.
- It dies with its parent, however that ends and whatever it is doing itself.
- Ctrl-C ends it at once if it is busy, and does nothing to it if it is idle.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import select
import signal
import socket
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

from sequence_loader.workers.channel import loads, receive, send

BOOTSTRAP = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "handle, lifeline, *sys.path = sys.argv[1:]; "
    "from sequence_loader.workers.child import main; main(int(handle), int(lifeline))"
)
"""Run by ``python -c``, with the parent's ``sys.path``: the user's script is not."""


def main(handle: int, lifeline: int) -> None:
    """Answers jobs until the parent closes the connection.

    Args:
        handle: Descriptor of the socket to the parent.
        lifeline: Descriptor of a pipe that the parent holds the other end of.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(lifeline)
    with suppress(AttributeError, OSError, RuntimeError, ValueError):  # no stderr
        faulthandler.enable()  # a crash in compiled code leaves its stack
    with suppress(EOFError, OSError), socket.socket(fileno=handle) as connection:
        _serve(connection)


def _serve(connection: socket.socket) -> None:
    description = receive(connection)
    readers: list[Any] | None = None
    while True:
        request = receive(connection)
        answer: tuple[Any, ...]
        # The default action strikes at once, also inside of compiled code.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            if readers is None:
                readers = pickle.loads(loads(description))
            begun = time.perf_counter()
            served = [
                reader.serve(*given) for reader, given in zip(readers, loads(request))
            ]
            seconds = time.perf_counter() - begun
            nbytes = sum(getattr(reader, "bytes_read", 0) for reader in readers)
            columns = [getattr(reader, "columns", []) for reader in readers]
            answer = served, seconds, nbytes, columns
        except BaseException as error:  # SystemExit as well
            summary = traceback.format_exception_only(type(error), error)
            answer = "".join(summary).strip(), traceback.format_exc()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        send(connection, answer)
        served = []
        del request, answer  # not kept while it waits


def _die_with_parent(lifeline: int) -> None:
    """Ends this process when the other end of `lifeline` is closed.

    On Linux the kernel does it, by a signal: also while a regular expression holds
    the GIL for hours. (Its PR_SET_PDEATHSIG would strike when the *thread* that
    started the worker ends.)
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

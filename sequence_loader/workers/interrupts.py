"""Ctrl-C, as seen by a thread that is not the main one.

Python tells of a signal in its main thread, once that is back from compiled code.
In `fit` on TensorFlow it is not: it waits for the step, the step for a batch, and
the batch, in a thread of TensorFlow's, for a worker. `faulthandler` acts at once,
in whatever thread, and hands the signal on to whoever else wants it.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import threading


class InterruptWatch:
    """Watches for Ctrl-C while it is entered. Several threads may be in it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._watchers = 0
        self._pipe: tuple[int, int] | None = None

    def __enter__(self) -> InterruptWatch:
        with self._lock:
            self._watchers += 1
            if self._pipe is None and hasattr(faulthandler, "register"):
                self._pipe = os.pipe()
                os.set_blocking(self._pipe[1], False)  # nobody empties it
                faulthandler.register(
                    signal.SIGINT, file=self._pipe[1], all_threads=False, chain=True
                )
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._watchers -= 1
            if not self._watchers and self._pipe is not None:
                faulthandler.unregister(signal.SIGINT)
                pipe, self._pipe = self._pipe, None
                for handle in pipe:
                    os.close(handle)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has come since the first of the threads entered."""
        pipe = self._pipe
        return pipe is not None and bool(select.select(pipe[:1], [], [], 0)[0])


watch = InterruptWatch()
"""The one of this process: a signal has one handler."""

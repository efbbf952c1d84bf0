"""Interrupt: Ctrl-C is noted, and what runs looks at it.

Python would raise it wherever it is, and lose it where an iterator of TensorFlow is let
go, which is what a bench does much of the time. So every loop of a bench, and every
`fit`, looks after each batch, and ends.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupt:
    """Whether Ctrl-C was pressed.

    Attributes:
        noted: Whether it was.
    """

    noted = False

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Notes a first Ctrl-C; a second one is raised at once.

        A thread that is not the main one is told of none: it can set no handler.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def note(number: int, frame: object) -> None:
            if self.noted:
                raise KeyboardInterrupt
            self.noted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check(self) -> None:
        """Raises KeyboardInterrupt if it was."""
        if self.noted:
            raise KeyboardInterrupt

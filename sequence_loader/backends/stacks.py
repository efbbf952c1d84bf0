"""What other threads are doing, by their stacks.

Python 3.11 makes the object of a frame when it is first looked at. If that collects
garbage, a finalizer may let the other thread go on and return from that frame, and the
object tells of memory that has gone: the process crashes. Python 3.10 has all objects
made, and 3.12 collects at other moments.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_walking = threading.RLock()  # a signal's handler may walk as well

if hasattr(os, "register_at_fork"):  # nobody walks in a child, or keeps it from garbage
    os.register_at_fork(
        before=_walking.acquire,
        after_in_parent=_walking.release,
        after_in_child=_walking.release,
    )


@contextmanager
def walking() -> Iterator[list[FrameType]]:
    """Within it, the stacks of all threads may be walked.

    Yields:
        The innermost frame of each; that of this thread is the caller's. It is empty
        afterwards: a frame that refers to itself would keep all that it refers to, the
        iterators of datasets in other threads too, until garbage is collected. And if
        that happens in a thread that TensorFlow reads ahead in, the thread waits for
        its own end, and no garbage is collected any more.
    """
    frames: list[FrameType] = []
    with _uncollected():
        try:
            found = sys._current_frames()
            found[threading.get_ident()] = sys._getframe(2)
            frames.extend(found.values())
            del found
            yield frames
        finally:
            frames.clear()


@contextmanager
def _uncollected() -> Iterator[None]:
    if sys.version_info[:2] != (3, 11):
        yield
        return
    with _walking:
        collects = gc.isenabled()
        try:
            gc.disable()
            yield
        finally:
            if collects:
                gc.enable()


def outwards(frame: FrameType) -> Iterator[FrameType]:
    """A frame, what called it, and so on; of another thread within `walking`."""
    outer: FrameType | None = frame
    while outer is not None:
        yield outer
        outer = outer.f_back

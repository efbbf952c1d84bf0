"""What other threads are doing, by their stacks.

Python 3.11 makes the object of a frame when it is first looked at. If that collects
garbage, a finalizer may let the other thread go on and return from that frame, and the
object tells of memory that has gone: the process crashes. Python 3.10 has all objects
made, and 3.12 collects at other moments.

The other threads go on, so that a walk may at last be the only one that refers to what
it looked at. An iterator of TensorFlow that is freed waits for the threads that read
ahead for it, and those walk. So no walk frees anything: another thread does, behind it.
"""

from __future__ import annotations

import _thread
import gc
import inspect
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_walking = threading.RLock()  # a signal's handler may walk as well

if hasattr(os, "register_at_fork"):  # nobody walks in a child, or keeps it from garbage
    os.register_at_fork(
        before=_walking.acquire,
        after_in_parent=_walking.release,
        after_in_child=_walking.release,
    )


class _Walk(threading.local):
    """What the walk of a thread has looked at, if it walks."""

    held: list[Any] | None = None


_walk = _Walk()


@contextmanager
def walking() -> Iterator[list[list[FrameType]]]:
    """Within it, the stacks of all threads may be walked.

    Yields:
        Each from its innermost frame outwards; that of this thread begins with the
        caller's. They are gone afterwards: a frame that refers to itself would keep
        all that it refers to until garbage is collected.
    """
    around, held = _walk.held, []  # type: ignore[var-annotated]
    _walk.held = held if around is None else around
    stacks: list[list[FrameType]] = []
    try:
        with _uncollected():
            for thread, frame in sys._current_frames().items():
                is_own = thread == threading.get_ident()
                stacks.append(list(outwards(sys._getframe(2) if is_own else frame)))
                if not is_own:
                    _walk.held += stacks[-1]
            yield stacks
    finally:
        stacks.clear()
        _walk.held = around
        if held:
            _free(held)


def _free(held: list[Any]) -> None:
    try:
        _thread.start_new_thread(held.clear, ())
    except RuntimeError:  # the process ends, or may have no more threads
        held.clear()


_LOOKED_AT = ".looked_at"  # no variable has such a name


def locals_of(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame by name, as they are now.

    Before Python 3.13 a frame keeps what it told of until it is asked again: batches,
    and iterators that `fit` is done with. Who asks would free them; so the frame keeps
    what was found the last time as well, which goes behind the walk that asks. Nothing
    is taken away there: when a profile or trace function of Python returns, the frame
    takes its variables from what it told of, and those that are missing are lost.
    """
    found: dict[str, Any] = {}
    keeps = bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED)
    keeps = keeps and sys.version_info < (3, 13)
    told = frame.f_locals  # nothing is called until it keeps it: no other thread asks
    found |= told
    if keeps:
        told[_LOOKED_AT] = found
    before = found.pop(_LOOKED_AT, None)
    if _walk.held is not None:
        _walk.held += found, before
    return found


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

"""What must not survive a fork: locks that another thread held, foreign handles.

``os.fork`` copies the thread that calls it and no other: a lock that was held by
one of the others stays locked for ever in the child.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class AfterFork(Protocol):
    """Something with a state of this process."""

    def after_fork(self) -> None:
        """Called in a forked child, before anything else runs; takes no lock."""


_tracked: weakref.WeakSet[AfterFork] = weakref.WeakSet()


def track(owner: AfterFork) -> None:
    """Has ``owner.after_fork()`` called in every child forked from this process."""
    _tracked.add(owner)


def _in_child() -> None:
    for owner in list(_tracked):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

"""What a forked child must do anew.

In the child of a fork there is one thread, and a lock that another thread of the
parent held is held for ever. Whatever owns threads, locks or processes says so here.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something with threads, locks or processes."""

    def after_fork(self) -> None:
        """Called once in a forked child, before anything else runs there."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(item: Forkable) -> None:
    """Has ``item.after_fork()`` called in each forked child, while `item` lives."""
    _forkables.add(item)


def _after_fork() -> None:
    for item in list(_forkables):
        item.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

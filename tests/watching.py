"""What the system tells of this process, and how long to wait for it.

A machine may be busy with other things. So a test waits for what it needs to see, not
for a while; and what hangs is told after `HUNG_SECONDS`, which nothing ever takes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from sequence_loader.backends.stacks import outwards, walking


def cached_pages(mapped: Any) -> set[int]:
    """The numbers of the pages of a mapped file that are in memory."""
    first = mapped.ctypes.data // mmap.PAGESIZE
    count = -(-(mapped.ctypes.data + mapped.nbytes) // mmap.PAGESIZE) - first
    cached = np.zeros(count, np.uint8)
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
    if mincore(first * mmap.PAGESIZE, count * mmap.PAGESIZE, cached.ctypes.data):
        raise OSError(ctypes.get_errno(), "mincore")
    return set(np.flatnonzero(cached & 1).tolist())


HUNG_SECONDS = 900
"""Over twenty times what the slowest of these tests takes. That of pytest is longer."""


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if name in thread.name]


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another thread or process is about to do."""
    end = time.monotonic() + HUNG_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def shared_memory() -> set[str]:
    """Files of /dev/shm, but those that another process uses."""
    found = set(os.listdir("/dev/shm"))
    for maps in Path("/proc").glob("[0-9]*/maps") if found else ():
        if maps.parent.name != str(os.getpid()):
            with suppress(OSError):  # it has ended
                used = maps.read_text()
                found = {name for name in found if f"/dev/shm/{name}" not in used}
    return found & set(os.listdir("/dev/shm"))


def running(function: Any) -> list[FrameType]:
    """The frames of the calls of that function, in any thread, just now."""
    with walking():
        return [
            outer
            for frame in list(sys._current_frames().values())
            for outer in outwards(frame)
            if outer.f_code is function.__code__
        ]


def once(condition: Callable[[], bool], action: Callable[[], object]) -> Any:
    """Another thread, that has begun to wait for the condition and will then act."""

    def act() -> None:
        until(condition)
        action()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def open_below(folder: Path) -> int:
    """How many descriptors of this process are of files below `folder`."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed since by another thread
            found += os.readlink(f"/proc/self/fd/{number}").startswith(f"{folder}/")
    return found

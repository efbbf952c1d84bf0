"""What the system tells of this process: threads, descriptors, pages of files."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


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


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if name in thread.name]


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another thread is about to do."""
    for _ in range(30_000):  # minutes, for a machine that is busy
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to that")


def open_below(folder: Path) -> int:
    """How many descriptors of this process are of files below `folder`."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed since by another thread
            found += os.readlink(f"/proc/self/fd/{number}").startswith(f"{folder}/")
    return found

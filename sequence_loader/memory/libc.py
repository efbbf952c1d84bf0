"""Calls into the Linux kernel that Python does not offer, through the C library."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

PARTS = ctypes.c_void_p, ctypes.c_size_t
"""Arguments that pass parts of memory: ``struct iovec``, an address and a number of
bytes, and how many there are."""

MOST_PARTS = 1024
"""Parts that Linux takes in one call."""


def linux_call(name: str, result: Any, *arguments: Any) -> Callable[..., int] | None:
    """A function of the C library, which is called without the interpreter's lock.

    Args:
        name: Its name.
        result: Its ctypes result.
        *arguments: Its ctypes arguments.

    Returns:
        The function; `None` on other systems, or where the library is too old.
    """
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function.restype, function.argtypes = result, arguments
    return function

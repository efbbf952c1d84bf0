"""TensorFlow's log of its search for GPUs, kept off the screen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keeps TensorFlow's log of its search for GPUs off the screen.

    Part of it is written before any log level applies, past `sys.stderr`, while
    TensorFlow is imported; so stderr is closed for as long. A user who has set
    TF_CPP_MIN_LOG_LEVEL sees what it says.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)

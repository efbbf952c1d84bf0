"""What is sent to worker processes, checked before any of them exists."""

from __future__ import annotations

import io
import pickle
import sys
from types import ModuleType
from typing import Any

import numpy as np

from sequence_loader.checks import shown
from sequence_loader.inputs import InputReader
from sequence_loader.rows import CsrSource, DenseSource, ItemSource, RowSource

try:  # an extra, needed by process workers alone
    import cloudpickle
except ImportError:
    cloudpickle = None

BACKENDS = ("tensorflow", "keras", "tf_keras", "jax", "jaxlib", "torch")
"""What no worker is made to import: each costs seconds and hundreds of megabytes,
and threads or devices of its own."""

DESCRIPTION_BYTES = 64 * 1024
"""A source of the user's own that pickles to less is a description of rows, such as
a path, and read by the workers; one that does not holds the rows."""


def dumps(value: Any, **options: Any) -> bytes:
    """Pickles by value what the worker cannot import: lambdas, a script's classes."""
    pickled: bytes = cloudpickle.dumps(value, **options)
    return pickled


def check_available() -> None:
    """Raises unless process workers can run here.

    Raises:
        ImportError: The extra is not installed.
        OSError: The platform has no way to hand sockets to a new process.
    """
    if cloudpickle is None:
        raise ImportError(
            "`use_multiprocessing=True` needs cloudpickle, which sends lambdas and "
            "functions of scripts and notebooks to workers; it is not installed. "
            'Run: pip install "sequence_loader[workers]"'
        )
    if sys.platform == "win32":
        raise OSError(
            "`use_multiprocessing=True` needs Linux or macOS; this is Windows. Pass "
            "use_multiprocessing=False: `workers` threads read and transform."
        )


def description(readers: list[InputReader]) -> bytes:
    """What a worker gets once: transforms, and sources that are small to send.

    Args:
        readers: Of the inputs that workers serve, as `sent` makes them.

    Raises:
        TypeError: One of them cannot be sent.
    """
    for reader in readers:
        try:
            _pickled(reader)
        except Exception as error:
            raise TypeError(
                f"`transform` of `{reader.name}` must be a callable that can be sent "
                f"to worker processes; received {shown(reader.transform)}, which "
                f"cannot: {error} Leave it out of the transform, create it on first "
                f"use inside of it, or pass use_multiprocessing=False for threads."
            ) from error
    return _pickled(readers)


def sent(reader: InputReader) -> InputReader:
    """The reader as a worker gets it: without rows that lie in this process.

    Rows in memory are taken from here and sent with each job: no worker has a copy
    of the data, and none has to be made for them. So are those of a store, which
    reads ahead, and would do so once in each worker.
    """
    if reader.source is None or _is_description(reader.source):
        return reader
    return InputReader(reader.name, None, reader.transform, reader.container)


def _is_description(source: RowSource) -> bool:
    if isinstance(source, ItemSource):
        if isinstance(source.items, list | tuple | np.ndarray):
            return False
        if hasattr(source.items, "iloc"):
            return False
    elif isinstance(source, CsrSource | DenseSource) or hasattr(source, "read_here"):
        return False
    sink = _Limited(DESCRIPTION_BYTES)
    try:
        _Checking(sink, protocol=5).dump(source)
    except Exception:  # cannot be sent, or is too large: it stays
        return False
    return True


class _Limited(io.RawIOBase):
    """Takes some bytes and refuses more, so that a large object is not written."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = limit

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise ValueError("larger than a description")
        return size


def _pickled(value: Any) -> bytes:
    sink = io.BytesIO()
    _Checking(sink, protocol=5).dump(value)
    return sink.getvalue()


class _Checking(  # type: ignore[misc]
    pickle.Pickler if cloudpickle is None else cloudpickle.Pickler
):
    """Refuses what pickle would send, and a worker should not have."""

    def reducer_override(self, value: Any) -> Any:
        """Called by pickle for each object but those of the simplest types."""
        if isinstance(value, io.IOBase) and value not in (sys.stdout, sys.stderr):
            # cloudpickle would send the content of a file that is open for reading.
            if not isinstance(value, io.BytesIO | io.StringIO):
                raise TypeError(f"it refers to the open file {shown(value)}.")
        backend = _backend(value)
        if backend is not None:
            raise TypeError(
                f"it refers to {_named(value)} of {backend}, and workers do not import "
                f"{backend}."
            )
        return super().reducer_override(value)


def _backend(value: Any) -> str | None:
    if isinstance(value, ModuleType):
        names = [value.__name__]
    else:
        names = [str(getattr(value, "__module__", None))]
        kind = value if isinstance(value, type) else type(value)
        names += [str(base.__module__) for base in kind.__mro__]
    roots = [name.partition(".")[0] for name in names]
    return next((root for root in roots if root in BACKENDS), None)


def _named(value: Any) -> str:
    name = getattr(value, "__name__", None)
    return repr(name) if isinstance(name, str) else f"a {type(value).__name__}"

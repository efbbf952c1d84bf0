"""What is sent to worker processes, checked before any of them exists."""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
import sysconfig
import threading
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from sequence_loader.batches.inputs import InputReader
from sequence_loader.checks import shown
from sequence_loader.rows.sources import (
    CsrSource,
    DenseSource,
    ItemSource,
    RowSource,
    traits_of,
)

BACKENDS = ("tensorflow", "keras", "tf_keras", "jax", "jaxlib", "torch")
"""What no worker is made to import: each costs seconds and hundreds of megabytes,
and threads or devices of its own."""

DESCRIPTION_BYTES = 64 * 1024
"""A source of the user's own that pickles to less is a description of rows, such as
a path, and read by the workers; one that does not holds the rows."""


def check_available() -> None:
    """Raises unless process workers can run here.

    Raises:
        ImportError: The extra is not installed.
        OSError: The platform has no way to hand sockets to a new process.
    """
    if importlib.util.find_spec("cloudpickle") is None:
        raise ImportError(
            "`use_multiprocessing=True` needs cloudpickle, which sends lambdas and "
            "functions of scripts and notebooks to workers; received an environment "
            "without it. "
            'In a clone of the repository, run: pip install ".[workers]"'
        )
    if sys.platform == "win32":
        raise OSError(
            "`use_multiprocessing=True` needs Linux or macOS; this is Windows. Pass "
            "use_multiprocessing=False: `workers` threads read and transform."
        )


def dumps(value: Any, **options: Any) -> bytes:
    """Pickles rows: items may be of a class that a script defines."""
    import cloudpickle

    pickled: bytes = cloudpickle.dumps(value, **options)
    return pickled


def travels(reader: InputReader) -> bool:
    """Whether an input is worth sending to other processes.

    Rows of a matrix or a store that no transform works on are read here: sending
    them costs more than taking them.
    """
    if reader.transform is not None:
        return True
    return reader.source is not None and not traits_of(reader.source).fast


def sent(reader: InputReader) -> InputReader:
    """The reader as a worker gets it: without rows that lie in this process.

    Rows in memory are taken from here and sent with each job: no worker has a copy
    of the data, and none has to be made for them. So are those of a source that
    says ``stays_here``, which reads ahead, and would do so once in each worker.
    """
    if reader.source is None or _is_description(reader.source):
        return reader
    return replace(reader, source=None)


def description(readers: list[InputReader]) -> bytes:
    """What a worker gets once: transforms, and sources that are small to send.

    Args:
        readers: Of the inputs that workers serve, as `sent` makes them.

    Raises:
        TypeError: One of them cannot be sent.
    """
    for reader in readers:
        try:
            pickled(reader)
        except Exception as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise TypeError(
                f"`transform` of `{reader.name}` must be a callable that can be sent "
                f"to worker processes; received {shown(reader.transform)}, which "
                f"cannot: {reason}. Leave it out of the transform, create it on first "
                f"use inside of it, or pass use_multiprocessing=False for threads."
            ) from error
    return pickled(readers)


def _is_description(source: RowSource) -> bool:
    if isinstance(source, ItemSource):
        items = source.items
        if isinstance(items, list | tuple) or hasattr(items, "__array__"):
            return False
    elif isinstance(source, CsrSource | DenseSource):
        return False
    if traits_of(source).stays_here:
        return False
    try:
        pickled(source, limit=DESCRIPTION_BYTES)
    except Exception:  # cannot be sent, or is too large: it stays
        return False
    return True


def pickled(value: Any, limit: int | None = None) -> bytes:
    """Pickles by value what a worker cannot import, or had better not.

    The first are lambdas, and what a script or notebook defines. The second is in
    modules of the user's own that import a backend, beside what is sent.
    """
    import cloudpickle

    by_value: list[ModuleType] = []

    class Checking(cloudpickle.Pickler):  # type: ignore[misc]
        """Refuses what pickle would send, and a worker should not have."""

        def reducer_override(self, value: Any) -> Any:
            _check_object(value)
            if isinstance(value, FunctionType | type):
                module = sys.modules.get(value.__module__)
                if module is not None and _imports_backend(module):
                    if not cloudpickle.list_registry_pickle_by_value() & {
                        module.__name__
                    }:
                        cloudpickle.register_pickle_by_value(module)
                        by_value.append(module)
            return super().reducer_override(value)

    sink = _Sink(limit)
    with _registry_lock:
        try:
            Checking(sink, protocol=5).dump(value)
        finally:
            for module in by_value:
                cloudpickle.unregister_pickle_by_value(module)
    return sink.getvalue()


_registry_lock = threading.Lock()  # cloudpickle's registry is the process's


def _imports_backend(module: ModuleType) -> bool:
    """Whether a module of the user's own imports a backend, or another that does.

    Installed packages know what they do, and are not looked into.
    """
    seen, waiting = {module.__name__}, [module]
    while waiting:
        module = waiting.pop()
        if not _is_own(module):
            continue
        names = {module.__name__.rpartition(".")[0]}
        for value in list(vars(module).values()):
            if _backend(value) is not None:
                return True
            is_module = isinstance(value, ModuleType)
            name = value.__name__ if is_module else getattr(value, "__module__", None)
            if isinstance(name, str):
                names.add(name)
        found = [sys.modules.get(name) for name in names - seen]
        waiting += [each for each in found if isinstance(each, ModuleType)]
        seen |= names
    return False


def _is_own(module: ModuleType) -> bool:
    """Whether a module is the user's, and neither installed nor this package's."""
    path = getattr(module, "__file__", None)
    if path is None or module.__name__.partition(".")[0] in _KNOWN:
        return False
    # Packages may lie in other environments that a .pth file or PYTHONPATH adds.
    return not path.startswith(_INSTALLED) and _PACKAGES.isdisjoint(Path(path).parts)


_KNOWN = ("__main__", "sequence_loader")
_INSTALLED = tuple(
    sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")
)
_PACKAGES = frozenset(["site-packages", "dist-packages"])


class _Sink(io.BytesIO):
    """Refuses to become larger than `limit`, so that a large object is not copied."""

    def __init__(self, limit: int | None) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: Any) -> int:
        if self._limit is not None:
            if self.tell() + memoryview(data).nbytes > self._limit:
                raise ValueError("larger than a description")
        return super().write(data)


def _check_object(value: Any) -> None:
    """Called for each object that is pickled, but those of the simplest types."""
    if isinstance(value, io.IOBase) and value not in (sys.stdout, sys.stderr):
        # cloudpickle would send the content of a file that is open for reading.
        if not isinstance(value, io.BytesIO | io.StringIO):
            raise pickle.PicklingError(f"it refers to the open file {shown(value)}")
    backend = _backend(value)
    if backend is not None:
        name = getattr(value, "__name__", None)
        named = repr(name) if isinstance(name, str) else f"a {type(value).__name__}"
        raise pickle.PicklingError(
            f"it refers to {named} of {backend}, and workers do not import {backend}"
        )


def _backend(value: Any) -> str | None:
    if isinstance(value, ModuleType):
        names = [value.__name__]
    else:
        kind = value if isinstance(value, type) else type(value)
        names = [str(getattr(value, "__module__", None))]
        names += [str(base.__module__) for base in kind.__mro__]
    roots = [name.partition(".")[0] for name in names]
    return next((root for root in roots if root in BACKENDS), None)

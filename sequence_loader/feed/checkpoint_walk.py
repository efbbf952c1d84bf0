"""What is reached from a model and its callbacks: all that may hold state.

Attributes are followed, lists and dicts, objects of classes of the script, and what
functions and methods of the script enclose or read of its globals.
"""

from __future__ import annotations

import dis
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache, partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import keras

from sequence_loader.backends.which_keras import keras_backend

_HOLDERS = (
    keras.Layer, keras.Loss, keras.Metric, keras.Optimizer, keras.Initializer,
    keras.regularizers.Regularizer, keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule, keras.callbacks.Callback,
)  # fmt: skip

_LIBRARIES = {
    *("builtins", "numpy", "keras", "tensorflow", "torch", "jax", "sequence_loader")
}
"""Whose functions and methods read no globals of a script, installed or not."""

_has_more: dict[type, bool] = {}  # types of libraries, which are never defined anew

_STANDARD = sysconfig.get_path("stdlib")

_MOST_ELEMENTS = 10_000
"""Longer lists are of what a callback noted; to look at a million takes a second."""


def walked(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """(path, object) of all that is reached from some objects, each once.

    Args:
        named: Objects to begin with, with a name for each.
    """
    seen: dict[int, Any] = {}
    kinds = (
        *(*_HOLDERS, dict, list, tuple, *stateful()),
        *(FunctionType, MethodType, partial, CellType),
    )
    pending = list(named)[::-1]
    while pending:
        path, one = pending.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one  # so that no other takes its id
        yield path, one
        inner: list[tuple[Any, Any]] = []
        if isinstance(one, _HOLDERS) or _is_of_script(type(one).__module__):
            inner = [*getattr(one, "__dict__", {}).items(), *_methods(type(one))]
        if isinstance(one, dict | list | tuple):
            if len(one) <= _MOST_ELEMENTS:
                inner += one.items() if isinstance(one, dict) else enumerate(one)
        elif isinstance(one, FunctionType):
            inner = _read_by(one)
        elif isinstance(one, MethodType):
            held = one.__self__
            if not isinstance(held, _HOLDERS):
                held = getattr(held, "__dict__", None)
            inner = [("self", held), ("", one.__func__)]
        elif isinstance(one, partial):
            inner = [("", one.func), ("", one.args), ("", one.keywords)]
        elif isinstance(one, CellType):
            try:
                inner = [("", one.cell_contents)]
            except ValueError:
                pass  # not assigned yet
        for name, each in reversed(inner):  # thousands
            more = _has_more.get(type(each))
            if more is None:
                kind = type(each)
                more = isinstance(each, kinds) or _is_of_script(kind.__module__)
                if _is_of_library(kind):
                    _has_more[kind] = more
            if more:
                pending.append((f"{path}/{name}", each))


def _is_of_library(one: Any) -> bool:
    return (one.__module__ or "").partition(".")[0] in _LIBRARIES


@cache
def _is_of_script(module: str | None) -> bool:
    """Whether a module is the script, or lies beside it: it is not installed."""
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    installed = file is None or "-packages" in file or file.startswith(_STANDARD)
    known = (module or "").partition(".")[0] in _LIBRARIES
    return module == "__main__" or not (installed or known)


def _methods(kind: type) -> list[tuple[Any, Any]]:
    """The methods of a class that a script defines."""
    return [] if _is_of_library(kind) else [
        (name, each)
        for base in kind.__mro__
        if not _is_of_library(base)
        for name, each in vars(base).items()
        if isinstance(each, FunctionType)
    ]  # fmt: skip


def _read_by(function: FunctionType) -> list[tuple[Any, Any]]:
    """What a function encloses, and what one of a script reads of its globals.

    Functions of other modules do not count: they would lead through whole libraries.
    """
    own = function.__globals__
    found: list[tuple[Any, Any]] = list(enumerate(function.__closure__ or ()))
    if _is_of_library(function):
        return found
    found += enumerate(function.__defaults__ or ())
    found += (function.__kwdefaults__ or {}).items()
    for name in sorted(_global_names(function.__code__) & own.keys()):
        each = own[name]
        if not isinstance(each, FunctionType) or each.__globals__ is own:
            found.append((name, each))
    return found


@lru_cache(maxsize=1024)
def _global_names(code: CodeType) -> set[str]:
    """Which globals code reads, that of functions within it included."""
    found = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname == "LOAD_GLOBAL"
    }
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return found.union(*map(_global_names, inner))


@cache
def stateful() -> tuple[type, ...]:
    """What is a variable, or keeps its state in one."""
    found: tuple[type, ...] = (keras.Variable, keras.random.SeedGenerator)
    if keras_backend() == "tensorflow":
        tf = sys.modules["tensorflow"]
        found = (*found, tf.random.Generator, tf.Variable)
    return found

"""The variables that training changes, those that Keras does not list among them.

Keras lists what layers and metrics have, and what optimizers do. What a loss, a
regularizer or a schedule counts or draws from, a second optimizer, a variable of
TensorFlow, or one that a callback changes is on none of its lists: it is found in
attributes, in lists and dicts, and in what functions and methods of the script enclose
or read of its globals.
"""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache, partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import keras
import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.backends.which_keras import keras_backend

_BESIDE = "beside"
"""Begins the names of variables that Keras does not list."""

_HOLDERS = (
    keras.Layer, keras.Loss, keras.Metric, keras.Optimizer, keras.Initializer,
    keras.regularizers.Regularizer, keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule, keras.callbacks.Callback,
)  # fmt: skip

_LIBRARIES = {
    *("builtins", "numpy", "keras", "tensorflow", "torch", "jax", "sequence_loader")
}
"""Whose functions and methods read no globals of a script."""

_has_more: dict[type, bool] = {}  # types of libraries, which are never defined anew

_MOST_ELEMENTS = 10_000
"""Longer lists are of what a callback noted; to look at a million takes a second."""


def walked(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """(path, object) of all that is reached from some objects, each once.

    Args:
        named: Objects to begin with, with a name for each.
    """
    seen: dict[int, Any] = {}
    kinds = (
        *(*_HOLDERS, dict, list, tuple, *_stateful()),
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
        if isinstance(one, _HOLDERS):
            inner = [*vars(one).items(), *_methods(type(one))]
        elif isinstance(one, dict | list | tuple):
            if len(one) <= _MOST_ELEMENTS:
                inner = list(one.items() if isinstance(one, dict) else enumerate(one))
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
                more = isinstance(each, kinds)
                if _is_of_library(type(each)):
                    _has_more[type(each)] = more
            if more:
                pending.append((f"{path}/{name}", each))


def _is_of_library(one: Any) -> bool:
    return (one.__module__ or "").partition(".")[0] in _LIBRARIES


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


def variable_in(one: Any) -> Any:
    """The variable that an object is, or that it keeps its state in, or `None`."""
    found: Any = one if isinstance(one, _stateful()) else None
    if found is None or isinstance(found, keras.Variable):
        return found
    if hasattr(found, "state"):  # it generates random numbers
        return found.state
    return found if found.dtype.is_numeric or found.dtype.is_bool else None


@cache
def _stateful() -> tuple[type, ...]:
    """What is a variable, or keeps its state in one."""
    found: tuple[type, ...] = (keras.Variable, keras.random.SeedGenerator)
    if keras_backend() == "tensorflow":
        tf = sys.modules["tensorflow"]
        found = (*found, tf.random.Generator, tf.Variable)
    return found


def variables_of(model: Any, callbacks: list[Any]) -> list[tuple[str, Any]]:
    """All that training changes, with names that tell what it is.

    The first are those that Keras lists; they are there before training begins.
    """
    optimizer = [] if model.optimizer is None else model.optimizer.variables
    groups = {
        "weight": model.trainable_variables,
        "state": model.non_trainable_variables,
        "metric": model.metrics_variables,
        "optimizer": optimizer,
    }
    found = [
        (f"{group} {unnumbered(variable.path)}", variable)
        for group, variables in groups.items()
        for variable in variables
    ]
    from keras.src.backend.common import global_state

    generator = global_state.get_global_attribute("global_seed_generator")
    if generator is not None:
        found.append(("global seed generator", generator.state))
    known = {id(variable) for _, variable in found}
    for path, one in walked([("model", model), ("callbacks", callbacks)]):
        variable = variable_in(one)
        if variable is not None and id(variable) not in known:
            known.add(id(variable))
            found.append((f"{_BESIDE} {unnumbered(path)}", variable))
    of_keras = {id(getattr(variable, "_value", None)) for _, variable in found}
    return [(name, one) for name, one in found if id(one) not in of_keras]


def values_of(variables: list[tuple[str, Any]]) -> list[Array]:
    """The values of `variables_of`; those of a loop of JAX must be in them."""
    return [
        np.asarray(keras.ops.convert_to_numpy(getattr(variable, "_value", variable)))
        for _, variable in variables
    ]


def described_variables(variables: list[tuple[str, Any]]) -> list[str]:
    """A line for each variable, by which those of another model are known."""
    return [
        f"{name} {keras.utils.standardize_dtype(variable.dtype)} "
        f"{tuple(variable.shape)}"
        for name, variable in variables
    ]


def is_beside(description: str) -> bool:
    """Whether it is one that Keras does not list, which may be made late."""
    return description.startswith(_BESIDE)


def built_optimizers(
    model: Any, variables: list[tuple[str, Any]]
) -> dict[str, list[int]]:
    """Of which variables, by number, each optimizer was made to hold slots."""
    numbers = {id(one): number for number, (_, one) in enumerate(variables)}
    numbers |= {
        id(getattr(one, "_value", None)): number
        for number, (_, one) in enumerate(variables)
    }
    found = {}
    for path, optimizer in optimizers_of(model):
        trained = getattr(optimizer, "_trainable_variables", ())
        if optimizer.built and all(id(one) in numbers for one in trained):
            found[path] = [numbers[id(one)] for one in trained]
    return found


def build_optimizers(
    model: Any, variables: list[tuple[str, Any]], built: dict[str, list[int]]
) -> None:
    """Builds those that a ``train_step`` of the user's own builds at its first step."""
    for path, optimizer in optimizers_of(model):
        if not optimizer.built and path in built:
            optimizer.build([variables[number][1] for number in built[path]])


def optimizers_of(model: Any) -> list[tuple[str, Any]]:
    """All optimizers that a model holds, with the path of each."""
    return [
        (path, one)
        for path, one in walked([("model", model)])
        if isinstance(one, keras.optimizers.Optimizer)
    ]


def seed_of_keras() -> int | None:
    """What ``keras.utils.set_random_seed`` was last given, if it was called."""
    from keras.src.backend.common import global_state

    seed: int | None = global_state.get_global_attribute("global_random_seed")
    return seed


def reset_global_generator(*, wanted: bool) -> None:
    """Makes what ``keras.random`` draws from without a seed, or lets go of it."""
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import global_seed_generator

    if wanted:
        global_seed_generator()
    else:
        global_state.set_global_attribute("global_seed_generator", None)


def steps_of(model: Any) -> int:
    """How many steps an optimizer has made, of several the one that made most."""
    steps = [optimizer.iterations for _, optimizer in optimizers_of(model)]
    # A tensor, where gradients are accumulated.
    values = [getattr(each, "value", each) for each in steps]
    return max((int(keras.ops.convert_to_numpy(each)) for each in values), default=0)


def unnumbered(text: str) -> str:
    """Without the numbers of names such as ``dense_3``, and without compiled code."""
    text = re.sub(r'"code": "[^"]*"', '"code": ""', text)
    return re.sub(r'_\d+(?=["/ _]|$)', "", text)

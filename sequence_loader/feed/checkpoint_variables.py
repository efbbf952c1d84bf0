"""The variables that training changes, those that Keras does not list among them.

Keras lists what layers and metrics have, and what optimizers do. What a loss, a
regularizer or a schedule counts or draws from, a second optimizer, a variable of
TensorFlow, or one that a callback changes is on none of its lists: it is found in
attributes, in lists and dicts, and in what functions enclose.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from types import CellType, FunctionType
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

_MOST_ELEMENTS = 10_000
"""Longer lists are of what a callback noted; to look at a million takes a second."""


def walked(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """(path, object) of all that is reached from some objects, each once.

    Args:
        named: Objects to begin with, with a name for each.
    """
    seen: dict[int, Any] = {}
    pending = list(named)[::-1]
    while pending:
        path, one = pending.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one  # so that no other takes its id
        yield path, one
        inner: list[tuple[Any, Any]] = []
        if isinstance(one, _HOLDERS):
            inner = list(vars(one).items())
        elif isinstance(one, dict):
            inner = list(one.items())
        elif isinstance(one, list | tuple) and len(one) <= _MOST_ELEMENTS:
            inner = list(enumerate(one))
        elif isinstance(one, FunctionType):
            inner = list(enumerate(one.__closure__ or ()))
        elif isinstance(one, CellType):
            try:
                inner = [("", one.cell_contents)]
            except ValueError:
                pass  # not assigned yet
        wanted = [(f"{path}/{name}", each) for name, each in inner if _is_more(each)]
        pending += wanted[::-1]


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


_more: dict[type, bool] = {}


def _is_more(one: Any) -> bool:
    """Whether there may be a variable in it; asked of thousands at each save."""
    found = _more.get(type(one))
    if found is None:
        kinds = (*_HOLDERS, dict, list, tuple, FunctionType, CellType, *_stateful())
        found = _more[type(one)] = isinstance(one, kinds)
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


def reset_global_generator(*, wanted: bool) -> None:
    """Makes what ``keras.random`` draws from without a seed, or lets go of it."""
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import global_seed_generator

    if wanted:
        global_seed_generator()
    else:
        global_state.set_global_attribute("global_seed_generator", None)


def has_trained(model: Any) -> bool:
    """Whether an optimizer has made a step: its rate may not be the script's."""
    steps = [optimizer.iterations for _, optimizer in optimizers_of(model)]
    # A tensor, where gradients are accumulated.
    values = [getattr(each, "value", each) for each in steps]
    return any(keras.ops.convert_to_numpy(each) > 0 for each in values)


def unnumbered(text: str) -> str:
    """Without the numbers of names such as ``dense_3``, and without compiled code."""
    text = re.sub(r'"code": "[^"]*"', '"code": ""', text)
    return re.sub(r'_\d+(?=["/ _]|$)', "", text)

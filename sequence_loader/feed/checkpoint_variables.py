"""The variables that training changes, those that Keras does not list among them.

Keras lists what layers and metrics have, and what optimizers do. What a loss, a
regularizer or a schedule counts or draws from, a second optimizer, a variable of
TensorFlow, a buffer of a torch module, or one that a callback changes is on none of its
lists: it is found among all that is reached from the model and its callbacks.
"""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.feed.checkpoint_walk import stateful, walked

_BESIDE = "beside"
"""Begins the names of variables that Keras does not list."""


def variable_in(one: Any) -> Any:
    """The variable that an object is, or that it keeps its state in, or `None`."""
    found: Any = one if isinstance(one, stateful()) else None
    if found is None or isinstance(found, keras.Variable):
        return found
    if hasattr(found, "state"):  # it generates random numbers
        return found.state
    return found if found.dtype.is_numeric or found.dtype.is_bool else None


class _Buffer:
    """A buffer of a torch module, as a variable: Keras lists its parameters alone."""

    def __init__(self, tensor: Any) -> None:
        self._value, self.dtype, self.shape = tensor, tensor.dtype, tensor.shape

    def assign(self, value: Array) -> None:
        self._value.copy_(keras.ops.convert_to_tensor(value))


def _buffers_in(path: str, one: Any) -> list[tuple[str, Any]]:
    if not isinstance(one, keras.layers.TorchModuleWrapper):
        return []
    return [
        (f"{_BESIDE} {unnumbered(path)} {name}", _Buffer(each))
        for name, each in one.module.named_buffers()
    ]


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
        found += _buffers_in(path, one)
        variable = variable_in(one)
        if variable is not None and id(variable) not in known:
            known.add(id(variable))
            found.append((f"{_BESIDE} {unnumbered(path)}", variable))
    of_keras = {id(getattr(variable, "_value", None)) for _, variable in found}
    return [(name, one) for name, one in found if id(one) not in of_keras]


def values_of(variables: list[tuple[str, Any]]) -> list[Array]:
    """The values of `variables_of`; those of a loop of JAX must be in them."""
    return [_value(getattr(variable, "_value", variable)) for _, variable in variables]


def _value(variable: Any) -> Array:
    if keras_backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(variable, tf.Variable):  # a tensor that no later step changes
            return np.asarray(tf.convert_to_tensor(variable))
    return np.asarray(keras.ops.convert_to_numpy(variable))


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
    """Without the numbers of names such as ``dense_3``, and without compiled code.

    Of torch's modules a config has the weights, as text; these are what is saved.
    """
    text = re.sub(r'"code": "[^"]*"', '"code": ""', text)
    text = re.sub(r'"module": "[A-Za-z0-9+/=]{200,}"', '"module": ""', text)
    return re.sub(r'_\d+(?=["/ _]|$)', "", text)

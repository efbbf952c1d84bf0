"""What training depends on, as plain values and one array of bytes, and back.

Weights, variables of optimizers and metrics, and the states of seed generators lie one
behind the other; what else there is, of callbacks and of generators of random numbers,
is written down as JSON, with its arrays behind them. Nothing that is read can run code.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import keras
import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.feed.checkpoint_variables import (
    optimizers_of,
    unnumbered,
)
from sequence_loader.feed.checkpoint_walk import walked

_ALIGNMENT_BYTES = 64


_HELD = {
    "MonitorCallback": ("best",),
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "ModelCheckpoint": ("best", "_batches_seen_since_last_saving", "_last_batch_seen"),
    "OrbaxCheckpoint": (
        *("_batches_seen_since_last_saving", "_last_batch_seen"),
        "_total_batches_seen",
    ),
    "SwapEMAWeights": ("_ema_weights_in_model",),
    "TensorBoard": ("_global_train_batch", "_global_test_batch"),
    "History": ("history", "epoch"),
    "CSVLogger": ("keys",),
}
"""What Keras's callbacks hold from epoch to epoch, of which `fit` knows no more."""


class Packer:
    """Packs arrays into bytes that are used again from checkpoint to checkpoint."""

    def __init__(self) -> None:
        self._content = np.zeros(0, np.uint8)

    def pack(self, arrays: list[Array]) -> tuple[list[Any], Array]:
        """Where each array is, and the bytes of all.

        Args:
            arrays: Of any dtype and shape; they may change after this.

        Returns:
            ``[name of the dtype, shape, offset]`` for each, and a uint8 array that is
            valid until the next call.
        """
        places: list[Any] = []
        end = 0
        for array in arrays:
            places.append([str(array.dtype), list(array.shape), end])
            end += -(-array.nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        if len(self._content) != end:
            self._content = np.zeros(end, np.uint8)
        for array, (_, shape, offset) in zip(arrays, places):
            if array.nbytes:
                piece = self._content[offset : offset + array.nbytes]
                np.copyto(piece.view(array.dtype).reshape(shape), array)
        return places, self._content


def unpacked(content: Array, place: Any) -> Array:
    """The array at a place: a copy, which a backend may make its own."""
    name, shape, offset = place
    dtype = np.dtype(name) if name != "bfloat16" else _bfloat16()
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    piece = content[offset : offset + size].copy()
    array: Array = piece.view(dtype).reshape(shape)
    return array


def _bfloat16() -> np.dtype[Any]:
    import ml_dtypes  # comes with TensorFlow and JAX

    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def described(model: Any) -> dict[str, str]:
    """What a model and its optimizer are, but for what training changes."""
    found = {"backend": keras_backend(), "model": type(model).__name__}
    found["layers"] = _config(model.get_config)
    compiled = getattr(model, "get_compile_config", dict)
    for name, value in (_tried(compiled) or {}).items():
        if name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            found[name] = _config(lambda value=value: value)
    if found["layers"] in ("null", "{}"):  # a subclass, which does not tell of them
        inner = [one for _, one in walked([("", model)]) if one is not model]
        layers = [one for one in inner if isinstance(one, keras.Layer)]
        found["layers"] = " ".join(_config(each.get_config) for each in layers)
    for number, (_, optimizer) in enumerate(optimizers_of(model)):
        config = _config(optimizer.get_config)
        found[f"optimizer {number}"] = f"{type(optimizer).__name__} {config}"
    return found


def without_rates(described: dict[str, str]) -> dict[str, str]:
    """A description but for learning rates: callbacks change them; schedules stay."""
    rate, free = r'"learning_rate": [-+0-9.e]+', '"learning_rate": 0'
    return {name: re.sub(rate, free, text) for name, text in described.items()}


def _config(get: Any) -> str:
    return unnumbered(json.dumps(_tried(get), sort_keys=True, default=_plain))


def _tried(get: Any) -> Any:
    try:
        return get()
    except Exception:  # code of the user's own, or of a class that has no such thing
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.shape, hashlib.blake2b(value.tobytes()).hexdigest()[:16]]
    return type(value).__name__


# Callbacks and random numbers


def holders(callbacks: list[Any]) -> Iterator[tuple[str, Any]]:
    """(class, callback) of each callback that has a state to be kept."""
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(getattr(callback, "monitor", None), str):
            name += f" of {callback.monitor}"
        if _tells(callback) or _attributes(callback):
            yield name, callback


def plain_state(
    callbacks: list[Any], others: dict[str, Any], arrays: list[Array]
) -> dict[str, Any]:
    """What is saved beside variables, for `with_arrays`.

    Args:
        callbacks: Of them, the name and the state of each `holders` are saved.
        others: What else is.
        arrays: Those in it are appended.

    Raises:
        TypeError: A callback has what cannot be written down.
    """
    plain: dict[str, Any] = without_arrays(others, arrays, "what is saved")
    plain["dict"]["callbacks"] = [
        [name, without_arrays(_state_of(each), arrays, f"the callback {name}")]
        for name, each in holders(callbacks)
    ]
    return plain


def give_back(callbacks: list[Any], states: list[Any]) -> None:
    """Gives the callbacks what `plain_state` said that they hold."""
    for (_, callback), (_, state) in zip(holders(callbacks), states):
        state = deepcopy(state)  # it may change what it is given, and is given it twice
        if _tells(callback):
            callback.load_state_dict(state)
        else:
            vars(callback).update(state)


def _tells(callback: Any) -> bool:
    names = ("state_dict", "load_state_dict")
    return all(callable(getattr(callback, name, None)) for name in names)


def _state_of(callback: Any) -> Any:
    if _tells(callback):
        return callback.state_dict()
    return {name: getattr(callback, name) for name in _attributes(callback)}


def _attributes(callback: Any) -> list[str]:
    return [
        attribute
        for base in type(callback).__mro__
        if base.__module__.startswith("keras.")
        for attribute in _HELD.get(base.__name__, ())
        if hasattr(callback, attribute)
    ]


def random_states() -> dict[str, Any]:
    """The states of the global generators of Python, NumPy and torch."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    found: dict[str, Any] = {
        "python": [version, np.array(words, np.uint32), gauss],
        "numpy": [name, keys, *rest],
    }
    if keras_backend() == "torch":
        torch = sys.modules["torch"]
        found["torch"] = torch.get_rng_state().numpy()
        found["cuda"] = [
            state.numpy() for state in torch.cuda.get_rng_state_all()
        ] if torch.cuda.is_initialized() else []
    return found


def set_random_states(states: dict[str, Any]) -> None:
    """Goes on with what `random_states` gave."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(map(int, words)), gauss))
    np.random.set_state(tuple(states["numpy"]))
    if keras_backend() == "torch":
        torch = sys.modules["torch"]
        torch.set_rng_state(torch.from_numpy(states["torch"]))
        if states["cuda"]:
            torch.cuda.set_rng_state_all(list(map(torch.from_numpy, states["cuda"])))


def without_arrays(value: Any, arrays: list[Array], what: str) -> Any:
    """Plain values for JSON; arrays in them are appended to `arrays`.

    Args:
        value: Nested dicts, lists and tuples of numbers, texts, `None` and arrays.
        arrays: Is appended to.
        what: Whose value it is, for the error.

    Raises:
        TypeError: There is something else in it.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufcV":
            return without_arrays(value.tolist(), arrays, what)
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {
            "dict": {k: without_arrays(v, arrays, what) for k, v in value.items()}
        }
    if isinstance(value, list | tuple):
        values = [without_arrays(each, arrays, what) for each in value]
        return {"tuple": values} if isinstance(value, tuple) else values
    if isinstance(value, np.generic) and value.dtype.kind in "biufUV":
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if keras.ops.is_tensor(value):
        return without_arrays(keras.ops.convert_to_numpy(value), arrays, what)
    raise TypeError(
        f"the state of {what} must be made of numbers, texts, arrays, lists and dicts "
        f"with names as keys; received {value!r} of type {type(value).__name__}. "
        f"Return such values from its state_dict()."
    )


def with_arrays(value: Any, arrays: list[Array]) -> Any:
    """The reverse of `without_arrays`."""
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        if "tuple" in value:
            return tuple(with_arrays(each, arrays) for each in value["tuple"])
        return {name: with_arrays(each, arrays) for name, each in value["dict"].items()}
    if isinstance(value, list):
        return [with_arrays(each, arrays) for each in value]
    return value

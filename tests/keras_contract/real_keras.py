"""What the tests on real Keras share: the Keras chosen, models, records of calls.

The environment chooses, before anything is imported: ``KERAS_BACKEND`` is
tensorflow, jax or torch, or ``TF_USE_LEGACY_KERAS=1`` for tf-keras. See
`tests/test_every_keras.py`, which runs this directory under each of them.

How to know which rows were trained, and not only read: rows are one-hot and the
model is one weight a row, `CountingModel`, trained by plain gradient descent on
the sum of its outputs. Each time a row is trained its weight falls by exactly 1
(or by its sample weight), on every backend, in compiled code.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from sequence_loader import SparseBatchSequence
from sequence_loader.backends.keras_epochs import OLDEST_KERAS
from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras

if uses_legacy_keras():
    import tf_keras as keras
else:
    import keras

BACKEND = "tf_keras" if uses_legacy_keras() else keras_backend()
LEGACY = BACKEND == "tf_keras"
KERAS = tuple(map(int, keras.__version__.split(".")[:2]))
ON_TENSORFLOW = BACKEND in ("tensorflow", "tf_keras")
PEEKS_FIRST = BACKEND in ("jax", "torch")  # at one batch, while the model is unbuilt

if BACKEND == "torch":
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1)))


if LEGACY:
    from tf_keras.src.utils import data_utils

    class Impatient(queue.Queue[Any]):
        """What batches of Keras 2's threads wait in.

        At the end of a `fit` one more is waited for, 5 s and in vain; then it is asked
        whether there is to be one.
        """

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return super().get(block, timeout and 0.2)

    data_utils.queue = SimpleNamespace(Queue=Impatient, Empty=queue.Empty)


def about(*names: str) -> pytest.MarkDecorator:
    """A test of what only some Keras do; "keras_3" is any but tf_keras."""
    here = {BACKEND} if LEGACY else {BACKEND, "keras_3"}
    reason = f"about {' and '.join(names)}"
    return pytest.mark.skipif(not here & set(names), reason=reason)


def since(*version: int) -> pytest.MarkDecorator:
    """A test of what Keras 3 does since then, whose older versions are allowed too."""
    reason = f"about Keras {'.'.join(map(str, version))} and newer"
    return pytest.mark.skipif(not LEGACY and KERAS < version, reason=reason)


CHECKPOINTS = since(*OLDEST_KERAS)


class Recorded(SparseBatchSequence):
    """A sequence that writes down what Keras calls.

    `trace` holds one word for each call, in order: ``B`` and ``E`` for the hooks,
    the letter of the sequence and the batch number for a read. `served` holds
    (epoch, batch) for each read.
    """

    def __init__(self, *args: Any, letter: str = "t", **options: Any) -> None:
        self.letter = letter
        self.batch_size: int = options["batch_size"]
        self.trace: list[str] = []
        self.served: list[tuple[int, int]] = []
        self.record_lock = threading.Lock()
        super().__init__(*args, **options)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        with self.record_lock:
            self.trace.append(f"{self.letter}{index}")
            self.served.append((self.epoch, index))
        return super().__getitem__(index)

    def on_epoch_begin(self) -> None:
        self.trace.append("B")
        super().on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.trace.append("E")
        super().on_epoch_end()


class SumOfOutputs(keras.losses.Loss):
    """The sum of the outputs, whatever the targets."""

    def __init__(self) -> None:
        super().__init__(reduction="sum", name="sum_of_outputs")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred[..., 0]


def compile_model(model: Any, *arguments: Any, **options: Any) -> Any:
    """Compiles without XLA where that only costs time."""
    if ON_TENSORFLOW:
        options.setdefault("jit_compile", False)
    model.compile(*arguments, **options)
    return model


def counting_model(num_rows: int, *, built: bool = True, sparse: bool = False) -> Any:
    """One weight a row, 0 before training and minus the times trained after."""
    model = keras.Sequential(
        [keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    if built:
        model = keras.Sequential([input_of(num_rows, sparse=sparse), *model.layers])
    return compile_model(
        model, optimizer=keras.optimizers.SGD(1.0), loss=SumOfOutputs()
    )


def input_of(features: int, *, sparse: bool = False, name: str | None = None) -> Any:
    """An `Input`; torch has no sparse one, and takes sparse rows in a dense one."""
    return keras.Input(
        (features,), sparse=sparse and BACKEND != "torch", name=name
    )


class Trained(keras.callbacks.Callback):
    """Writes down which rows each step trained, from the model's weights.

    Attributes:
        steps: For each training step, the sorted row ids.
        epochs: For each epoch of Keras, how many steps there were before its end.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.steps: list[list[int]] = []
        self.epochs: list[int] = []
        self.stop_after = stop_after
        self.before: Any = 0.0

    def counts(self) -> Any:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        return -np.asarray(self.model.get_weights()[0])[:, 0]

    def on_train_begin(self, logs: Any = None) -> None:
        if self.model.built and self.model.weights:
            self.before = self.counts()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        after = self.counts()
        times = np.rint(after - self.before).astype(int)
        self.steps.append(np.repeat(np.arange(len(times)), times).tolist())
        self.before = after
        if len(self.steps) == self.stop_after:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(len(self.steps))

    @property
    def rows(self) -> list[int]:
        """All rows trained, in the order of the steps."""
        return [row for step in self.steps for row in step]


def one_hot(num_rows: int) -> Any:
    """Row i has a one in column i."""
    return sp.csr_array(sp.eye(num_rows, dtype=np.float32))


def recorded(num_rows: int, batch_size: int, **options: Any) -> Recorded:
    """A recorded sequence of one-hot rows whose target is the row id."""
    return Recorded(
        one_hot(num_rows),
        np.arange(num_rows, dtype=np.float32),
        batch_size=batch_size,
        **options,
    )


def as_array(features: Any) -> Any:
    """Served features of any kind as a NumPy array."""
    if sp.issparse(features):
        return features.toarray()
    if BACKEND == "jax" and hasattr(features, "todense"):
        return np.asarray(features.todense())
    if ON_TENSORFLOW and not isinstance(features, np.ndarray):
        import tensorflow as tf

        return tf.sparse.to_dense(features).numpy()
    if BACKEND == "torch" and not isinstance(features, np.ndarray):
        return features.to_dense().numpy()
    return np.asarray(features)


def aliased(array: Any) -> Any:
    """A tensor that uses the array where it lies, as Keras's pipelines make them."""
    if ON_TENSORFLOW:
        waiting, tensors = pipeline(array.shape, array.dtype)
        waiting.append(array)
        del array
        return next(tensors)
    if BACKEND == "jax":
        import jax

        return jax.device_put(array)
    return torch.from_numpy(array)


@cache
def pipeline(shape: tuple[int, ...], dtype: Any) -> tuple[list[Any], Iterator[Any]]:
    """A list to put arrays into, and what a `tf.data` pipeline makes of them."""
    import tensorflow as tf

    waiting: list[Any] = []

    def arrays() -> Iterator[Any]:
        while True:
            yield waiting.pop()

    spec, options = tf.TensorSpec(shape, dtype), tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # only what is asked for
    dataset = tf.data.Dataset.from_generator(arrays, output_signature=spec)
    return waiting, iter(dataset.with_options(options))


atexit.register(pipeline.cache_clear)  # TensorFlow complains of generators left


def content(tensor: Any) -> Any:
    """The tensor's values as an array, without a copy."""
    return np.asarray(memoryview(tensor) if ON_TENSORFLOW else tensor)

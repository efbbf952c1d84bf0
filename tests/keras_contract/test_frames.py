"""Canaries: the names of Keras that `keras_frames` and `keras_calls` lean on.

Where one fails, a version of Keras has moved them. Look up in its data adapters what
reads a batch, what peeks, and what each iterator has of its own, and say so in
`keras_frames`; until then its passes count as loops of the user's own, so that a second
reader may change the order of the first, and a peek may count as an epoch of a sequence
of one or two batches.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import (
    LEGACY,
    ON_TENSORFLOW,
    Recorded,
    about,
    counting_model,
    keras,
)

from sequence_loader.backends import keras_calls, keras_frames


class Noting(keras.utils.Sequence):
    """Notes who calls, by each method."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any]] = []

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        self.calls.append((f"t{index}", keras_frames.reader()))
        return np.eye(3, dtype="float32")[[index]], np.zeros(1, "float32")

    def on_epoch_begin(self) -> None:
        self.calls.append(("B", keras_frames.reader()))

    def on_epoch_end(self) -> None:
        self.calls.append(("E", keras_frames.reader()))


@pytest.mark.parametrize("shuffle", [False, True])
def test_adapters_iterators_and_peeks_are_found(shuffle: bool) -> None:
    data = Noting()
    model = counting_model(3, built=False)
    for _ in range(2):
        model.fit(data, epochs=2, shuffle=shuffle, verbose=0)
    readers = [found for _, found in data.calls]
    adapters = [found.consumer for found in readers]
    assert None not in adapters
    kept: list[Any] = []  # in order, each once
    for adapter in adapters:
        if not any(adapter is one for one in kept):
            kept.append(adapter)
    assert len(kept) == 2  # fits

    peeks = [word for word, found in data.calls if found.peeks]
    if LEGACY:
        assert peeks == ["t0", "t0"]
    elif ON_TENSORFLOW:
        assert peeks == ["t0", "t1"] * 2
    else:
        assert len(peeks) == 1  # while the model is unbuilt
    reads = [found for word, found in data.calls if word[0] == "t" and not found.peeks]
    runs = [found.run for found in reads]
    assert None not in runs and len(runs) == 12
    for start in range(0, 12, 3):
        assert runs[start] is runs[start + 1] is runs[start + 2]
        assert start == 0 or runs[start] is not runs[start - 1]
    assert [found.is_last for found in reads] == [False, False, True] * 4


def test_the_adapter_of_a_generator_is_found() -> None:
    found = []

    def batches() -> Iterator[Any]:
        while True:
            found.append(keras_frames.reader())
            yield np.eye(3, dtype="float32"), np.zeros(3, "float32")

    counting_model(3).fit(
        batches(), steps_per_epoch=4, epochs=2, shuffle=False, verbose=0
    )
    assert len(found) >= 8
    assert all(one.consumer is found[0].consumer is not None for one in found)
    assert all(one.run is None and not one.peeks for one in found)
    assert not any(one.has_hooks for one in found)


def test_iterators_of_a_generator_in_a_dataset_are_found() -> None:
    import tensorflow as tf

    reads: list[Any] = []

    def batches() -> Iterator[Any]:
        for _ in range(2):
            reads.append(keras_frames.reader())
            yield np.eye(3, dtype="float32"), np.zeros(3, "float32")

    spec = (tf.TensorSpec((3, 3)), tf.TensorSpec((3,)))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    data = data.apply(tf.data.experimental.assert_cardinality(2))
    counting_model(3).fit(data, epochs=2, shuffle=False, verbose=0)
    found = reads[-4:]  # JAX and torch peek
    assert [one.consumer is found[0].consumer for one in found] == [True] * 4
    assert found[0].consumer is not None and found[0].run is not None
    assert found[0].run is found[1].run is not found[2].run is found[3].run
    next(iter(data))
    assert found[-1].consumer is not None and reads[-1].consumer is None


def test_running_calls_and_callbacks_are_found() -> None:
    found: dict[str, Any] = {}
    data = Noting()

    class Calls(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            found["callback"] = keras_calls.running_call()
            found["reader"] = keras_frames.reader()
            other = counting_model(3)
            other.evaluate(inner, verbose=0)

    class Inner(Noting):
        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            found["inside"] = keras_calls.running_call()
            found["inside trains"] = keras_calls.trains()

    class Outer(Noting):
        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            found["outside"] = keras_calls.running_call()
            found["trains"] = keras_calls.trains()

    inner, data = Inner(), Outer()
    counting_model(3).fit(data, verbose=0, callbacks=[Calls()])
    fits = data.calls[-1][1].consumer
    assert found["reader"].consumer is None
    assert found["callback"].consumer is None
    assert [one is fits for one in found["callback"].around] == [True]
    evaluates = inner.calls[-1][1].consumer
    assert found["inside"].consumer is evaluates is not fits
    assert [one is fits for one in found["inside"].around] == [False, True]
    assert found["outside"].consumer is fits
    assert (found["trains"], found["inside trains"]) == (True, False)
    assert keras_calls.running_call().around == ()


@about("jax", "torch")  # others read none to build a model
def test_the_peek_at_a_dataset_is_found() -> None:
    import tensorflow as tf

    found = []

    def batches() -> Iterator[Any]:
        found.append(keras_calls.running_call().peeks)
        yield np.eye(3, dtype="float32"), np.zeros(3, "float32")

    spec = (tf.TensorSpec((3, 3)), tf.TensorSpec((3,)))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    data = data.apply(tf.data.experimental.assert_cardinality(1))
    model = counting_model(3, built=False)
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert found == [True, False, False]


@pytest.mark.parametrize("built", [False, True])
def test_fit_does_not_shuffle_batches_that_processes_share(built: bool) -> None:
    """Their numbers come from Python's `random`, which each process has of its own."""
    for index in range(2):
        random.seed(index)
        part = Recorded(
            np.eye(32, dtype="float32"),
            np.zeros(32, "float32"),
            batch_size=2,
            seed=7,
            shuffle=True,
            remainder="pad",
            shard=(index, 2),
        )
        counting_model(32, built=built).fit(part, epochs=2, verbose=0)
        every = [(epoch, number) for epoch in range(2) for number in range(8)]
        assert part.served[-16:] == every

"""Memory that is used again changes nothing, whatever the backend does with it.

A buffer rewritten too early is silent corruption (FACTS.md). So a model trained
from recycled memory must equal, bit for bit, one trained from fresh arrays.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)
from keras_contract.real_keras import (
    BACKEND,
    LEGACY,
    aliased,
    as_array,
    compile_model,
    content,
    input_of,
    keras,
)
from watching import HUNG_SECONDS, until

from sequence_loader import SparseBatchSequence
from sequence_loader.memory.buffers import ALIGNMENT_BYTES, BufferPool

ROWS, FEATURES, BATCH = 40 * 32, 2000, 32


class FreshPool(BufferPool):
    """Never gives out the same memory twice, because it keeps all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        self.given.append(np.zeros(shape, dtype))
        return self.given[-1]


class CountingPool(BufferPool):
    """Notes where the memory is that it gives out."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[int] = []

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        array = super().empty(shape, dtype)
        self.addresses.append(array.ctypes.data)
        return array


def matrix(density: float = 0.02) -> sp.csr_array:
    rng = np.random.default_rng(1)
    made = sp.random(ROWS, FEATURES, density=density, random_state=rng, dtype="f")
    return sp.csr_array(made)


def trained_with(
    pool: BufferPool, output: str, first: list[Any], road: str = "sequence"
) -> list[Any]:
    keras.utils.set_random_seed(6)
    model = compile_model(
        keras.Sequential(
            [
                input_of(FEATURES, sparse=output == "sparse"),
                *first,
                keras.layers.Dense(16, activation="tanh"),
                keras.layers.Dense(1),
            ]
        ),
        optimizer=keras.optimizers.Adam(0.01),
        loss="mse",
    )
    sequence = SparseBatchSequence(
        matrix(),
        np.sin(np.arange(ROWS)),
        batch_size=BATCH,
        shuffle=True,
        seed=9,
        output=output,
    )
    sequence._pipeline.assembler.pool = pool
    feed = sequence.to_tf_dataset() if road == "dataset" else sequence
    model.fit(feed, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def in_place_layer() -> Any:
    class AddInPlace(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x.add_(1.0) if hasattr(x, "add_") else x + 1.0

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return AddInPlace()


ROADS = [("dense", "sequence"), ("dense", "dataset"), ("sparse", "sequence")]
if BACKEND != "torch":  # it takes no sparse tensor from a tf.data pipeline
    ROADS.append(("sparse", "dataset"))


@pytest.mark.parametrize(
    ("output", "road", "in_place"),
    [
        *((*road, False) for road in ROADS),
        # Only torch writes into arrays it aliases.
        *((*road, True) for road in ROADS[:2] if BACKEND == "torch"),
    ],
)
def test_training_equals_training_without_it(
    output: str, road: str, in_place: bool
) -> None:
    first = [in_place_layer()] if in_place else []
    pool = CountingPool()
    recycled = trained_with(pool, output, first, road)
    first = [in_place_layer()] if in_place else []
    fresh = trained_with(FreshPool(), output, first, road)
    for one, other in zip(recycled, fresh):
        np.testing.assert_array_equal(one, other)
    if pool.addresses:  # torch's sparse tensors have memory of their own
        # A dataset keeps some batches in flight, and these epochs are short.
        most = 0.5 if road == "sequence" else 0.75
        assert len(set(pool.addresses)) < len(pool.addresses) * most
    elif BACKEND != "torch":
        pytest.fail("nothing came from the pool")


@pytest.mark.parametrize("output", ["dense", "sparse"])
def test_batches_that_are_kept_stay_what_they_are(output: str) -> None:
    x = matrix()
    sequence = SparseBatchSequence(x, batch_size=BATCH, output=output)
    kept = {}
    for epoch in range(2):
        for index in range(len(sequence)):
            (served,) = sequence[index]
            tensor = aliased(served) if output == "dense" else served
            del served
            if index % 3 == 0:
                kept[epoch, index] = tensor
            del tensor
    for (_, index), tensor in kept.items():
        rows = x[index * BATCH : (index + 1) * BATCH].toarray()
        found = content(tensor) if output == "dense" else as_array(tensor)
        np.testing.assert_array_equal(found, rows)


class Consumer(RuleBasedStateMachine):
    """Takes batches at random, keeps some of them, and looks at them later."""

    kept = Bundle("kept")
    x = matrix()

    def __init__(self) -> None:
        super().__init__()
        self.sequence = SparseBatchSequence(self.x, batch_size=BATCH)
        self.pool = self.sequence._pipeline.assembler.pool
        self.live: dict[int, tuple[int, Any]] = {}
        self.count = 0

    @rule(target=kept, index=st.integers(0, ROWS // BATCH - 1))
    def take(self, index: int) -> int:
        self.count += 1
        self.live[self.count] = (index, aliased(self.sequence[index][0]))
        return self.count

    @rule(index=st.integers(0, ROWS // BATCH - 1))
    def peek(self, index: int) -> None:
        aliased(self.sequence[index][0])

    @rule(number=consumes(kept))
    def let_go(self, number: int) -> None:
        del self.live[number]

    @rule()
    def collect(self) -> None:
        gc.collect(0)

    @invariant()
    def what_is_kept_is_what_was_served(self) -> None:
        for index, tensor in self.live.values():
            rows = self.x[index * BATCH : (index + 1) * BATCH].toarray()
            np.testing.assert_array_equal(content(tensor), rows)

    @invariant()
    def idle_memory_is_bounded(self) -> None:
        most = self.pool.in_use + self.pool.spare
        assert self.pool.idle_bytes <= most * BATCH * FEATURES * 4


TestConsumer = Consumer.TestCase
TestConsumer.settings = settings(max_examples=15, stateful_step_count=25)


def test_what_is_computed_later_is_computed_from_what_was_served() -> None:
    """JAX returns before it has read its arguments; nobody else refers to them."""
    x = matrix()
    sequence = SparseBatchSequence(x, batch_size=BATCH)

    if LEGACY:
        import tensorflow as ops

        total = ops.reduce_sum
    else:
        ops = keras.ops
        total = ops.sum

    def work(features: Any) -> Any:
        features = ops.convert_to_tensor(features)
        for _ in range(6):  # keeps the device busy while the next batches are made
            features = ops.sort(features, axis=1)
        return total(features, axis=1)

    if BACKEND == "jax":
        import jax

        work = jax.jit(work)
    later = [work(sequence[index][0]) for index in range(len(sequence))]
    expected = np.asarray(x.sum(axis=1)).ravel()
    found = np.concatenate([np.asarray(sums) for sums in later])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_slow_consumer_gets_what_was_served() -> None:
    x = matrix()
    sequence = SparseBatchSequence(x, batch_size=BATCH)
    waiting: queue.Queue[Any] = queue.Queue(maxsize=4)
    wrong: list[int] = []

    def consume() -> None:
        while (item := waiting.get()) is not None:
            index, tensor = item
            time.sleep(0.002)
            rows = x[index * BATCH : (index + 1) * BATCH].toarray()
            if not np.array_equal(content(tensor), rows):
                wrong.append(index)
            del item, tensor

    # Should a Ctrl-C come before it is told to end, nobody waits for it.
    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    for index in range(len(sequence)):
        waiting.put((index, aliased(sequence[index][0])))
    waiting.put(None)
    consumer.join(timeout=HUNG_SECONDS)
    assert not consumer.is_alive()
    assert wrong == []


def test_memory_comes_back_after_fit() -> None:
    pool = CountingPool()
    trained_with(pool, "dense", [])
    # A backend may hold its last input, and on a busy machine compute for a while.
    until(lambda: gc.collect() >= 0 and pool.in_use <= 1)


def test_dense_batches_are_used_where_they_lie() -> None:
    (served,) = SparseBatchSequence(matrix(), batch_size=BATCH)[0]
    address = served.ctypes.data
    assert address % ALIGNMENT_BYTES == 0
    assert content(aliased(served)).ctypes.data == address

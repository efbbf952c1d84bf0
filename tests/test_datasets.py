"""to_tf_dataset serves what the sequence serves, in order, epoch after epoch."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import time
import weakref

import numpy as np
import psutil
import pytest
import scipy.sparse as sp
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from running_jobs import left_out
from watching import HUNG_SECONDS, until

from sequence_loader import SparseBatchSequence
from sequence_loader.feed import dataset as dataset_module
from sequence_loader.rows.csr import CsrRows


def encoded(num_rows: int, num_features: int, density: float = 0.3) -> sp.csr_array:
    """Values that say where they belong: row * num_features + column + 1."""
    rng = np.random.default_rng(num_rows * 1000 + num_features)
    kept = rng.random((num_rows, num_features)) < density
    places = np.arange(num_rows * num_features).reshape(num_rows, num_features) + 1
    return sp.csr_array(np.where(kept, places, 0).astype(np.float64))


def as_arrays(batch: object) -> list[np.ndarray]:
    """Every array in a batch, sparse tensors as indices, values and shape."""
    found = []
    for leaf in tf.nest.flatten(batch):
        if isinstance(leaf, tf.SparseTensor):
            found += [leaf.indices, leaf.values, leaf.dense_shape]
        else:
            found.append(leaf)
    return [np.asarray(array) for array in found]


def assert_same(batches: list, others: list) -> None:
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        tf.nest.assert_same_structure(batch, other)
        for left, right in zip(as_arrays(batch), as_arrays(other), strict=True):
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            assert left.tobytes() == right.tobytes(), (left, right)  # 0.0 is not -0.0


@st.composite
def sequences(draw: st.DrawFn) -> SparseBatchSequence:
    num_rows = draw(st.sampled_from([1, 2, 7, 32, 33]))
    # Served dense, few of these rows are made so by the graph, and full ones before.
    density = draw(st.sampled_from([0, 0.05, 0.4]))
    x = encoded(num_rows, draw(st.sampled_from([1, 5, 40])), density)
    dense = np.arange(num_rows * 6, dtype=np.int16).reshape(num_rows, 2, 3)
    y = np.arange(num_rows)
    weight = np.linspace(0, 1, num_rows)
    remainder = draw(st.sampled_from(["keep", "drop", "pad"]))
    batch_size = draw(st.sampled_from([1, 4, 40]))
    if remainder == "drop":
        batch_size = min(batch_size, num_rows)
    targets = draw(st.sampled_from([None, "one", "dict", "sparse", "weighted"]))
    return SparseBatchSequence(
        draw(st.sampled_from([x, {"b": dense, "a": x}, (x, dense), dense])),
        {"one": y, "dict": {"u": y, "v": y * 2.0}, "sparse": x, "weighted": y}.get(
            targets
        ),
        weight if targets == "weighted" else None,
        batch_size=batch_size,
        shuffle=draw(st.sampled_from([False, True, "block"])),
        seed=draw(st.integers(0, 3)),
        rows=draw(st.sampled_from([None, np.arange(num_rows)[::-1]])),
        output=draw(st.sampled_from(["dense", "sparse"])),
        dtype=draw(st.sampled_from([None, "float64", "int32"])),
        augment=draw(st.sampled_from([None, lambda features, rng: features])),
        remainder=remainder,
        workers=draw(st.sampled_from([0, 1, 3])),
        max_queue_size=draw(st.sampled_from([1, 10])),
    )


@settings(max_examples=settings.default.max_examples // 2)  # each traces a graph
@given(sequences())
def test_agrees_with_the_sequence_byte_for_byte(sequence):
    dataset = sequence.to_tf_dataset()
    for epoch in range(2):
        assert sequence.epoch == epoch
        expected = list(sequence)
        assert_same(list(dataset), expected)


DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [4, 64])  # made dense before and inside the graph
def test_every_dtype_and_value_is_made_dense_as_in_the_sequence(dtype, width):
    values = np.arange(24.0)
    if tf.as_dtype(dtype).is_floating:
        values[:6] = [-0.0, np.nan, np.inf, -np.inf, 1e-7, -1.0]
    if dtype == "bool":
        values %= 2
    columns = np.tile([0, width // 2, width - 1], 8)
    x = sp.csr_array((values, columns, np.arange(0, 25, 3)), (8, width))
    sequence = SparseBatchSequence(
        x, batch_size=4, output="dense", dtype=tf.as_dtype(dtype).as_numpy_dtype
    )
    assert sequence[0][0].dtype.name == dtype
    assert_same(list(sequence.to_tf_dataset()), list(sequence))


def test_dense_batches_lie_in_memory_that_is_used_again(monkeypatch):
    """Fresh pages for every batch cost several times what filling them does."""
    # So large that one batch crosses in a call, and TensorFlow has no such block.
    x, batch_bytes = encoded(96, 100_000, 0.001), 8 * 100_000 * 4
    monkeypatch.setattr(dataset_module, "READY_BYTES", 3 * batch_bytes)
    sequence = SparseBatchSequence(x, batch_size=8, dtype="float32")
    pool = sequence._pipeline.assembler.pool
    dataset, places = sequence.to_tf_dataset(), set()
    for _ in range(5):
        for (features,) in dataset:
            # Kept ready, made, handed over, held here; and as much that is let go of.
            assert pool.in_use <= 2 * (3 + 3)
            # The tensor's own memory; numpy() would copy it.
            places.add(np.asarray(memoryview(features)).ctypes.data)
            del features
    assert len(places) <= 2 * (3 + 3)  # of 60 batches


@settings(max_examples=settings.default.max_examples // 2)
@given(sequences())
def test_elements_keep_their_spec(sequence):
    dataset = sequence.to_tf_dataset()
    assert int(dataset.cardinality()) == len(sequence)
    static = not all(
        spec.shape[0] is None for spec in tf.nest.flatten(dataset.element_spec)
    )
    assert static == (sequence._plan.remainder != "keep")
    for batch in dataset:
        for spec, leaf in zip(
            tf.nest.flatten(dataset.element_spec), tf.nest.flatten(batch), strict=True
        ):
            assert spec.is_compatible_with(leaf)


@pytest.fixture
def shuffled() -> SparseBatchSequence:
    return SparseBatchSequence(
        encoded(10, 4), np.arange(10), batch_size=4, shuffle=True, seed=5
    )


def order(batches) -> list[int]:
    return np.concatenate([np.asarray(batch[1]) for batch in batches]).tolist()


def orders(sequence: SparseBatchSequence, epochs: int) -> list[list[int]]:
    found = []
    for epoch in range(epochs):
        sequence.set_epoch(epoch)
        found.append(order(sequence))
    sequence.set_epoch(0)
    return found


def test_each_full_iteration_is_followed_by_the_next_epoch(shuffled):
    expected = orders(shuffled, 4)
    dataset = shuffled.to_tf_dataset()
    assert [order(dataset) for _ in range(2)] == expected[:2]
    repeated = list(dataset.repeat(2))
    assert [order(repeated[:3]), order(repeated[3:])] == expected[2:]
    assert shuffled.epoch == 4


def test_an_iteration_that_is_left_early_changes_nothing(shuffled):
    expected = orders(shuffled, 1)
    dataset = shuffled.to_tf_dataset()
    for taken in (1, 2):
        assert order(dataset.take(taken)) == expected[0][: taken * 4]
        assert shuffled.epoch == 0
    peeking = iter(dataset)
    next(peeking)
    assert order(dataset) == expected[0]
    del peeking
    assert shuffled.epoch == 1


def test_what_is_prefetched_does_not_count_as_served(shuffled):
    iterator = iter(shuffled.to_tf_dataset())  # prefetches all of the three batches
    next(iterator), next(iterator)
    assert shuffled.epoch == 0
    next(iterator)
    assert shuffled.epoch == 1


def test_two_iterations_at_once_serve_the_same_epoch(shuffled):
    expected = orders(shuffled, 2)
    dataset = shuffled.to_tf_dataset()
    both = list(zip(dataset, dataset))
    assert order(left for left, _ in both) == order(right for _, right in both)
    assert shuffled.epoch == 1  # moved on once
    assert order(dataset) == expected[1]


def test_set_epoch_counts_for_the_next_iteration(shuffled):
    expected = orders(shuffled, 8)
    shuffled.set_epoch(7)
    assert order(shuffled.to_tf_dataset()) == expected[7]


def test_rows_that_differ_in_number_have_an_open_batch_axis():
    kept = SparseBatchSequence(encoded(10, 4), batch_size=4).to_tf_dataset()
    assert kept.element_spec[0].shape.as_list() == [None, 4]
    padded = SparseBatchSequence(
        encoded(10, 4), batch_size=4, remainder="pad", output="sparse"
    ).to_tf_dataset()
    assert padded.element_spec[0].shape.as_list() == [4, 4]


def test_an_error_in_a_transform_keeps_its_text():
    def transform(block):
        if block.shape[0] < 4:
            raise RuntimeError("no such token: 17")
        return block

    sequence = SparseBatchSequence(encoded(10, 4), batch_size=4, transform=transform)
    with pytest.raises(tf.errors.OpError, match="no such token: 17"):
        list(sequence.to_tf_dataset())


@pytest.mark.parametrize("sparse", [range(0, 20, 2), range(1, 20, 2), range(1)])
@pytest.mark.parametrize("remainder", ["keep", "pad"])
def test_a_transform_may_give_sparse_rows_and_arrays(sparse, remainder):
    def transform(rows):
        batch = rows[0, 0] // 4
        return sp.csr_array(rows) if batch in sparse else rows

    x = np.zeros((38, 40))
    x[:, 0], x[5, 7] = np.arange(38), -0.0
    sequence = SparseBatchSequence(
        x, batch_size=4, output="dense", transform=transform, remainder=remainder
    )
    assert_same(list(sequence.to_tf_dataset()), list(sequence))


def test_so_may_the_transforms_of_several_inputs():
    def one(rows):
        return sp.csr_array(rows) if rows[0, 0] < 10 else rows

    def other(rows):
        return rows if rows[0, 0] < 10 else sp.csr_array(rows)

    x = np.zeros((38, 40))
    x[:, 0] = np.arange(38)
    sequence = SparseBatchSequence(
        (x, x), batch_size=4, output="dense", transform=(one, other)
    )
    assert_same(list(sequence.to_tf_dataset()), list(sequence))
    sequence = SparseBatchSequence(x, batch_size=4, output="sparse", transform=one)
    with pytest.raises(tf.errors.OpError, match="must give sparse rows for every"):
        list(sequence.to_tf_dataset())


class OwnRows:
    """A source of the user's own, that fails at row 20."""

    num_rows, numeric = 40, True

    def read(self, rows):
        if 20 in rows:
            raise ValueError("twenty")
        return CsrRows(np.arange(len(rows) + 1), rows % 40, rows * 1.0, 40)


@pytest.mark.parametrize("output", ["dense", "sparse"])
@pytest.mark.parametrize("own", ["transform", "augment", "source"])
def test_what_is_the_users_keeps_no_batch_before_it_back(own, output):
    def transform(rows):
        if 20 in rows:
            raise ValueError("twenty")
        return sp.csr_array(np.repeat(rows, 40, axis=1) * (np.arange(40) == 3))

    def augment(features, rng):
        if 20 in (features.data if output == "sparse" else features):
            raise ValueError("twenty")
        return features

    x = np.arange(40.0).reshape(-1, 1)
    eye = sp.csr_array(np.diag(np.arange(40.0)))
    sequence = SparseBatchSequence(
        {"transform": x, "augment": eye, "source": OwnRows()}[own],
        batch_size=4,
        output=output,
        transform=transform if own == "transform" else None,
        augment=augment if own == "augment" else None,
        max_queue_size=1,
    )
    batches = iter(sequence.to_tf_dataset())
    assert len([next(batches) for _ in range(5)]) == 5
    with pytest.raises(tf.errors.OpError, match="twenty"):
        next(batches)


def test_tensorflows_own_optimizations_do_not_move_the_epoch():
    sequence = SparseBatchSequence(encoded(8, 64, 0.1), batch_size=4, output="dense")
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = True
    options.autotune.enabled = True
    dataset = sequence.to_tf_dataset().with_options(options)
    for _ in range(3):
        peeking = iter(dataset)
        next(peeking)
        time.sleep(0.2)  # for what might be fetched ahead
        del peeking
    assert sequence.epoch == 0
    assert [len(list(dataset)), sequence.epoch] == [2, 1]


@pytest.mark.parametrize("output", ["dense", "sparse"])
def test_no_autotuner_is_started(output):
    # Letting go of an iterator that has one waits for it, up to a minute.
    sequence = SparseBatchSequence(encoded(8, 64, 0.1), batch_size=4, output=output)
    dataset = sequence.to_tf_dataset()
    assert dataset.options().autotune.enabled is False
    assert dataset.prefetch(2).options().autotune.enabled is False


@pytest.mark.parametrize("output", ["dense", "sparse"])
@pytest.mark.parametrize("where", ["function", "device", "graph"])
def test_it_may_be_made_anywhere(where, output):
    x, y = encoded(10, 64, 0.1), np.arange(10)
    sequence = SparseBatchSequence(x, y, batch_size=4, output=output)

    def dense_and_targets():
        def both(features, targets):
            if output == "sparse":
                features = tf.sparse.to_dense(features)
            return features, targets

        batches = sequence.to_tf_dataset().map(both).unbatch().batch(10)
        return batches.get_single_element()

    if where == "function":
        features, targets = tf.function(dense_and_targets)()
    elif where == "device":  # one that is not here, which TensorFlow's own map permits
        with tf.device("GPU:7"):
            features, targets = dense_and_targets()
    else:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            features, targets = session.run(dense_and_targets())
    np.testing.assert_array_equal(features, x.toarray())
    np.testing.assert_array_equal(targets, y)


@pytest.mark.parametrize("output", ["dense", "sparse"])
@pytest.mark.parametrize("way", [{}, {"transform": abs}, {"workers": 3}])
def test_a_restored_iterator_goes_on_in_its_epoch(way, output, tmp_path):
    # Several batches cross in a call, one does, or threads make them.
    options = dict(shuffle=True, seed=5, output=output, max_queue_size=1) | way
    sequence = SparseBatchSequence(encoded(40, 20), batch_size=4, **options)
    policy = tf.data.Options()  # else TensorFlow saves none whose state Python has
    policy.experimental_external_state_policy = (
        tf.data.experimental.ExternalStatePolicy.IGNORE
    )
    iterator = iter(sequence.to_tf_dataset().with_options(policy))
    next(iterator)
    checkpoint = tf.train.Checkpoint(iterator=iterator)
    path = checkpoint.save(tmp_path / "saved")
    rest = list(iterator)
    assert (len(rest), sequence.epoch) == (9, 1)
    checkpoint.restore(path)
    assert_same(list(iterator), rest)
    assert sequence.epoch == 1


@pytest.mark.parametrize("output", ["dense", "sparse"])
@pytest.mark.parametrize("batches", [7, 10])
def test_an_iterator_restored_elsewhere_goes_on_with_the_next_epoch(
    output, batches, tmp_path
):
    """A new process knows nothing of its epoch: it served the first one again."""
    x = np.arange(12.0)[:, None]

    def begun():
        sequence = SparseBatchSequence(
            sp.csr_array(x), x, batch_size=4, shuffle=True, seed=5, output=output
        )
        policy = tf.data.Options()
        policy.experimental_external_state_policy = (
            tf.data.experimental.ExternalStatePolicy.IGNORE
        )
        dataset = sequence.to_tf_dataset().repeat().with_options(policy)
        return iter(dataset), sequence

    iterator, _ = begun()
    for _ in range(batches):  # three are an epoch
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(tmp_path / "saved")
    restored, sequence = begun()
    tf.train.Checkpoint(iterator=restored).restore(path)
    for _ in range(8):
        assert next(restored)[1].numpy().tolist() == next(iterator)[1].numpy().tolist()
    assert sequence.epoch == (batches + 8) // 3


def test_it_is_served_in_tensorflows_debug_mode():
    script = """
        import numpy as np, scipy.sparse as sp, tensorflow as tf
        from sequence_loader import SparseBatchSequence

        x, y = sp.eye_array(40, format="csr"), np.arange(40)
        tf.data.experimental.enable_debug_mode()
        for output in "dense", "sparse":
            for way in {}, {"transform": abs}, {"workers": 3}:
                sequence = SparseBatchSequence(x, y, batch_size=4, output=output, **way)
                served = [targets for _, targets in sequence.to_tf_dataset()]
                np.testing.assert_array_equal(np.concatenate(served), y)
    """
    run_alone(script)


def test_csr_output_is_refused():
    sequence = SparseBatchSequence(encoded(10, 4), output="csr")
    with pytest.raises(ValueError, match=r"`output` must be 'dense' or 'sparse'"):
        sequence.to_tf_dataset()


def test_the_dataset_outlives_the_name_of_its_sequence(shuffled):
    expected = orders(shuffled, 1)[0]
    dataset = SparseBatchSequence(
        encoded(10, 4), np.arange(10), batch_size=4, shuffle=True, seed=5
    ).to_tf_dataset()
    gc.collect()
    assert order(dataset) == expected


@pytest.mark.parametrize(
    "output", ["dense", pytest.param("sparse", marks=pytest.mark.long)]
)
def test_memory_is_flat_and_the_pool_bounded_by_what_is_in_flight(output):
    x = encoded(512, 20_000, density=0.01)
    sequence = SparseBatchSequence(
        x, np.arange(512), batch_size=64, shuffle=True, output=output, max_queue_size=2
    )
    dataset = sequence.to_tf_dataset()
    pool = sequence._pipeline.assembler.pool
    dense_bytes, sparse_bytes = 64 * 20_000 * 4, x.nnz // 8 * (8 + 8 + 4)
    batch_bytes = dense_bytes if output == "dense" else sparse_bytes

    @tf.function  # traced once: what it traces, TensorFlow keeps
    def epoch_in_graph() -> tf.Tensor:
        return dataset.reduce(np.int64(0), lambda count, *batch: count + 1)

    def epochs(count: int) -> int:
        for _ in range(count):
            epoch_in_graph()
            for _ in sequence:
                assert pool.in_use <= 2 * 12  # one asked for, and what is prefetched
        gc.collect()
        return private_bytes()

    epochs(5)  # allocators and TensorFlow's own caches settle
    after = epochs(5)
    # One batch of the eight of an epoch, left behind by one road, would be `count`
    # batches in each round; an allocator grows in some rounds, and not in all.
    count = 30 if output == "dense" else 100
    for _ in range(4):
        before, after = after, epochs(count)
        if after - before < 0.4 * count * batch_bytes:
            break
    else:
        pytest.fail(f"{(after - before) / batch_bytes} batches more, and so before")
    assert pool.in_use <= 2
    in_call = 8 if output == "sparse" else 1
    assert pool.idle_bytes <= (2 + in_call + 3) * batch_bytes


def test_the_memory_of_what_is_kept_ready_goes_with_the_dataset(shuffled):
    pool = shuffled._pipeline.assembler.pool
    before = pool.spare
    dataset = shuffled.to_tf_dataset()
    derived = dataset.map(lambda x, y: x)
    del dataset
    for _ in range(2):
        list(derived)
        assert pool.spare > before
    del derived
    gc.collect()
    until(lambda: pool.spare == before)  # a thread frees what a walk looked at


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_an_iterator_is_gone_where_it_is_dropped(shuffled, taken):
    """If garbage is collected in a thread that reads ahead for it, that never ends."""
    dataset = shuffled.to_tf_dataset()
    for data in (dataset, dataset.map(lambda *batch: batch).repeat()):
        iterator = iter(data)
        gc.disable()
        try:
            for _ in range(taken):
                next(iterator)
            seen = weakref.ref(iterator)
            del iterator
            until(lambda: seen() is None)  # a thread frees what a walk looked at
        finally:
            gc.enable()


def test_an_iterator_that_is_not_read_from_begins_nothing(shuffled):
    # Keras makes one at the end of each epoch, and lets go of it.
    expected = orders(shuffled, 2)
    dataset = shuffled.to_tf_dataset()
    begun = shuffled._epochs._passes.iterations_begun
    for epoch in range(2):
        assert order(dataset) == expected[epoch]
        iter(dataset)
    assert shuffled._epochs._passes.iterations_begun == begun + 2


def run_alone(script):
    """Runs a program in an interpreter of its own, to its very end."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=left_out(os.environ),
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def private_bytes() -> int:
    memory = psutil.Process().memory_full_info()
    return memory.uss


@pytest.mark.long
def test_a_pipeline_that_is_busy_does_not_keep_the_interpreter_from_ending():
    script = """
        import numpy as np, scipy.sparse as sp
        from sequence_loader import SparseBatchSequence

        x = sp.random(5000, 3000, density=0.05, format="csr", dtype="float32")
        sequence = SparseBatchSequence(x, np.arange(5000), batch_size=50)
        batches = iter(sequence.to_tf_dataset().repeat().prefetch(10**6))
        next(batches)
    """
    run_alone(script)

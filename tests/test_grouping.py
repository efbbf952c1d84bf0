"""Batches that are read in groups are the batches that are read one by one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import threading
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from watching import HUNG_SECONDS

from sequence_loader import (
    SequentialSampler,
    ShuffleSampler,
    SparseBatchSequence,
    StoreWriter,
    open_store,
)
from sequence_loader.batches.groups import (
    GROUP_BATCHES,
    GROUP_BYTES,
    GroupReader,
    group_size,
)
from sequence_loader.batches.batch import Batch
from sequence_loader.batches.reader import BatchReader
from sequence_loader.batches.structures import leaves
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows

ROWS, FEATURES = 61, 7


def encoded(num_rows: int = ROWS, num_features: int = FEATURES) -> sp.csr_array:
    """Values that say where they belong; a third of the rows are empty."""
    places = np.arange(num_rows * num_features).reshape(num_rows, num_features) + 1
    kept = np.random.default_rng(num_rows).random(places.shape) < 0.4
    kept[::3] = False
    return sp.csr_array(np.where(kept, places, 0).astype(np.float32))


def arrays_of(batch: Batch) -> list[np.ndarray[Any, Any]]:
    found: list[np.ndarray[Any, Any]] = []
    for part in batch:
        for leaf in [] if part is None else leaves(part):
            sparse = isinstance(leaf, CsrRows)
            found += [leaf.indptr, leaf.indices, leaf.data] if sparse else [leaf]
    return found


def assert_same(batch: Batch, other: Batch) -> None:
    for left, right in zip(arrays_of(batch), arrays_of(other), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@st.composite
def readers(draw: st.DrawFn) -> BatchReader:
    x = encoded()
    dense = np.arange(ROWS * 6).reshape(ROWS, 2, 3)
    y, weight = np.arange(ROWS), np.linspace(0, 1, ROWS)
    features = draw(st.sampled_from([x, dense, {"a": x, "b": dense}, (dense, x)]))
    targets = draw(st.sampled_from([None, y, {"u": y, "v": x}, (y, dense)]))
    weighted = targets is not None and draw(st.booleans())
    return BatchReader(features, targets, weight if weighted else None)


@st.composite
def plans(draw: st.DrawFn) -> BatchPlan:
    return BatchPlan(
        ROWS,
        ShuffleSampler(draw(st.integers(0, 3))),
        draw(st.sampled_from([1, 2, 5, 61, 100])),
        draw(st.sampled_from(["keep", "pad"])),
    )


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(epoch, first, length): stretches in order, and jumps between them."""
    run = st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(1, 25))
    return draw(st.lists(run, min_size=1, max_size=6))


@given(readers(), plans(), runs())
def test_they_are_what_is_read_one_by_one(reader, plan, stretches):
    groups = GroupReader(reader, owns=False)
    for epoch, first, length in stretches:
        for index in range(first, first + length):
            index %= plan.num_batches
            expected = reader.read(plan.batch(epoch, index))
            assert_same(groups.read(plan, plan.batch(epoch, index)), expected)


@given(readers(), plans(), st.integers(1, 9))
def test_reading_together_is_reading_one_by_one(reader, plan, count):
    planned = [plan.batch(0, i) for i in range(min(count, plan.num_batches))]
    found = reader.read_together(plan, 0, range(len(planned)))
    for batch, rows in zip(found, planned, strict=True):
        assert_same(batch, reader.read(rows))


def plan_of(num_rows: int = ROWS, batch_size: int = 2) -> BatchPlan:
    return BatchPlan(num_rows, ShuffleSampler(1), batch_size)


class Counting(BatchReader):
    """Notes how many rows it reads at a time."""

    def __init__(self, *data: Any) -> None:
        super().__init__(*data)
        self.counts: list[int] = []

    def read_features(self, rows: Any) -> Any:
        self.counts.append(len(rows))
        return super().read_features(rows)


def test_groups_are_read_from_the_third_batch_in_order():
    reader = Counting(encoded(), np.arange(ROWS))
    counts = reader.counts
    groups, plan = GroupReader(reader, owns=False), plan_of()
    for index in range(plan.num_batches):
        groups.read(plan, plan.batch(0, index))
        assert len(groups._ready) < GROUP_BATCHES
    assert counts == [2, 2, 32, 25]
    assert not groups._ready


@pytest.mark.parametrize("order", [range(30, -1, -1), [0, 1, 0, 1, 0, 5, 6, 9, 3] * 3])
def test_an_order_that_is_not_followed_costs_nothing(order):
    reader = Counting(encoded())
    counts = reader.counts
    groups, plan = GroupReader(reader, owns=False), plan_of()
    for index in order:
        groups.read(plan, plan.batch(0, index))
    assert set(counts) <= {1, 2} and len(counts) == len(list(order))


def test_large_batches_are_read_one_by_one():
    assert group_size(0) == group_size(GROUP_BYTES // GROUP_BATCHES) == GROUP_BATCHES
    assert group_size(GROUP_BYTES // 2) == 2
    assert group_size(GROUP_BYTES) == group_size(10 * GROUP_BYTES) == 1
    reader = Counting(np.zeros((ROWS, GROUP_BYTES // 16), np.float64))
    counts = reader.counts
    groups, plan = GroupReader(reader, owns=False), plan_of()
    for index in range(8):
        groups.read(plan, plan.batch(0, index))
    assert set(counts) == {2}


@pytest.mark.parametrize("short", [20, 34])  # 34: of a group the last batch is longer
def test_rows_that_grow_longer_are_read_in_smaller_groups(short):
    lengths = np.repeat([1, 60_000], [short, ROWS - short])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.concatenate([np.arange(n) for n in lengths])
    x = sp.csr_array((np.ones(len(indices), np.float32), indices, indptr))
    reader = Counting(x)
    counts = reader.counts
    groups = GroupReader(reader, owns=False)
    plan = BatchPlan(ROWS, SequentialSampler(), 2)
    for index in range(plan.num_batches):
        groups.read(plan, plan.batch(0, index))
    assert counts == [2, 2, 32, 4, 4, 4, 4, 4, 4, 1]


@pytest.mark.torch
def test_a_tensor_of_torch_keeps_the_memory_of_its_batch_alone():
    code = """
        import numpy as np, scipy.sparse as sp
        from sequence_loader import SparseBatchSequence
        x = sp.random(61, 7, density=0.5, format="csr", dtype="f", random_state=0)
        for features, in SparseBatchSequence(x, batch_size=2, output="sparse"):
            values = features.values()
            assert values.untyped_storage().nbytes() == values.nbytes
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert done.stdout.strip() == "done", done.stderr


def test_what_a_user_reads_or_transforms_is_given_one_batch_at_a_time():
    asked: list[int] = []

    class Own:
        numeric, num_rows = True, ROWS

        def read(self, rows: Any) -> Any:
            asked.append(len(rows))
            return np.ones((len(rows), 3))

    def transform(block: Any) -> Any:
        asked.append(block.shape[0])
        return block

    for sequence in (
        SparseBatchSequence(Own(), batch_size=2),
        SparseBatchSequence(encoded(), batch_size=2, transform=transform),
    ):
        asked.clear()
        assert len(list(sequence)) == len(asked) == 31
        assert set(asked) == {1, 2}
        asked.clear()
        assert len(list(sequence.to_tf_dataset())) == 31
        assert set(asked) == {1, 2}


@pytest.mark.parametrize("output", ["csr", "dense"])
def test_a_batch_belongs_to_who_asked_for_it(output):
    x, y, weight = encoded(), np.arange(ROWS), np.ones(ROWS)
    sequence = SparseBatchSequence(
        {"s": x, "d": x.toarray()}, y, weight, batch_size=2, output=output
    )
    expected = [pickle.dumps(batch) for batch in sequence]
    served = []
    for number, batch in enumerate(sequence):
        assert pickle.dumps(batch) == expected[number]
        features, targets, weights = batch
        sparse = features["s"]
        changed = [features["d"], targets, weights]
        changed += [sparse.data, sparse.indices] if output == "csr" else [sparse]
        for array in changed:
            array[...] = 0
            base = array.base if array.base is not None else array
            assert output == "dense" or base.nbytes <= array.nbytes
        served.append(changed)
    assert [pickle.dumps(batch) for batch in sequence] == expected
    assert not any(array.any() for changed in served for array in changed)


def test_the_batch_that_is_damaged_is_the_one_that_is_refused():
    x = encoded()
    sequence = SparseBatchSequence(x, batch_size=2, output="csr")
    expected = [batch[0].toarray() for batch in sequence]
    damaged = 25
    x.indices[x.indptr[damaged]] = FEATURES
    for index, wanted in enumerate(expected):
        if index == damaged // 2:
            with pytest.raises(ValueError, match=f"row {damaged} holds {FEATURES}"):
                sequence[index]
        else:
            np.testing.assert_array_equal(sequence[index][0].toarray(), wanted)


def test_a_store_is_read_in_groups_unless_windows_are_followed(tmp_path):
    with StoreWriter(tmp_path / "s", FEATURES) as writer:
        writer.append(encoded(), y=np.arange(ROWS))
    for memory, grouped in ((1 << 30, True), (1000, False)):
        with open_store(tmp_path / "s", memory=memory) as store:
            reader = BatchReader(store)
            assert reader.reads_together is grouped
            sequence = SparseBatchSequence(store, batch_size=2, output="csr")
            rows = np.concatenate([features.toarray() for features, _ in sequence])
            np.testing.assert_array_equal(rows, encoded().toarray())


def test_what_is_ready_is_given_to_one_thread_alone():
    reader = BatchReader(encoded(600), np.arange(600))
    plan = plan_of(600)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            groups = GroupReader(reader, owns=False)
            found: list[tuple[int, Batch]] = []

            def ask(groups: Any = groups, found: Any = found) -> None:
                for index in range(plan.num_batches):
                    found.append((index, groups.read(plan, plan.batch(0, index))))

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(HUNG_SECONDS)
            assert len(found) == 4 * plan.num_batches
            for index, batch in found:
                assert_same(batch, reader.read(plan.batch(0, index)))
            targets = [batch.targets.ctypes.data for _, batch in found]
            assert len(set(targets)) == len(found)
    finally:
        sys.setswitchinterval(switch)


def test_nothing_that_is_ready_is_pickled():
    groups, plan = GroupReader(BatchReader(encoded()), owns=True), plan_of()
    for index in range(5):
        groups.read(plan, plan.batch(0, index))
    assert groups._ready
    copied = pickle.loads(pickle.dumps(groups))
    assert not copied._ready and copied._owns

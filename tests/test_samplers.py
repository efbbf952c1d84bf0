"""Samplers: permutations of the rows, pure, sliceable, and well mixed."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from encoded import EPOCHS, SEEDS, block_samplers, samplers, sizes
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from sequence_loader import (
    BalancedSampler,
    BlockShuffleSampler,
    Sampler,
    SequentialSampler,
    ShuffleSampler,
    SparseBatchSequence,
    WeightedSampler,
)

EVERY = [SequentialSampler(), ShuffleSampler(3), BlockShuffleSampler(3, 4, 8)]


@given(samplers(), sizes(20_000), EPOCHS)
def test_an_epoch_holds_every_row_once(sampler, size, epoch):
    found = sampler.rows(size, epoch, 0, size)
    assert found.dtype == np.int64 and found.shape == (size,)
    assert sampler.length(size) == size
    assert (np.bincount(found, minlength=size) == 1).all()


@given(samplers(), sizes(9000), EPOCHS, st.data())
def test_any_slice_is_a_slice_of_the_whole(sampler, size, epoch, data):
    whole = sampler.rows(size, epoch, 0, size)
    for _ in range(4):
        start = data.draw(st.integers(0, size))
        stop = data.draw(st.integers(start, min(size, start + 300)))
        assert (sampler.rows(size, epoch, start, stop) == whole[start:stop]).all()


@given(block_samplers(), EPOCHS, st.data())
def test_slices_across_blocks_and_windows_join(sampler, epoch, data):
    step = sampler.block_size * sampler.window
    near = [sampler.block_size, step, 2 * step, 3 * sampler.block_size]
    size = data.draw(st.sampled_from(near)) + data.draw(st.integers(-1, 1))
    size = min(max(size, 1), 20_000)
    whole = sampler.rows(size, epoch, 0, size)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    pieces = [
        sampler.rows(size, epoch, start, stop)
        for start, stop in zip([0, *cuts], [*cuts, size])
    ]
    assert (np.concatenate(pieces) == whole).all()


@given(samplers(), sizes(9000), EPOCHS)
def test_a_pickled_copy_gives_the_same_order(sampler, size, epoch):
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy == sampler and hash(copy) == hash(sampler)
    stop = min(size, 200)
    assert (copy.rows(size, epoch, 0, stop) == sampler.rows(size, epoch, 0, stop)).all()


@given(
    st.one_of(st.builds(ShuffleSampler, seed=SEEDS), block_samplers()),
    st.sampled_from([2**31 - 1, 2**31, 2**31 + 1, 10**9, 2**40, 2**40 + 1]),
    st.data(),
)
def test_slices_of_huge_orders_hold_distinct_rows(sampler, size, data):
    start = data.draw(st.sampled_from([0, 2**31 - 50, size // 2, size - 100]))
    start = min(start, size - 100)
    pieces = [sampler.rows(size, 1, low, low + 100) for low in {0, start, size - 100}]
    found = np.concatenate(pieces)
    positions = {
        position
        for low in {0, start, size - 100}
        for position in range(low, low + 100)
    }
    assert 0 <= found.min() and found.max() < size
    assert len(np.unique(found)) == len(positions)


@pytest.mark.parametrize("sampler", EVERY, ids=lambda s: type(s).__name__)
def test_samplers_are_frozen_values_that_satisfy_the_protocol(sampler):
    assert isinstance(sampler, Sampler)
    with pytest.raises(AttributeError):
        sampler.seed = 5


def test_sequential_serves_rows_in_order():
    found = SequentialSampler().rows(10, 99, 3, 8)
    assert found.tolist() == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("kind", [ShuffleSampler, BlockShuffleSampler])
def test_epochs_and_seeds_have_unrelated_orders(kind):
    size = 2000
    orders = {
        (seed, epoch): kind(seed).rows(size, epoch, 0, size)
        for seed in range(5)
        for epoch in range(5)
    }
    keys = list(orders)
    for first in keys:
        for second in keys:
            if first < second:
                same = (orders[first] == orders[second]).sum()
                assert same < 12  # Poisson(1)
                z = np.corrcoef(orders[first], orders[second])[0, 1] * size**0.5
                assert abs(z) < 5.5


@pytest.mark.parametrize("kind", [ShuffleSampler, BlockShuffleSampler])
def test_no_seed_draws_one_and_keeps_it(kind):
    drawn = kind()
    assert isinstance(drawn.seed, int) and 0 <= drawn.seed < 2**32
    assert drawn == kind(drawn.seed)
    assert kind() != kind()
    first = drawn.rows(500, 0, 0, 500)
    assert (first == drawn.rows(500, 0, 0, 500)).all()


@pytest.mark.parametrize("kind", [ShuffleSampler, BlockShuffleSampler])
def test_numpy_integers_become_ints(kind):
    assert kind(np.uint64(2**64 - 1)) == kind(2**64 - 1)
    assert type(kind(np.int64(3)).seed) is int
    blocks = BlockShuffleSampler(1, np.int32(4), np.uint8(2))
    assert type(blocks.block_size) is int and type(blocks.window) is int
    assert repr(blocks) == "BlockShuffleSampler(seed=1, block_size=4, window=2)"


# Block shuffle


@given(
    st.integers(1, 40), st.integers(1, 12), sizes(5000), st.integers(0, 5)
)
@settings(max_examples=settings.default.max_examples // 2)
def test_a_window_reads_whole_blocks_of_neighbours(block_size, window, size, epoch):
    """What a reader relies on: a window touches few runs of rows, and each fully."""
    sampler = BlockShuffleSampler(1, block_size, window)
    found = sampler.rows(size, epoch, 0, size)
    blocks = -(-size // block_size)
    windows = -(-blocks // window)
    edges = [index * blocks // windows * block_size for index in range(windows)]
    for start, stop in zip(edges, [*edges[1:], size]):
        assert (stop - start) <= block_size * window
        rows = np.sort(found[start:stop])
        runs = 1 + (np.diff(rows) > 1).sum()
        assert runs <= -(-(stop - start) // block_size) + 1  # one wraps around


def test_windows_are_of_equal_size():
    """No small last window of badly mixed rows."""
    sampler = BlockShuffleSampler(1, block_size=10, window=100)
    size = 1010 * 10  # 1010 blocks: eleven windows
    found = sampler.rows(size, 0, 0, size)
    last = found[-800:]
    assert len(np.unique(last // 10)) > 75


def test_blocks_begin_elsewhere_in_every_epoch():
    """Neighbours at a border are not strangers for ever."""
    sampler = BlockShuffleSampler(1, block_size=16, window=1)
    together = set()
    for epoch in range(60):
        found = sampler.rows(160, epoch, 0, 160).reshape(10, 16)
        together |= {epoch for block in found if {15, 16} <= set(block.tolist())}
    assert len(together) > 40  # 15 of 16 epochs


def test_rows_of_a_window_are_mixed_one_by_one():
    sampler = BlockShuffleSampler(1, block_size=16, window=1024)
    found = sampler.rows(16_384, 0, 0, 16_384)
    assert (np.diff(found) == 1).sum() < 15


@pytest.mark.parametrize("size", [200_000])
def test_batches_of_rows_sorted_by_label_are_mixed(size):
    """A batch of 128 has seen nearly all the label entropy there is."""
    labels = np.arange(size) * 8 // size
    sampler = BlockShuffleSampler(1, block_size=16, window=512)
    found = labels[sampler.rows(size, 0, 0, size)]

    def entropy(batch):
        shares = np.bincount(batch, minlength=8) / len(batch)
        shares = shares[shares > 0]
        return -(shares * np.log2(shares)).sum()

    batches = found[: size // 128 * 128].reshape(-1, 128)
    ideal = np.random.default_rng(0).permutation(labels)[: 128 * 500].reshape(-1, 128)
    lost = np.mean([*map(entropy, ideal)]) - np.mean([*map(entropy, batches)])
    assert lost < 0.06


DRAWN = [
    ShuffleSampler(),
    BlockShuffleSampler(block_size=2),
    WeightedSampler(np.arange(1, 9)),
    BalancedSampler(np.arange(8) % 3),
]
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda sampler: pickle.loads(pickle.dumps(sampler)),
    "replace": dataclasses.replace,
    "seed": lambda sampler: ShuffleSampler(sampler.seed),
}


@dataclasses.dataclass(frozen=True)
class MovedWeighted(WeightedSampler):
    by: int = 0

    def rows(self, num_rows, epoch, start, stop):
        return (super().rows(num_rows, epoch, start, stop) + self.by) % num_rows


class MovedBalanced(BalancedSampler):
    def __init__(self, labels, by):
        super().__init__(labels)
        object.__setattr__(self, "by", by)

    def rows(self, num_rows, epoch, start, stop):
        return (super().rows(num_rows, epoch, start, stop) + self.by) % num_rows


@pytest.mark.parametrize("way", ["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize(
    "sampler",
    [MovedWeighted(np.arange(1, 9), by=3), MovedBalanced(np.arange(8) % 3, by=3)],
)
def test_copies_of_a_subclass_hold_what_it_holds(sampler, way):
    found = COPIES[way](sampler)
    plain = super(type(sampler), sampler).rows(8, 2, 0, 8)
    assert found.rows(8, 2, 0, 8).tolist() == ((plain + 3) % 8).tolist()
    assert found == sampler and found.digest == sampler.digest


def shares(sampler, **options):
    return [
        SparseBatchSequence(np.eye(8), batch_size=2, sampler=sampler, seed=7,
                            remainder="pad", shard=(index, 2), **options)
        for index in range(2)
    ]


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("sampler", DRAWN, ids=lambda s: type(s).__name__)
def test_a_seed_that_was_drawn_is_one_in_every_copy(sampler, way):
    """A copy of this process, and one that all were sent, cannot be told apart."""
    found = COPIES[way](sampler)
    assert found.seed == sampler.seed
    refused(ValueError, f"has drawn {sampler.seed} here", call=lambda: shares(found))
    given = dataclasses.replace(found, seed=7)
    first, second = shares(COPIES[way](given))
    assert first.state_dict() == second.state_dict()
    alone = SparseBatchSequence(np.eye(8), batch_size=4, sampler=found)
    state = alone.state_dict()
    assert state == json.loads(json.dumps(state))
    assert type(state["seed"]) is int and type(state["parameters"]["seed"]) is int
    if way != "seed":
        assert (found.rows(8, 1, 0, 8) == sampler.rows(8, 1, 0, 8)).all()

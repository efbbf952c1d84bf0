"""Samplers that draw with replacement: weighted, and balanced by class."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from encoded import EPOCHS, SEEDS, csr, sizes
from hypothesis import example, given
from hypothesis import strategies as st
from refusals import refused
from scipy import stats

from sequence_loader import (
    BalancedSampler,
    Sampler,
    SparseBatchSequence,
    WeightedSampler,
)
from sequence_loader.order.permutation import derive_key, keyed_words, permute_each
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.weighted import integer_weights, scaled


@st.composite
def drawing(draw, limit=3000):
    """(sampler, rows): of either kind, over any distribution of classes."""
    size = draw(sizes(limit))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    seed = draw(SEEDS)
    num_draws = draw(st.sampled_from([None, None, 1, size, 2 * size + 1, 3]))
    if draw(st.booleans()):
        weights = random.random(size) ** draw(st.sampled_from([0, 1, 20]))
        weights[random.random(size) < 0.2] = 0
        weights[draw(st.integers(0, size - 1))] = 1
        return WeightedSampler(weights, seed, num_draws), size
    classes = draw(st.sampled_from([1, 2, 3, 10, size]))
    skew = draw(st.sampled_from([1, 4]))
    labels = (random.random(size) ** skew * classes).astype(int)
    present = np.unique(labels).tolist()
    kinds = st.sampled_from([None, [1], [3, 1], [0.5, 0.3, 0.17], [2, 0, 1]])
    shares = draw(kinds)
    if shares is not None:
        shares = {name: shares[i % len(shares)] for i, name in enumerate(present)}
        shares[present[0]] = 1
    repeats = draw(st.sampled_from([None, None, 1, 7]))
    return BalancedSampler(labels, seed, shares, num_draws, repeats), size


@given(drawing(), EPOCHS, st.data())
def test_any_slice_is_a_slice_of_the_whole(drawn, epoch, data):
    sampler, size = drawn
    length = sampler.length(size)
    whole = sampler.rows(size, epoch, 0, length)
    assert whole.dtype == np.int64 and whole.shape == (length,)
    assert 0 <= whole.min() and whole.max() < size
    for _ in range(4):
        start = data.draw(st.integers(0, length))
        stop = data.draw(st.integers(start, min(length, start + 300)))
        assert (sampler.rows(size, epoch, start, stop) == whole[start:stop]).all()


@given(drawing(), EPOCHS)
def test_pickled_copies_are_equal_and_give_the_same_order(drawn, epoch):
    sampler, size = drawn
    copy = pickle.loads(pickle.dumps(sampler))
    assert isinstance(sampler, Sampler)
    assert copy == sampler and hash(copy) == hash(sampler)
    stop = min(sampler.length(size), 200)
    expected = sampler.rows(size, epoch, 0, stop)
    assert (copy.rows(size, epoch, 0, stop) == expected).all()
    with pytest.raises(AttributeError):
        sampler.seed = 5


@given(drawing(), st.sampled_from([1, 2, 3, 6]), st.integers(0, 3))
def test_shards_partition_the_global_batches(drawn, count, epoch):
    sampler, size = drawn
    one = BatchPlan(size, sampler, 6, "pad")
    parts = [BatchPlan(size, sampler, 6 // count, "pad", (i, count))
             for i in range(count)]
    assert {part.num_batches for part in parts} == {one.num_batches}
    for number in {0, one.num_batches // 2, one.num_batches - 1}:
        together = [part.batch(epoch, number).rows for part in parts]
        expected = one.batch(epoch, number).rows
        assert np.concatenate(together).tolist() == expected.tolist()


@pytest.mark.parametrize("kind", [WeightedSampler, BalancedSampler])
def test_epochs_and_seeds_have_unrelated_orders(kind):
    labels = np.arange(4000) % 2
    orders = {
        (seed, epoch): kind(labels + 1, seed).rows(4000, epoch, 0, 4000)
        for seed in range(3)
        for epoch in range(3)
    }
    for first in orders:
        for second in orders:
            if first < second:
                assert (orders[first] == orders[second]).sum() < 16  # Poisson(1 .. 2)


@pytest.mark.parametrize("kind", [WeightedSampler, BalancedSampler])
def test_no_seed_draws_one_and_other_content_is_another_sampler(kind):
    assert kind([1, 2, 2]) != kind([1, 2, 2])
    assert kind([1, 2, 2], 5) == kind(np.array([1, 2, 2]), 5)
    assert kind([1, 2, 2], 5) != kind([2, 2, 1], 5)
    given_array = np.array([1, 2, 2])
    sampler = kind(given_array, 5)
    before = sampler.rows(3, 0, 0, 3).tolist()
    given_array[:] = 1
    assert sampler.rows(3, 0, 0, 3).tolist() == before
    assert "array" not in repr(sampler)


@pytest.mark.parametrize("kind", [WeightedSampler, BalancedSampler])
def test_numpy_integers_become_ints(kind):
    sampler = kind([1, 2, 2], np.uint64(3), num_draws=np.uint8(200))
    assert type(sampler.seed) is type(sampler.num_draws) is int
    assert sampler == kind([1, 2, 2], 3, num_draws=200)
    if kind is BalancedSampler:
        sampler = kind(np.arange(90) // 30, 3, max_repeats=np.uint8(9))
        assert type(sampler.max_repeats) is int
        assert sampler.length(90) == 90  # 9 * 30 is more than a uint8 holds


# Weighted


@given(st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.3, 1, 7, 1e300]), min_size=1))
def test_weights_become_integers_in_their_proportions(weights):
    if not any(weights):
        weights[0] = 1.0
    found = integer_weights(np.array(weights)).tolist()
    assert [value > 0 for value in found] == [weight > 0 for weight in weights]
    assert sum(found) <= 2**62
    for value, weight in zip(found, weights):
        exact = Fraction(weight) / Fraction(max(weights)) * max(found)
        assert abs(value - exact) <= 1


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**62))
@example(2**64 - 1, 2**62)
def test_scaling_is_exact(word, limit):
    assert scaled(np.array([word], np.uint64), limit).item() == word * limit >> 64


@given(st.integers(2, 2**62), st.data())
def test_scaling_is_exact_where_each_number_begins(limit, data):
    number = data.draw(st.integers(1, limit - 1))
    first = -(-(number << 64) // limit)
    found = scaled(np.array([first - 1, first], np.uint64), limit)
    assert found.tolist() == [number - 1, number]


def test_rows_come_as_often_as_their_weights_say():
    weights = np.array([5, 0, 1, 3, 0.5, 0])
    found = WeightedSampler(weights, 3, 200_000).rows(6, 0, 0, 200_000)
    counts = np.bincount(found, minlength=6)
    assert counts[weights == 0].tolist() == [0, 0]
    expected = weights[weights > 0] / weights.sum() * len(found)
    assert stats.chisquare(counts[weights > 0], expected).pvalue > 1e-6
    # Each draw is on its own: a row follows itself as often as any other.
    pairs = np.bincount(found[::2] * 6 + found[1::2], minlength=36)
    joint = np.outer(weights, weights).ravel() / weights.sum() ** 2 * len(found) / 2
    kept = joint > 0
    assert stats.chisquare(pairs[kept], joint[kept]).pvalue > 1e-6


# Balanced


def counted(sampler, labels, epochs):
    """Draws of each row in the given epochs, one after another."""
    length = sampler.length(len(labels))
    draws = [sampler.rows(len(labels), epoch, 0, length) for epoch in epochs]
    return np.bincount(np.concatenate(draws), minlength=len(labels))


LABELS = np.repeat([0, 1, 2], [900, 90, 10])


@given(SEEDS, st.integers(1, 400), st.integers(0, 2000), st.integers(1, 12))
def test_any_run_of_draws_is_balanced(seed, length, start, classes):
    labels = np.arange(600) ** 2 % classes
    present = np.unique(labels)
    sampler = BalancedSampler(labels, seed, num_draws=5000)
    drawn = labels[sampler.rows(600, 0, start, start + length)]
    counts = np.bincount(drawn, minlength=classes)[present]
    assert abs(counts - length / len(present)).max() < 2


def test_batches_hold_given_proportions():
    sampler = BalancedSampler(LABELS, 3, {0: 0.7, 1: 0.2, 2: 0.1}, num_draws=3200)
    batches = LABELS[sampler.rows(1000, 0, 0, 3200)].reshape(-1, 32)
    counts = np.array([np.bincount(batch, minlength=3) for batch in batches])
    assert counts.sum(axis=0).tolist() == [2240, 640, 320]
    assert abs(counts - 32 * np.array([0.7, 0.2, 0.1])).max() < 3
    # Mixed one by one, not class by class: positions of a batch are as likely.
    for place in range(0, 32, 5):
        assert len(np.unique(batches[:, place])) == 3


def test_proportions_are_kept_over_epochs_whatever_they_are():
    shares = {0: np.pi, 1: 1, 2: np.e / 10}
    sampler = BalancedSampler(LABELS, 3, shares)
    counts = np.bincount(
        LABELS, counted(sampler, LABELS, range(40)), minlength=3
    )
    expected = np.array(list(shares.values())) / sum(shares.values()) * 40_000
    assert abs(counts / expected - 1).max() < 0.01


@given(SEEDS, st.integers(0, 3), st.sampled_from([None, 1, 2, 9]),
       st.sampled_from([None, {0: 2, 1: 1, 2: 1}, {0: 0, 1: 1, 2: 3}]))
def test_rows_repeat_as_equally_as_they_can(seed, epoch, repeats, shares):
    sampler = BalancedSampler(LABELS, seed, shares, max_repeats=repeats)
    counts = counted(sampler, LABELS, [epoch])
    for label in range(3):
        own = counts[LABELS == label]
        assert own.max() <= (own.sum() - 2) // len(own) + 2 or own.sum() < 2
        assert own.min() >= own.sum() // len(own) - 1
        if repeats is not None:
            assert own.max() <= repeats + 1 and own.mean() <= repeats
    # Over epochs each row of a class comes as often as any other, or once more.
    together = counted(sampler, LABELS, range(4))
    for label in range(3):
        assert np.ptp(together[LABELS == label]) <= 1


def test_every_row_of_the_majority_is_seen_in_the_fewest_epochs():
    sampler = BalancedSampler(LABELS, 1)  # 333 of its 900 rows an epoch
    assert (counted(sampler, LABELS, range(2))[:900] == 0).any()
    assert (counted(sampler, LABELS, range(3))[:900] > 0).all()
    # And from any epoch on: the first that begins after a permutation has begun.
    assert (counted(sampler, LABELS, range(5, 11))[:900] > 0).all()


def test_classes_stand_together_as_often_as_others():
    """With more classes than a batch holds, who meets whom changes."""
    labels = np.arange(1000) % 100
    sampler = BalancedSampler(labels, 5, num_draws=10)
    batches = [set(labels[sampler.rows(1000, e, 0, 10)]) for e in range(3000)]
    met = set().union(*(batch - {7} for batch in batches if 7 in batch))
    assert len(met) == 99


def test_huge_numbers_of_epochs_end_in_no_overflow():
    sampler = BalancedSampler(LABELS, 1, num_draws=2**62)
    for start in (0, 2**61, 2**62 - 50):
        drawn = LABELS[sampler.rows(1000, 2**63 - 1, start, start + 50)]
        assert np.bincount(drawn, minlength=3).min() >= 14


def test_labels_of_any_kind():
    names = np.array(["b", "a", "b", "c"])
    expected = BalancedSampler([1, 0, 1, 2], 3).rows(4, 0, 0, 4).tolist()
    for labels in (names, names.tolist(), names.astype("S"), names.astype(object)):
        assert BalancedSampler(labels, 3).rows(4, 0, 0, 4).tolist() == expected
    assert BalancedSampler([True, False], 3, {True: 1, False: 3})._cycle.tolist() == [
        3, 1,
    ]


@pytest.mark.parametrize("kind", [WeightedSampler, BalancedSampler])
def test_rows_served_are_the_rows_described(kind):
    chosen = np.array([5, 6, 1, 2])
    described = np.array([1, 2, 1, 2])
    sampler = kind(described, 3, num_draws=40)
    sequence = SparseBatchSequence(
        csr(7, 5), sampler=sampler, rows=chosen, batch_size=40
    )
    assert set(sequence.batch_rows(0)) == set(chosen)
    assert sequence.state_dict()["sampler"] == kind.__name__
    with pytest.raises(ValueError, match="differs"):
        other = kind(described[::-1], 3, num_draws=40)
        SparseBatchSequence(
            csr(7, 5), sampler=other, rows=chosen, batch_size=40
        ).load_state_dict(sequence.state_dict())
    name = "weights" if kind is WeightedSampler else "labels"
    refused(
        ValueError,
        f"`{name}` of the sampler must have one entry for each of the 7 rows",
        f"{name}[rows]",
        call=lambda: SparseBatchSequence(csr(7, 5), sampler=sampler),
    )


@pytest.mark.parametrize(
    ("kind", "text", "make"),
    [
        (TypeError, "`weights` must hold real", lambda: WeightedSampler(["a"])),
        (ValueError, "`weights` must be a one-dim", lambda: WeightedSampler([[1.0]])),
        (ValueError, "`weights` must be a one-dim", lambda: WeightedSampler([])),
        (ValueError, "received weights[1] = -1.0", lambda: WeightedSampler([1, -1.0])),
        (ValueError, "received weights[0] = nan", lambda: WeightedSampler([np.nan])),
        (ValueError, "at least one weight above 0", lambda: WeightedSampler([0, 0])),
        (ValueError, "`num_draws` must be in", lambda: WeightedSampler([1], 1, 0)),
        (TypeError, "`seed` must be an integer", lambda: WeightedSampler([1], "a")),
        (ValueError, "(labels).argmax(axis=1)", lambda: BalancedSampler(np.eye(3))),
        (ValueError, "`labels` must be a one-dim", lambda: BalancedSampler([])),
        (TypeError, "received dtype float64: [0.5, 1]. Convert them, for example",
         lambda: BalancedSampler([0.5, 1])),
        (TypeError, "`labels` must hold integers", lambda: BalancedSampler([None, 1])),
        (TypeError, "`proportions` must be a mapping",
         lambda: BalancedSampler([0, 1], 1, [1, 2])),
        (ValueError, "which differs in {1}",
         lambda: BalancedSampler([0, 1], 1, {0: 1})),
        (ValueError, "which differs in {2}",
         lambda: BalancedSampler([0], 1, {0: 1, 2: 1})),
        (ValueError, "received -1 for label 0",
         lambda: BalancedSampler([0], 1, {0: -1})),
        (ValueError, "received 'a' for label 0",
         lambda: BalancedSampler([0], 1, {0: "a"})),
        (ValueError, "at least one share above 0",
         lambda: BalancedSampler([0], 1, {0: 0})),
        (ValueError, "`proportions` must not be further apart",
         lambda: BalancedSampler([0, 1], 1, {0: 1, 1: 1e-7})),
        (ValueError, "`proportions` must not be further apart",
         lambda: BalancedSampler([0, 1], 1, {0: 1, 1: 1e-320})),
        (TypeError, "Leave rows without a label out: rows=rows, and labels[rows] here",
         lambda: BalancedSampler([0, 1, np.nan])),
        (TypeError, "Leave rows without a label out",
         lambda: BalancedSampler(np.array(["a", None], object))),
        (TypeError, "`labels` must not be a masked array",
         lambda: BalancedSampler(np.ma.array([0, 1], mask=[0, 1]))),
        (TypeError, "`weights` must not be a masked array",
         lambda: WeightedSampler(np.ma.array([0, 1], mask=[0, 1]))),
        (TypeError, "`rows` must not be a masked array",
         lambda: SparseBatchSequence(csr(7, 5), rows=np.ma.array([0], mask=[1]))),
        (ValueError, "`max_repeats` must be in",
         lambda: BalancedSampler([0], max_repeats=0)),
    ],
)
def test_errors(kind, text, make):
    refused(kind, text, call=make)


def test_the_largest_numbers_of_draws_and_the_smallest_share():
    for kind in (WeightedSampler, BalancedSampler):
        assert kind([1], 1, num_draws=2**62).length(1) == 2**62
        refused(
            ValueError,
            f"`num_draws` must be in [1, {2**62}]; received {2**62 + 1}",
            call=lambda: kind([1], 1, num_draws=2**62 + 1),
        )
    rare = BalancedSampler([0, 1], 1, {0: 1, 1: 2**14 - 1})
    assert rare._cycle.tolist() == [64, 2**20 - 64]
    refused(
        ValueError,
        "further apart than about 1 in 16384; received one that is 6.1e-05 of all",
        call=lambda: BalancedSampler([0, 1], 1, {0: 1, 1: 2**14}),
    )


# Many permutations at once


@given(st.lists(st.one_of(st.integers(1, 40), sizes(4100)), min_size=1, max_size=8),
       st.integers(0, 2**32))
def test_each_group_is_permuted_on_its_own(group_sizes, seed):
    lengths = np.array(group_sizes)
    keys = keyed_words(np.arange(len(lengths), dtype=np.uint64), derive_key("t", seed))
    groups = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(len(groups)) - starts[groups]
    found = permute_each(positions, groups, lengths, keys)
    for group, length in enumerate(lengths):
        own = found[groups == group]
        assert (np.bincount(own, minlength=length) == 1).all()
    # Whoever else is asked for, in whatever order, makes no difference.
    some = np.random.default_rng(seed).permutation(len(groups))[:50]
    again = permute_each(positions[some], groups[some], lengths, keys)
    assert (again == found[some]).all()


@pytest.mark.parametrize("size", [3, 60, 1024, 1025])
def test_permutations_of_groups_are_uniform(size):
    trials = 6000
    keys = keyed_words(np.arange(trials, dtype=np.uint64), derive_key("u", size))
    groups = np.arange(trials)
    lengths = np.full(trials, size)
    bins = min(size, 20)
    first, second = (
        permute_each(np.full(trials, place), groups, lengths, keys) * bins // size
        for place in (0, size - 1)
    )
    table = np.zeros((bins, bins))
    np.add.at(table, (first, second), 1)
    share = np.bincount(np.arange(size) * bins // size) / size
    expected = np.outer(share, share)
    expected[np.diag_indices(bins)] -= share / size  # two places, two rows
    expected *= size / (size - 1) * trials
    kept = expected > 1e-9
    assert (table[~kept] == 0).all()
    assert stats.chisquare(
        table[kept], expected[kept] / expected[kept].sum() * trials
    ).pvalue > 1e-6


def test_labels_in_a_sparse_column():
    labels = np.array([0, 2, 2, 0, 1])
    expected = BalancedSampler(labels, seed=3)
    for made in (sp.csr_array(labels[:, None]), sp.coo_matrix(labels[None])):
        found = BalancedSampler(made, seed=3)
        assert found == expected and (found.labels == labels).all()
    one_hot = np.eye(3)[labels]
    for made in (one_hot, pd.DataFrame(one_hot), sp.csr_array(one_hot),
                 sp.csr_matrix(one_hot), sp.csc_matrix(one_hot)):  # fmt: skip
        text = refused(
            ValueError,
            "`labels` must be a one-dimensional array",
            "received shape (5, 3)",
            call=lambda: BalancedSampler(made),
        )
        mend = text.split("one-hot rows ")[1].removesuffix(".")
        assert BalancedSampler(eval(mend, {"labels": made, "np": np}), 3) == expected

"""The plan against an order written out in full, for every way of cutting it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from encoded import EPOCHS, samplers, sizes
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sequence_loader import (
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
    WeightedSampler,
)
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.row_ids import checked_subset


@st.composite
def cuts(draw, limit=3000):
    """(rows, batch_size, count): batches of one row, of all rows, one more, less."""
    num_rows = draw(sizes(limit))
    count = draw(st.sampled_from([1, 1, 2, 3, 8]))
    batch_size = draw(
        st.one_of(
            st.integers(1, 40),
            st.sampled_from([32, 128, num_rows, num_rows + 1, 3 * num_rows]),
            st.just(max(1, num_rows - 1)),
            st.just(max(1, num_rows // count)),
        )
    )
    assume(num_rows // batch_size < 700)
    return num_rows, batch_size, count


def expected_batches(order, batch_size, remainder, index, count):
    """Rows and weights of each batch, the plain way: a list cut into pieces."""
    order = order.tolist()
    step = batch_size * count
    weights = [1.0] * len(order)
    if remainder == "drop":
        whole = len(order) // step * step
        order, weights = order[:whole], weights[:whole]
    elif remainder == "pad":
        missing = -len(order) % step
        order = order + [order[i % len(order)] for i in range(missing)]
        weights += [0.0] * missing
    batches = []
    for start in range(0, len(order), step):
        mine = slice(start + index * batch_size, start + (index + 1) * batch_size)
        batches.append((order[mine], weights[mine]))
    return batches


@given(
    cuts(), samplers(), EPOCHS, st.sampled_from(["keep", "drop", "pad"]), st.booleans()
)
@example((1, 1, 1), SequentialSampler(), 0, "keep", False)
@example((65_537, 65_537, 1), ShuffleSampler(0), 0, "drop", False)
@example((65_537, 4096, 1), BlockShuffleSampler(0, 16, 64), 1, "pad", True)
def test_batches_are_the_order_cut_into_pieces(
    cut, sampler, epoch, remainder, with_subset
):
    num_rows, batch_size, count = cut
    assume(remainder != "keep" or count == 1)
    assume(remainder != "drop" or num_rows >= batch_size * count)
    source = num_rows + 3 if with_subset else num_rows
    subset = np.arange(num_rows)[::-1] + 2 if with_subset else None
    served = np.zeros(source, int)
    lengths = set()
    order = sampler.rows(num_rows, epoch, 0, num_rows)
    order = order if subset is None else subset[order]
    for index in range(count):
        plan = BatchPlan(
            source, sampler, batch_size, remainder, (index, count), subset
        )
        expected = expected_batches(order, batch_size, remainder, index, count)
        lengths.add(plan.num_batches)
        assert plan.num_batches == len(expected)
        assert plan.num_served == num_rows
        for number, (rows, weights) in enumerate(expected):
            found = plan.batch(epoch, number)
            assert found.rows.dtype == np.int64
            assert found.rows.tolist() == rows
            if remainder == "pad":
                assert found.weights.dtype == np.float32
                assert found.weights.tolist() == weights
                np.add.at(served, found.rows, found.weights.astype(int))
            else:
                assert found.weights is None
                np.add.at(served, found.rows, 1)
    # Promise 1, whatever the oracle above says.
    assert len(lengths) == 1
    chosen = np.ones(source, bool) if subset is None else np.isin(range(source), subset)
    assert (served[~chosen] == 0).all()
    if remainder == "drop":
        assert served.max() == 1
        assert served.sum() == num_rows // (batch_size * count) * batch_size * count
    else:
        assert (served[chosen] == 1).all()


@given(cuts(), samplers(), st.data())
def test_batches_do_not_depend_on_what_was_asked_before(cut, sampler, data):
    num_rows, batch_size, count = cut
    shard = (data.draw(st.integers(0, count - 1)), count)
    used = BatchPlan(num_rows, sampler, batch_size, "pad", shard)
    asked = st.tuples(st.integers(0, 2), st.integers(0, used.num_batches - 1))
    for epoch, number in data.draw(st.lists(asked, max_size=12)):
        fresh = BatchPlan(num_rows, sampler, batch_size, "pad", shard)
        found, again = used.batch(epoch, number), fresh.batch(epoch, number)
        assert found.rows.tolist() == again.rows.tolist()
        assert found.weights.tolist() == again.weights.tolist()


@given(cuts(), samplers(), EPOCHS, st.data())
def test_rows_ahead_are_those_of_the_batches(cut, sampler, epoch, data):
    num_rows, batch_size, count = cut
    remainder = data.draw(st.sampled_from(["drop", "pad", "keep"][: 3 - (count > 1)]))
    assume(remainder != "drop" or batch_size * count <= num_rows)
    shard = (data.draw(st.integers(0, count - 1)), count)
    plan = BatchPlan(num_rows, sampler, batch_size, remainder, shard)
    first = data.draw(st.integers(0, plan.num_batches - 1))
    stop = data.draw(st.integers(first + 1, plan.num_batches))
    batches = [plan.batch(epoch, index) for index in range(first, stop)]
    rows = np.concatenate([batch.rows for batch in batches])
    assert np.array_equal(plan.rows_ahead(epoch, first, stop), rows)
    found = plan.together(epoch, first, stop)
    assert np.array_equal(found.rows, rows)
    if remainder == "pad":
        weights = [batch.weights for batch in batches]
        assert np.array_equal(found.weights, np.concatenate(weights))
    else:
        assert found.weights is None


@given(cuts(), samplers())
def test_shards_partition_the_global_batches(cut, sampler):
    """What is trained at a step depends on the global batch size alone."""
    num_rows, batch_size, count = cut
    one = BatchPlan(num_rows, sampler, batch_size * count, "pad")
    parts = [
        BatchPlan(num_rows, sampler, batch_size, "pad", (i, count))
        for i in range(count)
    ]
    assert {part.num_batches for part in parts} == {one.num_batches}
    for number in {0, one.num_batches // 2, one.num_batches - 1}:
        together = np.concatenate([part.batch(3, number).rows for part in parts])
        assert together.tolist() == one.batch(3, number).rows.tolist()


@given(
    samplers(),
    EPOCHS,
    sizes(2000),
    st.sampled_from([6, 12, 60, 600]),
    st.sampled_from(["pad", "drop"]),
    st.booleans(),
)
def test_any_number_of_processes_trains_the_same_batches(
    sampler, epoch, num_rows, global_batch, remainder, with_subset
):
    """A job that goes on with more or fewer processes goes on with the same order."""
    assume(num_rows >= global_batch)
    subset = np.arange(num_rows)[::-1] + 2 if with_subset else None
    found = {}
    for count in (1, 2, 3, 6):
        plans = [
            BatchPlan(num_rows + 2, sampler, global_batch // count, remainder,
                      (index, count), subset)
            for index in range(count)
        ]
        steps = {plan.num_batches for plan in plans}
        assert len(steps) == 1
        found[count] = [
            row
            for number in range(*steps)
            for plan in plans
            for row in plan.batch(epoch, number).rows.tolist()
        ]
        assert len({plan.fingerprint for plan in plans}) == 1
        for plan in plans:  # what others serve can be asked of any of them
            for index, other in enumerate(plans):
                rows = plan.batch(epoch, 0, index).rows
                assert rows.tolist() == other.batch(epoch, 0).rows.tolist()
    assert found[1] == found[2] == found[3] == found[6]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("sampler", [ShuffleSampler(1), BlockShuffleSampler(1)])
def test_a_shuffled_epoch_drops_other_rows_each_time(sampler, count):
    plans = [
        BatchPlan(100, sampler, 30 // count, "drop", (index, count))
        for index in range(count)
    ]
    dropped = [
        set(range(100)).difference(
            *(plan.batch(epoch, i).rows for plan in plans for i in range(3))
        )
        for epoch in range(20)
    ]
    assert all(len(rows) == 10 for rows in dropped)
    assert len(set.union(*dropped)) > 70


@pytest.mark.parametrize("remainder", ["keep", "drop", "pad"])
@pytest.mark.parametrize("size", [2**31 + 1, 2**40])
def test_a_plan_over_a_huge_source_costs_nothing(size, remainder):
    plan = BatchPlan(size, ShuffleSampler(1), 128, remainder)
    last = plan.batch(0, plan.num_batches - 1)
    assert plan.num_batches == size // 128 + (size % 128 > 0 and remainder != "drop")
    assert len(last.rows) == (size % 128 or 128 if remainder == "keep" else 128)
    assert 0 <= last.rows.min() and last.rows.max() < size


def test_a_batch_much_larger_than_the_data_is_padded_quickly():
    plan = BatchPlan(3, ShuffleSampler(1), 100_000, "pad", (1, 4))
    _, _, rows, weights, _ = plan.batch(0, 0)
    order = ShuffleSampler(1).rows(3, 0, 0, 3)
    assert rows.tolist() == order[np.arange(100_000, 200_000) % 3].tolist()
    assert not weights.any()


class Drawing:
    """With replacement: an epoch of another length than the rows."""

    def rows(self, num_rows, epoch, start, stop):
        return [position * 7 % num_rows for position in range(start, stop)]

    def length(self, num_rows):
        return np.int64(2 * num_rows + 1)


@pytest.mark.parametrize("remainder", ["keep", "drop", "pad"])
def test_a_sampler_of_ones_own_decides_the_length(remainder):
    plan = BatchPlan(5, Drawing(), 4, remainder)
    order = np.arange(11) * 7 % 5
    expected = expected_batches(order, 4, remainder, 0, 1)
    found = [plan.batch(0, i).rows.tolist() for i in range(plan.num_batches)]
    assert found == [rows for rows, _ in expected]
    assert plan.length == 11 and plan.num_served == 5


def test_plans_are_pickled_whole():
    subset = checked_subset([5, 1, 3], 9)
    plan = BatchPlan(9, ShuffleSampler(4), 2, "pad", (1, 2), subset)
    copy = pickle.loads(pickle.dumps(plan))
    for index in range(plan.num_batches):
        assert copy.batch(1, index).rows.tolist() == plan.batch(1, index).rows.tolist()


# rows=


@given(sizes(500), st.data())
def test_ids_and_masks_select_the_same_rows(num_rows, data):
    chosen = data.draw(st.sets(st.integers(0, num_rows - 1), min_size=1, max_size=50))
    ids = data.draw(st.permutations(sorted(chosen)))
    kinds = [list, tuple, np.array]
    kinds += [lambda v: np.array(v, d) for d in ("uint64", "int32", ">i8", "uint16")]
    for kind in kinds:
        found = checked_subset(kind(ids), num_rows)
        assert found.dtype == np.int64 and found.tolist() == list(ids)
    mask = np.isin(np.arange(num_rows), ids)
    for given_mask in (mask, mask.tolist()):
        assert checked_subset(given_mask, num_rows).tolist() == sorted(chosen)


def test_no_rows_means_all_and_ranges_are_ids():
    assert checked_subset(None, 5) is None
    assert checked_subset(range(4, 0, -2), 5).tolist() == [4, 2]


def test_later_changes_of_the_users_array_do_not_matter():
    ids = np.array([3, 1])
    found = checked_subset(ids, 5)
    ids[:] = 0
    assert found.tolist() == [3, 1]
    assert not found.flags.writeable


@pytest.mark.parametrize("sampler", [SequentialSampler(), ShuffleSampler(1)])
def test_a_fingerprint_shows_a_subset_that_differs_late(sampler):
    one, other = np.arange(5000), np.arange(5000)
    other[4000] = 5000
    plans = [BatchPlan(5001, sampler, 32, subset=rows) for rows in (one, other)]
    assert plans[0].fingerprint != plans[1].fingerprint


def test_a_fingerprint_shows_weights_that_differ_late():
    weights = np.ones(5000)
    others = weights.copy()
    others[4000] = 1.001
    plans = [BatchPlan(5000, WeightedSampler(w, seed=1), 8) for w in (weights, others)]
    assert (plans[0].positions(0, 0, 256) == plans[1].positions(0, 0, 256)).all()
    assert plans[0].fingerprint != plans[1].fingerprint


@given(cuts(), samplers(), st.integers(1, 60), st.data())
def test_a_stretch_ends_where_no_block_is_cut_or_in_equal_parts(
    cut, sampler, most, data
):
    num_rows, batch_size, count = cut
    plan = BatchPlan(num_rows, sampler, batch_size, "pad", shard=(0, count))
    first = data.draw(st.integers(0, plan.num_batches - 1))
    stop = plan.stretch(first, most)
    limit = min(first + most, plan.num_batches)
    assert first < stop <= limit
    if not isinstance(sampler, BlockShuffleSampler):
        assert stop == limit
        assert not plan.cuts(stop)
        return
    size, borders, position = plan.global_batch_size, [], 0
    while position < plan.length:
        position = sampler.window_at(num_rows, position)[1]
        over = position >= plan.length
        borders.append(plan.num_batches if over else position // size)
    for batch in range(1, plan.num_batches + 1):
        assert plan.cuts(batch) is (batch not in borders)
    near = [border for border in borders if first < border <= limit]
    if near:
        assert stop == near[-1]
    else:  # in as few parts as there must be, none much longer than another
        upto = min(b for b in borders if b > first)
        parts = [stop - first]
        while first + sum(parts) < upto:
            following = plan.stretch(first + sum(parts), most)
            parts.append(following - first - sum(parts))
        assert len(parts) <= -(-(upto + 1 - first) // (limit - first))


@pytest.mark.parametrize("remainder", ["keep", "drop", "pad"])
def test_a_batch_whose_last_row_begins_a_window_is_on_a_border(remainder):
    plan = BatchPlan(300, BlockShuffleSampler(1, 3, 5), 8, remainder)
    borders = {15 * window // 8 for window in range(1, 20)}  # 1: of rows 8 to 15
    cut = [plan.cuts(stop) for stop in range(1, plan.num_batches)]
    assert cut == [stop not in borders for stop in range(1, plan.num_batches)]
    for first in range(34):
        assert plan.stretch(first, 2) == max({first + 1, first + 2} & borders)


def test_windows_larger_than_what_may_be_read_are_read_in_equal_parts():
    plan = BatchPlan(10_240, BlockShuffleSampler(1, 16, 64), 8)  # 128 batches each
    stops = [0]
    while stops[-1] < 3 * 128:
        stops.append(plan.stretch(stops[-1], 50))
    assert stops == [0, 43, 86, 128, 171, 214, 256, 299, 342, 384]


@given(st.integers(1, 2000), st.sampled_from([1, 3, 16]), st.sampled_from([1, 5, 64]))
def test_rows_on_two_sides_of_a_windows_end_share_no_block(
    num_rows, block_size, window
):
    sampler = BlockShuffleSampler(3, block_size, window)
    rows = sampler.rows(num_rows, 1, 0, num_rows)
    # Blocks begin at an offset that differs by epoch: found from the rows themselves.
    start, places = 0, []
    while start < num_rows:
        begin, end = sampler.window_at(num_rows, start)
        assert begin == start < end <= num_rows
        assert sampler.window_at(num_rows, end - 1) == (start, end)
        places.append(set(rows[start:end].tolist()))
        start = end
    assert len(places) <= max(1, -(-num_rows // (block_size * window)))
    for place in places:
        runs = sum((row + 1) % num_rows not in place for row in place)
        assert runs <= window or len(place) == num_rows


@pytest.mark.parametrize("length", [250, 997, 2000])
@pytest.mark.parametrize("remainder", ["keep", "pad", "drop"])
def test_a_sampler_that_answers_for_another_length_is_read_ahead_all_the_same(
    length, remainder
):
    class Other(BlockShuffleSampler):
        """Blocks of 4 in windows of 16, which begin anew with every pass."""

        def length(self, num_rows: int) -> int:
            return length

        def rows(self, num_rows: int, epoch: int, start: int, stop: int):
            return np.arange(start, stop) % num_rows

        def window_at(self, num_rows: int, position: int):
            assert 0 <= position < length
            return position // 64 * 64, min(position // 64 * 64 + 64, length)

    plan = BatchPlan(1000, Other(1, 4, 16), 8, remainder)
    stop = 0
    while stop < plan.num_batches:
        following = plan.stretch(stop, 9)
        assert stop < following <= stop + 9
        stop = following
    for stop in range(1, plan.num_batches):
        assert plan.cuts(stop) is (stop % 8 != 0)

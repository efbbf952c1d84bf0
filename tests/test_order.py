"""Drawing an order ahead changes nothing but the time it takes."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from encoded import samplers
from hypothesis import given
from hypothesis import strategies as st

from sequence_loader import SequentialSampler, ShuffleSampler
from sequence_loader.order.cached_order import STRETCH_POSITIONS as STRETCH
from sequence_loader.order.cached_order import Order


@given(
    samplers(),
    st.sampled_from([1, 100, STRETCH - 1, STRETCH, STRETCH + 1, 3 * STRETCH + 7]),
    st.booleans(),
    st.data(),
)
def test_any_requests_give_what_the_sampler_gives(sampler, size, with_subset, data):
    subset = np.arange(size)[::-1] * 3 if with_subset else None
    order = Order(sampler, size, size, subset)
    whole = {epoch: sampler.rows(size, epoch, 0, size) for epoch in (0, 1)}
    near = st.sampled_from([0, size // 2, size, STRETCH, 2 * STRETCH, STRETCH // 2])
    for _ in range(12):
        epoch = data.draw(st.integers(0, 1))
        start = data.draw(near) + data.draw(st.integers(-40, 40))
        start = min(max(start, 0), size - 1)
        length = data.draw(st.sampled_from([1, 32, 128, STRETCH, 2 * STRETCH]))
        stop = min(start + length, size)
        expected = whole[epoch][start:stop]
        if subset is not None:
            expected = subset[expected]
        found = order.positions(epoch, start, stop)
        assert found.dtype == np.int64
        assert (found == expected).all()


# 3 * 2731 is one past the end of the first stretch.
@pytest.mark.parametrize("batch", [1, 100, 128, 2731, 5000, STRETCH, STRETCH + 1])
def test_batches_in_order_give_the_whole(batch):
    size = 2 * STRETCH + 77
    order = Order(ShuffleSampler(1), size, size, None)
    for epoch in (0, 1, 0):
        found = [
            order.positions(epoch, start, min(start + batch, size))
            for start in range(0, size, batch)
        ]
        whole = ShuffleSampler(1).rows(size, epoch, 0, size)
        assert (np.concatenate(found) == whole).all()
        if batch == 1:
            break


class Counting:
    """A sampler that counts what it is asked for."""

    def __init__(self) -> None:
        self.drawn = self.calls = 0

    def rows(self, num_rows, epoch, start, stop):
        self.drawn += stop - start
        self.calls += 1
        return np.arange(start, stop)

    def length(self, num_rows):
        return num_rows


def test_batches_asked_for_at_random_draw_little_more_than_they_need():
    sampler = Counting()
    order = Order(sampler, 10**9, 10**9, None)
    starts = np.random.default_rng(0).integers(0, 10**9 - 32, 50)
    for start in starts.tolist():
        order.positions(0, start, start + 32)
    assert sampler.drawn == 50 * 32


def test_the_same_batch_of_epoch_after_epoch_draws_no_more_than_itself():
    sampler = Counting()
    order = Order(sampler, 10**6, 10**6, None)
    for epoch in range(50):
        order.positions(epoch, 64, 96)
    assert sampler.drawn == 50 * 32


def test_no_positions_are_no_rows():
    for start in (0, 7, STRETCH):
        order = Order(ShuffleSampler(1), STRETCH, STRETCH, None)
        found = order.positions(0, start, start)
        assert found.dtype == np.int64 and found.shape == (0,)


def test_batches_asked_for_in_order_are_drawn_about_once():
    sampler = Counting()
    size = 4 * STRETCH
    order = Order(sampler, size, size, None)
    for start in range(0, size, 32):
        order.positions(0, start, start + 32)
    assert sampler.drawn == size + 32  # the first batch, and each stretch
    assert sampler.calls == 1 + 4


def test_many_threads_see_one_order():
    size = 5 * STRETCH
    order = Order(ShuffleSampler(2), size, size, None)
    whole = {e: ShuffleSampler(2).rows(size, e, 0, size) for e in (0, 1)}

    def ask(number):
        start = number * 97 % (size - 64)
        found = order.positions(number % 2, start, start + 64)
        return (found == whole[number % 2][start : start + 64]).all()

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(3000)))


def test_what_was_drawn_does_not_travel():
    order = Order(SequentialSampler(), 10**6, 10**6, None)
    for start in range(0, STRETCH, 64):
        order.positions(0, start, start + 64)
    dumped = pickle.dumps(order)
    assert len(dumped) < 1000
    assert pickle.loads(dumped).positions(0, 5, 8).tolist() == [5, 6, 7]


def test_an_array_of_the_sampler_is_not_changed_or_locked():
    held = np.arange(10)

    class Holding(Counting):
        def rows(self, num_rows, epoch, start, stop):
            return held[start:stop]

    found = Order(Holding(), 10, 10, None).positions(0, 0, 10)
    assert held.flags.writeable and not found.flags.writeable

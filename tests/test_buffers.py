"""Recycled memory: the user's own for as long as anything refers to it."""

from __future__ import annotations

import gc
import os
import pickle
import random
import signal
import threading

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)
from watching import HUNG_SECONDS

from sequence_loader.memory.buffers import BufferPool

DTYPES = ["bool", "int8", "float16", "float32", "float64", "int64"]
SHAPES = [(1,), (3, 5), (32, 100), (33, 100), (128, 1000), (4, 2, 3), (0, 7), ()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_arrays_are_aligned_zeroed_writable_and_contiguous(shape, dtype):
    pool = BufferPool()
    for _ in range(5):
        array = pool.zeros(shape, dtype)
        assert array.shape == shape and array.dtype == dtype
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous and array.flags.writeable
        assert not array.any()
        array[...] = 1  # what the next one must not show
        del array


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert BufferPool().zeros((3, 2), ml_dtypes.bfloat16).dtype == ml_dtypes.bfloat16


def test_memory_is_used_again_once_it_is_free():
    pool = BufferPool()
    array = pool.zeros((128, 1000), "float32")
    address = array.ctypes.data
    other = pool.zeros((128, 1000), "float32")
    assert other.ctypes.data != address
    del array
    assert pool.zeros((128, 1000), "float32").ctypes.data == address
    smaller = pool.zeros((100, 1000), "float32")  # a last batch fits as well
    assert smaller.ctypes.data == address


VIEWS = {
    "slice": lambda a: a[1:2],
    "element_view": lambda a: a[1, 2:3],
    "reshaped": lambda a: a.reshape(-1)[5:9],
    "transposed": lambda a: a.T,
    "other_dtype": lambda a: a.view("uint8")[:1],
    "memoryview": lambda a: memoryview(a)[1:],
    "asarray": lambda a: np.asarray(a, dtype=a.dtype),
    "frombuffer": lambda a: np.frombuffer(a, dtype="uint8"),
    "view_of_view_of_view": lambda a: a[1:][1:][:, 1:].T[2:],
    "dlpack": np.from_dlpack,
    "broadcast": lambda a: np.broadcast_to(a[0], (3, 4)),
    "subclass": lambda a: a.view(np.matrix),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_keeps_the_memory(kind):
    pool = BufferPool()
    array = pool.zeros((4, 4), "float32")
    address = array.ctypes.data
    view = VIEWS[kind](array)
    del array
    gc.collect()
    assert pool.in_use == 1
    others = [pool.zeros((4, 4), "float32") for _ in range(3)]
    assert all(other.ctypes.data != address for other in others)
    del view
    gc.collect()
    assert pool.in_use == 3
    assert pool.zeros((4, 4), "float32").ctypes.data == address


@pytest.mark.parametrize("spare", [1, 2, 6])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_little_is_kept_when_all_is_let_go(count, spare):
    """Whatever was in use at once, and in whatever order it is let go."""
    for order in ("first", "last", "random"):
        pool = BufferPool(spare)
        arrays = [pool.zeros((1000,), "uint8") for _ in range(count)]
        if order == "random":
            random.Random(1).shuffle(arrays)
        while arrays:
            arrays.pop(0 if order == "first" else -1)
            blocks = len(pool._idle)
            assert pool.in_use == len(arrays)
            assert blocks <= pool.in_use + spare
        assert pool.idle_bytes <= 1000 * spare
        assert pool.idle_bytes >= 1000 * min(spare, count)


def test_what_is_reserved_is_kept_while_it_is():
    pool = BufferPool(spare=2)

    def idle_after(count):
        arrays = [pool.zeros((1000,), "uint8") for _ in range(count)]
        arrays.clear()
        return pool.idle_bytes // 1000

    few, many = pool.reserve(3), pool.reserve(5)
    assert [pool.spare, idle_after(7)] == [5, 5]
    del many
    assert [pool.spare, pool.idle_bytes, idle_after(7)] == [3, 3000, 3]
    assert pickle.loads(pickle.dumps(pool)).spare == 2
    del few
    assert [pool.spare, pool.idle_bytes, idle_after(7)] == [2, 2000, 2]


def test_blocks_of_a_size_nobody_asks_for_any_more_go_away():
    pool = BufferPool()
    for size in (100, 10_000, 100, 10**6, 5):
        for _ in range(3):
            pool.zeros((size,), "uint8")
    assert pool.idle_bytes == 5
    assert pool.in_use == 0


def test_a_much_smaller_array_does_not_waste_a_large_block():
    pool = BufferPool()
    address = pool.zeros((10_000,), "uint8").ctypes.data
    small = pool.zeros((10,), "uint8")
    assert small.ctypes.data != address


@pytest.mark.parametrize(("size", "fits"), [(5000, True), (4999, False)])
def test_a_block_of_twice_the_size_is_the_largest_that_is_used(size, fits):
    pool = BufferPool()
    pool.zeros((10_000,), "uint8")
    assert pool.idle_bytes == 10_000
    array = pool.zeros((size,), "uint8")
    assert pool.idle_bytes == (0 if fits else 10_000)
    del array


class Pool(RuleBasedStateMachine):
    """Arrays are kept and let go at random; what is in them is checked always."""

    arrays = Bundle("arrays")

    def __init__(self):
        super().__init__()
        self.pool = BufferPool(spare=2)
        self.live = {}
        self.counter = 0

    @rule(target=arrays, shape=st.sampled_from(SHAPES), dtype=st.sampled_from(DTYPES))
    def take(self, shape, dtype):
        array = self.pool.zeros(shape, dtype)
        assert not array.any()
        self.counter += 1
        array[...] = self.counter % 100
        self.live[self.counter] = (array, array.copy())
        return self.counter

    @rule(number=consumes(arrays))
    def let_go(self, number):
        array, _ = self.live.pop(number)
        array[...] = 101  # a backend writes into what it holds last

    @rule(number=arrays)
    def keep_only_a_view(self, number):
        array, copy = self.live[number]
        if array.ndim and array.shape[0]:
            self.live[number] = (array[:1], copy[:1])

    @rule()
    def collect(self):
        gc.collect(0)

    @invariant()
    def nothing_has_changed(self):
        for array, copy in self.live.values():
            assert (array == copy).all()
        starts = [a.ctypes.data for a, _ in self.live.values() if a.size]
        assert len(starts) == len(set(starts))

    @invariant()
    def the_counts_are_right(self):
        assert self.pool.in_use == len(self.live)
        assert len(self.pool._idle) <= self.pool.in_use + self.pool.spare


TestPool = Pool.TestCase


def test_many_threads_keep_a_random_subset():
    pool = BufferPool()
    failures = []

    def work(number):
        rng = random.Random(number)
        kept = []
        for step in range(400):
            array = pool.zeros((rng.choice([64, 100, 128]), 50), "int32")
            if array.any():
                failures.append((number, step, "not zero"))
            mark = number * 1000 + step
            array[...] = mark
            kept.append((array[1:], mark))
            if rng.random() < 0.6:
                kept.pop(rng.randrange(len(kept)))
            if len(kept) > 20:
                del kept[:10]
            view, mark = rng.choice(kept) if kept else (array, mark)
            if not (view == mark).all():
                failures.append((number, step, "changed"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not failures
    assert pool.in_use == 0
    assert len(pool._idle) <= 1


def test_a_finaliser_may_use_the_pool():
    """A garbage collection can come at any moment, also inside the pool."""
    pool = BufferPool()

    class Cycle:
        def __init__(self):
            self.array = pool.zeros((100,), "uint8")
            self.me = self

        def __del__(self):
            pool.zeros((100,), "uint8")

    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(200):
            Cycle()
            pool.zeros((100,), "uint8")
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert pool.in_use == 0
    assert len(pool._idle) <= pool.spare


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:RuntimeWarning")
def test_a_forked_child_can_use_a_pool_whose_lock_is_held():
    pool = BufferPool()
    kept = pool.zeros((100,), "uint8")
    held, done = threading.Event(), threading.Event()

    def hold():
        with pool._lock:
            held.set()
            done.wait(HUNG_SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(HUNG_SECONDS)
    child = os.fork()
    if child == 0:
        signal.alarm(HUNG_SECONDS)
        pool.zeros((100,), "uint8")
        os._exit(0 if not kept.any() else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_does_not_travel_in_a_pickle():
    pool = BufferPool(spare=3)
    pool.zeros((10**6,), "uint8")
    array = pool.zeros((3,), "float32")
    dumped = pickle.dumps(pool)
    assert len(dumped) < 200
    copy = pickle.loads(dumped)
    assert copy.idle_bytes == 0 and copy.in_use == 0 and copy.spare == 3
    assert (pickle.loads(pickle.dumps(array)) == array).all()


def test_an_array_outlives_its_pool():
    pool = BufferPool()
    array = pool.zeros((1000,), "float64")
    array[:] = 7
    del pool
    gc.collect()
    assert (array == 7).all()

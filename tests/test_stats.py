"""seq.stats(): exact numbers, and times that tell what waited for what."""

from __future__ import annotations

import dataclasses
import os
import pickle
import threading
import time

import keras
import numpy as np
import pytest
from encoded import csr
from hypothesis import given
from hypothesis import strategies as st
from store_data import marked, written

from sequence_loader import FeedStats, SparseBatchSequence, open_store

ROWS, FEATURES = 61, 7
PAUSE = 0.05


def slow(rows):
    time.sleep(PAUSE)
    return rows


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.sampled_from(["keep", "drop", "pad"]),
    st.sampled_from(["dense", "sparse", "csr"]),
    st.data(),
)
def test_batches_and_rows_are_counted_exactly(rows, size, remainder, output, data):
    size = min(rows, size)
    sequence = SparseBatchSequence(
        csr(rows, FEATURES), batch_size=size, remainder=remainder, output=output
    )
    order = st.lists(st.integers(0, len(sequence) - 1), min_size=1, max_size=12)
    asked = data.draw(order)
    served = sum(sequence[index][0].shape[0] for index in asked)
    stats = sequence.stats()
    assert (stats.batches, stats.rows) == (len(asked), served)
    assert 0 < stats.read_seconds + stats.assemble_seconds < stats.waited_seconds
    assert stats.waited_seconds <= stats.elapsed_seconds


def test_a_difference_is_what_happened_between():
    sequence = SparseBatchSequence(csr(ROWS, FEATURES), batch_size=2)
    assert sequence.stats() == FeedStats() == FeedStats() - FeedStats()
    for index in range(5):
        sequence[index]
    before = sequence.stats()
    for index in range(5, 9):
        sequence[index]
    later = sequence.stats()
    between = later - before
    assert (between.batches, between.rows) == (4, 8)
    assert between.ahead == later.ahead > 0  # small batches are read several at a time
    assert between.prepared + before.prepared == later.prepared == 9 - 3
    assert between.elapsed_seconds + before.elapsed_seconds == pytest.approx(
        later.elapsed_seconds
    )
    assert str(later).startswith("9 batches of 18 rows in ")
    with pytest.raises(TypeError):
        later - 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        later.rows = 3


def test_threads_lose_no_count():
    sequence = SparseBatchSequence(csr(ROWS, FEATURES), batch_size=10)

    def read():
        for index in range(300):
            sequence[index % 7]

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = 4 * sum(len(sequence.batch_rows(index % 7)) for index in range(300))
    assert (sequence.stats().batches, sequence.stats().rows) == (1200, rows)


@pytest.mark.parametrize("processes", [False, True])
def test_what_workers_do_comes_back_with_the_batch(tmp_path, processes):
    store = written(tmp_path / "a.store", marked(ROWS, FEATURES))
    with SparseBatchSequence(
        store,
        batch_size=10,
        transform=slow,
        workers=2,
        use_multiprocessing=processes,
    ) as sequence:
        served = [sequence[index] for index in range(7)]
        stats = sequence.stats()
        assert sum(len(x) for x, _ in served) == stats.rows == ROWS
        assert 7 * PAUSE < stats.worker_seconds < stats.batches * PAUSE + 5
        assert stats.prepared == 6  # all but the first
        assert stats.bytes_read == store.nnz * 6  # columns of 2 bytes, float32
        assert stats.ahead == 0
        sequence[0], sequence[1]
        time.sleep(0.5)
        assert sequence.stats().ahead > 0
    assert sequence.stats().rows == ROWS + 20  # also when it is closed


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_size", [2, 16])
def test_a_dataset_counts_what_it_hands_out(workers, batch_size):
    sequence = SparseBatchSequence(
        csr(ROWS, FEATURES), np.arange(ROWS), batch_size=batch_size, workers=workers
    )
    dataset = sequence.to_tf_dataset()
    assert sequence.stats() == FeedStats()  # what shows the shapes is not served
    assert sum(len(x) for x, _ in dataset) == sequence.stats().rows == ROWS
    stats = sequence.stats()
    assert stats.batches == len(sequence)
    assert stats.read_seconds + stats.assemble_seconds < stats.waited_seconds


def test_windows_say_what_they_answered(tmp_path):
    written(tmp_path / "a.store", marked(ROWS, FEATURES)).close()
    with open_store(tmp_path / "a.store", memory=500) as store:
        sequence = SparseBatchSequence(store, batch_size=2)
        read = sum(len(x) for x, _ in sequence)
        stats = sequence.stats()
        assert read == stats.rows == ROWS
        assert stats.window_hits + stats.window_misses == stats.batches
        assert stats.window_hits > 0 and stats.bytes_read >= store.nnz * 6
    assert sequence.stats() == stats  # the store is closed


def test_copies_in_other_processes_begin_anew():
    sequence = SparseBatchSequence(csr(ROWS, FEATURES), batch_size=10)
    sequence[0]
    copy = pickle.loads(pickle.dumps(sequence))
    assert copy.stats() == FeedStats()
    copy[0]
    assert copy.stats().batches == sequence.stats().batches == 1
    child = os.fork()
    if not child:
        sequence[0]
        os._exit(sequence.stats().batches)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


class Doubled(SparseBatchSequence):
    """Changes what seq[i] serves; its dataset asks seq[i]."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return 2 * x, y


@pytest.mark.parametrize("kind", [SparseBatchSequence, Doubled])
@pytest.mark.parametrize("dataset", [False, True])
def test_fit_tells_which_side_waits(kind, dataset):
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(np.ones((4, FEATURES)), np.ones(4), verbose=0)  # TensorFlow compiles
    pause = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: time.sleep(PAUSE)
    )
    shares = []
    for transform, callbacks in ((slow, []), (None, [pause])):
        sequence = kind(
            csr(ROWS, FEATURES), np.ones(ROWS), batch_size=4, transform=transform
        )
        data = sequence.to_tf_dataset() if dataset else sequence
        before = sequence.stats()
        model.fit(data, shuffle=False, verbose=0, callbacks=callbacks)
        stats = sequence.stats() - before
        assert stats.rows >= ROWS
        shares.append(stats.waited_share)
    assert shares[0] > 0.3 and shares[0] > 2 * shares[1], shares

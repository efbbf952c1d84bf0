"""Windows of the order, in private memory: what they hold, and when they end."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from store_data import batch_of, marked, run_python, same, written
from watching import HUNG_SECONDS, threads_named, until

from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import (
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
)
from sequence_loader.store import parts as store_parts
from sequence_loader.store.opening import open_store
from sequence_loader.store.part import StorePart
from sequence_loader.store.parts import FILL_PIECE_ROWS
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.store.window_reader import (
    LONE_WINDOW_SHARE,
    WINDOW_ROW_BYTES,
    WindowReader,
)


@pytest.fixture
def big(tmp_path: Path) -> SparseStore:
    """A store read in windows of some batches of 8 rows."""
    written(tmp_path / "a.store", marked(4000, 30, density=0.5)).close()
    return open_store(tmp_path / "a.store", memory=40_000)


def held(store: SparseStore) -> list[tuple[int, int]]:
    reader = store._reader()
    assert isinstance(reader, WindowReader)
    return [(window.first, window.stop) for window in reader._windows]


def settled(store: SparseStore) -> WindowReader:
    """Its reader, when no thread reads a window any more, or refers to one."""
    reader = store._reader()
    assert isinstance(reader, WindowReader)
    for thread in reader._threads:
        thread.join()
    return reader


class TestWindows:
    def test_follow_the_order(self, big: SparseStore) -> None:
        plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
        reader = big._reader()
        assert isinstance(reader, WindowReader)
        served = 0
        for index in range(plan.num_batches):
            reader.look_ahead(plan, 0, index)
            rows = plan.batch(0, index).rows
            windows = held(big)
            assert len(windows) <= 2
            if any(first <= index < stop for first, stop in windows):
                found = [w.take(rows) for w in list(reader._windows)]
                served += any(block is not None for block in found)
        assert served == plan.num_batches

    def test_hold_no_more_than_they_may(self, big: SparseStore) -> None:
        plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
        reader = big._reader()
        assert isinstance(reader, WindowReader)
        for index in range(plan.num_batches):
            batch_of(big, plan, 0, index)
            taken = 0
            for window in list(reader._windows):
                window._done.wait()
                assert window._values is not None
                taken += window._values.data.nbytes + window._values.indices.nbytes
                taken += window._values.num_rows * WINDOW_ROW_BYTES
            assert taken <= 40_000
            assert reader._pool.in_use <= 2

    def test_hold_no_more_of_rows_longer_than_expected(self, tmp_path: Path) -> None:
        # A window of as many batches as rows of the mean length would be would take
        # four times its share.
        lengths = np.repeat([100, 900], [3000, 600])
        indptr, places = np.concatenate([[0], np.cumsum(lengths)]), np.arange(900)
        indices = np.concatenate([places[:length] for length in lengths])
        data = np.arange(len(indices), dtype=np.float32)
        matrix = sp.csr_array((data, indices.astype(np.int32), indptr), (3600, 900))
        written(tmp_path / "a.store", matrix).close()
        plan = BatchPlan(3600, SequentialSampler(), 8)
        with open_store(tmp_path / "a.store", memory=400_000) as store:
            for index in range(plan.num_batches):
                rows = plan.batch(0, index).rows
                assert same(batch_of(store, plan, 0, index), matrix[rows].tocsr())
                reader, taken = settled(store), 0
                for window in reader._windows:
                    assert window.stop > window.first and window._values is not None
                    room = window._room + window._count * WINDOW_ROW_BYTES
                    assert room <= reader._budget // 2
                    taken += window._values.data.nbytes + window._values.indices.nbytes
                    taken += window._values.num_rows * WINDOW_ROW_BYTES
                assert 0 < taken <= 400_000

    def test_wait_for_who_still_reads_in_one_that_has_passed(
        self, big: SparseStore
    ) -> None:
        plan = BatchPlan(4000, SequentialSampler(), 8)
        batch_of(big, plan, 0, 0)
        reader = settled(big)
        # As a thread inside `take` holds them; and nothing else holds a window here.
        slow, last = reader._windows[0]._values, reader._windows[0].stop
        assert slow is not None
        for index in range(1, last + 20):
            batch_of(big, plan, 0, index)
            assert settled(big)._pool.in_use <= 2
        assert len(reader._windows) == 1
        del slow
        for index in range(last + 20, last + 40):
            batch_of(big, plan, 0, index)
            settled(big)
        assert len(reader._windows) == 2

    def test_are_larger_and_alone_where_reading_is_what_takes_the_time(
        self, tmp_path: Path
    ) -> None:
        matrix = marked(4000, 30, density=0.5)
        written(tmp_path / "a.store", matrix).close()
        store = open_store(tmp_path / "a.store", memory=70_000)
        # A window of the order takes 0.7 of the memory.
        plan = BatchPlan(4000, BlockShuffleSampler(1, 4, 44), 8)
        reader = store._reader()
        assert isinstance(reader, WindowReader)
        found: dict[bool, set[int]] = {True: set(), False: set()}
        for epoch, waits in enumerate((True, False, True)):
            for index in range(plan.num_batches):
                reader._waited = 1e9 if waits else -1e9
                rows = plan.batch(epoch, index).rows
                assert same(batch_of(store, plan, epoch, index), matrix[rows].tocsr())
                ahead = [(w.first, w.stop) for w in reader._windows]
                assert len(ahead) <= 2 - reader._alone
                pool = reader._pool  # no reference is kept to what is in use
                assert pool.in_use + len(pool._idle) <= 2 - reader._alone
                assert pool.idle_bytes <= 70_000
                if index > plan.num_batches // 2:
                    found[waits] |= {b - a for a, b in ahead if b > index}
                    assert reader._alone is waits
        assert max(found[False]) < 0.7 * max(found[True])

    def test_are_two_where_no_block_would_be_read_twice(self, big: SparseStore) -> None:
        for sampler in (
            SequentialSampler(),
            ShuffleSampler(1),
            BlockShuffleSampler(1, 4, 11),  # the memory holds three of its windows
        ):
            plan = BatchPlan(4000, sampler, 8)
            reader = big._reader()
            assert isinstance(reader, WindowReader)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ShuffleSampler
                for index in range(plan.num_batches):
                    reader._waited = 1e9
                    batch_of(big, plan, 0, index)
                    assert not reader._alone

    def test_a_batch_that_does_not_fit_is_read_by_itself(
        self, big: SparseStore
    ) -> None:
        plan = BatchPlan(4000, SequentialSampler(), 1000)
        for index in range(plan.num_batches):
            rows = plan.batch(0, index).rows
            assert same(
                batch_of(big, plan, 0, index), marked(4000, 30, density=0.5)[rows]
            )
            assert held(big)[0] == (index, index)
            settled(big)  # or the next window may have to wait for its memory

    def test_short_rows_are_asked_for_some_at_a_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        matrix = sp.csr_array(sp.eye(20_000, dtype=np.float32))
        written(tmp_path / "a.store", matrix).close()
        counts: list[int] = []
        fetch = StorePart.fetch

        def counting(part: StorePart, starts: Any, *others: Any) -> None:
            counts.append(len(starts))
            fetch(part, starts, *others)

        monkeypatch.setattr(StorePart, "fetch", counting)
        store = open_store(tmp_path / "a.store", memory=1)
        rows = np.random.default_rng(0).permutation(20_000)[:19_000]
        assert same(store.take(rows), matrix[rows])
        assert sum(counts) == 19_000 and max(counts) <= FILL_PIECE_ROWS

    def test_a_file_system_may_refuse_advice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: Any) -> None:
            raise OSError(22, "Invalid argument")

        matrix = marked(400, 30)
        written(tmp_path / "a.store", matrix).close()
        monkeypatch.setattr(os, "posix_fadvise", refused)
        store = open_store(tmp_path / "a.store", memory=2_000)
        plan = BatchPlan(400, BlockShuffleSampler(1), 8)
        for index in range(plan.num_batches):
            rows = plan.batch(0, index).rows
            assert same(batch_of(store, plan, 0, index), matrix[rows].tocsr())

    def test_rows_that_hold_nothing(self, tmp_path: Path) -> None:
        empty = sp.csr_array((5000, 7), dtype=np.float32)
        written(tmp_path / "a.store", empty).close()
        store = open_store(tmp_path / "a.store", memory=8000)
        plan = BatchPlan(5000, BlockShuffleSampler(0), 4)
        for index in range(plan.num_batches):
            assert batch_of(store, plan, 0, index).nnz == 0
        (first, stop), *_ = held(store)
        assert (stop - first) * 4 * WINDOW_ROW_BYTES <= 8000 * LONE_WINDOW_SHARE

    def test_many_rows_that_hold_nothing_are_not_taken_at_once(
        self, tmp_path: Path
    ) -> None:
        empty = sp.csr_array((5000, 7), dtype=np.float32)
        written(tmp_path / "a.store", empty).close()
        plan = BatchPlan(5000, SequentialSampler(), 1000)
        with open_store(tmp_path / "a.store", memory=8000) as store:
            for index in range(plan.num_batches):
                assert batch_of(store, plan, 0, index).nnz == 0
                assert held(store)[0] == (index, index)
                settled(store)

    def test_two_sequences_may_share_a_store(self, big: SparseStore) -> None:
        expected = marked(4000, 30, density=0.5)
        one = BatchPlan(4000, BlockShuffleSampler(1), 8)
        two = BatchPlan(4000, BlockShuffleSampler(2), 16)
        for index in range(100):
            for plan in (one, two):
                rows = plan.batch(0, index).rows
                assert same(batch_of(big, plan, 0, index), expected[rows])

    def test_an_order_that_is_permuted_is_told_once(self, big: SparseStore) -> None:
        plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
        indices = np.random.default_rng(0).permutation(plan.num_batches)
        with pytest.warns(UserWarning) as caught:
            for _ in range(2):
                for index in indices.tolist():
                    big.traits.look_ahead(plan, 0, index)
        (warning,) = caught
        assert "shuffle=False to fit" in str(warning.message)

    def test_an_order_that_goes_on_after_a_peek_is_not(self, big: SparseStore) -> None:
        plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
        for epoch in range(3):  # a warning would be an error
            for index in (0, 1, 0, *range(1, 300), *range(plan.num_batches)):
                big.traits.look_ahead(plan, epoch, index)

    def test_a_uniform_order_is_told_once_what_blocks_would_give(
        self, big: SparseStore
    ) -> None:
        plan = BatchPlan(4000, ShuffleSampler(1), 8)
        with pytest.warns(UserWarning) as caught:
            for epoch in range(2):
                for index in range(plan.num_batches):
                    big.traits.look_ahead(plan, epoch, index)
        (warning,) = caught
        assert 'shuffle="block" reads 16 neighbouring rows' in str(warning.message)
        assert "times as fast" in str(warning.message)

    def test_damage_fails_where_it_is_and_not_before(self, tmp_path: Path) -> None:
        matrix = marked(400, 30, density=0.5)
        written(tmp_path / "a.store", matrix).close()
        file = tmp_path / "a.store" / "indices.npy"
        indices = np.load(file, mmap_mode="r+")
        indices[matrix.indptr[123]] = 30
        indices.flush()
        indptr = np.load(tmp_path / "a.store" / "indptr.npy", mmap_mode="r+")
        indptr[321] = -5
        indptr.flush()
        store = open_store(tmp_path / "a.store", memory=40_000)
        plan = BatchPlan(400, SequentialSampler(), 10)
        for index in range(plan.num_batches):
            if index in (12, 32):
                with pytest.raises(ValueError, match="row 123|at row 32"):
                    batch_of(store, plan, 0, index)
            else:
                rows = plan.batch(0, index).rows
                assert same(batch_of(store, plan, 0, index), matrix[rows].tocsr())

    def test_leave_nothing_behind(self, big: SparseStore) -> None:
        plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
        for index in range(60):
            batch_of(big, plan, 0, index)
        big.close()
        assert not threads_named("sequence_loader-window")
        with pytest.raises(ValueError, match="the store is closed"):
            big.traits.look_ahead(plan, 0, 60)

    def test_closing_ends_one_that_is_being_read_and_waits_for_it(
        self, big: SparseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, go_on, fetch = threading.Semaphore(0), threading.Event(), StorePart.fetch
        calls: list[StorePart] = []

        def slow(part: StorePart, *arguments: Any) -> None:
            calls.append(part)
            begun.release()
            go_on.wait(HUNG_SECONDS)
            fetch(part, *arguments)

        monkeypatch.setattr(StorePart, "fetch", slow)
        monkeypatch.setattr(store_parts, "FILL_PIECE_ROWS", 8)  # many are to follow
        reader = big._reader()
        assert isinstance(reader, WindowReader)
        plan = BatchPlan(4000, SequentialSampler(), 8)
        for index in range(2):
            big.traits.look_ahead(plan, 0, index)
            assert begun.acquire(timeout=HUNG_SECONDS)
        closing = threading.Thread(target=big.close)
        closing.start()
        until(lambda: not reader._windows)
        closing.join(0.2)
        assert closing.is_alive()
        go_on.set()
        closing.join()
        assert not threads_named("sequence_loader-window")
        assert len(calls) == 2

    def test_end_with_the_store(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(4000, 30))
        store = open_store(tmp_path / "a.store", memory=40_000)
        plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
        for index in range(10):
            batch_of(store, plan, 0, index)
        before = len(os.listdir("/proc/self/fd"))
        del store
        for thread in threads_named("sequence_loader-window"):
            thread.join(timeout=HUNG_SECONDS)
        assert not threads_named("sequence_loader-window")
        assert len(os.listdir("/proc/self/fd")) < before

    def test_a_forked_child_begins_anew(self, tmp_path: Path) -> None:
        written(tmp_path / "a.store", marked(4000, 30)).close()
        code = """
            import os, sys, warnings
            import numpy as np
            sys.path.insert(0, "tests")
            from store_data import marked, same
            from sequence_loader.order.plan import BatchPlan
            from sequence_loader.order.samplers import BlockShuffleSampler
            from sequence_loader.store.opening import open_store
            warnings.simplefilter("ignore")  # Python 3.12 warns of threads and fork
            expected = marked(4000, 30)
            store = open_store(sys.argv[1], memory=40_000)
            plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
            def right(index):
                store.traits.look_ahead(plan, 0, index)
                rows = plan.batch(0, index).rows
                return same(store.read(rows).to_scipy(), expected[rows])
            for index in range(20):
                assert right(index)
                child = os.fork()
                if child == 0:
                    ok = all(right(i) for i in range(index, index + 30))
                    os._exit(0 if ok else 1)
                assert os.waitpid(child, 0)[1] == 0
            print("right")
        """
        assert run_python(code, tmp_path / "a.store").strip() == "right"

    def test_the_interpreter_can_end_at_any_time(self, tmp_path: Path) -> None:
        written(tmp_path / "a.store", marked(4000, 30)).close()
        code = """
            import sys
            from sequence_loader.order.plan import BatchPlan
            from sequence_loader.order.samplers import BlockShuffleSampler
            from sequence_loader.store.opening import open_store
            for memory in ("auto", 40_000):
                store = open_store(sys.argv[1], memory=memory)
                plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
                for index in range(3):
                    store.traits.look_ahead(plan, 0, index)
            print("done")
        """
        for _ in range(3):
            assert run_python(code, tmp_path / "a.store").strip() == "done"


def test_the_interpreter_can_end_while_threads_read(tmp_path: Path) -> None:
    """`np.unique` aborts a process that ends while a daemon thread is in it."""
    written(tmp_path / "a.store", marked(4000, 30)).close()
    code = """
        import sys, threading, time
        import numpy as np
        from sequence_loader.store.opening import open_store

        def read(memory):
            store, rows = open_store(sys.argv[1], memory=memory), np.arange(4000)[::-3]
            while True:
                store.read(rows)
                store._parts.advise(rows)

        for memory in ("auto", 40_000):
            threading.Thread(target=read, args=(memory,), daemon=True).start()
        time.sleep(0.3)
        print("done")
    """
    for _ in range(3):
        assert run_python(code, tmp_path / "a.store").strip() == "done"


def test_private_memory_is_bounded_in_every_epoch(tmp_path: Path) -> None:
    """A store of 48 MB through 6 MB, and one of which nothing need be read ahead.

    Ten epochs read 480 MB, so what a fiftieth of them left behind would pass the bound.
    How much of the 6 MB is in use when we look differs between epochs.
    """
    code = """
        import sys
        import numpy as np, scipy.sparse as sp
        from sequence_loader.order.plan import BatchPlan
        from sequence_loader.order.samplers import BlockShuffleSampler
        from sequence_loader.store.writer import StoreWriter
        from sequence_loader.store.opening import open_store

        def anonymous():
            with open("/proc/self/status") as file:
                return next(int(l.split()[1]) for l in file if "RssAnon" in l) / 1e3

        folder = sys.argv[1]
        block = sp.random(1000, 3000, density=0.1, random_state=0, dtype="f")
        for name, blocks in (("tiny", 1), ("large", 27)):
            with StoreWriter(f"{folder}/{name}.store", 3000) as writer:
                for _ in range(blocks):
                    writer.append(block)
        del block
        for name in ("tiny", "large"):
            store = open_store(f"{folder}/{name}.store", memory=6_000_000)
            plan = BatchPlan(len(store), BlockShuffleSampler(1), 64)
            start, most = anonymous(), []
            for epoch in range(10):
                most.append(0)
                for index in range(plan.num_batches):
                    store.traits.look_ahead(plan, epoch, index)
                    store.read(plan.batch(epoch, index).rows)
                    most[-1] = max(most[-1], anonymous() - start)
            kind = type(store._reader()).__name__
            print(name, kind, store.nbytes, *most)
            store.close()
    """
    lines = [line.split() for line in run_python(code, tmp_path).splitlines()]
    (tiny, large) = lines
    assert tiny[1] == "MapReader" and large[1] == "WindowReader"
    assert int(large[2]) > 7 * 6_000_000
    peaks = [float(megabytes) for megabytes in large[3:]]
    needed = max(float(megabytes) for megabytes in tiny[3:])
    assert len(peaks) == 10 and max(peaks) <= needed + 6 + 2  # what malloc keeps

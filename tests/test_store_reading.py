"""However the rows of a store are read, they are the same rows."""

from __future__ import annotations

import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_data import dropped, marked, run_python, same, written
from test_page_cache import cached_pages

from sequence_loader import SparseBatchSequence
from sequence_loader.memory import map_copy, page_cache
from sequence_loader.memory.free_memory import free_memory
from sequence_loader.memory.page_cache import CacheFiller, resident
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import (
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
)
from sequence_loader.rows.sources import CsrSource
from sequence_loader.store import part as store_part
from sequence_loader.store import parts as store_parts
from sequence_loader.store import reader as store_reader
from sequence_loader.store.part import StorePart
from sequence_loader.store.parts import PIECE_ROWS, StoreParts
from sequence_loader.store.reader import LARGE, MapReader
from sequence_loader.store.sparse_store import SparseStore, StoreError, open_store
from sequence_loader.store.window_reader import ALONE, ROW_COST, WindowReader

ROWS, FEATURES = 300, 40
MATRIX = marked(ROWS, FEATURES, density=0.3)
KINDS = ("memory", "maps", "parts", "windows", "window parts", "single batches")
ASKED = marked(3000, 50, density=0.05)
"""Rows of a store that is asked for ahead; some are empty."""
BUDGET = 16_000
"""Bytes: a few batches of these rows in a window, many windows in an epoch."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same rows behind every way to read them."""
    folder = tmp_path_factory.mktemp("stores")
    written(folder / "whole.store", MATRIX).close()
    cuts = (0, 1, 90, 90, ROWS)
    for part, (start, stop) in enumerate(zip(cuts, cuts[1:])):
        written(folder / f"part-{part}.store", MATRIX[start:stop], blocks=1).close()
    whole, parts = folder / "whole.store", f"{folder}/part-*.store"
    return {
        "memory": CsrSource(MATRIX),
        "maps": open_store(whole),
        "parts": open_store(parts),
        "windows": open_store(whole, memory=BUDGET),
        "window parts": open_store(parts, memory=BUDGET),
        "single batches": open_store(whole, memory=1),
    }


def plans() -> st.SearchStrategy[BatchPlan]:
    samplers = st.one_of(
        st.just(SequentialSampler()),
        st.builds(ShuffleSampler, seed=st.integers(0, 3)),
        st.builds(
            BlockShuffleSampler,
            seed=st.integers(0, 3),
            block_size=st.sampled_from([1, 4, 16]),
            window=st.sampled_from([1, 3, 64]),
        ),
    )
    ends = [("keep", (0, 1)), ("drop", (0, 1)), ("pad", (0, 1)), ("pad", (1, 3))]
    return st.builds(
        lambda sampler, size, end: BatchPlan(ROWS, sampler, size, *end),
        samplers,
        st.sampled_from([7, 32, 299, 300]),
        st.sampled_from(ends),
    )


def batch_of(source: Any, plan: BatchPlan, epoch: int, index: int) -> Any:
    """What a sequence does, without a word about the warnings."""
    if hasattr(source, "look_ahead"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source.look_ahead(plan, epoch, index)
    return source.read(plan.batch(epoch, index).rows).to_scipy()


@pytest.fixture(params=["this", "old"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that copies many parts of a map in one call, if this does, or does not."""
    if request.param == "old":
        monkeypatch.setattr(map_copy, "_process_vm_readv", None)
    return str(request.param)


@pytest.mark.usefixtures("kernel")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans(), data=st.data())
def test_every_source_reads_the_same_batches(
    sources: dict[str, Any], plan: BatchPlan, data: st.DataObject
) -> None:
    last = plan.num_batches - 1
    order = data.draw(
        st.one_of(
            st.just([(0, i) for i in range(last + 1)] + [(1, 0), (1, min(1, last))]),
            st.lists(st.tuples(st.integers(0, 1), st.integers(0, last)), max_size=40),
        )
    )
    for epoch, index in order:
        rows = plan.batch(epoch, index).rows
        expected = MATRIX[rows].tocsr()
        for kind in KINDS:
            assert same(batch_of(sources[kind], plan, epoch, index), expected), kind


def test_a_read_may_stop_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.preadv

    def stops(number: int, buffers: list[memoryview], position: int) -> int:
        return real(number, [buffers[0][:7]], position)

    written(tmp_path / "a.store", MATRIX).close()
    monkeypatch.setattr(os, "preadv", stops)
    monkeypatch.setattr(map_copy, "_process_vm_readv", None)
    with open_store(tmp_path / "a.store", memory=1) as store:
        rows = np.random.default_rng(0).permutation(ROWS)
        assert same(store.take(rows), MATRIX[rows])
        store.verify()


@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_share_an_order(kind: str, sources: dict[str, Any]) -> None:
    source = sources[kind]
    plan = BatchPlan(ROWS, BlockShuffleSampler(5, 4, 8), 4)

    def right(step: tuple[int, int]) -> bool:
        expected = MATRIX[plan.batch(*step).rows].tocsr()
        return same(batch_of(source, plan, *step), expected)

    steps = [(e, i) for e in range(4) for i in range(plan.num_batches)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(right, steps))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_belongs_to_the_caller(
    kind: str, sources: dict[str, Any]
) -> None:
    plan = BatchPlan(ROWS, SequentialSampler(), 8)
    for index in range(plan.num_batches):
        rows = sources[kind].read(plan.batch(0, index).rows)
        for array in (rows.indptr, rows.indices, rows.data):
            assert array.flags.writeable and array.flags.c_contiguous
            array[:] = 0
    assert same(batch_of(sources[kind], plan, 0, 3), MATRIX[24:32].tocsr())


class TestChoice:
    def test_by_the_bytes_given(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", MATRIX)
        size = store.nbytes
        for memory, kind in ((size, MapReader), (size - 1, WindowReader)):
            with open_store(tmp_path / "a.store", memory=memory) as opened:
                assert type(opened._reader()) is kind

    def test_of_memory_is_checked(self, tmp_path: Path) -> None:
        written(tmp_path / "a.store", MATRIX).close()
        for wrong, error in ((0, ValueError), ("much", ValueError), (1.5, TypeError)):
            with pytest.raises(error, match="`memory` must be"):
                open_store(tmp_path / "a.store", memory=wrong)  # type: ignore[arg-type]

    def test_survives_a_pickle(self, tmp_path: Path) -> None:
        written(tmp_path / "a.store", MATRIX).close()
        store = open_store(tmp_path / "a.store", memory=BUDGET)
        again = pickle.loads(pickle.dumps(store))
        assert type(again._reader()) is WindowReader
        assert same(again[:], MATRIX)


def system(root: Path, cgroup: str, **files: str) -> Path:
    """The files in which Linux tells about memory, below `root`."""
    files |= {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  8000 kB\n"}
    files |= {"proc/self/cgroup": cgroup}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class TestFreeMemory:
    def test_here(self) -> None:
        assert 1 << 20 < free_memory() < 1 << 50

    def test_without_a_limit(self, tmp_path: Path) -> None:
        limits = {"sys/fs/cgroup/a/memory.max": "max\n"}
        assert free_memory(system(tmp_path, "0::/a\n", **limits)) == 8_192_000

    def test_where_nothing_is_known(self, tmp_path: Path) -> None:
        assert free_memory(tmp_path) == 1 << 30

    @pytest.mark.parametrize("limited", ["", "job/", "job/task/"])
    def test_limits_of_version_2(self, limited: str, tmp_path: Path) -> None:
        folder = f"sys/fs/cgroup/{limited}"
        limits = {
            f"{folder}memory.max": "5000\n",
            f"{folder}memory.current": "4000\n",
            f"{folder}memory.stat": "anon 1\ninactive_file 200\nactive_file 30\n",
        }
        root = system(tmp_path, "0::/job/task\n", **limits)
        assert free_memory(root) == 5000 - 4000 + 200 + 30

    def test_limits_of_version_1(self, tmp_path: Path) -> None:
        folder = "sys/fs/cgroup/memory/"  # of a container, which does not see its path
        limits = {
            f"{folder}memory.limit_in_bytes": "5000\n",
            f"{folder}memory.usage_in_bytes": "4990\n",
            f"{folder}memory.stat": "total_inactive_file 7\ntotal_active_file 0\n",
        }
        root = system(tmp_path, "3:cpu:/\n4:memory,x:/docker/a\n0::/\n", **limits)
        assert free_memory(root) == 17

    def test_a_limit_that_was_lowered_below_what_is_used(self, tmp_path: Path) -> None:
        limits = {
            "sys/fs/cgroup/memory.max": "5000\n",
            "sys/fs/cgroup/memory.current": "9000\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 200\nactive_file 30\n",
        }
        assert free_memory(system(tmp_path, "0::/\n", **limits)) == 0


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if name in thread.name]


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another thread is about to do."""
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to that")


def open_below(folder: Path) -> int:
    """How many descriptors of this process are of files below `folder`."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed since by another thread
            found += os.readlink(f"/proc/self/fd/{number}").startswith(f"{folder}/")
    return found


class AskedFor:
    """Which bytes of which files the kernel was asked for.

    Attributes:
        filled: Set where the filling is to end.
        failed: How often rows could not be asked for.
    """

    def __init__(self) -> None:
        self.filled, self.failed = threading.Event(), 0
        self._bytes: dict[int, set[int]] = {}

    def note(
        self, handle: int, offset: int, mapped: Any, starts: Any, stops: Any
    ) -> None:
        """Instead of `will_need_parts`."""
        known = self._bytes.setdefault(os.fstat(handle).st_ino, set())
        for start, stop in zip(starts.tolist(), stops.tolist()):
            known.update(range(offset + start, offset + stop))

    def rows(self, store: SparseStore) -> set[int]:
        """Of a store, the rows that are not empty and were asked for whole."""
        found = set()
        for part, base in zip(store._parts.list, store._parts.first_rows.tolist()):
            indptr = part.arrays["indptr"].tolist()
            for row, (start, stop) in enumerate(zip(indptr, indptr[1:])):
                if start < stop and all(
                    self._asked(part, name, start, stop) for name in ("indices", "data")
                ):
                    found.add(base + row)
        return found

    def _asked(self, part: StorePart, name: str, start: int, stop: int) -> bool:
        file = part.path / f"{name}.npy"
        size, offset = part.arrays[name].dtype.itemsize, part.offset(name)
        wanted = range(offset + start * size, offset + stop * size)
        return set(wanted) <= self._bytes.get(file.stat().st_ino, set())


@pytest.fixture
def slow_filling(monkeypatch: pytest.MonkeyPatch) -> Iterator[AskedFor]:
    """Stores of any size are cold, and are filled until the test is over."""
    asked, advise = AskedFor(), StoreParts.advise

    def fill(files: list[tuple[int, int]], closed: threading.Event) -> None:
        while not closed.is_set() and not asked.filled.wait(0.01):
            pass
        for handle, _ in files:
            os.close(handle)

    def counted(parts: StoreParts, rows: Any) -> None:
        try:
            advise(parts, rows)
        except StoreError:
            asked.failed += 1
            raise

    monkeypatch.setattr(page_cache, "_fill", fill)
    monkeypatch.setattr(store_reader, "resident", lambda files: False)
    monkeypatch.setattr(store_reader, "LARGE", 0)
    monkeypatch.setattr(store_part, "GAP", 0)  # nothing but what is wanted
    monkeypatch.setattr(store_part, "will_need_parts", asked.note)
    monkeypatch.setattr(StoreParts, "advise", counted)
    yield asked
    asked.filled.set()


class TestAsking:
    """While a large store is read ahead whole, the next batches are asked for."""

    @pytest.fixture
    def store(self, tmp_path: Path, slow_filling: AskedFor) -> Iterator[SparseStore]:
        cuts = (0, 1000, 1000, 1700, 3000)
        for part, (start, stop) in enumerate(zip(cuts, cuts[1:])):
            block = ASKED[start:stop]
            written(tmp_path / f"{part}.store", block, blocks=1).close()
        with open_store(tmp_path / "*.store") as opened:
            yield opened

    def test_no_row_is_read_that_was_not_asked_for(
        self,
        store: SparseStore,
        slow_filling: AskedFor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        most, gather = [], StoreParts.gather
        full = set(np.flatnonzero(np.diff(ASKED.indptr)).tolist())

        def checked(parts: StoreParts, rows: Any) -> Any:
            asked = slow_filling.rows(store)
            assert full.intersection(rows.tolist()) <= asked
            most.append(len(rows))
            return gather(parts, rows)

        monkeypatch.setattr(StoreParts, "gather", checked)
        sequence = SparseBatchSequence(
            store, batch_size=100, shuffle=True, seed=1, output="csr"
        )
        for index in (*range(14), 20, 7, 3, 4, 29, 28):
            rows = sequence.batch_rows(index)
            assert same(sequence[index][0], ASKED[rows])
        assert max(most) > 100  # groups of batches as well
        sequence.close()

    def test_no_more_is_asked_for_than_the_next_batches(
        self, store: SparseStore, slow_filling: AskedFor
    ) -> None:
        full = set(np.flatnonzero(np.diff(ASKED.indptr)).tolist())
        plans = [BatchPlan(3000, ShuffleSampler(seed), 100) for seed in (1, 2)]

        def asked_for(plan: BatchPlan, epoch: int, index: int) -> set[int]:
            slow_filling._bytes.clear()
            store.look_ahead(plan, epoch, index)
            return slow_filling.rows(store)

        def rows_of_batches(
            first: int, stop: int, plan: BatchPlan = plans[0], epoch: int = 0
        ) -> set[int]:
            return full.intersection(plan.rows_ahead(epoch, first, stop).tolist())

        one, other = plans
        assert asked_for(one, 0, 0) == rows_of_batches(0, 1)
        assert asked_for(one, 0, 1) == rows_of_batches(1, 7)
        assert asked_for(one, 0, 2) == rows_of_batches(7, 8)
        assert asked_for(one, 0, 2) == asked_for(one, 0, 0) == set()
        assert asked_for(one, 0, 20) == rows_of_batches(20, 21)  # a jump
        assert asked_for(one, 0, 17) == rows_of_batches(17, 18)
        assert asked_for(one, 0, 28) == rows_of_batches(28, 29)
        assert asked_for(one, 0, 29) == rows_of_batches(29, 30)  # the last one
        assert asked_for(one, 1, 29) == rows_of_batches(29, 30, epoch=1)
        assert asked_for(other, 1, 29) == rows_of_batches(29, 30, other, 1)
        slow_filling.filled.set()
        reader = store._reader()
        assert isinstance(reader, MapReader) and reader._filler is not None
        reader._filler._thread.join()
        assert asked_for(other, 1, 0) == set()

    def test_nothing_is_asked_for_of_a_small_store(
        self,
        store: SparseStore,
        slow_filling: AskedFor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(store_reader, "LARGE", LARGE)
        plan = BatchPlan(3000, ShuffleSampler(1), 100)
        for index in range(plan.num_batches):
            store.look_ahead(plan, 0, index)
        assert slow_filling.rows(store) == set()

    def test_a_sampler_that_fails_fails_where_it_is_read(
        self, store: SparseStore
    ) -> None:
        class Failing(SequentialSampler):
            def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Any:
                if stop > 300:
                    raise KeyError("the sampler failed")
                return super().rows(num_rows, epoch, start, stop)

        plan = BatchPlan(3000, Failing(), 100)
        for index in range(3):
            store.look_ahead(plan, 0, index)
        with pytest.raises(KeyError, match="the sampler failed"):
            plan.batch(0, 3)


def test_of_what_is_read_alone_the_next_piece_is_asked_for_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, found, matrix = AskedFor(), [], marked(300, 40)
    rows = np.arange(0, 300, 7)
    bounds, fetch = StorePart.bounds, StorePart.fetch

    def checked_bounds(part: StorePart, own: Any) -> Any:
        assert all(asked._asked(part, "indptr", row, row + 1) for row in own.tolist())
        return bounds(part, own)

    def checked_fetch(part: StorePart, *arguments: Any) -> None:
        found.append(asked.rows(store))
        fetch(part, *arguments)

    monkeypatch.setattr(store_part, "GAP", 0)  # nothing but what is wanted
    monkeypatch.setattr(store_part, "will_need_parts", asked.note)
    monkeypatch.setattr(store_parts, "PIECE_ROWS", 8)
    monkeypatch.setattr(StorePart, "bounds", checked_bounds)
    monkeypatch.setattr(StorePart, "fetch", checked_fetch)
    written(tmp_path / "a.store", matrix).close()
    with open_store(tmp_path / "a.store", memory=1) as store:
        assert same(store.take(rows[::-1]), matrix[rows[::-1]])
    upto = [16, 24, 32, 40, len(rows), len(rows)]
    assert found == [set(rows[:stop].tolist()) for stop in upto]


class TestCacheFiller:
    def test_reads_files_into_the_page_cache(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(2000, 500))
        assert resident(store._parts.files)
        arrays = list(store._parts.list[0].arrays.values())

        def cached() -> list[int]:
            # Unlike resident(), this never has the kernel read what is missing.
            return [len(cached_pages(array)) for array in arrays]

        pages = cached()
        dropped(tmp_path / "a.store")
        if cached() == pages:  # all but what the store has touched should be gone
            pytest.skip("the file system has no page cache that can be dropped")
        filler = CacheFiller(store._parts.files)
        filler._thread.join()
        until(lambda: cached() == pages)  # the disk may take a moment
        assert resident(store._parts.files)

    def test_asks_for_all_of_every_file_and_closes_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: dict[int, set[int]] = {}

        def note(handle: int, start: int, length: int) -> None:
            known = asked.setdefault(os.fstat(handle).st_ino, set())
            known.update(range(start, start + length))

        monkeypatch.setattr(page_cache, "will_need", note)
        monkeypatch.setattr(page_cache, "STEP", 1000)
        with written(tmp_path / "a.store", marked(200, 50)) as store:
            before = open_below(tmp_path)
            filler = CacheFiller(store._parts.files)
            filler._thread.join()
            CacheFiller(store._parts.files).close()  # perhaps in the middle
            assert open_below(tmp_path) == before > 0
        for file in tmp_path.glob("a.store/*.npy"):
            told = file.stat()
            assert set(range(told.st_size)) <= asked[told.st_ino]

    def test_starts_with_training_not_before(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(200, 50))
        dropped(tmp_path / "a.store")
        open_files = len(os.listdir("/proc/self/fd"))
        assert same(store[:9], marked(200, 50)[:9])
        reader = store._reader()
        assert isinstance(reader, MapReader) and reader._filler is None
        dropped(tmp_path / "a.store")
        store.look_ahead(BatchPlan(200, SequentialSampler(), 9), 0, 0)
        store.close()
        assert not threads_named("cache-filler")
        assert len(os.listdir("/proc/self/fd")) < open_files

    def test_damage_ahead_is_told_to_who_reads_it(
        self, tmp_path: Path, slow_filling: AskedFor
    ) -> None:
        matrix = marked(400, 30)
        written(tmp_path / "a.store", matrix).close()
        indptr = np.load(tmp_path / "a.store" / "indptr.npy", mmap_mode="r+")
        indptr[155] = -5
        indptr.flush()
        store = open_store(tmp_path / "a.store")
        plan = BatchPlan(400, SequentialSampler(), 10)
        for index in range(plan.num_batches):
            if index == 15:
                with pytest.raises(ValueError, match="at rows? .*15[45]"):
                    batch_of(store, plan, 0, index)
            else:
                rows = plan.batch(0, index).rows
                assert same(batch_of(store, plan, 0, index), matrix[rows].tocsr())
        assert slow_filling.failed == 1
        store.close()

    def test_ends_with_the_store(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(200, 50))
        dropped(tmp_path / "a.store")
        store.look_ahead(BatchPlan(200, SequentialSampler(), 9), 0, 0)
        del store
        for thread in threads_named("cache-filler"):
            thread.join(timeout=10)
        assert not threads_named("cache-filler")


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
                taken += window._values.num_rows * ROW_COST
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
                    room = window._room + window._count * ROW_COST
                    assert room <= reader._budget // 2
                    taken += window._values.data.nbytes + window._values.indices.nbytes
                    taken += window._values.num_rows * ROW_COST
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
        matrix = sp.csr_array(sp.eye_array(20_000, format="csr", dtype=np.float32))
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
        assert sum(counts) == 19_000 and max(counts) <= PIECE_ROWS

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
        assert (stop - first) * 4 * ROW_COST <= 8000 * ALONE

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
                    big.look_ahead(plan, 0, index)
        (warning,) = caught
        assert "shuffle=False to fit" in str(warning.message)

    def test_an_order_that_goes_on_after_a_peek_is_not(self, big: SparseStore) -> None:
        plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
        for epoch in range(3):  # a warning would be an error
            for index in (0, 1, 0, *range(1, 300), *range(plan.num_batches)):
                big.look_ahead(plan, epoch, index)

    def test_a_uniform_order_is_told_once_what_blocks_would_give(
        self, big: SparseStore
    ) -> None:
        plan = BatchPlan(4000, ShuffleSampler(1), 8)
        with pytest.warns(UserWarning) as caught:
            for epoch in range(2):
                for index in range(plan.num_batches):
                    big.look_ahead(plan, epoch, index)
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
            big.look_ahead(plan, 0, 60)

    @pytest.mark.timeout(60)
    def test_closing_ends_one_that_is_being_read_and_waits_for_it(
        self, big: SparseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, go_on, fetch = threading.Semaphore(0), threading.Event(), StorePart.fetch
        calls: list[StorePart] = []

        def slow(part: StorePart, *arguments: Any) -> None:
            calls.append(part)
            begun.release()
            go_on.wait(30)
            fetch(part, *arguments)

        monkeypatch.setattr(StorePart, "fetch", slow)
        monkeypatch.setattr(store_parts, "PIECE_ROWS", 8)  # many are to follow
        reader = big._reader()
        assert isinstance(reader, WindowReader)
        plan = BatchPlan(4000, SequentialSampler(), 8)
        for index in range(2):
            big.look_ahead(plan, 0, index)
            assert begun.acquire(timeout=30)
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
            thread.join(timeout=10)
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
            from sequence_loader.store.sparse_store import open_store
            warnings.simplefilter("ignore")  # Python 3.12 warns of threads and fork
            expected = marked(4000, 30)
            store = open_store(sys.argv[1], memory=40_000)
            plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
            def right(index):
                store.look_ahead(plan, 0, index)
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
            from sequence_loader.store.sparse_store import open_store
            for memory in ("auto", 40_000):
                store = open_store(sys.argv[1], memory=memory)
                plan = BatchPlan(4000, BlockShuffleSampler(1), 8)
                for index in range(3):
                    store.look_ahead(plan, 0, index)
            print("done")
        """
        for _ in range(3):
            assert run_python(code, tmp_path / "a.store").strip() == "done"


def test_private_memory_is_bounded_and_flat(tmp_path: Path) -> None:
    """A store of 48 MB through 6 MB, and one of which nothing need be read ahead."""
    code = """
        import sys
        import numpy as np, scipy.sparse as sp
        from sequence_loader.order.plan import BatchPlan
        from sequence_loader.order.samplers import BlockShuffleSampler
        from sequence_loader.store.sparse_store import StoreWriter, open_store

        def anonymous():
            with open("/proc/self/status") as file:
                return next(int(l.split()[1]) for l in file if "RssAnon" in l) / 1e3

        folder = sys.argv[1]
        block = sp.random_array((1000, 3000), density=0.1, rng=0, dtype="f")
        for name, blocks in (("tiny", 1), ("large", 27)):
            with StoreWriter(f"{folder}/{name}.store", 3000) as writer:
                for _ in range(blocks):
                    writer.append(block)
        del block
        for name in ("tiny", "large"):
            store = open_store(f"{folder}/{name}.store", memory=6_000_000)
            plan = BatchPlan(len(store), BlockShuffleSampler(1), 64)
            start, most = anonymous(), []
            for epoch in range(4):
                most.append(0)
                for index in range(plan.num_batches):
                    store.look_ahead(plan, epoch, index)
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
    assert max(peaks) <= needed + 6 + 2  # what malloc keeps
    assert max(peaks[1:]) <= peaks[0] + 1


class TestClosing:
    """A store may be closed under whoever reads it, or holds its columns."""

    def test_columns_stay_valid(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(9, 3))
        column = store.y
        assert column is not None
        store.close()
        assert column.read(np.arange(9)).tolist() == list(range(9))
        os.truncate(tmp_path / "a.store" / "y.npy", 100)
        with pytest.raises(StoreError, match="has become shorter"):
            column.read(np.arange(9))  # and not the end of this process

    def test_a_part_that_is_closed_says_so(self, tmp_path: Path) -> None:
        with written(tmp_path / "a.store", marked(9, 3)) as store:
            part = store._parts.list[0]
        # What a thread comes to that was past the store's own check.
        for read in (part.gather, part.bounds, part.advise_bounds, store._parts.read):
            with pytest.raises(ValueError, match="the store is closed"):
                read(np.arange(3))

    @pytest.mark.parametrize("memory", ["auto", 100_000])
    def test_reads_under_way_end_in_rows_or_in_that(
        self, tmp_path: Path, memory: int | str
    ) -> None:
        matrix = marked(2000, 50)
        written(tmp_path / "a.store", matrix).close()
        written(tmp_path / "b.store", marked(2000, 50, seed=1)).close()
        rows = np.random.default_rng(0).permutation(2000)
        expected, failures = matrix[rows], []

        def read(store: SparseStore) -> None:
            try:
                while True:
                    found = store.read(rows).to_scipy()
                    if not same(found, expected):
                        failures.append("other rows")
            except ValueError as error:
                if "the store is closed" not in str(error):
                    failures.append(repr(error))
            except BaseException as error:
                failures.append(repr(error))

        for trial in range(60):
            store = open_store(tmp_path / "a.store", memory=memory)
            threads = [threading.Thread(target=read, args=(store,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(trial / 2000)
            store.close()
            with open_store(tmp_path / "b.store"):  # gets the numbers of its files
                for thread in threads:
                    thread.join()
        assert failures == []

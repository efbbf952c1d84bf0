"""The kernel is asked for the rows that come next, and for no others."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_data import batch_of, dropped, marked, same, written
from test_page_cache import cached_pages
from watching import HUNG_SECONDS, open_below, threads_named, until

from sequence_loader import SparseBatchSequence
from sequence_loader.memory import page_cache
from sequence_loader.memory.page_cache import CacheFiller, resident
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import SequentialSampler, ShuffleSampler
from sequence_loader.store import part as store_part
from sequence_loader.store import parts as store_parts
from sequence_loader.store import reader as store_reader
from sequence_loader.store.format import StoreError
from sequence_loader.store.opening import open_store
from sequence_loader.store.part import StorePart
from sequence_loader.store.parts import StoreParts
from sequence_loader.store.reader import ASKED_STORE_BYTES, MapReader
from sequence_loader.store.sparse_store import SparseStore

ASKED = marked(3000, 50, density=0.05)
"""Rows of a store that is asked for ahead; some are empty."""


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
    monkeypatch.setattr(store_reader, "ASKED_STORE_BYTES", 0)
    monkeypatch.setattr(store_part, "READ_GAP_BYTES", 0)  # nothing but what is wanted
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
            store.traits.look_ahead(plan, epoch, index)
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
        monkeypatch.setattr(store_reader, "ASKED_STORE_BYTES", ASKED_STORE_BYTES)
        plan = BatchPlan(3000, ShuffleSampler(1), 100)
        for index in range(plan.num_batches):
            store.traits.look_ahead(plan, 0, index)
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
            store.traits.look_ahead(plan, 0, index)
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

    monkeypatch.setattr(store_part, "READ_GAP_BYTES", 0)  # nothing but what is wanted
    monkeypatch.setattr(store_part, "will_need_parts", asked.note)
    monkeypatch.setattr(store_parts, "FILL_PIECE_ROWS", 8)
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
        monkeypatch.setattr(page_cache, "FILL_STEP_BYTES", 1000)
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
        store.traits.look_ahead(BatchPlan(200, SequentialSampler(), 9), 0, 0)
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
        store.traits.look_ahead(BatchPlan(200, SequentialSampler(), 9), 0, 0)
        del store
        for thread in threads_named("cache-filler"):
            thread.join(timeout=HUNG_SECONDS)
        assert not threads_named("cache-filler")

"""However the rows of a store are read, they are the same rows."""

from __future__ import annotations

import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_data import batch_of, marked, same, written

from sequence_loader.memory import map_copy
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import (
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
)
from sequence_loader.rows.sources import CsrSource
from sequence_loader.store.format import StoreError
from sequence_loader.store.opening import open_store
from sequence_loader.store.reader import MapReader
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.store.window_reader import WindowReader

ROWS, FEATURES = 300, 40
MATRIX = marked(ROWS, FEATURES, density=0.3)
KINDS = ("memory", "maps", "parts", "windows", "window parts", "single batches")
KINDS += ("narrow", "narrow parts", "narrow windows", "narrow window parts")
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
    # Values of two bytes; and parts of one, of two, and of four.
    written(folder / "narrow.store", MATRIX, dtype="smallest").close()
    for part, (start, stop) in enumerate(zip(cuts, cuts[1:])):
        rows, dtype = MATRIX[start:stop], "float32" if part == 3 else "smallest"
        written(folder / f"few-{part}.store", rows, blocks=1, dtype=dtype).close()
    narrow, few = folder / "narrow.store", f"{folder}/few-*.store"
    whole, parts = folder / "whole.store", f"{folder}/part-*.store"
    return {
        "memory": CsrSource(MATRIX),
        "maps": open_store(whole),
        "parts": open_store(parts),
        "windows": open_store(whole, memory=BUDGET),
        "window parts": open_store(parts, memory=BUDGET),
        "single batches": open_store(whole, memory=1),
        "narrow": open_store(narrow),
        "narrow parts": open_store(few),
        "narrow windows": open_store(narrow, memory=BUDGET // 2),
        "narrow window parts": open_store(few, memory=BUDGET),
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


@pytest.fixture(params=["this", "old"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that copies many parts of a map in one call, if this does, or does not."""
    if request.param == "old":
        monkeypatch.setattr(map_copy, "_process_vm_readv", None)
    return str(request.param)


@pytest.mark.usefixtures("kernel")
@settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
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

"""Which reader a store gets, and what a reader starts and ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from store_data import marked, written

from sequence_loader.memory import page_cache
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.samplers import SequentialSampler
from sequence_loader.store import reader as store_reader
from sequence_loader.store.opening import open_store
from sequence_loader.store.reader import WINDOW_BYTES, MapReader, choose_reader
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.store.window_reader import WindowReader

PLAN = BatchPlan(200, SequentialSampler(), 10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SparseStore]:
    written(tmp_path / "a.store", marked(200, 50)).close()
    with open_store(tmp_path / "a.store") as opened:
        yield opened


@pytest.mark.parametrize(
    ("nbytes", "free", "cached", "budget"),
    [
        (750, 1000, False, None),  # it fits into three quarters
        (751, 1000, False, 250),
        (10**9, 1000, False, 250),
        (10**9, 10**9, False, WINDOW_BYTES),
        (10**9, 1000, True, None),  # it is in memory, whatever is free
    ],
)
def test_by_itself_it_looks_at_what_is_free_and_what_is_cached(
    nbytes: int,
    free: int,
    cached: bool,
    budget: int | None,
    store: SparseStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_reader, "free_memory", lambda: free)
    monkeypatch.setattr(store_reader, "resident", lambda files: cached)
    store._parts.nbytes = nbytes
    reader = choose_reader(store._parts, "auto")
    if budget is None:
        assert type(reader) is MapReader
    else:
        assert isinstance(reader, WindowReader) and reader._budget == budget


def test_the_filling_ends_where_the_store_is_closed(
    store: SparseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()
    monkeypatch.setattr(page_cache, "will_need", lambda *_: slow.wait(0.05))
    monkeypatch.setattr(page_cache, "FILL_STEP_BYTES", 1)
    monkeypatch.setattr(store_reader, "resident", lambda files: False)
    store.traits.look_ahead(PLAN, 0, 0)
    # While the reader is referred to, nothing but close ends the thread.
    reader = store._reader()
    assert isinstance(reader, MapReader) and reader._filler is not None
    thread = reader._filler._thread
    assert thread.is_alive()
    store.close()
    assert not thread.is_alive()


def test_threads_that_begin_at_once_start_one_filling(
    store: SparseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    begin, slow = threading.Barrier(4), threading.Event()
    monkeypatch.setattr(store_reader, "CacheFiller", made.append)
    # Nobody is done looking before all have come to it.
    monkeypatch.setattr(store_reader, "resident", lambda files: slow.wait(0.2))

    def look_ahead(_: int) -> None:
        begin.wait()
        store.traits.look_ahead(PLAN, 0, 0)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(look_ahead, range(4)))
    assert len(made) == 1

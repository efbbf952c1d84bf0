"""Parts of a map are copied as they are, or not at all, and let go of afterwards."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_data import dropped, marked, written
from watching import cached_pages

from sequence_loader import open_store
from sequence_loader.memory import map_copy
from sequence_loader.memory.map_copy import (
    COPIED_PART_BYTES,
    MOST_PARTS,
    copy_parts,
    expect_parts,
)

PAGE = mmap.PAGESIZE
NUMBERS = np.random.default_rng(0).integers(0, 256, 300_007).astype(np.uint8)
needs_call = pytest.mark.skipif(
    map_copy._process_vm_readv is None, reason="the system has no such call"
)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All bytes of a file but the first 7, mapped."""
    path = tmp_path_factory.mktemp("files") / "numbers"
    NUMBERS.tofile(path)
    return opened(path, 7)


def opened(path: Path, offset: int = 0) -> Any:
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.ndarray(len(memory) - offset, np.uint8, memory, offset)


def of_map(array: Any, field: str) -> str:
    """What Linux says of the map that an array lies in."""
    text = Path("/proc/self/smaps").read_text()
    start = array.ctypes.data // PAGE * PAGE
    entry = text[text.index(f"{start:x}-") :]
    found = re.search(rf"^{field}: +(.*)$", entry, re.M)
    assert found is not None
    return found[1]


def resident_bytes(array: Any) -> int:
    """How much of a map counts as memory of this process."""
    return int(of_map(array, "Rss").split()[0]) * 1024


@needs_call
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 299_000), st.integers(0, 1000)), max_size=40))
def test_any_parts_are_copied(mapped: Any, parts: list[tuple[int, int]]) -> None:
    given = np.array(sorted(parts), np.int64).reshape(-1, 2)
    starts, lengths = given.T
    places = np.cumsum(lengths + 3) - lengths  # three bytes between them, and before
    out = np.zeros(int(lengths.sum()) + 3 * len(parts) + 5, np.uint8)
    expected = out.copy()
    for start, length, place in zip(starts, lengths, places):
        expected[place : place + length] = NUMBERS[7 + start :][:length]
    assert copy_parts(mapped, starts, lengths, out, places)
    assert (out == expected).all()
    assert resident_bytes(mapped) == 0


@needs_call
@pytest.mark.parametrize("count", [0, 1, MOST_PARTS, MOST_PARTS + 1, 2500])
def test_parts_are_copied_a_thousand_at_a_time(
    count: int, mapped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call: Any = map_copy._process_vm_readv
    taken = []

    def counted(*arguments: int) -> int:
        taken.append(call(*arguments))
        return int(taken[-1])

    monkeypatch.setattr(map_copy, "_process_vm_readv", counted)
    starts, lengths = 100 * np.arange(count), np.full(count, 60)
    places = 60 * np.arange(count)[::-1]  # the first comes last
    out = np.zeros(60 * count, np.uint8)
    assert copy_parts(mapped, starts, lengths, out, places)
    rows = out.reshape(count, 60)[::-1]
    assert all((rows[i] == NUMBERS[7 + 100 * i :][:60]).all() for i in range(count))
    assert len(taken) == -(-count // MOST_PARTS) and sum(taken) == 60 * count


@pytest.mark.parametrize("answer", [None, -1, 90])
def test_it_says_where_the_kernel_copies_less(
    answer: int | None, mapped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = None if answer is None else lambda *arguments: answer
    monkeypatch.setattr(map_copy, "_process_vm_readv", call)
    parts = np.array([0, 500]), np.array([50, 50])
    assert not copy_parts(mapped, *parts, np.zeros(100, np.uint8), np.array([0, 50]))


def test_long_parts_are_left_to_others(mapped: Any) -> None:
    out, zero = np.zeros(2 * COPIED_PART_BYTES, np.uint8), np.array([0])
    assert not copy_parts(mapped, zero, np.array([COPIED_PART_BYTES + 1]), out, zero)
    assert not out.any()


def test_what_is_no_map_is_left_as_it_is() -> None:
    memory = NUMBERS.copy()
    out, zero = np.zeros(9, np.uint8), np.array([0])
    assert not copy_parts(memory, zero, np.array([9]), out, zero)
    assert (memory == NUMBERS).all() and not out.any()


@needs_call
@pytest.mark.parametrize(
    "start, length, place",
    [
        (-1, 5, 0),
        (299_996, 5, 0),
        (0, 5, -1),
        (0, 5, 56),
        (10, -5, 0),
        (10, -(2**63), 0),
        (2**63 - 1, 5, 0),
        (0, 5, 2**63 - 1),
    ],
)
def test_nothing_is_copied_from_or_to_elsewhere(
    mapped: Any, start: int, length: int, place: int
) -> None:
    out = np.zeros(64, np.uint8)
    starts, lengths, places = np.array([[0, start], [1, length], [0, place]])
    with pytest.raises(ValueError, match="parts must lie within"):
        copy_parts(mapped, starts, lengths, out[:60], places)
    assert not out.any()


@needs_call
def test_pages_elsewhere_are_never_let_go_of(
    mapped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    advised: list[Any] = []
    monkeypatch.setattr(map_copy, "_madvise", lambda *advice: advised.append(advice))
    for start, stop in ((-1, 5), (5, 4), (0, len(mapped) + 1)):
        map_copy._advise(mapped, start, stop, mmap.MADV_DONTNEED)
    assert not advised
    first, last = mapped.ctypes.data, mapped.ctypes.data + len(mapped)
    for start in (0, 1_000, len(mapped) - 5):
        parts = np.array([start]), np.array([5])
        assert copy_parts(mapped, *parts, np.zeros(5, np.uint8), np.array([0]))
        ((address, length, advice),) = advised
        assert advice == mmap.MADV_DONTNEED and address % PAGE == 0
        assert first - PAGE < address and address + length <= last
        advised.clear()


@needs_call
def test_a_file_that_was_cut_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "file"
    NUMBERS.tofile(path)
    mapped = opened(path)
    os.truncate(path, 10 * PAGE)
    starts, lengths = np.array([PAGE, 20 * PAGE]), np.array([9, 9])
    out = np.zeros(18, np.uint8)
    assert not copy_parts(mapped, starts, lengths, out, np.array([0, 9]))
    assert (out == [*NUMBERS[PAGE : PAGE + 9], *[0] * 9]).all()


@needs_call
def test_no_more_is_read_than_what_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "file"
    NUMBERS.tofile(path)
    mapped = opened(path)
    expect_parts(mapped)
    dropped(tmp_path)
    if cached_pages(mapped):
        pytest.skip("the file system has no page cache that can be dropped")
    starts, out = PAGE * np.array([3, 30, 60]), np.zeros(3, np.uint8)
    assert copy_parts(mapped, starts, np.ones(3, np.int64), out, np.arange(3))
    assert (out == NUMBERS[starts]).all()
    assert cached_pages(mapped) == {3, 30, 60}


@needs_call
@pytest.mark.parametrize("memory, at_random", [(1, True), (1 << 30, False)])
def test_maps_that_windows_are_copied_from_are_read_at_random(
    memory: int, at_random: bool, tmp_path: Path
) -> None:
    # Pages that were evicted before they were copied would come back with megabytes.
    written(tmp_path / "a.store", marked(300, 40)).close()
    with open_store(tmp_path / "a.store", memory) as store:
        store.take([5])
        for name in ("indices", "data"):
            flags = of_map(store._parts.list[0].arrays[name], "VmFlags").split()
            assert ("rr" in flags) is at_random

"""What the kernel is asked to read is read, and nothing else."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_data import dropped, marked, written
from watching import cached_pages

from sequence_loader import open_store
from sequence_loader.memory import page_cache


def advises_itself() -> bool:
    """Whether this system lets a process advise itself in one call."""
    function = getattr(ctypes.CDLL(None), "process_madvise", None)
    if function is None:
        return False
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        part = np.array([[np.frombuffer(memory, np.uint8).ctypes.data, 1]], np.uintp)
        process = os.pidfd_open(os.getpid())
        place = ctypes.c_void_p(part.ctypes.data)
        taken: int = function(process, place, 1, mmap.MADV_WILLNEED, 0)
        os.close(process)
    return taken == 1


class TestAskingTheKernel:
    """Many parts in one call, where it takes them, or one after another."""

    COUNT = 2500  # more than it takes in one call

    @pytest.mark.parametrize("kernel", ["this", "old", "refuses", "stops early"])
    def test_reads_what_was_asked_for_and_nothing_else(
        self, kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        this: Any = page_cache._process_madvise
        taken, singly, will_need = [], [], page_cache.will_need

        def counted(process: int, parts: int, count: int, *rest: int) -> int:
            count = 9 if kernel == "stops early" else count
            taken.append(this(process, parts, count, *rest))
            return int(taken[-1])

        def one(*args: int) -> None:
            singly.append(args)
            will_need(*args)

        others = {"old": None, "refuses": lambda *args: -1}
        if kernel not in others and not advises_itself():
            pytest.skip("the system does not take such advice")
        monkeypatch.setattr(page_cache, "_process_madvise", others.get(kernel, counted))
        monkeypatch.setattr(page_cache, "will_need", one)
        path, page, offset = tmp_path / "file", mmap.PAGESIZE, 128
        with open(path, "wb") as file:
            file.truncate(8 * self.COUNT * page + 100)  # of a hole, pages are read too
        dropped(tmp_path)
        mapped = np.memmap(path, np.uint8, "r", offset)
        if cached_pages(mapped):
            pytest.skip("the file system has no page cache that can be dropped")
        # One byte, the last and the first of two pages, two pages, the last byte.
        starts = 8 * page * np.arange(self.COUNT) - offset + page
        starts[1::3] += page - 1
        stops = starts + np.resize([1, 2, 2 * page], self.COUNT)
        starts[-1], stops[-1] = len(mapped) - 1, len(mapped)
        with open(path, "rb") as file:
            page_cache.will_need_parts(file.fileno(), offset, mapped, starts, stops)
        wanted = {
            number
            for start, stop in zip(starts + offset, stops + offset)
            for number in range(start // page, (stop - 1) // page + 1)
        }
        for _ in range(200):  # the disk may take a moment
            if len(found := cached_pages(mapped)) >= len(wanted):
                break
            threading.Event().wait(0.05)
        assert found == wanted
        if kernel == "this":  # in three calls, and in no others
            assert sum(taken) == (stops - starts + (starts + offset) % page).sum()
            assert len(taken) == 3 and not singly
        else:
            assert len(singly) == self.COUNT
            assert kernel != "stops early" or (len(taken) == 1 and taken[0] > 0)

    def test_asks_for_nothing_where_nothing_is_wanted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(page_cache, "_process_madvise", lambda *a: asked.append(a))
        monkeypatch.setattr(page_cache, "will_need", lambda *a: asked.append(a))
        with written(tmp_path / "a.store", marked(9, 5)) as store:
            store._parts.advise(np.empty(0, np.int64))
        assert asked == []

    def test_leaves_no_file_open(self, tmp_path: Path) -> None:
        with written(tmp_path / "a.store", marked(2000, 50)) as store:
            before = len(os.listdir("/proc/self/fd"))
            store._parts.advise(np.arange(0, 2000, 7))
            assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("memory, at_random", [(1, True), (1 << 30, False)])
def test_files_that_windows_are_read_from_are_read_at_random(
    memory: int, at_random: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise what was evicted comes back with megabytes around it, as from the maps.
    advise, told = os.posix_fadvise, set()

    def note(handle: int, start: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_RANDOM:
            assert start == length == 0  # all of it
            told.add(os.fstat(handle).st_ino)
        advise(handle, start, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", note)
    written(tmp_path / "a.store", marked(300, 40)).close()
    files = {file.stat().st_ino for file in tmp_path.glob("a.store/*.npy")}
    with open_store(tmp_path / "a.store", memory) as store:
        store.take([5])
    assert told == (files if at_random else set())

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

from sequence_loader import page_cache


def cached_pages(mapped: Any) -> set[int]:
    """The numbers of the pages of a mapped file that are in memory."""
    first = mapped.ctypes.data // mmap.PAGESIZE
    count = -(-(mapped.ctypes.data + mapped.nbytes) // mmap.PAGESIZE) - first
    cached = np.zeros(count, np.uint8)
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
    if mincore(first * mmap.PAGESIZE, count * mmap.PAGESIZE, cached.ctypes.data):
        raise OSError(ctypes.get_errno(), "mincore")
    return set(np.flatnonzero(cached & 1).tolist())


class TestAskingTheKernel:
    """Many parts in one call, where it takes them, or one after another."""

    COUNT = 2500  # more than it takes in one call

    @pytest.mark.parametrize("kernel", ["this", "old", "refuses", "stops early"])
    def test_reads_what_was_asked_for_and_nothing_else(
        self, kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        this: Any = page_cache._process_madvise
        if this is None and kernel in ("this", "stops early"):
            pytest.skip("the C library has no process_madvise")
        kernels = {
            "this": this,
            "old": None,
            "refuses": lambda *args: -1,
            "stops early": lambda *args: this(*args[:2], 9, *args[3:]),
        }
        monkeypatch.setattr(page_cache, "_process_madvise", kernels[kernel])
        path, page, offset = tmp_path / "file", mmap.PAGESIZE, 128
        path.write_bytes(bytes(8 * self.COUNT * page + 100))
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

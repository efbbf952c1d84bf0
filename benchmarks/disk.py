"""Rows on disk: ours and its peers, warm, cold, and with too little memory.

    python benchmarks/disk.py                           TEXT, batches of 128
    python benchmarks/disk.py --shape CELLS --batch 1024
    python benchmarks/disk.py --folder DIR              keeps its files for the next run

Writes the same rows, sorted by class, as a store, plain .npy, .h5ad and TFRecord.
Then all readers take turns, --repeats times; one that takes longer than --seconds is
stopped, and its speed is that of what it read. What counts are the ratios, each the
median of those of the rounds: the times are this machine's, whose disk is two or three
times faster where the host of a virtual one remembers its blocks. Speeds are thousand
rows/s, opening excluded:

    warm      all files are in the page cache, and mapped by those who map them
    cold      none of their pages is (fsync, then POSIX_FADV_DONTNEED)
    capped    cold, and all pages are dropped again whenever as much as an eighth of
              the store has been read from the disk, which imitates a machine with
              that much memory, only harder: what was just read ahead goes too. For
              readers that map no file, since mapped pages stay. `memory=` is that
              eighth for our windows

Block orders mix 64 batches of blocks of 16: 74 MB of CELLS, a third of an eighth of
the default size. With --rows 50000 an eighth is less than that, so that windows read a
block more than once, and pay for it where it is not cached. So they do for the pages
that two blocks share: those of TEXT are 3 and 6 kB, and with an eighth as memory 3.8 GB
are read of 1.8.

Beside each speed: the bytes of rows that a cold reader delivers, against the disk's
sequential speed in the same run; the peak of private memory (RssAnon) above that
before it was opened, in a run that is not timed; and how well its batches are mixed, as
the mean entropy of their labels, which for uniform order is about
log2(K) - (K - 1) / (2 m ln 2) for K classes and batches of m.

Thousand rows/s of 1.8 GB, batches of 128, two cores, a virtual disk of 0.8 GB/s, warm /
cold / capped; TEXT has 86 values a row, CELLS 1,500:

| | TEXT warm / cold / capped | CELLS warm / cold / capped | entropy |
| --- | --- | --- | --- |
| store, `shuffle=True` | 2,350 / 1,221 / - | 527 / 130 / - | 4.21 |
| store, `shuffle="block"` | 2,516 / 1,115 / - | 532 / 112 / - | 4.19 |
| the same, larger than memory | - / 519 / 384 | - / 127 / 104 | 4.19 |
| scipy over memmaps, uniform | 1,688 / 868 / - | 490 / 82 / - | 4.21 |
| annbatch, its shuffled copy, defaults | 875 / 350 / 369 | 130 / 68 / 65 | 4.21 |
| the same, chunks as in its README | 238 / 121 / 116 | 92 / 53 / 37 | 4.21 |
| TFRecord, `shuffle(10000)` | 265 / 204 / 232 | 38 / 36 / 34 | 0.13, 1.66 |
| scDataset over `.h5ad` | 72 / 32 / 16 | 40 / 20 / 7 | 4.19 |
| h5py, sorted reads | 23 / 7 / 2 | 21 / 6 / 2 | 4.21 |

A peer that is not installed is named and left out. annbatch needs Python 3.12, and
reads a copy of the rows that it has shuffled.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import re
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from disk_annbatch import CHUNKS as ANNBATCH
from disk_readers import (
    CAP,
    CAPPED,
    COLD,
    MEMMAP,
    MEMORY,
    SCDATASET,
    STORE,
    WARM,
    WINDOWS,
    Data,
    Reader,
    ours,
    peers,
)
from rich.console import Console
from rich.table import Table
from shapes import CLASSES, SHAPES, TEXT

STEP = 1 << 23
SEQUENTIAL, PRIVATE, ENTROPY = "sequential", "private", "entropy"
ROW_BYTES = "row bytes"
Figures = dict[str, dict[str, list[float]]]
"""By reader and what was measured: a figure for each round."""


def drop_pages(paths: list[Path], sync: bool = True) -> None:
    """Empties the page cache of files."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        if sync:
            os.fsync(handle)  # a page that is not on disk stays
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def read_through(paths: list[Path]) -> float:
    """Reads files from their start to their end; returns bytes a second."""
    buffer, total, start = bytearray(STEP), 0, time.perf_counter()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                total += count
    return total / (time.perf_counter() - start)


class PrivatePeak:
    """The most private memory while the ``with`` block ran, above that before it."""

    def __init__(self) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what others freed must not be used for it
        self._before = self._most = _private_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def bytes(self) -> int:
        """The peak."""
        return self._most - self._before

    def __enter__(self) -> PrivatePeak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self._most = max(self._most, _private_bytes())


def _private_bytes() -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def speed(reader: Reader, data: Data, state: str, seconds: float) -> float:
    """Rows/s in an epoch, or in its first seconds; where warm, in the last epoch."""
    files = data.files(reader.kind)
    if state == WARM:
        read_through(files)
    else:
        drop_pages(files)
    with closing(reader.batches()) as batches:
        next(batches)
        rows, dropped = 0, _disk_bytes()
        start = stop = time.perf_counter()
        for number, count in enumerate(batches):
            if count == 0:  # another epoch
                if state != WARM:
                    break
                rows, start = 0, time.perf_counter()
            rows += count
            stop = time.perf_counter()
            if stop - start > seconds:
                break
            if state == CAPPED and number % 8 == 0:
                if _disk_bytes() - dropped > data.memory:
                    drop_pages(files, sync=False)
                    dropped = _disk_bytes()
        return rows / (stop - start)


def _disk_bytes() -> int:
    """What this process has had read from disks."""
    found = re.search(r"^read_bytes: (\d+)", Path("/proc/self/io").read_text(), re.M)
    return int(found[1]) if found else 0


def label_entropy(data: Data, order: Any, batch: int) -> float:
    """Mean entropy of the labels of the full batches, in bits."""
    labels = data.labels[order[: len(order) // batch * batch]].reshape(-1, batch)
    keys = labels + CLASSES * np.arange(len(labels))[:, np.newaxis]
    counts = np.bincount(keys.ravel(), minlength=CLASSES * len(labels))
    shares = counts[counts > 0] / batch
    return float(-(shares * np.log2(shares)).sum() / len(labels))


def measure(
    readers: list[Reader], data: Data, batch: int, repeats: int, seconds: float
) -> Figures:
    """Speeds by reader and state, private memory and label entropy."""
    found: Figures = defaultdict(lambda: defaultdict(list))
    for reader in readers:
        speed(reader, data, WARM, 0.2)  # imports and traces are not timed
        found[reader.name][ROW_BYTES] = [data.row_bytes(reader.kind)]
        found[reader.name][ENTROPY] = [label_entropy(data, reader.order(), batch)]
        # By itself: a thread that looks every 10 ms takes 13 % of a reader's speed.
        with PrivatePeak() as peak:
            speed(reader, data, reader.states[-1], seconds)
        found[reader.name][PRIVATE] = [peak.bytes]
    for turn in range(repeats):
        drop_pages(data.files("store"))
        found[SEQUENTIAL][COLD].append(read_through(data.files("store")))
        for state in (WARM, COLD, CAPPED):
            # To and fro: the host remembers the files that were read last.
            for reader in readers[:: (-1) ** turn]:
                if state not in reader.states:
                    continue
                rate = speed(reader, data, state, seconds)
                found[reader.name][state].append(rate)
    return found


def show(title: str, found: Figures, data: Data, batch: int) -> None:
    """Prints the figures, and the ratios to look at."""
    console = Console(width=110)
    sequential = median(found[SEQUENTIAL][COLD])
    ideal = np.log2(CLASSES) - (CLASSES - 1) / (2 * batch * np.log(2))
    table = Table(
        title=f"{title}: {CAP * data.memory / 1e9:.2f} GB of store, read sequentially "
        f"at {sequential / 1e6:.0f} MB/s; label entropy of uniform batches {ideal:.2f}",
        title_justify="left",
    )
    table.add_column("thousand rows/s")
    columns = WARM, COLD, CAPPED, "cold MB/s", "of sequential", "private MB", "entropy"
    for column in columns:
        table.add_column(column, justify="right")
    for name, figures in found.items():
        if name == SEQUENTIAL:
            continue
        speeds = [median(figures[state] or [0]) for state in (WARM, COLD, CAPPED)]
        cold = speeds[1] * figures[ROW_BYTES][0]
        table.add_row(
            name,
            *(_number(speed / 1e3) for speed in speeds),
            _number(cold / 1e6),
            f"{cold / sequential:.2f}" if cold else "",
            f"{figures[PRIVATE][0] / 1e6:.0f}",
            f"{figures[ENTROPY][0]:.2f}",
        )
    console.print(table)
    table = Table(title="ratios: the median of the rounds", title_justify="left")
    table.add_column("of")
    for column in ("is", "from", "to", "wanted"):
        table.add_column(column, justify="right")
    for name, rates, others, wanted in ratios(found, data):
        rounds = [one / other for one, other in zip(rates, others)]
        figures = median(rounds), min(rounds), max(rounds), wanted
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    console.print(table)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value else ""


def ratios(
    found: Figures, data: Data
) -> list[tuple[str, list[float], list[float], float]]:
    """What to look at: (name, speeds, speeds to divide them by, the least wanted)."""
    block, windows = found[f"{STORE}, block"], found[f"{WINDOWS}, block"]
    delivered = [rate * block[ROW_BYTES][0] for rate in block[COLD]]
    listed = [
        (
            f"warm store over memory, {order}",
            found[f"{STORE}, {order}"][WARM],
            found[f"{MEMORY}, {order}"][WARM],
            0.9,
        )
        for order in ("uniform", "block")
    ]
    listed += [
        (
            "cold store over the disk, block",
            delivered,
            found[SEQUENTIAL][COLD],
            0.3 if data.shape is TEXT else 0.8,
        ),
        ("capped windows over cold ones", windows[CAPPED], windows[COLD], 1.0),
    ]
    if MEMMAP in found:
        uniform = found[f"{STORE}, uniform"][COLD]
        listed.append(
            ("cold store over memmaps, uniform", uniform, found[MEMMAP][COLD], 1.0)
        )
    states = (WARM, block), (COLD, block), (CAPPED, windows)
    wanted = dict.fromkeys(ANNBATCH, (4.0, 2.0, 1.0)) | {SCDATASET: (5.0, 5.0, 5.0)}
    for peer, least in wanted.items():
        if peer not in found:
            continue
        for (state, figures), ratio in zip(states, least):
            name = f"{state} store over {peer}"
            listed.append((name, figures[state], found[peer][state], ratio))
    return listed


def main() -> None:
    """Reads the arguments, writes the files, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default=TEXT.name)
    parser.add_argument("--batch", type=int, choices=(128, 1024), default=128)
    parser.add_argument("--rows", type=int, help="by default, 2.4 GB in memory")
    parser.add_argument("--folder", type=Path, help="where the files are kept")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="for each reader")
    parser.add_argument("--output", choices=("csr", "sparse", "dense"), default="csr",
                        help="of our batches; peers are measured beside csr alone")
    args = parser.parse_args()
    shape = SHAPES[args.shape]
    with tempfile.TemporaryDirectory() as folder:
        rows = args.rows or int(2.4e9) // (shape.per_row * 8)
        data = Data(shape, rows, args.folder or Path(folder))
        data.write()
        readers = ours(data, args.batch, args.output)
        notes = []
        for peer in peers(data, args.batch) if args.output == "csr" else ():
            if missing := [name for name in peer.needs if find_spec(name) is None]:
                notes.append(f"{peer.name} (pip install {' '.join(missing)})")
            else:
                readers.append(peer)
        found = measure(readers, data, args.batch, args.repeats, args.seconds)
    show(f"{shape.name}, batches of {args.batch}", found, data, args.batch)
    if notes:
        print(f"Not measured, for they are not installed: {', '.join(notes)}.")


if __name__ == "__main__":
    main()

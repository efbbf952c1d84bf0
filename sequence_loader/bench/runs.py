"""Feed: a sequence of one setting, run for a while and timed.

All settings of a bench read one `ReopenedStore`, each with the sequence, and the graph
that TensorFlow makes of its dataset, that it was given at first: a run costs what its
batches cost.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from sequence_loader.bench.settings import Setting
from sequence_loader.bench.source import ReopenedStore
from sequence_loader.feed.stats import FeedStats

PULLED_BATCHES, PULLED_ROWS = 8, 1024
"""Batches, and about how many rows, between two looks at the clock: one look costs what
a few rows do, and a batch of many long ones more than a run should take."""


@dataclass(frozen=True)
class Run:
    """What was read in a while.

    Attributes:
        rows: Rows served.
        seconds: Wall time.
        cpu_seconds: Processor time of all threads.
        disk_bytes: Bytes that came from the disk; `None` where nobody says (not Linux).
        stats: What the feed counted meanwhile; `None` where it had no part in it.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    disk_bytes: int | None
    stats: FeedStats | None = None

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / max(self.seconds, 1e-9)


class Stopwatch:
    """Wall time, processor time and bytes from the disk, from now on."""

    def __init__(self) -> None:
        self._disk = _disk_bytes()
        self._cpu = time.process_time()
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time up to now."""
        return time.perf_counter() - self._began

    def run(self, rows: int, stats: FeedStats | None = None) -> Run:
        """What was measured up to now, of so many rows."""
        seconds, cpu = self.seconds, time.process_time() - self._cpu
        disk = _disk_bytes()
        read = None if disk is None or self._disk is None else disk - self._disk
        return Run(rows, seconds, cpu, read, stats)


class Feed:
    """A sequence over the store; see the module.

    Args:
        source: The store.
        setting: How to read it.
    """

    def __init__(self, source: ReopenedStore, setting: Setting) -> None:
        from sequence_loader.feed.sequence import SparseBatchSequence

        self.setting, self._source = setting, source
        self.num_features = source.num_features
        self.sequence = SparseBatchSequence(
            source,
            batch_size=setting.batch_size,
            sampler=setting.sampler(),
            output=setting.output,
            workers=setting.workers,
            max_queue_size=2,  # what is left behind at the end of a run is as much
        )
        self.data = self.sequence
        if setting.road == "dataset":
            self.data = self.sequence.to_tf_dataset()
            pulled = max(1, min(PULLED_BATCHES, PULLED_ROWS // setting.batch_size))
            # Batches come as far as a step would get them, and Python sees a number
            # for each, some at a time.
            self._epoch = self.data.map(lambda *batch: 0).batch(pulled)
            self._epochs = self._epoch.repeat()
        self._rounds = 0

    def settle(self) -> None:
        """Waits for what iterators that were let go still read."""
        self._source.settle()

    def run(self, seconds: float, *, once: bool = False) -> Run:
        """Reads batches, and throws them away.

        Args:
            seconds: How long.
            once: Whether to end with the epoch: a second one would find its pages in
                memory.
        """
        self._rounds += 1
        self.sequence.set_epoch(self._rounds)  # other rows than the last time
        before = self.sequence.stats()
        if self.setting.road == "dataset":
            watch, batches = self._pull(seconds, once)
        else:
            watch, batches = self._ask(seconds, once)
        stats = self.sequence.stats() - before
        epochs, rest = divmod(batches, len(self.sequence))
        rows = epochs * self.sequence.num_rows
        run = watch.run(rows + rest * self.setting.batch_size, stats)
        self.settle()
        return run

    def _ask(self, seconds: float, once: bool) -> tuple[Stopwatch, int]:
        count, done, watch = len(self.sequence), 0, Stopwatch()
        while not done or (watch.seconds < seconds and not (once and done >= count)):
            self.sequence[done % count]
            done += 1
            if self._source.interrupt.noted:
                break
        return watch, done

    def _pull(self, seconds: float, once: bool) -> tuple[Stopwatch, int]:
        done, watch = 0, Stopwatch()
        for some in self._epoch if once else self._epochs:
            done += len(some)
            if watch.seconds >= seconds or self._source.interrupt.noted:
                break
        return watch, done


def _disk_bytes() -> int | None:
    """Bytes that the disk has given this process, from /proc."""
    try:
        with open(f"/proc/{os.getpid()}/io") as lines:
            found = dict(line.split(": ") for line in lines)
        return int(found["read_bytes"])
    except (OSError, KeyError, ValueError):
        return None

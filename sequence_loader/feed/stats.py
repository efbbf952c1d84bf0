"""What a feed does while it runs: `FeedCounters` add up, `FeedStats` tell.

The counters are always on: two additions a batch, under a lock, 1.5 µs
(`benchmarks/stats.py`).
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, fields

from sequence_loader.forks import renew_after_fork


@dataclass(frozen=True)
class FeedStats:
    """What a `SparseBatchSequence` has done; made by its `stats()`.

    All of this process, since the sequence was made. ``seq.stats() - before`` is what
    happened between two calls, of one `fit` for example.

    Attributes:
        batches: Batches served, by ``seq[i]`` or a dataset. Keras looks at two before
            it trains, to learn their shapes.
        rows: Rows in them, padding included.
        elapsed_seconds: From when the first batch was asked for to when the last one
            was handed over.
        waited_seconds: Of these, how long somebody waited for a batch, summed over
            threads that ask side by side. Who asks is the training itself or, on
            TensorFlow, a thread that keeps some batches ready for it.
        read_seconds: Of the time waited, what reading rows, targets and weights took,
            `transform` included, or waiting for workers who do.
        assemble_seconds: Of the time waited, what assembling took: dtype, dense rows,
            `augment`. The rest of it makes tensors.
        worker_seconds: What workers took for the batches served, summed over them. Of
            processes it is what they report: to serve rows, not to send them.
        prepared: Batches that had been given to workers, or read together with
            another, before they were asked for.
        ahead: Batches that are ready now and have not been asked for; those that
            TensorFlow keeps are not known.
        bytes_read: Bytes of rows that were taken from the files of stores, whether the
            page cache had them or the disk; in windows, what was read into them. Of
            stores, not of the sequence: what others read from them counts.
        window_hits: Readings of a store larger than memory that a window answered.
        window_misses: Its readings that no window held.

    Example:
        >>> seq = SparseBatchSequence(x, batch_size=32)
        >>> before = seq.stats()
        >>> batches = list(seq)
        >>> (seq.stats() - before).rows
        100
    """

    batches: int = 0
    rows: int = 0
    elapsed_seconds: float = 0.0
    waited_seconds: float = 0.0
    read_seconds: float = 0.0
    assemble_seconds: float = 0.0
    worker_seconds: float = 0.0
    prepared: int = 0
    ahead: int = 0
    bytes_read: int = 0
    window_hits: int = 0
    window_misses: int = 0

    @property
    def waited_share(self) -> float:
        """Time waited by time elapsed: near 1, the feed is what limits; near 0, not.

        Threads that ask side by side each wait, so that it may be more than 1.
        """
        return self.waited_seconds / self.elapsed_seconds if self.batches else 0.0

    def __sub__(self, before: FeedStats) -> FeedStats:
        """What happened since `before`; `ahead` is that of the later one."""
        if not isinstance(before, FeedStats):
            return NotImplemented
        values = {
            field.name: getattr(self, field.name) - getattr(before, field.name)
            for field in fields(self)
        }
        return FeedStats(**{**values, "ahead": self.ahead})

    def __str__(self) -> str:
        """Some lines that tell it in words."""
        tensors = self.waited_seconds - self.read_seconds - self.assemble_seconds
        lines = [
            f"{self.batches:,} batches of {self.rows:,} rows in "
            f"{self.elapsed_seconds:.2f} s, waited for {self.waited_share:.0%} of it",
            f"waited {self.waited_seconds:.2f} s: reading {self.read_seconds:.2f}, "
            f"assembling {self.assemble_seconds:.2f}, tensors {tensors:.2f}",
            f"{self.prepared:,} were prepared ahead, {self.ahead} are ready now; "
            f"workers took {self.worker_seconds:.2f} s",
        ]
        if self.bytes_read:
            lines.append(
                f"{self.bytes_read / 1e6:,.1f} MB read from stores; windows answered "
                f"{self.window_hits:,} readings and missed {self.window_misses:,}"
            )
        return "\n".join(lines)


class FeedCounters:
    """Adds up what a pipeline does. Safe to share by threads.

    A copy in another process, pickled or forked, begins at 0.
    """

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def __reduce__(self) -> tuple[type[FeedCounters], tuple[()]]:
        return FeedCounters, ()

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()
        self._batches = self._rows = 0
        self._read = self._assembled = self._waited = 0.0
        self._first, self._last = math.inf, -math.inf

    def made(self, read: float, assembled: float) -> None:
        """A batch was made.

        Args:
            read: Seconds that its rows took.
            assembled: Seconds that assembling them took.
        """
        with self._lock:
            self._read += read
            self._assembled += assembled

    def served(self, batches: int, rows: int, asked: float, done: float) -> None:
        """Batches were handed over.

        Args:
            batches: How many.
            rows: Rows in them.
            asked: When they were asked for, a time of ``time.perf_counter``.
            done: When they were there.
        """
        with self._lock:
            self._batches += batches
            self._rows += rows
            self._waited += done - asked
            if asked < self._first:
                self._first = asked
            if done > self._last:
                self._last = done

    def stats(self) -> FeedStats:
        """The sums up to now, of these counters."""
        with self._lock:
            return FeedStats(
                batches=self._batches,
                rows=self._rows,
                elapsed_seconds=max(self._last - self._first, 0.0),
                waited_seconds=self._waited,
                read_seconds=self._read,
                assemble_seconds=self._assembled,
            )

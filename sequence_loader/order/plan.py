"""The plan: (epoch, batch number) -> row ids and weights, a pure function.

Positions of the sampler's order are cut into global batches of
``batch_size * count`` rows; the process with shard ``(index, count)`` serves the
index-th part of each. The global batches therefore depend on the order and their
size alone, not on how many processes share them.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Integers
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.order.cached_order import Order
from sequence_loader.order.samplers import Sampler
from sequence_loader.order.seeds import one_order, order_seed

REMAINDERS = ("keep", "drop", "pad")
ROWS_SHOWN = 16


class PlannedBatch(NamedTuple):
    """What goes into one batch, or into several neighbours.

    Attributes:
        epoch: Epoch of the data.
        number: Number of the batch in this process, or of the first one.
        rows: int64 array of shape (batch,), row ids of the source; not to be
            written to.
        weights: float32 array of shape (batch,), 0 where the row is padding and 1
            elsewhere; `None` unless ``remainder="pad"``.
        place: Number of the batch among those of all processes.
    """

    epoch: int
    number: int
    rows: Integers
    weights: npt.NDArray[np.float32] | None
    place: int

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.rows[:ROWS_SHOWN].tolist()))
        more = ", ..." if len(self.rows) > ROWS_SHOWN else ""
        return (
            f"batch {self.number} of epoch {self.epoch} "
            f"({len(self.rows)} rows: {shown}{more})"
        )

    @property
    def mend(self) -> str:
        """What happens, or is to be done, when the worker that reads it has died."""
        return "The next batch starts a new one."


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """Which rows are in which batch.

    Args:
        num_rows: Rows of the source.
        sampler: The order of an epoch.
        batch_size: Rows in a batch of this process.
        remainder: ``"keep"``, ``"drop"`` or ``"pad"`` the smaller last batch.
        shard: ``(index, count)`` of this process.
        subset: int64 array of shape (n,): the rows to serve; `None` for all.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or no batch is left.
    """

    num_rows: int
    sampler: Sampler
    batch_size: int
    remainder: str = "keep"
    shard: tuple[int, int] = (0, 1)
    subset: Integers | None = None
    length: int = field(init=False)
    num_batches: int = field(init=False)
    _order: Order = field(init=False, repr=False)

    def __post_init__(self) -> None:
        batch_size = integer("batch_size", self.batch_size, minimum=1)
        object.__setattr__(self, "batch_size", batch_size)
        one_of("remainder", self.remainder, REMAINDERS)
        object.__setattr__(self, "shard", _checked_shard(self.shard))
        if self.remainder == "keep" and self.shard[1] > 1:
            raise ValueError(
                f"`remainder` must be 'pad' or 'drop' when `shard` has count > 1, so "
                f"that every process serves the same number of equal batches; received "
                f"remainder='keep' with shard={self.shard}. Pass remainder='pad' to "
                f"train on every row, or remainder='drop'."
            )
        length = integer(
            f"{type(self.sampler).__name__}.length()",
            self.sampler.length(self.num_served),
            minimum=1,
        )
        object.__setattr__(self, "length", length)
        where = f"shard={self.shard}" if self.shard[1] > 1 else ""
        order = Order(self.sampler, self.num_served, length, self.subset, where)
        order.check_pure()
        object.__setattr__(self, "_order", order)
        whole, rest = divmod(length, self.global_batch_size)
        batches = whole + (rest > 0 and self.remainder != "drop")
        if batches == 0:
            raise ValueError(
                f"`batch_size` must leave at least one batch when remainder='drop'; "
                f"received batch_size={self.batch_size} with shard={self.shard}, which "
                f"needs {self.global_batch_size} rows of the {length} there are. Lower "
                f"`batch_size`, or pass remainder='pad'."
            )
        object.__setattr__(self, "num_batches", batches)

    @property
    def num_served(self) -> int:
        """Rows to choose from: those of the subset, or all."""
        return self.num_rows if self.subset is None else len(self.subset)

    @property
    def global_batch_size(self) -> int:
        """Rows that all processes together serve at one step."""
        return self.batch_size * self.shard[1]

    def rows_in(self, first: int, stop: int) -> int:
        """How many rows the batches ``first .. stop - 1`` have, padding included."""
        whole = stop * self.batch_size
        if self.remainder == "keep":  # the only remainder that leaves a smaller batch
            whole = min(whole, self.length)
        return whole - first * self.batch_size

    def batch(self, epoch: int, number: int, shard: int | None = None) -> PlannedBatch:
        """The rows of one batch.

        Args:
            epoch: Epoch of the data, from 0.
            number: Batch number in ``[0, num_batches)``.
            shard: Index of another process, whose batch is asked for.

        Returns:
            Row ids and weights. Padding repeats rows from the start of the epoch.
        """
        index, count = self.shard
        place = number * count + (index if shard is None else shard)
        start = place * self.batch_size
        stop = start + self.batch_size
        weights = None
        if stop <= self.length:
            rows = self.positions(epoch, start, stop)
            if self.remainder == "pad":
                weights = np.ones(self.batch_size, np.float32)
        elif self.remainder == "keep":
            rows = self.positions(epoch, start, self.length)
        else:
            places = np.arange(start, stop)
            if self.length < self.batch_size:
                rows = self.positions(epoch, 0, self.length)[places % self.length]
            else:
                runs = _runs(start, stop, self.length)
                rows = np.concatenate([self.positions(epoch, *run) for run in runs])
            weights = (places < self.length).astype(np.float32)
        return PlannedBatch(epoch, number, rows, weights, place)

    def rows_ahead(self, epoch: int, first: int, stop: int) -> Integers:
        """The rows of several batches, one after another.

        Drawn at once where they are neighbours in the order, which costs a tenth of
        what drawing them one by one does.

        Args:
            epoch: Epoch of the data, from 0.
            first: Number of the first batch.
            stop: The batch after the last one, at most `num_batches`.

        Returns:
            int64 array, padding included, not to be written to.
        """
        whole = self.length // self.batch_size if self.shard[1] == 1 else first
        drawn = min(max(whole, first), stop)
        pieces = [self.batch(epoch, index).rows for index in range(drawn, stop)]
        if drawn > first:
            size = self.batch_size
            pieces.insert(0, self.positions(epoch, first * size, drawn * size))
        return np.concatenate(pieces)

    def together(self, epoch: int, first: int, stop: int) -> PlannedBatch:
        """What `batch` gives for each of several batches, one after another.

        Args:
            epoch: Epoch of the data, from 0.
            first: Number of the first batch.
            stop: The batch after the last one, at most `num_batches`.
        """
        rows, weights = self.rows_ahead(epoch, first, stop), None
        if self.remainder == "pad":
            weights = np.ones(len(rows), np.float32)
            if stop == self.num_batches:  # no other has padding
                weights[-self.batch_size :] = self.batch(epoch, stop - 1).weights
        place = first * self.shard[1] + self.shard[0]
        return PlannedBatch(epoch, first, rows, weights, place)

    def stretch(self, first: int, most: int) -> int:
        """Where to stop reading ahead, so that neighbouring rows are read once.

        At a border of the sampler's windows, if it has any (`window_at`) and one is
        near enough; otherwise, in one of equal parts up to the next border.

        Args:
            first: Number of the first batch.
            most: Batches that may be read, at least 1.

        Returns:
            The batch after the last one, in ``(first, first + most]``.
        """
        size, limit = self.global_batch_size, min(first + most, self.num_batches)
        window_at = getattr(self.sampler, "window_at", None)
        if window_at is None or limit == self.num_batches:
            return limit
        # As in `cuts`: a batch on a border is in the windows on both sides.
        last = min((limit + 1) * size, self.length) - 1
        begin, end = window_at(self.num_served, last)
        stop: int = begin // size
        if stop <= first:
            rest = -(-end // size) - first
            parts = -(-rest // (limit - first))
            stop = first + -(-rest // max(parts, 1))
        return min(max(stop, first + 1), limit)

    def cuts(self, stop: int) -> bool:
        """Whether to stop before batch `stop` cuts one of the sampler's windows.

        A batch on a border belongs to the windows on both sides, which no stop helps.
        """
        window_at = getattr(self.sampler, "window_at", None)
        if window_at is None or stop >= self.num_batches:
            return False
        size = self.global_batch_size
        last = min((stop + 1) * size, self.length) - 1
        return bool(window_at(self.num_served, last)[0] // size != stop)

    def positions(self, epoch: int, start: int, stop: int) -> Integers:
        """The rows at positions ``start .. stop - 1`` of the order of `epoch`.

        Returns:
            int64 array of shape (stop - start,), not to be written to.

        Raises:
            ValueError: The sampler broke its contract.
        """
        return self._order.positions(epoch, start, stop)

    def check_same(self, where: str) -> None:
        """Raises ValueError where processes have other orders, and says `where`."""
        with one_order(where):
            order_seed(self.sampler)  # a subclass may make its order of it by itself
            self.sampler.rows(self.num_served, 0, 0, 1)

    @property
    def trained_rows(self) -> int:
        """Rows, padding aside, that all processes together serve in an epoch."""
        return min(self.num_batches * self.global_batch_size, self.length)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of the first rows, of the subset, and of what a sampler holds.

        What differs in sampler or seed shows in the rows. Two subsets, or the
        weights of two samplers, may differ in places that no early row comes from.
        """
        rows = self.positions(0, 0, min(self.length, 256)).astype("<i8")
        digest = hashlib.blake2b(rows.tobytes(), digest_size=8)
        if self.subset is not None:
            digest.update(self.subset.astype("<i8", copy=False).data)
        digest.update(getattr(self.sampler, "digest", b""))
        return digest.hexdigest()


def _checked_shard(shard: Any) -> tuple[int, int]:
    if not isinstance(shard, tuple | list) or len(shard) != 2:
        raise TypeError(
            f"`shard` must be a pair (index, count); received {shown(shard)}. "
            f"Pass for example shard=(0, 1)."
        )
    count = integer("shard[1]", shard[1], minimum=1)
    return integer("shard[0]", shard[0], minimum=0, maximum=count - 1), count


def _runs(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Cuts positions that go on past the end of the order into runs within it."""
    runs = []
    while start < stop:
        first = start % length
        size = min(stop - start, length - first)
        runs.append((first, first + size))
        start += size
    return runs

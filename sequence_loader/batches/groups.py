"""Small batches that are asked for in order are read several at a time.

Reading 128 rows of some 90 values takes as long as the calls that find and check
them; sixteen batches in one reading take half. The batches are the same.
"""

from __future__ import annotations

from typing import Any

from sequence_loader.batches.batch import Batch
from sequence_loader.batches.reader import BatchReader
from sequence_loader.order.plan import BatchPlan, PlannedBatch
from sequence_loader.rows.csr import CsrRows

GROUP_BATCHES, GROUP_BYTES = 16, 1 << 21
"""Batches in a group, and what they should take together at most, if each takes what
the one before them took."""

IN_ORDER_BATCHES = 2
"""Batches, each the one after the last, from which the next are expected as well:
in an order that is permuted, a single such pair is chance."""

_Key = tuple[BatchPlan, int, int]


def group_size(nbytes: int, most: int = GROUP_BATCHES) -> int:
    """How many batches like one of `nbytes` go into a group; 1 for large ones."""
    return max(1, min(most, GROUP_BYTES // max(nbytes, 1)))


class GroupReader:
    """Reads batch after batch. Safe to share by threads; picklable.

    Data must not change between two batches that are asked for in order.

    Args:
        reader: Reads batches.
        owns: Whether sparse rows are served as they are read, and must not keep the
            memory of a whole group alive.
    """

    def __init__(self, reader: BatchReader, owns: bool) -> None:
        self._reader, self._owns = reader, owns
        # Replaced whole. What is taken out is taken by one thread.
        self._ready: dict[_Key, Batch] = {}
        self._last: _Key | None = None
        self._in_order = self._size = 0
        self._kept = 0  # batches that were ever kept ready

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupReader, (self._reader, self._owns)

    def read(self, plan: BatchPlan, planned: PlannedBatch) -> Batch:
        """What ``reader.read(planned)`` gives, a batch of `plan`."""
        epoch, number = planned.epoch, planned.number
        follows = self._last == (plan, epoch, number - 1)
        self._last = plan, epoch, number
        self._in_order = self._in_order + 1 if follows else 0
        found = self._ready.pop(self._last, None)
        if found is not None:
            return found
        self._kept -= len(self._ready)  # nobody has asked for them
        self._ready = {}
        stop = min(number + group_size(self._size), plan.num_batches)
        if self._in_order >= IN_ORDER_BATCHES and stop > number + 1:
            group = self._group(plan, epoch, range(number, stop))
            if group:
                # Of rows sorted by length, those that were read last are the measure.
                self._size = _nbytes(group[-1])
                keys = [(plan, epoch, other) for other in range(number + 1, stop)]
                self._kept += len(keys)
                self._ready = dict(zip(keys, group[1:]))  # threads take from it
                return group[0]
        batch = self._reader.read(planned)
        self._size = _nbytes(batch)
        return batch

    @property
    def ahead(self) -> int:
        """Batches that are kept ready now."""
        return len(self._ready)

    @property
    def prepared(self) -> int:
        """Batches that were ready when asked for; about, if threads ask at once."""
        return self._kept - len(self._ready)

    def _group(self, plan: BatchPlan, epoch: int, numbers: range) -> list[Batch]:
        if not self._reader.reads_together:
            return []
        try:
            return self._reader.read_together(plan, epoch, numbers, copy=self._owns)
        except Exception:
            return []  # the batch that cannot be read raises when it is read by itself


def _nbytes(batch: Batch) -> int:
    return sum(
        leaf.indices.nbytes + leaf.data.nbytes
        if isinstance(leaf, CsrRows)
        else leaf.nbytes
        for leaf in batch.leaves()
    )

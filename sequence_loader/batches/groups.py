"""Small batches that are asked for in order are read several at a time.

Reading 128 rows of some 90 values takes as long as the calls that find and check
them; sixteen batches in one reading take half. The batches are the same.
"""

from __future__ import annotations

from typing import Any

from sequence_loader.batches.reader import Batch, BatchReader
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows

AT_ONCE, AT_ONCE_BYTES = 16, 1 << 21
"""Batches in a group, and what they should take together at most, if each takes what
the one before them took."""

IN_ORDER = 2
"""Batches, each the one after the last, from which the next are expected as well:
in an order that is permuted, a single such pair is chance."""


def group_size(nbytes: int, most: int = AT_ONCE) -> int:
    """How many batches like one of `nbytes` go into a group; 1 for large ones."""
    return max(1, min(most, AT_ONCE_BYTES // max(nbytes, 1)))


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
        self._ready: dict[tuple[BatchPlan, int, int], Batch] = {}
        self._last: tuple[BatchPlan, int, int] | None = None
        self._in_order = self._size = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupReader, (self._reader, self._owns)

    def read(self, plan: BatchPlan, epoch: int, index: int) -> Batch:
        """What ``reader.read(plan.batch(epoch, index))`` gives.

        Args:
            plan: Which rows are in which batch.
            epoch: Epoch of the data.
            index: Batch number.
        """
        follows = self._last == (plan, epoch, index - 1)
        self._last = plan, epoch, index
        self._in_order = self._in_order + 1 if follows else 0
        found = self._ready.pop((plan, epoch, index), None)
        if found is not None:
            return found
        self._ready = {}
        stop = min(index + group_size(self._size), plan.num_batches)
        if self._in_order >= IN_ORDER and stop > index + 1:
            group = self._group(plan, epoch, range(index, stop))
            if group is not None:
                # Of rows sorted by length, those that were read last are the measure.
                self._size = _nbytes(group[plan, epoch, stop - 1])
                batch = group.pop((plan, epoch, index))
                self._ready = group  # from here on, other threads take from it
                return batch
        batch = self._reader.read(plan.batch(epoch, index))
        self._size = _nbytes(batch)
        return batch

    def _group(
        self, plan: BatchPlan, epoch: int, indices: range
    ) -> dict[tuple[BatchPlan, int, int], Batch] | None:
        if not self._reader.reads_together:
            return None
        for index in indices:
            self._reader.look_ahead(plan, epoch, index)
        planned = plan.together(epoch, indices.start, indices.stop)
        try:
            batches = self._reader.read_together(
                planned, plan.batch_size, copy=self._owns
            )
        except Exception:
            return None  # who asks for the batch that cannot be read is told
        return {(plan, epoch, i): batch for i, batch in zip(indices, batches)}


def _nbytes(batch: Batch) -> int:
    return sum(
        leaf.indices.nbytes + leaf.data.nbytes
        if isinstance(leaf, CsrRows)
        else leaf.nbytes
        for leaf in batch.leaves()
    )

"""The stages of a batch, composed: (epoch, number) -> `Batch` -> what Keras takes.

Who reads the features of a batch:

    asked for        condition                                read by
    ---------        ---------                                -------
    by `seq[i]`      workers run: there is a transform, or    `Workers`: prepared ahead
                     code or a disk that threads help with    in order, else split
    by `seq[i]`      in order, small, of fast sources         `GroupReader`: several at
                                                              once, the next kept ready
    by `seq[i]`      otherwise                                `BatchReader`, here
    by a dataset     several numbers in a call                `BatchReader`, together
    by a dataset     threads of `tf.data` ask side by side    `Workers` if they are
                                                              processes or transform,
                                                              else `BatchReader`, here
    by a dataset     one number at a time                     as by `seq[i]`
    of another       what it holds is to be counted           `BatchReader`, here
    process

Whoever reads it, a batch has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

from sequence_loader.arrays import Array
from sequence_loader.backends.jax import SparsePart, sparse_parts
from sequence_loader.backends.tensors import to_csr, to_sparse
from sequence_loader.batches.assembler import Assembler
from sequence_loader.batches.batch import Batch
from sequence_loader.batches.groups import GroupReader
from sequence_loader.batches.reader import BatchReader
from sequence_loader.batches.structures import Structure, map_structure
from sequence_loader.feed.stats import FeedCounters, FeedStats
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.seeds import DrawnSeed
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.values import DoesNotFit
from sequence_loader.workers.prefetch import Workers


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Makes the batches of a sequence. Safe to share by threads; picklable.

    Attributes:
        plan: Stage 1: (epoch, number) -> `PlannedBatch`.
        reader: Stage 2: -> `Batch` of rows, targets and weights.
        groups: Stage 2 of several small batches at a time.
        workers: Stage 2, the features, ahead and elsewhere.
        assembler: Stage 3: -> `Batch` of the served dtype.
        seed: What `augment` draws from, with the epoch and the batch.
        parallel_calls: How many threads of a dataset ask side by side.
        counters: What it does is added to these.
    """

    plan: BatchPlan
    reader: BatchReader
    groups: GroupReader
    workers: Workers
    assembler: Assembler
    seed: int
    parallel_calls: int
    counters: FeedCounters

    def __post_init__(self) -> None:
        if self.plan.shard[1] > 1:
            self.check_same(f"shard={self.plan.shard}")

    def check_same(self, where: str) -> None:
        """Raises ValueError where processes make other batches of the same number.

        Args:
            where: Why they must not, for the error.
        """
        self.plan.check_same(where)
        if self.assembler.augment is not None and isinstance(self.seed, DrawnSeed):
            raise ValueError(
                f"`seed` must be given for `augment` where processes train one model: "
                f"each counts what others serve, and they go on from one checkpoint; "
                f"received seed=None with {where}. Pass one in every process, such as "
                f"seed=7."
            )

    def batch(self, epoch: int, number: int, *, by_threads: bool = False) -> Batch:
        """One batch.

        Args:
            epoch: Epoch of the data.
            number: Number of the batch.
            by_threads: Whether several threads ask side by side.
        """
        began = perf_counter()
        planned = self.plan.batch(epoch, number)
        self.reader.look_ahead(self.plan, epoch, number)
        features = self.workers.features(self.plan, planned, by_threads)
        if features is None and not by_threads:
            read = self.groups.read(self.plan, planned)
        else:
            read = self.reader.read(planned, features)
        return self._counted(read, epoch, number, began)

    def batches(self, epoch: int, numbers: range) -> Iterator[Batch]:
        """Neighbouring batches, for a dataset; see `batch`."""
        if len(numbers) == 1 or not self.reader.reads_together:
            by_threads = self.parallel_calls > 1
            for number in numbers:
                yield self.batch(epoch, number, by_threads=by_threads)
            return
        began = perf_counter()
        together = self.reader.read_together(self.plan, epoch, numbers)
        for number, read in zip(numbers, together):
            yield self._counted(read, epoch, number, began)
            began = perf_counter()

    def served(self, batch: Batch, epoch: int, number: int) -> tuple[Any, ...]:
        """Stages 4 and 5 of what `batch` gave, for ``seq[i]``."""
        parts: tuple[Structure, ...] = ()
        if self.assembler.output == "sparse":
            count = partial(self.count_values, batch.features, epoch, number)
            parts = (sparse_parts(batch.features, self.plan.shard, count),)
        features = map_structure(self._tensor, batch.features, *parts)
        return Batch(features, batch.targets, batch.weights).packed()

    def _tensor(self, leaf: CsrRows | Array, part: SparsePart | None = None) -> Any:
        if not isinstance(leaf, CsrRows):
            return leaf
        if self.assembler.output == "csr":
            return to_csr(leaf)
        return to_sparse(leaf, self.assembler.pool, part)

    def stats(self) -> FeedStats:
        """What was done in this process; see `FeedStats`."""
        workers, read = self.workers.counts(), self.reader.read_counts()
        return replace(
            self.counters.stats(),
            worker_seconds=workers.seconds,
            prepared=workers.prepared + self.groups.prepared,
            ahead=workers.ahead + self.groups.ahead,
            bytes_read=workers.bytes_read + read.bytes_read,
            window_hits=read.window_hits,
            window_misses=read.window_misses,
        )

    def count_values(
        self, features: Structure, epoch: int, number: int, shard: int
    ) -> Structure:
        """How many values the batch of a process of the job holds, at most.

        Args:
            features: The assembled batch of this process.
            epoch: Epoch of the data.
            number: Number of the batch.
            shard: Index of the process.

        Returns:
            An integer for each input.
        """
        planned = self.plan.batch(epoch, number, shard)
        if not self.reader.has_transform and self.assembler.augment is None:
            return self.reader.count_values(planned.rows)
        if shard != self.plan.shard[0]:
            read = self.reader.read(planned)
            features = self._assembled(read, epoch, number, shard).features
        return map_structure(_count_values, features)

    @property
    def one_by_one(self) -> bool:
        """Whether a batch may take long, so that none is to wait for the next."""
        return (
            self.parallel_calls > 1
            or self.reader.may_be_slow
            or self.assembler.augment is not None
        )

    def _counted(self, read: Batch, epoch: int, number: int, began: float) -> Batch:
        done = perf_counter()
        batch = self._assembled(read, epoch, number)
        self.counters.made(done - began, perf_counter() - done)
        return batch

    def _assembled(
        self, read: Batch, epoch: int, number: int, shard: int | None = None
    ) -> Batch:
        index, count = self.plan.shard
        place = number * count + (index if shard is None else shard)
        try:
            return self.assembler.assemble(read, self.seed, epoch, place)
        except DoesNotFit as error:
            raise error.of_rows(self.plan.batch(epoch, number, shard).rows) from None


def _count_values(leaf: CsrRows | Array) -> int:
    return len(leaf.data) if isinstance(leaf, CsrRows) else 0

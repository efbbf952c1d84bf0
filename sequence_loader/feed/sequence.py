"""SparseBatchSequence: the stages behind the contract of a Keras Sequence."""

from __future__ import annotations

import operator
from time import perf_counter
from typing import Any

from sequence_loader.arrays import Integers
from sequence_loader.backends.jax import check_columns, held_as
from sequence_loader.backends.refusals import check_read
from sequence_loader.backends.which_keras import check_not_forked, floatx, keras_backend
from sequence_loader.batches.assembler import Assembler, Augment
from sequence_loader.batches.groups import GroupReader
from sequence_loader.batches.reader import BatchReader
from sequence_loader.batches.structures import Structure, named_parts
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.feed.pipeline import Pipeline
from sequence_loader.feed.stateful_sequence import StatefulSequence
from sequence_loader.feed.stats import FeedCounters, FeedStats
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.row_ids import checked_subset
from sequence_loader.order.samplers import Sampler, chosen_sampler
from sequence_loader.order.seeds import checked_seed
from sequence_loader.rows.indexes import check_positions, check_sampler
from sequence_loader.workers.prefetch import Workers


class SparseBatchSequence(StatefulSequence):
    """Batches of sparse rows for Keras, every row exactly once per epoch.

    A ``tf.keras.utils.Sequence``: pass it to `fit`, `evaluate` or `predict`, or
    index it. `predict` answers in the order that is served, that of `batch_rows` after
    it: for one answer a row, in order, leave `shuffle` and `remainder` as they are.
    Batch `i` is made in five stages:

    1. `BatchPlan`: (epoch, i) -> row ids and padding weights (`PlannedBatch`)
    2. `BatchReader`: row ids -> sparse rows, targets, weights (`Batch`), with the
       user's `transform`, which `Workers` may run ahead and elsewhere
    3. `Assembler`: -> features of the served dtype, dense in recycled memory or
       sparse (`Batch`), with the user's `augment`
    4. `tensors`: -> the backend's arrays and sparse tensors
    5. packed as ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``

    `EpochTracker` follows who reads and decides which epoch is served: the order of a
    pass is fixed when it begins, and nobody else who reads changes it.
    ``seq[i]`` is a pure function of (data, seed, epoch, i).

    Args:
        x: Row source: scipy sparse matrix or array of shape (rows, features),
            array or memmap of shape (rows, ...), a table of numbers (pandas, polars,
            pyarrow; sparse columns of pandas are sparse rows), or any sequence
            indexed by row (a list of texts; it needs a `transform`). A dict, tuple or
            list of row sources with the same number of rows feeds a model of several
            inputs. Like `y`, it must not change within an epoch: batches are read
            ahead.
        y: Targets: array-like of shape (rows, ...), scipy sparse or a store (served
            dense), or a dict, tuple or list of arrays. They keep their dtype, and go
            by position: of two tables of pandas with one index, in other orders, one
            is refused. A row without a number is refused, unless `rows` leaves it
            out; of several numbers a row, some may be NaN, with a warning. `None`
            takes those of the store that `x` is; a store among several inputs brings
            none.
        sample_weight: Array-like of shape (rows,), or one for each target. `None`
            takes those of the store that `x` is.
        batch_size: Rows in a batch.
        shuffle: `False`, rows in order; `True`, a new uniform permutation every
            epoch; ``"block"``, `BlockShuffleSampler`, for data on disk.
        seed: Integer in [0, 2^64). `None` draws one and keeps it, which processes
            that share the rows may not, nor pass one that was drawn so. A `sampler`
            has a seed of its own: this one is for `augment` then.
        sampler: A sampler, instead of `shuffle`; `WeightedSampler` and
            `BalancedSampler` draw with replacement.
        rows: Serve only these rows: distinct row ids, which are positions and no
            labels of an index, or a boolean mask.
        output: ``"dense"``: arrays. ``"sparse"``: ``tf.SparseTensor``, JAX ``BCOO``
            or a ``torch.sparse_csr`` tensor. ``"csr"``: ``scipy.sparse.csr_array``,
            for loops of your own; Keras takes it on JAX alone. Inputs whose rows are
            dense stay arrays.
        dtype: dtype of served features, or a structure like `x` of dtypes and
            `None`. By default integers and booleans in arrays keep theirs, and
            floats and sparse rows become ``keras.config.floatx()``. Floats are
            rounded; another value that the dtype cannot hold is refused: an integer
            that a float would round, a fraction as an integer, one that overflows.
        transform: ``rows -> rows``, a callable from a block of the source (the same
            kind of sparse matrix or table, an array, or a list of items) to scipy
            sparse, an array or a table with one row for each. For several inputs, a
            dict or tuple.
        augment: ``(x, rng) -> x`` on the assembled batch (arrays, or `csr_array`
            where the output is sparse); `rng` depends on (seed, epoch, batch) only,
            where the batch is that of one process: with more or fewer processes,
            rows stay together but draw other numbers.
        remainder: ``"keep"`` the smaller last batch, ``"drop"`` it, or ``"pad"`` it
            with copies of rows whose `sample_weight` is 0 (Keras takes no
            `class_weight` beside one).
        shard: ``(index, count)`` of this training process: it serves the index-th
            part of each global batch of ``count * batch_size`` rows. `current_shard`
            reads it from the running job.
        workers: How many threads prepare batches beside the training; 0 and 1 start
            none, and the thread that asks does the work. So it does where threads
            would only be slower: rows in memory or in a store, without a transform.
        use_multiprocessing: Whether `transform` runs in as many processes instead.
            They start with the first batch, and get the transform as it is then.
        max_queue_size: How many batches are prepared ahead, as long as they are
            asked for in order.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or they do not fit together.

    Example:
        >>> import numpy as np, scipy.sparse as sp
        >>> x = sp.random(1000, 50, density=0.1, format="csr")
        >>> train = SparseBatchSequence(x, np.arange(1000), batch_size=32, shuffle=True)
        >>> len(train)
        32
        >>> features, targets = train[0]
        >>> features.shape, targets.shape
        ((32, 50), (32,))
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int = 32,
        shuffle: bool | str = False,
        seed: int | None = None,
        sampler: Sampler | None = None,
        rows: Any = None,
        output: str = "dense",
        dtype: Any = None,
        transform: Structure | None = None,
        augment: Augment | None = None,
        remainder: str = "keep",
        shard: tuple[int, int] = (0, 1),
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        count = integer("workers", workers, minimum=0)
        self._queue_size = integer("max_queue_size", max_queue_size, minimum=1)
        one_of("use_multiprocessing", use_multiprocessing, (False, True))
        drawn, seed = seed is None, checked_seed(seed)
        reader = BatchReader(x, y, sample_weight, transform, dtype, floatx(), held_as)
        parts = named_parts(x, y, sample_weight, transform, reader.num_rows)
        check_positions(rows, parts)
        subset = checked_subset(rows, reader.num_rows)
        check_sampler(sampler, subset, parts)
        as_read = output == "csr" or (output == "sparse" and keras_backend() == "torch")
        pipeline = Pipeline(
            workers=Workers(reader, count, use_multiprocessing, self._queue_size),
            plan=BatchPlan(
                num_rows=reader.num_rows,
                sampler=chosen_sampler(sampler, shuffle, seed),
                batch_size=batch_size,
                remainder=remainder,
                shard=shard,
                subset=subset,
            ),
            assembler=Assembler(
                output,
                dtype,
                augment,
                inputs=reader.names,
                floats=floatx(),
                held_as=held_as,
            ),
            reader=reader,
            groups=GroupReader(reader, owns=as_read),
            seed=seed,
            parallel_calls=max(count, 1),
            counters=FeedCounters(),
        )
        if sampler is None:  # others may leave rows out
            reader.check_numbers(subset)
        if output == "sparse":
            check_columns(reader.num_columns)
        super().__init__(pipeline, shuffle, reseeds=drawn)

    def batch_rows(self, index: int) -> Integers:
        """The row ids of a batch of the current epoch, padding included.

        Args:
            index: Batch number; negative numbers count from the end.

        Returns:
            int64 array of shape (batch,).
        """
        return self._plan.batch(self.epoch, self._checked_index(index)).rows.copy()

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Batch `index` of the current epoch.

        Args:
            index: Batch number; negative numbers count from the end.

        Returns:
            ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.

        Raises:
            IndexError: There is no such batch.
            ValueError: A value does not fit the dtype, or a row has no target.
            WorkerError: A worker failed.
            RuntimeError: It would use TensorFlow or JAX in a forked process.
        """
        began = perf_counter()
        if self._output == "sparse":
            check_not_forked("seq[i] with output='sparse'")
        index = self._checked_index(index)
        check_read(self._output)
        epoch = self._fixed.epoch
        if epoch is None:
            epoch = self._epochs.read(self._reader(), index)
        elif self._fixed.marks:
            self._epochs.read_at(epoch, index)
        batch = self._pipeline.batch(epoch, index)
        served = self._pipeline.served(batch, epoch, index)
        rows = self._plan.rows_in(index, index + 1)
        self._pipeline.counters.served(1, rows, began, perf_counter())
        return served

    def to_tf_dataset(self) -> Any:
        """The batches as a ``tf.data.Dataset``, the fastest way into `fit`.

        It serves what ``seq[i]`` serves, in order. Each full iteration is followed by
        the next epoch; one that is left early is served again. `workers` batches are
        prepared at once and `max_queue_size` kept ready, of large ones as many as take
        256 MiB. A subclass that overrides ``seq[i]``, `len` or a hook is asked for one
        batch after the other instead; its first two batches tell the shapes. Its
        `on_epoch_begin` is called before an iteration, and its `on_epoch_end` when the
        last batch has been read.

        Returns:
            ``tf.data.Dataset`` of ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.
            It is not sharded again under ``tf.distribute``.

        Raises:
            ValueError: The output is ``"csr"``, or sparse on the torch backend; or the
                batches of a subclass are not alike.
            TypeError: A subclass serves what is no batch for Keras.
            RuntimeError: This is a forked process.
        """
        from sequence_loader.feed.dataset import check_output, make_dataset
        from sequence_loader.feed.overridden import dataset_of_override

        check_not_forked("to_tf_dataset()")
        check_output(self._output)
        self._check_iteration()
        iterations: dict[str, Any] = {
            "epoch": self.epoch,
            "begin": self._begin_iteration,
            "served": self._epochs.iterated,
        }
        served = type(self)
        if any(getattr(served, name) is not own for name, own in _SERVING.items()):
            count = len(self) if self.num_batches is None else self.num_batches
            hooks = {"hook": self._call_hook, **iterations}
            dataset = dataset_of_override(self._read_at, count, **hooks)
        else:
            dataset = make_dataset(
                lambda: self._pipeline, prefetch=self._queue_size, **iterations
            )
        dataset.made_by = self  # asked for by `SequenceCheckpoint`
        return dataset

    def stats(self) -> FeedStats:
        """What the feed has done: time waited for it, rows, cache hits, bytes read.

        Example:
            >>> before = seq.stats()
            >>> model.fit(seq, shuffle=False)
            >>> print(seq.stats() - before)
        """
        return self._pipeline.stats()

    def __repr__(self) -> str:
        """The live state, on one line."""
        plan = self._plan
        shard = f", shard={plan.shard}" if plan.shard[1] > 1 else ""
        return (
            f"<SparseBatchSequence of {self.num_rows} rows in {len(self)} batches of "
            f"{plan.batch_size}, output={self._output!r}, "
            f"order={type(plan.sampler).__name__}, seed={self.seed}{shard}, "
            f"epoch {self.epoch}, {self._epochs.served} of {len(self)} batches served, "
            f"{self._pipeline.workers}>"
        )

    def _checked_index(self, index: int) -> int:
        try:
            number = operator.index(index)
        except TypeError:
            raise TypeError(
                f"a batch number must be an integer; received {shown(index)} of type "
                f"{type(index).__name__}. Use for example seq[0], or iterate."
            ) from None
        count = self._plan.num_batches  # a subclass may say another len()
        if not -count <= number < count:
            raise IndexError(
                f"batch number must be in [{-count}, {count}), there are "
                f"{count} batches; received {number}."
            )
        return number % count


_SERVING = {
    name: getattr(SparseBatchSequence, name)
    for name in (
        "__getitem__", "__len__", "num_batches", "on_epoch_begin", "on_epoch_end"
    )
}
"""What decides on the batches: `to_tf_dataset` asks a subclass that overrides one."""

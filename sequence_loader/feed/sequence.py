"""SparseBatchSequence: the stages behind the contract of a Keras Sequence."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any

from sequence_loader.arrays import Integers
from sequence_loader.backends import keras_frames
from sequence_loader.backends.jax import check_columns, held_as, sparse_parts
from sequence_loader.backends.refusals import (
    check_dataset,
    check_epoch,
    check_no_scipy,
    check_read,
)
from sequence_loader.backends.tensors import to_csr, to_sparse
from sequence_loader.backends.which_keras import (
    check_not_forked,
    floatx,
    keras_backend,
    uses_legacy_keras,
)
from sequence_loader.batches.assembler import Assembler, Augment
from sequence_loader.batches.groups import GroupReader
from sequence_loader.batches.reader import Batch, BatchReader
from sequence_loader.batches.structures import Structure, leaves, map_structure
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.feed.epochs import EpochTracker
from sequence_loader.feed.pipeline import Pipeline
from sequence_loader.feed.stats import FeedCounters, FeedStats
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.position import Position, checked_epoch
from sequence_loader.order.row_ids import checked_subset
from sequence_loader.order.samplers import Sampler, checked_seed, chosen_sampler
from sequence_loader.rows.csr import CsrRows
from sequence_loader.workers.prefetch import Workers

if uses_legacy_keras():
    from tf_keras.utils import Sequence as KerasSequence
else:
    from keras.utils import PyDataset as KerasSequence


class SparseBatchSequence(KerasSequence):  # type: ignore[misc]
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
            dense), or a dict, tuple or list of arrays. They keep their dtype. A row
            without a number is refused, unless `rows` leaves it out; of several
            numbers a row, some may be NaN, with a warning. `None` takes those of the
            store that `x` is; a store among several inputs brings none.
        sample_weight: Array-like of shape (rows,), or one for each target. `None`
            takes those of the store that `x` is.
        batch_size: Rows in a batch.
        shuffle: `False`, rows in order; `True`, a new uniform permutation every
            epoch; ``"block"``, `BlockShuffleSampler`, for data on disk.
        seed: Integer in [0, 2^64). `None` draws one and keeps it. A `sampler` has a
            seed of its own: this one is for `augment` then.
        sampler: A sampler, instead of `shuffle`; `WeightedSampler` and
            `BalancedSampler` draw with replacement.
        rows: Serve only these rows: distinct row ids, or a boolean mask.
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
        # Keras is always shown one worker: its own enqueuer repeats batches.
        if uses_legacy_keras():
            super().__init__()
        else:
            super().__init__(workers=1, use_multiprocessing=False)
        self._seed_given = seed is not None
        seed = checked_seed(seed)
        self._shuffle = shuffle
        reader = BatchReader(x, y, sample_weight, transform)
        subset = checked_subset(rows, reader.num_rows)
        as_read = output == "csr" or (output == "sparse" and keras_backend() == "torch")
        self._pipeline = Pipeline(
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
        self._reset_tracking(epoch=0)

    @property
    def _plan(self) -> BatchPlan:
        return self._pipeline.plan

    @property
    def _output(self) -> str:
        return self._pipeline.assembler.output

    def __len__(self) -> int:
        """The number of batches."""
        return self._plan.num_batches

    @property
    def num_batches(self) -> int:
        """The number of batches in an epoch."""
        return len(self)  # which a subclass may override, and tf-keras asks for

    @property
    def num_rows(self) -> int:
        """The number of rows served: all, or those of `rows`."""
        return self._plan.num_served

    @property
    def seed(self) -> int:
        """The seed given, or the one drawn."""
        return self._pipeline.seed

    @property
    def epoch(self) -> int:
        """The epoch of the data that is served now, from 0.

        Where Keras asks for a batch, the epoch of the pass that it is for. After a
        pass of `fit`, `evaluate` or `predict` still the one that was served: the next
        pass moves it on.
        """
        fixed = self._fixed.epoch
        return self._epochs.entered(self._reader()) if fixed is None else fixed

    def set_epoch(self, epoch: int) -> None:
        """Serves `epoch` from its start, for loops that do not call `fit`.

        Right behind `load_state_dict`, the epoch of the state goes on where that was.
        """
        self._epochs.set(checked_epoch("epoch", epoch))

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
        features = self._served(batch.features, epoch, index)
        rows = self._plan.rows_in(index, index + 1)
        self._pipeline.counters.served(1, rows, began, perf_counter())
        return Batch(features, batch.targets, batch.weights).packed()

    def _served(self, features: Structure, epoch: int, index: int) -> Structure:
        """Stage 4."""
        if self._output != "sparse":
            return map_structure(
                lambda f: to_csr(f) if isinstance(f, CsrRows) else f, features
            )
        pool = self._pipeline.assembler.pool
        count = partial(self._pipeline.count_values, features, epoch, index)
        parts = sparse_parts(features, self._plan.shard, count)
        return map_structure(
            lambda f, part: to_sparse(f, pool, part) if isinstance(f, CsrRows) else f,
            features,
            parts,
        )

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The batches of the current epoch, in order; `set_epoch` starts the next.

        Behind `load_state_dict`, those that were not yet trained.
        """
        # A pass of Keras keeps an epoch of its own; see `EpochTracker`.
        if self._reader().consumer is not None:
            for index in range(len(self)):
                yield self._read_at(None, index, marks=True)
            return
        epoch = self.epoch
        for index in range(self._epochs.loop_begins(epoch), len(self)):
            batch = self._read_at(epoch, index, marks=True)
            self._epochs.hand_out(epoch, index + 1)
            yield batch

    def _read_at(self, epoch: int | None, index: int, *, marks: bool = False) -> Any:
        """``self[index]`` of an epoch, also where a subclass overrides it."""
        fixed = self._fixed
        before = fixed.epoch, fixed.marks
        fixed.epoch, fixed.marks = epoch, marks
        try:
            return self[index]
        finally:
            fixed.epoch, fixed.marks = before

    def _reader(self) -> keras_frames.Reader:
        """Who calls a method of this sequence."""
        found = keras_frames.reader()
        if not self._epochs.knows(found.consumer):
            self._epochs.meet(found.consumer, keras_frames.running_call().around)
        if self._epochs.resumes:
            self._check_resumes(found.consumer)
        return found

    def _check_resumes(self, consumer: Any) -> None:
        """Refuses a `fit` that would train the first part of an epoch twice."""
        if consumer is not None and keras_frames.is_of_fit(consumer):
            raise ValueError(
                f"`fit` begins epochs at their first batch; received a state of epoch "
                f"{self._epochs.epoch} of which {self._epochs.resumes} batches are "
                f"trained. Go on in a loop of your own, have `fit` save and resume "
                f"with the callback SequenceCheckpoint, or pass load_state_dict a "
                f"state whose `rows_trained` is 0 to train them again."
            )

    def on_epoch_begin(self) -> None:
        """Called by Keras, or by a wrapper or a loop of your own before a pass."""
        check_epoch(self._plan.shard)
        if self._output == "csr" and keras_backend() == "jax":
            check_columns(self._pipeline.reader.num_columns)
        elif self._output == "csr":
            rows = self._plan.batch(self.epoch, 0).rows
            check_no_scipy(leaves(self._pipeline.reader.read_features(rows)))
        self._epochs.begin(self._reader())

    def on_epoch_end(self) -> None:
        """Called by Keras, or by a wrapper or a loop of your own after a pass.

        Once all batches were read, the next epoch follows, whoever calls: at once in
        a loop of your own, otherwise where the next pass begins.
        """
        reader = self._reader()
        self._epochs.end(
            reader,
            elsewhere=keras_frames.read_elsewhere(reader.consumer),
            trains=keras_frames.trains(),
        )

    def to_tf_dataset(self) -> Any:
        """The batches as a ``tf.data.Dataset``, the fastest way into `fit`.

        It serves what ``seq[i]`` serves, in order. Each full iteration is followed by
        the next epoch; one that is left early is served again. `workers` batches are
        prepared at once and `max_queue_size` kept ready, of large ones as many as take
        256 MiB. A subclass that overrides ``seq[i]`` or `len` is asked for one batch
        after the other instead; its first two batches tell the shapes.

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
        served = type(self)
        if any(getattr(served, name) is not own for name, own in _SERVING.items()):
            dataset = dataset_of_override(
                self._read_at,
                len(self) if self.num_batches is None else self.num_batches,
                epoch=self.epoch,
                begin=self._begin_iteration,
                served=self._epochs.iterated,
            )
        else:
            dataset = make_dataset(
                lambda: self._pipeline,
                epoch=self.epoch,
                begin=self._begin_iteration,
                served=self._epochs.iterated,
                prefetch=self._queue_size,
            )
        dataset.made_by = self  # asked for by `SequenceCheckpoint`
        return dataset

    def _check_iteration(self) -> None:
        check_dataset(self._output)
        self._pipeline.workers.resume()

    def _begin_iteration(self) -> tuple[int, int, int]:
        self._check_iteration()
        call = keras_frames.dataset_call()
        if self._epochs.resumes and not call.peeks:
            self._check_resumes(call.consumer)
        return self._epochs.begin_iteration(call)

    def stats(self) -> FeedStats:
        """What the feed has done: time waited for it, rows, cache hits, bytes read.

        Example:
            >>> before = seq.stats()
            >>> model.fit(seq, shuffle=False)
            >>> print(seq.stats() - before)
        """
        return self._pipeline.stats()

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where the sequence is, and what its order depends on, as values for JSON.

        Saved after any batch of a loop ``for batch in sequence``, it continues with
        the next one. How much was trained of what others read, `fit` or a dataset, is
        not known: it then names the start of the epoch, in the middle of a pass that
        of the pass, else the one that comes next.

        Args:
            batches: How many batches of the epoch were trained, for loops that read
                ``sequence[i]`` or a dataset. By default as many as the `for` loop
                was given that read last.

        Returns:
            A dict; `rows_trained` counts those of all processes.

        Raises:
            TypeError: `batches` is not an integer.
            ValueError: There are not so many.

        Example:
            >>> import numpy as np
            >>> sequence = SparseBatchSequence(np.eye(6), batch_size=2)
            >>> for number, batch in enumerate(sequence):
            ...     if number == 1:  # the second batch was trained
            ...         break
            >>> again = SparseBatchSequence(np.eye(6), batch_size=2)
            >>> again.load_state_dict(sequence.state_dict())
            >>> len(list(again))
            1
        """
        epoch, handed_out = self._epochs.position
        if batches is None:
            batches = min(handed_out, self._plan.num_batches)
        else:
            batches = integer(
                "batches", batches, minimum=0, maximum=self._plan.num_batches
            )
        return self._position(epoch, batches).described()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where the sequence was that `state` comes from.

        The next `for` loop, or iteration of `to_tf_dataset()`, serves what is left of
        the epoch, and reads nothing of what comes before; the one after it serves a
        whole epoch. A seed that was drawn (``seed=None``) is replaced by that of the
        state. `fit` begins with a whole epoch, and refuses: see
        `SequenceCheckpoint`.

        Args:
            state: From `state_dict` of a sequence over the same rows; with the same
                rows in a batch of all processes, their number may differ.

        Raises:
            TypeError: `state` is not a dict.
            ValueError: It describes another order or other data; both sides are
                printed.
        """
        found = self._moved_to(state)
        self._pipeline = replace(self._pipeline, seed=found.seed, plan=found.plan)
        self._epochs.resume(found.epoch, found.batches)

    def _epoch_of_fit(self, consumer: Any) -> int:
        """The epoch that the running pass of a `fit` is served."""
        epoch = self._epochs.pass_epoch(consumer)
        if epoch is None:
            raise RuntimeError(
                "`fit` has not read this sequence: what it trained is not known, and "
                "SequenceCheckpoint cannot save it. Pass it the sequence itself."
            )
        return epoch

    def _resume_in_fit(
        self, consumer: Any, state: dict[str, Any], *, is_dataset: bool
    ) -> int:
        """Has the pass of a `fit` go on; returns how many batches it leaves out."""
        found = self._moved_to(state)
        self._pipeline = replace(self._pipeline, seed=found.seed, plan=found.plan)
        epoch, batches = found.epoch, found.batches
        if batches == self._plan.num_batches:
            epoch, batches = epoch + 1, 0
        if not self._epochs.knows(consumer):
            self._epochs.meet(consumer, ())
        self._epochs.resume(epoch, batches, consumer, leaves_out=is_dataset)
        return batches

    def _moved_to(self, state: Any) -> Position:
        own = self._position(0, 0)
        return own.moved_to(state, self._shuffle, reseed=not self._seed_given)

    def _position(self, epoch: int, batches: int) -> Position:
        data = self._pipeline.reader.fingerprint
        return Position(epoch, self.seed, self._plan, data, batches)

    def close(self) -> None:
        """Ends the workers. The sequence can be used again, and starts new ones."""
        self._pipeline.workers.close()

    def __enter__(self) -> SparseBatchSequence:
        """The sequence itself; it is closed at the end of the `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the sequence."""
        self.close()

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

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what belongs to this process."""
        state = self.__dict__.copy()
        # Processes of tf-keras get their copies as an iterator of it begins.
        starts = keras_frames.reader().is_enqueuer
        state["_epochs"] = self._epochs.upcoming() if starts else self.epoch
        del state["_fixed"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores at the start of the epoch it was pickled in."""
        epoch = state.pop("_epochs")
        self.__dict__.update(state)
        self._reset_tracking(epoch)

    def _reset_tracking(self, epoch: int) -> None:
        self._epochs = EpochTracker(self._plan.num_batches, epoch)
        self._fixed = _Fixed()

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


class _Fixed(threading.local):
    """What the running thread reads for an iteration of its own.

    Attributes:
        epoch: The epoch that the iteration serves; `None` outside of one.
        marks: Whether what it reads counts as read by a loop of the user's own.
    """

    epoch: int | None = None
    marks: bool = False


_SERVING = {
    name: getattr(SparseBatchSequence, name)
    for name in ("__getitem__", "__len__", "num_batches")
}
"""What decides on the batches: `to_tf_dataset` asks a subclass that overrides one."""

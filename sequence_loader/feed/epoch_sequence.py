"""A Keras Sequence that knows which epoch it serves to whom.

`keras_frames` tells who calls, and `EpochTracker` which epoch that is. What a batch is
made of is said by `SparseBatchSequence`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

from sequence_loader.backends import keras_calls, keras_frames
from sequence_loader.backends.jax import check_columns, shares_replica
from sequence_loader.backends.refusals import check_dataset, check_epoch, check_no_scipy
from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras
from sequence_loader.batches.structures import leaves
from sequence_loader.feed.epochs import EpochTracker
from sequence_loader.feed.own_loop import FixedEpoch
from sequence_loader.feed.pipeline import Pipeline
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.position import checked_epoch
from sequence_loader.order.samplers import SequentialSampler

if uses_legacy_keras():
    from tf_keras.utils import Sequence as KerasSequence
else:
    from keras.utils import PyDataset as KerasSequence

Own = TypeVar("Own", bound="EpochSequence")


class EpochSequence(KerasSequence):  # type: ignore[misc]
    """The epochs and the life of a sequence; see `SparseBatchSequence`.

    Args:
        pipeline: Makes the batches.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        # Keras is always shown one worker: its own enqueuer repeats batches.
        if uses_legacy_keras():
            super().__init__()
        else:
            super().__init__(workers=1, use_multiprocessing=False)
        self._pipeline = pipeline
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
        pass moves it on. Keras reads ahead, so a callback may see the epoch of batches
        that are not trained yet, where ``steps_per_epoch`` differs from ``len``.
        """
        fixed = self._fixed.epoch
        return self._epochs.entered(self._reader()) if fixed is None else fixed

    def set_epoch(self, epoch: int) -> None:
        """Serves `epoch` from its start, for loops that do not call `fit`.

        Right behind `load_state_dict`, the epoch of the state goes on where that was.
        """
        self._epochs.set(checked_epoch("epoch", epoch))

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

    def _call_hook(self, name: str) -> bool:
        """Calls what a subclass may override, of an iteration that says so itself.

        Returns:
            Whether it has set the epoch.
        """
        before, self._fixed.is_told = self._epochs.times_set, True
        try:
            getattr(self, name)()
        finally:
            self._fixed.is_told = False
        return self._epochs.times_set > before

    def _reader(self) -> keras_frames.Reader:
        """Who calls a method of this sequence."""
        found = keras_frames.reader()
        if not self._epochs.knows(found.consumer):
            if self._plan.shard[1] > 1 or shares_replica():  # all shuffle by themselves
                keras_calls.read_in_order(found.consumer)
            own = type(self).on_epoch_end is EpochSequence.on_epoch_end
            is_hooked = own and keras_frames.calls_hooks(found.consumer, self)
            around = keras_calls.running_call().around
            trains = keras_calls.is_made_by_fit(found.consumer)
            self._epochs.meet(found.consumer, around, is_hooked, trains=trains)
            if uses_legacy_keras():  # which calls no `on_epoch_begin`
                self._check_csr()
        if self._epochs.resumes:
            self._check_resumes(found.consumer)
        return found

    def _check_resumes(self, consumer: Any) -> None:
        """Refuses a `fit` that would train the first part of an epoch twice."""
        if consumer is not None and keras_calls.is_of_fit(consumer):
            raise ValueError(
                f"`fit` begins epochs at their first batch; received a state of epoch "
                f"{self._epochs.epoch} of which {self._epochs.resumes} batches are "
                f"trained. Go on in a loop of your own, have `fit` save and resume "
                f"with the callback SequenceCheckpoint, or pass load_state_dict a "
                f"state whose `rows_trained` is 0 to train them again."
            )

    def _check_csr(self) -> None:
        """Refuses scipy matrices that Keras would not take, or take wrongly."""
        if self._output == "csr" and keras_backend() == "jax":
            check_columns(self._pipeline.reader.num_columns)
        elif self._output == "csr":
            rows = self._plan.batch(self.epoch, 0).rows
            check_no_scipy(leaves(self._pipeline.reader.read_features(rows)))

    def on_epoch_begin(self) -> None:
        """Called by Keras, or by a wrapper or a loop of your own before a pass."""
        if self._fixed.is_told:
            return
        check_epoch(self._plan.shard, self._pipeline.check_same)
        self._check_csr()
        self._epochs.begin(self._reader())

    def on_epoch_end(self) -> None:
        """Called by Keras, or by a wrapper or a loop of your own after a pass.

        Once all batches were read, the next epoch follows, whoever calls: at once in
        a loop of your own, otherwise where the next pass begins.
        """
        if self._fixed.is_told:
            return
        reader = self._reader()
        self._epochs.end(
            reader,
            elsewhere=keras_frames.read_elsewhere(reader.consumer),
            trains=keras_calls.trains(),
            steps=keras_frames.steps_of(reader.consumer),
        )

    def _check_iteration(self) -> None:
        check_dataset(self._output, self._pipeline.check_same)
        self._pipeline.workers.resume()

    def _begin_iteration(self) -> tuple[int, int, int]:
        self._check_iteration()
        call = keras_calls.dataset_call()
        if self._epochs.resumes and not call.peeks:
            self._check_resumes(call.consumer)
        trains = call.consumer is not None and keras_calls.is_of_fit(call.consumer)
        return self._epochs.begin_iteration(call, trains=trains)

    def close(self) -> None:
        """Ends the workers. The sequence can be used again, and starts new ones."""
        self._pipeline.workers.close()

    def __enter__(self: Own) -> Own:
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

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what belongs to this process."""
        state = self.__dict__.copy()
        # Processes of tf-keras get their copies as an iterator of it begins.
        starts = keras_frames.reader().is_enqueuer
        epoch = self._epochs.upcoming() if starts else self.epoch
        state["_epochs"] = epoch, self._epochs.is_set, os.getpid()
        del state["_fixed"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores at the start of the epoch it was pickled in."""
        epoch, is_set, process = state.pop("_epochs")
        self.__dict__.update(state)
        self._reset_tracking(epoch, is_copy=process != os.getpid())
        self._epochs.is_set = is_set

    def _reset_tracking(self, epoch: int, is_copy: bool = False) -> None:
        repeats = isinstance(self._plan.sampler, SequentialSampler)
        self._epochs = EpochTracker(self._plan.num_batches, epoch, repeats, is_copy)
        self._fixed = FixedEpoch()

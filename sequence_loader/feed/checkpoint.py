"""SequenceCheckpoint: a `fit` that is killed anywhere goes on with the next batch.

    begins    the folder is claimed, its newest checkpoint read and compared with this
              `fit`; at the end of `on_train_begin` it is given back
    trains    every so many batches, between two of them, the state is copied; a thread
              writes it while the training goes on
    epochs    end with a save behind all other callbacks
    ends      by itself: the folder is deleted, or kept; by an error: what is there
              stays, and the next `fit` goes on from it

What is restored in the middle of an epoch is restored twice: for the callbacks, before
the epoch begins, and when its first batch is handed out, for by then Keras has reset
the metrics, and callbacks have begun an epoch again that had begun before.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.backends.keras_epochs import (
    FitBatches,
    check_keras,
    running_fit,
)
from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.feed.checkpoint_files import CheckpointFolder
from sequence_loader.feed.checkpoint_job import Job
from sequence_loader.feed.checkpoint_match import check_same
from sequence_loader.feed.checkpoint_refusals import check_fit
from sequence_loader.feed.checkpoint_sequences import (
    epoch_of_fit,
    resume_in_fit,
    resume_validation,
    state_of_validation,
    validation_of,
)
from sequence_loader.feed.checkpoint_state import (
    Packer,
    described,
    give_back,
    held_by,
    random_states,
    set_random_states,
    unpacked,
    with_arrays,
    without_arrays,
    without_rates,
)
from sequence_loader.feed.checkpoint_variables import (
    build_optimizers,
    built_optimizers,
    described_variables,
    has_trained,
    is_beside,
    reset_global_generator,
    values_of,
    variables_of,
)
from sequence_loader.feed.sequence import SparseBatchSequence

if uses_legacy_keras():
    from tf_keras.callbacks import Callback
else:
    from keras.callbacks import Callback

FORMAT = 1

Described = dict[str, str]


class SequenceCheckpoint(Callback):  # type: ignore[misc]
    """Saves a running `fit`, and lets the same script go on with the next batch.

    Every `every` batches, and when an epoch ends, it saves what training depends on:
    weights, all variables of the optimizer, the states of seed generators, metrics of
    the running epoch, what Python, NumPy and torch draw from, the `History`, the states
    of callbacks, and which batches were trained, whatever was read ahead. Run again
    after a crash, a kill or Ctrl-C, `fit` goes on with the batch after the last save:
    on a CPU, with TensorFlow, JAX or torch, to the same weights bit by bit. Nothing is
    read of the batches before. A run that had ended, or stopped early, trains nothing.

    Keras's epochs, steps and logs go on where they were, and the progress bar counts
    from there; the times it shows are of this run. `EarlyStopping`, `History`,
    `ReduceLROnPlateau`, `ModelCheckpoint`, `SwapEMAWeights` and `TensorBoard` get back
    what they held; so does a callback that has the methods ``state_dict()`` and
    ``load_state_dict(state)``, and any Keras variable that a callback, a loss or a
    schedule has. Others begin anew: `CSVLogger` wants ``append=True``. In the resumed
    epoch callbacks are told ``on_epoch_begin`` once more. Metrics of a shuffled
    `validation_data` are equal too, if it is a sequence of this package.

    Batches are trained in the order of the sequence; the ``shuffle`` of `fit`, which
    Keras says it ignores, permutes them no more. State that cannot be found is not
    saved: of operations such as ``tf.random.normal``, or Python numbers in a layer.
    What a layer draws, it should draw from a ``keras.random.SeedGenerator``. Another
    learning rate, schedule, ``class_weight``, frozen layer or fewer ``epochs`` are
    refused.

    In a job of several processes, which JAX joins with `DataParallel`, all of them are
    given the callback, and one `path` that all can read; the first writes. As many
    processes go on to the same weights bit by bit; another number, with the same global
    batch, trains the same batches. Other distributions are refused.

    Args:
        path: A directory for the checkpoints of this job alone.
        sequence: What `fit` trains from: it, or its `to_tf_dataset()`.
        every: Batches from save to save.
        keep: How many checkpoints are kept.
        delete_checkpoint: Whether they are deleted when `fit` has ended by itself.
        on_error: ``"warn"`` where a checkpoint cannot be written, on a full disk say,
            and train on, with the last good one in place; or ``"raise"``.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: One is out of range; or this is Keras before 3.11, or tf-keras,
            whose layers draw from generators inside TensorFlow that cannot be read.
            `fit` raises it where a
            checkpoint is of another model, optimizer, order or data, where another job
            has the path, or for what cannot be resumed exactly.

    Example:
        >>> train = SparseBatchSequence(x, y, batch_size=32, shuffle=True, seed=7)
        >>> model = keras.Sequential([keras.layers.Dense(1, "sigmoid")])
        >>> model.compile("adam", "binary_crossentropy")
        >>> checkpoint = SequenceCheckpoint("run-1", train, every=500)
        >>> history = model.fit(train, epochs=2, verbose=0, callbacks=[checkpoint])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sequence: SparseBatchSequence,
        *,
        every: int = 100,
        keep: int = 1,
        delete_checkpoint: bool = True,
        on_error: str = "warn",
    ) -> None:
        super().__init__()
        if uses_legacy_keras():
            raise ValueError(
                "SequenceCheckpoint needs Keras 3; this process uses tf-keras, whose "
                "layers draw random numbers inside TensorFlow, from states that cannot "
                "be saved. Save sequence.state_dict() in a loop of your own, or unset "
                "TF_USE_LEGACY_KERAS."
            )
        check_keras()
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"`path` must be the path of a directory; received {shown(path)}. Pass "
                f"for example 'run-1'."
            )
        if not isinstance(sequence, SparseBatchSequence):
            raise TypeError(
                f"`sequence` must be the SparseBatchSequence that is trained from; "
                f"received {shown(sequence)} of type {type(sequence).__name__}. Pass "
                f"that, also where `fit` is given its to_tf_dataset()."
            )
        one_of("delete_checkpoint", delete_checkpoint, (False, True))
        self._path, self._sequence = Path(path), sequence
        self._every = integer("every", every, minimum=1)
        self._keep = integer("keep", keep, minimum=1)
        self._deletes = delete_checkpoint
        self._raises = one_of("on_error", on_error, ("warn", "raise")) == "raise"
        self._packer = Packer()

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the checkpoint to go on from, and what is to be saved."""
        self._fit = fit = running_fit()
        self._job = Job()
        found = self._job.together(self._begin)
        if len({every for every, _ in found}) > 1:
            self._folder.release()
            raise ValueError(
                f"`every` must be the same in all processes of a job; received "
                f"{[every for every, _ in found]}. Pass one value everywhere."
            )
        try:
            self._job.together(lambda: self._compare(found[0][1]))
        except BaseException:
            self._folder.release()
            raise
        last = _Last(self)
        last.set_model(self.model)
        last.set_params(self.params)
        fit.callbacks.append(last)

    def _begin(self) -> tuple[int, int | None]:
        """Looks at this `fit`; returns `every`, and which checkpoint is the newest."""
        fit = self._fit
        check_fit(fit, self._sequence, self)
        if keras_backend() == "tensorflow":  # others are built by now
            self.model._symbolic_build(data_batch=self._sequence._read_at(0, 0))
        self._since, self._stopped = 0, False
        self._described = described(self.model)
        self._settings = fit.settings
        self._batches = FitBatches(fit, len(self._sequence), self._trained)
        self._batches.read_in_order()
        self._folder = CheckpointFolder(
            *(self._path, self._keep, self._job.index == 0),
            is_running=lambda: fit.is_running,
        )
        self._found = self._folder.load() if self._folder.writes else None
        return self._every, None if self._found is None else self._found[0]

    def _compare(self, number: int | None) -> None:
        """Reads the checkpoint of that number, if any, to go on from it."""
        found, self._found = self._found, None
        self._resumed = None
        if number is not None:
            _, header, content = found or (number, *self._folder.load_number(number))
            self._resumed = self._compared(header, content)

    # Saving

    def _trained(self, batches: int, more: bool) -> None:
        """So many batches were trained; `more` of the epoch may follow."""
        adapter = self._fit.iterator.data_adapter
        self._data_epoch = epoch_of_fit(self._sequence, adapter)
        self._since += batches
        if more and self._since >= self._every:
            self._save(self._epoch, self._batches.step)

    def _save(self, epoch: int, step: int) -> None:
        """Saves, to go on at a step of an epoch of Keras."""
        self._since = 0
        self._folder.wait()
        self._tell_of_error()
        random_states = self._job.random_states()
        if not self._folder.writes:
            return
        if keras_backend() == "jax":  # they are in the loop until this
            self.model.jax_state_sync()
        variables = self._variables()
        arrays = values_of(variables)
        state = without_arrays({**self._held(), **random_states}, arrays, "a callback")
        places, content = self._packer.pack(arrays)
        header = {
            "format": FORMAT,
            "epoch": epoch,
            "step": step,
            "stopped": self._stopped,
            **self._settings,
            "model": self._described,
            "variables": described_variables(variables),
            "optimizers": built_optimizers(self.model, variables),
            "sequence": self._sequence._position(
                self._data_epoch, self._batches.place
            ).described(),
            "state": state,
            "places": places,
        }
        self._folder.publish(header, content)

    def _variables(self) -> list[tuple[str, Any]]:
        own = (SequenceCheckpoint, _Last)
        others = [each for each in self._fit.callbacks if not isinstance(each, own)]
        return variables_of(self.model, others)

    def _held(self) -> dict[str, Any]:
        """What is saved beside variables."""
        callbacks = held_by(self._fit.callbacks)
        return {
            "callbacks": [[name, state] for name, state, _ in callbacks],
            "validation": state_of_validation(self._fit, self.model),
        }

    def _tell_of_error(self) -> None:
        error = self._folder.error()
        if error is None:
            return
        message = (
            f"SequenceCheckpoint could not write a checkpoint to {self._path}: "
            f"{error}. What was saved before is still there."
        )
        if self._raises:
            number = getattr(error, "errno", None)
            told = (message,) if number is None else (number, message)
            raise OSError(*told) from error
        warnings.warn(f"{message} Training goes on.", stacklevel=3)

    # Restoring

    def _compared(self, header: dict[str, Any], content: Any) -> dict[str, Any]:
        """The header of a checkpoint that this `fit` can go on from, with its arrays.

        Raises:
            ValueError: It is another's.
        """
        if header.get("format") != FORMAT:
            raise ValueError(
                f"`path` must hold checkpoints of format {FORMAT}; {self._path} has "
                f"one of format {header.get('format')}. Delete it, or use the version "
                f"of sequence_loader that wrote it."
            )
        reset_global_generator(
            wanted=any("global seed" in name for name in header["variables"])
        )
        arrays = [unpacked(content, place) for place in header["places"]]
        state = with_arrays(header["state"], arrays)
        settings = {name: header[name] for name in self._settings}
        variables = (header["variables"], described_variables(self._variables()))
        listed = [[one for one in each if not is_beside(one)] for each in variables]
        saved = [name for name, _ in state["callbacks"]]
        names = [name for name, *_ in held_by(self._fit.callbacks)]
        for what, there, here in (
            ("settings of `fit`", settings, self._settings),
            ("model", *self._described_both(header["model"])),
            ("variables", listed[0], listed[1]),
            ("callbacks that hold a state", saved, names),
        ):
            check_same(self._path, what, there, here)
        epoch = header["epoch"] + bool(header["step"])
        if self._fit.epochs < epoch and not header["stopped"]:
            raise ValueError(
                f"`epochs` must not be fewer than were trained; received "
                f"{self._fit.epochs}, and {self._path} has begun {epoch}. Leave "
                f"`epochs` as it was, or delete the checkpoint."
            )
        if self._fit.initial_epoch > header["epoch"]:
            raise ValueError(
                f"`initial_epoch` must not be beyond the checkpoint; received "
                f"{self._fit.initial_epoch}, and {self._path} goes on in epoch "
                f"{header['epoch']}. Leave `initial_epoch` as it was, or delete the "
                f"checkpoint."
            )
        self._sequence._moved_to(header["sequence"])  # raises where it differs
        validation = validation_of(self._fit)
        if validation is not None and state["validation"] is not None:
            validation._moved_to(state["validation"])
        return {**header, "state": state, "arrays": arrays}

    def _described_both(self, there: Described) -> tuple[Described, Described]:
        """The model there, and this one, whose rate callbacks may have set."""
        if not has_trained(self.model):
            return there, self._described
        here, self._described = self._described, there
        return without_rates(there), without_rates(here)

    def _resume(self) -> None:
        """At the end of all `on_train_begin`."""
        header = self._resumed
        if header is None:
            return
        build_optimizers(self.model, self._variables(), header["optimizers"])
        variables = described_variables(self._variables())
        check_same(self._path, "variables", header["variables"], variables)
        step, epoch = header["step"], header["epoch"]
        place = resume_in_fit(
            self._sequence,
            self._fit.iterator.data_adapter,
            header["sequence"],
            is_dataset=not self._batches.reads_sequence,
        )
        self._begun: dict[str, Any] | None = None
        if place or step or self._settings["steps_per_epoch"]:
            restore = self._restore if step else self._undo_draws
            self._batches.begin_at(step, place, restore)
        validation, saved = validation_of(self._fit), header["state"]["validation"]
        if validation is not None and saved is not None:
            resume_validation(validation, saved)
        self._restore()
        # It stopped, or had ended: there is no epoch left.
        last = max(epoch, self._fit.epochs) if header["stopped"] else epoch
        self.model._initial_epoch = last

    def _restore(self) -> None:
        header = self._resumed
        if header is None:
            return
        for (_, variable), array in zip(self._variables(), header["arrays"]):
            variable.assign(np.array(array))  # which the backend may make its own
        state = header["state"]
        held = held_by(self._fit.callbacks)
        for (_, _, callback), (_, saved) in zip(held, state["callbacks"]):
            give_back(callback, saved)
        self._job.set_random_states(state)

    def _undo_draws(self) -> None:
        """Undoes that torch drew as Keras made an iterator.

        Under ``steps_per_epoch`` it makes one where an epoch of the data ends, so that
        this was drawn before the save.
        """
        if self._settings["steps_per_epoch"] and self._begun is not None:
            set_random_states(self._begun)

    # Keras's calls, behind all other callbacks

    def _epoch_begins(self, epoch: int) -> None:
        self._epoch = epoch
        if self._resumed is not None and keras_backend() == "torch":
            self._begun = random_states()
        self.model._initial_epoch = None  # or the next `fit` would begin there

    def _epoch_ends(self, epoch: int) -> None:
        self._batches.count(ends=True)
        self._stopped = bool(self.model.stop_training)
        self._save(epoch + 1, 0)

    def _train_ends(self) -> None:
        self.model._initial_epoch = None
        self._folder.wait()
        if self._deletes:
            self._folder.delete()
        self._folder.release()
        self._tell_of_error()


class _Last(Callback):  # type: ignore[misc]
    """Behind all other callbacks: what they held is given back, and then saved."""

    def __init__(self, owner: SequenceCheckpoint) -> None:
        super().__init__()
        self._owner = owner

    def on_train_begin(self, logs: Any = None) -> None:
        self._owner._resume()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._owner._epoch_begins(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._owner._epoch_ends(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self._owner._train_ends()

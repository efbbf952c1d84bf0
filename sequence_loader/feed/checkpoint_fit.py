"""One `fit` that SequenceCheckpoint saves, and has go on where another was left.

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

from functools import partial
from typing import Any

import numpy as np

from sequence_loader.backends.keras_epochs import FitBatches, running_fit
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.feed.checkpoint_files import CheckpointFolder, Options
from sequence_loader.feed.checkpoint_job import Job
from sequence_loader.feed.checkpoint_match import FORMAT, check_format, check_same
from sequence_loader.feed.checkpoint_refusals import (
    check_begun,
    check_epochs,
    check_fit,
)
from sequence_loader.feed.checkpoint_sequences import (
    epoch_of_fit,
    resume_in_fit,
    resume_validation,
    served_as,
    state_of_validation,
    validation_of,
)
from sequence_loader.feed.checkpoint_state import (
    Packer,
    described,
    give_back,
    holders,
    plain_state,
    random_states,
    set_random_states,
    unpacked,
    with_arrays,
    without_rates,
)
from sequence_loader.feed.checkpoint_variables import (
    build_optimizers,
    built_optimizers,
    described_variables,
    is_beside,
    reset_global_generator,
    seed_of_keras,
    steps_of,
    values_of,
    variables_of,
)
from sequence_loader.feed.sequence import SparseBatchSequence


class SavedFit:
    """What a `fit` that runs is saved by.

    Args:
        model: What it trains.
        sequence: What it trains from.
        options: Where and how often it is saved.
        own: Its callbacks that belong to this: nothing of them is saved.
    """

    def __init__(
        self,
        model: Any,
        sequence: SparseBatchSequence,
        options: Options,
        own: list[Any],
    ) -> None:
        self._model, self._sequence, self._own = model, sequence, own
        self._options, self._path = options, options.path
        self._packer, self._job = Packer(), Job()
        self._fit = running_fit()

    def begin(self) -> None:
        """At the first `on_train_begin`: what there is to go on from is compared.

        Raises:
            ValueError: It is of another `fit`; or this one cannot be resumed.
        """
        try:
            found = self._job.together(self._begin)
            if len({every for every, _ in found}) > 1:
                raise ValueError(
                    f"`every` must be the same in all processes of a job; received "
                    f"{[every for every, _ in found]}. Pass one value everywhere."
                )
            self._job.together(lambda: self._compare(found[0][1]))
        except BaseException:
            if hasattr(self, "_folder"):  # it came as far as that
                self._folder.release()
            raise
        callbacks, last = self._fit.callbacks, self._own[-1]
        # A CallbackList of the user's own still has that of another `fit`.
        callbacks[:] = [each for each in callbacks if type(each) is not type(last)]
        callbacks.append(last)

    def _begin(self) -> tuple[int, int | None]:
        """Looks at this `fit`; returns `every`, and which checkpoint is the newest."""
        fit = self._fit
        check_fit(fit, self._sequence, self._own[0])
        if keras_backend() == "tensorflow":  # others are built by now
            self._model._symbolic_build(data_batch=self._sequence._read_at(0, 0))
        self._since, self._stopped = 0, False
        self._begun_at = {"steps": steps_of(self._model), "seed": seed_of_keras()}
        self._described = described(self._model)
        self._settings = {**fit.settings, **served_as(self._sequence)}
        self._batches = FitBatches(fit, len(self._sequence), self._trained)
        self._batches.read_in_order()
        writes = self._job.index == 0
        self._folder = CheckpointFolder(self._options, writes, lambda: fit.is_running)
        self._found = self._folder.load() if self._folder.writes else None
        return self._options.every, None if self._found is None else self._found[0]

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
        if more and self._since >= self._options.every:
            self.save(self._epoch, self._batches.step)

    def save(self, epoch: int, step: int) -> None:
        """Saves, to go on at a step of an epoch of Keras."""
        self._since = 0
        drawn = self._job.random_states()  # all processes at once
        self._job.together(lambda: self._save(epoch, step, drawn))

    def _save(self, epoch: int, step: int, drawn: dict[str, Any]) -> None:
        self._fit.settle()
        self._folder.tell_of_error()
        if not self._folder.writes:
            return
        if keras_backend() == "jax":  # they are in the loop until this
            self._model.jax_state_sync()
        variables = self._variables()
        arrays = values_of(variables)
        others = {"validation": state_of_validation(self._fit, self._model), **drawn}
        state = plain_state(self._fit.callbacks, others, arrays)
        places, content = self._packer.pack(arrays)
        header = {
            "format": FORMAT,
            "epoch": epoch,
            "step": step,
            "stopped": self._stopped,
            "begun": self._begun_at,
            **self._settings,
            "model": self._described,
            "variables": described_variables(variables),
            "optimizers": built_optimizers(self._model, variables),
            "sequence": self._sequence._position(
                self._data_epoch, self._batches.place
            ).described(),
            "state": state,
            "places": places,
        }
        self._folder.publish(header, content)

    def _variables(self) -> list[tuple[str, Any]]:
        own = [id(each) for each in self._own]
        others = [each for each in self._fit.callbacks if id(each) not in own]
        return variables_of(self._model, others)

    # Restoring

    def _compared(self, header: dict[str, Any], content: Any) -> dict[str, Any]:
        """The header with its arrays; raises ValueError, if it is of another `fit`."""
        check_format(self._path, header)
        reset_global_generator(
            wanted=any("global seed" in name for name in header["variables"])
        )
        arrays = [unpacked(content, place) for place in header["places"]]
        state = with_arrays(header["state"], arrays)
        settings = {name: header[name] for name in self._settings}
        variables = (header["variables"], described_variables(self._variables()))
        listed = [[one for one in each if not is_beside(one)] for each in variables]
        saved = [name for name, _ in state["callbacks"]]
        names = [name for name, _ in holders(self._fit.callbacks)]
        for what, there, here in (
            ("settings of `fit` and its sequence", settings, self._settings),
            ("model", *self._described_both(header["model"])),
            ("variables", listed[0], listed[1]),
            ("callbacks that hold a state", saved, names),
        ):
            check_same(self._path, what, there, here)
        check_begun(header["begun"], self._begun_at, self._path)
        check_epochs(self._fit, header, self._path)
        self._sequence._moved_to(header["sequence"])  # raises where it differs
        validation = validation_of(self._fit)
        if validation is not None and state["validation"] is not None:
            validation._moved_to(state["validation"])
        self._begun_at = header["begun"]
        return {**header, "state": state, "arrays": arrays}

    def _described_both(self, there: dict[str, str]) -> Any:
        """The model there, and this one, whose rate callbacks may have set."""
        if not self._begun_at["steps"]:
            return there, self._described
        here, self._described = self._described, there
        return without_rates(there), without_rates(here)

    def resume(self) -> None:
        """At the end of all `on_train_begin`; raises where a state cannot be saved."""
        try:
            self._job.together(self._resume)
        except BaseException:
            self._folder.release()
            raise

    def _resume(self) -> None:
        plain_state(self._fit.callbacks, {}, [])
        self._is_resumed = self._resumed is not None
        header, self._resumed = self._resumed, None  # a copy of all: let go of it soon
        if header is None:
            return
        build_optimizers(self._model, self._variables(), header["optimizers"])
        variables = self._variables()
        described = described_variables(variables)
        check_same(self._path, "variables", header["variables"], described)
        values = [(one, array) for (_, one), array in zip(variables, header["arrays"])]
        again = partial(self._restore, values, header["state"])
        step, epoch = header["step"], header["epoch"]
        place = resume_in_fit(
            self._sequence,
            self._fit.iterator.data_adapter,
            header["sequence"],
            is_dataset=not self._batches.reads_sequence,
        )
        self._begun: dict[str, Any] | None = None
        if place or step or self._settings["steps_per_epoch"]:
            self._batches.begin_at(step, place, again if step else self._undo_draws)
        validation, saved = validation_of(self._fit), header["state"]["validation"]
        if validation is not None and saved is not None:
            resume_validation(validation, saved)
        again()
        # It stopped, or had ended: there is no epoch left.
        last = max(epoch, self._fit.epochs) if header["stopped"] else epoch
        self._model._initial_epoch = last

    def _restore(self, values: list[tuple[Any, Any]], state: dict[str, Any]) -> None:
        for variable, array in values:
            variable.assign(np.array(array))  # which the backend may make its own
        give_back(self._fit.callbacks, state["callbacks"])
        self._job.set_random_states(state)

    def _undo_draws(self) -> None:
        """Undoes that torch drew as Keras made an iterator.

        Under ``steps_per_epoch`` it makes one where an epoch of the data ends, so that
        this was drawn before the save.
        """
        if self._settings["steps_per_epoch"] and self._begun is not None:
            set_random_states(self._begun)

    # Keras's calls, behind all other callbacks

    def epoch_begins(self, epoch: int) -> None:
        self._epoch = epoch
        if self._is_resumed and keras_backend() == "torch":
            self._begun = random_states()
        self._model._initial_epoch = None  # or the next `fit` would begin there

    def epoch_ends(self, epoch: int) -> None:
        self._batches.count(ends=True)
        self._stopped = bool(self._model.stop_training)
        self.save(epoch + 1, 0)

    def train_ends(self) -> None:
        self._model._initial_epoch = None
        self._folder.wait()
        if self._options.deletes:
            self._folder.delete()
        self._folder.release()
        if not self._options.deletes:
            self._folder.tell_of_error()

"""SequenceCheckpoint: a `fit` that is killed anywhere goes on with the next batch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sequence_loader.backends.keras_epochs import check_keras
from sequence_loader.backends.which_keras import uses_legacy_keras
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.feed.checkpoint_fit import SavedFit
from sequence_loader.feed.checkpoint_files import Options
from sequence_loader.feed.sequence import SparseBatchSequence

if uses_legacy_keras():
    from tf_keras.callbacks import Callback
else:
    from keras.callbacks import Callback


class SequenceCheckpoint(Callback):  # type: ignore[misc]
    """Saves a running `fit`, and lets the same script go on with the next batch.

    Every `every` batches, and when an epoch ends, it saves what training depends on:
    weights, all variables of the optimizer, the states of seed generators, metrics of
    the running epoch, what Python, NumPy and torch draw from, the `History`, the states
    of callbacks, and which batches were trained, whatever was read ahead. Run again
    after a crash, a kill or Ctrl-C, `fit` goes on with the batch after the last save:
    on a CPU, with TensorFlow, JAX or torch, to the same weights bit by bit. Nothing is
    read of the batches before. A `fit` that has ended by itself, or stopped early,
    deletes its checkpoint: started again, it trains anew, from the weights that the
    model has then. With ``delete_checkpoint=False`` it gets its weights back and trains
    nothing again.

    Keras's epochs, steps and logs go on where they were, and the progress bar counts
    from there; the times it shows are of this run. `EarlyStopping`, `History`,
    `ReduceLROnPlateau`, `ModelCheckpoint`, `SwapEMAWeights` and `TensorBoard` get back
    what they held; so does a callback that has the methods ``state_dict()`` (numbers,
    texts, arrays, in lists, tuples and dicts) and ``load_state_dict(state)``, and any
    Keras variable that a callback, a loss, a schedule or an object of the script has.
    Others begin anew. In a job all processes get what callbacks of the first one held.
    What was written to files after the last save is written again: `CSVLogger`, which
    wants ``append=True``, may have a row twice. In the resumed epoch callbacks are told
    ``on_epoch_begin`` once more, and then given back what they held a second time.
    Metrics of a shuffled `validation_data` are equal too, if it is a sequence of this
    package.

    Batches are trained in the order of the sequence; the ``shuffle`` of `fit`, which
    Keras says it ignores, permutes them no more. State that cannot be found is not
    saved: of operations such as ``tf.random.normal``, Python numbers in a layer or a
    metric, or which epoch a callback's own validation was in. What a layer draws, it
    should draw from a ``keras.random.SeedGenerator``. Another learning rate, schedule,
    ``class_weight``, frozen layer, `output`, `dtype` or seed of Keras, or fewer
    ``epochs`` are refused; so is a `transform` or `augment` of another name, but not
    one that does something else under its name.

    In a job of several processes, which JAX joins with `DataParallel`, all of them are
    given the callback, and one `path` that all can read; the first writes. As many
    processes go on to the same weights bit by bit; another number, with the same global
    batch, trains the same batches. Other distributions are refused.

    Args:
        path: A directory for the checkpoints of this `fit` alone: where a script has
            several, each has its own.
        sequence: What `fit` trains from: it, or its `to_tf_dataset()`.
        every: Batches from save to save.
        keep: How many checkpoints are kept.
        delete_checkpoint: Whether they are deleted when `fit` has ended by itself. If
            not, the same `fit` started again trains nothing, with more `epochs` those.
        on_error: ``"warn"`` where a checkpoint cannot be written, on a full disk say,
            and train on, with the last good one in place; or ``"raise"``, which ends
            all processes of a job.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: One is out of range; or this is Keras before 3.11, or tf-keras,
            whose layers draw from generators inside TensorFlow that cannot be read.
            `fit` raises it where a checkpoint is of another model, optimizer, order or
            data, where another job has the path, or for what cannot be resumed exactly.
        OSError: `fit` raises it where `path` cannot be made or written to.

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
        self._sequence = sequence
        self._options = Options(
            Path(path).absolute(),  # whatever the script changes to
            integer("every", every, minimum=1),
            integer("keep", keep, minimum=1),
            delete_checkpoint,
            one_of("on_error", on_error, ("warn", "raise")) == "raise",
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the checkpoint to go on from, and what is to be saved."""
        last = _Last()
        last.set_model(self.model)
        last.set_params(self.params)
        last.saved = SavedFit(
            self.model, self._sequence, self._options, [self, last]
        )
        last.saved.begin()


class _Last(Callback):  # type: ignore[misc]
    """Behind all other callbacks: what they held is given back, and then saved."""

    saved: SavedFit

    def on_train_begin(self, logs: Any = None) -> None:
        self.saved.resume()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.saved.epoch_begins(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.saved.epoch_ends(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self.saved.train_ends()

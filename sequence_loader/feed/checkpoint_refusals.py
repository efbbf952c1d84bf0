"""Which `fit` SequenceCheckpoint does not save, because it could not be resumed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras

from sequence_loader.backends.jax import processes
from sequence_loader.backends.keras_epochs import Fit
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.checks import shown
from sequence_loader.feed.sequence import SparseBatchSequence


def check_fit(fit: Fit, sequence: SparseBatchSequence, own: Any) -> None:
    """Raises ValueError where what a `fit` trains cannot be resumed exactly.

    Args:
        fit: It.
        sequence: What the callback was made for.
        own: The callback.
    """
    if fit.x is not sequence and getattr(fit.x, "made_by", None) is not sequence:
        raise ValueError(
            f"`fit` must be given the `sequence` of SequenceCheckpoint, or what "
            f"its to_tf_dataset() returns as it is; received {shown(fit.x)}. Put "
            f"what changes batches into `transform` or `augment`."
        )
    if sequence.num_batches != sequence._plan.num_batches:
        raise ValueError(
            f"SequenceCheckpoint needs all batches of a sequence; this one says it "
            f"has {sequence.num_batches} of {sequence._plan.num_batches}. Pass "
            f"`rows` to it instead of another len()."
        )
    others = [type(each).__name__ for each in fit.callbacks if each is not own]
    for name in ("BackupAndRestore", "SequenceCheckpoint"):
        if name in others:
            raise ValueError(
                f"one callback of `fit` may set where it begins; received {name} "
                f"beside this SequenceCheckpoint. Leave one of them out."
            )
    for each in fit.callbacks:
        if isinstance(each, keras.callbacks.CSVLogger) and not each.append:
            warnings.warn(
                f"CSVLogger({each.filename!r}) begins its file anew where `fit` goes "
                f"on after a kill; what it logged before is lost. Pass append=True.",
                stacklevel=2,
            )
    shard, shared = sequence._plan.shard, keras.distribution.distribution()
    count = processes()[1]
    if shard[1] != count:
        raise ValueError(
            f"`shard` must have a part for each process that keras.distribution joins "
            f"to train one model, here {count}; received {shard}. Set a DataParallel "
            f"before the model is made; in a loop of your own, save "
            f"sequence.state_dict()."
        )
    parallel = isinstance(shared, keras.distribution.DataParallel)
    if shared is not None and not (parallel and keras_backend() == "jax"):
        raise ValueError(
            f"SequenceCheckpoint must save a model that every device holds whole; "
            f"received keras.distribution {shared}. Use DataParallel, on JAX; in a "
            f"loop of your own, save sequence.state_dict()."
        )
    if keras_backend() == "tensorflow":
        replicas = own.model.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise ValueError(
                f"SequenceCheckpoint must save a model of one replica; received "
                f"one of {replicas}, whose replicas draw from states of their own. "
                f"Train without tf.distribute, or save with BackupAndRestore, "
                f"which begins an epoch anew."
            )


def check_begun(there: dict[str, Any], here: dict[str, Any], path: Path) -> None:
    """Raises ValueError where a checkpoint is of another `fit` of the same script.

    Args:
        there: By the checkpoint: how many steps its model had made before, and the
            seed that Keras was given, or `None`.
        here: The same of this `fit`, which may be one that goes on with its model.
        path: Where the checkpoint is.
    """
    if here["steps"] < there["steps"]:
        raise ValueError(
            f"`path` must belong to one `fit`; {path} is of one whose model had made "
            f"{there['steps']} steps before, that of this one made {here['steps']}. "
            f"Pass each `fit` of a script a path of its own, or delete the checkpoint."
        )
    seeds = there["seed"], here["seed"]
    if None not in seeds and seeds[0] != seeds[1]:
        raise ValueError(
            f"`path` must belong to one `fit`; {path} is of one after "
            f"keras.utils.set_random_seed({seeds[0]}), this one is after "
            f"set_random_seed({seeds[1]}). Pass each `fit` of a script a path of its "
            f"own, set the seed as it was, or delete the checkpoint."
        )


def check_epochs(fit: Fit, header: dict[str, Any], path: Path) -> None:
    """Raises ValueError where a `fit` has not the epoch in which a checkpoint goes on.

    Args:
        fit: It.
        header: Of the checkpoint.
        path: Where that is.
    """
    epoch = header["epoch"] + bool(header["step"])
    if fit.epochs < epoch and not header["stopped"]:
        raise ValueError(
            f"`epochs` must not be fewer than were trained; received "
            f"{fit.epochs}, and {path} has begun {epoch}. Leave "
            f"`epochs` as it was, or delete the checkpoint."
        )
    if fit.initial_epoch > header["epoch"]:
        raise ValueError(
            f"`initial_epoch` must not be beyond the checkpoint; received "
            f"{fit.initial_epoch}, and {path} goes on in epoch "
            f"{header['epoch']}. Leave `initial_epoch` as it was, or delete the "
            f"checkpoint."
        )

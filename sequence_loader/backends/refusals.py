"""What an engine would train twice, never, or not at all is refused, with the mend."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from sequence_loader.arrays import Array
from sequence_loader.backends.jax import (
    distribution,
    joins_processes,
    not_the_job,
    place,
    shares_replica,
)
from sequence_loader.backends.keras_calls import replicas_of_caller
from sequence_loader.backends.tensorflow import current_replicas, strategy_workers
from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras
from sequence_loader.rows.csr import CsrRows


CheckSame = Callable[[str], None]
"""Raises ValueError where processes have other orders; told why they must not."""


def check_epoch(shard: tuple[int, int], check_same: CheckSame) -> None:
    """Warns, when Keras 3 begins an epoch, of rows that every process trains.

    Args:
        shard: ``(index, count)`` of the sequence.
        check_same: Called where processes are to be given the same rows.

    Raises:
        ValueError: `shard` does not describe the job.
    """
    _check_replica(check_same)
    shared = distribution()
    if shared is None or not joins_processes():
        return
    index, count = place(shared)
    if shard[1] == 1 and count > 1:
        warnings.warn(
            f"`shard` is (0, 1) in a job of {count} processes: each of them serves "
            f"all rows, so that every row is used {count} times. Pass "
            f"shard=current_shard() with remainder='pad' or 'drop'.",
            stacklevel=2,
        )
    elif shard[1] != count:
        raise not_the_job(shard, index, count)


def check_no_scipy(features: list[CsrRows | Array]) -> None:
    """Raises where Keras would fail on scipy matrices, with a message of its own.

    On JAX it takes them, and makes BCOO tensors of them.

    Args:
        features: A batch that is served with ``output="csr"``.

    Raises:
        ValueError: There are sparse rows among them.
    """
    if any(isinstance(block, CsrRows) for block in features):
        raise ValueError(
            "`output` must be 'sparse' or 'dense' for fit, evaluate and predict, which "
            "take no scipy matrices; received output='csr'. Construct the sequence "
            "with output='sparse'."
        )


def _check_replica(check_same: CheckSame) -> None:
    if shares_replica():
        check_same("processes that share a replica of the model")


def check_dataset(output: str, check_same: CheckSame) -> None:
    """Refuses datasets that an engine would shard again or cannot carry.

    Args:
        output: What the sequence serves.
        check_same: Called where processes are to be given the same rows.

    Raises:
        ValueError: Keras would shard the dataset again, or TensorFlow or JAX cannot
            split its sparse batches.
    """
    if output == "sparse":
        _check_replicas("tf.distribute.get_strategy()", current_replicas())
    _check_replica(check_same)
    shared = distribution()
    if shared is None or not joins_processes():
        return
    if shared.auto_shard_dataset:
        raise ValueError(
            "`auto_shard_dataset` must be False for a dataset that is sharded already; "
            "the distribution has auto_shard_dataset=True, and would leave most rows "
            "untrained. Use keras.distribution.DataParallel(auto_shard_dataset=False)."
        )
    if output == "sparse":
        raise ValueError(
            "`output` must be 'dense' for to_tf_dataset() in a job of several JAX "
            "processes; received output='sparse'. Pass the sequence itself to fit."
        )


def check_read(output: str) -> None:
    """Refuses a sequence that the engine which reads it would train wrongly.

    Args:
        output: What the sequence serves.

    Raises:
        ValueError: tf-keras would read it whole on every worker, or TensorFlow
            cannot split its sparse batches over devices.
    """
    if uses_legacy_keras():
        workers = strategy_workers()
        if workers > 1:
            raise ValueError(
                f"a Sequence must not be passed to fit under a strategy of several "
                f"workers, which would each read all of it; this one has {workers}. "
                f"Pass strategy.distribute_datasets_from_function(lambda _: "
                f"sequence.to_tf_dataset().repeat()) and steps_per_epoch=len(sequence)."
            )
    elif output == "sparse" and keras_backend() == "tensorflow":
        _check_replicas("fit", replicas_of_caller())


def _check_replicas(where: str, replicas: int) -> None:
    if replicas > 1:
        raise ValueError(
            f"`output` must be 'dense' where Keras 3 trains on several devices with "
            f"tf.distribute, which cannot split a SparseTensor; received "
            f"output='sparse' for {replicas} replicas in {where}. Pass output='dense', "
            f"or use tf-keras (TF_USE_LEGACY_KERAS=1)."
        )

"""Batches that several processes or devices train on together.

JAX holds a batch of all processes as one array. A dense one is put together from
each process's rows. A sparse one has to be served as if it were whole: of the
global shape, with the process's rows in their place, and with as many entries on
every process: otherwise they compile different programs at different steps, which
JAX does not allow (a CPU happens to train them rightly, JAX 0.10). They agree on that
number without talking, because what each of them serves is a pure function: every
process counts what all of them are about to send.

What an engine would train twice, never, or not at all is refused here, with what
to do instead.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from sequence_loader.backends.tensors import (
    SparsePart,
    keras_backend,
    padded_nse,
    uses_legacy_keras,
)
from sequence_loader.batches.reader import Batch, BatchReader
from sequence_loader.batches.structures import Structure, map_structure
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import Array, CsrRows


def sparse_parts(
    features: Structure,
    plan: BatchPlan,
    reader: BatchReader,
    epoch: int,
    index: int,
    assemble: Callable[[int], Batch] | None,
) -> Structure:
    """How each sparse input is to be served in the job that runs.

    Args:
        features: Structure of `CsrRows` and arrays: this process's batch.
        plan: Which rows are in which batch.
        reader: Knows how many values rows hold.
        epoch: Epoch of the data.
        index: Batch number.
        assemble: Shard index -> the batch of another process, where a `transform` or
            `augment` decides how many values it has; `None` where the rows do.

    Returns:
        A `SparsePart` for each input, or `None` where a batch is one process's own.

    Raises:
        ValueError: `shard` does not describe the job.
    """
    distribution = _distribution()
    if distribution is None:
        return map_structure(lambda _: None, features)
    if not _joins_processes():
        raise ValueError(
            "`output` must be 'dense' where keras.distribution shares the batches of "
            "one process out, which JAX cannot do with a BCOO; received "
            "output='sparse'. Pass output='dense', or set no distribution."
        )
    place, count = _place(distribution)
    if plan.shard[1] != count:
        raise _not_the_job(plan.shard, place, count)
    others = [shard for shard in range(count) if shard != plan.shard[0]]
    if assemble is None:
        counts = [reader.stored(plan.batch(epoch, index, s).rows) for s in range(count)]
    else:
        batches = [features, *(assemble(shard).features for shard in others)]
        counts = [map_structure(_stored, batch) for batch in batches]
    return map_structure(
        lambda *stored: SparsePart(place, count, padded_nse(max(stored))), *counts
    )


def _stored(leaf: Any) -> int:
    return len(leaf.data) if isinstance(leaf, CsrRows) else 0


def check_epoch(shard: tuple[int, int]) -> None:
    """Warns, when Keras 3 begins an epoch, of rows that every process trains.

    Args:
        shard: ``(index, count)`` of the sequence.

    Raises:
        ValueError: `shard` does not describe the job.
    """
    distribution = _distribution()
    if distribution is None or not _joins_processes():
        return
    place, count = _place(distribution)
    if shard[1] == 1:
        warnings.warn(
            f"`shard` is (0, 1) in a job of {count} processes: each of them serves "
            f"all rows, so that every row is used {count} times. Pass "
            f"shard=current_shard() with remainder='pad' or 'drop'.",
            stacklevel=2,
        )
    elif shard[1] != count:
        raise _not_the_job(shard, place, count)


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


def check_dataset(output: str) -> None:
    """Refuses datasets that an engine would shard again or cannot carry.

    Args:
        output: What the sequence serves.

    Raises:
        ValueError: Keras would shard the dataset again, or TensorFlow or JAX cannot
            split its sparse batches.
    """
    if output == "sparse":
        _check_replicas("tf.distribute.get_strategy()", _current_replicas())
    distribution = _distribution()
    if distribution is None or not _joins_processes():
        return
    if distribution.auto_shard_dataset:
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
        workers = _strategy_workers()
        if workers > 1:
            raise ValueError(
                f"a Sequence must not be passed to fit under a strategy of several "
                f"workers, which would each read all of it; this one has {workers}. "
                f"Pass strategy.distribute_datasets_from_function(lambda _: "
                f"sequence.to_tf_dataset().repeat()) and steps_per_epoch=len(sequence)."
            )
    elif output == "sparse" and keras_backend() == "tensorflow":
        _check_replicas("fit", _replicas_of_caller())


def _distribution() -> Any:
    """Keras's distribution, if there is one and the backend is JAX."""
    if uses_legacy_keras() or keras_backend() != "jax":
        return None
    import keras

    return keras.distribution.distribution()


def _joins_processes() -> bool:
    import jax

    return int(jax.process_count()) > 1


def _place(distribution: Any) -> tuple[int, int]:
    """(index, count) of the parts that a batch is put together from."""
    import jax
    import keras

    if isinstance(distribution, keras.distribution.DataParallel):
        return jax.process_index(), jax.process_count()
    # Processes that share a replica of the model are given the same rows.
    replicas = min(distribution.num_model_replicas, jax.process_count())
    return distribution.data_shard_id, replicas


def _not_the_job(shard: tuple[int, int], place: int, count: int) -> ValueError:
    return ValueError(
        f"`shard` must have count {count}, the number of processes that "
        f"keras.distribution joins; received shard={shard}. Pass "
        f"shard=current_shard(), which is ({place}, {count}) here."
    )


def _strategy_workers() -> int:
    """Workers of the tf.distribute strategy in whose scope this is called."""
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return 1
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None:
        return 1
    return sum(map(len, resolver.cluster_spec().as_dict().values()))


def _current_replicas() -> int:
    if uses_legacy_keras() or keras_backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _replicas_of_caller() -> int:
    """Replicas of the model that reads its first batches, or 1.

    Keras 3 does not enter the strategy's scope to do so; only its frame has it.
    """
    frame = sys._getframe(2)
    for _ in range(8):
        if frame.f_back is None:
            return 1
        frame = frame.f_back
        if "distribute_strategy" in frame.f_code.co_varnames:
            strategy = frame.f_locals.get("distribute_strategy")
            return int(getattr(strategy, "num_replicas_in_sync", 1))
    return 1


def _check_replicas(where: str, replicas: int) -> None:
    if replicas > 1:
        raise ValueError(
            f"`output` must be 'dense' where Keras 3 trains on several devices with "
            f"tf.distribute, which cannot split a SparseTensor; received "
            f"output='sparse' for {replicas} replicas in {where}. Pass output='dense', "
            f"or use tf-keras (TF_USE_LEGACY_KERAS=1)."
        )

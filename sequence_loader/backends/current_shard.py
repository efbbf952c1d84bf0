r"""current_shard: which part of every global batch this training process serves.

Nothing is imported and nothing started to find out: an engine is asked only if
the program has imported and initialised it, and otherwise the variables that a
launcher sets are read. What is asked, the first that answers decides:

    jax.distributed, tf.distribute (inside ``strategy.scope()``), torch.distributed,
    TF_CONFIG, torchrun, keras.distribution's variables, Horovod with Gloo, Open MPI,
    jsrun, MPICH and Intel MPI, MVAPICH, Flux, Slurm

A job of Keras 3 on JAX:

```py
# train_jax.py
import os

import jax

jax.distributed.initialize(
    f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
    num_processes=int(os.environ["WORLD_SIZE"]),
    process_id=int(os.environ["RANK"]),
)
import keras
import numpy as np
import scipy.sparse as sp
from sequence_loader import SparseBatchSequence, current_shard

keras.utils.set_random_seed(1)  # the same initial weights everywhere
keras.distribution.set_distribution(
    keras.distribution.DataParallel(auto_shard_dataset=False)
)
x = sp.random(1003, 200, density=0.1, format="csr", dtype="float32", random_state=1)
y = (np.asarray(x.sum(axis=1)).ravel() > 10).astype("float32")
index, count = current_shard()
train = SparseBatchSequence(
    x, y, batch_size=64 // count, shuffle=True, seed=7,
    output="sparse", remainder="pad", shard=(index, count),
)
model = keras.Sequential(
    [keras.Input((200,), sparse=True), keras.layers.Dense(1, "sigmoid")]
)
model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
history = model.fit(train, epochs=5, shuffle=False, verbose=0)
print("final loss", history.history["loss"][-1])
```

On one machine it is started so; on several, with the address of the first:

```sh
export KERAS_BACKEND=jax MASTER_ADDR=127.0.0.1 MASTER_PORT=8476 WORLD_SIZE=2
for rank in 0 1; do RANK=$rank python train_jax.py & done; wait
```

A job of tf-keras, one device a process. A Sequence given to `fit` itself would be read
whole by every worker, and is refused:

```py
# train_tf_keras.py
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before anything else
import numpy as np
import scipy.sparse as sp
from sequence_loader import SparseBatchSequence, current_shard

x = sp.random(1003, 200, density=0.1, format="csr", dtype="float32", random_state=1)
y = (np.asarray(x.sum(axis=1)).ravel() > 10).astype("float32")
with strategy.scope():
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential(
        [tf.keras.Input((200,), sparse=True), tf.keras.layers.Dense(1, "sigmoid")]
    )
    model.compile(tf.keras.optimizers.Adam(0.02), "binary_crossentropy")
    index, count = current_shard()
train = SparseBatchSequence(
    x, y, batch_size=64 // count, shuffle=True, seed=7,
    output="sparse", remainder="pad", shard=(index, count),
)
dataset = strategy.distribute_datasets_from_function(
    lambda context: train.to_tf_dataset().repeat()
)
history = model.fit(dataset, epochs=5, steps_per_epoch=len(train), verbose=0)
print("final loss", history.history["loss"][-1])
```

```sh
export TF_USE_LEGACY_KERAS=1
workers='"cluster": {"worker": ["127.0.0.1:8476", "127.0.0.1:8477"]}'
for rank in 0 1; do
    TF_CONFIG="{$workers, \"task\": {\"type\": \"worker\", \"index\": $rank}}" \
        python train_tf_keras.py &
done; wait
```
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from sequence_loader.checks import shown

Shard = tuple[int, int]

VARIABLES = (
    ("RANK", "WORLD_SIZE"),  # torchrun
    ("KERAS_DISTRIBUTION_PROCESS_ID", "KERAS_DISTRIBUTION_NUM_PROCESSES"),
    ("HOROVOD_RANK", "HOROVOD_SIZE"),  # with Gloo; with MPI, the latter's
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),  # jsrun of LSF
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI, Cray
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
ALONE = ("RANK", "PMIX_RANK", "KERAS_DISTRIBUTION_PROCESS_ID")
"""Ranks that may come without a count: PMIx has no variable for one, and of Keras the
engine may find it out."""


def current_shard() -> Shard:
    """The ``(index, count)`` of this process in the training job it runs in.

    Call it after the engine has been initialised, and pass the result as `shard`.
    What you pass is never overridden by what could be detected.

    Returns:
        `(0, 1)` where no job is found.

    Raises:
        ValueError: A launcher's variables make no sense.

    Warns:
        UserWarning: Two sources disagree. The first of the order above is believed.

    Example:
        >>> train = SparseBatchSequence(x, y, remainder="pad", shard=current_shard())
    """
    found = list(_answers())
    if not found:
        for name in ALONE:
            rank = os.environ.get(name, "")
            if rank.isdecimal() and int(rank) > 0:
                raise ValueError(
                    f"`WORLD_SIZE` must be set where {name} is; received {name}={rank} "
                    f"alone, of a job of more than one process. Pass shard=(index, "
                    f"count) yourself, or set RANK and WORLD_SIZE."
                )
        return 0, 1
    name, shard = found[0]
    for other, answer in found[1:]:
        if answer != shard:
            warnings.warn(
                f"{name} says that this process is shard {shard}, {other} says "
                f"{answer}; current_shard() believes {name}. Pass "
                f"shard=(index, count) yourself where that is wrong.",
                stacklevel=2,
            )
            break
    return shard


def _answers() -> Iterator[tuple[str, Shard]]:
    for name, ask in (
        ("jax.distributed", _jax),
        ("tf.distribute", _tensorflow),
        ("torch.distributed", _torch),
        ("TF_CONFIG", _tf_config),
    ):
        shard = ask()
        if shard is not None:
            yield name, shard
    for index, count in VARIABLES:
        shard = _variables(index, count)
        if shard is not None:
            yield f"{index} with {count}", shard
            if index.startswith("SLURM"):
                return  # the count of the step, not also that of the whole job


def _jax() -> Shard | None:
    jax = sys.modules.get("jax")
    if jax is None or not _jax_is_initialized(jax):
        return None
    return int(jax.process_index()), int(jax.process_count())


def _jax_is_initialized(jax: Any) -> bool:
    # Asking for the number of processes would start the devices, after which
    # jax.distributed can no longer be initialised.
    try:
        return bool(jax.distributed.is_initialized())
    except AttributeError:  # before JAX 0.5
        state = sys.modules["jax._src.distributed"].global_state
        return state.client is not None


def _tensorflow() -> Shard | None:
    tf = sys.modules.get("tensorflow")
    if tf is None or not tf.distribute.has_strategy():
        return None
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None:  # one process, however many devices
        return None
    return _task(
        resolver.cluster_spec().as_dict(), resolver.task_type, resolver.task_id
    )


def _torch() -> Shard | None:
    torch = sys.modules.get("torch.distributed")
    if torch is None or not torch.is_available() or not torch.is_initialized():
        return None
    return int(torch.get_rank()), int(torch.get_world_size())


def _tf_config() -> Shard | None:
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        config = json.loads(text)
        task = config.get("task", {})
        shard = _task(
            config.get("cluster", {}), task.get("type"), int(task.get("index", 0))
        )
        if shard is not None and not 0 <= shard[0] < shard[1]:
            raise ValueError("no such task in the cluster")
        return shard
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`TF_CONFIG` must be JSON with a cluster and a task; received "
            f"{shown(text)}. Correct it, or pass shard=(index, count) yourself."
        ) from error


def _task(cluster: Mapping[str, Any], kind: str | None, index: int) -> Shard | None:
    """The number of a task among those that train, counted as TensorFlow does."""
    if "ps" in cluster or kind not in ("chief", "worker"):
        return None  # not told by a task's number, or it does not train
    chiefs = len(cluster.get("chief", ()))
    count = chiefs + len(cluster.get("worker", ()))
    return (index if kind == "chief" else chiefs + index), count


def _variables(index: str, count: str) -> Shard | None:
    given = os.environ.get(index), os.environ.get(count)
    if None in given:
        return None
    if count == "SLURM_NTASKS" and "SLURM_JOB_ID" in os.environ:
        # Set without a number of tasks of the step in the batch script itself: it
        # runs once, however many tasks it may start with srun.
        return None
    try:
        number, total = int(given[0] or ""), int(given[1] or "")
        if not 0 <= number < total:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"`{index}` must be an integer in [0, {count}); received {index}="
            f"{shown(given[0])} with {count}={shown(given[1])}. Correct them, or "
            f"pass shard=(index, count) yourself."
        ) from None
    return number, total

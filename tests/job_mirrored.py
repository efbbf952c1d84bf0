"""Keras 3 on two devices of one process; `test_jobs.py` starts it.

Argument: where to write results.
"""

from __future__ import annotations

import sys

import tensorflow as tf

DEVICES = 2
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * DEVICES,
)

import keras  # noqa: E402
import numpy as np  # noqa: E402
from job_tasks import GLOBAL_BATCH, Task, tasks  # noqa: E402

from sequence_loader import SparseBatchSequence, current_shard  # noqa: E402

STRATEGY = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(DEVICES)])


def sequence(task: Task, remainder: str = "keep"):
    return SparseBatchSequence(
        task.x,
        task.y,
        batch_size=GLOBAL_BATCH,
        remainder=remainder,
        seed=5,
        shuffle=True,
        **task.options,
    )


SCALES = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 8)
"""Whether Keras divides losses by the number of replicas, whose gradients it adds."""


def fitted(task: Task, data, strategy, rate: float = 1):
    with strategy.scope():
        model = task.model(keras, rate)
    model.fit(data, epochs=task.epochs, shuffle=False, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()])


def distributed(task: Task):
    """The targets of each batch, which a strategy cuts in two."""
    found = []
    dataset = STRATEGY.experimental_distribute_dataset(
        sequence(task, "drop").to_tf_dataset()
    )
    for _, targets in dataset:
        parts = STRATEGY.experimental_local_results(targets)
        assert [len(part) for part in parts] == [GLOBAL_BATCH // DEVICES] * DEVICES
        found.append(np.concatenate([part.numpy() for part in parts]))
    return np.array(found)


def raised(call) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def main() -> None:
    todo, plain = tasks(), tf.distribute.get_strategy()
    dense, sparse, network = todo["dense"], todo["sparse"], todo["dense_network"]
    with STRATEGY.scope():
        detected = current_shard()
        sparse_dataset = raised(sequence(sparse).to_tf_dataset)
    np.savez(
        f"{sys.argv[1]}/rank0.npz",
        detected=np.array(detected),
        sequence=fitted(dense, sequence(dense), STRATEGY),
        dataset=fitted(dense, sequence(dense).to_tf_dataset(), STRATEGY),
        network=fitted(network, sequence(network, "pad"), STRATEGY),
        network_alone=fitted(
            network, sequence(network, "pad"), plain, 1 if SCALES else DEVICES
        ),
        sparse=raised(lambda: fitted(sparse, sequence(sparse), STRATEGY)),
        sparse_dataset=sparse_dataset,
        distributed=distributed(dense),
    )


if __name__ == "__main__":
    main()

"""One process of a training job on tf-keras; `test_jobs.py` starts it.

Arguments: where to write results, and the tasks to train; none: the first, for ever.
"""

from __future__ import annotations

import json
import os
import sys

import tensorflow as tf

# First of all: it can only be made before TensorFlow has computed anything.
CONFIG = json.loads(os.environ["TF_CONFIG"])
COUNT, RANK = len(CONFIG["cluster"]["worker"]), CONFIG["task"]["index"]
if len(sys.argv) > 2 and COUNT > 1:
    # TensorFlow gives up on a worker after 10 s, which a busy machine may well take.
    try:
        from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    except ImportError:  # an older TensorFlow
        from tensorflow.tsl.protobuf import coordination_config_pb2
    from tensorflow.python.eager import context

    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        heartbeat_timeout_in_ms=100_000,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=COUNT)
        ],
    )
STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()

import job_dropped  # noqa: E402
import numpy as np  # noqa: E402
import tf_keras as keras  # noqa: E402
from job_tasks import GLOBAL_BATCH, Task, tasks  # noqa: E402

from sequence_loader import SparseBatchSequence, current_shard  # noqa: E402


class Steps(keras.callbacks.Callback):
    """Counts steps and says when training is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count == 10:
            print("under way", flush=True)


def sequence(task: Task, **options):
    arguments = {
        "batch_size": GLOBAL_BATCH // COUNT,
        "remainder": "pad",
        "shard": (RANK, COUNT),
        "seed": 5,
        "shuffle": True,
        **task.options,
        **options,
    }
    return SparseBatchSequence(task.x, task.y, **arguments)


def train(task: Task) -> dict:
    """Trains a task for its epochs, and tells what came of it."""
    train, steps = sequence(task), Steps()
    with STRATEGY.scope():
        model = task.model(keras)
    dataset = STRATEGY.distribute_datasets_from_function(
        lambda context: train.to_tf_dataset().repeat()
    )
    history = model.fit(
        dataset,
        epochs=task.epochs,
        steps_per_epoch=len(train),
        verbose=0,
        callbacks=[steps],
    )
    batches = [batch for epoch in range(task.epochs) for batch in epoch_of(task, epoch)]
    return {
        "steps": steps.count,
        "rows": np.array([rows for rows, _ in batches]),
        "row_weights": np.array([weights for _, weights in batches]),
        "weights": np.concatenate([w.ravel() for w in model.get_weights()]),
        "loss": np.array(history.history["loss"]),
    }


def epoch_of(task: Task, epoch: int):
    same = sequence(task)
    same.set_epoch(epoch)
    return [(same.batch_rows(i), same[i][2]) for i in range(len(same))]


def raised(call) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def main() -> None:
    folder, *names = sys.argv[1:]
    todo = tasks()
    if not names:
        todo["dense"].epochs = 10**6
        train(todo["dense"])
    with STRATEGY.scope():
        results = {"detected": np.array(current_shard())}
    for name in names:
        for key, value in train(todo[name]).items():
            results[f"{name}_{key}"] = value
    if COUNT == 1:
        results["iterators_let_go"] = job_dropped.let_go_of_iterators(STRATEGY)
    else:
        with STRATEGY.scope():
            model = todo["dense"].model(keras)
        results["sequence"] = raised(
            lambda: model.fit(sequence(todo["dense"]), verbose=0)
        )
    np.savez(f"{folder}/rank{RANK}.npz", **results)


if __name__ == "__main__":
    main()

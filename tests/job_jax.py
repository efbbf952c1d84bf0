"""One process of a training job on JAX; `test_jobs.py` starts it.

Arguments: where to write results, and the tasks to train; none: the first, for ever.
"""

from __future__ import annotations

import inspect
import os
import random
import sys
import warnings

import jax

from sequence_loader import current_shard

RANK, COUNT = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
# By the variables; asking JAX now would start it, and `initialize` would fail.
BEFORE = current_shard()
# Where one is to be killed that is noticed soon; others may have to wait for long.
PATIENCE = {"heartbeat_timeout_seconds": 100 if sys.argv[2:] else 10}
KNOWN = inspect.signature(jax.distributed.initialize).parameters
if not PATIENCE.keys() <= KNOWN.keys():
    PATIENCE = {}  # an older JAX
jax.distributed.initialize(
    f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
    COUNT,
    RANK,
    **PATIENCE,
)

import keras  # noqa: E402
import numpy as np  # noqa: E402
from job_tasks import GLOBAL_BATCH, Task, tasks  # noqa: E402

from sequence_loader import SparseBatchSequence  # noqa: E402


def distribute(auto_shard_dataset: bool = False) -> None:
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(auto_shard_dataset=auto_shard_dataset)
    )


class Steps(keras.callbacks.Callback):
    """Counts steps and says when training is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count == 10:
            print("under way", flush=True)


class Recorded(SparseBatchSequence):
    """Writes down the rows of each batch that is read, and their weights."""

    def __init__(self, *arguments, **options):
        self.rows, self.weights, self.shapes = [], [], set()
        super().__init__(*arguments, **options)

    def __getitem__(self, index):
        batch = super().__getitem__(index)
        self.rows.append(self.batch_rows(index))
        self.weights.append(np.asarray(batch[2]))
        self.shapes.add((*batch[0].shape, getattr(batch[0], "nse", 0)))
        return batch


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
    return Recorded(task.x, task.y, **arguments)


def train(task: Task) -> dict:
    """Trains a task for its epochs, and tells what came of it."""
    train, model, steps = sequence(task), task.model(keras), Steps()
    random.seed(RANK)  # Keras would shuffle the numbers of shared batches by it
    history = model.fit(
        train, epochs=task.epochs, shuffle=COUNT > 1, verbose=0, callbacks=[steps]
    )
    return {
        "steps": steps.count,
        "rows": np.array(train.rows),
        "row_weights": np.array(train.weights),
        "weights": np.concatenate([w.ravel() for w in model.get_weights()]),
        "loss": np.array(history.history["loss"]),
        "shapes": np.array(sorted(train.shapes)),
    }


def raised(call) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def complaints(task: Task) -> dict:
    """What is said of sequences and datasets that do not fit the job."""
    wrong = sequence(task, shard=(0, COUNT + 1))
    alone = sequence(task, shard=(0, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        alone.on_epoch_begin()
    found = {
        "shard_of_sparse": raised(lambda: wrong[0]),
        "shard_of_epoch": raised(wrong.on_epoch_begin),
        "unsharded": str(caught[0].message) if caught else "",
        "sparse_dataset": raised(sequence(task).to_tf_dataset),
    }
    distribute(auto_shard_dataset=True)
    dense = sequence(task, output="dense")
    found["auto_shard_dataset"] = raised(dense.to_tf_dataset)
    found["auto_shard_fit"] = raised(
        lambda: task.model(keras).fit(sequence(task), verbose=0)
    )
    distribute()
    return found


def one_replica(task: Task) -> dict:
    """What is said where the processes hold one model between them."""
    mesh = keras.distribution.DeviceMesh(
        (1, COUNT), ("batch", "model"), keras.distribution.list_devices()
    )
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(
            layout_map=keras.distribution.LayoutMap(mesh),
            batch_dim_name="batch",
            auto_shard_dataset=False,
        )
    )
    dense = {"output": "dense", "shard": (0, 1)}
    drawn, given = (sequence(task, seed=seed, **dense) for seed in (None, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given.on_epoch_begin()
    found = {
        "drawn": raised(drawn.on_epoch_begin),
        "drawn_dataset": raised(drawn.to_tf_dataset),
        "parts_of_replica": raised(sequence(task).on_epoch_begin),
    }
    distribute()
    return found


def train_dataset(task: Task):
    model = task.model(keras)
    model.fit(sequence(task).to_tf_dataset(), epochs=2, shuffle=False, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()])


def main() -> None:
    folder, *names = sys.argv[1:]
    if COUNT > 1:
        distribute()
    results = {"before": np.array(BEFORE), "detected": np.array(current_shard())}
    todo = tasks()
    if not names:
        todo["dense"].epochs = 10**6
        train(todo["dense"])
    for name in names:
        for key, value in train(todo[name]).items():
            results[f"{name}_{key}"] = value
    if COUNT > 1:
        results.update(complaints(todo["sparse"]))
        results.update(one_replica(todo["sparse"]))
        results["dataset"] = train_dataset(todo["dense"])
    else:
        distribute()
        results["sparse_alone"] = raised(lambda: sequence(todo["sparse"])[0])
    np.savez(f"{folder}/rank{RANK}.npz", **results)


if __name__ == "__main__":
    main()

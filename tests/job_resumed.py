"""One process of a job on JAX that fails in the middle and goes on; see `test_jobs.py`.

    job_resumed.py DIRECTORY

Two processes train without a break, then fail, then go on. A process alone, with two
devices, goes on where the two had failed. DIRECTORY is the same for both jobs.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import jax

RANK, COUNT = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
if COUNT > 1:
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    jax.distributed.initialize(address, COUNT, RANK)

import keras  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402

from sequence_loader import SequenceCheckpoint, SparseBatchSequence  # noqa: E402

ROWS, FEATURES, GLOBAL_BATCH, EPOCHS, FAILS = 205, 30, 16, 3, 19


class Draws(keras.callbacks.Callback):
    """Draws from this process's own generators at each step, and fails at one.

    Or it fills the disk of the first process.
    """

    def __init__(self, fails: int, fills: bool) -> None:
        super().__init__()
        self.fails, self.drawn, self.fills = fails, [], fills and RANK == 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.drawn.append([random.random(), np.random.random()])
        if self.fills:
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        if len(self.drawn) == self.fails:
            raise InterruptedError


class Holds(keras.callbacks.Callback):
    """Holds what cannot be saved, in the first process, after some batches."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1

    def state_dict(self) -> Any:
        return {"held": self if RANK == 0 and self.left <= 0 else None}

    def load_state_dict(self, state: Any) -> None:
        raise AssertionError


def sequence(output: str, rows: slice, **options: Any) -> SparseBatchSequence:
    x = sp.random(
        ROWS, FEATURES, density=0.3, format="csr", dtype="float32", random_state=1
    )
    y = (np.asarray(x.sum(axis=1)).ravel() > 4.5).astype("float32")
    return SparseBatchSequence(
        x[rows], y[rows], batch_size=GLOBAL_BATCH // COUNT, output=output,
        remainder="pad", shard=(RANK, COUNT), **options,
    )  # fmt: skip


def train(
    path: Path, output: str, fails: int = 0, every: int = 4, fills: bool = False,
    holds: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Trains a new model; what came of it."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,), sparse=output == "sparse"),
            keras.layers.Dense(16, "relu"),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    random.seed(RANK)
    np.random.seed(RANK)
    draws = Draws(fails, fills)
    data = sequence(output, slice(None), shuffle=True, seed=3)
    saves = SequenceCheckpoint(path, data, every=every, keep=2, on_error="raise")
    try:
        history = model.fit(
            data, epochs=EPOCHS, shuffle=False, verbose=0,
            callbacks=[draws, saves, *([] if holds is None else [Holds(holds)])],
            validation_data=sequence(output, slice(0, 64)),
        ).history  # fmt: skip
    except InterruptedError:
        return {}
    variables = [*model.variables, *model.optimizer.variables]
    return {
        **{f"variable {n}": np.asarray(v.value) for n, v in enumerate(variables)},
        **{name: np.array(values) for name, values in history.items()},
        "drawn": np.array(draws.drawn),
    }


def refused(*arguments: Any, **options: Any) -> str:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        train(*arguments, **options)
    except (ValueError, TypeError, OSError) as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    return ""


def main(folder: Path) -> None:
    shared = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(shared)
    found: dict[str, Any] = {}
    if COUNT == 1:
        found = train(folder / "dense alone", "dense")
    else:
        for output in "dense", "sparse":
            whole = train(folder / "whole", output)
            found.update({f"{output} {name}": value for name, value in whole.items()})
            assert not train(folder / output, output, FAILS)
        if RANK == 0:
            shutil.copytree(folder / "dense", folder / "dense alone")
        found["every"] = refused(folder / f"every {RANK}", "sparse", every=4 + RANK)
        own = folder / ("sparse" if RANK == 0 else "nowhere")
        found["elsewhere"] = refused(own, "sparse")
        found["full"] = refused(folder / "full", "sparse", fills=True)
        for after in 0, 5:
            own = folder / f"held {after}"
            found[own.name] = refused(own, "dense", holds=after)
            found[f"{own.name} saved"] = len(list(own.glob("*.checkpoint")))
        resumed = train(folder / "sparse", "sparse")
        found.update({f"resumed {name}": value for name, value in resumed.items()})
    np.savez(folder / f"rank{RANK} of {COUNT}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

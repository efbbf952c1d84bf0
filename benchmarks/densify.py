"""`fit` with `Densify`, against `fit` on dense batches.

    KERAS_BACKEND=jax python benchmarks/densify.py

The guide's MLP, batches of 128 rows: 64 units and a softmax, of dense batches, of
sparse ones behind `Densify`, and of sparse ones that `Dense` takes itself. They take
turns, each from the sequence and, on TensorFlow, from its dataset.
"""

from __future__ import annotations

import os
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from shapes import CLASSES, SHAPES  # noqa: E402
from timing import Job, rounds_of  # noqa: E402

from sequence_loader import SparseBatchSequence  # noqa: E402
from sequence_loader.layers import Densify  # noqa: E402

BATCH, STEPS, ROUNDS = 128, 12, 5


def mlp(features: int, first: list[Any], *, sparse: bool) -> Any:
    """The model; on torch a plain `Input` takes sparse batches."""
    layers = keras.layers
    sparse = sparse and keras.backend.backend() != "torch"
    model = keras.Sequential(
        [
            keras.Input((features,), sparse=sparse),
            *first,
            layers.Dense(64, "relu"),
            layers.Dense(CLASSES, "softmax"),
        ]
    )
    xla = False if keras.backend.backend() == "tensorflow" else "auto"
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=xla)
    return model


def job(model: Any, data: Any) -> Job:
    """One `fit` over the rows."""
    return lambda: model.fit(data, shuffle=False, verbose=0)


def main() -> None:
    """Measures, and prints a line for each way."""
    backend = keras.backend.backend()
    for shape in SHAPES.values():
        x, y = shape.matrix(BATCH * STEPS)
        jobs: dict[str, Job] = {}
        for name, output, first in (
            ("dense", "dense", []),
            ("Densify", "sparse", [Densify()]),
            ("sparse", "sparse", []),
        ):
            data = SparseBatchSequence(
                x, y, batch_size=BATCH, shuffle=True, seed=1, output=output
            )
            model = mlp(shape.features, first, sparse=output == "sparse")
            jobs[f"{name}, sequence"] = job(model, data)
            if backend == "tensorflow":
                jobs[f"{name}, dataset"] = job(model, data.to_tf_dataset())
        rounds = rounds_of(jobs, ROUNDS)
        for name, found in rounds.items():
            plain = rounds[f"dense, {name.split(', ')[1]}"]
            ratios = [one.seconds / two.seconds for one, two in zip(found, plain)]
            low, ratio, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            print(
                f"{backend} {shape.name} {name}: "
                f"{median(one.seconds for one in found) / STEPS * 1e3:.1f} ms a step, "
                f"{median(one.cpu_seconds for one in found) / STEPS * 1e3:.1f} of CPU; "
                f"{ratio:.2f} ({low:.2f} to {high:.2f}) of dense",
                flush=True,
            )


if __name__ == "__main__":
    main()

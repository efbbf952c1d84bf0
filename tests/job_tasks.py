"""What the processes of the jobs in `test_jobs.py` train."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

ROWS, FEATURES, GLOBAL_BATCH, EXTRA = 1003, 40, 64, 30


@dataclass
class Task:
    """A model of its own data.

    Attributes:
        x, y: Rows and targets.
        kind: "counting" (see `keras_contract.real_keras`) or "network".
        sparse: Whether the model takes sparse rows.
        options: Arguments of the sequence.
        epochs: How often to train.
    """

    x: Any
    y: Any
    kind: str
    sparse: bool
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 2

    @property
    def width(self) -> int:
        """Features of a row that is served."""
        extra = EXTRA if "transform" in self.options else 0
        return self.x.shape[1] + extra

    def model(self, keras: Any, rate: float = 1) -> Any:
        """The same initial weights in every process; `rate` times a network's rate."""
        keras.utils.set_random_seed(11)
        inputs = keras.Input((self.width,), sparse=self.sparse)
        if self.kind == "network":
            layers = [
                keras.layers.Dense(16, activation="tanh"),
                keras.layers.Dense(1),
            ]
            optimizer = keras.optimizers.SGD(2 * rate / self.width)
            loss = "mean_squared_error"
        else:
            layers = [
                keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
            ]
            optimizer, loss = keras.optimizers.SGD(1.0), sum_of_outputs(keras)
        model = keras.Sequential([inputs, *layers])
        # XLA would take longer than the job; to JAX it is what compiles.
        options = {"jit_compile": False} if keras.backend.backend() != "jax" else {}
        model.compile(optimizer, loss, **options)
        return model


def sum_of_outputs(keras: Any) -> Any:
    """A loss whose gradient for a row's own weight is its sample weight."""

    class SumOfOutputs(keras.losses.Loss):
        def __init__(self) -> None:
            super().__init__(reduction="sum")

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return y_pred[..., 0]

    return SumOfOutputs()


def add_a_value(rows: Any) -> Any:
    """A transform that stores more than the source, in some rows only."""
    extra = sp.csr_array((np.asarray(rows.sum(axis=1)) > 600).reshape(-1, 1) * 1.0)
    return sp.hstack([rows, *[extra] * EXTRA], format="csr").astype("float32")


def keep_some(rows: Any, rng: np.random.Generator) -> Any:
    """An augmentation that takes values away."""
    rows = rows.copy()
    rows.data *= rng.random(len(rows.data)) < 0.7
    rows.eliminate_zeros()
    return rows


def tasks() -> dict[str, Task]:
    """What a job can train, by name."""
    one_hot = sp.csr_array(sp.eye(ROWS, dtype=np.float32))
    ids = np.arange(ROWS, dtype=np.float32)
    random = np.random.default_rng(0)
    features = sp.random(
        ROWS, FEATURES, density=0.3, format="csr", dtype=np.float32, random_state=random
    )
    # Rows of very unequal length: some batches hold twice as much as others.
    heavy = sp.csr_array(features.multiply((ids % 97 > 40)[:, None]))
    heavy = sp.hstack([heavy] * 20, format="csr").astype(np.float32)
    target = np.asarray(features.sum(axis=1)).ravel() / FEATURES
    output = {"output": "sparse"}
    return {
        "dense": Task(one_hot, ids, "counting", False),
        "dense_network": Task(features, target, "network", False),
        "sparse": Task(one_hot, ids, "counting", True, output),
        "sparse_network": Task(heavy, target, "network", True, output),
        "transformed": Task(
            heavy,
            target,
            "network",
            True,
            {**output, "transform": add_a_value, "augment": keep_some},
            1,
        ),
    }

"""The script that `test_killed` kills: trains, saves, and says what it is doing.

    python killed_fit.py DIRECTORY dense|sparse sequence|dataset

It writes a line for each thing that happens: ``b`` a batch was trained, ``v`` one of
the validation, ``w`` a checkpoint begins to be written, ``r`` it is to be renamed,
``d`` all are to be deleted. What was trained is appended to DIRECTORY/log, the end to
DIRECTORY/result.npz.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import scipy.sparse as sp

from sequence_loader import SequenceCheckpoint, SparseBatchSequence
from sequence_loader.feed.checkpoint_files import CheckpointFolder

ROWS, FEATURES = 205, 30


def say(what: str) -> None:
    print(what, flush=True)


class Says(keras.callbacks.Callback):
    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = open(log, "a", encoding="ascii")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._log.write(f"{self._epoch} {batch}\n")
        self._log.flush()
        say("b")
        time.sleep(0.003)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        say("v")


def watched(name: str, word: str) -> None:
    own = getattr(CheckpointFolder, name)

    def method(self: Any, *arguments: Any) -> Any:
        say(word)
        return own(self, *arguments)

    setattr(CheckpointFolder, name, method)


def main(directory: Path, output: str, fed: str) -> None:
    watched("_write", "w")
    watched("delete", "d")
    rename = os.replace

    def renamed(*paths: Any) -> None:
        say("r")
        rename(*paths)

    os.replace = renamed  # type: ignore[assignment]
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    x = sp.random(ROWS, FEATURES, density=0.3, format="csr", random_state=random)
    y = (np.asarray(x.sum(axis=1)).ravel() > 4.5).astype("float32")
    layers, backend = keras.layers, keras.backend.backend()
    sparse = output == "sparse" and backend != "torch"  # which has no such Input
    model = keras.Sequential(
        [
            keras.Input((FEATURES,), sparse=sparse),
            layers.Dense(16, "relu"),
            layers.Dropout(0.4),
            layers.Dense(1, "sigmoid"),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(0.05, 60)
    model.compile(
        keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy", "auc"],
        jit_compile=backend == "jax",
    )  # fmt: skip
    options: Any = {"batch_size": 10, "output": output, "dtype": "float32"}
    train = SparseBatchSequence(x, y, shuffle=True, seed=3, **options)
    history = model.fit(
        train if fed == "sequence" else train.to_tf_dataset(),
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=SparseBatchSequence(x[:60], y[:60], **options),
        callbacks=[
            SequenceCheckpoint(directory / "run", train, every=4, keep=2),
            Says(directory / "log"),
        ],
    )
    variables = [*model.variables, *model.optimizer.variables]
    arrays = [keras.ops.convert_to_numpy(each.value) for each in variables]
    beside = directory / "result.tmp.npz"
    np.savez(beside, *arrays, **{k: np.array(v) for k, v in history.history.items()})
    beside.rename(directory / "result.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

"""What `SequenceCheckpoint` costs: `fit` with it beside `fit` without, in turns.

    python benchmarks/checkpoint.py                 # the guide's MLP, 15 MB of state
    python benchmarks/checkpoint.py --units 2000 --every 500   # 480 MB of state

Rounds alternate in one process; a ratio is of the medians. The one that saves has
trained the same batches, of the same model; its last save is waited for.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import scipy.sparse as sp

from sequence_loader import SequenceCheckpoint, SparseBatchSequence

FEATURES, NONZEROS, BATCH = 20_000, 86, 128


def made_model(units: int) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dropout(0.2),
            layers.Dense(units, "relu"),
            layers.Dropout(0.2),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = options.batches * BATCH
    rng = np.random.default_rng(1)
    x = sp.csr_array(
        (
            np.ones(rows * NONZEROS, np.float32),
            rng.integers(0, FEATURES, rows * NONZEROS, dtype=np.int32),
            np.arange(0, rows * NONZEROS + 1, NONZEROS),
        ),
        shape=(rows, FEATURES),
    )
    y = rng.integers(0, 2, rows).astype("float32")
    train = SparseBatchSequence(x, y, batch_size=BATCH, shuffle=True, seed=1)
    model = made_model(options.units)
    model.fit(train, epochs=1, verbose=0, shuffle=False)  # builds and warms up
    folder = Path(tempfile.mkdtemp())
    wall: dict[bool, list[float]] = {False: [], True: []}
    cpu: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(options.rounds):
        for saves in (False, True):
            callbacks = []
            if saves:
                callbacks = [
                    SequenceCheckpoint(folder / "run", train, every=options.every)
                ]
            begun, used = time.perf_counter(), resource.getrusage(0)
            model.fit(train, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
            wall[saves].append(time.perf_counter() - begun)
            now = resource.getrusage(0)
            cpu[saves].append(
                now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            )
    shutil.rmtree(folder)
    state = sum(
        int(np.prod(each.shape)) * 4
        for each in [*model.variables, *model.optimizer.variables]
    )
    print(f"{state / 1e6:.0f} MB of state, every {options.every} batches of {BATCH}")
    for name, seconds in (("wall", wall), ("cpu", cpu)):
        without, with_it = (statistics.median(seconds[s]) for s in (False, True))
        print(
            f"{name}: {without:.2f} s without, {with_it:.2f} s with it, "
            f"{with_it / without - 1:+.1%}"
        )


if __name__ == "__main__":
    main()

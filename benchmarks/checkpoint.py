"""What `SequenceCheckpoint` costs: `fit` with it beside `fit` without, in turns.

    python benchmarks/checkpoint.py                 # the guide's MLP, 15 MB of state
    # 480 MB of state; a fit of 20 batches saves twice, its cost is told of every 500:
    python benchmarks/checkpoint.py --units 2000 --batches 20 --every 10 --of 500

Rounds alternate in one process. The one that saves has trained the same batches, of the
same model; its last save is waited for. Each pair of fits gives what a save costs, as a
share of the batches between two saves; the median, the quartiles and the ends are told.
Without MALLOC_TOP_PAD_=67108864 (README) a step takes one of two times, and a save may
move it from one to the other: that is more than what it costs.

2026-11-29, two cores, TensorFlow, with it. 15 MB, every 100 batches: wall +0.8 % (half
of the rounds -3.8 to +24 %), CPU +1.9 % (+0.3 to +2.4 %). 480 MB, every 500: wall
+1.8 % (+0.3 to +2.0 %), CPU +0.9 % (+0.8 to +1.0 %).
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
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--of", type=int, help="batches between saves, or --every")
    parser.add_argument("--rounds", type=int, default=7)
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
    print(f"{state / 1e6:.0f} MB of state, batches of {BATCH}")
    saves = -(-options.batches // options.every)
    between = options.of or options.every
    for name, seconds in (("wall", wall), ("cpu", cpu)):
        pairs = list(zip(seconds[False], seconds[True]))
        step = statistics.median(seconds[False]) / options.batches
        each = statistics.median(b - a for a, b in pairs) / saves
        shares = [(b / a - 1) * options.batches / saves / between for a, b in pairs]
        low, middle, high = statistics.quantiles(shares, n=4)
        print(
            f"{name}: {step * 1e3:.2f} ms a step, {each * 1e3:.1f} ms a save: every "
            f"{between} batches {middle:+.2%} ({low:+.2%} to {high:+.2%}, all "
            f"{min(shares):+.2%} to {max(shares):+.2%})"
        )


if __name__ == "__main__":
    main()

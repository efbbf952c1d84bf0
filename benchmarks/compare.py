"""Ours against what people write today, side by side in one process.

    python benchmarks/compare.py [--rows 60000] [--batches 100] [--repeats 3] [--json]

The TEXT shape: 20,000 features, 86 nonzeros a row; batches of 128. Each feed is
drained alone, inside TensorFlow's graph, through the adapter that `fit` uses, and
then trained from, one epoch of a Dense(64)-softmax network. The floor is `fit` on
one batch served again and again: no loader at all. All feeds take turns, and the
best of the repeats counts. Read the ratios: the times are this machine's.

Peers: the batch generator of the text-classification guide, a Sequence that returns
``x[rows].toarray()``, one that returns ``tf.SparseTensor``, ``fit(x=csr)``, and
imbalanced-learn's BalancedBatchGenerator where Keras takes it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras.src.trainers.data_adapters import get_data_adapter  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from sequence_loader import SparseBatchSequence  # noqa: E402

FEATURES, PER_ROW, CLASSES, BATCH = 20_000, 86, 20, 128
BASELINE = {"dense": "naive Sequence", "sparse": "naive SparseTensor Sequence"}


def text_matrix(rows: int) -> tuple[sp.csr_array, np.ndarray]:
    """Random rows of the TEXT shape, and labels."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, FEATURES, (rows, PER_ROW)), axis=1)
    x = sp.csr_array(
        (
            rng.random(rows * PER_ROW, dtype=np.float32),
            columns.astype(np.int32).ravel(),
            np.arange(0, rows * PER_ROW + 1, PER_ROW, dtype=np.int32),
        ),
        shape=(rows, FEATURES),
    )
    x.sum_duplicates()
    return x, rng.integers(0, CLASSES, rows)


class NaiveDense(keras.utils.Sequence):
    """``x[rows].toarray()``."""

    def __init__(self, x: Any, y: np.ndarray, rows: np.ndarray) -> None:
        super().__init__()
        self.x, self.y, self.rows = x, y, rows

    def __len__(self) -> int:
        return len(self.rows) // BATCH

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self.rows[index * BATCH : (index + 1) * BATCH]
        return self.x[rows].toarray(), self.y[rows]


class NaiveSparse(NaiveDense):
    """A ``tf.SparseTensor`` made from COO."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self.rows[index * BATCH : (index + 1) * BATCH]
        coo = self.x[rows].tocoo()
        indices = np.stack(coo.coords, axis=1).astype(np.int64)
        return tf.SparseTensor(indices, coo.data, coo.shape), self.y[rows]


class Constant(keras.utils.Sequence):
    """One batch again and again: what `fit` costs without a loader."""

    def __init__(self, batch: tuple[Any, Any], length: int) -> None:
        super().__init__()
        self.batch, self.length = batch, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.batch


def guide_generator(x: Any, y: np.ndarray) -> Iterator[tuple[Any, Any]]:
    """The batch generator of the guide."""
    while True:
        for start in range(0, len(y) - BATCH + 1, BATCH):
            yield x[start : start + BATCH].toarray(), y[start : start + BATCH]


def constant_dataset(batch: tuple[Any, Any], length: int) -> tf.data.Dataset:
    """The same floor without Keras's adapter: tensors that are there already."""
    return tf.data.Dataset.from_tensors(batch).cache().repeat(length)


def network(sparse: bool) -> keras.Model:
    """The network of the guide, without dropout, which takes no sparse input."""
    model = keras.Sequential(
        [
            keras.Input((FEATURES,), sparse=sparse),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def drain(feed: Any, steps: int) -> Callable[[], Any]:
    """Reads `steps` batches inside the graph, through Keras's own adapter."""
    dataset = get_data_adapter(feed).get_tf_dataset().take(steps)
    return lambda: dataset.reduce(np.int64(0), lambda count, *batch: count + 1)


def balanced(x: Any, y: np.ndarray) -> Any:
    """imbalanced-learn's generator, or why it cannot be measured."""
    try:
        from imblearn.keras import BalancedBatchGenerator

        feed = BalancedBatchGenerator(
            sp.csr_matrix(x), y, batch_size=BATCH, random_state=0
        )
        feed[0]
        network(sparse=False).fit(feed, steps_per_epoch=1, verbose=0)
        return feed
    except Exception as error:  # whatever keeps it from working is the answer
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def measure(
    jobs: dict[str, Callable[[], Any]], rows: int, repeats: int
) -> dict[str, float]:
    """Thousand rows a second, the best of `repeats` rounds in turn."""
    best = dict.fromkeys(jobs, float("inf"))
    for job in jobs.values():
        job()  # traces and warms up
    for _ in range(repeats):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            best[name] = min(best[name], time.perf_counter() - started)
    return {name: rows / seconds / 1e3 for name, seconds in best.items()}


def compare(rows: int, steps: int, repeats: int) -> dict[str, Any]:
    """Measures everything.

    Args:
        rows: Rows of the matrix.
        steps: Batches in a round.
        repeats: Rounds.

    Returns:
        Thousand rows a second by output, road and feed, and notes.
    """
    x, y = text_matrix(rows)
    served = np.random.default_rng(1).permutation(rows)[: steps * BATCH]
    results: dict[str, Any] = {"notes": []}
    extra = balanced(x, y)
    if isinstance(extra, str):
        results["notes"].append(f"imbalanced-learn is not measured: {extra}")
    for output in ("dense", "sparse"):
        naive = NaiveDense if output == "dense" else NaiveSparse

        def ours() -> SparseBatchSequence:
            return SparseBatchSequence(
                x, y, batch_size=BATCH, shuffle=True, seed=1, rows=served,
                output=output, workers=2, max_queue_size=4,
            )

        constant = Constant(naive(x, y, served)[0], steps)
        feeds: dict[str, Any] = {
            BASELINE[output]: naive(x, y, served),
            "ours, Sequence": ours(),
            "ours, to_tf_dataset": ours().to_tf_dataset(),
            "constant batch": constant,
        }
        if output == "dense":
            feeds["guide's generator"] = guide_generator(x, y)
            if not isinstance(extra, str):
                feeds["imbalanced-learn"] = extra
        alone = {
            name: drain(feed, steps)
            for name, feed in feeds.items()
            if name not in ("guide's generator", "imbalanced-learn")
        }
        loops: dict[str, Any] = {}
        for name, feed in feeds.items():
            model = network(output == "sparse")
            loops[name] = lambda model=model, feed=feed: model.fit(
                feed, steps_per_epoch=steps, shuffle=False, verbose=0
            )
        floor = constant_dataset(constant.batch, steps)
        model = network(output == "sparse")
        loops["constant batch, tf.data"] = lambda: model.fit(
            floor, shuffle=False, verbose=0
        )
        if output == "sparse":
            expanded = network(sparse=True)
            small = sp.csr_matrix(x[np.sort(served)])
            loops["fit(x=csr)"] = lambda: expanded.fit(
                small, y[: small.shape[0]], batch_size=BATCH, verbose=0
            )
        results[output] = {
            "loader alone": measure(alone, steps * BATCH, repeats),
            "fit": measure(loops, steps * BATCH, repeats),
        }
    return results


def show(results: dict[str, Any]) -> None:
    """Prints tables of ratios."""
    console = Console()
    for output, baseline in BASELINE.items():
        for road, speeds in results[output].items():
            table = Table(title=f"{output}, {road}")
            for title in ("feed", "thousand rows/s", f"over {baseline}", "over floor"):
                table.add_column(title, justify="left" if title == "feed" else "right")
            floor = speeds.get("constant batch, tf.data", speeds["constant batch"])
            for name, speed in sorted(speeds.items(), key=lambda item: item[1]):
                table.add_row(
                    name,
                    f"{speed:.1f}",
                    f"{speed / speeds[baseline]:.2f}",
                    f"{speed / floor:.2f}",
                )
            console.print(table)
    for note in results["notes"]:
        console.print(note)


def main() -> None:
    """Reads the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*ran out of data.*")
    results = compare(args.rows, args.batches, args.repeats)
    print(json.dumps(results, indent=2)) if args.json else show(results)


if __name__ == "__main__":
    main()

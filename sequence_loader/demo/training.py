"""Stores of texts -> the network of Google's guide, trained with early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from sequence_loader.arrays import Integers
from sequence_loader.backends.which_keras import import_keras
from sequence_loader.demo.guide import (
    BATCH_SIZE,
    MIN_DELTA,
    PATIENCE,
    mlp,
    separable_cnn,
)
from sequence_loader.demo.stores import SEED, Vectorized
from sequence_loader.memory.free_memory import free_memory

SHOWN_CLASSES = 10
"""Rows and columns of a table of confusion; of more classes, the commonest pairs."""


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Attributes:
        model: The network.
        accuracy: On the validation texts, after the last epoch.
        epochs: How many were trained.
        memory: Private bytes the process gained; None where it cannot be read.
        predicted: The class that it gives each text by which it is judged: those to
            test with, or else to validate with.
    """

    model: Any
    accuracy: float
    epochs: int
    memory: int | None
    predicted: Integers

    def judged(self, found: Vectorized) -> float:
        """Its accuracy on those texts."""
        return float(np.mean(np.asarray(found.judged.y) == self.predicted))


def train(found: Vectorized, epochs: int, console: Console) -> Trained:
    """Trains the guide's network for these rows, and says how each epoch ended.

    The texts to test with are looked at once, at the end.

    N-grams are fed as sparse batches, not dense ones, because that is the faster way on
    every CPU measured, and because no dense array is made anywhere between the texts
    and the weights.
    """
    from sequence_loader.feed.sequence import SparseBatchSequence

    keras = import_keras()
    keras.utils.set_random_seed(SEED)
    before = private_memory()
    options: dict[str, Any] = {"batch_size": BATCH_SIZE}
    options |= {"output": "sparse"} if found.is_grams else {"dtype": "int32"}
    whole = found.train.nbytes < free_memory() / 2
    feed = SparseBatchSequence(
        found.train, shuffle=True if whole else "block", seed=SEED, **options
    )
    validation = SparseBatchSequence(found.val, **options)
    model = _network(found)
    most_memory = before

    def report(epoch: int, logs: Mapping[str, float]) -> None:
        nonlocal most_memory
        most_memory = max(most_memory, private_memory())
        console.print(
            f"  epoch {epoch + 1}: loss {logs['loss']:.3f}, accuracy "
            f"{logs['accuracy']:.3f}; validation loss {logs['val_loss']:.3f}, "
            f"accuracy {logs['val_accuracy']:.3f}"
        )

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Training", total=len(feed))
        history = model.fit(
            feed,
            validation_data=validation,
            epochs=epochs,
            shuffle=False,  # the feed shuffles rows; Keras would only reorder batches
            verbose=0,
            callbacks=[
                keras.callbacks.EarlyStopping(
                    monitor="val_loss", patience=PATIENCE, min_delta=MIN_DELTA
                ),
                keras.callbacks.LambdaCallback(
                    on_epoch_begin=lambda epoch, logs: progress.reset(
                        task, description=f"Epoch {epoch + 1}"
                    ),
                    on_epoch_end=report,
                    on_train_batch_end=lambda batch, logs: progress.advance(task),
                ),
            ],
        ).history
    memory = most_memory - before if before else None
    judged = SparseBatchSequence(found.judged, **options)
    scores = np.asarray(model.predict(judged, verbose=0))
    return Trained(
        model,
        float(history["val_accuracy"][-1]),
        len(history["loss"]),
        memory,
        scores.argmax(axis=1),
    )


def _network(found: Vectorized) -> Any:
    classes, columns = len(found.class_names), found.train.num_features
    if found.is_grams:
        return mlp(columns, classes, sparse=True)
    words = len(found.vectorizer.words) + 1  # type: ignore[union-attr]
    return separable_cnn(words, columns, classes)


def confusion(found: Vectorized, predicted: Integers) -> Table:
    """Which classes are taken for which: a row for each true class.

    Of more than `SHOWN_CLASSES` it has the commonest mistakes.
    """
    names = [Text(name, overflow="ellipsis") for name in found.class_names]
    y, k = np.asarray(found.judged.y), len(names)
    whose = "validation" if found.test is None else "test"
    table = Table(title=f"Confusion of classes, of the {whose} texts")
    if k <= SHOWN_CLASSES:
        counts = np.bincount(y * k + predicted, minlength=k * k).reshape(k, k)
        table.add_column("is \\ taken for")
        for name in names:
            table.add_column(name, justify="right", max_width=14)
        for name, row in zip(names, counts.tolist()):
            table.add_row(name, *(f"{count:,}" for count in row))
        return table
    for column in ("is", "taken for"):
        table.add_column(column)
    table.add_column("texts", justify="right")
    wrong = y != predicted
    pairs, times = np.unique(y[wrong] * k + predicted[wrong], return_counts=True)
    for place in np.argsort(-times, kind="stable")[:SHOWN_CLASSES].tolist():
        true, taken = divmod(int(pairs[place]), k)
        table.add_row(names[true], names[taken], f"{times[place]:,}")
    return table


def private_memory() -> int:
    """Bytes this process has allocated; 0 where the system (not Linux) cannot say.

    Anonymous memory, in RAM or swapped out: pages of libraries are no allocation, and
    whether they count as private depends on who else runs TensorFlow.
    """
    try:
        with open("/proc/self/smaps_rollup") as lines:
            fields = [line.split() for line in lines]
    except OSError:
        return 0
    return sum(int(f[1]) for f in fields if f[0] in ("Anonymous:", "Swap:")) * 1024

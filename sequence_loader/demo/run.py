"""The demo: learn which package a docstring comes from, as with any texts of yours.

1. `collect_docstrings`: installed sources -> texts and labels (`Corpus`)
2. `write_file`: -> a csv file, as AG news or Yelp come
3. `vectorize`: -> two stores of TF-IDF n-grams (`Vectorized`)
4. `train`: `SparseBatchSequence` feeds -> a network that learned (`Trained`)
5. `measure_feeds`: what a generator, a Sequence and a dataset add to a step (`Speeds`)
6. `show_results`: -> tables

`demo.own` goes from step 3 to step 4 with files of a user.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from sequence_loader.arguments import argument
from sequence_loader.backends.quiet import quiet_tensorflow
from sequence_loader.backends.which_keras import import_keras, keras_backend
from sequence_loader.demo.corpus import Corpus, collect_docstrings
from sequence_loader.demo.guide import BATCH_SIZE, Split
from sequence_loader.demo.own import quiet_console
from sequence_loader.demo.speed import Figure, Speeds, measure_feeds
from sequence_loader.demo.stores import (
    SEED,
    Vectorized,
    opened,
    vectorize,
)
from sequence_loader.demo.training import Trained, confusion, train

# With fewer the validation split is too small to tell learning from luck.
MIN_TEXTS = 1_000
# A network that learned nothing answers the commonest class and scores its share.
# Ours ends 0.48 above it in the full run and 0.3 in the quick one; luck moves the
# accuracy on a few hundred texts by 0.05.
LEARNED_MARGIN = 0.15


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        every: Read every n-th source file.
        epochs: Epochs at most; early stopping may end before.
        timed_steps: Steps of each feed that are timed in a round.
        timed_seconds: After these no further round begins.
    """

    every: int
    epochs: int
    timed_steps: int
    timed_seconds: float


FULL = Scale(every=1, epochs=5, timed_steps=20, timed_seconds=20)
QUICK = Scale(every=5, epochs=4, timed_steps=6, timed_seconds=4)


def demo(
    packages: Sequence[str], scale: Scale, progress: bool = True
) -> str | None:
    """Runs the demo on docstrings, and prints what it does.

    Args:
        packages: The packages whose docstrings to tell apart.
        scale: `FULL` or `QUICK`.
        progress: Whether to show progress bars.

    Returns:
        None if the network learned, else one line that says why it counts as not.

    Raises:
        ValueError: The packages give too few texts, or a single class.
    """
    started = time.perf_counter()
    console = quiet_console(progress)
    corpus = _read(packages, scale, console)
    with tempfile.TemporaryDirectory() as folder:
        path = write_file(corpus, Path(folder))
        with console.status("Counting n-grams"):
            texts = opened(path, None, {"progress": False})
            found = vectorize(texts, Path(folder), "ngrams", progress=False)
        console.print(
            f"{found.train.num_features:,} TF-IDF n-grams, chosen on "
            f"{found.train.num_rows:,} training texts; {found.val.num_rows:,} texts "
            f"held out"
        )
        with console.status("Importing Keras"), quiet_tensorflow():
            version = import_keras().__version__
        console.print(f"Training with Keras {version} on {keras_backend()}")
        trained = train(found, scale.epochs, console)
        split, majority = matrices(found), found.majority_share
        with console.status("Timing feeds"):
            speeds = measure_feeds(split, scale.timed_steps, scale.timed_seconds, SEED)
        console.print()
        console.print(confusion(found, trained.predicted))
        show_results(split, majority, trained, speeds, console)
        found.close()
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    if trained.accuracy < majority + LEARNED_MARGIN:
        return (
            f"the network did not learn: validation accuracy {trained.accuracy:.3f} "
            f"is not {LEARNED_MARGIN} above the share of the commonest package, "
            f"{majority:.3f}"
        )
    return None


def write_file(corpus: Corpus, folder: Path) -> Path:
    """Writes texts and their packages into a csv file, as people have them."""
    path = folder / "texts.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "text"])
        for label, text in zip(corpus.labels, corpus.texts):
            writer.writerow([corpus.class_names[label], text])
    return path


def matrices(found: Vectorized) -> Split:
    """Both stores, in memory."""
    return Split(
        x_train=found.train[:],
        y_train=np.array(found.train.y),
        x_val=found.val[:],
        y_val=np.array(found.val.y),
        num_classes=len(found.class_names),
    )


def show_results(
    split: Split,
    majority_share: float,
    trained: Trained,
    speeds: Speeds,
    console: Console,
) -> None:
    """Prints what was learned, and what feeding costs, as tables."""
    both = (split.x_train, split.x_val)
    rows, features = sum(x.shape[0] for x in both), split.x_train.shape[1]
    nonzeros = sum(x.nnz for x in both)
    stored = sum(x.data.nbytes + x.indices.nbytes + x.indptr.nbytes for x in both)
    dense = rows * features * split.x_train.dtype.itemsize

    table = Table(title="Which package does a docstring come from?")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("texts", f"{rows:,}")
    table.add_row("features", f"{features:,}")
    table.add_row("nonzeros", f"{nonzeros:,} ({nonzeros / rows:.0f} a text)")
    table.add_section()
    table.add_row("memory, as dense matrices", _megabytes(dense))
    table.add_row("memory, as sparse rows", _megabytes(stored))
    if trained.memory is not None:
        table.add_row("memory gained by training", _megabytes(trained.memory))
    table.add_section()
    table.add_row("share of the commonest package", f"{majority_share:.3f}")
    table.add_row(
        f"validation accuracy, {trained.epochs} epochs", f"{trained.accuracy:.3f}"
    )
    console.print(table)
    console.print(_table_of(speeds))
    console.print(
        f"A step trains {BATCH_SIZE} rows. In brackets: where the middle half of "
        f"{speeds.rounds} rounds lies; a figure below that spread is not shown."
    )


def _table_of(speeds: Speeds) -> Table:
    """What a step costs without a loader, and what feeds add to it."""
    table = Table(title="What feeds add to a training step")
    table.add_column("")
    table.add_column("ms a step", justify="right")
    table.add_column("the generator adds", justify="right")
    for kind, figure in speeds.alone.items():
        table.add_row(f"{kind} batch, no loader", _shown(figure))
    table.add_section()
    for (kind, feed), figure in speeds.added.items():
        times = speeds.times_less(kind, feed)
        ratio = "" if times is None else f"{times:.1f} times as much"
        table.add_row(f"{kind}, {feed}", f"+ {_shown(figure)}", ratio)
    return table


def _shown(figure: Figure) -> str:
    between = f"({figure.low:.1f} to {figure.high:.1f})"
    return f"{figure.median:.1f} {between}" if figure.is_certain else between


def _read(packages: Sequence[str], scale: Scale, console: Console) -> Corpus:
    """Collects the corpus, says what it found and checks that it will do."""
    columns = ("{task.description}", BarColumn())
    with Progress(
        *columns, MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        task = progress.add_task("Parsing sources", total=None)
        corpus = collect_docstrings(
            packages,
            every=scale.every,
            on_progress=lambda done, total: progress.update(
                task, completed=done, total=total
            ),
        )
    counts = np.bincount(corpus.labels, minlength=len(corpus.class_names))
    found = [f"{name} {n:,}" for name, n in zip(corpus.class_names, counts)]
    console.print(f"{len(corpus.texts):,} docstrings: {', '.join(found) or 'none'}")
    for package, why in corpus.left_out.items():
        console.print(f"Left out: {package}, {why}")
    if len(corpus.class_names) < 2 or len(corpus.texts) < MIN_TEXTS:
        raise ValueError(
            f"{argument('packages')} must give at least {MIN_TEXTS:,} docstrings from "
            f"at least 2 packages; received {len(corpus.texts):,} from "
            f"{len(corpus.class_names)} of {', '.join(packages)}. Name more or larger "
            f"installed packages."
        )
    return corpus


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"

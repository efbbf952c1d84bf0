"""The demo: learn which package a docstring comes from, out of sparse rows.

1. `collect_docstrings`: installed sources -> texts and labels (`Corpus`)
2. `ngram_features`: -> TF-IDF n-grams, ``scipy.sparse.csr_matrix`` (`Split`)
3. `train`: `SparseBatchSequence` feeds -> a network that learned (`Trained`)
4. `measure_feeds`: what a generator, a Sequence and a dataset add to a step (`Speeds`)
5. `show_results`: -> tables
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from sequence_loader.arguments import argument
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.demo.corpus import Corpus, collect_docstrings
from sequence_loader.demo.guide import (
    BATCH_SIZE,
    Split,
    import_keras,
    mlp,
    ngram_features,
    require_sklearn,
)
from sequence_loader.demo.speed import Figure, Speeds, measure_feeds

SEED = 7

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


FULL = Scale(every=1, epochs=8, timed_steps=32, timed_seconds=20)
QUICK = Scale(every=5, epochs=4, timed_steps=12, timed_seconds=5)


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Attributes:
        accuracy: On the validation split, after the last epoch.
        epochs: How many were trained.
        memory: Private bytes the process gained; None where it cannot be read.
    """

    accuracy: float
    epochs: int
    memory: int | None


def demo(packages: Sequence[str], scale: Scale) -> str | None:
    """Runs the demo and prints what it does.

    Args:
        packages: The packages whose docstrings to tell apart.
        scale: `FULL` or `QUICK`.

    Returns:
        None if the network learned, else one line that says why it counts as not.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: The packages give too few texts, or a single class.
    """
    started = time.perf_counter()
    require_sklearn()
    console = Console(highlight=False)
    corpus = _read(packages, scale, console)
    with console.status("Counting n-grams"):
        split = ngram_features(corpus.texts, corpus.labels, SEED)
    console.print(
        f"{split.x_train.shape[1]:,} TF-IDF n-grams, chosen on {len(split.y_train):,} "
        f"training texts; {len(split.y_val):,} texts held out"
    )
    with console.status("Importing Keras"), _quiet_tensorflow():
        version = import_keras().__version__
    console.print(f"Training with Keras {version} on {keras_backend()}")
    trained = train(split, scale.epochs, console)
    with console.status("Timing feeds"):
        speeds = measure_feeds(split, scale.timed_steps, scale.timed_seconds, SEED)
    console.print()
    show_results(corpus, split, trained, speeds, console)
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    if trained.accuracy < split.majority_share + LEARNED_MARGIN:
        return (
            f"the network did not learn: validation accuracy {trained.accuracy:.3f} "
            f"is not {LEARNED_MARGIN} above the share of the commonest package, "
            f"{split.majority_share:.3f}"
        )
    return None


def train(split: Split, epochs: int, console: Console) -> Trained:
    """Trains the guide's network from sparse batches, as the guide does.

    Sparse, not dense, because that is the faster way on every CPU measured, and
    because no dense array is made anywhere between the texts and the weights.
    """
    from sequence_loader.feed.sequence import SparseBatchSequence

    keras = import_keras()
    keras.utils.set_random_seed(SEED)
    before = private_memory()
    feed = SparseBatchSequence(
        split.x_train,
        split.y_train,
        batch_size=BATCH_SIZE,
        shuffle=True,
        seed=SEED,
        output="sparse",
    )
    validation = SparseBatchSequence(
        split.x_val, split.y_val, batch_size=BATCH_SIZE, output="sparse"
    )
    model = mlp(split.x_train.shape[1], split.num_classes, sparse=True)
    most_memory = before

    def report(epoch: int, logs: Mapping[str, float]) -> None:
        nonlocal most_memory
        most_memory = max(most_memory, private_memory())
        console.print(
            f"  epoch {epoch + 1}: loss {logs['loss']:.3f}, validation loss "
            f"{logs['val_loss']:.3f}, validation accuracy {logs['val_accuracy']:.3f}"
        )

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Training", total=epochs * len(feed))
        history = model.fit(
            feed,
            validation_data=validation,
            epochs=epochs,
            shuffle=False,  # the feed shuffles rows; Keras would only reorder batches
            verbose=0,
            callbacks=[
                keras.callbacks.EarlyStopping(monitor="val_loss", patience=2),
                keras.callbacks.LambdaCallback(
                    on_epoch_end=report,
                    on_train_batch_end=lambda batch, logs: progress.advance(task),
                ),
            ],
        ).history
    memory = most_memory - before if before else None
    return Trained(float(history["val_accuracy"][-1]), len(history["loss"]), memory)


def show_results(
    corpus: Corpus,
    split: Split,
    trained: Trained,
    speeds: Speeds,
    console: Console,
) -> None:
    """Prints what was learned, and what feeding costs, as tables."""
    matrices = (split.x_train, split.x_val)
    rows, features = len(corpus.texts), split.x_train.shape[1]
    nonzeros = sum(x.nnz for x in matrices)
    stored = sum(x.data.nbytes + x.indices.nbytes + x.indptr.nbytes for x in matrices)
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
    table.add_row("share of the commonest package", f"{split.majority_share:.3f}")
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


@contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Keeps TensorFlow's log of its search for GPUs off the screen.

    Part of it is written before any log level applies, past `sys.stderr`, while
    TensorFlow is imported; so stderr is closed for as long. A user who has set
    TF_CPP_MIN_LOG_LEVEL sees what it says.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"

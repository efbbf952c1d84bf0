"""The demo on a user's files: the guide's whole job, from csv to a saved model."""

from __future__ import annotations

import glob
import re
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from sequence_loader.backends.quiet import quiet_tensorflow
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.demo.guide import import_keras
from sequence_loader.demo.stores import Vectorized, opened, vectorize
from sequence_loader.demo.training import confusion, train

HOW_TO_USE = """\
In Python:
  import sequence_loader.layers  # knows SparseDropout
  vectorizer = {vectorizer}.load("{store}")
  model = keras.models.load_model("{model}")
  model.predict(SparseBatchSequence(texts, transform=vectorizer.transform, {feed}))"""


def demo_of_files(
    files: list[str],
    settings: dict[str, Any],
    *,
    folder: str | None,
    kind: str | None,
    epochs: int,
    workers: int,
) -> str | None:
    """Trains on files, and prints what it does.

    Args:
        files: The one to train with, and perhaps another to validate with.
        settings: Arguments of `open_texts`.
        folder: Where stores and model are put; by default it is called as the file.
        kind: ``"ngrams"`` or ``"sequences"``, or `None` for what the guide chooses.
        epochs: At most.
        workers: Processes that make rows.

    Returns:
        None if the network learned, else one line that says why it counts as not.
    """
    started = time.perf_counter()
    console = Console(highlight=False)
    source, test = files[0], files[1] if len(files) > 1 else None
    out = Path(_folder_of(source) if folder is None else folder)
    texts, rows, held_out = opened(source, test, settings)
    print(texts.described())
    if test is None:
        print(f"{held_out.num_rows:,} rows, drawn at random, are held out")
    else:
        print(f"validation: {held_out.num_rows:,} rows of {test}")
    out.mkdir(parents=True, exist_ok=True)
    found = vectorize(rows, held_out, out, kind, {"texts": texts.settings}, workers)
    print(f"{found.words}")
    print(_chosen(found, kind))
    with console.status("Importing Keras"), quiet_tensorflow():
        version = import_keras().__version__
    console.print(f"Training with Keras {version} on {keras_backend()}")
    trained = train(found, epochs, console)
    model = out / "model.keras"
    trained.model.save(model)
    console.print(confusion(found, trained.predicted))
    print(
        f"validation accuracy {trained.accuracy:.3f} after {trained.epochs} epochs; "
        f"the commonest class alone: {found.majority_share:.3f}"
    )
    print(f"stores: {out / 'train.store'}, {out / 'test.store'}\nmodel: {model}")
    print(
        HOW_TO_USE.format(
            vectorizer=type(found.vectorizer).__name__,
            store=out / "train.store",
            model=model,
            feed="output='sparse'" if found.is_grams else "dtype='int32'",
        )
    )
    print(f"{time.perf_counter() - started:.0f} s in all")
    if trained.accuracy <= found.majority_share:
        return (
            f"the network did not learn: validation accuracy {trained.accuracy:.3f} "
            f"is not above the share of the commonest class, {found.majority_share:.3f}"
        )
    return None


def _folder_of(source: str) -> str:
    """``train.demo`` for ``data/train.csv.gz``."""
    name = "texts" if glob.has_magic(source) else Path(source).name.partition(".")[0]
    return f"{re.sub('^$', 'texts', name)}.demo"


def _chosen(found: Vectorized, kind: str | None) -> str:
    whose = "as you said" if kind else "as in Google's guide"
    columns = found.train.num_features
    if found.is_grams:
        return f"an MLP on {columns:,} TF-IDF n-grams, {whose}"
    return (
        f"a separable CNN on sequences of {columns:,} words, {whose}, but with Keras's "
        f"initial weights: with the guide's it does not learn on small data"
    )

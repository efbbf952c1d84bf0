"""The demo on a user's files: the guide's whole job, from csv to a saved model."""

from __future__ import annotations

import glob
import re
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from sequence_loader.backends.quiet import quiet_tensorflow
from sequence_loader.backends.which_keras import import_keras, keras_backend
from sequence_loader.demo.stores import MODEL, Vectorized, opened, vectorize
from sequence_loader.demo.training import confusion, train

HOW_TO_USE = """\
In Python:
  {keras}
  import sequence_loader.layers  # knows SparseDropout
  from sequence_loader import {vectorizer}, SparseBatchSequence
  vectorizer = {vectorizer}.load({store!r})
  model = keras.models.load_model({model!r})
  texts = [{text!r}]
  feed = SparseBatchSequence(texts, transform=vectorizer.transform, {feed})
  print([vectorizer.class_names[k] for k in model.predict(feed).argmax(1)])"""
SHOWN_TEXT = 60
"""Characters of a text in that."""


def demo_of_files(
    files: list[str],
    settings: dict[str, Any],
    *,
    folder: str | None,
    kind: str | None,
    epochs: int,
    workers: int,
    progress: bool,
) -> str | None:
    """Trains on files, and prints what it does.

    Args:
        files: The one to train with, and perhaps another to test with.
        settings: Arguments of `open_texts`.
        folder: Where stores and model are put; by default it is called as the file.
        kind: ``"ngrams"`` or ``"sequences"``, or `None` for what the guide chooses.
        epochs: At most.
        workers: Processes that make rows.
        progress: Whether to show progress bars.

    Returns:
        None if the network learned, else one line that says why it counts as not.
    """
    started = time.perf_counter()
    console = quiet_console(progress)
    source, test = files[0], files[1] if len(files) > 1 else None
    out = Path(_folder_of(source) if folder is None else folder)
    texts = opened(source, test, settings | {"progress": progress})
    print(texts.whole.described())
    print(
        f"validation: {texts.val.num_rows:,} of these rows, drawn at random, by which "
        f"it is told when to stop"
    )
    if texts.test is not None:
        print(f"test: {texts.test.num_rows:,} rows of {test}, looked at at the end")
    out.mkdir(parents=True, exist_ok=True)
    kept = {"texts": texts.whole.settings}
    found = vectorize(texts, out, kind, kept, workers, progress)
    print(f"{found.words}")
    print(_chosen(found, kind))
    with console.status("Importing Keras"), quiet_tensorflow():
        version = import_keras().__version__
    console.print(f"Training with Keras {version} on {keras_backend()}")
    trained = train(found, epochs, console)
    model = out / MODEL
    trained.model.save(model)
    console.print(confusion(found, trained.predicted))
    print(f"validation accuracy {trained.accuracy:.3f} after {trained.epochs} epochs")
    accuracy, whose = trained.judged(found), "validation"
    if texts.test is not None:
        whose = "test"
        print(f"test accuracy {accuracy:.3f}, of texts that training never looked at")
    print(f"{whose} accuracy of the commonest class alone: {found.majority_share:.3f}")
    stores = ["train.store", "validation.store", *["test.store"] * (test is not None)]
    print(f"stores: {', '.join(str(out / name) for name in stores)}\nmodel: {model}")
    keras = import_keras().__name__
    text = texts.whole[0]
    print(
        HOW_TO_USE.format(
            keras="import keras" if keras == "keras" else f"import {keras} as keras",
            vectorizer=type(found.vectorizer).__name__,
            store=str(out / "train.store"),
            model=str(model),
            text=text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "...",
            feed="output='sparse'" if found.is_grams else "dtype='int32'",
        )
    )
    print(f"{time.perf_counter() - started:.0f} s in all")
    if accuracy <= found.majority_share:
        return (
            f"the network did not learn: {whose} accuracy {accuracy:.3f} "
            f"is not above the share of the commonest class, {found.majority_share:.3f}"
        )
    return None


def quiet_console(progress: bool) -> Console:
    """A console that shows what is under way, or only what has come of it."""
    return Console(highlight=False, force_interactive=None if progress else False)


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
        f"a separable CNN on sequences of {columns:,} words, {whose}, but with initial "
        f"weights that keep signals large: with the guide's, and with Keras's own, its "
        f"loss may stand still until early stopping ends it"
    )

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
from sequence_loader.demo.folder import (
    MODEL,
    STORES,
    TEST,
    TRAIN,
    PendingRun,
    checked_folder,
)
from sequence_loader.demo.stores import Opened, Vectorized, opened, vectorize
from sequence_loader.demo.training import Trained, confusion, train

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
        folder: Where stores and model are put, once all of them are whole, in place of
            those of an earlier run; by default it is called as the file.
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
    checked_folder(out)  # now, not after the files are read
    stood = out.exists()
    try:
        texts = opened(source, test, settings | {"progress": progress})
        _say(texts, test)
        with PendingRun(out) as run:
            found, trained = _run(
                run.folder, texts, kind, epochs, workers, progress, console
            )
            table, majority = confusion(found, trained.predicted), found.majority_share
            accuracy = trained.judged(found)
            found.close()
            run.publish()
    except KeyboardInterrupt:
        as_was = f"{out} is as it was" if stood else f"there is no {out}"
        print(f"interrupted: nothing of this run is kept, and {as_was}")
        raise
    console.print(table)
    print(f"validation accuracy {trained.accuracy:.3f} after {trained.epochs} epochs")
    whose = "validation"
    if texts.test is not None:
        whose = "test"
        print(f"test accuracy {accuracy:.3f}, of texts that training never looked at")
    print(f"{whose} accuracy of the commonest class alone: {majority:.3f}")
    stores = [name for name in STORES if name != TEST or test is not None]
    print(f"stores: {', '.join(str(out / name) for name in stores)}")
    print(f"model: {out / MODEL}")
    keras = import_keras().__name__
    text = texts.whole[0]
    print(
        HOW_TO_USE.format(
            keras="import keras" if keras == "keras" else f"import {keras} as keras",
            vectorizer=type(found.vectorizer).__name__,
            store=str(out / TRAIN),
            model=str(out / MODEL),
            text=text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "...",
            feed="output='sparse'" if found.is_grams else "dtype='int32'",
        )
    )
    print(f"{time.perf_counter() - started:.0f} s in all")
    if accuracy <= majority:
        return (
            f"the network did not learn: {whose} accuracy {accuracy:.3f} "
            f"is not above the share of the commonest class, {majority:.3f}"
        )
    return None


def _say(texts: Opened, test: str | None) -> None:
    """Prints which rows there are."""
    print(texts.whole.described())
    print(
        f"validation: {texts.val.num_rows:,} of these rows, drawn at random, by which "
        f"it is told when to stop"
    )
    if texts.test is not None:
        print(f"test: {texts.test.num_rows:,} rows of {test}, looked at at the end")


def _run(
    folder: Path,
    texts: Opened,
    kind: str | None,
    epochs: int,
    workers: int,
    progress: bool,
    console: Console,
) -> tuple[Vectorized, Trained]:
    """Writes stores and a trained model into a folder."""
    kept = {"texts": texts.whole.settings}
    found = vectorize(texts, folder, kind, kept, workers, progress)
    print(f"{found.words}")
    print(_chosen(found, kind))
    with console.status("Importing Keras"), quiet_tensorflow():
        version = import_keras().__version__
    console.print(f"Training with Keras {version} on {keras_backend()}")
    trained = train(found, epochs, console)
    trained.model.save(folder / MODEL)
    return found, trained


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

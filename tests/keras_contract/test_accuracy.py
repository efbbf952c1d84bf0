"""Trained from the sequence, a model is as good as from plain arrays.

Real data that every installation carries: paragraphs of Python's own reference
(`pydoc_data.topics`), labelled by the topic they are from, as TF-IDF n-grams; and
scikit-learn's handwritten digits, half of whose pixels are 0.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from keras_contract.real_keras import compile_model, input_of, keras
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

from sequence_loader import SparseBatchSequence

BATCH = 64


class Task(NamedTuple):
    """Rows in whole batches: each model is compiled for one size."""

    x: Any
    y: Any
    held_out_x: Any
    held_out_y: Any
    classes: int
    epochs: int
    good: float


@cache
def topics() -> Task:
    from pydoc_data.topics import topics as pages

    found: dict[str, set[str]] = {}
    for topic, page in pages.items():
        for paragraph in re.split(r"\n\s*\n", page):
            text = " ".join(paragraph.split())
            if len(text) > 40:
                found.setdefault(text, set()).add(topic)
    owner = {text: min(names) for text, names in found.items() if len(names) == 1}
    classes = [name for name, _ in Counter(owner.values()).most_common(5)]
    texts = [text for text in owner if owner[text] in classes]
    y = np.array([classes.index(owner[text]) for text in texts])
    train, test = train_test_split(
        np.arange(len(texts)), test_size=0.25, random_state=0, stratify=y
    )
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, max_features=2000, dtype=np.float32
    )
    x = vectorizer.fit_transform([texts[i] for i in train])
    held_out = vectorizer.transform([texts[i] for i in test])
    return task_of(x, y[train], held_out, y[test], len(classes), 8, 0.7)


@cache
def digits() -> Task:
    pixels, y = load_digits(return_X_y=True)
    x = sp.csr_array((pixels / 16).astype(np.float32))
    train, test = train_test_split(np.arange(len(y)), random_state=0, stratify=y)
    return task_of(x[train], y[train], x[test], y[test], 10, 4, 0.9)


def task_of(x: Any, y: Any, held_out_x: Any, held_out_y: Any, *others: Any) -> Task:
    rows, held_out = (size // BATCH * BATCH for size in (len(y), len(held_out_y)))
    return Task(
        x[:rows], y[:rows], held_out_x[:held_out], held_out_y[:held_out], *others
    )


TASKS = {"topics": topics, "digits": digits}


@cache
def compiled(name: str, sparse: bool) -> tuple[Any, list[Any]]:
    """A model, and what its variables were before any training."""
    task = TASKS[name]()
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            input_of(task.x.shape[1], sparse=sparse),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(task.classes, activation="softmax"),
        ]
    )
    compile_model(
        model,
        optimizer=keras.optimizers.Adam(0.01),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    return model, [np.array(variable.numpy()) for variable in variables]


def classifier(name: str, *, sparse: bool = False) -> Any:
    """The model as it was; compiling it again would take most of the time."""
    model, values = compiled(name, sparse)
    variables = [*model.variables, *model.optimizer.variables]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return model


@cache
def from_arrays(name: str) -> tuple[list[float], float]:
    """Loss of each epoch, and accuracy on held-out rows, of plain arrays in order."""
    task = TASKS[name]()
    model = classifier(name)
    history = model.fit(
        task.x.toarray(),
        task.y,
        batch_size=BATCH,
        epochs=task.epochs,
        shuffle=False,
        verbose=0,
    )
    score = model.evaluate(task.held_out_x.toarray(), task.held_out_y, verbose=0)
    return history.history["loss"], score[1]


@pytest.mark.parametrize("output", ["dense", "sparse"])
@pytest.mark.parametrize(
    "name", [pytest.param("topics", marks=pytest.mark.once), "digits"]
)
def test_in_order_the_losses_are_those_of_arrays(name: str, output: str) -> None:
    losses, accuracy = from_arrays(name)
    task = TASKS[name]()
    model = classifier(name, sparse=output == "sparse")
    options: dict[str, Any] = {"batch_size": BATCH, "output": output}
    history = model.fit(
        SparseBatchSequence(task.x, task.y, **options),
        validation_data=SparseBatchSequence(
            task.held_out_x, task.held_out_y, **options
        ),
        epochs=task.epochs,
        shuffle=False,
        verbose=0,
    )
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-3)
    assert accuracy >= task.good
    # One or two rows may be on the other side, by rounding.
    tolerance = 2 / len(task.held_out_y)
    assert abs(history.history["val_accuracy"][-1] - accuracy) <= tolerance


@pytest.mark.once
@pytest.mark.parametrize("output", ["dense", "sparse"])
@pytest.mark.parametrize("shuffle", [True, "block"])
def test_shuffled_the_accuracy_is_that_of_arrays(
    output: str, shuffle: bool | str
) -> None:
    _, accuracy = from_arrays("topics")
    task = topics()
    by_class = np.argsort(task.y, kind="stable")  # the order that needs shuffling
    model = classifier("topics", sparse=output == "sparse")
    model.fit(
        SparseBatchSequence(
            task.x[by_class],
            task.y[by_class],
            batch_size=BATCH,
            shuffle=shuffle,
            seed=1,
            output=output,
        ),
        epochs=task.epochs,
        verbose=0,
    )
    score = model.evaluate(
        SparseBatchSequence(
            task.held_out_x, task.held_out_y, batch_size=BATCH, output=output
        ),
        verbose=0,
    )
    assert score[1] >= max(task.good, accuracy - 0.06)

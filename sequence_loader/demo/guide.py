"""Google's text-classification guide: its n-gram features and its network.

https://developers.google.com/machine-learning/guides/text-classification, steps 3
and 4. The guide passes the whole sparse matrix to `fit`, which Keras then could take.
Its generator, `_data_generator(x, y, num_features, batch_size)`, is for the other
network of the guide: it slices padded arrays of word numbers for a separable CNN.
`dense_batches` is that generator over sparse rows, as people write it today.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras

NUM_FEATURES = 20_000
BATCH_SIZE = 128
UNITS = 64
DROPOUT = 0.2
LEARNING_RATE = 1e-3
VALIDATION_SHARE = 0.2

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Features and labels of the training and the validation texts.

    Attributes:
        x_train, x_val: float32 ``scipy.sparse.csr_matrix`` of shape (rows, features).
        y_train, y_val: int64 of shape (rows,).
        num_classes: Labels are below it.
    """

    x_train: Any
    y_train: Labels
    x_val: Any
    y_val: Labels
    num_classes: int

    @property
    def majority_share(self) -> float:
        """The validation accuracy of always answering the commonest class."""
        return float(np.mean(self.y_val == np.bincount(self.y_train).argmax()))


def require_sklearn() -> None:
    """Raises ImportError that names the extra if scikit-learn is missing."""
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise ImportError(
            "the demo needs scikit-learn, which is not installed. In a clone of the "
            'repository, run: pip install ".[demo]"'
        ) from error


def ngram_features(texts: Sequence[str], labels: Sequence[int], seed: int) -> Split:
    """Splits texts at random and turns them into TF-IDF n-grams.

    Vocabulary, weights and the choice of features are learned from the training
    texts alone. The features are sparse from beginning to end.

    Args:
        texts: One string for each row.
        labels: The class of each text, from 0.
        seed: Decides the split.

    Returns:
        Both splits, with `NUM_FEATURES` features at most.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.feature_selection import SelectKBest, f_classif

    y = np.asarray(labels, dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(texts))
    held_out = round(len(texts) * VALIDATION_SHARE)
    val, train = order[:held_out], order[held_out:]

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        dtype=np.float32,  # the guide's 'int32' is ignored with a warning today
        strip_accents="unicode",
        decode_error="replace",
        analyzer="word",
        min_df=2,
    )
    x_train = vectorizer.fit_transform([texts[i] for i in train])
    x_val = vectorizer.transform([texts[i] for i in val])
    selector = SelectKBest(f_classif, k=min(NUM_FEATURES, x_train.shape[1]))
    x_train = selector.fit_transform(x_train, y[train])
    return Split(
        x_train=x_train,
        y_train=y[train],
        x_val=selector.transform(x_val),
        y_val=y[val],
        num_classes=int(y.max()) + 1,
    )


def import_keras() -> Any:
    """The Keras that `SparseBatchSequence` feeds here: Keras 3, or 2 (tf-keras)."""
    return importlib.import_module("tf_keras" if uses_legacy_keras() else "keras")


def mlp(num_features: int, num_classes: int, *, sparse: bool) -> Any:
    """The guide's network, compiled.

    It begins with Dropout, which takes no sparse batch; `SparseDropout` does the same
    to one.

    Args:
        num_features: Columns of the features.
        num_classes: Units of the softmax.
        sparse: Whether batches are sparse tensors.

    Returns:
        A compiled Keras model.
    """
    from sequence_loader.layers import SparseDropout

    keras = import_keras()
    backend = keras_backend()
    # torch has no sparse Input; its sparse_csr tensors pass through a dense one.
    declared = sparse and backend != "torch"
    model = keras.Sequential(
        [
            keras.Input(shape=(num_features,), sparse=declared),
            (SparseDropout if sparse else keras.layers.Dropout)(DROPOUT),
            keras.layers.Dense(UNITS, activation="relu"),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(num_classes, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # XLA, the default on a GPU, has no kernels for sparse batches. JAX needs jit.
        jit_compile=backend == "jax",
    )
    return model


def dense_batches(x: Any, y: Labels) -> Iterator[tuple[Any, Labels]]:
    """A generator of dense batches, in order, without end.

    Args:
        x: ``csr_matrix`` of shape (rows, features).
        y: Labels of shape (rows,).

    Yields:
        Dense features of shape (batch, features) and their labels.
    """
    while True:
        for start in range(0, x.shape[0], BATCH_SIZE):
            stop = start + BATCH_SIZE
            yield x[start:stop].toarray(), y[start:stop]

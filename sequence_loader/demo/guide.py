"""Google's text-classification guide: its networks, and its generator.

https://developers.google.com/machine-learning/guides/text-classification, steps 3
and 4. For n-grams the guide passes the whole sparse matrix to `fit`, which Keras then
could take. Its generator, `_data_generator(x, y, num_features, batch_size)`, is for its
other network: it slices padded arrays of word numbers for a separable CNN.
`dense_batches` is that generator over sparse rows, as people write it today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.backends.which_keras import import_keras, keras_backend

BATCH_SIZE = 128
UNITS = 64
DROPOUT = 0.2
LEARNING_RATE = 1e-3
EPOCHS, PATIENCE = 1000, 2
"""Epochs at most, and for how many the validation loss may fail to fall."""
MIN_DELTA = 5e-4
"""By so much, at least: of a loss with three digits, less shows nothing. The guide asks
for any fall, which texts that are easy to tell apart give for hundreds of epochs."""
EMBEDDING, FILTERS, KERNEL, POOL = 200, 64, 3, 3

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Features and labels of the training and the validation texts.

    Attributes:
        x_train, x_val: float32 ``scipy.sparse.csr_array`` of shape (rows, features).
        y_train, y_val: int64 of shape (rows,).
        num_classes: Labels are below it.
    """

    x_train: Any
    y_train: Labels
    x_val: Any
    y_val: Labels
    num_classes: int


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
    # XLA, the default on a GPU, has no kernels for sparse batches. JAX needs jit.
    return _compiled(model, jit_compile=backend == "jax")


def separable_cnn(num_words: int, length: int, num_classes: int) -> Any:
    """The guide's network for sequences, compiled: two blocks of two convolutions.

    The guide draws the weights of its convolutions uniformly from [-0.05, 0.05], with
    which it learnt nothing in 30 epochs of 1,200 texts, nor in 8 of 6,000. With Keras's
    own it learnt nothing in 8 of 12,800 texts of 8 words: a channel of a depthwise
    kernel has `KERNEL` inputs, but Keras counts those of all channels, so that each of
    the four layers made signals some ten times smaller. Here they keep their size, and
    the validation accuracy of those texts was 0.98 after one epoch.

    Args:
        num_words: Word numbers are below it.
        length: Of a sequence; pools are no longer than it.
        num_classes: Units of the softmax.

    Returns:
        A compiled Keras model.
    """
    keras = import_keras()
    layers = keras.layers

    def block(filters: int) -> list[Any]:
        return [
            layers.SeparableConv1D(
                filters,
                KERNEL,
                activation="relu",
                padding="same",
                # The fan out of one depthwise channel is what its fan in should be.
                depthwise_initializer=keras.initializers.VarianceScaling(
                    1.0, "fan_out", "uniform"
                ),
            )
            for _ in range(2)
        ]

    model = keras.Sequential(
        [
            keras.Input(shape=(length,), dtype="int32"),
            layers.Embedding(num_words, EMBEDDING),
            layers.Dropout(DROPOUT),
            *block(FILTERS),
            layers.MaxPooling1D(min(POOL, length)),
            *block(2 * FILTERS),
            layers.GlobalAveragePooling1D(),
            layers.Dropout(DROPOUT),
            layers.Dense(num_classes, activation="softmax"),
        ]
    )
    return _compiled(model)


def _compiled(model: Any, **options: Any) -> Any:
    model.compile(
        optimizer=import_keras().optimizers.Adam(LEARNING_RATE),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **options,
    )
    return model


def dense_batches(x: Any, y: Labels) -> Iterator[tuple[Any, Labels]]:
    """A generator of dense batches, in order, without end.

    Args:
        x: ``csr_array`` of shape (rows, features).
        y: Labels of shape (rows,).

    Yields:
        Dense features of shape (batch, features) and their labels.
    """
    while True:
        for start in range(0, x.shape[0], BATCH_SIZE):
            stop = start + BATCH_SIZE
            yield x[start:stop].toarray(), y[start:stop]

"""What is compared: our roads into Keras, what people write today, and floors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras.src.trainers.data_adapters import get_data_adapter  # noqa: E402

from sequence_loader import SparseBatchSequence  # noqa: E402

Rows = np.ndarray[Any, np.dtype[np.int64]]


class NaiveDense(keras.utils.Sequence):
    """``x[rows].toarray()``."""

    def __init__(self, x: Any, y: Rows, rows: Rows, batch_size: int) -> None:
        super().__init__()
        self.x, self.y, self.rows, self.batch_size = x, y, rows, batch_size

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self.rows[index * self.batch_size : (index + 1) * self.batch_size]
        return self.x[rows].toarray(), self.y[rows]


class NaiveSparse(NaiveDense):
    """A ``tf.SparseTensor`` made from COO."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self.rows[index * self.batch_size : (index + 1) * self.batch_size]
        coo = self.x[rows].tocoo()
        indices = np.stack(coo.coords, axis=1).astype(np.int64)
        return tf.SparseTensor(indices, coo.data, coo.shape), self.y[rows]


class Constant(keras.utils.Sequence):
    """One batch again and again: what a road costs without a loader."""

    def __init__(self, batch: tuple[Any, Any], length: int) -> None:
        super().__init__()
        self.batch, self.length = batch, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.batch


def constant_dataset(batch: tuple[Any, Any], length: int) -> tf.data.Dataset:
    """The same without Keras's adapter: tensors that are there already."""
    return tf.data.Dataset.from_tensors(batch).cache().repeat(length)


def dense_generator(x: Any, y: Rows, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """A batch generator over sparse rows: that of Google's guide, and `toarray`."""
    while True:
        for start in range(0, len(y) - batch_size + 1, batch_size):
            stop = start + batch_size
            yield x[start:stop].toarray(), y[start:stop]


def write_tfrecord(path: Path, x: sp.csr_array, y: Rows) -> None:
    """Writes rows as ``tf.train.Example``, the way TensorFlow's guides do."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row, label in enumerate(y.tolist()):
            span = slice(x.indptr[row], x.indptr[row + 1])
            columns = tf.train.Int64List(value=x.indices[span])
            values = tf.train.FloatList(value=x.data[span])
            feature = {
                "columns": tf.train.Feature(int64_list=columns),
                "values": tf.train.Feature(float_list=values),
                "y": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[label])
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def tfrecord_dataset(
    path: Path, features: int, batch_size: int, output: str
) -> tf.data.Dataset:
    """TFRecord, ``shuffle(10000)``, ``parse_example`` a batch at a time."""
    # tf.io.SparseFeature says the same in a word, and takes a tenth longer.
    description = {
        "columns": tf.io.VarLenFeature(tf.int64),
        "values": tf.io.VarLenFeature(tf.float32),
        "y": tf.io.FixedLenFeature((), tf.int64),
    }

    def parse(records: Any) -> tuple[Any, Any]:
        parsed = tf.io.parse_example(records, description)
        columns, values = parsed["columns"], parsed["values"]
        indices = tf.stack([columns.indices[:, 0], columns.values], axis=1)
        x = tf.SparseTensor(indices, values.values, (batch_size, features))
        return (tf.sparse.to_dense(x) if output == "dense" else x), parsed["y"]

    return (
        tf.data.TFRecordDataset(str(path))
        .shuffle(10_000)
        .batch(batch_size, drop_remainder=True)
        .map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def ours(
    x: Any, y: Rows, rows: Rows, batch_size: int, output: str
) -> SparseBatchSequence:
    """Ours, over the rows that the others serve."""
    return SparseBatchSequence(
        x, y, batch_size=batch_size, shuffle=True, seed=1, rows=rows, output=output
    )


def network(features: int, classes: int, output: str) -> keras.Model:
    """The network of the guide without dropout, which would cost more than a feed."""
    model = keras.Sequential(
        [
            keras.Input((features,), sparse=output == "sparse"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def drained(feed: Any, steps: int) -> Callable[[], Any]:
    """Reads `steps` batches inside the graph, as Keras's adapter hands them over."""
    dataset = get_data_adapter(feed).get_tf_dataset().take(steps)

    @tf.function  # traced once, or each round would be charged for it
    def drain() -> Any:
        return dataset.reduce(np.int64(0), lambda count, *batch: count + 1)

    return drain


class EpochClock(keras.callbacks.Callback):
    """When epochs of `fit` began and ended, and what lay between them.

    An epoch is timed from its start to its end as Keras tells it, because what may
    follow is not training: a tf.data iterator that is let go waits for its autotuner's
    thread, which sleeps 10 ms, 20, 40 and so on up to a minute, and sleeps on if the
    word to stop reaches it a moment before the flag that says so. Luck decides, so the
    wait is shown beside the speed, not mixed into it. Of `drained` it is a part, if a
    small one: the first tenths of a second have many ends of such sleeps.

    Attributes:
        epochs: Seconds that each epoch took.
        pauses: Seconds from the end of each epoch until the first batch of the next
            is trained: that wait, and starting the feed again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[float] = []
        self.pauses: list[float] = []
        self._began = self._ended = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0 and self._ended:
            self.pauses.append(time.perf_counter() - self._ended)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._ended = time.perf_counter()
        self.epochs.append(self._ended - self._began)

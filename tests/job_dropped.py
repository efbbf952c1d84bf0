"""A worker of tf.distribute that lets go of iterators which are being read ahead.

What is read ahead at the end of an epoch is the next one, which takes TensorFlow long
to start: long enough to be inside when the iterator goes.
"""

from __future__ import annotations

import tensorflow as tf

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()  # before anything is computed

import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402

from sequence_loader import SparseBatchSequence  # noqa: E402

ROUNDS = 15
x, y = sp.csr_array(np.eye(300, 50, dtype=np.float32)), np.arange(300)


def let_go(output: str, more: int) -> None:
    """Reads an epoch, and a little of the next."""
    sequence = SparseBatchSequence(x, y, batch_size=8, remainder="pad", output=output)
    batches = iter(
        STRATEGY.distribute_datasets_from_function(
            lambda context: sequence.to_tf_dataset().repeat()
        )
    )
    for _ in range(len(sequence) + more):
        next(batches)
    del batches


for output in ("dense", "sparse"):
    for number in range(ROUNDS):
        let_go(output, number % 3)
print("all let go")

"""A worker of tf.distribute that lets go of iterators which are being read ahead.

What is read ahead at the end of an epoch is the next one, which takes TensorFlow long
to start: long enough to be inside when the iterator goes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader import SparseBatchSequence

ROUNDS = 15


def let_go(strategy: Any, output: str, more: int) -> None:
    """Reads an epoch, and a little of the next."""
    x, y = sp.csr_array(np.eye(300, 50, dtype=np.float32)), np.arange(300)
    sequence = SparseBatchSequence(x, y, batch_size=8, remainder="pad", output=output)
    batches = iter(
        strategy.distribute_datasets_from_function(
            lambda context: sequence.to_tf_dataset().repeat()
        )
    )
    for _ in range(len(sequence) + more):
        next(batches)
    del batches


def let_go_of_iterators(strategy: Any) -> int:
    """How many were let go of, if TensorFlow has not crashed."""
    for output in ("dense", "sparse"):
        for number in range(ROUNDS):
            let_go(strategy, output, number % 3)
    return 2 * ROUNDS

"""TensorFlow: sparse tensors, and the replicas and workers of a strategy."""

from __future__ import annotations

import copy
import functools
from typing import Any

from sequence_loader.backends.coo import coo_arrays
from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows.csr import CsrRows


def sparse_tensor(block: CsrRows, pool: BufferPool) -> Any:
    """``tf.SparseTensor`` of shape (batch, features), on the CPU."""
    import tensorflow as tf

    # Copied: of memory from the pool (DLPack), whoever lets go of the tensor, the
    # training say, waits for the interpreter to give it back, and fit took longer.
    with tf.device("CPU:0"):
        indices, values = map(tf.constant, coo_arrays(block, pool))
    empty = _empty_sparse(block.num_rows, block.num_features)
    if not _PARTS <= vars(empty).keys():
        return tf.SparseTensor(indices, values, empty.dense_shape)
    made = copy.copy(empty)
    made._indices, made._values = indices, values
    return made


_PARTS = {"_indices", "_values"}
"""What a ``tf.SparseTensor`` calls its parts. They are filled into a copy of an empty
one: checking shapes that are right takes its constructor as long as 40 rows do."""


@functools.lru_cache(maxsize=64)
def _empty_sparse(num_rows: int, num_features: int) -> Any:
    """Few shapes are in use at a time, and a tensor is never changed."""
    import tensorflow as tf

    # On the default device it might go to a GPU, which has no place for it; Keras
    # sends batches there itself.
    with tf.device("CPU:0"), tf.init_scope():
        return tf.SparseTensor(
            tf.zeros((0, 2), tf.int64),
            tf.zeros((0,)),
            tf.constant((num_rows, num_features), tf.int64),
        )


def strategy_workers() -> int:
    """Workers of the tf.distribute strategy in whose scope this is called."""
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return 1
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None:
        return 1
    return sum(map(len, resolver.cluster_spec().as_dict().values()))


def current_replicas() -> int:
    """Replicas of the strategy in whose scope Keras 3 calls, or 1."""
    if uses_legacy_keras() or keras_backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)

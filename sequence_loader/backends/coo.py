"""Rows -> coordinates and values: what TensorFlow and JAX make sparse tensors of."""

from __future__ import annotations

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows.csr import CsrRows

MINIMUM_NSE = 1024
"""BCOO tensors with fewer entries are padded to this many: it costs nothing, and
JAX compiles a training step (0.4-0.7 s) for every distinct number of entries."""


def padded_nse(stored: int) -> int:
    """The next of 1024, 1536, 2048, 3072, ...: few sizes, at most a third too large."""
    size = MINIMUM_NSE
    while size < stored:
        if size * 3 // 2 >= stored:
            return size * 3 // 2
        size *= 2
    return size


def coo_arrays(block: CsrRows, pool: BufferPool) -> tuple[Array, Array]:
    """Indices and values of a ``tf.SparseTensor`` in a ``tf.data`` pipeline.

    On JAX, where Keras turns it into a BCOO, it is padded like one.

    Args:
        block: Canonical CSR rows, of the dtype to serve.
        pool: Where the memory comes from.

    Returns:
        int64 array of shape (entries, 2), and values of shape (entries,).
    """
    stored = len(block.data)
    entries = padded_nse(stored) if keras_backend() == "jax" else stored
    indices = pool.empty((entries, 2), np.int64)
    values = pool.empty((entries,), block.data.dtype)
    fill_coo(block, indices, values)
    return indices, values


def fill_coo(block: CsrRows, indices: Array, values: Array) -> None:
    """Writes (row, column) and values; the rest becomes JAX's mark for padding."""
    stored = len(block.data)
    indices[:stored, 0] = block.row_of_each()
    indices[:stored, 1] = block.indices
    values[:stored] = block.data
    if stored < len(values):
        # Entries one past the end in both axes take part in nothing.
        indices[stored:] = (block.num_rows, block.num_features)
        values[stored:] = 0

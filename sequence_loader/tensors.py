"""A batch -> what each backend wants: dense arrays and sparse tensors.

Backends are imported where used, so that a user of one needs no other.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sequence_loader.buffers import BufferPool
from sequence_loader.csr import Array, CsrRows

OUTPUTS = ("dense", "sparse", "csr")

MINIMUM_NSE = 1024
"""BCOO tensors with fewer entries are padded to this many: it costs nothing, and
JAX compiles a training step (0.4-0.7 s) for every distinct number of entries."""


def uses_legacy_keras() -> bool:
    """Whether ``tf.keras`` is Keras 2 (tf-keras), decided as TensorFlow decides."""
    return os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("true", "1")


def keras_backend() -> str:
    """``"tensorflow"``, ``"jax"`` or ``"torch"``: what Keras runs on here."""
    if uses_legacy_keras():
        return "tensorflow"
    import keras

    return str(keras.config.backend())


def floatx() -> str:
    """Keras's default float dtype."""
    if uses_legacy_keras():
        import tf_keras

        return str(tf_keras.backend.floatx())
    import keras

    return str(keras.config.floatx())


def to_dense(
    block: CsrRows | Array, dtype: npt.DTypeLike, pool: BufferPool
) -> Array:
    """Assembles dense features in recycled memory.

    Args:
        block: Canonical CSR rows, or an array of shape (batch, ...).
        dtype: dtype to serve.
        pool: Where the memory comes from.

    Returns:
        Array of shape (batch, features), or of the shape of `block`.
    """
    if isinstance(block, CsrRows):
        shape = (block.num_rows, block.num_features)
        return block.to_dense(pool.zeros(shape, dtype))
    out = pool.zeros(block.shape, dtype)
    np.copyto(out, block, casting="unsafe")
    return out


def to_sparse(block: CsrRows) -> Any:
    """The backend's sparse tensor of shape (batch, features).

    Args:
        block: Canonical CSR rows, of the dtype to serve.

    Returns:
        ``tf.SparseTensor`` on the CPU, ``jax.experimental.sparse.BCOO`` or, for a
        dense ``Input`` followed by ``Dense``, a ``torch.sparse_csr`` tensor.
    """
    return _MAKERS[keras_backend()](block)


def _tensorflow(block: CsrRows) -> Any:
    import tensorflow as tf

    indices = np.empty((len(block.data), 2), dtype=np.int64)
    indices[:, 0] = block.row_of_each()
    indices[:, 1] = block.indices
    # On the default device it might go to a GPU, which has no place for it; Keras
    # sends batches there itself.
    with tf.device("CPU:0"):
        return tf.SparseTensor(
            indices, block.data, (block.num_rows, block.num_features)
        )


def _jax(block: CsrRows) -> Any:
    from jax.experimental.sparse import BCOO

    shape = (block.num_rows, block.num_features)
    stored = len(block.data)
    entries = padded_nse(stored)
    data = np.zeros(entries, dtype=block.data.dtype)
    data[:stored] = block.data
    # Entries one past the end in both axes: JAX's own mark for padding.
    indices = np.empty((entries, 2), dtype=np.int32)
    indices[:stored, 0] = block.row_of_each()
    indices[:stored, 1] = block.indices
    indices[stored:] = shape
    return BCOO(
        (data, indices), shape=shape, indices_sorted=True, unique_indices=True
    )


def padded_nse(stored: int) -> int:
    """The next of 1024, 1536, 2048, 3072, ...: few sizes, at most a third too large."""
    size = MINIMUM_NSE
    while size < stored:
        if size * 3 // 2 >= stored:
            return size * 3 // 2
        size *= 2
    return size


def _torch(block: CsrRows) -> Any:
    import torch

    return torch.sparse_csr_tensor(
        torch.from_numpy(block.indptr),
        torch.from_numpy(block.indices.astype(np.int64)),
        torch.from_numpy(np.ascontiguousarray(block.data)),
        size=(block.num_rows, block.num_features),
        check_invariants=False,
    )


_MAKERS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}


def to_csr(block: CsrRows | Array) -> Any:
    """``scipy.sparse.csr_array`` of the rows; arrays stay what they are."""
    return block.to_scipy(sp.csr_array) if isinstance(block, CsrRows) else block

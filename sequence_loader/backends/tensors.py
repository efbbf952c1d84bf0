"""Sparse rows -> what the backend takes, stage 4.

Backends are imported where used, so that a user of one needs no other.
"""

from __future__ import annotations

from typing import Any

import scipy.sparse as sp

from sequence_loader.backends.jax import SparsePart, bcoo
from sequence_loader.backends.tensorflow import sparse_tensor
from sequence_loader.backends.torch import sparse_csr
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows.csr import CsrRows


def to_sparse(block: CsrRows, pool: BufferPool, part: SparsePart | None = None) -> Any:
    """The backend's sparse tensor of shape (batch, features).

    Args:
        block: Canonical CSR rows, of the dtype to serve.
        pool: Where its memory comes from.
        part: On JAX, in a job of several processes: where the rows lie in their
            common batch, whose shape (count * batch, features) the tensor gets.

    Returns:
        ``tf.SparseTensor`` on the CPU, ``jax.experimental.sparse.BCOO`` or, for a
        dense ``Input`` followed by ``Dense``, a ``torch.sparse_csr`` tensor.
    """
    backend = keras_backend()
    if backend == "jax":
        return bcoo(block, pool, part)
    return sparse_csr(block) if backend == "torch" else sparse_tensor(block, pool)


def to_csr(block: CsrRows) -> Any:
    """``scipy.sparse.csr_array`` of the rows, which are the user's already."""
    return block.to_scipy(sp.csr_array)

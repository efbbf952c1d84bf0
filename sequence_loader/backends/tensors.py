"""A batch -> what each backend wants: dense arrays and sparse tensors.

Backends are imported where used, so that a user of one needs no other.
"""

from __future__ import annotations

import copy
import functools
import os
import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows.csr import Array, CsrRows

OUTPUTS = ("dense", "sparse", "csr")

MINIMUM_NSE = 1024
"""BCOO tensors with fewer entries are padded to this many: it costs nothing, and
JAX compiles a training step (0.4-0.7 s) for every distinct number of entries."""


@functools.cache  # as TensorFlow does: it is decided once, when it is imported
def uses_legacy_keras() -> bool:
    """Whether ``tf.keras`` is Keras 2 (tf-keras), decided as TensorFlow decides."""
    return os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("true", "1")


@functools.cache  # asked for every batch; a process has one for all its life
def keras_backend() -> str:
    """``"tensorflow"``, ``"jax"`` or ``"torch"``: what Keras runs on here."""
    if uses_legacy_keras():
        return "tensorflow"
    import keras

    return str(keras.config.backend())


def check_not_forked(what: str) -> None:
    """Raises where a backend would be used whose threads a fork has left behind.

    Args:
        what: What the user asked for.

    Raises:
        RuntimeError: This process was forked after this module was imported.
    """
    if _forked and keras_backend() in ("tensorflow", "jax"):
        raise RuntimeError(
            f"{what} needs TensorFlow or JAX, which do not survive a fork; received a "
            f"call in a forked process. Use seq[i] with output='dense' or 'csr' there, "
            f"or start the process with multiprocessing's 'spawn' method."
        )


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
    out = pool.empty(block.shape, dtype)
    np.copyto(out, block, casting="unsafe")
    return out


@dataclass(frozen=True, slots=True)
class SparsePart:
    """Where the rows of a process lie in a BCOO that JAX holds as one array.

    Attributes:
        index: Place of the process among those that share the batch.
        count: How many there are.
        entries: How many entries every process serves, padding included.
    """

    index: int
    count: int
    entries: int


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
    if part is not None:
        return _jax(block, pool, part)
    return _MAKERS[keras_backend()](block, pool)


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
    _fill_coo(block, indices, values)
    return indices, values


def place_arrays(block: CsrRows, pool: BufferPool) -> tuple[Array, Array]:
    """Places and values of rows that a ``tf.data`` pipeline makes dense.

    Args:
        block: Canonical CSR rows, of the dtype to serve.
        pool: Where the memory comes from.

    Returns:
        int64 array of shape (entries,), places in the flat dense rows, and values of
        shape (entries,).
    """
    stored = len(block.data)
    values = pool.empty((stored,), block.data.dtype)
    values[:] = block.data
    return block.places(out=pool.empty((stored,), np.int64)), values


def _fill_coo(block: CsrRows, indices: Array, values: Array) -> None:
    """Writes (row, column) and values; the rest becomes JAX's mark for padding."""
    stored = len(block.data)
    indices[:stored, 0] = block.row_of_each()
    indices[:stored, 1] = block.indices
    values[:stored] = block.data
    if stored < len(values):
        # Entries one past the end in both axes take part in nothing.
        indices[stored:] = (block.num_rows, block.num_features)
        values[stored:] = 0


def _tensorflow(block: CsrRows, pool: BufferPool) -> Any:
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


def _jax(block: CsrRows, pool: BufferPool, part: SparsePart | None = None) -> Any:
    from jax.experimental.sparse import BCOO

    stored, num_rows = len(block.data), block.num_rows
    entries = padded_nse(stored) if part is None else part.entries
    data = pool.empty((entries,), block.data.dtype)
    indices = pool.empty((entries, 2), np.int32)
    _fill_coo(block, indices, data)
    if part is not None:
        num_rows = part.count * block.num_rows
        indices[:stored, 0] += part.index * block.num_rows
        indices[stored:, 0] = num_rows
    return BCOO(
        (data, indices),
        shape=(num_rows, block.num_features),
        indices_sorted=part is None,  # they are not in the array of all processes
        unique_indices=True,
    )


def padded_nse(stored: int) -> int:
    """The next of 1024, 1536, 2048, 3072, ...: few sizes, at most a third too large."""
    size = MINIMUM_NSE
    while size < stored:
        if size * 3 // 2 >= stored:
            return size * 3 // 2
        size *= 2
    return size


def _torch(block: CsrRows, pool: BufferPool) -> Any:
    import torch

    del pool
    _take_torch_notice(torch)
    return torch.sparse_csr_tensor(
        torch.from_numpy(block.indptr),
        torch.from_numpy(block.indices.astype(np.int64)),
        torch.from_numpy(np.ascontiguousarray(block.data)),
        size=(block.num_rows, block.num_features),
        check_invariants=False,
    )


def _take_torch_notice(torch: Any) -> None:
    """Torch says once a process that CSR tensors are in beta; users did not ask."""
    global _torch_notice_taken
    if _torch_notice_taken:
        return
    # The filters are the process's own: two threads must not change them at once.
    with _torch_notice_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        nothing = torch.empty(0, dtype=torch.int64)
        torch.sparse_csr_tensor(
            torch.zeros(1, dtype=torch.int64),
            nothing,
            nothing,
            size=(0, 1),
            check_invariants=False,
        )
        _torch_notice_taken = True


_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)

_torch_notice_lock = threading.Lock()
_torch_notice_taken = False

_MAKERS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}


def to_csr(block: CsrRows, pool: BufferPool) -> Any:
    """``scipy.sparse.csr_array`` of the rows, which are the user's already."""
    del pool
    return block.to_scipy(sp.csr_array)

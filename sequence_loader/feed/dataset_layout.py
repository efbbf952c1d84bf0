"""How a batch crosses from Python into the graph: flat arrays, and back to tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from sequence_loader.arrays import Array
from sequence_loader.backends.coo import coo_arrays, place_arrays
from sequence_loader.batches.assembler import Assembler, to_dense
from sequence_loader.batches.groups import group_size
from sequence_loader.batches.reader import Batch
from sequence_loader.batches.structures import Structure, leaves, map_structure
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows

_DENSIFIED = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64",
}  # fmt: skip
"""dtypes whose values TensorFlow writes into dense tensors."""

_RECYCLED = 1 << 25
"""Bytes of a dense tensor up to which glibc, where TensorFlow's memory comes from, uses
it again. Beyond, every batch has fresh pages, and `BufferPool` is faster."""


AT_ONCE = 8
"""Batches that cross in one call; more were no faster, and all are in memory then."""


class Layout:
    """The arrays and the tensors of every batch of a sequence.

    Sparse rows that are served dense cross as places and values, and the graph writes
    them into dense tensors, without Python's lock: where that is at most half of the
    bytes in the example, and no dense tensor has more than 32 MiB. What is kept ready
    is as much smaller; a batch is made dense when it is asked for.

    Args:
        example: One batch, assembled without being made dense.
        plan: Which rows are in which batch.
        assembler: Where memory comes from, and what is served.

    Attributes:
        in_graph: Whether the graph makes rows dense.
        at_once: How many batches like the example cross in one call. A call costs as
            much as assembling 128 sparse rows; eight together take half the time.
    """

    def __init__(self, example: Batch, plan: BatchPlan, assembler: Assembler) -> None:
        self._pool = assembler.pool
        self._served_dense = assembler.output == "dense"
        self._rows = plan.batch_size if plan.remainder != "keep" else None
        self.in_graph = self._served_dense and _is_sparse_enough(example)
        self._parts: Structure = tuple(
            map_structure(self._leaf, part) for part in example.packed()
        )
        self._leaves: list[_Leaf] = [
            leaf for part in self._parts for leaf in leaves(part)
        ]
        self.at_once = group_size(
            sum(
                leaf.nbytes(block)
                for leaf, block in zip(self._leaves, example.leaves(), strict=True)
            ),
            AT_ONCE,
        )

    @property
    def dtypes(self) -> list[Any]:
        """Of the arrays of a batch."""
        return [dtype for leaf in self._leaves for dtype in leaf.dtypes]

    def _leaf(self, block: CsrRows | Array) -> _Leaf:
        if not isinstance(block, CsrRows):
            shape = (self._rows, *block.shape[1:])
            return _Leaf(tf.TensorSpec(shape, block.dtype))
        shape = (self._rows, block.num_features)
        if not self._served_dense:
            return _SparseLeaf(tf.SparseTensorSpec(shape, block.data.dtype))
        kind = _PlacesLeaf if self.in_graph else _Leaf
        return kind(tf.TensorSpec(shape, block.data.dtype))

    def flatten(self, batch: Batch) -> list[Array]:
        """The arrays of a batch."""
        return [
            array
            for leaf, block in zip(self._leaves, batch.leaves(), strict=True)
            for array in leaf.flatten(block, self._pool)
        ]

    def num_rows(self, rows: int, index: Any) -> Any:
        """In the graph: a number of rows that the specs promise only where it is fixed.

        Args:
            rows: How many rows the batches have.
            index: Any integer tensor that is not constant.
        """
        num_rows = tf.constant(rows, tf.int64)
        return num_rows if self._rows is not None else num_rows + 0 * index

    def restore(self, batches: list[list[Any]], num_rows: Any) -> list[Any]:
        """In the graph: the tensors of batches, as the specs promise.

        Args:
            batches: What `flatten` gave, of each.
            num_rows: int64 scalar: the rows that each has.
        """
        shapes = [leaf.dense_shape(num_rows) for leaf in self._leaves]

        def restored(flat: list[Any]) -> Any:
            tensors, each = iter(flat), iter(shapes)
            return tuple(
                map_structure(lambda leaf: leaf.restore(tensors, next(each)), part)
                for part in self._parts
            )

        return list(map(restored, batches))


@dataclass(frozen=True)
class _Leaf:
    """An array that crosses as it is."""

    spec: Any

    @property
    def dtypes(self) -> list[Any]:
        return [self.spec.dtype]

    def nbytes(self, block: CsrRows | Array) -> int:
        shape = (
            (block.num_rows, block.num_features)
            if isinstance(block, CsrRows)
            else block.shape
        )
        return math.prod(shape) * int(self.spec.dtype.size)

    def flatten(self, block: Any, pool: BufferPool) -> tuple[Array, ...]:
        if isinstance(block, CsrRows):  # of a transform that gave an array before
            return (to_dense(block, block.data.dtype, pool),)
        return (block,)

    def dense_shape(self, num_rows: Any) -> Any:
        """In the graph, once for batches of as many rows: what `restore` needs."""
        del num_rows

    def restore(self, tensors: Iterator[Any], dense_shape: Any) -> Any:
        del dense_shape
        return _with_shape(next(tensors), self.spec.shape)


class _SparseLeaf(_Leaf):
    """Sparse rows that become a SparseTensor."""

    @property
    def dtypes(self) -> list[Any]:
        return [tf.int64, self.spec.dtype]

    def nbytes(self, block: Any) -> int:
        return len(block.data) * (16 + int(self.spec.dtype.size))

    def flatten(self, block: Any, pool: BufferPool) -> tuple[Array, ...]:
        if not isinstance(block, CsrRows):
            raise TypeError(
                f"`transform` must give sparse rows for every batch of "
                f"to_tf_dataset(), as it did for the first; it gave an array of shape "
                f"{block.shape}. Return scipy.sparse.csr_array(rows)."
            )
        return coo_arrays(block, pool)

    def dense_shape(self, num_rows: Any) -> Any:
        return tf.stack([num_rows, tf.constant(self.spec.shape[1], tf.int64)])

    def restore(self, tensors: Iterator[Any], dense_shape: Any) -> Any:
        return tf.SparseTensor(
            _with_shape(next(tensors), (None, 2)),
            _with_shape(next(tensors), (None,)),
            dense_shape,
        )


class _PlacesLeaf(_SparseLeaf):
    """Sparse rows that become dense in the graph."""

    def nbytes(self, block: Any) -> int:
        return _places_bytes(block)

    def flatten(self, block: Any, pool: BufferPool) -> tuple[Array, ...]:
        if isinstance(block, CsrRows):
            return place_arrays(block, pool)
        # A transform may give an array where it gave sparse rows before.
        return np.arange(block.size, dtype=np.int64), block.reshape(-1)

    def restore(self, tensors: Iterator[Any], dense_shape: Any) -> Any:
        # Of its kin, `scatter_nd` takes three times as long and makes 0.0 of -0.0;
        # with indices of two axes, twice the bytes cross.
        dense = tf.raw_ops.SparseToDense(
            sparse_indices=_with_shape(next(tensors), (None,)),
            output_shape=tf.reduce_prod(dense_shape, keepdims=True),
            sparse_values=_with_shape(next(tensors), (None,)),
            default_value=tf.zeros((), self.spec.dtype),
            validate_indices=False,  # the rows are canonical
        )
        return _with_shape(tf.reshape(dense, dense_shape), self.spec.shape)


def _is_sparse_enough(example: Batch) -> bool:
    """Whether the graph is faster at making the sparse rows of a batch dense."""
    sparse = [leaf for leaf in leaves(example.features) if isinstance(leaf, CsrRows)]
    dense = [
        rows.num_rows * rows.num_features * rows.data.itemsize for rows in sparse
    ]
    known = all(rows.data.dtype.name in _DENSIFIED for rows in sparse)
    places = sum(map(_places_bytes, sparse))
    if not sparse or max(dense) > _RECYCLED:
        return False
    return known and places <= sum(dense) // 2


def _places_bytes(rows: CsrRows) -> int:
    return len(rows.data) * (8 + rows.data.itemsize)


def _with_shape(tensor: Any, shape: Any) -> Any:
    """States a shape that `Layout` is sure of: `ensure_shape` would be an op more."""
    tensor.set_shape(shape)
    return tensor

"""How a batch crosses from Python into the graph: flat arrays, and back to tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from sequence_loader.arrays import Array
from sequence_loader.backends.coo import coo_arrays
from sequence_loader.batches.assembler import Assembler, to_dense
from sequence_loader.batches.batch import Batch
from sequence_loader.batches.groups import group_size
from sequence_loader.batches.structures import Structure, leaves, map_structure
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows

CALL_BATCHES = 8
"""Batches that cross in one call; more were no faster, and all are in memory then."""


class Layout:
    """The arrays and the tensors of every batch of a sequence.

    Dense rows cross as arrays in memory that is used again, which TensorFlow takes
    where it lies. What the graph itself makes dense is in memory from malloc: glibc
    gives 10 MB back to the system each time, and a batch then faults 2,500 pages.

    Args:
        example: One batch, assembled.
        plan: Which rows are in which batch.
        assembler: Where memory comes from, and what is served.

    Attributes:
        nbytes: What the example takes, as it crosses.
        at_once: How many batches like the example cross in one call. A call costs as
            much as assembling 128 sparse rows; eight together take half the time.
    """

    def __init__(self, example: Batch, plan: BatchPlan, assembler: Assembler) -> None:
        self._pool = assembler.pool
        self._rows = plan.batch_size if plan.remainder != "keep" else None
        self._parts: Structure = tuple(
            map_structure(self._leaf, part) for part in example.packed()
        )
        self._leaves: list[_Leaf] = [
            leaf for part in self._parts for leaf in leaves(part)
        ]
        self.nbytes = sum(array.nbytes for array in self.flatten(example))
        self.at_once = group_size(self.nbytes, CALL_BATCHES)

    def reserve(self, batches: int) -> object:
        """Keeps the memory of so many batches for as long as the result exists."""
        sizes = [len(leaf.dtypes) for leaf in leaves(self._parts[0])]
        return self._pool.reserve(batches * sum(sizes))

    @property
    def spec(self) -> Any:
        """What a batch is in the graph."""
        return tuple(
            map_structure(lambda leaf: leaf.spec, part) for part in self._parts
        )

    @property
    def dtypes(self) -> list[Any]:
        """Of the arrays of a batch."""
        return [dtype for leaf in self._leaves for dtype in leaf.dtypes]

    def _leaf(self, block: CsrRows | Array) -> _Leaf:
        if isinstance(block, CsrRows):
            shape = (self._rows, block.num_features)
            return _SparseLeaf(tf.SparseTensorSpec(shape, block.data.dtype))
        return _Leaf(tf.TensorSpec((self._rows, *block.shape[1:]), block.dtype))

    def flatten(self, batch: Batch) -> list[Array]:
        """The arrays of a batch."""
        return [
            array
            for leaf, block in zip(self._leaves, batch.leaves(), strict=True)
            for array in leaf.flatten(block, self._pool)
        ]

    def restore(self, batches: list[list[Any]], num_rows: Any) -> list[Any]:
        """In the graph: the tensors of batches, as the specs promise.

        Args:
            batches: What `flatten` gave, of each.
            num_rows: int64 scalar, no constant: the rows that each has.
        """
        if self._rows is not None:  # as the specs promise
            num_rows = tf.constant(self._rows, tf.int64)
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


def _with_shape(tensor: Any, shape: Any) -> Any:
    """States a shape that `Layout` is sure of: `ensure_shape` would be an op more."""
    tensor.set_shape(shape)
    return tensor

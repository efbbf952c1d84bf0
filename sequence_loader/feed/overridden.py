"""to_tf_dataset of a subclass that changes what ``seq[i]`` serves.

The dataset asks ``seq[i]`` itself, one batch after the other: what is served is the
subclass's to say, and nobody else can make it. The first two batches tell the specs,
as they do where Keras reads a sequence: the axis of rows is open, others are where the
two differ. Batches that do not fit them are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from sequence_loader.checks import shown
from sequence_loader.feed.dataset import as_served
from sequence_loader.workers.pool import ended, visits

_MEND = (
    "Serve the same structure, dtypes and number of axes in every batch, or pass the "
    "sequence itself to fit."
)


def dataset_of_override(
    read_at: Callable[[int, int], Any],
    num_batches: int,
    *,
    epoch: int,
    begin: Callable[[], tuple[int, int, int]],
    served: Callable[[int, int], None],
    hook: Callable[[str], bool],
) -> tf.data.Dataset:
    """Builds the dataset.

    Args:
        read_at: (epoch, number) -> the batch, as the subclass serves it.
        num_batches: How many there are in an epoch.
        epoch: Of the batches that show what all are like.
        begin: () -> the epoch of an iteration that starts now, its number, and its
            first batch.
        served: Called with that number and that epoch once the last batch has been
            handed out.
        hook: Calls a method of that name, which Keras calls of sequences alone; whether
            it set the epoch.

    Returns:
        A dataset of tuples or dicts of tensors, SparseTensors where rows are sparse.

    Raises:
        TypeError: A batch is nothing that Keras takes.
        ValueError: There are no batches, or the first two do not fit together.
    """
    if num_batches < 1:
        raise ValueError(
            f"len(sequence) must be at least 1 for to_tf_dataset(); received "
            f"{num_batches}."
        )
    first, *others = (
        _to_tensors(read_at(epoch, number)) for number in range(min(2, num_batches))
    )
    specs = tf.nest.map_structure(_spec, first)
    for other in others:
        found = tf.nest.map_structure(_spec, other)
        _check_structure(specs, found, 1)
        specs = tf.nest.map_structure(_common_spec, specs, found)

    def batches() -> Iterator[Any]:
        epoch, iteration, start = begin()
        # Else it shows what batches are like; a resumed one goes on where that was.
        if iteration >= 0 and hook("on_epoch_begin") and not start:
            epoch, iteration, start = begin()
        for number in range(start, num_batches):
            with visits:
                if ended.is_set():
                    raise RuntimeError("the interpreter ends: no more batches are made")
                batch = _to_tensors(read_at(epoch, number))
                _check_structure(specs, tf.nest.map_structure(_spec, batch), number)
            if number == num_batches - 1:
                served(iteration, epoch)
                if iteration >= 0:
                    hook("on_epoch_end")
            yield batch

    dataset = tf.data.Dataset.from_generator(batches, output_signature=specs)
    return as_served(dataset, num_batches)


def _to_tensors(batch: Any) -> Any:
    """A batch of arrays as Keras takes it: a dict, or a tuple of up to three."""
    if isinstance(batch, dict):
        return _nested(batch)
    parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    while parts and parts[-1] is None:
        parts = parts[:-1]
    if not 1 <= len(parts) <= 3:
        raise TypeError(
            f"seq[i] must serve (x,), (x, y), (x, y, sample_weight) or a dict; it "
            f"served {len(parts)} parts. Return a tuple of them."
        )
    return tuple(map(_nested, parts))


def _nested(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _nested(value) for name, value in part.items()}
    if isinstance(part, tuple) or (
        isinstance(part, list) and not all(np.ndim(value) == 0 for value in part)
    ):
        return tuple(map(_nested, part))
    return _leaf(part)


def _leaf(value: Any) -> Any:
    """An array, or a sparse or ragged tensor of TensorFlow."""
    if isinstance(value, (tf.SparseTensor, tf.RaggedTensor)):
        return value
    if hasattr(value, "tocoo"):  # scipy
        coo = value.tocoo(copy=True)
        coo.sum_duplicates()  # sorts, by columns first
        return _sparse(coo.row, coo.col, coo.data, coo.shape)
    if type(value).__name__ == "BCOO":  # JAX's; its padding points behind the last row
        indices, data = np.asarray(value.indices), np.asarray(value.data)
        rows, columns = indices[:, 0], indices[:, 1]
        real = (rows < value.shape[0]) & (columns < value.shape[1])
        return _sparse(rows[real], columns[real], data[real], value.shape)
    array = np.asarray(value)
    if array.dtype == object and not all(
        isinstance(item, (str, bytes)) for item in array.flat
    ):
        raise TypeError(
            f"seq[i] must serve arrays, sparse tensors, or dicts and tuples of them, "
            f"for to_tf_dataset(); it served {shown(value)} of type "
            f"{type(value).__name__}. Return np.asarray of numbers or texts."
        )
    return array


def _sparse(rows: Any, columns: Any, values: Any, shape: Any) -> tf.SparseTensor:
    order = np.lexsort((columns, rows))
    indices = np.stack([rows, columns], axis=1).astype(np.int64)
    return tf.SparseTensor(indices[order], values[order], shape)


def _spec(value: Any) -> Any:
    """The spec of a leaf, with an open axis of rows."""
    shape = [None, *value.shape[1:]] if len(value.shape) else []
    if isinstance(value, tf.SparseTensor):
        return tf.SparseTensorSpec(shape, value.dtype)
    if isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensorSpec(
            shape, value.dtype, value.ragged_rank, value.row_splits.dtype
        )
    return tf.TensorSpec(shape, tf.as_dtype(value.dtype))


def _common_spec(one: Any, other: Any) -> Any:
    """The spec of both, whose axes are open where they differ."""
    shape = [
        size if size == other_size else None
        for size, other_size in zip(one.shape, other.shape)
    ]
    if isinstance(one, tf.SparseTensorSpec):
        return tf.SparseTensorSpec(shape, one.dtype)
    if isinstance(one, tf.RaggedTensorSpec):
        return tf.RaggedTensorSpec(
            shape, one.dtype, one.ragged_rank, one.row_splits_dtype
        )
    return tf.TensorSpec(shape, one.dtype)


def _check_structure(specs: Any, found: Any, number: int) -> None:
    """Raises where a batch is other than the first: TensorFlow would cast it."""
    try:
        tf.nest.assert_same_structure(specs, found)
        same = all(
            type(spec) is type(other)
            and spec.dtype == other.dtype
            and spec.shape.rank == other.shape.rank
            and (number < 2 or spec.shape.is_compatible_with(other.shape))
            for spec, other in zip(tf.nest.flatten(specs), tf.nest.flatten(found))
        )
    except (TypeError, ValueError):
        same = False
    if not same:
        raise ValueError(
            f"batch {number} of a subclass's seq[i] must be like its first two for "
            f"to_tf_dataset(), which are {specs}; received {found}. {_MEND}"
        )

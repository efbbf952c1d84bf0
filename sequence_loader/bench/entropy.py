"""How well the batches of an order are mixed, from row ids and labels alone.

The entropy of the labels in a batch, in bits, averaged over the batches of an epoch:
0 where each batch has a single class, and for a uniform order all that batches of that
size can have. No row is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.order.plan import BatchPlan

MOST_ROWS = 1 << 22
"""Rows of an epoch that are looked at; of a longer one, batches at equal distances."""

PLACES = 64
"""Stretches of the store that stand for classes where there are none."""

DENSE_COUNTS = 1 << 20
"""Counts, of batches by classes, that are kept at a time."""


class Classes(NamedTuple):
    """A class for each row.

    Attributes:
        codes: int64 array of shape (rows,), each in ``[0, size)``.
        size: How many classes there are.
        source: ``"y"``, or ``"place"`` where they are stretches of the store.
    """

    codes: Integers
    size: int
    source: str


def classes_of(y: Array | None, num_rows: int) -> Classes:
    """The classes of a store's rows.

    Several labels a row are one class for each combination. Targets that are no
    classes (none, fractions, one value, or nearly as many as rows) tell nothing of
    mixing: the row's place in the store does, as if its rows were sorted by class.

    Args:
        y: Array of shape (rows, ...), or `None`.
        num_rows: How many rows there are.
    """
    if y is not None and len(y) and y.dtype.kind in "biuf":
        values = np.asarray(y).reshape(len(y), -1)
        if values.dtype.kind != "f" or (np.floor(values) == values).all():
            distinct, codes = np.unique(values, axis=0, return_inverse=True)
            if 2 <= len(distinct) <= num_rows / 2:
                return Classes(codes.reshape(-1).astype(np.int64), len(distinct), "y")
    count = min(PLACES, num_rows)
    return Classes(np.arange(num_rows, dtype=np.int64) * count // num_rows, count,
                   "place")


def label_entropy(plan: BatchPlan, classes: Classes, epoch: int = 0) -> float:
    """Bits of entropy in a batch, the mean of an epoch.

    Args:
        plan: Which rows are in which batch.
        classes: What is counted.
        epoch: The epoch.
    """
    most = max(1, MOST_ROWS // plan.batch_size)
    if plan.num_batches <= most:
        numbers = np.arange(plan.num_batches)
    else:
        numbers = np.linspace(0, plan.num_batches - 1, most).astype(np.int64)
    step = max(1, DENSE_COUNTS // classes.size)
    found = [
        _entropies(plan, classes, numbers[start : start + step], epoch)
        for start in range(0, len(numbers), step)
    ]
    return float(np.concatenate(found).mean())


def _entropies(
    plan: BatchPlan, classes: Classes, numbers: Integers, epoch: int
) -> Array:
    first, stop = int(numbers[0]), int(numbers[-1]) + 1
    if stop - first == len(numbers):
        rows = plan.rows_ahead(epoch, first, stop)
    else:
        rows = np.concatenate([plan.batch(epoch, n).rows for n in numbers.tolist()])
    owners = np.arange(len(rows)) // plan.batch_size
    batches = int(owners[-1]) + 1
    keys = owners * classes.size + classes.codes[rows]
    if len(rows) * 8 < batches * classes.size:  # hardly a class comes twice
        keys, counts = np.unique(keys, return_counts=True)
        owners = keys // classes.size
    else:
        counts = np.bincount(keys, minlength=batches * classes.size)
        owners = np.repeat(np.arange(batches), classes.size)
    sizes = np.bincount(owners, counts, batches)
    bits = counts * np.log2(np.maximum(counts, 1))
    return np.asarray(np.log2(sizes) - np.bincount(owners, bits, batches) / sizes)

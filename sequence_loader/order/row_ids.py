"""The argument `rows`, of a sequence or of `SparseStore.take`, checked -> row ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Integers
from sequence_loader.checks import as_numpy, check_unmasked, shown


def checked_subset(rows: Any, num_rows: int) -> Integers | None:
    """Turns the argument `rows` into row ids.

    Args:
        rows: `None`, integer array-like of distinct row ids, or boolean mask of
            shape (num_rows,).
        num_rows: Rows of the source.

    Returns:
        int64 array of row ids in the order given, or `None`.

    Raises:
        TypeError: Neither integers nor booleans.
        ValueError: Empty, out of range, repeated, or a mask of another length.
    """
    if rows is None:
        return None
    check_unmasked("rows", rows)
    given = as_numpy("rows", rows)
    if given.ndim != 1 or len(given) == 0:
        raise ValueError(
            f"`rows` must be a one-dimensional array of at least one row; received "
            f"{_shaped(rows, given)}."
        )
    if given.dtype.kind == "b":
        if len(given) != num_rows:
            raise ValueError(
                f"`rows` as a mask must have one entry for each of the {num_rows} "
                f"rows; received {len(given)}. Pass a mask of that length, or row ids."
            )
        given = np.flatnonzero(given)
        if len(given) == 0:
            raise ValueError(
                "`rows` must select at least one row; received a mask that is False "
                "everywhere. Check the condition it was made with."
            )
    if given.dtype.kind not in "iu":
        raise TypeError(
            f"`rows` must hold integers or booleans; received dtype {given.dtype}. "
            f"{_typed(rows, given, num_rows)}"
        )
    if int(given.min()) < 0 or int(given.max()) >= num_rows:
        wrong = given[(given < 0) | (given >= num_rows)][0]
        raise ValueError(
            f"`rows` must be in [0, {num_rows}); received {wrong}. Number the rows of "
            f"`x` from 0."
        )
    ids = given.astype(np.int64)
    seen = np.zeros(num_rows, dtype=bool)
    seen[ids] = True
    if int(seen.sum()) != len(ids):
        values, counts = np.unique(ids, return_counts=True)
        most = counts.argmax()
        mend = "Pass np.unique(rows), or draw with replacement by a sampler."
        if _is_mask(ids, num_rows):
            mend = f"Convert it with {_array(rows)}.astype(bool), if it is a mask."
        raise ValueError(
            f"`rows` must hold each row once; received row {values[most]} "
            f"{counts[most]} times. {mend}"
        )
    ids.flags.writeable = False
    return ids


def _shaped(rows: Any, given: npt.NDArray[Any]) -> str:
    """What is no array of one dimension, and what to pass."""
    if isinstance(rows, slice):
        return f"{rows}. Pass range(num_rows)[rows]"
    if isinstance(rows, set | frozenset):
        return "a set, which has no order. Pass sorted(rows)"
    if isinstance(rows, tuple) and len(rows) == 1:
        return f"a tuple of shape {given.shape}. Pass rows[0]"
    return f"shape {given.shape}. Pass what a scikit-learn splitter gives, or None"


def _array(rows: Any) -> str:
    """What has the types that NumPy can change."""
    return "rows" if isinstance(rows, np.ndarray) else "np.asarray(rows)"


def _typed(rows: Any, given: npt.NDArray[Any], num_rows: int) -> str:
    """What to make of rows that are neither integers nor booleans."""
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if given.dtype.kind in "US" or not (numbers == np.trunc(numbers)).all():
        return "Pass row ids or a mask; leave out, or fill, what is missing."
    known = {type(each) for each in given} if given.dtype.kind == "O" else set()
    if known <= {bool, np.bool_} and known or _is_mask(numbers, num_rows):
        return f"Convert it with {_array(rows)}.astype(bool)."
    return f"Convert it with {_array(rows)}.astype('int64')."


def _is_mask(numbers: npt.NDArray[Any], num_rows: int) -> bool:
    """Whether numbers look like a mask: 0 or 1 for every row."""
    return len(numbers) == num_rows and bool(np.isin(numbers, (0, 1)).all())


def taken_rows(rows: npt.ArrayLike, num_rows: int) -> Integers:
    """Turns what rows are indexed by into row ids, which may be repeated.

    Args:
        rows: Integer array-like, negative numbers counted from the end, or boolean
            mask of shape (num_rows,).
        num_rows: Rows of the source.

    Returns:
        int64 array of row ids in the order given.

    Raises:
        IndexError: A row is out of range, or a mask of another length.
        TypeError: Neither integers nor booleans.
    """
    given = np.asarray(rows)
    if given.size == 0 and given.dtype.kind == "f":
        given = given.astype(np.int64)  # what NumPy makes of an empty list
    if given.ndim != 1 or given.dtype.kind not in "iub":
        raise TypeError(
            f"`rows` must be a one-dimensional array of integers or booleans; "
            f"received {shown(rows)}. Pass row ids or a mask."
        )
    if given.dtype.kind == "b":
        if len(given) != num_rows:
            raise IndexError(
                f"`rows` as a mask must have {num_rows} entries, one for each "
                f"row; received {len(given)}. Pass a mask of that length."
            )
        return np.flatnonzero(given)
    outside = (given >= num_rows) | (given < -num_rows)
    if outside.any():
        raise IndexError(
            f"`rows` must be in [{-num_rows}, {num_rows}); received "
            f"{given[outside][0]}. Pass rows that the store has."
        )
    ids = given.astype(np.int64)
    return np.where(ids < 0, ids + num_rows, ids)

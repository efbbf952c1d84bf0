"""Numbers as Python has them, in arrays of objects: integers, decimals, fractions.

A float rounds what is an amount. What is a whole number may be an id, whatever type it
has: it is refused where the float would be its neighbour.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from numbers import Integral, Number, Rational, Real
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.rows.values import DoesNotFit, precision

WHOLE = np.dtype(np.float32)
"""What the integers of a column must fit that becomes floats beside others: it is
what models are given."""


def array_of(value: Any, name: str, whole: np.dtype[Any] | None = None) -> Array:
    """An array of what may be a list, or a Categorical; of one with large integers
    beside floats, which NumPy would round, objects.

    Args:
        value: What NumPy takes.
        name: The argument it came in.
        whole: What whole numbers must fit; by default `whole_for` it.

    Raises:
        ValueError: Its rows differ in length.
    """
    whole = whole_for(name) if whole is None else whole
    _check_strided(value, name)
    array = np.asarray(value)
    rounds = isinstance(value, list | tuple) or hasattr(value, "categories")
    if rounds and array.dtype == np.float64:
        if (np.abs(array) >= 2 ** (precision(whole))).any():
            return np.array(list(value), object)
    return array


def _check_strided(value: Any, name: str) -> None:
    """Raises TypeError for a sparse tensor of torch, of which NumPy makes no array."""
    parts = {
        "torch.sparse_coo": "coo_array(({0}._values(), {0}._indices()), {0}.shape)",
        "torch.sparse_csr": "csr_array(({0}.values(), {0}.col_indices(), "
        "{0}.crow_indices()), {0}.shape)",
        "torch.sparse_csc": "csc_array(({0}.values(), {0}.row_indices(), "
        "{0}.ccol_indices()), {0}.shape)",
    }.get(str(getattr(value, "layout", None)))
    if parts is not None:
        raise TypeError(
            f"`{name}` must be an array or a scipy sparse matrix; received a sparse "
            f"tensor of torch, of shape {tuple(value.shape)}. Pass scipy.sparse."
            f"{parts.format(name)}."
        )


def from_objects(
    array: Array, name: str, label: Any = None, whole: np.dtype[Any] | None = None
) -> Array:
    """Numbers in an array of objects as an array of numbers.

    Args:
        array: Of any dtype; others than objects are returned as they are.
        name: The argument it came in.
        label: The column of it, or `None`.
        whole: What whole numbers must fit that become floats; by default `whole_for`
            the argument.

    Returns:
        Of integers if all are, otherwise of float64, with NaN for what is missing;
        `array` itself if it holds something else, or no number.

    Raises:
        DoesNotFit: A float would not be the whole number that an object is.
    """
    if array.dtype.kind != "O":
        return array
    dtype = whole_for(name) if whole is None else whole
    items = array.ravel().tolist()
    missing = [is_missing(item) for item in items]
    if all(missing) or not all(
        gone or isinstance(item, Real | Decimal | np.bool_)
        for item, gone in zip(items, missing)
    ):
        return array
    if not any(missing) and all(isinstance(i, Integral | np.bool_) for i in items):
        for kind in (np.array(items).dtype, np.int64, np.uint64):
            with suppress(OverflowError):
                if np.dtype(kind).kind in "biu":
                    return np.array(items, kind).reshape(array.shape)
    numbers = [np.nan if gone else _as_float(i) for i, gone in zip(items, missing)]
    made = np.array(numbers).reshape(array.shape)
    with np.errstate(over="ignore"):
        held = made.astype(dtype).ravel().tolist()
    for place, (item, number, kept) in enumerate(zip(items, numbers, held)):
        exact = int(item) if isinstance(item, Integral) else item  # NumPy's would round
        if _is_whole(item) and not exact == number == kept:
            where = "" if label is None else f" of column {label!r}"
            raise DoesNotFit(item, place, dtype).named(
                name,
                array,
                "Pass integers as int64, with what is missing filled; or all as "
                "float64, where it is an amount.",
                f"among objects{where}, which become floats unless all are integers of "
                f"64 bits, and {dtype} cannot hold it",
            )
    return made


def whole_for(name: str) -> np.dtype[Any]:
    """What whole numbers must fit that become floats: targets are served as float64."""
    targets = name.startswith(("y", "sample_weight"))
    return np.dtype(np.float64) if targets else WHOLE


def _is_whole(item: Any) -> bool:
    """Whether it is a whole number, of a type that is exact, or beyond all floats."""
    if isinstance(item, Decimal):
        return item.is_finite() and item == item.to_integral_value()
    if isinstance(item, Rational):
        return item.denominator == 1 or bool(np.isinf(_as_float(item)))
    return False


def _as_float(item: Any) -> float:
    try:
        return float(item)
    except OverflowError:
        return float("inf")
    except ValueError:  # of a decimal that signals that it is none
        return float("nan")


def is_missing(item: Any) -> bool:
    """Whether it stands for no value: `None`, or pandas's ``NA`` and ``NaT``."""
    return item is None or type(item).__name__ in ("NAType", "NaTType")


def is_nan(item: Any) -> bool:
    """Whether it is a number that is none; others may not let themselves compare."""
    return isinstance(item, Number) and bool(item != item)

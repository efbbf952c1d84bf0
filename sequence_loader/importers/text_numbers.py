"""Numbers in text: what is one to anybody, and which of them no float is.

Python also reads ``1_0``, and rounds in silence: ``1e400`` to infinity, and the
integers beyond 2**53 to their neighbours, as float32 does those beyond 2**24.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.checks import is_floating
from sequence_loader.importers.source import SourceError
from sequence_loader.rows.csr import CsrRows, canonical
from sequence_loader.rows.values import DoesNotFit, check_fits, position, precision

INTEGER = re.compile(r"[+-]?[0-9]+\Z")
REAL = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?"
    r"|nan|inf|infinity)\Z",
    re.IGNORECASE | re.ASCII,
)
MEANT = re.compile(r"[+-]?[0-9]*(,[0-9]+|\.?[0-9]+\.?[dD][+-]?[0-9]+)\Z")
"""Numbers by other conventions: ``1,5``, and Fortran's ``1D2``."""
WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?\Z")


FLOAT64 = np.dtype(np.float64)


def beyond(text: str, dtype: np.dtype[Any] = FLOAT64) -> str | None:
    """Why no float is that number, and the mend; `None` if one is as near as can be.

    Args:
        text: A number, as `REAL` has it.
        dtype: What the number becomes; only of floats is anything said.
    """
    number = float(text)
    if math.isinf(number):
        spelled = "inf" in text.lower()
        return None if spelled else "is beyond float64. Write inf, if that is meant"
    whole = WHOLE.match(text)
    if whole is None:
        return None
    if int(whole[1]) != number:
        return (
            "is an integer that float64 cannot hold. Count from 0, or write e0 behind "
            "it, if it is an amount"
        )
    if not _rounded(np.array([number]), dtype):
        return None
    return (
        f"is an integer that {dtype} cannot hold. Pass {argument('dtype', 'float64')}, "
        f"or write e0 behind it, if it is an amount"
    )


def may_be_rounded(values: Array, dtype: np.dtype[Any] = FLOAT64) -> bool:
    """Whether the text of some float64 values may be an integer that no float is.

    Args:
        values: float64 array.
        dtype: What they become.
    """
    return _rounded(values, dtype) or bool((np.abs(values) >= 2**53).any())


def summed(rows: CsrRows, dtype: np.dtype[Any], path: str, first: int) -> CsrRows:
    """Rows of a text, float64, whose entries at one place are summed.

    Args:
        rows: They, with columns in range, in any order.
        dtype: What values become.
        path: The text.
        first: The number of the first row.

    Raises:
        SourceError: Integers have a sum that no float of `dtype` is.
    """
    made = canonical(rows, path)
    if len(made.data) == len(rows.data):
        return made
    dtype = dtype if is_floating(dtype) else FLOAT64
    longest, largest = np.diff(rows.indptr).max(), np.abs(rows.data).max()
    if longest * largest <= 2 ** precision(dtype):
        return made
    # Larger ones are amounts, whose sum int64 might not hold.
    whole = (np.trunc(rows.data) == rows.data) & (np.abs(rows.data) <= 2**62 // longest)
    exact, others, counts = (
        canonical(replace(rows, data=data.astype(np.int64)), path).data
        for data in (np.where(whole, rows.data, 0), ~whole, np.ones(len(whole)))
    )
    integers = (counts > 1) & (others == 0)
    try:
        check_fits(np.where(integers, exact, 0), dtype)
    except DoesNotFit as error:
        row, column = position(made, error.place)
        total, mend = int(error.value), "Write"
        if float(total) == total:
            mend = f"Pass {argument('dtype', 'float64')}, or write"
        raise SourceError(
            f"{path} has several entries in row {first + row}, column {column}, both "
            f"counted from 0, whose sum {total} is an integer that {dtype} cannot "
            f"hold. {mend} the sum as one entry, {total}e0, if it is an amount."
        ) from None
    return replace(made, data=np.where(integers, exact, made.data))


def _rounded(values: Array, dtype: np.dtype[Any]) -> bool:
    """Whether some are integers that are others in a dtype of floats."""
    if not is_floating(dtype) or dtype.itemsize >= FLOAT64.itemsize:
        return False
    large = values[np.abs(values) > 2 ** precision(dtype)]
    with np.errstate(over="ignore"):
        kept = large.astype(dtype).astype(FLOAT64)
    whole = (large == np.trunc(large)) & np.isfinite(kept)  # else casts refuse it
    return bool((whole & (large != kept)).any())

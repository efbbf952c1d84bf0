"""Numbers in text: what is one to anybody, and which of them no float is.

Python also reads ``1_0``, and rounds in silence: ``1e400`` to infinity, and the
integers beyond 2**53 to their neighbours, as float32 does those beyond 2**24.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array

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
            "is an integer that float64 cannot hold. Count from 0, or write it like "
            "9.1e15, if it is an amount"
        )
    if not _rounded(np.array([number]), dtype):
        return None
    return (
        f"is an integer that {dtype} cannot hold. Pass {argument('dtype', 'float64')}, "
        f"or write it like 1.7e7, if it is an amount"
    )


def may_be_rounded(values: Array, dtype: np.dtype[Any] = FLOAT64) -> bool:
    """Whether the text of some float64 values may be an integer that no float is.

    Args:
        values: float64 array.
        dtype: What they become.
    """
    return _rounded(values, dtype) or bool((np.abs(values) >= 2**53).any())


def _rounded(values: Array, dtype: np.dtype[Any]) -> bool:
    """Whether some are integers that are others in a dtype of floats."""
    if dtype.kind != "f" or dtype.itemsize >= FLOAT64.itemsize:
        return False
    large = values[np.abs(values) > 2 ** (np.finfo(dtype).nmant + 1)]
    large = large[np.abs(large) <= np.finfo(dtype).max]  # what casts refuse is theirs
    return bool(((large == np.trunc(large)) & (large != large.astype(dtype))).any())

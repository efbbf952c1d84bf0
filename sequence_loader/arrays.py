"""Names of the array types that every room hands on, and what daemon threads may do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Integers = npt.NDArray[np.int64]
"""Row ids, positions and counts."""


def distinct(values: Integers) -> Integers:
    """The different values, ascending, as `np.unique` gives them.

    For daemon threads: with NumPy 2.3 and later, a process that ends while one of them
    is in that function, without other results of it, is aborted.
    """
    ordered = np.sort(values)
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]

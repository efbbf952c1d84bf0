"""Which types a store keeps values and column indices in."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from sequence_loader.checks import shown

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
    *("bfloat16", "float16", "float32", "float64"),
)
SMALLEST = "smallest"
"""Asks for values to be kept in the narrowest type that loses no bit of any."""
NARROW = (
    *("uint8", "int8", "uint16", "int16", "float16", "uint32", "int32", "float32"),
)
"""What values may be kept in instead of a wider type, in the order of preference."""


@functools.cache
def narrower(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], ...]:
    """The types that values may be kept in instead, the narrowest first.

    Whatever one of them holds converts to `dtype` without loss.
    """
    kinds = {"u": "u", "i": "ui", "b": ""}.get(dtype.kind, "uif")
    kept = (np.dtype(name) for name in NARROW)
    return tuple(
        each
        for each in kept
        if each.itemsize < dtype.itemsize and each.kind in kinds
    )


def index_dtypes(num_features: int) -> list[np.dtype[Any]]:
    """The types that column indices may have, the smallest first."""
    wide = np.dtype(np.int32 if num_features <= 2**31 - 1 else np.int64)
    return [np.dtype(np.uint16), wide] if num_features <= 2**16 else [wide]


def index_dtype(num_features: int, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that a writer gives to the column indices of values of a dtype.

    uint16 makes float32 rows a quarter smaller on disk. In memory, too, it is faster to
    copy a quarter less and widen the indices of the batch than to copy them wide
    (benchmarks/disk.py). Beside values of less than 4 bytes it is not: the compiled
    loop that copies rows needs an array of 4 or 8 bytes (`gathering`).
    """
    kinds = index_dtypes(num_features)
    return kinds[0] if dtype.itemsize >= 4 else kinds[-1]


def dtype_named(name: Any) -> np.dtype[Any]:
    """The dtype of a name in the manifest.

    Raises:
        ValueError: It is not one that a store can hold.
    """
    if name not in DTYPES:
        raise ValueError(f"dtype {shown(name)} is not one of {', '.join(DTYPES)}")
    if name == "bfloat16":
        import ml_dtypes  # TensorFlow brings it; NumPy alone does not know the type

        found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    else:
        found = np.dtype(name)
    return found

"""What to write instead: advice that is Python, and runs whatever holds the labels."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.rows.columns import package
from sequence_loader.rows.objects import is_missing, is_nan

KNOWN = "~np.isnan(np.asarray({name}, float))"
"""Which rows have a number, of most containers."""


def as_lists(value: Any, name: str) -> str:
    """What makes Python lists of an array, or of a column, of any package."""
    if hasattr(value, "columns"):
        kind = "to_pylist" if hasattr(value, "to_pylist") else "to_list"
        return f"{name}[column].{kind}()"
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(value, method):
            return f"{name}.{method}()"
    return name


def known_rows(value: Any) -> str:
    """As `KNOWN`, of what numbers that may be missing came in."""
    if hasattr(value, "toarray"):
        return "~np.isnan({name}.toarray())"
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("error")  # pandas makes integers of some NaN
        if np.isnan(np.asarray(value, float)).any():
            return KNOWN
    if package(value) not in ("polars", "pyarrow"):
        return "~pd.isna({name})"
    return KNOWN.replace("np.asarray({name}", f"np.array({as_lists(value, '{name}')}")


def number_mend(value: Any, array: Array, name: str) -> str | None:
    """What makes numbers of objects or texts that hold some; `None` if they do not.

    Args:
        value: What the user passed.
        array: The same as an array.
        name: The argument.
    """
    items = [item for item in array.flat if not is_missing(item)]
    if any(hasattr(item, "__len__") and not _is_text(item) for item in items):
        return f"Pass rows of one length as an array, np.array({as_lists(value, name)})"
    if any(isinstance(item, complex) for item in items):
        return f"Convert it to real numbers, with np.real(np.asarray({name}, complex))"
    try:
        list(map(float, items))
    except Exception:  # of any kind, where items are of types of the user's
        return None
    if "NAType" in {type(item).__name__ for item in array.flat}:
        return None
    return f"Convert text to numbers, with np.asarray({name}, float)" if items else None


def label_mend(value: Any, array: Array, name: str) -> str:
    """What makes numbers of labels; see `number_mend`."""
    mend = number_mend(value, array, name)
    if mend is not None:
        return mend
    if any(is_missing(item) or is_nan(item) for item in array.flat):
        column = hasattr(value, "to_pylist") and not hasattr(value, "columns")
        entries = as_lists(value, name) if column else name  # NumPy may lose which
        return (
            f"Leave out rows without a label, with rows=, and encode the others: "
            f"pd.factorize(np.ravel({entries}))[0] is -1 where there is none"
        )
    texts = len(set(map(type, array.flat))) == 1
    each = name if texts else f"np.asarray({name}, str)"
    return (
        f"Encode labels as integers, for example with "
        f"np.unique({each}, return_inverse=True)[1]"
    )


def _is_text(item: Any) -> bool:
    return isinstance(item, str | bytes)

"""What to write instead: advice that is Python, and runs whatever holds the labels."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.checks import shown
from sequence_loader.rows.columns import package
from sequence_loader.rows.objects import is_missing, is_nan
from sequence_loader.rows.odd_columns import OddColumn, kind_of, odd_column
from sequence_loader.rows.tables import columns_of

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


def no_numbers(value: Any, array: Array, name: str) -> TypeError:
    """What is raised of objects that a store cannot hold as targets or weights.

    Args:
        value: What the user passed.
        array: The same as an array.
        name: The argument.
    """
    names = "Encode labels as integers, and pass their names as class_names=[...]"
    if name.startswith("sample_weight"):
        names = "Pass one number for each row"
    return TypeError(
        f"{argument(name)} must hold numbers; received "
        f"{odd_of(value, name) or f'dtype {array.dtype}'}. "
        f"{number_mend(value, array, name) or names}."
    )


def odd_of(value: Any, name: str) -> str:
    """The column of a table that holds dates or the like, in words; or nothing."""
    odd = _timed_column(value, name)
    return f"a {type(value).__name__} with {odd.what}" if odd is not None else ""


def _timed_column(value: Any, name: str) -> OddColumn | None:
    """The first column of a table that is none of numbers, if it is no class."""
    odd = odd_column(value, name)
    if odd is None or odd.label is None:
        return None
    return odd if odd.kind in TIMES else None


def _time_mend(value: Any, array: Array, name: str) -> str | None:
    """What makes numbers of dates and durations, which as classes have no order."""
    odd = _timed_column(value, name)
    if odd is None:
        odd = OddColumn(value, name, None, (), kind_of(array))
        if odd.kind not in TIMES or hasattr(value, "columns"):
            return None
        made = odd.numbers
        if made is None:
            return "Pass numbers instead, such as hours since midnight"
        return f"Convert {odd.kind} to numbers, such as {odd.unit}: {made}"
    several = len(columns_of(odd.table) or ()) > 1
    without = f"{odd.without()}" if several else ""
    if odd.replaced is None:
        return f"Pass {without or 'numbers instead'}"
    return f"Pass {odd.unit} as numbers: {odd.replaced}{'; or ' * several}{without}"


TIMES = ("dates", "dates with a time zone", "durations", "periods", "times of day")
"""Kinds of what is never a class."""


def number_mend(value: Any, array: Array, name: str) -> str | None:
    """What makes numbers of objects or texts that hold some; `None` if they do not.

    Args:
        value: What the user passed.
        array: The same as an array.
        name: The argument.
    """
    timed = _time_mend(value, array, name)
    if timed is not None:
        return timed
    items = [item for item in array.flat if not is_missing(item)]
    several = [item for item in items if _is_several(item)]
    if several and _are_rows(several, len(items)):
        return f"Pass rows of one length as an array, np.array({as_lists(value, name)})"
    if several:
        return sets_mend(value, name)
    if any(isinstance(item, complex) for item in items):
        return f"Convert it to real numbers, with np.real(np.asarray({name}, complex))"
    try:
        list(map(float, items))
    except Exception:  # of any kind, where items are of types of the user's
        return None
    if "NAType" in {type(item).__name__ for item in array.flat}:
        return None
    return f"Convert text to numbers, with np.asarray({name}, float)" if items else None


def rows_differ(value: Any, name: str) -> ValueError:
    """What is raised of targets or weights whose rows are lists of several lengths."""
    return ValueError(
        f"{argument(name)} must hold rows of one shape; received {shown(value)}, whose "
        f"rows differ. {sets_mend(value, name)}."
    )


def check_one_label(value: Any, array: Any, name: str) -> None:
    """Raises ValueError where each row is a list of as many texts: sets, or columns.

    Args:
        value: What the user passed.
        array: The same as an array.
        name: The argument.
    """
    several = isinstance(value, list | tuple) and array[:1].size > 1
    if several and array.dtype.kind in "US":
        raise ValueError(
            f"{argument(name)} must have one label in each row, or a column of 0 and 1 "
            f"for each label; received {shown(value)}. {sets_mend(value, name)}; or "
            f"np.array({name}), if there is a class in each place."
        )


def sets_mend(value: Any, name: str) -> str:
    """What makes numbers of rows that each hold any number of labels, or of numbers.

    Args:
        value: What the user passed, of rows that differ in length.
        name: The argument.
    """
    pad = "Pad them to one length"
    if name.startswith("sample_weight"):
        return pad
    made = as_lists(value, name)
    rows = value if isinstance(value, list | tuple) else np.ravel(np.array(value, "O"))
    if any(row is None for row in rows):
        made = f"[labels or [] for labels in {made}]"
    each = (item for row in rows if _is_several(row) for item in row)
    texts = _is_text(next(each, None))
    binarizer = (
        f"a column of 0 and 1 for each label, as sklearn.preprocessing has it: "
        f"MultiLabelBinarizer(sparse_output=True).fit_transform({made})"
    )
    if texts:
        return f"Pass {binarizer}"
    return f"{pad}; or, if they are labels, pass {binarizer}"


def _is_several(item: Any) -> bool:
    return hasattr(item, "__len__") and not _is_text(item)


def _are_rows(several: list[Any], count: int) -> bool:
    """Whether NumPy makes rows of an array of items that have a length."""
    alike = len(several) == count and len(set(map(len, several))) == 1
    return alike and not any(
        isinstance(item, set | frozenset) or any(map(_is_text, item))
        for item in several
    )


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

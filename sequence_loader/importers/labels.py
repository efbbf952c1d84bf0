"""Labels by name: a class is looked up, and a label that is missing is never a class.

One rule for `y`, for AnnData, svmlight and text files. Text and categories are
classes, and so are numbers where `classes` asks for it. A class becomes its place
among the names. What is missing is masked until `LabelRule` refuses it, or weights
its row 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import ABSENT, check_real, shown
from sequence_loader.rows.columns import categories_of
from sequence_loader.rows.mends import check_one_label, no_numbers, rows_differ
from sequence_loader.rows.objects import from_objects, is_nan
from sequence_loader.rows.tables import entries_of, is_table


@dataclass(frozen=True, eq=False)
class Named:
    """Labels that are classes.

    Attributes:
        names: The classes, each once, in the order that they have by default.
        codes: Integer array of shape (rows, ...): places in `names`, or -1.
        numbers: Whether the names are those of numbers, so that ``1.0`` is ``1``.
    """

    names: tuple[str, ...]
    codes: Integers
    numbers: bool = False


class NamesOfStore(tuple[str, ...]):
    """Class names that nobody gave: those of the store that rows must fit to."""


def named(
    values: Any, *, numbers: bool = False, name: str = "y", given: Any = None
) -> Named | Array:
    """Tells classes from numbers.

    Args:
        values: Array of shape (rows, ...) of text, objects or numbers; a table, or a
            column of one; a pandas Categorical.
        numbers: Whether numbers are classes as well.
        name: The argument they came in.
        given: What the user passed, if `values` were made of it.

    Returns:
        Classes; or numbers, masked where one is missing.

    Raises:
        TypeError: It holds objects that are neither text nor numbers.
        DoesNotFit: An integer would be rounded beside fractions.
    """
    given = values if given is None else given
    if is_table(values):
        listed = categories_of(values)
        if listed is not None:
            kinds = {isinstance(each, int | float) for each in listed[0]}
            names = tuple(map(number_name, listed[0]))
            return Named(names, listed[1], kinds == {True})
        values = entries_of(values, name)
        values = values.toarray() if sp.issparse(values) else values
    if not isinstance(getattr(values, "dtype", None), np.dtype):
        values = getattr(values, "array", values)  # of a Series, with what NumPy lacks
    if hasattr(values, "categories"):
        kind = getattr(values.categories.dtype, "kind", "O")
        listed = values.categories
        listed = listed.to_numpy() if kind == "f" else listed.tolist()
        names = tuple(map(number_name, listed))
        return Named(names, np.asarray(values.codes), kind in "iuf")
    array = _unmasked(values, name)
    if array.dtype.kind in "OT":
        absent, objects = np.ma.getmaskarray(array), np.ma.getdata(array).astype(object)
        array = _of_objects(np.where(absent, np.array(None), objects), name)
        if array.dtype.kind == "O":
            raise no_numbers(given, array, name)
    if array.dtype.kind == "S":
        array = np.ma.array(_decoded(array, name), mask=np.ma.getmaskarray(array))
    if array.dtype.kind not in "OUTcMm":  # which others say more of
        check_real(name, array.dtype)
    if numbers and array.dtype.name == "bfloat16":  # NumPy calls it void
        array = array.astype(np.float32)
    if array.dtype.kind == "U" or (numbers and array.dtype.kind in "biuf"):
        present = ~np.ma.getmaskarray(array)  # what stands under a mask is no class
        found, places = np.unique(np.ma.getdata(array)[present], return_inverse=True)
        codes = np.full(array.shape, -1)
        codes[present] = places.reshape(-1)
        if array.dtype.kind in "Ub":  # False and True, as categories of pandas are
            return Named(tuple(map(str, found.tolist())), codes)
        return Named(tuple(map(number_name, found)), codes, True)
    return array


def _unmasked(values: Any, name: str) -> Array:
    """What has a mask of pandas as an array with one of NumPy; others as they are."""
    if not hasattr(values, "isna") or isinstance(values.dtype, np.dtype):
        try:
            array: Array = np.asanyarray(values)
        except ValueError:  # of lists of several lengths
            raise rows_differ(values, name) from None
        check_one_label(values, array, name)
        return array
    kind = getattr(values.dtype, "numpy_dtype", None)
    if not isinstance(kind, np.dtype) or kind.kind not in "iuf":
        return np.asarray(values, object)
    numbers = values.to_numpy(dtype=kind, na_value=0)  # floats as long as they were
    absent = np.asarray(values.isna())
    return np.ma.array(numbers, mask=absent) if absent.any() else np.asarray(numbers)


def _decoded(array: Array, name: str) -> Array:
    """Bytes as text."""
    try:
        return np.char.decode(np.ma.getdata(array), "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{argument(name)} must be text, or bytes of UTF-8; received "
            f"{shown(error.object)}. Pass text: np.char.decode(labels, 'latin-1'), if "
            f"that is their encoding."
        ) from None


def number_name(number: Any) -> str:
    """What a class is called whose label is a number: ``1`` for 1.0.

    Of a float, the fewest digits that tell it from others of its own type.
    """
    if isinstance(number, float | np.floating):
        whole = int(number) if abs(float(number)) < 2**53 else None
        return str(number if whole != number else whole)
    return str(number)


def names_of(labels: Iterable[Named]) -> tuple[str, ...]:
    """The classes of all of these, when no names are given to look them up in."""
    labels = list(labels)
    found = dict.fromkeys(name for each in labels for name in each.names)
    names = [name for name in found if name not in ABSENT]
    numbers = any(each.numbers for each in labels)
    if numbers and all(_ascend(each.names) for each in labels):
        names.sort(key=number_of)
    return tuple(names)


def _ascend(names: Sequence[str]) -> bool:
    """Whether names are those of numbers, and in no order that somebody gave them."""
    keys = [number_of(name) for name in names if name not in ABSENT]
    return str not in map(type, keys) and keys == sorted(keys)


def placed(labels: Named, class_names: Sequence[str]) -> Integers:
    """Each label as the place of its class among the names.

    Returns:
        int32 array of the shape of `labels.codes`, masked where a label is missing.

    Raises:
        ValueError: A class that occurs is not among the names, or a name occurs twice.
    """
    known = frozenset(class_names)
    used = np.unique(labels.codes[labels.codes >= 0]).tolist()
    used = [
        code
        for code in used
        if labels.names[code] in known or labels.names[code] not in ABSENT
    ]
    places: Array = np.full(len(labels.names) + 1, -1, np.int32)  # the last: of -1
    places[used] = class_places(
        [labels.names[code] for code in used], class_names, numbers=labels.numbers
    )
    found: Integers = places[labels.codes]
    return np.ma.array(found, mask=found < 0) if (found < 0).any() else found


def class_places(
    names: Sequence[str], class_names: Sequence[str], *, numbers: bool = False
) -> Integers:
    """The place of each of `names` among `class_names`.

    Args:
        names: What is looked up.
        class_names: Where.
        numbers: Whether ``1.0`` and ``+1`` are the name ``1``.

    Returns:
        int32 array of shape (names,).

    Raises:
        ValueError: One is not among them, or one of them occurs twice.
    """
    key = number_of if numbers else str
    known = {key(name): place for place, name in enumerate(class_names)}
    if len(known) < len(class_names):
        raise ValueError(
            f"{argument('class_names')} must be different names; received "
            f"{shown(class_names)}. Pass each once."
        )
    missing = [name for name in names if key(name) not in known]
    if missing:
        if isinstance(class_names, NamesOfStore):
            raise ValueError(
                f"the class names of the store in {argument('like')} must hold every "
                f"label of the rows; received {shown(tuple(class_names))}, without "
                f"{shown(missing)}. Correct or leave out those rows, or pass as "
                f"{argument('class_names')} those of that store, and behind them what "
                f"is missing."
            )
        raise ValueError(
            f"{argument('class_names')} must hold every label of the rows; received "
            f"{shown(tuple(class_names))}, without {shown(missing)}. Add what is "
            f"missing, in any place."
        )
    return np.array([known[key(name)] for name in names], np.int32)


def _of_objects(array: Array, name: str) -> Array:
    """Text or numbers out of objects: masked where one is missing."""
    pandas: Any = sys.modules.get("pandas")  # or there is no NA
    if pandas is not None:
        absent = np.asarray(pandas.isna(array))
    else:
        lacking = [value is None or is_nan(value) for value in array.flat]
        absent = np.array(lacking, bool).reshape(array.shape)
    present = array[~absent]
    texts = present.size and all(isinstance(value, str) for value in present)
    kind = np.dtype(str) if texts else np.dtype(float)
    if present.size and not texts:
        kind = from_objects(present, name).dtype
        if kind.kind not in "biuf":
            return array
    filled = array.copy()
    filled[absent] = kind.type()
    made: Array = filled.astype(kind)
    return np.ma.array(made, mask=absent) if absent.any() else made


def number_of(name: str) -> Any:
    """What a name is looked up by where labels are numbers: 1, "1" and 1.0 alike."""
    for kind in (int, float) if "_" not in name else ():
        try:
            return kind(name.strip("\"'"))
        except ValueError:
            continue
    return name

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
from sequence_loader.checks import ABSENT, check_real, one_of, shown
from sequence_loader.rows.columns import categories_of
from sequence_loader.rows.objects import from_objects
from sequence_loader.rows.tables import entries_of, is_table

MISSING = ("refuse", "zero-weight")
"""What can be done with rows whose label is missing."""


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


def named(values: Any, *, numbers: bool = False, name: str = "y") -> Named | Array:
    """Tells classes from numbers.

    Args:
        values: Array of shape (rows, ...) of text, objects or numbers; a table, or a
            column of one; a pandas Categorical.
        numbers: Whether numbers are classes as well.
        name: The argument they came in.

    Returns:
        Classes; or numbers, masked where one is missing. Objects that are neither
        text nor numbers are returned as they are.

    Raises:
        DoesNotFit: An integer would be rounded beside fractions.
    """
    if is_table(values):
        listed = categories_of(values)
        if listed is not None:
            kinds = {isinstance(each, int | float) for each in listed[0]}
            names = tuple(map(number_name, listed[0]))
            return Named(names, listed[1], kinds == {True})
        values = entries_of(values, name)
    if not isinstance(getattr(values, "dtype", None), np.dtype):
        values = getattr(values, "array", values)  # of a Series, with what NumPy lacks
    if hasattr(values, "categories"):
        kind = getattr(values.categories.dtype, "kind", "O")
        listed = values.categories
        listed = listed.to_numpy() if kind == "f" else listed.tolist()
        names = tuple(map(number_name, listed))
        return Named(names, np.asarray(values.codes), kind in "iuf")
    array = _unmasked(values)
    if array.dtype.kind in "OT":
        absent, objects = np.ma.getmaskarray(array), np.ma.getdata(array).astype(object)
        array = _of_objects(np.where(absent, np.array(None), objects), name)
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


def _unmasked(values: Any) -> Array:
    """What has a mask of pandas as an array with one of NumPy; others as they are."""
    if not hasattr(values, "isna") or isinstance(values.dtype, np.dtype):
        return np.asanyarray(values)
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
        names.sort(key=_number)
    return tuple(names)


def _ascend(names: Sequence[str]) -> bool:
    """Whether names are those of numbers, and in no order that somebody gave them."""
    keys = [_number(name) for name in names if name not in ABSENT]
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
    key = _number if numbers else str
    known = {key(name): place for place, name in enumerate(class_names)}
    if len(known) < len(class_names):
        raise ValueError(
            f"{argument('class_names')} must be different names; received "
            f"{shown(class_names)}. Pass each once."
        )
    missing = [name for name in names if key(name) not in known]
    if missing:
        raise ValueError(
            f"{argument('class_names')} must hold every label of the rows; received "
            f"{shown(tuple(class_names))}, without {shown(missing)}. Add what is "
            f"missing, in any place."
        )
    return np.array([known[key(name)] for name in names], np.int32)


@dataclass(frozen=True)
class LabelRule:
    """What labels are, as the caller of `convert` said, asked block by block.

    Attributes:
        class_names: The names of classes, or `None`.
        classes: Whether numbers are classes. `None`: they are not, and must not look
            like the names of some.
        missing: ``"refuse"``; or ``"zero-weight"``, which gives rows without a label
            the label 0 and the weight 0.
    """

    class_names: tuple[str, ...] | None = None
    classes: bool | None = None
    missing: str = "refuse"

    def __post_init__(self) -> None:
        one_of("missing_labels", self.missing, MISSING)
        one_of("classes", self.classes, (True, False, None))

    def looked_up(self, y: Any) -> Any:
        """Labels of a block as numbers: classes as their places among the names.

        Args:
            y: Labels of a few rows, of any kind.

        Raises:
            ValueError: A class has no name; or numbers may be classes, or places.
        """
        found = named(y, numbers=bool(self.classes))
        if isinstance(found, Named) and self.class_names is not None:
            return placed(found, self.class_names)
        if isinstance(found, Named) and (found.numbers or self.classes):
            raise ValueError(
                f"{argument('class_names')} must be given where labels in blocks are "
                f"classes, since later blocks may hold others; received "
                f"{argument('classes', True)} alone. Pass all names."
            )
        if isinstance(found, Named):
            return y
        if self.classes is None and self.class_names and _one_whole_number_a_row(found):
            keys = list(map(_number, self.class_names))
            if keys != list(range(len(keys))) and str not in map(type, keys):
                raise ValueError(
                    f"{argument('classes')} must be given where both labels and "
                    f"{argument('class_names')} are numbers; received "
                    f"{shown(self.class_names)}. Pass {argument('classes', True)} to "
                    f"look labels up among the names, or "
                    f"{argument('classes', False)} where they are places, from 0."
                )
        return found

    def known(
        self, y: Any, sample_weight: Any, first: int, *, places: bool
    ) -> tuple[Any, Any]:
        """Refuses rows whose label is missing, or gives them the weight 0.

        Args:
            y: Labels of some rows, numbers of shape (n, ...). Masked, or NaN, is
                missing; and less than 0 where it is a place among names.
            sample_weight: Array of shape (n,), or `None`.
            first: The number of the first row.
            places: Whether one whole number a row is a place among the names. Floats
                may be, too: pandas makes them of integers beside NaN.

        Returns:
            Labels, in which 0 stands for those that are missing, and weights.

        Raises:
            ValueError: A label is missing, or is no class.
        """
        if sp.issparse(y):
            y = y.toarray()
        y = np.asanyarray(y)
        if y.ndim == 0:  # the writer refuses it
            return y, sample_weight
        values: Array = np.ma.getdata(y)
        absent = np.ma.getmaskarray(y).copy()
        places &= self.class_names is not None and _one_whole_number_a_row(y)
        if values.dtype.kind == "f":
            absent |= np.isnan(values)
        if places and values.dtype.kind in "if":
            absent |= values < 0
        lacking = absent.any(axis=tuple(range(1, y.ndim)))
        if lacking.any() and self.missing == "refuse":
            rows = first + np.flatnonzero(lacking)
            more = f", and {len(rows) - 1} more have none" if len(rows) > 1 else ""
            hint = f"; or {argument('classes', True)} where -1 is a class" * places
            raise ValueError(
                f"{argument('y')} must be known for each row; row {rows[0]}, counted "
                f"from 0, has {shown(y[lacking][0].tolist())}{more}. Remove such rows, "
                f"label them, or pass {argument('missing_labels', 'zero-weight')}"
                f"{hint}."
            )
        known = values[~lacking]
        most = float(known.max()) if places and known.size else -1.0
        needed = int(min(most, 2**62)) + 1  # it may be infinite
        if needed > len(self.class_names or ()):
            raise ValueError(
                f"{argument('class_names')} must name each class, of which "
                f"{argument('y')} has {needed}, counted from 0; received "
                f"{len(self.class_names or ())}: {shown(self.class_names)}. Pass all "
                f"names, or none."
            )
        short = sample_weight is not None and np.shape(sample_weight)[:1] != (len(y),)
        if self.missing == "refuse" or short:  # which the writer refuses
            return values, sample_weight
        weights = np.ones(len(values), np.float32)
        if sample_weight is not None:
            weights = np.array(np.asarray(sample_weight))  # pyarrow's may not be set
        weights[lacking] = 0
        return np.where(absent, np.zeros((), values.dtype), values), weights


def _one_whole_number_a_row(y: Array) -> bool:
    if y.dtype.kind not in "biuf" or not 0 < y.size == len(y):
        return False
    return y.dtype.kind != "f" or not np.any(np.floor(y) < y)


def _of_objects(array: Array, name: str) -> Array:
    """Text or numbers out of objects: masked where one is missing."""
    pandas: Any = sys.modules.get("pandas")  # or there is no NA
    if pandas is not None:
        absent = np.asarray(pandas.isna(array))
    else:
        lacking = [value is None or value != value for value in array.flat]
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


def _number(name: str) -> Any:
    """What a name is looked up by where labels are numbers: 1, "1" and 1.0 alike."""
    for kind in (int, float) if "_" not in name else ():
        try:
            return kind(name.strip("\"'"))
        except ValueError:
            continue
    return name

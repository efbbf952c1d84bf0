"""What becomes of labels: a class is looked up, a missing one refused or weighted 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.checks import ABSENT, one_of, shown
from sequence_loader.importers.labels import (
    Named,
    NamesOfStore,
    named,
    number_of,
    placed,
)

MISSING = ("refuse", "zero-weight")
"""What can be done with rows whose label is missing."""


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
        if isinstance(found, Named):
            names = [name for name in found.names if name not in ABSENT]
            raise ValueError(
                f"{argument('class_names')} must be given where labels in blocks are "
                f"classes, since later blocks may hold others; received the labels "
                f"{shown(names)}. Pass all names, for example "
                f"{argument('class_names', names[:2])}."
            )
        if self.classes is None and self.class_names and _one_whole_number_a_row(found):
            keys = list(map(number_of, self.class_names))
            if keys != list(range(len(keys))) and _may_be_names(found, keys):
                raise ValueError(
                    f"{argument('classes')} must be given where both labels and "
                    f"{argument('class_names')} are numbers, or True and False; "
                    f"received {shown(self.class_names)}. Pass "
                    f"{argument('classes', True)} to look labels up among the names, "
                    f"or {argument('classes', False)} where they are places, from 0."
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
            whose, mend = argument("class_names"), "Pass all names, or none"
            if isinstance(self.class_names, NamesOfStore):
                whose = f"the class names of the store in {argument('like')}"
                mend = f"Pass all names as {argument('class_names')}, its own first"
            raise ValueError(
                f"{whose} must name each class, of which "
                f"{argument('y')} has {needed}, counted from 0; received "
                f"{len(self.class_names or ())}: {shown(self.class_names)}. {mend}."
            )
        short = sample_weight is not None and np.shape(sample_weight)[:1] != (len(y),)
        if self.missing == "refuse" or short:  # which the writer refuses
            return values, sample_weight
        weights = np.ones(len(values), np.float32)
        if sample_weight is not None:
            weights = np.array(np.asarray(sample_weight))  # pyarrow's may not be set
        weights[lacking] = 0
        return np.where(absent, np.zeros((), values.dtype), values), weights


def _may_be_names(y: Array, keys: list[Any]) -> bool:
    """Whether numbers beside some names, that others are called by, may be those.

    Booleans are called True and False, in any case.
    """
    if str not in map(type, keys):
        return True
    keys = [key.title() if isinstance(key, str) else key for key in keys]
    labels = np.ma.getdata(y)[~np.ma.getmaskarray(y)]
    labels = np.unique(labels[labels == labels]).tolist()
    places = dict(zip(keys, range(len(keys))))
    found = [places.get(label, places.get(str(label))) for label in labels]
    return None not in found and found != labels


def _one_whole_number_a_row(y: Array) -> bool:
    if y.dtype.kind not in "biuf" or not 0 < y.size == len(y):
        return False
    return y.dtype.kind != "f" or not np.any(np.floor(y) < y)

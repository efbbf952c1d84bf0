"""Labels and shares of classes, as `BalancedSampler` is given them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.checks import as_numpy, check_unmasked, shown


def checked_labels(given: Any) -> npt.NDArray[Any]:
    """The class of each row, as an array of shape (rows,) of its own.

    Raises:
        TypeError: They are no integers, booleans or strings.
        ValueError: They are not one-dimensional, or none.
    """
    one_hot = "np.asarray(labels).argmax(axis=1)"
    if hasattr(given, "toarray"):  # a sparse column, as scipy has no others
        one_hot = "np.asarray(labels.argmax(axis=1)).ravel()"  # or np.matrix
        given = given.toarray()
        given = given.ravel() if 1 in given.shape else given
    check_unmasked("labels", given)
    labels = as_numpy("labels", given).copy()
    if labels.dtype.kind == "U" and isinstance(given, list | tuple):
        labels = np.array(given, object)  # NumPy makes text of what is missing, too
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(
            f"`labels` must be a one-dimensional array of at least one label; received "
            f"shape {labels.shape}. Pass the class of each row, for one-hot rows "
            f"{one_hot}."
        )
    if labels.dtype.kind not in "biuUS":
        mend = "Convert them, for example with labels.astype('int64')"
        if labels.dtype.kind in "fO" and any(map(_is_missing, labels)):
            mend = "Leave rows without a label out: rows=rows, and labels[rows] here"
        raise TypeError(
            f"`labels` must hold integers, booleans or strings; received dtype "
            f"{labels.dtype}: {shown(given)}. {mend}."
        )
    return labels


def _is_missing(label: Any) -> bool:
    if isinstance(label, Number):
        return bool(label != label)
    return label is None or type(label).__name__ == "NAType"


def checked_shares(
    proportions: Any, classes: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """The relative share of each class.

    Args:
        proportions: The mapping that the user passed, or `None`.
        classes: The labels that occur, in order.

    Raises:
        TypeError: It is no mapping.
        ValueError: It does not name each label once, or a share is out of range.
    """
    if proportions is None:
        return np.ones(len(classes))
    if isinstance(proportions, tuple):  # as it is kept, and pickled
        proportions = dict(proportions)
    if not isinstance(proportions, Mapping):
        raise TypeError(
            f"`proportions` must be a mapping from label to share; received "
            f"{shown(proportions)} of type {type(proportions).__name__}. Pass for "
            f"example {{0: 1, 1: 3}}, or None for equal shares."
        )
    labels = classes.tolist()
    different = set(labels) ^ set(proportions)
    if different:
        raise ValueError(
            f"`proportions` must have one share for each label in `labels`, "
            f"{shown(labels)}; received {shown(proportions)}, which differs in "
            f"{shown(different)}. Pass 0 for a class that is not to be drawn."
        )
    shares = [proportions[label] for label in labels]
    for label, share in zip(labels, shares):
        number = isinstance(share, int | float | np.integer | np.floating)
        if not number or not (0 <= share < math.inf):
            raise ValueError(
                f"`proportions` must be finite numbers, not negative; received "
                f"{shown(share)} for label {label!r}. Pass a share relative to the "
                f"others."
            )
    if not any(shares):
        raise ValueError(
            "`proportions` must hold at least one share above 0; received zeros only. "
            "Pass None for equal shares."
        )
    return np.array(shares, np.float64)

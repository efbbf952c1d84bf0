"""Columns of an AnnData file's tables: names of rows and features, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.checks import ABSENT
from sequence_loader.importers.containers import (
    attribute,
    check_filters,
    element,
    is_group,
    values,
)
from sequence_loader.importers.labels import Named, number_name, placed
from sequence_loader.importers.source import SourceError

ENCODINGS = {
    ("", ""): False,  # an array, before anndata 0.8
    ("array", "0.2.0"): False,
    ("string-array", "0.2.0"): False,
    ("categorical", "0.2.0"): True,
    ("nullable-integer", "0.1.0"): True,
    ("nullable-boolean", "0.1.0"): True,
    ("nullable-string-array", "0.1.0"): True,
}
"""How a column of a table may be stored, and whether as a group of arrays."""


def column(file: Any, path: Path, where: str, name: str) -> Any:
    """A column of a table: classes, or an array, masked where an entry is missing."""
    part, table = element(file, path, f"{where}/{name}"), file[where]
    kind = attribute(part, "encoding-type", ""), attribute(part, "encoding-version", "")
    if ENCODINGS.get(kind) != is_group(part):
        raise SourceError(
            f"{path}: {part.name} is stored as {' '.join(kind).strip() or 'a group'}, "
            f"which is not read. Make it a column of text, numbers or categories, and "
            f"write it again."
        )
    if kind[0] == "categorical":
        return _categories(part["codes"], part["categories"])
    if kind[0].startswith("nullable"):
        return np.ma.array(values(part["values"]), mask=values(part["mask"]))
    # Before anndata 0.8, an array of codes that refers to its categories.
    reference = attribute(part, "categories")
    if reference is None and f"__categories/{name}" not in table:
        return values(part)
    listed = part.attrs.get("categories")
    if not _are_names(listed):
        listed = table[f"__categories/{name}" if reference is None else reference]
        check_filters(listed, path)
    return _categories(part, listed)


def _are_names(listed: Any) -> bool:
    """Whether it holds the categories, as in 2019, and not where they are."""
    if not isinstance(listed, np.ndarray) or not listed.shape:
        return False
    is_text = all(isinstance(each, str | bytes) for each in listed.flat)
    return is_text or listed.dtype.kind in "biuf"


def _categories(codes: Any, listed: Any) -> Named:
    """Classes, from an array of codes and one of their names."""
    if is_group(listed):  # text that may be missing, as it may not be here
        listed = listed["values"]
    found, places = values(listed).reshape(-1), values(codes)
    if places.dtype.kind not in "iu" or places.max(initial=0) >= max(len(found), 1):
        raise ValueError(f"{codes.name} is no array of places in {len(found)} names")
    listed = found if found.dtype.kind == "f" else found.tolist()
    texts = tuple(map(number_name, listed))
    numbers = found.dtype.kind in "iuf"
    return Named(texts, np.maximum(places.astype(np.int64), -1), numbers)


def check_known(
    labels: Any, path: Path, name: str, class_names: Sequence[str]
) -> None:
    """Raises SourceError where a label is missing: now, not after hours of writing."""
    texts: list[str] = []
    if isinstance(labels, Named):
        texts = [n for n in labels.names if n in ABSENT and n not in class_names]
        missing = np.array([name in texts for name in labels.names] + [True])
        missing = missing[labels.codes]
        texts = [name for name in texts if labels.names.index(name) in labels.codes]
    else:
        found = np.ma.getdata(labels)
        missing = np.ma.getmaskarray(labels) | (found != found)
    count = int(np.count_nonzero(missing))
    if count:
        named = f" {argument('class_names')} that hold {texts[0]!r}," if texts else ""
        raise SourceError(
            f"{path} has {count} missing values in obs[{name!r}], and a label must "
            f"be known for each row. Remove those rows, give them a class, or pass"
            f"{named and named + ' or'} {argument('missing_labels', 'zero-weight')}."
        )


def coded(
    paths: Sequence[Path], labels: list[Any], class_names: tuple[str, ...] | None
) -> tuple[list[Any], tuple[str, ...] | None]:
    """Labels of all files as numbers: their places among the names of classes."""
    classes = [each for each in labels if isinstance(each, Named)]
    if not classes:
        return labels, None
    if len(classes) < len(labels):
        kinds = ["classes" if isinstance(each, Named) else "numbers" for each in labels]
        raise SourceError(
            f"the label column must hold classes in all files or in none; it holds "
            f"{kinds[0]} in {paths[0]}, and {sorted(set(kinds) - {kinds[0]})[0]} in "
            f"another. Convert it to one kind."
        )
    if class_names is None:
        listed = [name for each in classes for name in each.names]
        class_names = tuple(n for n in dict.fromkeys(listed) if n not in ABSENT)
    return [placed(each, class_names) for each in classes], class_names

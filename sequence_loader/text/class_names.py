"""Names of classes: from a file with one on each line, or as they are given."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import shown


def names_in_file(path: str) -> tuple[str, ...]:
    """Class names from a text file, one on each line.

    Raises:
        OSError: It cannot be read.
        ValueError: A line is blank, but for those at the end, or was there before, or
            is not UTF-8; or lines are numbered in another order.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        names = [line.strip() for line in file.read().rstrip().split("\n")]
    for line, name in enumerate(names, 1):
        first = names.index(name) + 1
        wrong, mend = "", "Write each class once"
        if not name:
            wrong, mend = "is blank", "Leave the line out, or name its class"
        elif first < line:
            wrong = f"is {shown(name)}, as line {first} is"
        elif "\ufffd" in name:
            wrong, mend = "is not UTF-8", "Convert it with iconv"
        if wrong:
            raise ValueError(
                f"{argument('class_names')} must be different names, one on each line; "
                f"line {line} of {path} {wrong}. {mend}."
            )
    found = [re.match(r"[0-9]{1,6}(?=[\s:.,;=-]+\S)", name) for name in names]
    numbers = [int(each[0]) for each in found if each]
    first = min(numbers, default=0)
    expected = list(range(first, first + len(names)))
    if numbers != expected == sorted(numbers):
        raise ValueError(
            f"{argument('class_names')} must be in the order of the classes; the lines "
            f"of {path} are numbered, and not in that order: {shown(names)}. Sort them."
        )
    return tuple(names)


def names_beside(paths: Sequence[str]) -> tuple[tuple[str, ...] | None, str]:
    """The class names in the ``classes.txt`` beside the files, and its path, if any.

    Raises:
        ValueError: The files lie beside different ones.
    """
    folders = dict.fromkeys(map(os.path.dirname, paths))
    found = [os.path.join(folder, "classes.txt") for folder in folders]
    read = {path: names_in_file(path) for path in found if os.path.isfile(path)}
    if len(set(read.values())) > 1:
        raise ValueError(
            f"{argument('class_names')} must be given where files lie beside different "
            f"classes.txt; received files beside {shown(list(read))}. Pass the names."
        )
    return next(((names, path) for path, names in read.items()), (None, ""))


def checked_class_names(names: Sequence[Any], where: str) -> tuple[str, ...]:
    """The names as a tuple; raises ValueError unless they are different texts."""
    checked = tuple(map(str, names))
    if not checked or "" in checked or len(set(checked)) < len(checked):
        raise ValueError(
            f"{argument('class_names')} must be different names, none of them empty; "
            f"received {shown(checked)} ({where}). Pass each class once."
        )
    return checked

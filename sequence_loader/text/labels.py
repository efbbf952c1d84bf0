"""Labels as they stand in the files -> integers from 0, and names of the classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import ABSENT, shown
from sequence_loader.text.faults import Fault

MANY_ROWS, SHOWN_LONE = 10, 3
"""Where the commonest class has so many rows, classes of one are named, so many."""
NO_WIDTH = "\u200b\u200c\u200d\u200e\u200f\u2060"
"""Characters that nobody sees at either end of a label."""
MOST_CLASSES = 1 << 16
"""More different labels are taken for a column that is none."""


def _mixed() -> str:
    """What to do where class numbers and names seem to stand in one column."""
    return (
        f"Pass {argument('first_label', None)} if labels are names, also where they "
        f"look like numbers, or all of them as {argument('class_names')}"
    )


def class_number(text: str) -> int | None:
    """The class number that a label is, or `None`: ``"3"``, ``" 3"``, ``"3.0"``."""
    found = re.fullmatch(r"\s*([+-]?[0-9]{1,15})(?:\.0*)?\s*", text)
    return int(found[1]) if found else None


def label_of(text: str) -> str:
    """A label as it looks: composed (NFC), without blanks around, also of no width."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).strip().strip(NO_WIDTH)
    return text.strip()


class Labels:
    """Gives each label an integer, while the files are read once.

    There are two kinds. Names are looked up in `class_names` or, without, numbered in
    the order of their text. Class numbers count from `first_label`; if that is not
    given, from 0 if a 0 is among them, and from 1 otherwise: never from the least that
    happens to occur.

    Args:
        sample: Labels of some rows, without blanks around, to tell which kind they are.
        class_names: All names, or `None`.
        first_label: 0 or 1; `None` for names; or ``"auto"``.
        names_from: The file that the names were read from, if nobody named it.
        column: The column that they stand in, in words.
        others: What the other columns are called.
    """

    def __init__(
        self,
        sample: Sequence[str],
        class_names: Sequence[str] | None,
        first_label: Any,
        names_from: str = "",
        column: str = "it",
        others: Sequence[Any] = (),
    ) -> None:
        self._names_from = names_from
        self._column, self._others = column, tuple(others)
        self._names = None if class_names is None else tuple(class_names)
        self._first_label = first_label
        self._places = {name: place for place, name in enumerate(self._names or ())}
        for name, place in list(self._places.items()):
            self._places.setdefault(label_of(name), place)
        numbers = sum(class_number(text) is not None for text in sample)
        named = any(self._place(text) is not None for text in sample)
        self.are_numbers = first_label in (0, 1)
        if first_label == "auto":
            self.are_numbers = 2 * numbers > len(sample) and not named
        self.known: dict[str, int] = {}
        """What each label that was met stands for: see `code`."""
        self._found: list[str] = []
        self._first_places: dict[int, str] = {}

    def code(self, text: str, place: str) -> int | Fault:
        """A preliminary integer: a class number as it stands, or the place of a name.

        Args:
            text: A label that is not in `known`; put there, if it is no fault.
            place: Where it stands, for messages.

        Raises:
            ValueError: There are too many different labels.
        """
        stripped = text.strip()
        if stripped not in self._places:
            stripped = label_of(text)
        if "\ufeff" in stripped:
            return Fault(
                "with a mark of UTF-8",
                f"the label {shown(text)}, with the mark that begins a file: files "
                f"were put together",
                "Pass them one by one, as a sequence or a pattern",
            )
        if "\ufffd" in stripped:
            return Fault(
                "with a label that is not of the encoding",
                f"the label {shown(text)}, with bytes that are not of the encoding",
                f"Pass {argument('encoding')}, the one they were written in, such as "
                f"{argument('encoding', 'cp1252')}",
            )
        if stripped in ABSENT and stripped not in self._places:
            said = f", but {stripped!r}" if stripped else ""
            return Fault("without a label", f"no label{said}")
        code = self._number(stripped) if self.are_numbers else self._name(stripped)
        if isinstance(code, int):
            self.known[text] = code
            self._first_places.setdefault(code, place)
        return code

    def _number(self, text: str) -> int | Fault:
        number = class_number(text)
        if number is None:
            return Fault(
                "with a label of another kind",
                f"the label {shown(text)}, where others are class numbers",
                _mixed(),
            )
        least = self._first_label if self._first_label != "auto" else 0
        if number < least:
            start = "0 or 1" if self._first_label == "auto" else least
            return Fault(
                "with a class number out of range",
                f"the class number {number}, where they count from {start}",
                _mixed(),
            )
        # Whether the last one exists without a 0 among them is seen at the end.
        most = MOST_CLASSES
        if self._names is not None:
            most = len(self._names) - (self._first_label == 0)
        if number > most:
            if self._names is None:
                what = f"the class number {number}, of more than {most:,}"
                return Fault("with a class number out of range", what, _mixed())
            return self._unknown(str(number))
        return number

    def _name(self, text: str) -> int | Fault:
        place = self._place(text)
        if place is not None:
            return place
        if self._names is not None:
            return self._unknown(text)
        if self._first_label == "auto" and class_number(text) is not None:
            return Fault(
                "with a label of another kind",
                f"the label {shown(text)}, where others are names",
                _mixed(),
            )
        if len(self._found) == MOST_CLASSES:
            raise self._no_labels(f"more than {MOST_CLASSES:,} different ones", text)
        self._places[text] = len(self._found)
        self._found.append(text)
        return len(self._found) - 1

    def _place(self, text: str) -> int | None:
        place = self._places.get(text)
        if place is None and self._names is not None:
            number = class_number(text)  # "1.0" and "01" are the class "1"
            place = None if number is None else self._places.get(str(number))
        return place

    def _unknown(self, text: str) -> Fault:
        names = f"{len(self._names or ())} class names"
        mend = "for the training texts as well: a list, or a file of one a line"
        if self._names_from:
            names += f" in {self._names_from}"
            mend = f"or {argument('class_names', None)} to leave that file aside"
        return Fault(
            "with a label not in class_names",
            f"the label {shown(text)}, which is not among the {names}",
            f"Pass all classes as {argument('class_names')}, {mend}; or "
            f"{argument('label_column', None)} if there are no labels",
        )

    def lone(self, codes: Array) -> tuple[str, ...]:
        """In words, classes of a single row: a label written wrongly, perhaps.

        Args:
            codes: int32, shape (rows,), as `code` gave them.
        """
        counts = np.bincount(codes)
        if counts.max(initial=0) < MANY_ROWS:
            return ()
        found = np.flatnonzero(counts == 1)
        written = {code: text.strip() for text, code in self.known.items()}
        more = len(found) - SHOWN_LONE
        said = [
            f"class {shown(written[code])} has 1 row: {self._first_places[code]}"
            for code in found[:SHOWN_LONE].tolist()
        ]
        return (*said, *[f"and {more} more classes of 1 row"] * (more > 0))

    def settle(self, codes: Array) -> tuple[Array, tuple[str, ...], int | None]:
        """What the preliminary integers mean, once all have been seen.

        Args:
            codes: int32, shape (rows,), as `code` gave them; changed in place.

        Returns:
            Integers from 0, int32, shape (rows,); the name of each class; and the
            number of the first class, or `None` where labels are names.

        Raises:
            ValueError: They count from 0 and from 1, or seem to be no labels.
        """
        if not self.are_numbers:
            return self._settled_names(codes)
        first = self._first_label
        if first == "auto":
            first = int(0 not in self._first_places)
        names, last = self._names, max(self._first_places, default=first)
        if names is None:
            self.check_few(codes)
            names = tuple(map(str, range(first, last + 1)))
        elif last - first >= len(names):
            raise ValueError(
                f"class numbers must count from 0 or from 1; received 0 "
                f"({self._first_places[0]}) and {last} ({self._first_places[last]}), "
                f"with {len(names)} class names. Pass {argument('first_label', 0)} or "
                f"{argument('first_label', 1)}, which makes one a fault of its line."
            )
        codes -= first
        return codes, names, first

    def _settled_names(self, codes: Array) -> tuple[Array, tuple[str, ...], None]:
        if self._names is not None:
            return codes, self._names, None
        self.check_few(codes)
        order = sorted(range(len(self._found)), key=self._found.__getitem__)
        places: Integers = np.argsort(np.array(order, np.int64))
        codes[:] = places[codes]
        return codes, tuple(self._found[place] for place in order), None

    def check_few(self, codes: Array) -> None:
        """Raises ValueError if labels are no classes: ids, or texts."""
        count = len(self._first_places)
        if len(codes) >= 20 and 2 * count > len(codes):
            found = f"{count:,} different ones in {len(codes):,} rows"
            raise self._no_labels(found, next(iter(self.known)))

    def _no_labels(self, found: str, such: str) -> ValueError:
        others = f", one of {shown(list(self._others))}" if self._others else ""
        return ValueError(
            f"{argument('label_column')} must hold labels; {self._column} holds "
            f"{found}, such as {shown(such, 40)}. Pass the column of the labels"
            f"{others}; {argument('label_column', None)} if there are none; or, if it "
            f"is that, all labels as {argument('class_names')}."
        )

    @property
    def is_guessed(self) -> bool:
        """Whether class numbers with names might as well count from 0."""
        seen, names = self._first_places, self._names
        return (
            self.are_numbers
            and self._first_label == "auto"
            and names is not None
            and 0 not in seen
            and len(names) not in seen
        )

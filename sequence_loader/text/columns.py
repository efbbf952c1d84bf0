"""Which column is the label and which are texts, and whether there is a header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.text.dialect import check_apart, check_no_sep, check_quotes
from sequence_loader.text.faults import ColumnsError
from sequence_loader.text.header import (
    ID_NAMES,
    LABEL_NAMES,
    TEXT_NAMES,
    is_above_codes,
    is_header,
    is_of_texts,
    mostly_digits,
    plain_name,
)
from sequence_loader.text.labels import class_number

AUTO = "auto"

MOST_UNNAMED = 4
"""Columns of a file without a header that may all be texts, but for the label."""

MOST_GUESSED = 999
"""The largest class number in a column of an unknown name: years are larger."""


@dataclass(frozen=True)
class Columns:
    """Where in a record the label and the texts are.

    Attributes:
        label: Place (or key) of the label, or `None` if there is none.
        texts: Places (or keys) of the texts.
        count: Fields of a record, or 0 for objects with keys.
        header: The names of all columns, as the file gives them, or `None`.
        telling: Those of the texts that have one value for each label, as far as the
            first records tell: they may say the label.
    """

    label: Any
    texts: tuple[Any, ...]
    count: int
    header: tuple[str, ...] | None = None
    telling: tuple[Any, ...] = ()

    def names(self) -> tuple[Any, tuple[Any, ...]]:
        """Label and texts as a user writes them: by name, if there is a header."""
        if self.header is None:
            return self.label, self.texts
        called = [
            name if self.header.count(name) == 1 else place
            for place, name in enumerate(self.header)
        ]
        label = None if self.label is None else called[self.label]
        return label, tuple(called[place] for place in self.texts)

    def beside_label(self) -> tuple[Any, tuple[Any, ...]]:
        """The label as a user writes it, and so all others; of keys, the texts."""
        places = tuple(place for place in range(self.count) if place != self.label)
        return replace(self, texts=places or self.texts).names()


def csv_columns(
    sample: Sequence[list[str]],
    label_column: Any,
    text_columns: Any,
    header: bool | None,
    path: str,
    before: Columns | None = None,
    delimiter_told: bool = False,
    quotes_told: bool = False,
) -> Columns:
    """The columns of a csv file.

    Args:
        sample: Its first records.
        label_column: Number or name; `None` for no label; or ``"auto"``.
        text_columns: Numbers or names, or ``"auto"``.
        header: Whether the first record is one, or `None` to find out.
        path: The file.
        before: Those of the first file of the source.
        delimiter_told: Whether the user said what stands between fields.
        quotes_told: Whether the user said what stands around them.

    Raises:
        ValueError: They cannot be told, or are not what is asked for.
    """
    first, others = sample[0], sample[1:]
    check_no_sep(first, path)
    wanted = [label_column, *([text_columns] if text_columns == AUTO else text_columns)]
    by_name = [name for name in wanted if isinstance(name, str) and name != AUTO]
    if header is None:
        stripped = [field.strip() for field in first]
        known = bool(by_name) and all(name in stripped for name in by_name)
        if before is not None and before.header and label_column is None:
            # Perhaps a part of a cut file, of which the first alone has the header.
            header = known or is_of_texts(first) or is_above_codes(first, others)
        else:
            header = known or is_header(first, others, label_column, path)
    if not quotes_told:
        check_quotes(others or sample, path)
    if header:
        names = tuple(field.strip() for field in first)
        label, texts = _chosen(names, others, label_column, text_columns, path)
        if not delimiter_told:
            check_apart(others, label, path, names)
        telling = tuple(names[each] for each in _telling(others, label, texts))
        return Columns(label, texts, len(names), names, telling)
    if before is not None:
        return Columns(before.label, before.texts, before.count)
    count = Counter(map(len, sample)).most_common(1)[0][0]
    if by_name:
        raise ColumnsError(
            f"columns can be given by name only where the file has a header; received "
            f"{shown(by_name[0])}, and the first record of {path} is {shown(first)}. "
            f"Pass numbers, counted from 0.",
            "label_column" if by_name[0] == label_column else "text_columns", path,
            count,
        )  # fmt: skip
    label = label_column if label_column is None else 0
    if label_column not in (None, AUTO):
        label = _place("label_column", label_column, count, path)
    if text_columns == AUTO:
        texts = tuple(place for place in range(count) if place != label)
        if len(texts) > MOST_UNNAMED:
            raise ValueError(
                f"{argument('text_columns')} must be given for {count} columns without "
                f"a header; the first record of {path} is {shown(first)}. Pass the "
                f"numbers of the texts, counted from 0."
            )
    else:
        asked = text_columns
        texts = tuple(_place("text_columns", each, count, path) for each in asked)
    _check_distinct(label, texts, path, first)
    if not delimiter_told:
        check_apart(sample, label, path)
    return Columns(label, texts, count, None, _telling(sample, label, texts))


def json_columns(
    sample: Sequence[dict[str, Any]], label: Any, texts: Any, path: str
) -> Columns:
    """The keys of label and texts in JSON lines; see `csv_columns`."""
    names = tuple(dict.fromkeys(name for record in sample for name in record))
    rows = [[record.get(name) for name in names] for record in sample]
    for name in (label, *([texts] if texts == AUTO else texts)):
        if isinstance(name, int):
            raise ColumnsError(
                f"{argument('label_column')} and {argument('text_columns')} must be "
                f"keys for JSON lines; received {name}. Pass some of those in {path}: "
                f"{shown(names)}.",
                "label_column" if name is label else "text_columns", path, names,
            )  # fmt: skip
    at, places = _chosen(names, rows, label, texts, path, in_order=False)
    key = None if at is None else names[at]
    keys = tuple(names[place] for place in places)
    telling = tuple(names[place] for place in _telling(rows, at, places))
    return Columns(key, keys, 0, None, telling)


def _chosen(
    names: tuple[str, ...],
    rows: Sequence[list[Any]],
    label_column: Any,
    text_columns: Any,
    path: str,
    in_order: bool = True,
) -> tuple[int | None, tuple[int, ...]]:
    """Places of label and texts among names.

    `rows` are below them; a label may be the first `in_order`, whatever it is called.
    """
    plain = list(map(plain_name, names))
    texts: tuple[int, ...] = ()
    if text_columns != AUTO:
        asked = text_columns
        texts = tuple(_named("text_columns", each, names, path) for each in asked)
    label: int | None = None
    if label_column == AUTO:
        found = [place for place, name in enumerate(plain) if name in LABEL_NAMES]
        if not found and in_order and _may_be_label(plain, rows):
            found = [0]
        found = [place for place in found if place not in texts]
        if len(found) != 1:
            raise ValueError(
                f"{argument('label_column')} must name the column of the labels, which "
                f"cannot be told from the names in {path}: {shown(names)}. Pass it, or "
                f"{argument('label_column', None)} if the texts have no labels."
            )
        label = found[0]
    elif label_column is not None:
        label = _named("label_column", label_column, names, path)
    if text_columns == AUTO:
        others = [place for place in range(len(names)) if place != label]
        known = [place for place in others if plain[place].endswith(TEXT_NAMES)]
        texts = tuple(known or [each for each in others if not _codes(rows, each)])
        # Such as label_text beside label: the class in words is no text of a row.
        labels = tuple(LABEL_NAMES - {"y"})
        telling = _telling(rows, label, texts, fewest=0)
        said = {each for each in telling if plain[each].startswith(labels)}
        texts = tuple(each for each in texts if each not in said) or texts
    _check_distinct(label, texts, path, names)
    return label, texts


def _may_be_label(plain: Sequence[str], rows: Sequence[list[Any]]) -> bool:
    """Whether the first column is of labels, for nothing else can be.

    It holds small numbers and is not called like ids, and all others are texts.
    """
    if not _numbers(rows, 0):
        return False
    others = range(1, len(plain))
    texts = [place for place in others if plain[place].endswith(TEXT_NAMES)]
    texts = texts or [place for place in others if not _codes(rows, place)]
    of = [plain[0].removesuffix(end) for end in ID_NAMES if plain[0].endswith(end)]
    is_id = any(name not in LABEL_NAMES - {"y"} for name in of)  # unlike label_id
    is_id |= plain[0].startswith("unnamed")
    numbers = [class_number(row[0]) or 0 for row in rows if row]
    is_id |= max(numbers) > MOST_GUESSED
    return len(texts) == len(others) and bool(plain[0]) > is_id


def _numbers(rows: Sequence[list[Any]], place: int) -> bool:
    """Whether a column holds nothing but whole numbers."""
    fields = [row[place] for row in rows if len(row) > place]
    return bool(fields) and all(
        not isinstance(field, str) or class_number(field) is not None
        for field in fields
    )


def _codes(rows: Sequence[list[Any]], place: int) -> bool:
    """Whether a column holds nothing but numbers, dates and ids."""
    fields = [row[place] for row in rows if len(row) > place]
    found = [
        not isinstance(field, str) or mostly_digits(field) for field in fields if field
    ]
    return _numbers(rows, place) or (bool(found) and all(found))


def _telling(
    rows: Sequence[list[Any]], label: int | None, texts: Sequence[int], fewest: int = 2
) -> tuple[int, ...]:
    """The texts that have one value for each label, of labels that occur again.

    Args:
        rows: Some.
        label: The place of the label.
        texts: The places of the texts.
        fewest: How many labels there must be to tell.
    """
    if label is None:
        return ()
    whole = [row for row in rows if len(row) > max(label, *texts, 0)]
    labels = {str(row[label]) for row in whole}
    if len(labels) < fewest or (fewest and 2 * len(labels) > len(whole)):
        return ()
    return tuple(
        each for each in texts
        if len({(str(row[label]), str(row[each])) for row in whole}) == len(labels)
    )


def _named(name: str, column: Any, names: tuple[str, ...], path: str) -> int:
    if isinstance(column, str):
        if names.count(column) == 1:
            return names.index(column)
        how = "twice or more" if column in names else "not"
        raise ColumnsError(
            f"{argument(name)} must name a column; {column!r} is {how} among those of "
            f"{path}: {shown(names)}. Pass one of them, or a number, counted from 0.",
            name, path, names,
        )  # fmt: skip
    return _place(name, column, len(names), path)


def _place(name: str, column: int, count: int, path: str) -> int:
    if not -count <= column < count:
        raise ColumnsError(
            f"{argument(name)} must be in [{-count}, {count}); received {column}, and "
            f"{path} has {count} columns. Pass a number of one, counted from 0.",
            name, path, count,
        )  # fmt: skip
    return column % count


def _check_distinct(
    label: int | None, texts: Sequence[int], path: str, first: Sequence[str]
) -> None:
    if not texts or label in texts or len(set(texts)) < len(texts):
        between = [each for each in ";\t|," if any(each in field for field in first)]
        delimiter = argument("delimiter", *between[:1])
        raise ValueError(
            f"{argument('text_columns')} must be at least one column, each once and "
            f"none of them the label; {path} begins with {shown(list(first))}, of "
            f"which column {label} is the label and {list(texts)} are texts. Pass "
            f"{argument('text_columns')}, {argument('label_column', None)} if there "
            f"are no labels, or {delimiter} if its columns were not told apart."
        )

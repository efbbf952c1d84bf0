"""Whether a csv file begins with the names of its columns, and what those say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.text.labels import class_number

MOST_WORDS, MOST_CHARACTERS = 4, 40
"""Of the name of a column; words tell nothing in scripts that set none apart."""

LABEL_NAMES = frozenset(
    "label labels class classindex classid category target topic sentiment polarity "
    "stars starrating rating overall intent y".split()
)
TEXT_NAMES = tuple(
    "text texts title description content body review summary headline question answer "
    "comment document sentence abstract tweet message article phrase subject".split()
)
"""How columns are called that are labels and texts, without case, blanks and strokes;
the latter are also ends of names: ``question_title``, ``reviewText``."""

ID_NAMES = "id", "ids", "index", "idx", "number", "key"
"""Ends of names of columns that number the rows, or what they are of."""


def is_header(
    first: list[str], others: Sequence[list[str]], label_column: Any, path: str
) -> bool:
    """Whether a first record is one of names."""
    if first == list(map(str, range(len(first)))) and others:
        if len(first) > 1 or label_column is None:
            what = "numbers of columns, as pandas writes them"
            raise in_doubt(path, what, "a row", first)
    plain = list(map(plain_name, first))
    has_text = any(
        name.endswith(TEXT_NAMES) and may_be_name(field)
        for name, field in zip(plain, first)
    )
    if label_column is None:
        return _is_above_texts(first, others, has_text, path)
    if any(class_number(field) is not None for field in first):
        return False
    named = [place for place, name in enumerate(plain) if name in LABEL_NAMES]
    below = [row for row in others if row != first and len(row) == len(first)]
    if named and has_text:
        # A label may be called like a column of labels: y, or target.
        if all(row[at] != first[at] for row in below for at in named):
            return True
        if set(plain).intersection(TEXT_NAMES):
            raise in_doubt(path, "a header", "a row", first)
    label = label_column if isinstance(label_column, int) else 0
    if not -len(first) <= label < len(first):
        return False
    labels = [row[label] for row in below if row[label]]
    numbers = sum(class_number(text) is not None for text in labels)
    if 2 * numbers <= len(labels):
        # Of a header whose other names are like no names: those hold a quote, say.
        if any(_of_classes(row[at] for row in below) for at in named):
            raise in_doubt(path, "a header", "a row", first)
        return False
    if len(set(first)) == len(first) and all(map(is_word, first)):
        return True
    raise in_doubt(path, "a header", "a row whose label is no number", first)


def _of_classes(fields: Iterable[str]) -> bool:
    """Whether all are class numbers, and there are some."""
    found = [class_number(field) is not None for field in fields]
    return bool(found) and all(found)


def _is_above_texts(
    first: list[str], others: Sequence[list[str]], has_text: bool, path: str
) -> bool:
    """Whether a first record is one of names, where no labels tell it from others.

    They are told apart where those are longer, or numbers. A short one above others
    that are short as well, or that has no name we know, may be either.
    """
    below = [row for row in others if len(row) == len(first)]
    counted = [2 * sum(map(is_number, each)) > len(below) for each in zip(*below)]
    above = {is_number(field) for field, below in zip(first, counted) if below}
    unlike = False in above or is_above_codes(first, below)
    longer = 2 * sum(not all(map(may_be_name, row)) for row in below) >= len(below)
    short = all(map(may_be_name, first))
    # Nobody and preview end like names, but are words of their own.
    apart = any(ends_with_name(field) for field in first)
    if is_of_texts(first) and (unlike or (longer and apart)):
        return True
    exact = not set(map(plain_name, first)).isdisjoint(TEXT_NAMES)
    if exact and short and unlike:
        return True
    number = True in above or (not below and any(map(is_number, first)))
    if has_text or unlike or (short and not number):
        raise in_doubt(path, "a header", "a row", first)
    return False


def is_above_codes(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether a first record has a field without digits above numbers, dates or ids."""
    columns = zip(*[row for row in others if len(row) == len(first)])
    return any(
        2 * sum(map(is_code, below)) > len(below)
        for field, below in zip(first, columns)
        if not any(map(str.isdigit, field))
    )


def is_of_texts(first: Sequence[str]) -> bool:
    """Whether all may be names, by their characters, and one is that of texts."""
    known = any(plain_name(field).endswith(TEXT_NAMES) for field in first)
    return known and all(map(is_word, first))


def in_doubt(path: str, what: str, row: str, first: list[str]) -> ValueError:
    """The question which of both a first record is."""
    return ValueError(
        f"{path} may begin with {what}, or with {row}: {shown(first)}. Pass "
        f"{argument('header', True)} or {argument('header', False)}."
    )


def is_word(field: str) -> bool:
    """Whether a field may be the name of a column, as far as its characters tell."""
    return re.fullmatch(r"[^\W\d]\w*", field.strip()) is not None


def is_number(field: str) -> bool:
    """Whether a field is a number, a date or a time."""
    return re.fullmatch(r"[-+]?\d[-+\d.,:/TZ eE]*%?", field.strip()) is not None


def is_code(field: str) -> bool:
    """Whether a field is a number, a date or an id, as far as its characters tell."""
    one = field.isascii() and len(field.split()) == 1
    return mostly_digits(field) or (one and any(map(str.isdigit, field)))


def mostly_digits(field: str) -> bool:
    digits, letters = (sum(map(each, field)) for each in (str.isdigit, str.isalpha))
    return digits > letters


def may_be_name(field: str) -> bool:
    """Whether a field may be such a name, also one of several words, or left out."""
    return len(field.split()) <= MOST_WORDS and len(field.strip()) <= MOST_CHARACTERS


def plain_name(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def ends_with_name(field: str) -> bool:
    """Whether a name of texts is a word of it: ``post_title``, ``postTitle``."""
    words = re.split(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])", field.strip())
    return words[-1].lower() in TEXT_NAMES or words[-1].lower().endswith("text")

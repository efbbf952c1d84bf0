"""The entries of one column of a csv, and which column it is."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sequence_loader.checks import shown
from sequence_loader.importers.binary_files import begins_as_npy
from sequence_loader.importers.source import PACKED, open_text
from sequence_loader.importers.text_numbers import MEANT, REAL

ROWS = 1 << 16
"""Records of a csv that are made an array at a time."""
COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+\Z")
BETWEEN = re.compile(r"[\s;,]+")
FIELD = re.compile(r'(^|[;,\t])"[^"]*(""[^"]*)*("|\Z)')
"""What stands in quotes in a line of a csv."""

Entries = tuple[Sequence[int], list[str]]
"""Numbers of lines, from 1, and what is in them."""


def is_table(path: Path, column: str) -> bool:
    """Whether a text has columns, as its suffix says or who asks for one."""
    suffixes = [each.lower() for each in path.suffixes if each.lower() not in PACKED]
    return bool(column) or suffixes[-1:] in ([".csv"], [".tsv"])


def records(path: Path, column: str) -> Iterator[Entries]:
    """The entries of a column, in lists of bounded size.

    Args:
        path: The file.
        column: The name of the column in the first line, or its number, from 0, in a
            table without such a line; nothing, if there is one alone.

    Raises:
        ValueError: There is no such column, or a line is not complete.
    """
    with io.TextIOWrapper(open_text(path), "utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=_delimiter(_head(text)), strict=True)
        first = [each.strip() for each in next(reader, [])]
        place, named = _place(path, column, first)
        found, numbers, blank = [], [], 0
        if not named:
            found, numbers = [first[place]], [1]
        for record in reader:
            blank = blank or reader.line_num * (not record)
            if not record:  # as at the end of many files
                continue
            if blank:
                raise ValueError(f"line {blank} is empty. Remove it, or complete it")
            if len(record) != len(first):
                raise ValueError(
                    f"line {reader.line_num} has {len(record)} entries, and the first "
                    f"one {len(first)}. Complete it"
                )
            found.append(record[place].strip())
            numbers.append(reader.line_num)
            if len(found) >= ROWS:
                yield numbers, found
                found, numbers = [], []
        yield numbers, found


def header_of(given: str) -> tuple[str, list[str]]:
    """What may be doubted of the first line of a file.

    Args:
        given: The file, or ``table.csv:column``.

    Returns:
        The file; and its first line, if that was taken for names by a number, which
        may be the name of a column, or its place. An empty text, if there is no such
        line, or it has the name that was asked for.
    """
    table, colon, column = given.rpartition(":")
    if os.path.exists(given) or not colon:
        table, column = given, ""
    path = Path(table)
    if not path.is_file() or begins_as_npy(path):
        return "", []
    if not is_table(path, column):
        return table, []
    with io.TextIOWrapper(open_text(path), "utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=_delimiter(_head(text)), strict=True)
        first = [each.strip() for each in next(reader, [])]
    named = _place(path, column, first)[1]
    if named and not column.isdecimal():
        return "", []
    return table, first if named else []


def _head(text: io.TextIOWrapper) -> str:
    """The first line, without what stands in quotes; `text` is at its start again."""
    head = re.split("[\r\n]", FIELD.sub(r"\1", text.read(1 << 16)), maxsplit=1)[0]
    text.seek(0)
    return head


def _place(path: Path, column: str, first: list[str]) -> tuple[int, bool]:
    """Where a column is, and whether by its name in the first line, or its number."""
    data = all(REAL.match(text) or MEANT.match(text) for text in first)
    data = data and first != [*map(str, range(len(first)))]
    numbered = column.isdecimal() and int(column) < len(first)
    if column and first.count(column) == 1 and not (data and numbered):
        return first.index(column), True
    if not column and len(first) == 1:
        return 0, False
    if numbered:
        return int(column), False
    wrong = f"has {first.count(column)} columns" if column else "has several columns"
    mend = f"Name one of them, as in {path}:{first[-1] if first else 'label'}"
    if first.count(column) > 1:
        mend = "Give each a name of its own"
    elif len(first) == 1 and column in BETWEEN.split(first[0]):
        mend = "Write commas or tabs between columns, and a name over each"
    raise ValueError(
        f"it {wrong}{f' {column!r}' if column else ''}: {shown(first)}. {mend}"
    )


def _delimiter(head: str) -> str:
    """What stands between the columns, by what the first line has outside quotes."""
    fields = re.split("[;\t]", head.strip())
    if len(fields) > 1 and any(map(COMMA.match, fields)):
        head = head.replace(",", "")  # of decimals, as in 1,5;2
    counts = {each: head.count(each) for each in ";\t,"}
    return max(counts, key=counts.__getitem__) if any(counts.values()) else ","

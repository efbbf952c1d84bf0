"""Files that hold one entry for each row: ``.npy``, lines of text, a column of a csv.

An array is mapped. Text is read in pieces, so that as many rows as a store may have
need little memory: numbers become an array, anything else the places of its names.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.checks import ABSENT, shown
from sequence_loader.importers.labels import Named
from sequence_loader.importers.source import PACKED, lines, open_text

ROWS = 1 << 16
"""Records of a csv that are made an array at a time."""
SVMLIGHT = re.compile(r"\S*\s+[0-9]+:\S")
INTEGER = re.compile(r"[+-]?[0-9]+\Z")
NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?"
    r"|nan|inf|infinity)\Z",
    re.IGNORECASE,
)
"""What is a number to anybody; Python also reads ``1_0``, which may be a class."""


def read_column(name: str, given: str) -> Array | Named:
    """Reads what `y` or `sample_weight` names.

    Args:
        name: The argument.
        given: A ``.npy`` file; a text file with an entry on each line; or
            ``table.csv:column``, with the name of a column in the first line, or its
            number, from 0, in a table without such a line.

    Returns:
        An array of shape (rows, ...), mapped where the file is ``.npy``, of text
        masked where an entry is missing; or classes, where there is other text than
        numbers.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else.
    """
    path, column = Path(given), ""
    if not path.exists():
        table, colon, column = given.rpartition(":")
        if not colon or not os.path.isfile(table):
            raise FileNotFoundError(
                f"{argument(name)} must be an array, a .npy file, a text with an entry "
                f"on each line, or table.csv:column; there is no {given}. Check the "
                f"path."
            )
        path = Path(table)
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic[:4] == b"PK\3\4" or magic == b"\x93NUMPY" or path.suffix == ".npy":
        return _npy(name, path)
    try:
        numbers = _numbers(_texts(path, column))
        return _names(_texts(path, column)) if numbers is None else numbers
    except (ValueError, csv.Error, EOFError) as error:
        raise ValueError(
            f"{argument(name)} must be an array, a .npy file, a text with an entry on "
            f"each line, or table.csv:column; {path} cannot be read: "
            f"{str(error).rstrip('.')}."
        ) from None


def _npy(name: str, path: Path) -> Array:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        # NumPy takes what is no .npy file for a pickle, and advises to trust it.
        why = str(error)
        if not _is_npy_of_values(path):
            why = "it is another file, or holds objects"
        raise ValueError(
            f"{argument(name)} must be an array, or a .npy file of numbers or text; "
            f"{path} cannot be read: {why.rstrip('.')}. Write it with "
            f"numpy.save, texts with .astype(str)."
        ) from None
    if not isinstance(values, np.ndarray):
        values.close()
        raise ValueError(
            f"{argument(name)} must be one array; received {path}, an archive of "
            f"several. Write the array with numpy.save."
        )
    return values


def _is_npy_of_values(path: Path) -> bool:
    with open(path, "rb") as file, suppress(ValueError):
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        return version not in read or not read[version](file)[2].hasobject
    return False


def _texts(path: Path, column: str) -> Iterator[list[str]]:
    """The entries, in lists of bounded size."""
    suffixes = [each.lower() for each in path.suffixes if each.lower() not in PACKED]
    if column or suffixes[-1:] in ([".csv"], [".tsv"]):
        yield from _records(path, column)
        return
    with open_text(path) as file:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        for piece in lines(file):
            if b"\0" in piece:
                raise ValueError("it is no text. Write it with numpy.save, or as text")
            text = decoder.decode(piece).removesuffix("\n")
            yield [each.strip() for each in text.split("\n")]


def _records(path: Path, column: str) -> Iterator[list[str]]:
    with io.TextIOWrapper(open_text(path), "utf-8-sig", newline="") as text:
        head = text.readline()
        text.seek(0)
        reader = csv.reader(text, delimiter=max(",;\t", key=head.count), strict=True)
        first = [each.strip() for each in next(reader, [])]
        place = _place(path, column, first)
        found = [first[place]] if column not in first else []
        blank = 0
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
            if len(found) >= ROWS:
                yield found
                found = []
        yield found


def _place(path: Path, column: str, first: list[str]) -> int:
    """Where a column is, by its name in the first line or by its number."""
    if first.count(column) == 1:
        return first.index(column)
    if not column and len(first) == 1:
        return 0
    if column.isdecimal() and int(column) < len(first):
        return int(column)
    wrong = f"has {first.count(column)} columns" if column else "has several columns"
    raise ValueError(
        f"it {wrong}{f' {column!r}' if column else ''}: {shown(first)}. Name one of "
        f"them, as in {path}:{first[-1] if first else 'label'}"
    )


def _numbers(pieces: Iterator[list[str]]) -> Array | None:
    """The entries as an array, int64 if they allow it; `None` if one is no number."""
    made, lacking, integral = [], [], True
    for texts in pieces:
        absent = np.array([text in ABSENT for text in texts], bool)
        kept = [text for text in texts if text not in ABSENT]
        if not all(map(NUMBER.match, kept)):
            return None
        integral = integral and all(map(INTEGER.match, kept))
        values = np.zeros(len(texts), np.int64 if integral else np.float64)
        try:
            values[~absent] = np.array(kept, str).astype(values.dtype)
        except OverflowError:
            raise ValueError("it holds integers beyond int64. Count from 0") from None
        made.append(values)
        lacking.append(absent)
    if not made:
        return np.zeros(0)
    array, mask = np.concatenate(made), np.concatenate(lacking)
    return np.ma.array(array, mask=mask) if mask.any() else array


def _names(pieces: Iterator[list[str]]) -> Named:
    """The entries by name, the names in the order of their text."""
    places: dict[str, int] = {}
    codes = [
        np.array([places.setdefault(text, len(places)) for text in texts], np.int32)
        for texts in pieces
    ]
    names = sorted(places)
    if any(map(SVMLIGHT.match, names)):
        raise ValueError("it looks like rows of svmlight. Pass labels alone")
    order = np.empty(len(names), np.int64)
    order[[places[name] for name in names]] = np.arange(len(names))
    return Named(tuple(names), order[np.concatenate(codes)])

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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import ABSENT, shown
from sequence_loader.importers.labels import Named
from sequence_loader.importers.source import PACKED, lines, open_text
from sequence_loader.importers.text_numbers import INTEGER, MEANT, REAL, beyond
from sequence_loader.rows.values import DoesNotFit, cast

ROWS = 1 << 16
"""Records of a csv that are made an array at a time."""
COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+\Z")
SVMLIGHT = re.compile(r"\S*\s+[0-9]+:\S")
PARTED = re.compile(r"[\"';,\t ]")
BETWEEN = re.compile(r"[\s;,]+")
QUOTED = re.compile(r"([\"'])([^\"']*)\1\Z")
LABELLED = re.compile(r"\"?([0-9]{1,12})\"?[\s,;]+\S")
"""The number of a row before its label, as R writes them."""
IN_QUOTES = re.compile(r'"(?:[^"]|"")*"\Z')
FIELD = re.compile(r'(^|[;,\t])"[^"]*(""[^"]*)*("|\Z)')
"""What stands in quotes in a line of a csv."""


def read_column(name: str, given: str, classes: bool = False) -> Array | Named:
    """Reads what `y` or `sample_weight` names.

    Args:
        name: The argument.
        given: A ``.npy`` file; a text file with an entry on each line, in quotes or
            without; or ``table.csv:column``, with the name of a column in the first
            line, or its number, from 0, in a table without such a line: one whose
            first line is of numbers, other than 0, 1, 2 and so on, which pandas writes
            as names.
        classes: Whether entries are classes, so that words may be among numbers.

    Returns:
        An array of shape (rows, ...), mapped where the file is ``.npy``, of text
        masked where an entry is missing; or classes, where there is other text than
        numbers. Of a text in which most entries are numbers, all must be.

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
        numbers = _numbers(_texts(path, column), path, None if classes else name)
        if numbers is not None:
            return numbers
        return _names(_texts(path, column), _is_table(path, column))
    except (ValueError, csv.Error, EOFError) as error:
        why = str(error).rstrip(".")
        if isinstance(error, csv.Error):
            why += ". Write a quote within quotes twice"
        raise ValueError(
            f"{argument(name)} must be an array, a .npy file, a text with an entry on "
            f"each line, or table.csv:column; {path} cannot be read: {why}."
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


Entries = tuple[Sequence[int], list[str]]
"""Numbers of lines, from 1, and what is in them."""


def _texts(path: Path, column: str) -> Iterator[Entries]:
    """The entries, in lists of bounded size."""
    if _is_table(path, column):
        yield from _records(path, column)
        return
    with open_text(path) as file:
        decoder, line = codecs.getincrementaldecoder("utf-8-sig")(), 1
        for piece in lines(file):
            if b"\0" in piece:
                raise ValueError("it is no text. Write it with numpy.save, or as text")
            text = decoder.decode(piece).removesuffix("\n")
            entries = [each.strip() for each in text.split("\n")]
            if PARTED.search(text):
                entries = [_entry(each, line + i) for i, each in enumerate(entries)]
            yield range(line, line + len(entries)), entries
            line += len(entries)


def _is_table(path: Path, column: str) -> bool:
    suffixes = [each.lower() for each in path.suffixes if each.lower() not in PACKED]
    return bool(column) or suffixes[-1:] in ([".csv"], [".tsv"])


def _records(path: Path, column: str) -> Iterator[Entries]:
    with io.TextIOWrapper(open_text(path), "utf-8-sig", newline="") as text:
        head = re.split("[\r\n]", FIELD.sub(r"\1", text.read(1 << 16)), maxsplit=1)[0]
        text.seek(0)
        reader = csv.reader(text, delimiter=_delimiter(head), strict=True)
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


def _entry(text: str, line: int) -> str:
    """What is in a line, a number without its quotes; raises where it is several."""
    inner = QUOTED.sub(r"\2", text)
    parts = [QUOTED.sub(r"\2", part) for part in BETWEEN.split(inner)]
    numbers = all(p in ABSENT or REAL.match(p) or MEANT.match(p) for p in parts)
    if numbers and (len(parts) == 1 or MEANT.match(inner)):
        return inner
    if numbers or ("\t" in text and not SVMLIGHT.match(text)):
        raise ValueError(
            f"line {line}: {shown(text, 40)} is several entries. Write one on each "
            f"line, or name a column of a csv, as in table.csv:label"
        )
    return text


def _delimiter(head: str) -> str:
    """What stands between the columns, by what the first line has outside quotes."""
    fields = re.split("[;\t]", head.strip())
    if len(fields) > 1 and any(map(COMMA.match, fields)):
        head = head.replace(",", "")  # of decimals, as in 1,5;2
    counts = {each: head.count(each) for each in ";\t,"}
    return max(counts, key=counts.__getitem__) if any(counts.values()) else ","


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


def _numbers(
    pieces: Iterator[Entries], path: Path, name: str | None
) -> Array | None:
    """The entries as an array, int64 if they allow it; `None` if some are words.

    Args:
        pieces: The entries.
        path: Where they are from.
        name: The argument that is of numbers if most entries are; `None` if all may be
            classes.
    """
    made, lacking, integral = list[Array](), [], True
    word, votes = "", 0
    for lines_of, texts in pieces:
        absent = np.array([text in ABSENT for text in texts], bool)
        kept = [text for text in texts if text not in ABSENT]
        words = [text for text in kept if REAL.match(text) is None]
        meant = sum(MEANT.match(text) is not None for text in words)
        votes += len(kept) - 2 * (len(words) - meant)
        if words and not word:
            word = _word(words[0], lines_of[texts.index(words[0])], path, name)
        if word:
            continue
        integral = integral and all(map(INTEGER.match, kept))
        values = np.zeros(len(texts), np.int64 if integral else np.float64)
        try:
            values[~absent] = np.array(kept, str).astype(values.dtype)
        except OverflowError:
            raise ValueError("it holds integers beyond int64. Count from 0") from None
        if not integral:
            for place in np.flatnonzero(np.abs(values) >= 2**53).tolist():
                if (why := beyond(texts[place])) is not None:
                    text = shown(texts[place], 40)
                    raise ValueError(f"line {lines_of[place]}: {text} {why}")
        made.append(values)
        lacking.append(absent)
    if word and votes > 0 and name is not None:
        raise ValueError(word)
    if word:
        return None
    if not made:
        return np.zeros(0)
    if not integral:  # those before the first fraction
        try:
            made = [cast(values, np.dtype(np.float64)) for values in made]
        except DoesNotFit as error:
            raise ValueError(f"{error.value} {beyond(str(error.value))}") from None
    array, mask = np.concatenate(made), np.concatenate(lacking)
    return np.ma.array(array, mask=mask) if mask.any() else array


def _word(text: str, line: int, path: Path, name: str | None) -> str:
    """What to say of a word among numbers."""
    mend = "Write a number"
    if line == 1 and MEANT.match(text) is None:
        mend += f", or name the column, as {path}:{text}"
    if name == "y":
        mend += f"; or pass {argument('classes', True)}, if all are classes"
    return f"line {line}: {shown(text, 40)} is no number, as most entries are. {mend}"


def _names(pieces: Iterator[Entries], table: bool) -> Named:
    """The entries by name, the names in the order of their text."""
    places: dict[str, int] = {}
    codes, ahead = list[Integers](), set[int | None]()
    for numbers, texts in pieces:
        if len(ahead) < 2:
            found = zip(numbers, map(LABELLED.match, texts))
            ahead |= {match and line - int(match[1]) for line, match in found}
        made = [places.setdefault(text, len(places)) for text in texts]
        codes.append(np.array(made, np.int32))
    plain = {text: text for text in places}
    kept = plain.keys() - ABSENT
    if any(map(SVMLIGHT.match, kept)):
        raise ValueError("it looks like rows of svmlight. Pass labels alone")
    if not table and len(ahead) == 1 and ahead <= {0, 1} and len(places) > 2:
        raise ValueError(
            f"each line has the number of the row before its label: "
            f"{shown(next(iter(places)), 40)}. Write labels alone, one on each line"
        )
    if not table and all(map(IN_QUOTES.match, kept)):
        plain |= {text: text[1:-1].replace('""', '"').strip() for text in kept}
    names = {name: place for place, name in enumerate(sorted(set(plain.values())))}
    order = np.array([names[plain[text]] for text in places], np.int64)
    return Named(tuple(names), order[np.concatenate(codes)])

"""Files that hold one entry for each row: ``.npy``, lines of text, a column of a csv.

An array is mapped. Text is read in pieces, so that as many rows as a store may have
need little memory: numbers become an array, anything else the places of its names.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import ABSENT, shown
from sequence_loader.importers.binary_files import (
    begins_as_npy,
    binary_fault,
    key_of_archive,
)
from sequence_loader.importers.csv_column import BETWEEN, Entries, is_table, records
from sequence_loader.importers.labels import Named
from sequence_loader.importers.source import lines, open_text
from sequence_loader.importers.text_numbers import INTEGER, MEANT, REAL, beyond
from sequence_loader.rows.values import DoesNotFit, cast

SVMLIGHT = re.compile(r"\S*\s+[0-9]+:\S")
PARTED = re.compile(r"[\"';,\t ]")
QUOTED = re.compile(r"([\"'])([^\"']*)\1\Z")
LABELLED = re.compile(r"\"?([0-9]{1,12})\"?[\s,;]+\S")
"""The number of a row before its label, as R writes them."""
IN_QUOTES = re.compile(r'"(?:[^"]|"")*"\Z')


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
        if not colon or not os.path.exists(table):
            raise FileNotFoundError(
                f"{argument(name)} must be an array, a .npy file, a text with an entry "
                f"on each line, or table.csv:column; there is no {given}. Check the "
                f"path."
            )
        path = Path(table)
    if path.is_file() and (begins_as_npy(path) or path.suffix in (".npy", ".npz")):
        return _npy(name, path, column)
    try:
        if (fault := binary_fault(name, path, column)) is not None:
            raise ValueError(fault)
        numbers = _numbers(_texts(path, column), path, None if classes else name)
        if numbers is not None:
            return numbers
        return _names(_texts(path, column), is_table(path, column))
    except (ValueError, csv.Error, EOFError) as error:
        why = str(error).rstrip(".")
        if isinstance(error, csv.Error):
            why += ". Write a quote within quotes twice"
        if isinstance(error, UnicodeDecodeError):
            why += ". Write it in UTF-8"
        raise ValueError(
            f"{argument(name)} must be an array, a .npy file, a text with an entry on "
            f"each line, or table.csv:column; {path} cannot be read: {why}."
        ) from None


def _npy(name: str, path: Path, column: str) -> Array:
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
        array = f"np.load({str(path)!r})[{key_of_archive(path, column)!r}]"
        raise ValueError(
            f"{argument(name)} must be one array; received {path}, an archive of "
            f"several. Write the array by itself: np.save('{name}.npy', {array})."
        )
    return values


def _is_npy_of_values(path: Path) -> bool:
    with open(path, "rb") as file, suppress(ValueError):
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        return version not in read or not read[version](file)[2].hasobject
    return False


def _texts(path: Path, column: str) -> Iterator[Entries]:
    """The entries, in lists of bounded size."""
    if is_table(path, column):
        yield from records(path, column)
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
    codes, numbered, last = list[Integers](), not table, -1
    for _, texts in pieces:
        if numbered:
            found = [LABELLED.match(text) for text in texts if text]
            rows = [last, *[int(match[1]) for match in found if match]]
            rising = all(one < other for one, other in itertools.pairwise(rows))
            numbered, last = rising and len(rows) == len(found) + 1, rows[-1]
        made = [places.setdefault(text, len(places)) for text in texts]
        codes.append(np.array(made, np.int32))
    plain = {text: text for text in places}
    kept = plain.keys() - ABSENT
    if any(map(SVMLIGHT.match, kept)):
        raise ValueError("it looks like rows of svmlight. Pass labels alone")
    if numbered and len(places) > 2:
        raise ValueError(
            f"each line has the number of the row before its label: "
            f"{shown(next(iter(places)), 40)}. Write labels alone, one on each line"
        )
    if not table and all(map(IN_QUOTES.match, kept)):
        plain |= {text: text[1:-1].replace('""', '"').strip() for text in kept}
    names = {name: place for place, name in enumerate(sorted(set(plain.values())))}
    order = np.array([names[plain[text]] for text in places], np.int64)
    return Named(tuple(names), order[np.concatenate(codes)])

"""Names of features: a text with one on each line, or a table of 10x Genomics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sequence_loader.importers.source import SourceError, open_text, reading

TABLE = re.compile(r"(features|genes)\.tsv(\.(gz|bz2|xz))?\Z")
"""How 10x Genomics, and those who write as it does, name a table of features."""
QUOTED = re.compile(r'(?:"[^"]*"|[^"\t]*)(?:\t(?:"[^"]*"|[^"\t]*))*\Z')
"""A line whose fields, or which itself, may be in quotes, as R writes them."""


@dataclass(frozen=True)
class Features:
    """The rows of a table of features.

    Attributes:
        ids: One id for each: ``ENSG00000243485``.
        names: What each is called, all different: ``MIR1302-2HG``.
        types: ``Gene Expression``, ``Antibody Capture``, ...; none in old tables.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    types: tuple[str, ...] = ()


def read_names(path: Path) -> tuple[str, ...]:
    """Reads a text with one name on each line, packed or not.

    Of ``features.tsv`` and ``genes.tsv``, the names of `read_features`.

    Raises:
        OSError: The file cannot be read.
        SourceError: It is no UTF-8 text, or another table.
    """
    if TABLE.search(path.name):
        return read_features(path).names
    names = read_listed(path)
    for number, name in enumerate(names, 1):
        if "\t" in name:
            raise SourceError(
                f"{path} must have one name on each line; line {number} is a row of a "
                f"table: {name[:60]!r}. Write its column of names alone: cut -f1."
            )
    return names


def read_listed(path: Path) -> tuple[str, ...]:
    """Reads a text with one name on each line; raises SourceError where one is empty.

    A class without a name would be that of all rows without a label.
    """
    names = read_lines(path)
    if "" in map(str.strip, names):
        empty = [name.strip() for name in names].index("") + 1
        raise SourceError(
            f"{path} must have one name on each line; line {empty} is empty. Remove it."
        )
    return names


def read_features(path: Path) -> Features:
    """Reads a table of 10x Genomics: id, symbol and, of version 3, type.

    Names are the symbols; a symbol that occurs again gets a number, as
    ``AnnData.var_names_make_unique`` gives it. A feature without a symbol is called
    by its id.

    Raises:
        OSError: The file cannot be read.
        SourceError: It is no such table.
    """
    rows = [line.split("\t") for line in read_lines(path)]
    widths = {min(len(row), 3) for row in rows}  # of some, places on a genome follow
    if len(widths) > 1:
        raise SourceError(
            f"{path} must have as many columns on each line; it has {min(widths)} to "
            f"{max(widths)}. Write it again: id, symbol and type, with tabs between."
        )
    ids = tuple(row[0] for row in rows)
    symbols = [row[1] if len(row) > 1 else "" for row in rows]
    types = tuple(row[2] for row in rows) if widths and max(widths) > 2 else ()
    return Features(ids, unique_names(symbols, ids), types)


def unique_names(symbols: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
    """A name for each feature, in their order, no two of them the same."""
    names = [symbol or each for symbol, each in zip(symbols, ids)]
    taken = set(names)
    last: dict[str, int] = {}
    for place, name in enumerate(names):
        if name not in last:  # the first one keeps its name
            last[name] = 0
            continue
        while (numbered := f"{name}-{last[name] + 1}") in taken:
            last[name] += 1
        last[name] += 1
        names[place] = numbered
        taken.add(numbered)
    return tuple(names)


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a UTF-8 text, packed or not, without their ends.

    Where each of them has something in quotes, the quotes are left out.
    """
    with reading(path, "UTF-8 text"), open_text(path) as file:
        content = file.read().decode("utf-8-sig")
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    if all('"' in line and QUOTED.match(line) for line in lines):
        lines = [line.replace('"', "") for line in lines]
    return tuple(lines)

"""MatrixMarket text as a source of rows, parsed by scipy in pieces.

Entries may be in any order, most often by column, so they are sorted on disk
(`entries`). Each piece of lines is given to ``scipy.io.mmread`` behind a header of
its own, which keeps scipy's speed and its checks while memory stays bounded.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.importers.matrix_market_lines import (
    FORTRAN,
    are_plain,
    check_lines,
)
from sequence_loader.importers.row_sort import (
    Entries,
    entry_bytes,
    in_triangle,
    mirrored,
    rows_of_entries,
)
from sequence_loader.importers.source import (
    Advance,
    Block,
    Source,
    SourceError,
    lines,
    open_text,
    reading,
)
from sequence_loader.importers.text_numbers import may_be_rounded, summed

KIND = "MatrixMarket"
BOM = b"\xef\xbb\xbf"
BANNERS = ("%%matrixmarket", "%matrixmarket")
# The type a field has in memory, and the type it gets in a store: text has no
# type, and 8 bytes a value would double the store. A value that does not fit into
# the latter is refused, with the mend.
FIELDS = {
    "real": (np.float64, np.float32),
    "double": (np.float64, np.float32),
    "integer": (np.int64, np.int32),
    "unsigned-integer": (np.uint64, np.uint32),
    "pattern": (np.float64, np.bool_),
}
SYMMETRIES = {
    "general": "general",
    "symmetric": "symmetric",
    "skew-symmetric": "skew-symmetric",
    "hermitian": "symmetric",  # without complex numbers, it is
}
TEXT = bytes(range(32, 127)) + b"\t\r\n"
CUT = re.compile(rb"[eEdD][+-]?\s*\Z")
COMMENT = re.compile(rb"%[^\n]*")
BLANK = re.compile(rb"^[ \t\r]*\n", re.MULTILINE)
PLUS = re.compile(rb"(?<![^ \t\n])\+(?![+-])")


def read_matrix_market(
    paths: Sequence[Path],
    scratch: Path,
    *,
    transpose: bool | None = None,
    dtype: np.dtype[Any] | None = None,
) -> list[Source]:
    """Opens MatrixMarket files, plain or as ``.gz``, ``.bz2``, ``.xz``.

    Args:
        paths: The files.
        scratch: Directory for the temporary files: (row, column, value) entries.
        transpose: Whether columns of the file are the rows wanted, as in files of
            10x Genomics (genes by cells). `None`: they are not, and a warning tells
            where a file lies beside what such files lie beside.
        dtype: That of the store, if it was asked for.

    Raises:
        SourceError: A file is damaged, or of a kind that is not read.
    """
    if transpose is None:
        for path in paths:
            _tell_of_tenx(path)
    return [_read(path, scratch, bool(transpose), dtype) for path in paths]


def _tell_of_tenx(path: Path) -> None:
    prefix = path.name.partition("matrix.mtx")[0]
    for packed in ("", ".gz"):
        barcodes = path.with_name(f"{prefix}barcodes.tsv{packed}")
        if "matrix.mtx" in path.name and barcodes.exists():
            warnings.warn(
                f"{path} lies beside {barcodes.name}, as matrices of 10x Genomics do, "
                f"whose rows are genes: rows of the store will be genes. For cells, "
                f"with the names of genes, convert the directory {path.parent}, or "
                f"pass {argument('transpose', True)}.",
                stacklevel=5,
            )


def _read(
    path: Path, scratch: Path, transpose: bool, dtype: np.dtype[Any] | None
) -> Source:
    if not path.is_file():
        raise SourceError(
            f"{path} must be a file on a disk, since it is read twice. Write what "
            f"comes through a pipe to a file first."
        )
    with reading(path, KIND), open_text(path) as file:
        header = _Header.read(file, path)
    shape = header.shape[::-1] if transpose else header.shape
    parsed, stored = map(np.dtype, FIELDS[header.field])
    becomes = stored if dtype is None else dtype
    work = None  # of a symmetric matrix, each entry may be two
    if header.symmetry == "general":
        work = 2 * header.count * entry_bytes(shape, parsed)

    def blocks(advance: Advance) -> Generator[Block]:
        with reading(path, KIND), open_text(path) as text:
            _Header.read(text, path)
            entries = _entries(text, header, transpose, becomes)
            expected = header.count * (1 if header.symmetry == "general" else 2)
            first = 0
            for rows in rows_of_entries(entries, shape, expected, scratch, advance):
                if rows.data.dtype == np.float64:
                    rows = summed(rows, becomes, str(path), first)
                first += rows.num_rows
                yield Block(rows)

    return Source(
        str(path), shape[1], stored, blocks, work, transposed=transpose
    )


@dataclass(frozen=True)
class _Header:
    """The first line of a file, and its line of sizes.

    Attributes:
        dense: Whether all values are listed, column after column.
        field: ``real``, ``integer``, ``pattern``, ...
        symmetry: ``general``, ... Of the others, only the lower triangle is in the
            file.
        shape: (rows, columns).
        count: Entries in the file.
        lines: Lines before the entries.
    """

    dense: bool
    field: str
    symmetry: str
    shape: tuple[int, int]
    count: int
    lines: int

    @classmethod
    def read(cls, file: BinaryIO, path: Path) -> _Header:
        """Reads to where the entries begin."""
        banner = file.readline(1024)
        words = banner.removeprefix(BOM).decode("latin-1").lower().split()[:5]
        if len(words) != 5 or words[0] not in BANNERS or words[1] != "matrix":
            raise SourceError(
                f"{path} must begin with a line like '%%MatrixMarket matrix coordinate "
                f"real general'; it has {banner[:60]!r}. Pass a MatrixMarket file."
            )
        _, _, layout, field, symmetry = words
        field = "real" if field == "float" else field  # as some programs write it
        kind = " ".join(words[1:])
        dense = layout == "array"
        if (
            layout not in ("coordinate", "array")
            or field not in FIELDS
            or symmetry not in SYMMETRIES
            or (dense and field == "pattern")
            or (field == "unsigned-integer" and symmetry == "skew-symmetric")
        ):
            part = ", as scipy.io.mmread(path).real, say" if field == "complex" else ""
            raise SourceError(
                f"{path} is of a kind that is not read: {kind!r}. Write it again as a "
                f"real, integer or pattern matrix{part}."
            )
        symmetry = SYMMETRIES[symmetry]
        line, number = b"%", 1
        while line.lstrip().startswith(b"%") or (line and not line.strip()):
            line, number = file.readline(1 << 16), number + 1
        words = line.decode("latin-1").split()
        needed = ["rows", "columns", "entries"][: 2 if dense else 3]
        if len(words) != len(needed) or not all(
            word.isdecimal() and len(word) < 20 and int(word) < 2**62 for word in words
        ):
            raise SourceError(
                f"{path}, line {number}: {shown(line[:60].decode('latin-1').strip())} "
                f"must be the numbers of {', '.join(needed)}, below 2**62. "
                f"Write the file again."
            )
        sizes = [int(word) for word in words]
        rows, columns = sizes[:2]
        if symmetry != "general" and rows != columns:
            raise SourceError(
                f"{path} has {rows} rows and {columns} columns, and is said to be "
                f"{symmetry}. Write it again."
            )
        count = sizes[-1]
        if dense:
            count = rows * columns
            if symmetry != "general":
                count = rows * (rows + (1 if symmetry == "symmetric" else -1)) // 2
        return cls(dense, field, symmetry, (rows, columns), count, number)


def _entries(
    file: BinaryIO, header: _Header, transpose: bool, dtype: np.dtype[Any]
) -> Iterator[Entries]:
    read, number, below, above = 0, header.lines + 1, False, False
    line = header.shape, header.field, header.dense, dtype
    for text in lines(file):
        if text.translate(None, TEXT):
            # scipy's parser reads on past a NUL, and past the end of its memory.
            raise ValueError(f"after line {number}, there are bytes that are no text")
        if not text.endswith(b"\n"):
            if CUT.search(text):  # past which scipy's parser reads on
                raise ValueError("it ends in the middle of a number")
            text += b"\n"
        whole, first = text, number
        number += text.count(b"\n")
        if b"%" in text:
            text = COMMENT.sub(b"", text)
        if BLANK.search(text):
            text = BLANK.sub(b"", text)
        count = text.count(b"\n")
        if not count:
            continue
        if read + count > header.count:
            raise ValueError(
                f"it has more than the {header.count} entries that line "
                f"{header.lines} claims"
            )
        if b"+" in text:
            text = PLUS.sub(b"", text)
        text = text.translate(FORTRAN) if b"D" in text or b"d" in text else text
        tokens = 1 if header.dense else 2 if header.field == "pattern" else 3
        if not are_plain(text, tokens, header.field not in ("real", "double")):
            check_lines(whole, first, *line)
        try:
            part = _parsed(text, count, header, read)
        except (ValueError, OverflowError) as error:
            check_lines(whole, first, *line)
            raise ValueError(f"in lines {first} to {number - 1}, {error}") from error
        if part.value.dtype.kind == "f" and may_be_rounded(part.value, dtype):
            check_lines(whole, first, *line)
        if header.symmetry != "general":
            held = part.value != 0  # a 0 doubles nothing
            below = below or bool((part.row > part.column)[held].any())
            above = above or bool((part.row < part.column)[held].any())
            if below and above:
                raise ValueError(
                    f"up to line {number - 1}, it has entries on both sides of the "
                    f"diagonal, and is said to be {header.symmetry}, so that each is "
                    f"there twice. Write general in the first line, or one side alone"
                )
            part = mirrored(part, header.symmetry == "skew-symmetric")
        yield Entries(part.column, part.row, part.value) if transpose else part
        read += count
    if read != header.count:
        raise ValueError(
            f"it has {read} of the {header.count} entries that line {header.lines} "
            f"claims"
        )


def _parsed(text: bytes, count: int, header: _Header, before: int) -> Entries:
    rows, columns = header.shape
    if header.dense:  # as a column of values
        kind, sizes = f"array {header.field} general", f"{count} 1"
    else:
        kind = f"coordinate {header.field} general"  # `mirrored` does the rest
        sizes = f"{rows} {columns} {count}"
    banner = f"%%MatrixMarket matrix {kind}\n{sizes}\n"
    found: Any = scipy.io.mmread(io.BytesIO(banner.encode() + text))
    if not header.dense:
        return Entries(found.row, found.col, found.data)
    values = found.ravel()
    place = np.arange(before, before + count)[values != 0]
    values = values[values != 0]
    if header.symmetry == "general":
        return Entries(place % rows, place // rows, values)
    below = int(header.symmetry == "skew-symmetric")
    return Entries(*in_triangle(place, rows, below), values)

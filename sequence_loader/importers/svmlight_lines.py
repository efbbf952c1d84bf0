"""Lines of svmlight -> rows, and what is wrong with lines that are none.

scikit-learn parses what is as it should be. Where it refuses, the lines are read here,
in Python: columns in any order, more than once, are taken, and of anything else the
error says which token of which line it is, and what it looks like.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import shown
from sequence_loader.importers.text_numbers import (
    FLOAT64,
    INTEGER,
    REAL,
    beyond,
    may_be_rounded,
)

PARSING = ValueError, IndexError, OverflowError
"""What scikit-learn raises at text that is not svmlight."""
UNDERSCORE = re.compile(rb"[0-9]_[0-9]")
COMMENT = re.compile(rb"#[^\n]*")
CSV = (
    "Pass arrays from Python: (frame.to_numpy() for frame in pandas.read_csv(path, "
    "header=None, chunksize=4096))"
)
MOST = 2**31 - 1
"""The largest column that scikit-learn reads."""
QUERY = b"qid:"


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows.

    Attributes:
        indptr: int64 array of shape (rows + 1,).
        indices: int32 array of shape (nnz,): columns as in the text, in any order.
        data: float64 array of shape (nnz,).
        labels: float64 array: the labels of one row after the other.
        counts: int64 array of shape (rows,): how many labels a row has; of shape (0,)
            where each has one.
        queries: int64 array of shape (rows,): what follows ``qid:``, or of shape (0,).
    """

    indptr: Integers
    indices: Array
    data: Array
    labels: Array
    counts: Integers
    queries: Integers

    def arrays(self) -> tuple[Array, ...]:
        """All of them, in the order of the constructor."""
        return tuple(vars(self).values())


def parsed(
    text: bytes, number: int, multilabel: bool, dtype: np.dtype[Any]
) -> Piece:
    """Parses lines.

    Args:
        text: Whole lines.
        number: That of the first in its file.
        multilabel: Whether a row has any number of labels.
        dtype: What values become, which may not hold integers that are written.

    Raises:
        ValueError: A line is wrong; the message names it.
    """
    from sklearn.datasets import load_svmlight_file

    try:
        rows, labels, queries = load_svmlight_file(
            io.BytesIO(text), zero_based=True, multilabel=multilabel, query_id=True
        )
    except PARSING:
        return _in_python(text, number, multilabel, dtype)
    piece = _piece(rows.indptr, rows.indices, rows.data, labels, queries, multilabel)
    some = 0 < len(queries) < rows.shape[0]
    odd = some or (b"_" in text and UNDERSCORE.search(COMMENT.sub(b"", text)))
    if odd or may_be_rounded(piece.data, dtype) or may_be_rounded(piece.labels):
        return _in_python(text, number, multilabel, dtype)
    return piece


def _in_python(
    text: bytes, number: int, multilabel: bool, dtype: np.dtype[Any]
) -> Piece:
    lengths, indices, data, labels = [0], list[int](), list[float](), list[Any]()
    queries: list[int] = []
    for place, line in enumerate(text.split(b"\n")):
        tokens = line.partition(b"#")[0].split()
        if not tokens:
            continue
        try:
            bare = multilabel and b":" in tokens[0]
            found = [] if bare else _labels(tokens.pop(0), multilabel)
            if tokens and tokens[0].startswith(QUERY):
                queries.append(_query(tokens.pop(0)))
            pairs = [_feature(each, dtype) for each in tokens]
            if queries and len(queries) != len(lengths):
                raise ValueError("some rows have a qid:, and others have none")
        except ValueError as error:
            raise ValueError(f"line {number + place}: {error}") from None
        labels.append(tuple(found) if multilabel else found[0])
        indices += [column for column, _ in pairs]
        data += [value for _, value in pairs]
        lengths.append(len(pairs))
    return _piece(np.cumsum(lengths), indices, data, labels, queries, multilabel)


def _piece(
    indptr: Any, indices: Any, data: Any, labels: Any, queries: Any, multilabel: bool
) -> Piece:
    counts = np.array([len(each) for each in labels] if multilabel else [], np.int64)
    flat = [label for each in labels for label in each] if multilabel else labels
    return Piece(
        np.asarray(indptr, np.int64),
        np.asarray(indices, np.int32),
        np.asarray(data, np.float64),
        np.asarray(flat, np.float64),
        counts,
        np.asarray(queries, np.int64),
    )


def _labels(token: bytes, multilabel: bool) -> list[float]:
    """The label, or the labels, that a line begins with."""
    parts = token.split(b",")
    if all(map(_is_number, parts if multilabel else [token])):
        return list(map(_number, parts if multilabel else [token]))
    if token[:1] in b"{[<":
        look, mend = "JSON, XML or HTML", "Write rows as svmlight"
    elif multilabel and b"" in parts[1:]:
        look, mend = "a blank after a comma", "Write labels without blanks, as 1,2"
    elif multilabel and len(parts) > 1:
        look, mend = "names", "Write numbers in their place"
    elif len(parts) > 1 and not all(map(_is_number, parts)):
        look, mend = "csv", CSV
    elif len(parts) > 1:
        look = "several labels"
        mend = f"Pass {argument('multilabel', True)} for rows of several labels"
    elif b":" in token:
        look = "a label and its weight, or a row without a label"
        mend = f"Give weights as {argument('sample_weight')}, and each row a label"
    elif token.startswith((b"'", b"|")) or b"|" in token:
        look, mend = "Vowpal Wabbit's format", "Write it as svmlight"
    else:
        look = "a name"
        mend = f"Write numbers, and give names as {argument('y')}"
    raise _wrong("label", token, look, mend)


def _query(token: bytes) -> int:
    digits = token.removeprefix(QUERY).decode("latin-1")
    if INTEGER.match(digits) is None:
        raise _wrong("query", token, "no number", "Number the queries")
    number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise _wrong("query", token, "a hash beyond 64 bits", "Number the queries")
    return number


def _feature(token: bytes, dtype: np.dtype[Any]) -> tuple[int, float]:
    """Column and value of a token like ``3:0.5``."""
    column, colon, value = token.partition(b":")
    if INTEGER.match(column.decode("latin-1")) and _is_number(value):
        if 0 <= int(column) <= MOST:
            return int(column), _number(value, dtype)
    if not colon:
        look, mend = "a name", "Number the columns, and give each its value"
        if _is_number(column):
            look, mend = "a number without its column", "Write column:value"
        elif b"," in column:
            look, mend = "values of a csv", "Write column:value, with blanks between"
        elif b"|" in column:
            look, mend = "Vowpal Wabbit's format", "Write it as svmlight"
    elif token.startswith(QUERY):
        look, mend = "a query that does not follow the label", "Write it there, once"
    elif not _is_number(column):
        look = "a name instead of a column"
        mend = f"Number the columns; names go into {argument('feature_names')}"
    elif not column.lstrip(b"+-").isdigit():
        look, mend = "a column that is no whole number", "Number the columns"
    elif column.startswith(b"-"):
        look, mend = "a column below 0", "Count columns from 0 or 1"
    elif int(column) > MOST:
        look, mend = f"a column that is too large, beyond {MOST}", "Hash it to fewer"
    elif not value:
        look, mend = "a blank after the colon", "Write column:value without one"
    elif b":" in value:
        look, mend = "libffm's field:column:value", "Write column:value"
    elif b"," in value:
        look, mend = "a decimal comma", "Write a point"
    else:
        look, mend = "a value that is no number", "Write a number"
    raise _wrong("column:value", token, look, mend)


def _wrong(what: str, token: bytes, look: str, mend: str) -> ValueError:
    text = shown(token.decode("utf-8", "replace"), 40)
    return ValueError(f"{text} is no {what}; it looks like {look}. {mend}")


def _is_number(token: bytes) -> bool:
    return REAL.match(token.decode("latin-1")) is not None


def _number(token: bytes, dtype: np.dtype[Any] = FLOAT64) -> float:
    text = token.decode("latin-1")
    why = beyond(text, dtype)
    if why is not None:
        raise ValueError(f"{shown(text, 40)} {why}")
    return float(text)


CONTROLS = bytes([*range(9), *range(14, 32)])
MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ": ".xz",
}


def foreign(head: bytes) -> str | None:
    """What a file is that cannot be text of svmlight, by how it begins."""
    for magic, suffix in MAGIC.items():
        if head.startswith(magic):
            return f"compressed text. Give it the suffix {suffix}"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16. Write it as plain text"
    if head.translate(None, CONTROLS) != head:
        return "no text. Pass a file of lines"
    if head.lstrip()[:14].lower() == b"%%matrixmarket":
        return f"MatrixMarket. Pass {argument('format', 'matrix-market')}"
    return None


def look_of(head: bytes) -> str:
    """What text looks like in which no ``column:value`` occurs, and the mend."""
    rows = [line.partition(b"#")[0].split() for line in head.splitlines()]
    rows = [row for row in rows if row]
    if not rows:
        return "it is empty. Pass a file with rows"
    if rows[0][0][:1] in b"{[<":
        return "it looks like JSON, XML or HTML. Write rows as svmlight"
    if any(b"," in token or b";" in token for row in rows for token in row):
        return (
            f"it looks like csv, or labels alone. {CSV}"
        )
    if all(len(row) == 1 for row in rows):
        return f"it holds labels alone. Pass it as {argument('y')}, beside the rows"
    return (
        "it looks like a dense table. Pass numpy.loadtxt(path), or blocks of it, from "
        "Python"
    )

"""Lines of MatrixMarket: whether scipy's parser reads all of each, and what is wrong.

That parser stops within a number that it does not know (``1,5``, ``1.234.567``, an
``integer`` 2.5) and takes what comes before. So each piece is looked at first, with
NumPy; only where something is odd are its lines read one by one, in Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sequence_loader.checks import shown
from sequence_loader.importers.text_numbers import INTEGER, REAL, beyond

DIGIT, SIGN, POINT, EXPONENT, BLANK, OTHER = range(6)
_KINDS = bytearray([OTHER] * 256)
for _kind, _characters in enumerate((b"0123456789", b"+-", b".", b"eE", b" \t\r\n")):
    for _character in _characters:
        _KINDS[_character] = _kind
# What may follow what, in numbers with blanks between: 6 * the first + the second.
_PAIRS = bytes(
    6 * kind + following
    for kind, those in (
        (DIGIT, [DIGIT, POINT, EXPONENT, BLANK]),
        (SIGN, [DIGIT, POINT]),
        (POINT, [DIGIT, EXPONENT, BLANK]),
        (EXPONENT, [DIGIT, SIGN]),
        (BLANK, [DIGIT, SIGN, POINT, BLANK]),
    )
    for following in those
)

FORTRAN = bytes.maketrans(b"dD", b"ee")
"""1D3, which scipy reads as 1, is 1e3."""


def are_plain(text: bytes, tokens: int, integers: bool) -> bool:
    """Whether each line is `tokens` numbers, all but the last integers.

    Args:
        text: Whole lines, none of them blank.
        tokens: Numbers in a line.
        integers: Whether the last one is an integer, too.

    Returns:
        Whether it is certain. Signs before indices are left to the parser.
    """
    # bytes.translate is NumPy's take without an index of 8 bytes for each character.
    kinds = np.frombuffer(b"\4" + text.translate(_KINDS), np.uint8)  # after a BLANK
    pairs = kinds[:-1] * np.uint8(6)
    pairs += kinds[1:]
    if pairs.tobytes().translate(None, _PAIRS):
        return False
    blank = kinds == BLANK
    starts = np.flatnonzero(blank[:-1] & ~blank[1:])
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    if len(starts) != tokens * len(ends):
        return False
    lines = starts.reshape(-1, tokens)
    if (lines[:, -1] > ends).any() or (lines[1:, 0] < ends[:-1]).any():
        return False
    marks = np.flatnonzero((kinds == POINT) | (kinds == EXPONENT)) - 1
    if integers or not len(marks):
        return not len(marks)
    # Of each number at most one point, then at most one exponent; and a digit.
    owner = np.searchsorted(starts, marks, side="right") - 1
    same = owner[1:] == owner[:-1]
    kind = kinds[marks + 1]
    ordered = (kind[:-1] == POINT) & (kind[1:] == EXPONENT)
    bare = (kind == POINT) & (kinds[marks] != DIGIT) & (kinds[marks + 2] != DIGIT)
    last = owner % tokens == tokens - 1
    return bool(last.all() and (~same | ordered).all() and not bare.any())


def check_lines(
    text: bytes,
    number: int,
    shape: tuple[int, int],
    field: str,
    dense: bool,
    dtype: np.dtype[Any],
) -> None:
    """Raises ValueError of the first line that is wrong; the message names it.

    Args:
        text: Whole lines; blank ones and comments are none.
        number: That of the first line in its file.
        shape: (rows, columns) of the matrix.
        field: ``real``, ``integer``, ``pattern``, ...
        dense: Whether a line is a value alone.
        dtype: What values become.
    """
    for place, line in enumerate(text.split(b"\n")):
        tokens = line.partition(b"%")[0].split()
        if tokens:
            wrong = _wrong(tokens, shape, field, dense, dtype)
            if wrong is not None:
                raise ValueError(f"line {number + place}: {wrong}")


def _wrong(
    tokens: list[bytes],
    shape: tuple[int, int],
    field: str,
    dense: bool,
    dtype: np.dtype[Any],
) -> str | None:
    names = ["row", "column", "value"]
    names = names[2 if dense else 0 : 2 if field == "pattern" else 3]
    if len(tokens) != len(names):
        text = shown(b" ".join(tokens).decode("latin-1"), 40)
        needed = ", ".join(names)
        if len(tokens) == 1 and tokens[0].count(b",") == len(names) - 1 > 0:
            return f"{text} looks like csv. Write blanks between {needed}"
        if field == "pattern" and len(tokens) == 3:
            return f"{text} has a value. Write real, not pattern, in the first line"
        return f"{text} must be {needed} alone. Write one entry on a line"
    for name, size, token in zip(names, shape, tokens if not dense else ()):
        text = shown(token.decode("latin-1"), 40)
        if INTEGER.match(token.decode("latin-1")) is None:
            return f"{text} is no {name}. Write an integer, counted from 1"
        if not 1 <= int(token) <= size:
            return (
                f"{name} {text} is out of bounds: it must be in 1 to {size}. Correct "
                f"it, or the line of sizes"
            )
    if names[-1] != "value":
        return None
    text = shown(tokens[-1].decode("latin-1"), 40)
    value = tokens[-1].translate(FORTRAN).decode("latin-1")
    if "integer" not in field:
        if REAL.match(value) is None:
            comma = " with a decimal comma" if b"," in tokens[-1] else ""
            return f"{text} is no number{comma}. Write one like 1.5 or 2e-3"
        if (why := beyond(value, dtype)) is not None:
            return f"{text} {why}"
    elif INTEGER.match(value) is None:
        real = REAL.match(value) is not None
        mend = "Write real, not integer, in the first line" if real else "Write one"
        return f"{text} is no integer. {mend}"
    elif "unsigned" in field and int(tokens[-1]) < 0:
        return f"{text} is below 0. Write integer in the first line"
    elif not -(2**63) <= int(tokens[-1]) < 2 ** (64 if "unsigned" in field else 63):
        if 0 < int(tokens[-1]) < 2**64:
            return f"{text} is beyond int64. Write unsigned-integer in the first line"
        return (
            f"{text} is beyond 64 bits. Write real in the first line, and an amount "
            f"like 1.8e19"
        )
    return None

"""One csv record in plain Python, where the csv module would not read it."""

from __future__ import annotations

from collections.abc import Sequence


def parse_record(
    lines: Sequence[str], at: int, delimiter: str, quotechar: str | None
) -> tuple[list[str], int, bool] | None:
    """One record of any length, as Python's csv module reads it.

    Args:
        lines: Lines with their ends.
        at: The one on which the record begins.
        delimiter: Between fields.
        quotechar: Around fields, or `None`.

    Returns:
        Its fields, the line behind it, and whether text stands between a closing
        quote and the end of its field. `None` if the lines end before it does.
    """
    fields: list[str] = []
    line, place, loose = lines[at], 0, False
    while True:
        pieces: list[str] = []
        quoted = quotechar is not None and line.startswith(quotechar, place)
        if quoted and quotechar is not None:
            place += 1
            while True:
                close = line.find(quotechar, place)
                if close < 0:
                    pieces.append(line[place:])
                    at += 1
                    if at == len(lines):
                        return None
                    line, place = lines[at], 0
                    continue
                pieces.append(line[place:close])
                place = close + 1
                if not line.startswith(quotechar, place):
                    break
                pieces.append(quotechar)
                place += 1
        stop = line.find(delimiter, place)
        rest = line[place:stop] if stop >= 0 else line[place:].rstrip("\r\n")
        loose = loose or (quoted and bool(rest))
        fields.append("".join([*pieces, rest]))
        if stop < 0:
            return fields, at + 1, loose
        place = stop + 1

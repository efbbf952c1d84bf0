"""Whether the first records of a csv file were taken apart as it was written."""

from __future__ import annotations

from collections.abc import Sequence

from sequence_loader.arguments import argument
from sequence_loader.checks import shown


MANY_ROWS = 10
"""Texts that are all cut into as many pieces by something, and not by chance."""


def check_apart(
    rows: Sequence[list[str]],
    label: int | None,
    path: str,
    header: Sequence[str] = (),
) -> None:
    """Raises ValueError if every label has what may be a delimiter within it.

    Without labels, every text of an only column: where its name does as well, or,
    without a name, where many have as many pieces. Lines of code only end with one.
    """
    what, place = ("texts", 0) if label is None else ("labels", label)
    if label is None and any(len(row) != 1 for row in rows):
        return
    fields = [row[place] for row in rows if len(row) > place]
    for each in ";\t|":
        pieces = [field.split(each) for field in header or fields]
        cut = len(set(map(len, pieces))) == 1 and len(pieces[0]) > 1
        cut = cut and all(piece.strip() for row in pieces for piece in row)
        sure = label is not None or (cut and (header or len(fields) >= MANY_ROWS))
        if fields and sure and all(each in field for field in fields):
            raise ValueError(
                f"{argument('delimiter')} must be what stands between fields; {path} "
                f"has {what} such as {shown(fields[0])}. Pass "
                f"{argument('delimiter', each)}, or what it is."
            )


def check_quotes(rows: Sequence[list[str]], path: str) -> None:
    """Raises ValueError if most records are cut within what seems to be quoted."""
    for quote in "'\"":
        torn = [row for row in rows if _is_torn(row, quote)]
        if 2 * len(torn) > len(rows) and quote == "'":
            raise ValueError(
                f"{argument('quotechar')} must be what stands around fields; {path} "
                f"has records such as {shown(torn[0])}. Pass "
                f"{argument('quotechar', quote)}, or {argument('quotechar', None)} if "
                f"nothing is quoted."
            )
        if 2 * len(torn) > len(rows):
            raise ValueError(
                f"{path} has a blank before its quotes, which then are none, as for "
                f"Python's csv module: {shown(torn[0])}. Write it without such blanks, "
                f"or pass {argument('quotechar', quote)} to have it read like this."
            )


def _is_torn(row: list[str], quote: str) -> bool:
    """Whether quotes were left in fields: opened in one and closed in a later one, or,
    where it is not the usual one, around all of them."""
    fields = [field.strip() for field in row]
    around = [len(each) > 1 and each[0] == each[-1] == quote for each in fields]
    if quote == "'" and all(around):
        return True
    odd = [field for field in fields if field.count(quote) % 2]
    return len(odd) > 1 and odd[0].startswith(quote) and odd[-1].endswith(quote)


def check_no_sep(first: Sequence[str], path: str) -> None:
    """Raises ValueError for the line by which Excel tells itself the delimiter."""
    if first[0].strip().lower().startswith("sep=") and not any(first[1:]):
        raise ValueError(
            f"{argument('paths')} must be files of records; {path} begins with a line "
            f"for Excel, {shown(first[0])}. Delete that line, for example by: sed -i "
            f"1d {path}"
        )

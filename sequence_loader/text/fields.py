"""A record -> the fields that its columns name, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.text.columns import Columns
from sequence_loader.text.faults import EMPTY, NUL, Fault
from sequence_loader.text.records import Block, Seen


def csv_fields(columns: Columns) -> Callable[[list[str]], list[str] | Fault]:
    """What a record of a csv file is taken for: itself, or a fault."""
    count = columns.count

    def fields(record: list[str]) -> list[str] | Fault:
        if len(record) != count and not any(map(str.strip, record)):
            return EMPTY
        if len(record) != count:
            s = "" if len(record) == 1 else "s"
            what = f"{len(record)} field{s}, where a record has {count}"
            return Fault("with a wrong number of fields", what)
        return record

    return fields


def swallowing(
    block: Block, columns: Columns, delimiter: str, labels: Container[str]
) -> list[int]:
    """Where the records of a block begin that may have taken in others.

    They go over several lines, of which one begins with a label, as records do whose
    first column that is, and has the delimiters of a record.
    """
    found: list[int] = []
    if columns.label != 0 or max(block.counts) == 1:
        return found
    for record, line, count in zip(block.records, block.lines, block.counts):
        if count == 1 or not isinstance(record, list):
            continue
        within = (each for field in record for each in field.splitlines()[1:])
        if any(
            each.partition(delimiter)[0].strip('" ') in labels
            and each.count(delimiter) >= columns.count - 1
            for each in within
        ):
            found.append(line)
    return found


def json_fields(
    columns: Columns, seen: Seen | None = None
) -> Callable[[dict[str, Any]], list[str] | Fault]:
    """What makes fields of an object: its label, if there is one, and its texts.

    Args:
        columns: The keys.
        seen: Where it is counted what had to be mended.
    """

    def fields(record: dict[str, Any]) -> list[str] | Fault:
        found = []
        if columns.label is not None:
            label = _label(record.get(columns.label))
            if label is None:
                what = f"{shown(record[columns.label])} as a label"
                return Fault("without a label", f"{what}, which is text or a number")
            found.append(label)
        for key in columns.texts:
            text = record.get(key)
            if not isinstance(text, str):
                what = f"an object without the key {key!r}"
                mend = f"Pass {argument('text_columns')} that all have"
                if key in record:
                    what = f"{shown(text)} as {key!r}, which must be a string"
                    mend = ""
                return Fault("without a text", what, mend)
            found.append(text)
        if any("\0" in text for text in found):
            return NUL
        try:
            "".join(found).encode()
        except UnicodeEncodeError:  # half a pair, of an emoji that was cut
            if seen is not None:
                seen.halves += 1
            found = [
                text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                for text in found
            ]
        return found

    return fields


def _label(value: Any) -> str | None:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None

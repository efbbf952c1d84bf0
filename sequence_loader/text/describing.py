"""What was decided about text files, and what was met in them, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.text.options import Options
from sequence_loader.text.scan import Scanned


def how_guessed() -> str:
    """Why class numbers count from 1, and what to do if they do not."""
    return (
        f"no label is 0 and none is the number of classes, so that they are taken to "
        f"count from 1; pass {argument('first_label', 1)} or "
        f"{argument('first_label', 0)} to say so"
    )


def described(paths: Sequence[str], options: Options, scanned: Scanned) -> str:
    """One line for each decision; see `Texts.described`."""
    columns = next(each for each in scanned.columns if each is not None)
    label, texts = columns.names()
    files = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    lines = [
        f"{scanned.index.num_rows:,} rows of {files}",
        f"format: {options.format}, {options.encoding}",
    ]
    if not options.is_json:
        header = "none" if columns.header is None else ", ".join(columns.header)
        lines[-1] += f", header: {header}"
    lines.append("texts: " + ", ".join(map(str, texts)))
    if len(texts) > 1:
        lines[-1] += f", joined by {options.joiner!r}"
    undone = "line ends and quotes" if scanned.unescape else "left as they are"
    lines[-1] += f"; literal \\n and \\\" are {undone}"
    if columns.telling:
        lines.append(
            f"{shown(columns.telling)} may say the label, for each label has one value "
            f"there: pass {argument('text_columns')} without it if it does"
        )
    if label is None:
        lines.append("label: none")
    else:
        lines += _classes(label, scanned)
    return "\n".join([*lines, *noted(options, scanned)])


def _classes(label: object, scanned: Scanned) -> list[str]:
    names, y = scanned.class_names or (), scanned.y
    how = "names"
    if scanned.first_label is not None:
        how = f"class numbers from {scanned.first_label}"
    if scanned.guessed:
        how += f" ({how_guessed()})"
    lines = [f"label: {label}, {how}", f"classes: {len(names)}: {shown(names, 200)}"]
    if y is not None:
        counts = np.bincount(y, minlength=len(names))
        absent = [names[place] for place in np.flatnonzero(counts == 0)]
        if absent:
            lines[-1] += f"; no row is of {shown(absent)}"
    return [*lines, *scanned.lone]


def noted(options: Options, scanned: Scanned) -> list[str]:
    """What was met on the way that a user should know of."""
    seen, lines = scanned.seen, []
    if scanned.faults.total:
        lines.append(str(scanned.faults))
    if seen.undecodable:
        lines.append(
            f"{_count(seen.undecodable, 'line')} with bytes that are not "
            f"{options.encoding}, the first on {seen.first['undecodable']}: each "
            f"became U+FFFD; pass {argument('encoding')}, the one they were written "
            f"in, such as {argument('encoding', 'cp1252')}"
        )
    if seen.halves:
        records = _count(seen.halves, "record")
        lines.append(f"{records} with half of a surrogate pair: it became U+FFFD")
    if seen.loose:
        lines.append(
            f"{_count(seen.loose, 'record')} with text behind a closing quote, the "
            f"first on {seen.first['loose']}: read as Python's csv module does"
        )
    if seen.swallowed:
        lines.append(
            f"{_count(seen.swallowed, 'record')} of several lines, of which one begins "
            f"with a label, the first on {seen.first['swallowed']}: if its quote is "
            f"not meant, others are lost in it; pass {argument('quotechar', None)} if "
            f"quotes are plain characters"
        )
    if scanned.without_text:
        rows = _count(scanned.without_text, "row")
        lines.append(f"{rows} with a label but no text")
    if seen.several_lines:
        lines.append(_count(seen.several_lines, "record") + " of several lines")
    if seen.blank:
        lines.append(_count(seen.blank, "blank line") + ", no record")
    return lines


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"

"""Arguments of `open_texts`, checked, and the files that they mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import check_ordered, found_paths, one_of, shown
from sequence_loader.text.class_names import (
    checked_class_names,
    names_beside,
    names_in_file,
)
from sequence_loader.text.columns import AUTO

SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
DELIMITERS = {"csv": ",", "tsv": "\t", "jsonl": ""}


def found_files(paths: Any) -> list[str]:
    """The files that `paths` means; see `open_texts`."""
    found = found_paths(paths, "file", "train.csv")
    for path in found:
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{argument('paths')} must name files; there is no {path}. Check the "
                f"path."
            )
    return found


def format_of(paths: Sequence[str], given: str | None) -> str:
    """The format of all files: what was given, or their suffixes say."""
    if given is not None:
        return str(one_of("format", given, tuple(DELIMITERS)))
    kinds = set()
    for path in paths:
        name = path.lower().removesuffix(".gz")
        kind = SUFFIXES.get(os.path.splitext(name)[1])
        if kind is None:
            raise ValueError(
                f"{argument('format')} must be given where the suffix of a file is "
                f"none of {', '.join(SUFFIXES)}, with or without .gz; received {path}. "
                f"Pass {', '.join(argument('format', kind) for kind in DELIMITERS)}; "
                f"of one text a line, {argument('format', 'tsv')}, "
                f"{argument('label_column', None)}, {argument('quotechar', None)} and "
                f"{argument('header', False)}."
            )
        kinds.add(kind)
    if len(kinds) > 1:
        raise ValueError(
            f"{argument('paths')} must be files of one format; received "
            f"{', '.join(sorted(kinds))}. Open each by itself."
        )
    return kinds.pop()


def settings_for(
    paths: Any, settings: dict[str, Any], given: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of `open_texts` for files that go with others.

    Args:
        paths: The files.
        settings: Those of the others, see `Texts.settings`.
        given: Those that are written for these, which count more.

    Returns:
        All of them, but for what is not asked of such files.
    """
    kept = dict(settings)
    if format_of(found_files(paths), given.get("format")) == "jsonl":
        for name in ("delimiter", "quotechar"):
            kept.pop(name, None)
    if given.get("format") == "tsv":
        kept.pop("delimiter", None)  # that of the others would cut what has no tabs
    if (kept | given).get("label_column", AUTO) is None:
        for name in ("class_names", "first_label"):
            kept.pop(name, None)
    return kept | given


def names_of_classes(
    given: Any, paths: Sequence[str], label_column: Any
) -> tuple[tuple[str, ...] | None, str]:
    """The class names, and the file that they were read from, if any."""
    if label_column is None:
        if given is not None and not (isinstance(given, str) and given == AUTO):
            raise ValueError(
                f"{argument('class_names')} needs labels; received {shown(given)} with "
                f"{argument('label_column', None)}. Leave it out, or pass the column."
            )
        return None, ""
    if given is None:
        return None, ""
    if isinstance(given, str) and given == AUTO:
        return names_beside(paths)
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        return names_in_file(path), path
    check_ordered("class_names", given)
    return checked_class_names(list(given), "as given"), ""


def delimiter_of(given: str | None, kind: str) -> str:
    """What is between fields; nothing, in JSON lines."""
    if given is None:
        return DELIMITERS[kind]
    if kind == "jsonl":
        raise ValueError(
            f"{argument('delimiter')} is for csv and tsv; received {given!r} for JSON "
            f"lines. Leave it out."
        )
    return checked_character("delimiter", given) or ""


def checked_character(name: str, given: Any) -> str | None:
    """One character of ASCII, or `None` for a quote that is none."""
    if given is None and name == "quotechar":
        return None
    good = isinstance(given, str) and len(given) == 1 and given.isascii()
    if not good or given in "\r\n\0":
        raise ValueError(
            f"{argument(name)} must be one character of ASCII, and no line end; "
            f"received {shown(given)}. Pass for example {argument(name, ';')}."
        )
    return str(given)


def checked_column(name: str, given: Any, or_none: bool = False) -> Any:
    """The number or name of a column; raises TypeError for anything else."""
    if isinstance(given, str) or (or_none and given is None):
        return given
    if not isinstance(given, bool) and isinstance(given, Integral):
        return int(given)
    raise TypeError(
        f"{argument(name)} must be the number or the name of a column; received "
        f"{shown(given)} of type {type(given).__name__}. Pass for example "
        f"{argument(name, 0)}."
    )


def checked_columns(given: Any) -> Any:
    """A tuple of columns, or ``"auto"``."""
    if given == AUTO and isinstance(given, str):
        return given
    several = given if isinstance(given, list | tuple) else [given]
    return tuple(checked_column("text_columns", column) for column in several)


def choice_of(name: str, given: Any, choices: Sequence[Any]) -> Any:
    """One of some values, of which True is not 1."""
    for choice in choices:
        if given == choice and type(given) is type(choice):
            return choice
    listed = ", ".join(map(repr, choices))
    raise ValueError(
        f"{argument(name)} must be one of {listed}; received {shown(given)}. Pass one "
        f"of those values."
    )


def checked_text(name: str, given: Any) -> str:
    """The text; raises TypeError for anything else."""
    if isinstance(given, str):
        return given
    raise TypeError(
        f"{argument(name)} must be a text; received {shown(given)} of type "
        f"{type(given).__name__}. Pass for example {argument(name, ' ')}."
    )

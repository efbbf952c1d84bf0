"""Texts opened as others were: with the columns and classes of a store, say."""

from __future__ import annotations

from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.text.arguments import settings_for
from sequence_loader.text.faults import ColumnsError
from sequence_loader.text.header import TEXT_NAMES, plain_name
from sequence_loader.text.opening import open_texts
from sequence_loader.text.texts import Texts


def open_like(
    paths: Any, settings: dict[str, Any], origin: str, given: dict[str, Any]
) -> tuple[Texts, str]:
    """Opens files that go with others.

    Texts without labels, in files of one column, are read from that, wherever the
    others had theirs.

    Args:
        paths: The files.
        settings: Those of the others, see `Texts.settings`.
        origin: What they are of, as the user calls it.
        given: Arguments of `open_texts` for these files, which count more.

    Returns:
        The texts, and a line that says if they are in another column; else nothing.

    Raises:
        ValueError: As `open_texts` does; columns that the user did not give, and that
            the files do not have, are said to come from `origin`.
    """
    wanted = settings_for(paths, settings, given)
    try:
        texts = open_texts(paths, **wanted)
        _check_names(texts, settings, origin, given)
        return texts, ""
    except ColumnsError as error:
        if error.name in given or error.name not in settings:
            raise
        bare = wanted.get("label_column", 0) is None
        if error.count != 1 or not bare or "text_columns" in given:
            raise _unfit(error, settings, origin, given) from error
    del wanted["text_columns"]
    texts = open_texts(paths, **wanted)
    before = ", ".join(map(str, settings["text_columns"]))
    return texts, f"texts are in the only column; in {origin}: {before}"


def _check_names(
    texts: Texts, settings: dict[str, Any], origin: str, given: dict[str, Any]
) -> None:
    """Raises ValueError if columns given by number are not those that names tell."""
    before = settings.get("text_columns", ())
    numbered = any(isinstance(each, int) for each in before)
    columns = next(each for each in texts._scanned.columns if each is not None)
    if "text_columns" in given or not numbered or columns.header is None:
        return
    known = {
        place for place, name in enumerate(columns.header)
        if plain_name(name).endswith(TEXT_NAMES)
    }
    if known.difference(columns.texts) and not known.issuperset(columns.texts):
        raise ValueError(
            f"{argument('text_columns')} must be given: the texts of {origin} are in "
            f"{shown(before)}, and {texts.paths[0]} has the columns "
            f"{shown(columns.header)}. Pass {argument('text_columns')}."
        )


def _unfit(
    error: ColumnsError, settings: dict[str, Any], origin: str, given: dict[str, Any]
) -> ValueError:
    what = {"label_column": "labels", "text_columns": "texts"}
    lacking = [
        name for name in what if name not in given and error.lacks(settings.get(name))
    ]
    asked = " and ".join(map(argument, lacking))
    theirs = " and the ".join(
        f"{what[name]} of {origin} are in {shown(settings[name])}" for name in lacking
    )
    none = argument("label_column", None)
    mend = f"Pass {asked}"
    if "label_column" in lacking:
        mend += f", or {none} in place of the first, if there are none"
    elif settings.get("label_column") is not None:
        mend += f", and {none} if there are no labels"
    return ValueError(
        f"{asked} must be given: the {theirs}, and {error.path} has {error.found}. "
        f"{mend}."
    )

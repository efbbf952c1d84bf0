"""Paths -> an open store: one directory, those of a pattern, or a sequence of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sequence_loader.checks import shown
from sequence_loader.store.sparse_store import SparseStore

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def open_store(paths: Paths, memory: int | str = "auto") -> SparseStore:
    """Opens a store, or several as one.

    Args:
        paths: A store's directory; a glob pattern; or a sequence of directories,
            whose rows follow one another in that order. Those of a pattern follow
            their names, with the numbers in them counted: ``part-2``, ``part-10``.
        memory: Bytes of memory that may hold rows of the store. ``"auto"`` looks at
            what is free. A store that fits is read through the page cache, which
            is filled ahead; of one that does not, the next windows of the order
            are read into private memory of at most that many bytes (of at most
            112 MiB for ``"auto"``).

    Returns:
        The store: a row source, to be passed as `x`.

    Raises:
        FileNotFoundError: There is no store at a path.
        StoreError: A store is damaged or incomplete, or the stores do not fit
            together.

    Example:
        >>> store = open_store("train.store")
        >>> parts = open_store("parts/*.store")
    """
    if isinstance(paths, str | os.PathLike):
        text = os.fspath(paths)
        found = [text]
        if not os.path.lexists(text) and glob.has_magic(text):
            found = sorted(glob.glob(text), key=_counted)
        if not found:
            raise FileNotFoundError(
                f"`paths` must name at least one store; nothing matches {text}. Check "
                f"the pattern."
            )
    else:
        given = list(paths) if isinstance(paths, Iterable) else [paths]
        if not all(isinstance(path, str | os.PathLike) for path in given):
            raise TypeError(
                f"`paths` must be a path, a pattern, or a sequence of paths; received "
                f"{shown(paths)}. Pass for example 'train.store'."
            )
        found = [os.fspath(path) for path in given]
        if not found:
            raise ValueError(
                "`paths` must name at least one store; received an empty sequence. "
                "Pass the path of a store."
            )
    return SparseStore([Path(os.path.abspath(path)) for path in found], memory)


def _counted(name: str) -> tuple[list[Any], str]:
    """What a name is sorted by, so that ``part-10`` comes after ``part-2``."""
    pieces: list[Any] = re.split("([0-9]+)", name)
    pieces[1::2] = map(int, pieces[1::2])
    return pieces, name

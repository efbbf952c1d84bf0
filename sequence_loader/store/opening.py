"""Paths -> an open store: one directory, those of a pattern, or a sequence of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sequence_loader.checks import found_paths
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
        >>> store[5:9].shape == (4, store.shape[1])
        True
        >>> parts = open_store("parts/*.store")
    """
    found = found_paths(paths, "store", "train.store")
    return SparseStore(list(map(Path, found)), memory)

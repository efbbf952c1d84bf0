"""Blocks that a Python program makes, as a source of rows."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.checks import check_ordered, check_real, shown
from sequence_loader.importers.source import Advance, Block, Source
from sequence_loader.rows.indexes import check_order
from sequence_loader.rows.odd_columns import matrix_of
from sequence_loader.rows.tables import (
    check_collected,
    is_table,
    text_names,
)
from sequence_loader.store.sparse_store import SparseStore

WIDEST = np.dtype(np.float64)


def files_or_blocks(source: Any) -> tuple[list[Path], Iterable[Any]]:
    """Tells a source of files from one of blocks.

    Args:
        source: A path, a matrix, or an iterable of paths or of blocks.

    Returns:
        The paths, or none of them and what yields the blocks.

    Raises:
        TypeError: It is none of these.
        ValueError: It is empty.
    """
    if isinstance(source, str | os.PathLike):
        return [Path(source)], ()
    _check_kind(source)
    check_ordered("source", source)
    if sp.issparse(source) or isinstance(source, np.ndarray):
        return [], [source]
    if is_table(source) and len(getattr(source, "shape", ())) == 2:
        return [], [source]
    # What has chunks (of h5py, zarr or Dask) may be larger than memory.
    if _is_tensor(source) and not hasattr(source, "chunks"):
        return [], [source]
    if not isinstance(source, Iterable) or isinstance(source, Mapping):
        raise TypeError(
            f"`source` must be a path, a matrix, or an iterable of paths or blocks; "
            f"received {shown(source)}. Pass one of those: for an AnnData, or another "
            f"file that is open, its path; for a mapping, list(its values)."
        )
    if isinstance(source, tuple | list) and _is_one_block(source):
        raise TypeError(
            f"`source` must hold matrices, or a tuple for each block; received one "
            f"block, a {type(source).__name__} of a matrix and "
            f"{shown(source[1])}. Pass [(x, y)], or x and y=y."
        )
    items = iter(source)
    for first in items:
        if isinstance(first, str | os.PathLike):
            return [Path(first), *map(_path, items)], ()
        return [], chain([first], items)
    raise ValueError(
        f"`source` must hold at least one file or block; received {shown(source)}. "
        f"Pass some rows; the number of features is taken from them."
    )


def read_blocks(items: Iterable[Any]) -> Source:
    """Takes the number of features and the dtype from the first block.

    Args:
        items: Matrices of shape (n, features), scipy sparse or arrays, or tuples
            (block, y) or (block, y, sample_weight).

    Raises:
        TypeError: The first item is not one of these.
    """
    made = map(_block, items)
    first = next(made)
    given = rows = first.rows
    names = None
    if is_table(rows):
        # Numbers of the widest type that may be kept; the writer makes them again, of
        # the one that is, and looks at the columns of all blocks.
        rows, names = matrix_of(given, "block", WIDEST), text_names(given)
    elif _is_tensor(rows):
        given = rows = np.asarray(rows)  # as the writer does, and only once
    shape: tuple[int, ...] = getattr(rows, "shape", ())
    dtype = getattr(rows, "dtype", None)
    if len(shape) != 2 or not isinstance(dtype, np.dtype):
        raise TypeError(
            f"`source` must yield matrices of shape (rows, features), or (block, y), "
            f"or (block, y, sample_weight); received {shown(first.rows)}. Make each "
            f"block a scipy sparse matrix or a two-dimensional array: of a data set "
            f"on disk, slices of some thousand rows."
        )

    check_real("source", dtype)

    def blocks(advance: Advance) -> Generator[Block]:
        yield from chain([replace(first, rows=given)], made)

    return Source("source", int(shape[1]), dtype, blocks, feature_names=names)


def _path(item: Any) -> Path:
    """A path that follows another one; raises TypeError where it is none."""
    if not isinstance(item, str | os.PathLike):
        raise TypeError(
            f"`source` must hold paths or blocks, not both; received a path, and "
            f"{shown(item)}. Convert each to a store, and open them as one."
        )
    return Path(item)


def _is_tensor(value: Any) -> bool:
    """Whether it is a matrix that NumPy can take, whoever made it."""
    return getattr(value, "ndim", 0) == 2 and hasattr(value, "__array__")


def _is_one_block(items: Sequence[Any]) -> bool:
    """Whether these are a matrix and the targets of its rows."""
    if len(items) < 2 or len(getattr(items[0], "shape", ())) != 2:
        return False
    second = items[1]
    if isinstance(second, tuple) and any(map(np.ndim, second[:1])):
        return False  # another block, with its targets
    try:
        return np.ndim(second) < 2
    except ValueError:  # rows of several lengths: who appends them tells
        return False


def _check_kind(value: Any) -> None:
    """Raises TypeError for what looks like a matrix and must not be taken for one.

    A store has labels as well, and a table of polars may be still to be computed.
    """
    check_collected(value, "source")
    if isinstance(value, SparseStore):
        raise TypeError(
            f"`source` must be or yield matrices; received {value!r}. Pass its rows in "
            f"blocks: ((store[i : i + 4096], store.y[i : i + 4096]) for i in "
            f"range(0, len(store), 4096))."
        )


def _block(item: Any) -> Block:
    _check_kind(item[0] if isinstance(item, tuple) and item else item)
    if not isinstance(item, tuple):
        return Block(item)
    if not 1 <= len(item) <= 3:
        raise TypeError(
            f"`source` must yield blocks, (block, y), or (block, y, sample_weight); "
            f"received a tuple of {len(item)}. Pass y as an array of shape (rows, ...)."
        )
    check_order(zip(("block", "y", "sample_weight"), item))
    return Block(*item)

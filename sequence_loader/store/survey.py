"""What a store holds, told from a part of it: lengths of rows, and narrower values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sequence_loader.arrays import Integers
from sequence_loader.store.dtypes import index_dtypes, narrower
from sequence_loader.store.narrow_file import narrowed
from sequence_loader.store.sparse_store import SparseStore

SURVEYED_ROWS, SURVEYED_VALUES = 1 << 18, 1 << 21
"""Rows whose lengths are looked at, and values, at most: in a fraction of a second."""

SAMPLED_RUNS = 64
"""Runs of neighbouring rows in which they lie, from the first row to the last."""

BARS = 10
ONES = "nothing"
"""What values are kept in that are all 1."""


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        rows: How many rows were looked at.
        bars: For each range of lengths its first, its last, and how many rows.
        values: How many values were looked at.
        kept: The names of the types that the parts keep values in, or `ONES`.
        narrowest: That of the narrowest which holds the values looked at, or `ONES`.
        nbytes: Bytes of all files, if it holds all values.
    """

    rows: int
    bars: list[tuple[int, int, int]]
    values: int
    kept: list[str]
    narrowest: str
    nbytes: int


def survey(store: SparseStore) -> Survey:
    """Looks at some rows from all over.

    Raises:
        StoreError: A file is damaged.
    """
    parts = store._parts
    runs = list(_runs(parts.num_rows))
    located = [parts.locate(rows) for rows in runs]
    lengths = [each.stops - each.starts for each in located]
    all_lengths = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
    kinds = [*narrower(parts.dtype), parts.dtype]
    ones, looked_at = True, 0
    for rows, each in zip(runs, lengths):
        # Of each run as many rows as hold its share of the values, and one at least.
        share = SURVEYED_VALUES // len(runs)
        count = int(np.searchsorted(np.cumsum(each), share, side="right"))
        values = store.read(rows[: max(count, 1)]).data
        ones = ones and bool((values == 1).all())
        kinds = [kind for kind in kinds if narrowed(values, kind) is not None]
        looked_at += len(values)
    narrowest = None if ones and looked_at else kinds[0] if looked_at else parts.dtype
    # The pointers and what is beside the matrix stay; columns become narrow as well.
    size = index_dtypes(parts.num_features)[0].itemsize
    size += 0 if narrowest is None else narrowest.itemsize
    stays = sum(
        array.nbytes
        for part in parts.list
        for name, array in part.manifest.arrays.items()
        if name not in ("indices", "data")
    )
    return Survey(
        len(all_lengths),
        _bars(all_lengths),
        looked_at,
        sorted({_named(part.kept_as) for part in parts.list}),
        _named(narrowest),
        stays + parts.nnz * size,
    )


def _named(dtype: np.dtype[Any] | None) -> str:
    return ONES if dtype is None else str(dtype.name)


def _runs(num_rows: int) -> Iterator[Integers]:
    count = min(SAMPLED_RUNS, num_rows)
    each = min(SURVEYED_ROWS, num_rows)
    for run in range(count):
        first, following = (num_rows * n // count for n in (run, run + 1))
        yield np.arange(first, min(first + -(-each // count), following))


def _bars(lengths: Integers) -> list[tuple[int, int, int]]:
    if len(lengths) == 0:
        return []
    first, last = int(lengths.min()), int(lengths.max())
    step = -(-(last - first + 1) // BARS)
    counts = np.bincount((lengths - first) // step).tolist()
    return [
        (first + step * n, min(first + step * (n + 1) - 1, last), count)
        for n, count in enumerate(counts)
    ]

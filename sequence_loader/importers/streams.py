"""CSR and CSC arrays read from front to back, whatever file they lie in."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.importers.row_sort import Entries
from sequence_loader.rows.csr import CsrRows
from sequence_loader.store.blocks import WRITE_PIECE_VALUES

ROWS = 1 << 18
"""Entries of `indptr` read at a time: 2 MB."""


class Stream(Protocol):
    """An array that is read along its first axis, from its start to its end."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    def read(self, count: int) -> Array:
        """The next `count` entries; fails if there are fewer."""


def csr_blocks(
    indptr: Stream, indices: Stream, data: Stream, num_features: int
) -> Iterator[CsrRows]:
    """The rows of a CSR matrix, in blocks of about `WRITE_PIECE_VALUES` values.

    Args:
        indptr: Integers, shape (rows + 1,).
        indices: Integers, shape (at least nnz,); their range is left to the writer.
        data: Values, of the shape of `indices`.
        num_features: Number of columns.

    Raises:
        ValueError: `indptr` is damaged.
    """
    for _, ends in runs(indptr, _stored(indices, data), WRITE_PIECE_VALUES):
        count = int(ends[-1] - ends[0])
        yield CsrRows(
            ends - ends[0], indices.read(count), data.read(count), num_features
        )


def csc_entries(indptr: Stream, indices: Stream, data: Stream) -> Iterator[Entries]:
    """The entries of a CSC matrix, column after column, in bounded pieces.

    Args:
        indptr: Integers, shape (features + 1,).
        indices: Row numbers, shape (at least nnz,).
        data: Values, of the shape of `indices`.

    Raises:
        ValueError: `indptr` is damaged.
    """
    for first, ends in runs(indptr, _stored(indices, data), WRITE_PIECE_VALUES):
        columns = np.arange(first, first + len(ends) - 1)
        done, total = 0, int(ends[-1] - ends[0])
        while done < total:  # more than once only for a single long column
            count = min(WRITE_PIECE_VALUES, total - done)
            if len(columns) == 1:
                column = np.full(count, columns[0])
            else:
                column = np.repeat(columns, np.diff(ends))
            yield Entries(indices.read(count), column, data.read(count))
            done += count


def runs(
    indptr: Stream, stored: int, piece: int
) -> Iterator[tuple[int, Integers]]:
    """Runs of rows (of a CSC matrix: columns) with at most `piece` values, or one.

    Args:
        indptr: Integers, shape (rows + 1,), checked on the way.
        stored: How many values there are.
        piece: Values in a run.

    Yields:
        The first row, and `indptr` of the run as int64.

    Warns:
        UserWarning: There are more values than rows have.
    """
    total = indptr.shape[0] - 1 if len(indptr.shape) == 1 else -1
    begin = indptr.read(1) if total >= 0 else np.ones(1, np.int64)
    last = begin.astype(np.int64)
    if last[0] != 0 or begin.dtype.kind not in "iu":
        raise ValueError(
            "`indptr` must be one-dimensional, of integers, and start at 0"
        )
    done = 0
    while done < total:
        ends = np.concatenate(
            [last, indptr.read(min(ROWS, total - done)).astype(np.int64)]
        )
        if (ends[1:] < ends[:-1]).any() or ends[-1] > stored:
            raise ValueError(
                f"`indptr` must not decrease, nor point past the {stored} stored "
                f"values; it does after row {done}"
            )
        start = 0
        while start < len(ends) - 1:
            limit = ends[start] + piece
            stop = int(np.searchsorted(ends, limit, side="right")) - 1
            stop = max(stop, start + 1)
            yield done + start, ends[start : stop + 1]
            start = stop
        done += len(ends) - 1
        last = ends[-1:]
    if last[0] < stored:
        warnings.warn(
            f"`indptr` ends at {last[0]}, and {stored} values are stored: those behind "
            f"it are of no row, and left out. Where rows at the end should not be "
            f"empty, it was written by a program that cannot count beyond 2**31; where "
            f"nothing is lacking, call prune() on the matrix, and write it again.",
            stacklevel=2,
        )


def _stored(indices: Stream, data: Stream) -> int:
    if len(indices.shape) != 1 or indices.shape != data.shape:
        raise ValueError(
            f"`indices` and `data` must have one dimension, and one length; they have "
            f"shapes {indices.shape} and {data.shape}"
        )
    return indices.shape[0]

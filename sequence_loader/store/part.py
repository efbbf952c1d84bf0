"""One store directory: its rows, read in one of two ways.

`gather` takes rows out of the maps, which is fastest for pages in memory. `bounds`
and `fetch` copy them into arrays of the caller's, many short runs in one call of the
kernel's and long ones with ``preadv``, which does not collapse when pages are evicted
before they are used. Both give the same values.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.memory.map_copy import copy_parts, expect_parts
from sequence_loader.memory.page_cache import at_random, will_need_parts
from sequence_loader.rows.csr import CsrRows, ends_of
from sequence_loader.rows.gather import read_rows
from sequence_loader.store.files import MATRIX, StoreFiles
from sequence_loader.store.format import StoreError, array_path


class StorePart(StoreFiles):
    """The rows of a store directory; see `StoreFiles`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.num_rows, self.num_features = self.manifest.shape
        self._pool = BufferPool(spare=2)

    @property
    def kept_as(self) -> np.dtype[Any] | None:
        """Type of the values in the file; `None` where all are 1, and there is none."""
        stored = self.manifest.arrays.get("data")
        return None if stored is None else stored.dtype

    def gather(self, rows: Integers) -> CsrRows:
        """Rows out of the maps.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Canonical rows, in that order, whose values are of `dtype`.

        Raises:
            StoreError: A file has changed since the store was opened.
            DamagedRows: A column index is out of range, or they do not ascend.
        """
        self.check_sizes()
        indptr, indices, data = (self.arrays[name] for name in MATRIX)
        matrix = CsrRows(indptr, indices, data, self.num_features)
        name = str(self.path)
        return read_rows(
            matrix, rows, self._pool, name, rows, self.dtype, must_ascend=True
        )

    def bounds(self, rows: Integers) -> tuple[Integers, Integers]:
        """Where rows start and stop among the stored values, checked.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Two int64 arrays of shape (n,).

        Raises:
            StoreError: ``indptr.npy`` is damaged.
        """
        self.check_sizes(("indptr",))
        indptr, nnz = self.arrays["indptr"], self.manifest.nnz
        starts, stops = indptr[rows], indptr[rows + 1]
        wrong = (starts < 0) | (stops < starts) | (stops > nnz)
        if wrong.any():
            raise StoreError(
                f"{array_path(self.path, 'indptr')} is damaged: it must not decrease "
                f"and must stay in [0, {nnz}], which it does not at row "
                f"{rows[wrong][0]}. Restore the file, or write the store again."
            )
        return starts, stops

    def fetch(
        self,
        starts: Integers,
        stops: Integers,
        places: Integers,
        indices: Array,
        data: Array | None,
    ) -> None:
        """Reads runs of stored values into `indices` and `data`.

        Args:
            starts: int64 array of shape (n,), from `bounds`.
            stops: int64 array of shape (n,), from `bounds`.
            places: int64 array of shape (n,): where each run begins in the output.
            indices: Array of shape (nnz,) to fill, of the store's index dtype.
            data: Array of shape (nnz,) to fill, of a dtype that holds what the
                values are kept as; `None` where all are 1.

        Raises:
            StoreError: A file is shorter than when the store was opened.
        """
        first, last = _runs(starts, stops, 0, places)
        runs = np.stack([starts[first], stops[last] - starts[first], places[first]])
        self._fetch("indices", runs, indices)
        if data is None:
            return
        # NumPy calls None equal to float64.
        if self.kept_as is not None and self.kept_as == data.dtype:
            self._fetch("data", runs, data)
            return
        begins, lengths, into = runs
        ends = ends_of(lengths)
        kept = data.dtype if self.kept_as is None else self.kept_as
        values = np.ones(int(ends[-1]), kept)
        if self.kept_as is not None:
            self._fetch("data", np.stack([begins, lengths, ends[:-1]]), values)
        for place, first, last in zip(into.tolist(), ends.tolist(), ends[1:].tolist()):
            data[place : place + last - first] = values[first:last]

    def _fetch(self, name: str, runs: Integers, out: Array) -> None:
        """Reads runs of one file: where each begins, its length, where it goes."""
        begins, lengths, into = runs * out.dtype.itemsize
        if copy_parts(self.arrays[name], begins, lengths, out, into):
            self.check_sizes((name,))
            return
        handle, offset = self._handles[name], self.offset(name)
        view = out.view(np.uint8).data
        for start, length, place in (runs.T * out.dtype.itemsize).tolist():
            piece = view[place : place + length]
            if os.preadv(handle.number, [piece], offset + start) != length:
                self.read_into(name, piece, offset + start)

    def expect_windows(self) -> None:
        """Has the kernel read what is asked for ahead, and nothing around it."""
        at_random(self.files())
        for name in self._matrix[1:]:
            expect_parts(self.arrays[name])

    def advise(self, starts: Integers, stops: Integers) -> None:
        """Asks for runs of stored values, ascending, to be read soon."""
        for name in self._matrix[1:]:
            self._advise(name, starts, stops)

    def advise_bounds(self, rows: Integers) -> None:
        """Asks for what `bounds` needs of ascending rows to be read soon."""
        self._advise("indptr", rows, rows + 1)  # the next entry is in the same page

    def _advise(self, name: str, starts: Integers, stops: Integers) -> None:
        handle, array = self._handles[name], self.arrays[name]
        size = array.dtype.itemsize
        first, last = _runs(starts, stops, READ_GAP_BYTES // size)
        where = handle.number, self.offset(name), array
        will_need_parts(*where, starts[first] * size, stops[last] * size)

    def close(self) -> None:
        """Closes the files, and gives up the memory of batches."""
        super().close()
        self._pool = BufferPool(spare=2)


READ_GAP_BYTES = 1 << 14
"""Bytes between two runs up to which the kernel is asked for both in one piece. On a
disk of 1.5 GB/s and 50,000 reads a second that costs less than another request. In
uniform order it doubled the speed of short rows; 128 kB cost long ones a third."""


def _runs(
    starts: Integers, stops: Integers, gap: int, places: Integers | None = None
) -> tuple[Integers, Integers]:
    """Joins ascending runs where one begins within `gap` of where another ended.

    Args:
        starts: int64 array of shape (n,).
        stops: int64 array of shape (n,).
        gap: Values that may be between two that are joined.
        places: int64 array of shape (n,), which must go on as well, or `None`.

    Returns:
        Two int64 arrays: the numbers of the first and last run in each joined one.
    """
    numbers = np.flatnonzero(stops > starts)
    if len(numbers) == 0:
        return numbers, numbers
    between = starts[numbers[1:]] - stops[numbers[:-1]]
    apart = (between < 0) | (between > gap)
    if places is not None:
        apart |= np.diff(places[numbers]) != (stops - starts)[numbers[:-1]]
    cuts = np.flatnonzero(apart)
    return (
        numbers[np.concatenate([[0], cuts + 1])],
        numbers[np.concatenate([cuts, [len(numbers) - 1]])],
    )

"""Where rows lie in their files, in four bytes a row."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

from sequence_loader.arrays import Array, Integers


class RowIndex(NamedTuple):
    """Places of records, of which all but the skipped ones are rows.

    A place is counted as if the files stood one behind the other. Only its lower 32
    bits are kept for each record: places ascend, so that a short table of the
    records at which the upper bits change gives the rest.

    Attributes:
        low: uint32, shape (records,), lower bits of the places.
        turns: int64, the first record whose upper bits are 1, 2, ... or more.
        skipped: int64, ascending: records that are no rows.
        ends: int64, shape (files,): the place behind each file.
    """

    low: Array
    turns: Integers
    skipped: Integers
    ends: Integers

    @classmethod
    def empty(cls) -> RowIndex:
        """Of no rows."""
        none = np.zeros(0, np.int64)
        return cls(np.zeros(0, np.uint32), none, none, none)

    @property
    def num_rows(self) -> int:
        """How many records are rows."""
        return len(self.low) - len(self.skipped)

    def spans(self, rows: Integers) -> tuple[Integers, Integers, Integers]:
        """Where rows lie.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            The number of the file of each, its place, and the place behind it: where
            the next record begins, or the file ends. int64 arrays of shape (n,).
        """
        # Rows before the k-th skipped record: all records before it but k.
        rows_before = self.skipped - np.arange(len(self.skipped))
        records = rows + np.searchsorted(rows_before, rows, side="right")
        starts = self._places(records)
        files = np.searchsorted(self.ends, starts, side="right")
        following = np.minimum(records + 1, len(self.low) - 1)
        nexts = self._places(following)
        last = following == records
        stops = np.where(last, self.ends[files], np.minimum(nexts, self.ends[files]))
        return files, starts, stops

    def _places(self, records: Integers) -> Integers:
        high = np.searchsorted(self.turns, records, side="right")
        places: Integers = self.low[records].astype(np.int64) + (high << 32)
        return places


class RowIndexBuilder:
    """Collects places and labels, record after record, without a copy of them."""

    def __init__(self) -> None:
        self._low, self._codes = array("I"), array("i")
        self._turns, self._skipped = array("q"), array("q")
        self._ends: list[int] = []

    @property
    def num_records(self) -> int:
        """How many there are so far."""
        return len(self._low)

    @property
    def base(self) -> int:
        """The place at which the next file begins."""
        return self._ends[-1] if self._ends else 0

    def append(self, starts: Integers) -> None:
        """Records of the file under way.

        Args:
            starts: int64, shape (n,), ascending places within the file.
        """
        places = starts + self.base
        high = places >> 32
        while len(high) and len(self._turns) < high[-1]:
            at = int(np.searchsorted(high, len(self._turns) + 1))
            self._turns.append(self.num_records + at)
        self._low.frombytes((places & 0xFFFFFFFF).astype(np.uint32).tobytes())

    def label(self, codes: Array) -> None:
        """Labels, as integers, of the rows among the records last appended."""
        self._codes.frombytes(codes.astype(np.int32).tobytes())

    def skip(self, record: int) -> None:
        """Says that a record is no row."""
        self._skipped.append(record)

    def end_file(self, size: int) -> None:
        """The file under way ends after so many bytes."""
        self._ends.append(self.base + size)

    def done(self) -> tuple[RowIndex, Array]:
        """The index, and the labels: int32, shape (rows,) or (0,)."""
        index = RowIndex(
            np.asarray(self._low),
            np.asarray(self._turns),
            np.asarray(self._skipped),
            np.array(self._ends, np.int64),
        )
        return index, np.asarray(self._codes)

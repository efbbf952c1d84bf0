"""Labels of svmlight: one number a row, the place of a class, or any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.importers.labels import Named, class_places, names_of, placed
from sequence_loader.importers.labels import number_name
from sequence_loader.importers.source import SourceError
from sequence_loader.importers.svmlight_lines import Piece
from sequence_loader.rows.csr import CsrRows

DENSE_BYTES = 1 << 26
"""Dense labels that are written in any case; more may not outweigh the rows."""


@dataclass(frozen=True, eq=False)
class LabelColumns:
    """The labels that rows may have: one column for each name.

    Attributes:
        found: float64 array of shape (k,): the labels that occur, ascending.
        places: int32 array of shape (k,): the column of each.
        names: The names of all columns.
    """

    found: Array
    places: Integers
    names: tuple[str, ...]

    @classmethod
    def of(cls, found: Array, names: Sequence[str] | None) -> LabelColumns:
        """The columns of labels that occur, or of given names.

        Raises:
            ValueError: A label is not among the names.
        """
        own = tuple(map(number_name, found.tolist()))
        names = own if names is None else tuple(names)
        return cls(found, class_places(own, names, numbers=True), names)

    def rows(self, piece: Piece) -> CsrRows:
        """The labels of some rows: uint8, 1 where a row has one."""
        width = max(len(self.names), 1)
        column = self.places[np.searchsorted(self.found, piece.labels)]
        row = np.repeat(np.arange(len(piece.counts)), piece.counts)
        flat = np.unique(row * width + column)  # the same label twice is one
        indptr = np.searchsorted(flat, np.arange(len(piece.counts) + 1) * width)
        data = np.ones(len(flat), np.uint8)
        return CsrRows(indptr, flat % width, data, width)

    def check_size(self, num_rows: int, row_bytes: int) -> None:
        """Refuses labels that are much larger when dense than the rows are."""
        size = num_rows * len(self.names)
        if size > max(DENSE_BYTES, row_bytes):
            raise SourceError(
                f"{num_rows:,} rows with {len(self.names):,} labels are "
                f"{size / 1e6:,.0f} MB of dense labels, beside {row_bytes / 1e6:,.1f} "
                f"MB of rows. Pass {argument('label_store', 'labels.store')}, which "
                f"keeps them sparse in a store of their own."
            )


@dataclass(frozen=True, eq=False)
class SingleLabels:
    """One label a row: a number, or the place of a class.

    Attributes:
        integral: Whether the numbers are integers.
        found: float64 array of shape (k,): the labels that occur, ascending.
        names: The classes, or `None`.
    """

    integral: bool
    found: Array
    names: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, integral: bool, found: Array, classes: bool, names: tuple[str, ...] | None
    ) -> SingleLabels:
        """Numbers; or, with `classes`, what they are looked up in."""
        if not classes:
            return cls(integral, found)
        labels = cls._named(found, found)
        names = names_of([labels]) if names is None else names
        placed(labels, names)  # raises where one has no place
        return cls(integral, found, names)

    def numbers(self, labels: Array) -> Array:
        """The labels of some rows, masked where one is missing."""
        if self.names is not None:
            return placed(self._named(self.found, labels), self.names)
        return labels.astype(np.int64) if self.integral else labels

    @staticmethod
    def _named(found: Array, labels: Array) -> Named:
        names = tuple(map(number_name, found.tolist()))
        return Named(names, np.searchsorted(found, labels), numbers=True)

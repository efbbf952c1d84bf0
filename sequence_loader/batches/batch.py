"""Batch: what is read at a time, and what becomes of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from sequence_loader.arrays import Array
from sequence_loader.batches.structures import Structure, leaves, map_structure
from sequence_loader.rows.csr import CsrRows


class Batch(NamedTuple):
    """One batch, or several neighbours.

    Attributes:
        features: Structure of canonical `CsrRows` and arrays of shape (batch, ...).
        targets: Structure of arrays of shape (batch, ...), or `None`.
        weights: Structure of floating arrays of shape (batch,), or `None`.
    """

    features: Structure
    targets: Structure | None
    weights: Structure | None

    def packed(self) -> tuple[Any, ...]:
        """``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, as Keras wants it."""
        return tuple(part for part in self if part is not None)

    def leaves(self) -> list[CsrRows | Array]:
        """Features, targets and weights, each leaf after the other."""
        return [leaf for part in self.packed() for leaf in leaves(part)]

    def cut(self, start: int, stop: int, *, copy: bool) -> Batch:
        """Rows ``start .. stop - 1``; targets and weights are copied.

        Args:
            start: The first row.
            stop: One past the last.
            copy: Whether sparse features are copied, or are views.
        """

        def part(leaf: CsrRows | Array) -> CsrRows | Array:
            if isinstance(leaf, CsrRows):
                return leaf.cut(start, stop, copy=copy)
            return leaf[start:stop]

        features = map_structure(part, self.features)
        others = (
            None
            if rows is None
            else map_structure(lambda leaf: leaf[start:stop].copy(), rows)
            for rows in self[1:]
        )
        return Batch(features, *others)

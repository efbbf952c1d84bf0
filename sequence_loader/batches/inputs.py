"""InputReader: row ids -> the rows of one input, through its transform.

The part of reading a batch that may happen in another process: it is picklable
if what it holds is, and knows no backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers
from sequence_loader.batches.structures import (
    Structure,
    described,
    map_structure,
    same_shape,
)
from sequence_loader.checks import check_real, check_unmasked, shown
from sequence_loader.rows.as_csr import from_scipy
from sequence_loader.rows.csr import CsrRows, canonical
from sequence_loader.rows.indexes import check_transformed
from sequence_loader.rows.sources import Block, CsrSource, RowSource, traits_of
from sequence_loader.rows.mends import as_lists
from sequence_loader.rows.objects import WHOLE, from_objects
from sequence_loader.rows.odd_columns import odd_column
from sequence_loader.rows.tables import check_names, numbers_alike

Transform = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class InputReader:
    """Reads one input. Safe to share by threads if its transform is.

    Attributes:
        name: What the user calls it: ``x``, ``x['tokens']``.
        source: Where rows come from; `None` where they are handed over.
        transform: What turns a block of them into numbers, or `None`.
        container: What sparse rows are handed to the transform as.
        whole: What integers must fit that become floats beside others in a table.
        columns: Those of the first table that the source or the transform gave, if it
            gives tables.
        shapes: Of a row of the first batch that the transform gave.
    """

    name: str
    source: RowSource | None
    transform: Transform | None
    container: type = sp.csr_array
    whole: np.dtype[Any] = WHOLE
    columns: list[tuple[str, ...]] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def serve(self, rows: Integers, block: Block | None = None) -> CsrRows | Array:
        """The rows, transformed and checked.

        Args:
            rows: int64 array of shape (n,), row ids.
            block: Those rows of the source, if they have been taken from it.

        Returns:
            Canonical `CsrRows`, or array of shape (n, ...), that nobody else has.
        """
        if block is None:
            block = self.take(rows)
        if self.transform is None:
            block = numbers_alike(block, self.columns, self.name, self.whole)
            return cast("CsrRows | Array", block)
        if isinstance(block, CsrRows):
            block = block.widened().to_scipy(self.container)
        result = self.transform(block)
        check_transformed(self.name, block, result)
        called = f"transform({self.name})"
        result = numbers_alike(result, self.columns, called, self.whole)
        return _checked_result(result, len(rows), self.name, self.whole)

    def check_columns(self, others: list[tuple[str, ...]]) -> None:
        """Compares with what the same reader has seen in another process."""
        for columns in others:
            check_names(columns, self.columns, f"transform({self.name})")

    def check_width(self, served: CsrRows | Array) -> None:
        """Raises ValueError if the transform gave other features than before."""
        if self.transform is None:
            return
        if isinstance(served, CsrRows):
            width: tuple[int, ...] = (served.num_features,)
        else:
            width = served.shape[1:]
        if not self.shapes:
            self.shapes.append(width)
        if width != self.shapes[0]:
            raise ValueError(
                f"`transform` of `{self.name}` must give every batch the same "
                f"features; it gave shape {width} after {self.shapes[0]}. Pass the "
                f"`.transform` of an object that was fitted before, not "
                f"`.fit_transform`."
            )

    @property
    def bytes_read(self) -> int:
        """Bytes read from its source in this process, as far as that counts them."""
        counts = self.source and traits_of(self.source).read_counts
        return counts().bytes_read if counts else 0

    def take(self, rows: Integers) -> Block:
        """The rows as they are, before the transform."""
        return cast("RowSource", self.source).read(rows)


def checked_transforms(transform: Structure | None, x: Structure) -> Structure:
    """One transform, or `None`, for each input."""
    if transform is None:
        return map_structure(lambda _: None, x)
    if isinstance(x, tuple) and isinstance(transform, list):
        transform = tuple(transform)
    if not same_shape(x, transform):
        several = " (several inputs are a dict or a tuple)" * isinstance(x, list)
        raise ValueError(
            f"`transform` must have the structure of `x`, {described(x)}{several}; "
            f"received {described(transform)}. Pass one callable (or None) for each "
            f"input."
        )
    return transform


def make_reader(
    source: RowSource,
    name: str,
    transform: Transform | None,
    whole: np.dtype[Any] = WHOLE,
) -> InputReader:
    """Wraps a source and its transform, once both are found to fit.

    Args:
        source: Where rows come from.
        name: What the user calls it.
        transform: What they are handed to, or `None`.
        whole: See `InputReader`.

    Raises:
        TypeError: The transform is not callable, or missing where it is needed.
    """
    _check_transform(transform, source, name)
    container = source.container if isinstance(source, CsrSource) else sp.csr_array
    return InputReader(name, source, transform, container, whole)


def _check_transform(transform: Any, source: RowSource, name: str) -> None:
    if transform is None and not source.numeric:
        items = getattr(source, "items", source)
        odd = odd_column(items, name)
        if odd is not None and (odd.label is not None or odd.kind != "texts"):
            raise TypeError(
                f"`{name}` holds items that are not numbers, and has no `transform` "
                f"that turns them into numbers; received a {type(items).__name__} "
                f"{f'with {odd.what}' if odd.label is not None else f'of {odd.kind}'}. "
                f"Pass {odd.input_mend}."
            )
        dtype = f" of dtype {items.dtype}" if hasattr(items, "dtype") else ""
        vectorizer = "transform=HashingVectorizer().transform"
        if isinstance(items, np.ndarray) and sp.issparse(items.flat[0]):
            vectorizer = "transform=scipy.sparse.vstack"
        if hasattr(items, "obs"):  # an AnnData
            vectorizer = f"its matrix, {name}.X"
        raise TypeError(
            f"`{name}` holds items that are not numbers, such as texts, and needs a "
            f"`transform` that turns them into numbers; received transform=None with "
            f"{type(items).__name__}{dtype}. Pass for example {vectorizer}, or lists "
            f"of numbers as an array: np.array({as_lists(items, name)})."
        )
    if transform is not None and not callable(transform):
        raise TypeError(
            f"`transform` must be callable; received {shown(transform)} of type "
            f"{type(transform).__name__}. Pass its method, for example "
            f"transform=vectorizer.transform."
        )


def _checked_result(
    result: Any, num_rows: int, name: str, whole: np.dtype[Any]
) -> CsrRows | Array:
    """What a transform gave, as rows that nothing else refers to."""
    if not sp.issparse(result) and not isinstance(result, np.ndarray):
        odd = odd_column(result, "rows")
        found = f"{shown(result)} of type {type(result).__name__}"
        mend = "the rows as one of those, or as a table of numbers"
        if odd is not None and odd.label is not None:
            found = f"a {type(result).__name__} with {odd.what}"
            mend = f"columns of numbers alone: {odd.without(*odd.others)}"
        raise TypeError(
            f"`transform` of `{name}` must return a scipy sparse matrix or an array; "
            f"it returned {found}. Return {mend}."
        )
    check_unmasked(f"transform({name})", result)
    if not sp.issparse(result):
        result = from_objects(result, f"transform({name})", whole=whole)
    check_real(f"transform({name})", result.dtype)
    if result.ndim == 0 or result.shape[0] != num_rows or 0 in result.shape:
        raise ValueError(
            f"`transform` of `{name}` must return one row, of at least one feature, "
            f"for each of the {num_rows} rows it is given; it returned shape "
            f"{result.shape}. Transform rows one by one; filter them with `rows=`."
        )
    if not sp.issparse(result):
        return np.array(result)  # a copy: it may be the transform's own
    batch = from_scipy(result, f"transform({name})")
    batch = CsrRows(
        batch.indptr.astype(np.int64),
        batch.indices.copy(),
        batch.data.copy(),
        batch.num_features,
    )
    return canonical(batch, f"transform({name})")

"""svmlight / libsvm text as a source of rows, parsed by scikit-learn in pieces.

How many features there are, whether columns count from 0 or from 1, and what the
labels are is known when all files have been read. So they are parsed once, into a
temporary file without a name, and the rows are taken from there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Integers
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.importers.model import Model
from sequence_loader.importers.source import (
    PACKED,
    Advance,
    Block,
    Source,
    SourceError,
    reading,
    required,
)
from sequence_loader.importers.svmlight_labels import LabelColumns, SingleLabels
from sequence_loader.importers.svmlight_spill import KIND, Spill
from sequence_loader.importers.text_numbers import summed
from sequence_loader.progress import progress_bar
from sequence_loader.rows.csr import CsrRows

DTYPE = np.dtype(np.float32)
"""Of the store, unless another is asked for: text has no type."""
DENSE_PIECE_BYTES = 1 << 24
"""Bytes of dense labels that are made at a time."""


def read_svmlight(
    paths: Sequence[Path],
    scratch: Path,
    *,
    num_features: int | None = None,
    zero_based: bool | str | None = None,
    multilabel: bool | None = None,
    label_store: str | os.PathLike[str] | None = None,
    query_ids: str | os.PathLike[str] | None = None,
    class_names: tuple[str, ...] | None = None,
    classes: bool = False,
    like: Model | None = None,
    dtype: np.dtype[Any] | None = None,
    progress: bool = True,
) -> list[Source]:
    """Parses svmlight / libsvm files, plain or as ``.gz``, ``.bz2``, ``.xz``.

    Args:
        paths: The files; together they are one data set.
        scratch: Directory for the temporary file, of 12 bytes a value.
        num_features: Number of columns; by default, up to the last one in use.
        zero_based: Whether columns count from 0. `None` or ``"auto"``: they count
            from 1 if no file uses column 0; refused where `num_features` says that
            the columns are those of other files, too, and both would fit.
        multilabel: Whether a row has any number of labels; `y` is then uint8 of
            shape (rows, labels), 1 where the row has the label. By default so in
            files that begin with the numbers of rows, features and labels.
        label_store: Where such labels go instead: blocks have them as sparse rows.
        query_ids: Where the numbers of ``qid:`` go; without it they are dropped, with
            a warning.
        class_names: The names to look labels up in, with `multilabel` or `classes`.
        classes: Whether labels are classes.
        like: The store that the rows must fit to.
        dtype: That of the store, if it was asked for.
        progress: Whether to show a progress bar.

    Raises:
        ImportError: scikit-learn is missing.
        SourceError: A file is damaged.
        ValueError: A column does not fit into `num_features`, or a label has no name.
    """
    required("sklearn", "text", "reading svmlight files")
    one_of("zero_based", zero_based, (True, False, "auto", None))
    if num_features is not None:
        num_features = integer("num_features", num_features, minimum=1)
    multilabel = multilabel if label_store is None else True
    dtype = DTYPE if dtype is None else dtype
    spill = Spill(scratch, multilabel, classes, dtype)
    # How far a decompressor has come in its file, nobody says.
    packed = any(path.suffix.lower() in PACKED for path in paths)
    total = None if packed else sum(path.stat().st_size for path in paths)
    with progress_bar("parse", total, "bytes", shown=progress) as advance:
        for path in paths:
            with reading(path, KIND):
                spill.parse(path, advance)
    name = shown([str(path) for path in paths]) if len(paths) > 1 else str(paths[0])
    spill.check(paths)
    from_zero, features = _columns(spill, name, num_features, zero_based, like)
    if spill.queries and query_ids is None:
        warnings.warn(
            f"the rows of {name} are grouped by qid:, and a store has no place for "
            f"that. Pass {argument('query_ids', 'query_ids.npy')} to keep the numbers "
            f"in a file.",
            stacklevel=2,
        )
    if query_ids is not None and not spill.queries:
        raise SourceError(
            f"{name} has no qid: to be kept. Leave {argument('query_ids')} out."
        )
    labels: LabelColumns | SingleLabels
    if spill.multilabel:
        if spill.sizes is not None and class_names is None:
            class_names = tuple(map(str, range(spill.sizes[1])))
        labels = LabelColumns.of(spill.labels, class_names)
        if label_store is None:
            labels.check_size(spill.num_rows, spill.size)
    else:
        labels = SingleLabels.of(spill.integral, spill.labels, classes, class_names)

    def blocks(advance: Advance) -> Generator[Block]:
        first = 0
        for piece in spill.pieces(advance):
            indices = piece.indices - (0 if from_zero else 1)
            rows = CsrRows(piece.indptr, indices, piece.data, features)
            rows = summed(rows, dtype, name, first)
            first += rows.num_rows
            if isinstance(labels, SingleLabels):
                yield Block(rows, labels.numbers(piece.labels), queries=piece.queries)
            elif label_store is not None:
                yield Block(rows, labels=labels.rows(piece), queries=piece.queries)
            else:
                yield from _dense(rows, labels.rows(piece), piece.queries)

    return [
        Source(
            name,
            features,
            DTYPE,
            blocks,
            spill.size,
            class_names=labels.names,
            metadata={KIND: {"zero_based": from_zero}},
        )
    ]


def _dense(rows: CsrRows, labels: CsrRows, queries: Integers) -> Generator[Block]:
    """Rows with their labels as arrays, few enough at a time."""
    step = max(1, DENSE_PIECE_BYTES // labels.num_features)
    for start in range(0, rows.num_rows, step):
        stop = min(start + step, rows.num_rows)
        dense = np.zeros((stop - start, labels.num_features), np.uint8)
        yield Block(
            rows.cut(start, stop, copy=False),
            labels.cut(start, stop, copy=False).to_dense(dense),
            queries=queries[start:stop],
        )


def _columns(
    spill: Spill,
    name: str,
    num_features: int | None,
    zero_based: bool | str | None,
    like: Model | None,
) -> tuple[bool, int]:
    """Whether columns count from 0, and how many there are."""
    zero_based = None if zero_based == "auto" else zero_based
    wanted, whose = num_features, "num_features"
    known: list[Any] = [] if spill.sizes is None else [("source", spill.sizes[0], True)]
    if like is not None:
        noted = like.metadata.get(KIND)
        base = noted.get("zero_based") if isinstance(noted, dict) else None
        known.insert(0, ("like", like.num_features, base))
    for what, count, base in known:
        if wanted is not None and count not in (None, wanted):
            raise SourceError(
                f"{argument('num_features')} must be {count}, as {argument(what)} "
                f"says; received {wanted}. Leave it out."
            )
        if zero_based is not None and base not in (None, zero_based):
            raise SourceError(
                f"{argument('zero_based')} must be {base}, as {argument(what)} says; "
                f"received {zero_based}. Leave it out."
            )
        if wanted is None:
            wanted, whose = count, what
        zero_based = base if zero_based is None else zero_based
    says = next((what for what, _, base in known if base is not None), None)
    if zero_based is None:
        if wanted is not None and 1 <= spill.low and spill.high < wanted:
            raise SourceError(
                f"{argument('zero_based')} must be given with the number of features "
                f"where columns may count from 0 or from 1; received {name}, which "
                f"uses columns {spill.low} to {spill.high} of {wanted}. Pass "
                f"{argument('zero_based', True)} or {argument('zero_based', False)}, "
                f"as for the files that it belongs to."
            )
        zero_based = spill.low < 1
    shift = 0 if zero_based else 1
    if spill.low < shift and says == "like":
        raise SourceError(
            f"{name} has column {spill.low}, and those of {argument('like')} count "
            f"from 1. Write it so{_other_base(wanted, True)}."
        )
    if spill.low < shift:
        raise SourceError(
            f"{argument('zero_based')} is {zero_based}, but a row has column "
            f"{spill.low}; received {name}. Pass {argument('zero_based', True)}."
        )
    found = spill.high + 1 - shift
    if wanted is not None and wanted < found:
        other_base = not shift and spill.low >= 1 and found - 1 == wanted
        mend = ""
        if other_base and says == "like":
            mend = _other_base(wanted, False)
        elif other_base and says == "source":
            mend = ", or remove its first line, if columns count from 1"
        elif other_base:
            mend = f", or pass {argument('zero_based', False)}"
        if whose == "like":
            raise SourceError(
                f"{name} has columns up to {spill.high}, and {argument(whose)} "
                f"{wanted} features, counted from {shift}. "
                f"{_wider(found, says == 'like', not shift)}{mend}."
            )
        if whose == "source":
            raise SourceError(
                f"{name} has columns up to {spill.high}, and its first line says "
                f"{wanted} features, counted from {shift}. Write {found} there{mend}."
            )
        raise SourceError(
            f"{argument('num_features')} must be at least {found}, for the columns in "
            f"use; received {wanted}. Leave it out{mend}."
        )
    return bool(zero_based), wanted or found


def _wider(num_features: int, is_svmlight: bool, zero_based: bool) -> str:
    """What to do about rows that have more columns than the store in `like`."""
    if not is_svmlight:
        return (
            f"Write that store again with {num_features} features, or this file "
            f"without the larger columns"
        )
    return (
        f"Convert the files of that store again, with "
        f"{argument('num_features', num_features)} and "
        f"{argument('zero_based', zero_based)}, and then these"
    )


def _other_base(num_features: int | None, zero_based: bool) -> str:
    """What to do about rows whose columns count from another number than `like`'s."""
    return (
        f"; or, if it counts from {0 if zero_based else 1}, pass "
        f"{argument('num_features', num_features)} and "
        f"{argument('zero_based', zero_based)} in place of {argument('like')}"
    )

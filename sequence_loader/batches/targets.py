"""Targets and weights: `y` and `sample_weight` -> row sources of numbers -> arrays."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from numbers import Number
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers
from sequence_loader.batches.structures import (
    Structure,
    described,
    from_list_of_targets,
    leaves,
    map_structure,
    names,
    same_shape,
)
from sequence_loader.checks import is_floating, shown
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.mends import (
    KNOWN,
    check_one_label,
    known_rows,
    label_mend,
    odd_of,
    rows_differ,
)
from sequence_loader.rows.objects import array_of, from_objects
from sequence_loader.rows.sources import Block, DenseSource, RowSource, as_row_source
from sequence_loader.rows.values import SCALE_DOWN, DoesNotFit, cast, is_long
from sequence_loader.rows.tables import entries_of, is_table, numbers_alike, numbers_of


@dataclass
class Seen:
    """What has been seen of targets and weights.

    Attributes:
        told: Names of which a warning has been given.
        columns: For each name, those of the first table, if its source gives tables.
    """

    told: set[str] = field(default_factory=set)
    columns: dict[str, list[tuple[str, ...]]] = field(
        default_factory=lambda: defaultdict(list)
    )


def target_sources(y: Any, num_rows: int) -> Structure | None:
    """Structure of row sources for `y`; `None` where it is.

    Args:
        y: What the user passed.
        num_rows: How many rows `x` has.

    Raises:
        TypeError: It does not hold numbers.
        ValueError: It is empty, or has rows of different shapes.
    """
    return None if y is None else _sources("y", from_list_of_targets("y", y, num_rows))


def weight_sources(
    sample_weight: Any, targets: Structure | None, num_rows: int
) -> Structure | None:
    """Structure of row sources for `sample_weight`: one, or one for each target.

    Args:
        sample_weight: What the user passed, or `None`.
        targets: What `target_sources` made of `y`, or `None`.
        num_rows: How many rows `x` has.

    Raises:
        TypeError: See `target_sources`.
        ValueError: See `target_sources`; or it does not fit the targets.
    """
    if sample_weight is None:
        return None
    if targets is None:
        raise ValueError(
            "`sample_weight` needs `y`: Keras weights the loss of targets; "
            "received sample_weight without y. Pass y as well."
        )
    sample_weight = from_list_of_targets("sample_weight", sample_weight, num_rows)
    nested = isinstance(sample_weight, dict | tuple)
    if nested and sample_weight and all(map(_is_number, leaves(sample_weight))):
        raise ValueError(
            f"`sample_weight` must hold a weight for each row; received "
            f"{shown(sample_weight)}, one number for each of "
            f"{len(sample_weight)}. Pass an array; weights of classes are the "
            f"class_weight of fit, or "
            f"sample_weight=np.vectorize(weights.get, otypes=[float])(y)."
        )
    if nested and not same_shape(targets, sample_weight):
        raise ValueError(
            f"`sample_weight` must be one array, or have the structure of `y`, "
            f"{described(targets)}; received {described(sample_weight)}. "
            f"Pass one weight array for each target."
        )
    if nested:  # as Keras takes them, where there are some
        ones = np.broadcast_to(np.float32(1), (num_rows,))
        sample_weight = map_structure(
            lambda weights: ones if weights is None else weights, sample_weight
        )
    return _sources("sample_weight", sample_weight)


def read_numbers(
    source: RowSource, name: str, rows: Integers, seen: Seen
) -> Array:
    """Rows of targets or weights as an array, once it is seen that they have numbers.

    Args:
        source: Where they come from.
        name: What the user calls them.
        rows: int64 array of shape (n,), row ids.
        seen: What has been seen of other rows.

    Raises:
        ValueError: A row has no number.

    Warns:
        UserWarning: Of several numbers a row has, some are missing: a loss may mask
            those.
    """
    block = numbers_alike(source.read(rows), seen.columns[name], name)
    values = block.data if isinstance(block, CsrRows) else np.asarray(block)
    array = _as_served(numbers(block), name, rows)
    # The largest of some is NaN if one of them is; no array of answers is made.
    if is_floating(values.dtype) and values.size:
        with np.errstate(invalid="ignore"):  # bfloat16 warns of NaN
            largest = values.max()
        if largest != largest:
            known = getattr(source, "known", KNOWN).format(name=name)
            _tell_of_missing(np.isnan(array), name, rows, seen.told, known)
    return array


def check_numbers(
    sources: Structure | None, argument: str, rows: Integers | None
) -> None:
    """Raises ValueError where a row in memory has no number, before it is asked for.

    Args:
        sources: What `target_sources` or `weight_sources` made.
        argument: What they are called.
        rows: Those that are served, or `None` for all.
    """
    for source, name in zip(leaves(sources), leaves(names(argument, sources))):
        if not isinstance(source, DenseSource) or source.traits.threads_help:
            continue  # a pass over it would read a file
        if source.array.ndim == 1 and is_floating(source.array.dtype):
            count = source.num_rows if rows is None else len(rows)
            for start in range(0, count, _CHECKED_ROWS):
                some = np.arange(start, min(start + _CHECKED_ROWS, count))
                some = some if rows is None else rows[some]
                read_numbers(source, name, some, Seen())


_CHECKED_ROWS = 1 << 16


def _tell_of_missing(
    missing: Array, name: str, rows: Integers, told: set[str], known: str
) -> None:
    each = missing.reshape(len(missing), -1)
    row, column = map(int, np.argwhere(each)[0])
    if each.shape[1] == 1:
        raise ValueError(
            f"`{name}` must have a number for each row, or the loss is NaN; row "
            f"{rows[row]} has none. Leave those rows out, with "
            f"rows=np.flatnonzero({known})."
        )
    if name not in told:
        told.add(name)
        warnings.warn(
            f"`{name}` holds NaN, in row {rows[row]}, column {column}, say: the loss "
            f"is NaN, unless it is one that masks those.",
            stacklevel=2,
        )


def numbers(block: Block) -> Array:
    """Rows of targets as an array, in the byte order of the machine."""
    if isinstance(block, CsrRows):
        shape = (block.num_rows, block.num_features)
        block = block.to_dense(np.zeros(shape, block.data.dtype))
    block = np.asarray(block)
    # No backend takes the other byte order.
    return block.astype(block.dtype.newbyteorder("="), copy=False)


def _as_served(array: Array, name: str, rows: Integers) -> Array:
    """Longdoubles, which Keras does not take, as float64; others as they are."""
    if not is_long(array.dtype):
        return array
    try:
        return cast(array, np.dtype(np.float64))
    except DoesNotFit as error:
        raise error.named(name, array, f"{SCALE_DOWN}.").of_rows(rows) from None


def _sources(argument: str, value: Any) -> Structure:
    """Wraps targets or weights, which must be numbers already."""

    def wrap(given: Any, name: str) -> RowSource:
        leaf = given
        if is_table(leaf):
            matrix = numbers_of(leaf, name)
            leaf = leaf if matrix is None else matrix
        own = isinstance(leaf, RowSource) and leaf.numeric  # a store, for example
        if not sp.issparse(leaf) and (not own or isinstance(leaf, np.ndarray)):
            leaf = from_objects(as_array(leaf, name), name)
            if leaf.dtype.kind in "OUST":
                mend = "Pass one number for each row"
                if argument == "y":
                    mend = label_mend(given, leaf, name)
                first = leaf[:3].tolist() if leaf.ndim else leaf.item()
                raise TypeError(
                    f"`{name}` must hold numbers; received "
                    f"{odd_of(given, name) or f'dtype {leaf.dtype}: {shown(first)}'}. "
                    f"{mend}."
                )
            if leaf.ndim == 0:
                # Third in line is where other loaders take the batch size.
                hint = "; batch_size goes by name" * (name == "sample_weight")
                raise ValueError(
                    f"`{name}` must have one entry for each row of `x`; received "
                    f"the scalar {shown(leaf.item())}. Pass an array{hint}."
                )
        source = as_row_source(leaf, name)
        if isinstance(source, DenseSource) and source.array.dtype == np.float64:
            if np.isnan(source.array).any():
                source.known = known_rows(given)
        return source

    if not leaves(value):
        raise ValueError(
            f"`{argument}` must hold at least one array; received {shown(value)}. "
            f"Pass None to leave it out."
        )
    return map_structure(wrap, value, names(argument, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) or np.ndim(value) == 0 and isinstance(
        value, np.ndarray | np.generic
    )


def as_array(value: Any, name: str) -> Array:
    """An array of what may be a list; raises ValueError where its rows differ."""
    if isinstance(value, np.ndarray):
        return value
    if is_table(value):
        value = entries_of(value, name)
    try:
        array = array_of(value, name)
    except ValueError:
        raise rows_differ(value, name) from None
    check_one_label(value, array, name)
    return array

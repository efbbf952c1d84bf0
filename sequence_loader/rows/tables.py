"""Tables of named columns (pandas, polars, pyarrow): rows, and numbers.

None of these is imported: a table is known by what it offers. A column by itself, a
Series say, is a table of one axis.
"""

from __future__ import annotations

from itertools import takewhile
from operator import eq
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import shown
from sequence_loader.rows.columns import (
    as_arrow,
    is_sparse,
    labels_of_column,
    numbers_of_column,
    objects_of,
    package,
    stored_of,
)
from sequence_loader.rows.csr import ends_of
from sequence_loader.rows.objects import whole_for
from sequence_loader.rows.values import DoesNotFit, cast, check_fits


def is_table(value: Any) -> bool:
    """Whether rows are taken from it by position, and columns have types."""
    return hasattr(value, "iloc") or (
        package(value) in ("polars", "pyarrow") and hasattr(value, "slice")
    )


def check_collected(value: Any, name: str) -> None:
    """Raises TypeError of a table whose rows are still to be computed."""
    if type(value).__name__ == "LazyFrame":
        raise TypeError(
            f"`{name}` must be a table in memory; received a LazyFrame of polars. "
            f"Pass {name}.collect()."
        )


def take(table: Any, rows: Integers) -> Any:
    """Some rows, as a table of the same kind; of a column of pyarrow, as a list.

    Its scalars are not the texts that a tokenizer takes.
    """
    if hasattr(table, "iloc"):
        return table.iloc[rows]
    if package(table) != "pyarrow":
        return table[rows]
    taken = table.take(rows)
    return taken if hasattr(taken, "column_names") else taken.to_pylist()


def numbers_of(table: Any, name: str, whole: np.dtype[Any] | None = None) -> Any:
    """A table as a matrix.

    Args:
        table: What `is_table` knows.
        name: The argument it came in, for error messages.
        whole: What integers must fit that become floats; by default `whole_for` it.

    Returns:
        Array of shape (rows, columns), or (rows,) of a table of one axis; or a
        ``csr_array``, where columns of a pandas DataFrame are sparse. `None` if it
        holds something else than numbers. Missing values are NaN.

    Raises:
        DoesNotFit: An integer would be rounded beside columns of floats.
        TypeError: A column has several values a row.
        ValueError: What sparse columns leave out is not 0.
    """
    check_collected(table, name)
    whole = whole_for(name) if whole is None else whole
    table = _unnested(table)
    if _is_plain(table):
        return np.asarray(table)  # it may lie in memory like that
    columns = columns_of(table)
    if columns is None:
        array = numbers_of_column(table, None, name, whole)
        return array if array.dtype.kind in "biuf" else None
    if any(is_sparse(column) for _, column in columns):
        return _as_csr(columns, len(table), name, whole)
    arrays = []
    for label, column in columns:  # the first text says enough
        _check_one_a_row(column, label, name)
        arrays.append(numbers_of_column(column, label, name, whole))
        if arrays[-1].dtype.kind not in "biuf":
            return None
    common = np.result_type(*(array.dtype for array in arrays))
    matrix = np.empty((len(table), len(columns)), common)
    for i, array in enumerate(arrays):
        matrix[:, i] = _beside(array, common, columns[i][0], name, whole)
    return matrix


def text_names(table: Any) -> tuple[str, ...] | None:
    """How its columns are called; `None` if some are no texts, but numbers, say."""
    labels = [label for label, _ in columns_of(table) or ()]
    texts = all(isinstance(label, str) for label in labels)
    return tuple(map(str, labels)) if labels and texts else None


def entries_of(table: Any, name: str) -> Any:
    """A table of labels, be they numbers or text, as an array.

    Args:
        table: What `is_table` knows.
        name: The argument it came in, for error messages.

    Returns:
        Array of numbers (see `numbers_of`), or of objects, as they are where some are
        missing; a column of pandas as it is, with its categories, unless its type is
        pyarrow's.
    """
    check_collected(table, name)
    columns = columns_of(table)
    if columns is not None:
        matrix = numbers_of(table, name)
        if matrix is not None:
            return matrix
        return np.column_stack([_objects_alone(column) for _, column in columns])
    column = as_arrow(table)
    return column if hasattr(column, "iloc") else labels_of_column(column)


def _objects_alone(column: Any) -> Array:
    """The entries of a column, of which lists stay lists, whatever their lengths."""
    found = objects_of(column)
    if found.ndim == 1:
        return found
    entries: Array = np.empty(len(found), object)
    entries[:] = list(map(list, found))
    return entries


def _unnested(table: Any) -> Any:
    """A column of polars that has fields as a table of them: NumPy would round some."""
    if package(table) == "polars" and str(getattr(table, "dtype", "")).startswith(
        "Struct"
    ):
        return table.struct.unnest()
    return table


def _check_one_a_row(column: Any, label: Any, name: str) -> None:
    """Raises TypeError where a column of polars has several values a row, in one."""
    kind = str(getattr(column, "dtype", "")) if package(column) == "polars" else ""
    if not kind.startswith(("Struct", "Array")):
        return
    table = name
    if kind.startswith("Array"):
        table = f"{name}.with_columns({name}[{label!r}].arr.to_struct())"
    raise TypeError(
        f"`{name}` must have columns of one value a row; received column {label!r} of "
        f"{shown(column.dtype)}. Pass {table}.unnest({label!r}), which has a column "
        f"for each value."
    )


def numbers_alike(
    rows: Any,
    seen: list[tuple[str, ...]],
    name: str,
    whole: np.dtype[Any] | None = None,
) -> Any:
    """Rows, of which a table becomes a matrix; raises as `check_columns`.

    Args:
        rows: What a source or a transform of the user's gave.
        seen: The columns of the first, or nothing, to be filled in.
        name: What it is.
        whole: See `numbers_of`.
    """
    if not is_table(rows):
        return rows
    check_columns(rows, seen, name)
    matrix = numbers_of(rows, name, whole)
    return rows if matrix is None else matrix


def check_columns(table: Any, seen: list[tuple[str, ...]], name: str) -> None:
    """Raises ValueError where a table has other columns than the first one had.

    Its numbers are taken by position: columns in another order would trade places.

    Args:
        table: Anything; only tables of several axes are looked at. Numbers and tuples
            are names as texts are.
        seen: The columns of the first, or nothing, to be filled in.
        name: What the table is, for the error message.
    """
    check_collected(table, name)
    columns = columns_of(table) if is_table(table) else None
    names = tuple(str(label) for label, _ in columns or ())
    if names:
        check_names(names, seen, name)


def check_names(names: tuple[str, ...], seen: list[tuple[str, ...]], name: str) -> None:
    """See `check_columns`; `names` are those of a table."""
    if not seen:
        seen.append(names)
    before = seen[0]
    if before != names:
        at = sum(takewhile(bool, map(eq, names, before)))  # the first that differs
        raise ValueError(
            f"`{name}` must have the same columns, in the same order, each time; this "
            f"table has {shown(names[at:])}, after {shown(before[at:])}, from column "
            f"{at} on. Pass or return all of them, in one order."
        )


def _is_plain(table: Any) -> bool:
    """Whether it is a DataFrame of one of NumPy's own types of numbers."""
    dtypes = set(table.dtypes) if hasattr(table, "iloc") and table.ndim == 2 else set()
    first = next(iter(dtypes), None)
    if len(dtypes) != 1 or not isinstance(first, np.dtype):
        return False
    return first.kind in "biuf" and first.isbuiltin != 2


def columns_of(table: Any) -> list[tuple[Any, Any]] | None:
    """Names and columns; `None` of what is a column itself."""
    names = getattr(table, "column_names", getattr(table, "columns", None))
    if names is None or getattr(table, "ndim", 2) == 1:
        return None
    if hasattr(table, "iloc"):
        return list(table.items())
    if package(table) == "pyarrow":
        return list(zip(names, table.columns))
    return list(zip(names, table.get_columns()))


def _beside(
    array: Array,
    common: np.dtype[Any],
    column: Any,
    name: str,
    whole: np.dtype[Any],
) -> Array:
    """A column in the dtype of all; integers must be what they were."""
    try:
        if array.dtype.kind in "iu" and common.kind == "f":
            check_fits(array, whole)
        return cast(array, common)
    except DoesNotFit as error:
        mend = f"that column by itself, as in {{'ids': frame[{column!r}], ...}}"
        if name == "block":  # of a store, which is one matrix
            alone = whole == np.float64
            mend = "it to another store" if alone else argument("dtype", "float64")
        mend = f"Pass {mend}, or that column as float64, if it is an amount."
        rule = f"in column {column!r} beside floats, which {error.dtype} cannot hold"
        raise error.named(name, array, mend, rule) from None


def _as_csr(
    columns: list[tuple[Any, Any]], num_rows: int, name: str, whole: np.dtype[Any]
) -> Any:
    """Columns, some of them sparse, as ``csr_array``; `None` if one has no numbers."""
    stored = [stored_of(label, column, name, whole) for label, column in columns]
    if any(values.dtype.kind not in "biuf" for _, values in stored):
        return None
    common = np.result_type(*(values.dtype for _, values in stored))
    data = [
        _beside(values, common, label, name, whole)
        for (label, _), (_, values) in zip(columns, stored)
    ]
    indices = [rows for rows, _ in stored]
    shape = (num_rows, len(columns))
    ends = ends_of(np.array([len(rows) for rows in indices]))
    parts = np.concatenate(data), np.concatenate(indices), ends
    return sp.csc_array(parts, shape=shape).tocsr()

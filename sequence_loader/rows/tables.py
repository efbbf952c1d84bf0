"""Tables of named columns (pandas, polars, pyarrow): rows, and numbers.

None of these is imported: a table is known by what it offers. A column by itself, a
Series say, is a table of one axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import shown
from sequence_loader.rows.csr import ends_of
from sequence_loader.rows.objects import from_objects, whole_for
from sequence_loader.rows.values import DoesNotFit, cast, check_fits


def is_table(value: Any) -> bool:
    """Whether rows are taken from it by position, and columns have types."""
    return hasattr(value, "iloc") or (
        _package(value) in ("polars", "pyarrow") and hasattr(value, "slice")
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
    if _package(table) != "pyarrow":
        return table[rows]
    taken = table.take(rows)
    return taken if hasattr(taken, "column_names") else taken.to_pylist()


def numbers_of(table: Any, name: str) -> Any:
    """A table as a matrix.

    Args:
        table: What `is_table` knows.
        name: The argument it came in, for error messages.

    Returns:
        Array of shape (rows, columns), or (rows,) of a table of one axis; or a
        ``csr_array``, where columns of a pandas DataFrame are sparse. `None` if it
        holds something else than numbers. Missing values are NaN.

    Raises:
        DoesNotFit: An integer would be rounded beside columns of floats.
        ValueError: What sparse columns leave out is not 0.
    """
    check_collected(table, name)
    if _is_plain(table):
        return np.asarray(table)  # it may lie in memory like that
    columns = _columns(table)
    if columns is None:
        array = _numbers(table, None, name)
        return array if array.dtype.kind in "biuf" else None
    if any(_is_sparse(column) for _, column in columns):
        return _as_csr(columns, len(table), name)
    arrays = []
    for label, column in columns:  # the first text says enough
        arrays.append(_numbers(column, label, name))
        if arrays[-1].dtype.kind not in "biuf":
            return None
    common = np.result_type(*(array.dtype for array in arrays))
    matrix = np.empty((len(table), len(columns)), common)
    for i, array in enumerate(arrays):
        matrix[:, i] = _beside(array, common, columns[i][0], name)
    return matrix


def entries_of(table: Any, name: str) -> Any:
    """A table of labels, be they numbers or text, as an array.

    Args:
        table: What `is_table` knows.
        name: The argument it came in, for error messages.

    Returns:
        Array of numbers (see `numbers_of`), or of objects, as they are where some are
        missing; a column of pandas as it is, with its categories.
    """
    check_collected(table, name)
    columns = _columns(table)
    if columns is not None:
        matrix = numbers_of(table, name)
        if matrix is not None:
            return matrix
        return np.column_stack([_objects(column) for _, column in columns])
    if hasattr(table, "iloc"):
        return table
    lacks = _missing(table) or _is_indirect(table)
    return _objects(table) if lacks else np.asarray(table)


def _objects(column: Any) -> Array:
    to_list = getattr(column, "to_pylist", None) or column.to_list
    return np.array(to_list(), object)


def numbers_alike(rows: Any, seen: list[tuple[str, ...]], name: str) -> Any:
    """Rows, of which a table becomes a matrix; raises as `check_columns`.

    Args:
        rows: What a source or a transform of the user's gave.
        seen: The columns of the first, or nothing, to be filled in.
        name: What it is.
    """
    if not is_table(rows):
        return rows
    check_columns(rows, seen, name)
    matrix = numbers_of(rows, name)
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
    columns = _columns(table) if is_table(table) else None
    names = tuple(str(label) for label, _ in columns or ())
    if names:
        check_names(names, seen, name)


def check_names(names: tuple[str, ...], seen: list[tuple[str, ...]], name: str) -> None:
    """See `check_columns`; `names` are those of a table."""
    if not seen:
        seen.append(names)
    if seen[0] != names:
        raise ValueError(
            f"`{name}` must have the same columns, in the same order, each time; this "
            f"table has {shown(names)}, after {shown(seen[0])}. Pass or return them in "
            f"one order."
        )


def _is_plain(table: Any) -> bool:
    """Whether it is a DataFrame of one of NumPy's own types of numbers."""
    dtypes = set(table.dtypes) if hasattr(table, "iloc") and table.ndim == 2 else set()
    first = next(iter(dtypes), None)
    return len(dtypes) == 1 and isinstance(first, np.dtype) and first.kind in "biuf"


def _package(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _columns(table: Any) -> list[tuple[Any, Any]] | None:
    """Names and columns; `None` of what is a column itself."""
    names = getattr(table, "column_names", getattr(table, "columns", None))
    if names is None or getattr(table, "ndim", 2) == 1:
        return None
    if hasattr(table, "iloc"):
        return list(table.items())
    if _package(table) == "pyarrow":
        return list(zip(names, table.columns))
    return list(zip(names, table.get_columns()))


def _is_sparse(column: Any) -> bool:
    dtype = getattr(column, "dtype", None)
    return hasattr(dtype, "subtype") and hasattr(dtype, "fill_value")


def _numbers(column: Any, label: Any, name: str) -> Array:
    """The values of one column; whatever cannot be numbers is of another kind."""
    if _is_indirect(column):
        return from_objects(_objects(column), name, label)
    filled = _filled(column)
    if filled is not None:  # they become floats, for no integer is missing
        _check_filled(filled, label, name)
    if _package(column) == "pyarrow" and not hasattr(column, "chunks"):
        array = np.asarray(column.to_numpy(zero_copy_only=False))
        return from_objects(array, name, label)
    kind = getattr(column.dtype, "numpy_dtype", None) if _is_pandas(column) else None
    if isinstance(kind, np.dtype) and kind.kind in "biuf":  # it may have a mask
        if column.isna().any():
            return np.asarray(column.to_numpy(dtype="float64", na_value=np.nan))
        return np.asarray(column.to_numpy(dtype=kind))
    return from_objects(np.asarray(column.to_numpy()), name, label)


def _is_indirect(column: Any) -> bool:
    """Whether NumPy would be given other values, or floats that were integers.

    So it is where entries name places of values, as those of pyarrow's dictionaries do
    (a missing one became its neighbour), or are several, and some are missing.
    """
    kind = getattr(column, "type", getattr(column, "dtype", None))
    kind = getattr(kind, "pyarrow_dtype", kind)
    text = str(kind).lower()
    if text.startswith(("dictionary", "run_end_encoded")):
        return True
    if _is_pandas(column):
        return hasattr(kind, "categories") and bool(column.isna().any())
    return text.startswith("array(") and column.explode().null_count() > 0


def _filled(column: Any) -> Array | None:
    """Integers with 0 where one is missing; `None` of others, and if none is."""
    kind = getattr(column, "type", getattr(column, "dtype", None))
    if not str(getattr(kind, "numpy_dtype", kind)).lower().startswith(("int", "uint")):
        return None
    if _is_pandas(column):
        return np.asarray(column.fillna(0)) if column.isna().any() else None
    return np.asarray(column.fill_null(0)) if _missing(column) else None


def _missing(column: Any) -> int:
    """How many entries a column of polars or pyarrow lacks."""
    count = column.null_count  # of polars a method
    return int(count() if callable(count) else count)


def _check_filled(array: Array, label: Any, name: str) -> None:
    """Raises DoesNotFit where an integer would be rounded, since others are missing."""
    try:
        check_fits(array, whole_for(name))
    except DoesNotFit as error:
        where = "" if label is None else f" of column {label!r}"
        raise error.named(
            name,
            array,
            "Pass the column with what is missing filled, and it stays integers; or "
            "as float64, if it is an amount.",
            f"beside missing values{where}, which make floats of integers, and "
            f"{error.dtype} cannot hold it",
        ) from None


def _is_pandas(column: Any) -> bool:
    return hasattr(column, "iloc")


def _beside(array: Array, common: np.dtype[Any], column: Any, name: str) -> Array:
    """A column in the dtype of all; integers must be what they were."""
    try:
        if array.dtype.kind in "iu" and common.kind == "f":
            check_fits(array, whole_for(name))
        return cast(array, common)
    except DoesNotFit as error:
        raise error.named(
            name,
            array,
            f"Pass that column by itself, as in {{'ids': frame[{column!r}], ...}}, or "
            f"if it is an amount, as float64.",
            f"in column {column!r} beside floats, which {error.dtype} cannot hold",
        ) from None


def _as_csr(columns: list[tuple[Any, Any]], num_rows: int, name: str) -> Any:
    """Columns, some of them sparse, as ``csr_array``; `None` if one has no numbers."""
    stored = [_stored(label, column, name) for label, column in columns]
    if any(values.dtype.kind not in "biuf" for _, values in stored):
        return None
    common = np.result_type(*(values.dtype for _, values in stored))
    data = [
        _beside(values, common, label, name)
        for (label, _), (_, values) in zip(columns, stored)
    ]
    indices = [rows for rows, _ in stored]
    shape = (num_rows, len(columns))
    ends = ends_of(np.array([len(rows) for rows in indices]))
    parts = np.concatenate(data), np.concatenate(indices), ends
    return sp.csc_array(parts, shape=shape).tocsr()


def _stored(label: Any, column: Any, name: str) -> tuple[Array, Array]:
    """Rows and values of what is not 0 in a column."""
    if _is_sparse(column):
        array = column.array
        rows = array.sp_index.to_int_index().indices
        if array.fill_value == 0:
            return rows, np.asarray(array.sp_values)
        if len(rows) < len(array):
            raise ValueError(
                f"`{name}` must have sparse columns that leave out zeros; received "
                f"column {label!r}, whose gaps stand for {shown(array.fill_value)}. "
                f"Pass {name}.astype('float64').fillna(0), made sparse again with "
                f".astype(pd.SparseDtype('float64', 0))."
            )
    values = _numbers(column, label, name)
    rows = np.flatnonzero(values)
    return rows, values[rows]

"""Tables of named columns (pandas, polars, pyarrow), and objects: rows, and numbers.

None of these is imported: a table is known by what it offers. A column by itself, a
Series say, is a table of one axis.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import shown
from sequence_loader.rows.csr import ends_of
from sequence_loader.rows.values import DoesNotFit, cast, check_fits

WHOLE = np.dtype(np.float32)
"""What the integers of a column must fit that becomes floats beside others: it is
what models are given."""


def is_table(value: Any) -> bool:
    """Whether rows are taken from it by position, and columns have types."""
    return hasattr(value, "iloc") or (
        _package(value) in ("polars", "pyarrow") and hasattr(value, "slice")
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


def check_columns(table: Any, seen: list[tuple[str, ...]], name: str) -> None:
    """Raises ValueError where a table has other columns than the first one had.

    Its numbers are taken by position: columns in another order would trade places.

    Args:
        table: Anything; only tables of columns with names are looked at.
        seen: The columns of the first, or nothing, to be filled in.
        name: What the table is, for the error message.
    """
    columns = _columns(table) if is_table(table) else None
    names = tuple(label for label, _ in columns or ())
    if not names or not all(isinstance(label, str) for label in names):
        return
    if not seen:
        seen.append(names)
    elif seen[0] != names:
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


def from_objects(array: Array) -> Array:
    """Numbers in an array of objects as an array of numbers.

    Returns:
        Of integers if all are, otherwise of float64, with NaN for what is missing;
        `array` itself if it holds something else, or no number.
    """
    if array.dtype.kind != "O":
        return array
    items = array.ravel().tolist()
    missing = [is_missing(item) for item in items]
    if all(missing) or not all(
        gone or isinstance(item, Real | Decimal | np.bool_)
        for item, gone in zip(items, missing)
    ):
        return array
    if not any(missing) and all(isinstance(i, Integral | np.bool_) for i in items):
        for kind in (np.array(items).dtype, np.int64, np.uint64):
            with suppress(OverflowError):
                if np.dtype(kind).kind in "biu":
                    return np.array(items, kind).reshape(array.shape)
        return array  # no 64 bits hold all of them
    numbers = [float("nan") if gone else float(i) for i, gone in zip(items, missing)]
    rounded = any(
        isinstance(item, Integral) and number != item
        for item, number in zip(items, numbers)
    )
    return array if rounded else np.array(numbers).reshape(array.shape)


def is_missing(item: Any) -> bool:
    """Whether it stands for no value: `None`, or pandas's ``NA`` and ``NaT``."""
    return item is None or type(item).__name__ in ("NAType", "NaTType")


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
    filled = _filled(column)
    if filled is not None:  # they become floats, for no integer is missing
        _check_filled(filled, label, name)
    if _package(column) == "pyarrow" and not hasattr(column, "chunks"):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    kind = getattr(column.dtype, "numpy_dtype", None) if _is_pandas(column) else None
    if isinstance(kind, np.dtype) and kind.kind in "biuf":  # it may have a mask
        if column.isna().any():
            return np.asarray(column.to_numpy(dtype="float64", na_value=np.nan))
        return np.asarray(column.to_numpy(dtype=kind))
    return from_objects(np.asarray(column.to_numpy()))


def _filled(column: Any) -> Array | None:
    """Integers with 0 where one is missing; `None` of others, and if none is."""
    kind = getattr(column, "type", getattr(column, "dtype", None))
    if not str(getattr(kind, "numpy_dtype", kind)).lower().startswith(("int", "uint")):
        return None
    if _is_pandas(column):
        return np.asarray(column.fillna(0)) if column.isna().any() else None
    count = column.null_count  # of polars a method
    count = count() if callable(count) else count
    return np.asarray(column.fill_null(0)) if count else None


def _check_filled(array: Array, label: Any, name: str) -> None:
    """Raises DoesNotFit where an integer would be rounded, since others are missing."""
    served = not name.startswith(("y", "sample_weight"))  # which stay as they are
    try:
        check_fits(array, WHOLE if served else np.dtype(np.float64))
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
            check_fits(array, WHOLE)
        return cast(array, common)
    except DoesNotFit as error:
        raise error.named(
            name,
            array,
            f"Pass that column by itself, as in {{'ids': frame[{column!r}], ...}}, or "
            f"if it is an amount, frame.astype('float64').",
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

"""One column of a table of pandas, polars or pyarrow -> its numbers, or its objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import check_real, shown
from sequence_loader.rows.objects import from_objects
from sequence_loader.rows.values import DoesNotFit, check_fits


def package(value: Any) -> str:
    """The name of the package that its type is of."""
    return type(value).__module__.partition(".")[0]


def as_arrow(column: Any) -> Any:
    """A column of pandas that keeps pyarrow's types as pyarrow's; any other as it is.

    Of some of these types pandas cannot say what NumPy's is, and raises when asked.
    """
    if hasattr(getattr(column, "dtype", None), "pyarrow_dtype"):
        return column.array.__arrow_array__()
    return column


def is_sparse(column: Any) -> bool:
    """Whether it is one of pandas that leaves a value out."""
    dtype = getattr(column, "dtype", None)
    return hasattr(dtype, "subtype") and hasattr(dtype, "fill_value")


def objects_of(column: Any) -> Array:
    """The entries of a column, as Python has them."""
    column = as_arrow(column)
    to_list = getattr(column, "to_pylist", None) or column.to_list
    return np.array(to_list(), object)


def numbers_of_column(
    column: Any, label: Any, name: str, whole: np.dtype[Any]
) -> Array:
    """The values of one column; whatever cannot be numbers is of another kind.

    Args:
        column: Of any package that `tables` knows.
        label: Its name in the table; `None`, if it is none of one.
        name: The argument it came in, for error messages.
        whole: What its integers must fit, where they become floats.

    Returns:
        Array of shape (rows,), or (rows, ...) of a column of polars that has several
        values a row. Missing values are NaN.

    Raises:
        DoesNotFit: An integer would be rounded beside missing values.
    """
    column = as_arrow(column)
    if _is_indirect(column):
        return from_objects(objects_of(column), name, label, whole)
    filled = _filled(column)
    if filled is not None:  # they become floats, for no integer is missing
        _check_filled(filled, label, name, whole)
    if package(column) == "pyarrow" and not hasattr(column, "chunks"):
        array = np.asarray(column.to_numpy(zero_copy_only=False))
        return from_objects(array, name, label, whole)
    kind = getattr(column.dtype, "numpy_dtype", None) if _is_pandas(column) else None
    if isinstance(kind, np.dtype) and kind.kind in "biuf":  # it may have a mask
        if column.isna().any():
            return np.asarray(column.to_numpy(dtype="float64", na_value=np.nan))
        return np.asarray(column.to_numpy(dtype=kind))
    array = np.asarray(column.to_numpy())
    if array.dtype.isbuiltin == 2:  # of another package, which may be bfloat16
        check_real(name, array.dtype)
        array = array.astype(np.float32)
    return from_objects(array, name, label, whole)


def labels_of_column(column: Any) -> Array:
    """The entries of a column of polars or pyarrow; objects, where some are missing."""
    kind = str(_kind(column)).lower()
    floats = kind.startswith(("float", "double", "half"))  # a missing one is NaN
    if _is_indirect(column) or (_missing(column) and not floats):
        return objects_of(column)
    return np.asarray(column)


def categories_of(column: Any) -> tuple[list[Any], Integers] | None:
    """The categories of a column of polars or pyarrow whose type has an order of them.

    Returns:
        All categories, and an int64 array of shape (rows,), the place of each entry
        among them, or -1; `None` for any other column.
    """
    column = as_arrow(column)
    if package(column) == "polars" and str(_kind(column)).startswith("Enum"):
        return column.dtype.categories.to_list(), _places(column.to_physical())
    if package(column) != "pyarrow" or not getattr(_kind(column), "ordered", False):
        return None
    if not hasattr(column, "chunks"):
        return column.dictionary.to_pylist(), _places(column.indices)
    chunks = column.unify_dictionaries().chunks
    places = np.concatenate([_places(chunk.indices) for chunk in chunks])
    return chunks[0].dictionary.to_pylist(), places


def _places(indices: Any) -> Integers:
    absent = np.asarray(indices.is_null())
    places: Integers = np.asarray(indices.fill_null(0)).astype(np.int64)
    return np.where(absent, -1, places)


def stored_of(
    label: Any, column: Any, name: str, whole: np.dtype[Any]
) -> tuple[Array, Array]:
    """Rows and values of what is not 0 in a column; see `numbers_of_column`.

    Raises:
        ValueError: What a sparse column leaves out is not 0.
    """
    if is_sparse(column):
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
    values = numbers_of_column(column, label, name, whole)
    rows = np.flatnonzero(values)
    return rows, values[rows]


def _kind(column: Any) -> Any:
    return getattr(column, "type", getattr(column, "dtype", None))


def _is_indirect(column: Any) -> bool:
    """Whether NumPy would be given other values, none, or floats that were integers.

    So it is where entries name places of values, as those of pyarrow's dictionaries do
    (a missing one became its neighbour), where each may be of another type, where
    NumPy has no integers as long, or where there are several in one, and some are
    missing.
    """
    kind = _kind(column)
    text = str(kind).lower()
    if "int128" in text or text.startswith(_OBJECTS):
        return True
    if _is_pandas(column):
        return hasattr(kind, "categories") and bool(column.isna().any())
    return text.startswith("array(") and column.explode().null_count() > 0


_OBJECTS = ("dictionary", "run_end_encoded", "dense_union", "sparse_union")


def _filled(column: Any) -> Array | None:
    """Integers with 0 where one is missing; `None` of others, and if none is."""
    kind = _kind(column)
    if not str(getattr(kind, "numpy_dtype", kind)).lower().startswith(("int", "uint")):
        return None
    if _is_pandas(column):
        return np.asarray(column.fillna(0)) if column.isna().any() else None
    return np.asarray(column.fill_null(0)) if _missing(column) else None


def _missing(column: Any) -> int:
    """How many entries a column of polars or pyarrow lacks."""
    count = column.null_count  # of polars a method
    return int(count() if callable(count) else count)


def _check_filled(
    array: Array, label: Any, name: str, whole: np.dtype[Any]
) -> None:
    """Raises DoesNotFit where an integer would be rounded, since others are missing."""
    try:
        check_fits(array, whole)
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

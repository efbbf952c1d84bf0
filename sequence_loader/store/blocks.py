"""Blocks on their way into a store: made CSR, cut into pieces, converted, checked.

What a user passes may be damaged, and scipy's compiled code trusts it; nothing
reaches that code, or a file, before it has been checked here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import (
    check_ordered,
    check_real,
    check_unmasked,
    is_floating,
    shown,
)
from sequence_loader.rows.as_csr import check_pointers, from_scipy
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.mends import check_one_label, no_numbers, rows_differ
from sequence_loader.rows.objects import array_of, from_objects
from sequence_loader.rows.odd_columns import matrix_of
from sequence_loader.rows.tables import entries_of, is_table
from sequence_loader.rows.values import (
    SCALE_DOWN,
    DoesNotFit,
    cast,
    floating,
    position,
    wider,
)
from sequence_loader.store.dtypes import DTYPES, SMALLEST, dtype_named
from sequence_loader.store.format import ARRAYS

WRITE_PIECE_VALUES = 1 << 20
"""Values that are checked, converted and written at a time: some 30 MB of memory."""
DENSE_BYTES, DENSE_TIMES = 1 << 26, 32
"""What sparse targets may take as dense ones, in bytes or in times of their own."""


def as_csr(
    block: Any, num_features: int, name: str, dtype: np.dtype[Any] | None = None
) -> CsrRows:
    """Any matrix as CSR rows that are safe to slice.

    Args:
        block: The matrix.
        num_features: How many columns it must have.
        name: What errors call it.
        dtype: The one that values are kept in; `None` if it is to be that of the first
            block.
    """
    whole = dtype if dtype and is_floating(dtype) else np.dtype(np.float64)
    check_unmasked(name, block)
    if is_table(block):
        block = matrix_of(block, name, whole)
    if isinstance(block, CsrRows):
        shape: tuple[int, ...] = (block.num_rows, block.num_features)
    else:
        if not sp.issparse(block):
            block = from_objects(array_of(block, name, whole), name, whole=whole)
        shape = block.shape
    if len(shape) != 2 or shape[1] != num_features:
        raise ValueError(
            f"`{name}` must have shape (rows, {num_features}); received {shape}. Pass "
            f"blocks with the number of features the writer was made for."
        )
    if isinstance(block, CsrRows):
        check_pointers(block, block.num_rows, name)
        return block
    check_real(name, block.dtype)
    return from_scipy(block, name) if sp.issparse(block) else _nonzeros(block)


def _nonzeros(block: Array) -> CsrRows:
    """A dense block as CSR: scipy's own conversion does not know every dtype."""
    row, column = np.nonzero(block)
    indptr = np.searchsorted(row, np.arange(len(block) + 1))
    return CsrRows(indptr, column, block[row, column], block.shape[1])


def pieces(rows: CsrRows) -> Iterator[CsrRows]:
    """Runs of rows of about `WRITE_PIECE_VALUES`, or one longer row, as views."""
    start = 0
    while start < rows.num_rows:
        base = int(rows.indptr[start])
        end = base + WRITE_PIECE_VALUES
        stop = int(np.searchsorted(rows.indptr, end, side="right")) - 1
        stop = min(max(stop, start + 1), start + WRITE_PIECE_VALUES, rows.num_rows)
        end = int(rows.indptr[stop])
        indptr: Integers = rows.indptr[start : stop + 1].astype(np.int64) - base
        yield CsrRows(
            indptr, rows.indices[base:end], rows.data[base:end], rows.num_features
        )
        start = stop


def converted(
    name: str,
    values: Array,
    dtype: np.dtype[Any],
    first_row: int,
    block: CsrRows | None = None,
) -> Array:
    """Values in the stored type: floats are rounded, anything else is refused.

    Args:
        name: What they are, for the error message.
        values: Array of any shape; of shape (nnz,) with `block`.
        dtype: The stored type.
        first_row: Row of the store that the first of them belong to.
        block: The rows that they are the values of.
    """
    try:
        return cast(values, dtype)
    except DoesNotFit as error:
        mend = "Pass all of it in one dtype, from the first block on"
        if name not in ARRAYS:
            other = wider(values.dtype.newbyteorder("="), dtype, error.value)
            mend = SCALE_DOWN
            if other is not None:
                mend = f"Pass {argument('dtype', other)}, or convert it first"
            if values.dtype.kind in "iu" and dtype.kind not in "biu":
                mend += ", to floats where it is an amount"
        row, column = position(values if block is None else block, error.place)
        where = f"row {first_row + row}{'' if column is None else f', column {column}'}"
        raise ValueError(
            f"`{name}` holds {error.value!s} in {where}, which {dtype} cannot hold. "
            f"{mend}."
        ) from None


class DenseTargets:
    """Keeps sparse targets, which a store holds as dense ones, from becoming huge.

    Args:
        name: The argument they come in.
    """

    def __init__(self, name: str = "y") -> None:
        self._name = name
        self._dense = self._own = 0

    def add(self, targets: Any) -> None:
        """Counts those of a block, or of all rows; others than sparse ones are not.

        Raises:
            ValueError: All so far are much larger when dense.
        """
        if not sp.issparse(targets):
            return
        size = targets.dtype.itemsize
        self._dense += targets.shape[0] * targets.shape[-1] * size
        self._own += targets.nnz * (size + 4) + targets.shape[0] * 4
        if self._dense > max(DENSE_BYTES, DENSE_TIMES * self._own):
            raise ValueError(
                f"{argument(self._name)} must not be huge as a dense array; received "
                f"sparse targets of shape {targets.shape}, {self._dense / 1e6:,.0f} MB "
                f"in all if dense and {self._own / 1e6:,.1f} MB now. Write them to a "
                f"store of their own, which is passed to SparseBatchSequence as y."
            )


def checked_extra(name: str, values: Any, num_rows: int) -> Array | None:
    """Targets of a block as an array of shape (num_rows, ...), or `None`."""
    if values is None:
        return None
    check_unmasked(name, values)
    given = values
    if is_table(values):
        values = entries_of(values, name)
    if sp.issparse(values):
        values = values.toarray()
    try:
        array = array_of(values, name)
    except ValueError:
        raise rows_differ(given, name) from None
    check_one_label(given, array, name)
    array = from_objects(array, name)
    if array.ndim == 0 or len(array) != num_rows:
        raise ValueError(
            f"{argument(name)} must have one entry for each of the {num_rows} rows of "
            f"the block; received shape {array.shape}. Pass the entries of these rows."
        )
    if array.dtype.kind in "OUST":
        raise no_numbers(given, array, name)
    check_real(name, array.dtype)
    dtype = checked_dtype(array.dtype, name)
    if is_floating(array.dtype) and np.isnan(array).any():
        row = int(np.argwhere(np.isnan(array))[0][0])
        raise ValueError(
            f"{argument(name)} must be known for each row; that of row {row} of the "
            f"block is NaN. Leave such rows out, or give them 0 and the weight 0."
        )
    if array.dtype.isnative:
        return array
    return array.astype(dtype)  # its bytes are written as they are


def checked_weights(values: Any, num_rows: int) -> Array | None:
    """Weights of a block as a floating array of shape (num_rows,), or `None`."""
    array = checked_extra("sample_weight", values, num_rows)
    if array is None:
        return None
    if array.ndim != 1:
        raise ValueError(
            f"{argument('sample_weight')} must be of shape (rows,); received "
            f"{array.shape}. Pass one number for each row."
        )
    return floating(array)


def checked_dtype(dtype: Any, name: str = "dtype") -> np.dtype[Any]:
    """`dtype` as one that a store can hold; raises TypeError otherwise."""
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype_named(dtype)
    try:
        # NumPy takes None for float64.
        found: np.dtype[Any] = np.dtype(object if dtype is None else dtype)
    except TypeError:
        found = np.dtype(object)
    if found.name not in DTYPES:
        known = (*DTYPES, SMALLEST) if name == "dtype" else DTYPES
        raise TypeError(
            f"{argument(name)} must be one of {', '.join(known)}; received "
            f"{shown(dtype)}. Pass one of those, for example 'float32'."
        )
    return dtype_named(found.name)


def checked_names(
    what: str, names: Iterable[str] | None, count: int | None
) -> tuple[str, ...] | None:
    """Names as a tuple; `count` of them where it is given."""
    if names is None:
        return None
    check_ordered(what, names)
    given = (names,) if isinstance(names, str) else tuple(names)
    found = tuple(str(name) for name in given if isinstance(name, str))
    if isinstance(names, str) or len(found) != len(given):
        raise TypeError(
            f"{argument(what)} must be a sequence of text; received {shown(names)}. "
            f"Pass for example list(map(str, names))."
        )
    if count is not None and len(found) != count:
        raise ValueError(
            f"{argument(what)} must have {count} entries, one for each feature; "
            f"received {len(found)}. Pass the names of all features."
        )
    return found


def checked_metadata(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """`metadata` as JSON gives it back; raises TypeError where it cannot."""
    try:
        text = json.dumps(metadata or {}, allow_nan=False)
        if metadata is not None and not isinstance(metadata, dict):
            raise TypeError("it is not a dict")
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`metadata` must be a dict that JSON can hold; received "
            f"{shown(metadata)}: {error}. Pass text, numbers, lists and dicts."
        ) from None
    content: dict[str, Any] = json.loads(text)
    return content

"""A scipy sparse matrix -> CSR rows, once its compiled conversions are safe to call."""

from __future__ import annotations

from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.checks import shown
from sequence_loader.rows.csr import (
    SCALE,
    CsrRows,
    check_sums,
    unsigned,
    unsigned_limit,
)


def from_scipy(matrix: Any, name: str) -> CsrRows:
    """The arrays of any two-dimensional scipy sparse matrix; a CSR is not copied.

    Args:
        matrix: scipy sparse matrix or array.
        name: What it is, for the error message.

    Returns:
        Rows whose `indptr` is sound, but of any integer type, and whose column
        indices are still to be passed through `canonical`.

    Raises:
        ValueError: It does not have two dimensions, or is damaged in a way that
            scipy's compiled conversions would not survive.
    """
    if matrix.ndim != 2:
        raise ValueError(
            f"`{name}` must be a two-dimensional sparse matrix; received shape "
            f"{matrix.shape}. Reshape it to (rows, features)."
        )
    rows, features = map(int, matrix.shape)
    kind = matrix.format.upper()
    if kind in ("CSC", "BSR"):
        high, wide = matrix.blocksize if kind == "BSR" else (1, 1)
        axis, majors, minors = 1, rows // high, features // wide
        if kind == "CSC":
            axis, majors, minors = 0, features, rows
        stored = check_pointers(matrix, majors, name, kind)
        _check_indices(matrix.indices[:stored], axis, minors, name, kind)
    elif kind == "COO":
        _check_indices(matrix.row, 0, rows, name, kind)
        _check_indices(matrix.col, 1, features, name, kind)
    given, matrix = matrix, matrix.tocsr()
    if kind == "COO" and matrix.nnz < given.nnz and matrix.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):  # of some NaN
            near = (given.astype("float64") * SCALE).tocsr()  # which scipy has summed
        row = np.repeat(np.arange(rows), np.diff(near.indptr))
        check_sums(matrix.data, near.data, name, row)
    stored = check_pointers(matrix, rows, name)
    return CsrRows(
        matrix.indptr, matrix.indices[:stored], matrix.data[:stored], features
    )


def check_pointers(matrix: Any, majors: int, name: str, kind: str = "CSR") -> int:
    """How many values the `indptr` of a CSR, CSC or BSR matrix spans, if it is sound.

    Args:
        matrix: What has `indptr`, `indices` and `data`.
        majors: How many rows, columns or rows of blocks `indptr` is for.
        name: What it is, for the error message.
        kind: Its format, for the error message.

    Raises:
        ValueError: `indptr` leads outside the arrays.
    """
    indptr = matrix.indptr
    limit = min(len(matrix.indices), len(matrix.data))
    if (
        indptr.dtype.kind not in "iu"
        or indptr.shape != (majors + 1,)
        or int(indptr[0]) != 0
        or not 0 <= int(indptr[-1]) <= limit
        or (indptr[1:] < indptr[:-1]).any()
    ):
        raise ValueError(
            f"`{name}` is a damaged {kind} matrix: `indptr` must have {majors + 1} "
            f"entries, integers that start at 0, do not decrease and stay within the "
            f"{limit} stored values; it has {len(indptr)} and is {shown(indptr)}. "
            f"Build it again, for example with scipy.sparse.csr_array(coo)."
        )
    return int(indptr[-1])


def _check_indices(indices: Array, axis: int, limit: int, name: str, kind: str) -> None:
    if indices.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` is a damaged {kind} matrix: its indices must be integers; "
            f"received dtype {indices.dtype}. Build it again with integer indices."
        )
    most = unsigned_limit(indices, limit)
    if len(indices) and int(unsigned(indices).max()) >= most:
        raise ValueError(
            f"`{name}` is a damaged {kind} matrix: it has an index out of range, for "
            f"one of axis {axis} is outside [0, {limit}); received "
            f"{indices[unsigned(indices) >= most][0]}. Correct the indices, or the "
            f"shape of the matrix."
        )

"""A scipy sparse matrix -> CSR rows, once its compiled conversions are safe to call."""

from __future__ import annotations

from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.checks import shown
from sequence_loader.rows.csr import CsrRows, unsigned, unsigned_limit


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
    if matrix.format == "csc":
        _check_compressed(matrix, features, rows, name)
    elif matrix.format == "bsr":
        height, width = matrix.blocksize
        _check_compressed(matrix, rows // height, features // width, name)
    elif matrix.format == "coo":
        _check_minor(matrix.row, rows, "COO", name)
        _check_minor(matrix.col, features, "COO", name)
    matrix = matrix.tocsr()
    stored = _check_pointers(matrix, rows, name)
    return CsrRows(
        matrix.indptr, matrix.indices[:stored], matrix.data[:stored], features
    )


def _check_compressed(matrix: Any, majors: int, minors: int, name: str) -> None:
    stored = _check_pointers(matrix, majors, name)
    _check_minor(matrix.indices[:stored], minors, matrix.format.upper(), name)


def _check_pointers(matrix: Any, majors: int, name: str) -> int:
    """How many values the `indptr` of a CSR, CSC or BSR matrix spans."""
    indptr = matrix.indptr
    limit = min(len(matrix.indices), len(matrix.data))
    if (
        indptr.shape != (majors + 1,)
        or int(indptr[0]) != 0
        or not 0 <= int(indptr[-1]) <= limit
        # A map is checked batch by batch: a pass over it would read the file.
        or (not isinstance(indptr, np.memmap) and (indptr[1:] < indptr[:-1]).any())
    ):
        raise ValueError(
            f"`{name}` is a damaged {matrix.format.upper()} matrix: `indptr` must have "
            f"{majors + 1} entries that start at 0, do not decrease and stay within "
            f"the {limit} stored values; it has {len(indptr)} and is {shown(indptr)}. "
            f"Build it again, for example with scipy.sparse.csr_array(coo)."
        )
    return int(indptr[-1])


def _check_minor(indices: Array, limit: int, kind: str, name: str) -> None:
    most = unsigned_limit(indices, limit)
    if len(indices) and int(unsigned(indices).max()) >= most:
        raise ValueError(
            f"`{name}` is a damaged {kind} matrix: it has an index out of range, which "
            f"must be in [0, {limit}); received "
            f"{indices[unsigned(indices) >= most][0]}. Correct the indices, or the "
            f"shape of the matrix."
        )

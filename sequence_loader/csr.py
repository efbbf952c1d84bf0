"""Rows of compressed sparse row data: gathered, checked, made canonical, densified.

`CsrRows` is what travels between the stages. It is a plain record of arrays, not
a scipy object: constructing one of those costs as much as gathering a batch, and
scipy trusts what it is given. An index out of range makes its compiled loops
write outside their memory, so nothing reaches them, or a dense buffer, that
`canonical` has not seen.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sequence_loader.checks import shown
from sequence_loader.permutation import Integers

try:  # not public, and the same since scipy 1.1; `take` stands in for it
    from scipy.sparse._sparsetools import csr_row_index as _copy_rows
except ImportError:
    _copy_rows = None

Array = npt.NDArray[Any]

# What stands for values of so many bytes: `_copy_rows` does not know every dtype.
_SAME_SIZE = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}

# The largest signed integer of so many bytes.
_MOST = {size: 2 ** (8 * size - 1) - 1 for size in (1, 2, 4, 8)}


HALF = ("float16", "bfloat16")
"""Types that a store and a backend know, and scipy does not."""


@dataclass(frozen=True, eq=False, slots=True)
class CsrRows:
    """A few rows in CSR form.

    Attributes:
        indptr: int64 array of shape (rows + 1,), from 0 to nnz.
        indices: int32 array (int64 beyond 2^31 features) of shape (nnz,).
        data: Array of shape (nnz,), any real dtype.
        num_features: Number of columns.
    """

    indptr: Integers
    indices: Array
    data: Array
    num_features: int

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    def to_scipy(self, container: type = sp.csr_array) -> Any:
        """The same rows as a `container` (``csr_array`` or ``csr_matrix``)."""
        indices = self.indices
        if self.indptr[-1] > _MOST[indices.dtype.itemsize]:
            indices = indices.astype(np.int64)
        indptr = self.indptr.astype(indices.dtype, copy=False)  # one type for both
        if self.num_rows > _FEW_ROWS:
            shape = (self.num_rows, self.num_features)
            matrix = container((self.data, indices, indptr), shape=shape, copy=False)
        else:
            matrix = copy.copy(_empty(container, self.num_rows, self.num_features))
            matrix.indptr, matrix.indices, matrix.data = indptr, indices, self.data
        matrix.has_canonical_format = True
        return matrix

    def widened(self) -> CsrRows:
        """The same values, of a dtype that scipy computes with: float16 it only holds.

        Returns:
            Rows whose float16 and bfloat16 values have become float32.
        """
        if self.data.dtype.name not in HALF:
            return self
        return replace(self, data=self.data.astype(np.float32))

    def to_dense(self, out: Array) -> Array:
        """Writes the rows into `out`.

        Args:
            out: Array of shape (rows, num_features), zeroed and C-contiguous. Its
                dtype decides that of the values.

        Returns:
            `out`.
        """
        out.reshape(-1)[self.places()] = self.data
        return out

    def places(self, out: Integers | None = None) -> Integers:
        """Where each stored value lies in the dense rows, read one after the other.

        Args:
            out: int64 array of shape (nnz,) to write them to.

        Returns:
            int64 array of shape (nnz,): row * num_features + column.
        """
        starts = np.arange(self.num_rows, dtype=np.int64) * self.num_features
        row_starts = np.repeat(starts, np.diff(self.indptr))
        return np.add(row_starts, self.indices, out=row_starts if out is None else out)

    def cut(self, start: int, stop: int) -> CsrRows:
        """Rows ``start .. stop - 1``; their indices and values are views."""
        first, last = self.indptr[start], self.indptr[stop]
        return CsrRows(
            self.indptr[start : stop + 1] - first,
            self.indices[first:last],
            self.data[first:last],
            self.num_features,
        )

    def row_of_each(self) -> Integers:
        """int64 array of shape (nnz,): the row each stored value belongs to."""
        rows = np.arange(self.num_rows, dtype=np.int64)
        return np.repeat(rows, np.diff(self.indptr))


_FEW_ROWS = 1 << 13


@functools.lru_cache(maxsize=64)
def _empty(container: type, num_rows: int, num_features: int) -> Any:
    """To copy and fill, where what the constructor checks takes longest: few rows."""
    return container((num_rows, num_features))


def gather(
    indptr: Array,
    indices: Array,
    data: Array,
    rows: Integers,
    num_features: int,
    name: str = "x",
) -> CsrRows:
    """Takes rows of CSR arrays, without a check of their content.

    Works on any dtype and on a memmap, and keeps an int64 `indptr` beside int32
    `indices`, which scipy's own row selection would upcast.

    Args:
        indptr: Integer array of shape (all rows + 1,).
        indices: Integer array of shape (nnz,).
        data: Array of shape (nnz,).
        rows: int64 array of shape (n,), each in ``[0, all rows)``.
        num_features: Number of columns.
        name: What they are, for the error message.

    Returns:
        The rows, in the order asked for; to be passed through `canonical`.

    Raises:
        ValueError: `indptr` points outside the arrays.
    """
    # Where each row starts and stops, side by side: one look-up, and what the
    # compiled loop is given.
    spans = np.asarray(indptr).take(rows[:, np.newaxis] + _START_AND_STOP)
    if spans.dtype.kind != "i":
        spans = spans.astype(np.int64)
    lengths = spans[:, 1] - spans[:, 0]
    limit = min(len(indices), len(data))
    top = int(unsigned(spans).max()) if len(rows) else 0
    if top > limit or (len(rows) and lengths.min() < 0):
        starts, stops = spans.T
        wrong = (starts < 0) | (stops < starts) | (stops > limit)
        raise ValueError(
            f"`{name}` is a damaged CSR matrix: `indptr` must not decrease and must "
            f"stay within the {limit} stored values, which it does not at rows "
            f"{_first_rows(rows, wrong)}. Build it again, for example with "
            f"scipy.sparse.csr_array(coo)."
        )
    ends = np.zeros(len(rows) + 1, dtype=np.int64)
    lengths.cumsum(out=ends[1:])
    most = _MOST.get(indices.dtype.itemsize, top)
    if top > most:
        # Far into a matrix of more than 2^31 values, int32 pointers still do.
        base = int(spans.min())
        indices, data, spans = indices[base:top], data[base:top], spans - base
        top -= base
    taker = _copied if top <= most and _can_copy(indices, data) else _taken
    return CsrRows(ends, *taker(indices, data, spans, ends), int(num_features))


_START_AND_STOP = np.array([0, 1])


def _can_copy(indices: Array, data: Array) -> bool:
    """Whether `_copied` can be used: it would copy other arrays whole, each time."""
    return (
        _copy_rows is not None
        and indices.dtype.kind == "i"
        and indices.dtype.itemsize >= 4
        and indices.dtype.isnative
        and data.dtype.itemsize in _SAME_SIZE
        and all(a.flags.c_contiguous and a.flags.aligned for a in (indices, data))
    )


def _copied(
    indices: Array, data: Array, spans: Array, ends: Integers
) -> tuple[Array, Array]:
    """Row after row, in one compiled loop: a third of the time of `_taken`."""
    # As if these were the pointers of a matrix whose every second row is wanted.
    pointers = spans.astype(indices.dtype, copy=False).ravel()
    every_second = np.arange(0, len(pointers), 2, dtype=indices.dtype)
    words = data.view(_SAME_SIZE[data.dtype.itemsize])
    taken = np.empty(ends[-1], indices.dtype), np.empty(ends[-1], words.dtype)
    _copy_rows(len(spans), every_second, pointers, indices, words, *taken)
    return taken[0], taken[1].view(data.dtype)


def _taken(
    indices: Array, data: Array, spans: Array, ends: Integers
) -> tuple[Array, Array]:
    """Value by value, for arrays of any kind."""
    positions = np.repeat(spans[:, 0] - ends[:-1], np.diff(ends))
    positions += np.arange(ends[-1])
    return indices.take(positions), data.take(positions)


def canonical(batch: CsrRows, name: str, rows: Integers | None = None) -> CsrRows:
    """Checks the column indices; sorts them and sums duplicates where need be.

    Args:
        batch: Any CSR rows.
        name: What they are, for the error message: ``x``, ``transform``, ...
        rows: int64 array of the row ids, for the error message.

    Returns:
        Rows whose indices are in range, strictly ascending in each row, and of
        the smallest type that scipy and TensorFlow take; values in the byte order
        of the machine.

    Raises:
        ValueError: A column index is out of range.
    """
    if not batch.data.dtype.isnative:
        native = batch.data.dtype.newbyteorder("=")
        batch = replace(batch, data=batch.data.astype(native))
    indptr, indices, num_features = batch.indptr, batch.indices, batch.num_features
    if len(indices) == 0:
        return replace(batch, indices=indices.astype(_index_type(num_features)))
    if indices.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` has column indices of dtype {indices.dtype}, which must be "
            f"integers. Build the matrix again with integer column indices."
        )
    if int(unsigned(indices).max()) >= num_features:
        wrong = unsigned(indices) >= num_features
        owner = batch.row_of_each()[wrong]
        named = owner[:1] if rows is None else rows[owner[:1]]
        raise ValueError(
            f"`{name}` has a column index out of range: it must be in "
            f"[0, {num_features}), the number of features, but row {named[0]} holds "
            f"{indices[wrong][0]}. Correct the indices, or the shape of the matrix."
        )
    indices = indices.astype(_index_type(num_features), copy=False)
    ascending = np.empty(len(indices) + 1, dtype=bool)
    np.greater(indices[1:], indices[:-1], out=ascending[1:-1])
    ascending[indptr] = True  # the first of a row need not exceed the last before
    checked = CsrRows(indptr, indices, batch.data, num_features)
    return checked if ascending.all() else _summed(checked)


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


def unsigned(indices: Array) -> Array:
    """Integers read as unsigned: a negative one is a huge one, one pass finds both."""
    return indices.view(indices.dtype.str.replace("i", "u"))


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
    if len(indices) and int(unsigned(indices).max()) >= limit:
        raise ValueError(
            f"`{name}` is a damaged {kind} matrix: it has an index out of range, which "
            f"must be in [0, {limit}); received "
            f"{indices[unsigned(indices) >= limit][0]}. Correct the indices, or the "
            f"shape of the matrix."
        )


def _summed(batch: CsrRows) -> CsrRows:
    """Sorts by (row, column) and sums values at the same place."""
    row = batch.row_of_each()
    order = np.lexsort((batch.indices, row))
    row, indices, data = row[order], batch.indices[order], batch.data[order]
    fresh = np.ones(len(row), dtype=bool)
    fresh[1:] = (row[1:] != row[:-1]) | (indices[1:] != indices[:-1])
    first = np.flatnonzero(fresh)
    counts = np.bincount(row[first], minlength=batch.num_rows)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    summed = np.add.reduceat(data, first, dtype=data.dtype)
    return CsrRows(indptr, indices[first], summed, batch.num_features)


def _index_type(num_features: int) -> type[np.signedinteger[Any]]:
    return np.int32 if num_features <= 2**31 - 1 else np.int64


def _first_rows(rows: Integers, wrong: npt.NDArray[np.bool_]) -> list[int]:
    found: list[int] = rows[wrong][:3].tolist()
    return found

"""Rows of compressed sparse row data: checked, made canonical, densified.

`CsrRows` is what travels between the stages. It is a plain record of arrays, not
a scipy object: constructing one of those costs as much as gathering a batch, and
scipy trusts what it is given. An index out of range makes its compiled loops
write outside their memory, so nothing reaches them, or a dense buffer, that
`canonical` has not seen.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers

MOST = {size: 2 ** (8 * size - 1) - 1 for size in (1, 2, 4, 8)}
"""The largest signed integer of so many bytes."""

HALF = ("float16", "bfloat16")
"""Types that a store and a backend know, and scipy does not."""

SCALE = 2.0**-64
"""What values are multiplied by before they are summed, so that no sum is infinite."""
_FEW_ROWS = 1 << 13


class DamagedRows(ValueError):
    """CSR arrays that must not reach compiled code: what is wrong, and the mend.

    A store has another mend than a matrix in memory, and the same findings.
    """

    def __init__(self, finding: str, mend: str) -> None:
        super().__init__(finding, mend)  # as a pickle makes it again
        self.finding = finding

    def __str__(self) -> str:
        return "{}. {}.".format(*self.args)


@dataclass(frozen=True, eq=False, slots=True)
class CsrRows:
    """A few rows in CSR form.

    Attributes:
        indptr: int64 array of shape (rows + 1,), from 0 to nnz; of a matrix to take
            rows from, of any integer type.
        indices: Integer array of shape (nnz,): int32 (int64 beyond 2^31 features)
            where `canonical` has seen it, of any type before.
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
        if self.indptr[-1] > MOST[indices.dtype.itemsize]:
            indices = indices.astype(np.int64)
        indptr = self.indptr.astype(indices.dtype, copy=False)  # one type for both
        if self.num_rows > _FEW_ROWS:
            shape = (self.num_rows, self.num_features)
            matrix = container((self.data, indices, indptr), shape=shape, copy=False)
            matrix.has_canonical_format = True
            return matrix
        made: Any = object.__new__(container)  # which keeps all it has in __dict__
        vars(made).update(_empty(container, self.num_rows, self.num_features))
        made.indptr, made.indices, made.data = indptr, indices, self.data
        return made

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
        starts = np.arange(self.num_rows, dtype=np.int64) * self.num_features
        places = np.repeat(starts, np.diff(self.indptr))
        places += self.indices
        out.reshape(-1)[places] = self.data
        return out

    def cut(self, start: int, stop: int, *, copy: bool) -> CsrRows:
        """Rows ``start .. stop - 1``.

        Args:
            start: The first row.
            stop: One past the last.
            copy: Whether their indices and values are copied, or are views.
        """
        indptr = self.indptr[start : stop + 1]
        first, last = int(indptr[0]), int(indptr[-1])
        indices, data = self.indices[first:last], self.data[first:last]
        if copy:
            indices, data = indices.copy(), data.copy()
        return CsrRows(indptr - first, indices, data, self.num_features)

    def row_of_each(self) -> Integers:
        """int64 array of shape (nnz,): the row each stored value belongs to."""
        return np.repeat(np.arange(self.num_rows, dtype=np.int64), np.diff(self.indptr))


@functools.lru_cache(maxsize=64)
def _empty(container: type, num_rows: int, num_features: int) -> dict[str, Any]:
    """What an empty matrix holds, for one of few rows, whose constructor would check
    longer than they take to read."""
    matrix = container((num_rows, num_features))
    matrix.has_canonical_format = True
    return dict(vars(matrix))


def canonical(
    batch: CsrRows,
    name: str,
    rows: Integers | None = None,
    *,
    must_ascend: bool = False,
) -> CsrRows:
    """Checks the column indices; sorts them and sums duplicates where need be.

    Args:
        batch: Any CSR rows.
        name: What they are, for the error message: ``x``, ``transform``, ...
        rows: int64 array of the row ids, for the error message.
        must_ascend: Whether columns that do not ascend are damage: those of a store
            were written so.

    Returns:
        Rows whose indices are in range, strictly ascending in each row, and of
        the smallest type that scipy and TensorFlow take; values in the byte order
        of the machine.

    Raises:
        DamagedRows: Columns are out of range, or must ascend and do not, or sums wrap.
    """
    if not batch.data.dtype.isnative:
        native = batch.data.dtype.newbyteorder("=")
        batch = replace(batch, data=batch.data.astype(native))
    sound = is_canonical(batch)
    if not sound:
        _check(batch, name, rows, must_ascend)
    served = batch.indices.astype(index_type(batch.num_features), copy=False)
    checked = CsrRows(batch.indptr, served, batch.data, batch.num_features)
    return checked if sound else _summed(checked, name, rows)


def is_canonical(batch: CsrRows) -> bool:
    """Whether columns are in range, and ascend strictly in each row."""
    if len(batch.indices) == 0:
        return True
    if batch.indices.dtype.kind not in "iu":
        return False
    columns = unsigned(batch.indices)
    greater = np.empty(len(columns) + 1, dtype=bool)
    np.greater(columns[1:], columns[:-1], out=greater[1:-1])
    greater[batch.indptr] = True  # the first of a row need not exceed the last before
    if not greater.all():
        return False
    # Of ascending columns the last of each row says enough.
    largest = columns.take(batch.indptr - 1, mode="clip").max()
    return int(largest) < unsigned_limit(batch.indices, batch.num_features)


def _check(
    batch: CsrRows, name: str, rows: Integers | None, must_ascend: bool
) -> None:
    """Raises what is wrong with rows that are not canonical, if it is damage."""
    indices = batch.indices
    if indices.dtype.kind not in "iu":
        raise DamagedRows(
            f"`{name}` has column indices of dtype {indices.dtype}, which must be "
            f"integers",
            "Build the matrix again with integer column indices",
        )
    columns, limit = unsigned(indices), unsigned_limit(indices, batch.num_features)
    outside = int(columns.max()) >= limit
    if not outside and not must_ascend:
        return
    owner = batch.row_of_each()
    ids = owner if rows is None else rows[owner]
    if outside:
        wrong = columns >= limit
        raise DamagedRows(
            f"`{name}` has a column index out of range: it must be in "
            f"[0, {batch.num_features}), the number of features, but row "
            f"{ids[wrong][0]} holds {indices[wrong][0]}",
            "Correct the indices, or the shape of the matrix",
        )
    wrong = (indices[1:] <= indices[:-1]) & (owner[1:] == owner[:-1])
    raise DamagedRows(
        f"`{name}` has columns that do not ascend, as they were written: those of row "
        f"{ids[1:][wrong][0]}",
        "Write it again",
    )


def ends_of(lengths: Array) -> Integers:
    """int64 array of shape (n + 1,): where n rows of these lengths end, from 0 on."""
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return ends


def ones(count: int, dtype: np.dtype[Any]) -> Array:
    """Read-only array of shape (count,) in no bytes, which says that all are 1."""
    return np.broadcast_to(np.ones((), dtype), count)


def joined(parts: Sequence[CsrRows]) -> CsrRows:
    """The rows of all parts, in order; of a single one, that part itself."""
    if len(parts) == 1:
        return parts[0]
    return CsrRows(
        ends_of(np.concatenate([np.diff(part.indptr) for part in parts])),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.data for part in parts]),
        parts[0].num_features,
    )


def unsigned(indices: Array) -> Array:
    """Integers read as unsigned: a negative one is a huge one, one pass finds both."""
    return indices.view(indices.dtype.str.replace("i", "u"))


def unsigned_limit(indices: Array, limit: int) -> int:
    """What indices, read as `unsigned`, must be below to be in ``[0, limit)``.

    A negative one of few bytes may be less than `limit` then.
    """
    if indices.dtype.kind != "i":
        return limit
    return int(min(limit, MOST[indices.dtype.itemsize] + 1))


@np.errstate(over="ignore", invalid="ignore")  # `check_sums` tells
def _summed(batch: CsrRows, name: str, rows: Integers | None) -> CsrRows:
    """Sorts by (row, column) and sums values at the same place."""
    row = batch.row_of_each()
    order = np.lexsort((batch.indices, row))
    row, indices, data = row[order], batch.indices[order], batch.data[order]
    fresh = (row[1:] != row[:-1]) | (indices[1:] != indices[:-1])
    first = np.flatnonzero(np.append(True, fresh))
    counts = np.bincount(row[first], minlength=batch.num_rows)
    summed = np.add.reduceat(data, first, dtype=data.dtype)
    if data.dtype.kind in "iuf" and len(first) < len(data):
        near = np.add.reduceat(np.multiply(data, SCALE, dtype=np.float64), first)
        check_sums(summed, near, name, row[first] if rows is None else rows[row[first]])
    return CsrRows(ends_of(counts), indices[first], summed, batch.num_features)


@np.errstate(over="ignore", invalid="ignore")  # of those that are infinite
def check_sums(summed: Array, near: Array, name: str, row: Integers) -> None:
    """Raises DamagedRows where a sum is not nearly `near` / SCALE."""
    off = np.abs(near - np.multiply(summed, SCALE, dtype=np.float64))
    half = np.inf if summed.dtype.kind == "f" else 2.0 ** (8 * summed.itemsize - 1)
    wrong = (off >= half * SCALE) | (np.isnan(summed) & ~np.isnan(near))
    if wrong.any():
        place, widest = int(wrong.argmax()), summed.dtype == np.float64
        total = "" if widest else f", {near[place] / SCALE:.17g},"
        mend = "Convert it to a wider dtype first"
        raise DamagedRows(
            f"`{name}` holds several values at one place in row {row[place]}, whose "
            f"sum{total} {summed.dtype} cannot hold",
            "Pass the values divided by 1000, say" if widest else mend,
        )


def index_type(num_features: int) -> type[np.signedinteger[Any]]:
    """The smallest type of column indices that scipy and TensorFlow take."""
    return np.int32 if num_features <= 2**31 - 1 else np.int64

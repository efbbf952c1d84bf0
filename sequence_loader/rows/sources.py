"""Row sources: what rows can be taken from, behind one small interface.

A row source must be picklable, and `read` must be pure and safe to call from
several threads at once. It may say in `traits` how it is best read, and bring `y` and
`sample_weight`, which a sequence takes where it is given none. What `read` returns
decides what can be done with it: sparse rows and arrays can be served as they are,
other items only after a `transform` has turned them into numbers.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import check_not_empty, check_real, check_unmasked, shown
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.as_csr import from_scipy
from sequence_loader.rows.csr import CsrRows, unsigned, unsigned_limit
from sequence_loader.rows.gather import read_rows
from sequence_loader.rows.read_counts import ReadCounts
from sequence_loader.rows.mends import KNOWN, known_rows
from sequence_loader.rows.objects import from_objects
from sequence_loader.rows.tables import check_collected, is_table, numbers_of, take

Block: TypeAlias = CsrRows | Array | Any
"""Some rows: canonical `CsrRows`, an array, or (items) any sequence."""


@dataclass(frozen=True)
class Traits:
    """How the rows of a source are best read; the defaults suit any source.

    Attributes:
        fast: Whether rows are taken faster than they can be sent to another process.
        reads_together: Whether one reading of several batches costs less than several.
        threads_help: Whether threads read faster than the one that asks, as they do
            from a map of a file on a disk.
        stays_here: Whether the source must not be opened again in worker processes,
            which then are sent its rows.
        count_values: ``rows -> int``: how many values these rows hold, at most; where
            it is `None`, they are read to be counted.
        look_ahead: ``(plan, epoch, number) -> None``: batch `number` of `plan` is
            about to be read, which is a `BatchPlan` and the same object for as long
            as the order is the same. A hint to read the next ones.
        read_counts: ``() -> ReadCounts``: what has been read from the source.
    """

    fast: bool = False
    reads_together: bool = False
    threads_help: bool = True
    stays_here: bool = False
    count_values: Callable[[Integers], int] | None = None
    look_ahead: Callable[[BatchPlan, int, int], None] | None = None
    read_counts: Callable[[], ReadCounts] | None = None


@runtime_checkable
class RowSource(Protocol):
    """Rows by number."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""

    @property
    def numeric(self) -> bool:
        """Whether rows are numbers, and need no transform."""

    def read(self, rows: Integers) -> Block:
        """The given rows, in that order.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.
        """


def traits_of(source: RowSource) -> Traits:
    """What a source says of itself in its attribute `traits`, if it has one."""
    traits: Traits = getattr(source, "traits", _ANY)
    return traits


def count_values(source: RowSource, rows: Integers) -> int:
    """How many values some rows hold, at most; 0 where rows are dense."""
    count = traits_of(source).count_values
    if count is not None:
        return int(count(rows))
    block = source.read(rows)  # a source of the user's own
    return len(block.data) if isinstance(block, CsrRows) else 0


_ANY = Traits()


class CsrSource:
    """Rows of a scipy sparse matrix in memory; a CSR matrix is used without a copy.

    Args:
        matrix: Two-dimensional scipy sparse matrix or array. Other formats than
            CSR are converted once, here.
        name: The argument it came in, for error messages.

    Raises:
        ValueError: It has no rows or features, or is damaged.
        TypeError: Its values are not real numbers.
    """

    numeric = True

    def __init__(self, matrix: Any, name: str = "x") -> None:
        check_not_empty(name, matrix.shape)
        check_real(name, matrix.dtype)
        # What a user's transform is given: the kind of matrix the user has.
        self.container = (
            sp.csr_matrix if isinstance(matrix, sp.spmatrix) else sp.csr_array
        )
        self.matrix = from_scipy(matrix, name)
        self._pool = BufferPool(spare=2)
        self.num_rows = self.matrix.num_rows
        self.num_features = self.matrix.num_features
        self.name, self.known = name, known_rows(matrix)
        self._check()

    @property
    def traits(self) -> Traits:
        """See `Traits`."""
        mapped = is_mapped(self.matrix.indices) or is_mapped(self.matrix.data)
        return Traits(True, True, threads_help=mapped, count_values=self._count_values)

    def _check(self) -> None:
        """Finds damage while the user is looking; `read` checks each batch again."""
        indices = self.matrix.indices
        if is_mapped(indices):
            return  # checked batch by batch: a pass over it would read the file
        limit = unsigned_limit(indices, self.num_features)
        if len(indices) and int(unsigned(indices).max()) >= limit:
            for start in range(0, self.num_rows, 4096):  # finds and names the row
                stop = min(start + 4096, self.num_rows)
                self.read(np.arange(start, stop, dtype=np.int64))

    def read(self, rows: Integers) -> CsrRows:
        """See `RowSource.read`."""
        return read_rows(self.matrix, rows, self._pool, self.name, rows)

    def _count_values(self, rows: Integers) -> int:
        indptr = self.matrix.indptr
        return int((indptr[rows + 1] - indptr[rows]).sum())


def is_mapped(array: Any) -> bool:
    """Whether an array lies in a file.

    Its type does not tell: scipy makes plain views of a `np.memmap`, and a copy of one
    in memory is a `np.memmap` as well.
    """
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, mmap.mmap)


class DenseSource:
    """Rows of an array or memmap of any number of dimensions.

    Args:
        array: Array of shape (rows, ...), of real numbers.
        name: The argument it came in, for error messages.

    Raises:
        ValueError: It has no rows or no features.
        TypeError: Its values are not real numbers.
    """

    numeric = True

    def __init__(self, array: Array, name: str = "x") -> None:
        check_not_empty(name, array.shape)
        check_real(name, array.dtype)
        self.known = KNOWN
        self.array = array
        self.num_rows = len(array)

    @property
    def traits(self) -> Traits:
        """See `Traits`."""
        mapped = is_mapped(self.array)
        return Traits(True, True, threads_help=mapped, count_values=lambda rows: 0)

    def read(self, rows: Integers) -> Array:
        """See `RowSource.read`."""
        taken: Array = np.asarray(self.array).take(rows, axis=0)
        return taken


class ItemSource:
    """Items of any sequence, for a transform to turn into numbers.

    Args:
        items: Anything with ``len`` and integer indexing. An array (of strings,
            say) is sliced as an array; a table (of pandas, polars or pyarrow) is
            taken from by position and stays what it is.
        name: The argument it came in, for error messages.
    """

    numeric = False

    def __init__(self, items: Any, name: str = "x") -> None:
        self.num_rows = len(items)
        check_not_empty(name, (self.num_rows,))
        self.items = items

    def read(self, rows: Integers) -> Any:
        """See `RowSource.read`; a list, or the kind of container `items` is."""
        if isinstance(self.items, np.ndarray):
            return self.items[rows]
        if is_table(self.items):
            return take(self.items, rows)
        return [self.items[row] for row in rows.tolist()]


def as_row_source(
    value: Any,
    name: str = "x",
    transform: Any = None,
    whole: np.dtype[Any] | None = None,
) -> RowSource:
    """Wraps one value a user passed; row sources pass through.

    Args:
        value: scipy sparse, array, table, row source, or sequence of items.
        name: The argument it came in, for error messages.
        transform: What its rows are handed to, if anything. It is given a table as
            one, by whose names a scikit-learn ``ColumnTransformer`` goes, whatever
            other columns there are.
        whole: What integers must fit that become floats beside others; by default
            `whole_for` the argument.

    Raises:
        TypeError: Rows cannot be taken from it.
        ValueError: It has no rows or no features, or is a table whose numbers do
            not become a matrix.
    """
    check_collected(value, name)
    if is_table(value) and transform is None:
        check_not_empty(name, getattr(value, "shape", (len(value),)))
        matrix = numbers_of(value, name, whole)
        value = value if matrix is None else matrix
    if sp.issparse(value):
        return CsrSource(value, name)
    if isinstance(value, RowSource):
        check_not_empty(name, (value.num_rows,))
        return value
    check_unmasked(name, value)
    if isinstance(value, np.ndarray) and transform is None:
        value = from_objects(value, name, whole=whole)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OUST":
        return DenseSource(value, name)
    if isinstance(value, np.ndarray) and not value.ndim:  # as numpy.load has it
        raise ValueError(
            f"`{name}` must have rows; received an array of shape () that holds "
            f"{shown(value.item())}. Pass {name}.item()."
        )
    if (
        isinstance(value, str | bytes | Mapping)
        or not hasattr(value, "__len__")
        or not hasattr(value, "__getitem__")
    ):
        is_path = isinstance(value, str | os.PathLike)
        mend = (
            "Pass a store as open_store(path), and load other files"
            if is_path
            else "Convert its file to a store, with sequence_loader.convert"
            if hasattr(value, "shape")
            else "Wrap it in one of those, for example list(...)"
        )
        raise TypeError(
            f"`{name}` must be a scipy sparse matrix, a store, an array, or a sequence "
            f"of items indexed by row; received {shown(value)} of type "
            f"{type(value).__name__}. {mend}."
        )
    return ItemSource(value, name)

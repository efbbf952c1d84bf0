"""SparseStore: rows of one or several stores, as a row source and like a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import shown
from sequence_loader.order.plan import BatchPlan
from sequence_loader.order.row_ids import taken_rows
from sequence_loader.rows.csr import CsrRows, DamagedRows
from sequence_loader.rows.read_counts import ReadCounts
from sequence_loader.rows.sources import Traits
from sequence_loader.store.column import StoreColumn
from sequence_loader.store.format import StoreError
from sequence_loader.store.local import closed
from sequence_loader.store.parts import StoreParts
from sequence_loader.store.reader import StoreReader, checked_memory, choose_reader
from sequence_loader.store.window_reader import WindowReader


class SparseStore:
    """Sparse rows on disk; made by `open_store`.

    A row source like a matrix in memory: pure, safe to share by threads, and
    picklable by path, so that it costs a worker nothing.

    Args:
        paths: Absolute paths of its parts.
        memory: See `open_store`.
        identities: Digests of the manifests, where the store is reopened and must
            be the one it was.

    Example:
        >>> store = open_store("train.store")
        >>> store.take([3, 3, 0]).shape[0]  # a csr_array, in this order
        3
        >>> train = SparseBatchSequence(store, shuffle="block")  # with its own `y`
    """

    numeric = True

    def __init__(
        self,
        paths: Sequence[Path],
        memory: int | str = "auto",
        identities: Sequence[str] | None = None,
    ) -> None:
        self._memory = checked_memory(memory)
        self._parts = StoreParts(paths, identities)
        self._open = True
        self._chosen: dict[str, StoreReader] = {}
        self.num_rows = self._parts.num_rows
        self.num_features = self._parts.num_features

    @property
    def paths(self) -> tuple[Path, ...]:
        """The directories."""
        return tuple(part.path for part in self._parts.list)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, features)."""
        return self.num_rows, self.num_features

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        return self._parts.nnz

    @property
    def identity(self) -> str:
        """What tells this store from others: the digests of its manifests."""
        return "+".join(part.identity for part in self._parts.list)

    @property
    def nbytes(self) -> int:
        """Bytes of all values in all files."""
        return self._parts.nbytes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, which may be kept in fewer bytes."""
        return self._parts.dtype

    @property
    def y(self) -> Array | None:
        """Targets, array of shape (rows, ...), or `None`; pickled by path."""
        return self._column("y")

    @property
    def sample_weight(self) -> Array | None:
        """Weights, floating array of shape (rows,), or `None`; pickled by path."""
        return self._column("sample_weight")

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """One name for each feature, or `None`."""
        return self._parts.list[0].manifest.feature_names

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the integers in `y` stand for, or `None`."""
        return self._parts.list[0].manifest.class_names

    @property
    def metadata(self) -> dict[str, Any]:
        """What was written with the (first) store, the user's own."""
        return dict(self._parts.list[0].manifest.metadata)

    def read(self, rows: Integers) -> CsrRows:
        """The given rows, in that order; see `RowSource.read`.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Canonical rows; their arrays belong to the caller.

        Raises:
            StoreError: A file is damaged.
            ValueError: The store is closed.
        """
        try:
            return self._reader().read(rows)
        except DamagedRows as error:
            raise StoreError(
                f"{error.finding}. Restore the files, or write the store again; "
                f"verify() finds all that is wrong."
            ) from None

    @property
    def traits(self) -> Traits:
        """How the rows are best read: windows are followed, and read once."""
        windows = isinstance(self._reader(), WindowReader)
        return Traits(
            fast=True,
            reads_together=not windows,
            threads_help=False,
            stays_here=windows,
            count_values=self._count_values,
            look_ahead=self._look_ahead,
            read_counts=self._read_counts,
        )

    def _look_ahead(self, plan: BatchPlan, epoch: int, number: int) -> None:
        self._reader().look_ahead(plan, epoch, number)

    def _read_counts(self) -> ReadCounts:
        return self._parts.counter.counts()

    def _count_values(self, rows: Integers) -> int:
        self._check_open()
        located = self._parts.locate(np.sort(rows))
        return int((located.stops - located.starts).sum())

    def take(self, rows: npt.ArrayLike) -> Any:
        """The given rows as a ``scipy.sparse.csr_array``, in that order.

        Args:
            rows: Row ids, negative ones counted from the end, or a boolean mask of
                shape (num_rows,).

        Raises:
            IndexError: A row is out of range.
            TypeError: `rows` holds neither integers nor booleans.
        """
        return self.read(taken_rows(rows, self.num_rows)).to_scipy()

    def verify(self, progress: bool = True) -> None:
        """Reads everything, and checks every digest and every index.

        Args:
            progress: Whether to show a progress bar where there is a terminal.

        Raises:
            StoreError: Something is not what was written; the message lists what.
        """
        from sequence_loader.progress import progress_bar
        from sequence_loader.store.verify import damage

        self._check_open()
        parts = self._parts.list
        total = sum(
            part.nbytes + part.manifest.arrays["indices"].nbytes for part in parts
        )
        found = []
        with progress_bar("verify", total, "bytes", shown=progress) as advance:
            for part in parts:
                for count, wrong in damage(part):
                    advance(count)
                    if wrong is not None:
                        found.append(wrong)
        if found:
            more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
            raise StoreError(
                f"{'; '.join(found[:5])}{more}. Restore the file, or write the store "
                f"again."
            )

    def close(self) -> None:
        """Closes the files and ends what reads ahead."""
        self._open = False
        while self._chosen:
            self._chosen.popitem()[1].close()
        self._parts.close()

    def __enter__(self) -> SparseStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.num_rows

    def __array__(self, *_: Any, **__: Any) -> Array:
        """Refuses what would make an object of each row: NumPy, or scikit-learn."""
        raise TypeError(
            f"a store is not an array, and may not fit in memory; received "
            f"{self!r}. Take some rows, for example store[:1000], or train from it "
            f"with SparseBatchSequence."
        )

    def __getitem__(self, key: Any) -> Any:
        """Rows by slice, number, ids or mask, as a ``csr_array``."""
        if isinstance(key, tuple):
            raise TypeError(
                f"a store is indexed by rows alone; received {shown(key)}. Take "
                f"columns of the rows: store[rows][:, columns]."
            )
        if isinstance(key, slice):
            return self.take(np.arange(*key.indices(self.num_rows)))
        return self.take(np.atleast_1d(key))

    def __reduce__(self) -> Any:
        self._check_open()
        identities = tuple(part.identity for part in self._parts.list)
        return type(self), (self.paths, self._memory, identities)

    def __repr__(self) -> str:
        if not self._open:
            return "SparseStore(closed)"
        where = [str(path) for path in self.paths]
        named = repr(where[0]) if len(where) == 1 else f"{len(where)} parts"
        return (
            f"SparseStore({named}, shape={self.shape}, nnz={self.nnz}, "
            f"dtype={self.dtype.name!r})"
        )

    def _check_open(self) -> None:
        if not self._open:
            raise closed()

    def _reader(self) -> StoreReader:
        """What reads rows, chosen when the first are read."""
        self._check_open()
        found = self._chosen.get("reader")
        if found is None:
            # Of two threads that choose at once, one wins: no lock, none to inherit.
            found = self._chosen.setdefault(
                "reader", choose_reader(self._parts, self._memory)
            )
        return found

    def _column(self, name: str) -> Array | None:
        self._check_open()
        column = self._parts.column(name)
        if column is None:
            return None
        arguments = self.__reduce__()[1]
        check = None
        if len(self._parts.list) == 1:
            check = self._parts.list[0].size_check(name)
            check()
        return StoreColumn.of(column, (_column_of, (arguments, name)), check)


def _column_of(arguments: Any, name: str) -> Array | None:
    store = SparseStore(*arguments)
    column: Array | None = getattr(store, name)
    return column

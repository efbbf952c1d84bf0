"""Sparse rows on disk: the format, and `open_store` to read it.

A store is a directory of plain ``.npy`` files (format 1.0, C order,
little-endian), which NumPy and scipy can open without this package:

    indptr.npy         int64, shape (rows + 1,): row i is values
                       indptr[i] .. indptr[i + 1] - 1; it starts at 0, does not
                       decrease, and ends at nnz
    indices.npy        uint16, int32 or (beyond 2^31 - 1 features) int64, shape
                       (nnz,): the column of each value, strictly ascending in each
                       row. Written as uint16 where there are at most 65,536
                       features and values of at least 4 bytes
    data.npy           any boolean, integer or floating dtype, shape (nnz,)
    y.npy              optional targets, shape (rows, ...)
    sample_weight.npy  optional floating weights, shape (rows,)
    manifest.json      what ties them together

``bfloat16``, which NumPy does not know, is in the files as two raw bytes (``V2``).
The manifest is a JSON object:

    digest         BLAKE2b-128, in hex, of the manifest's own bytes with this digest
                   written as 32 zeros; always the first entry
    format         "sequence_loader.store"
    version        1; a reader refuses any other
    shape, nnz     [rows, features] and the number of stored values
    sorted         true: rows are canonical
    block_bytes    16777216: how many bytes share a digest
    arrays         for each file: dtype, shape, and `digests`, the BLAKE2b-128 of
                   each `block_bytes` of the values (the header is not part of it:
                   dtype and shape imply it, byte for byte)
    feature_names  list of text, or null
    class_names    list of text, or null
    metadata       an object, the user's own

    values = np.load("train.store/data.npy", mmap_mode="r"), and so on;
    csr_array((values, indices, indptr), shape) is the matrix.

A store is written beside its path and appears there whole (`publishing`). Opening
one checks what costs nothing: the manifest and its digest, the size and header of
each file, the ends of `indptr`. Each row that is read is checked for columns out
of range. The digests are left to `SparseStore.verify`, which reads everything.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.checks import shown
from sequence_loader.order.permutation import Integers
from sequence_loader.rows.csr import Array, CsrRows, DamagedRows
from sequence_loader.store.column import StoreColumn
from sequence_loader.store.format import StoreError
from sequence_loader.store.local import closed
from sequence_loader.store.parts import StoreParts
from sequence_loader.store.reader import StoreReader, checked_memory, choose_reader
from sequence_loader.store.window import Plan
from sequence_loader.store.window_reader import WindowReader
from sequence_loader.store.writer import StoreWriter

__all__ = ["SparseStore", "StoreError", "StoreWriter", "open_store"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def open_store(paths: Paths, memory: int | str = "auto") -> SparseStore:
    """Opens a store, or several as one.

    Args:
        paths: A store's directory; a glob pattern; or a sequence of directories,
            whose rows follow one another in that order. Those of a pattern follow
            their names, with the numbers in them counted: ``part-2``, ``part-10``.
        memory: Bytes of memory that may hold rows of the store. ``"auto"`` looks at
            what is free. A store that fits is read through the page cache, which
            is filled ahead; of one that does not, the next windows of the order
            are read into private memory of at most that many bytes (of at most
            112 MiB for ``"auto"``).

    Returns:
        The store: a row source, to be passed as `x`.

    Raises:
        FileNotFoundError: There is no store at a path.
        StoreError: A store is damaged or incomplete, or the stores do not fit
            together.

    Example:
        >>> store = open_store("train.store")
        >>> parts = open_store("parts/*.store")
    """
    if isinstance(paths, str | os.PathLike):
        text = os.fspath(paths)
        found = [text]
        if not os.path.lexists(text) and glob.has_magic(text):
            found = sorted(glob.glob(text), key=_counted)
        if not found:
            raise FileNotFoundError(
                f"`paths` must name at least one store; nothing matches {text}. Check "
                f"the pattern."
            )
    else:
        given = list(paths) if isinstance(paths, Iterable) else [paths]
        if not all(isinstance(path, str | os.PathLike) for path in given):
            raise TypeError(
                f"`paths` must be a path, a pattern, or a sequence of paths; received "
                f"{shown(paths)}. Pass for example 'train.store'."
            )
        found = [os.fspath(path) for path in given]
        if not found:
            raise ValueError(
                "`paths` must name at least one store; received an empty sequence. "
                "Pass the path of a store."
            )
    return SparseStore([Path(os.path.abspath(path)) for path in found], memory)


def _counted(name: str) -> tuple[list[Any], str]:
    """What a name is sorted by, so that ``part-10`` comes after ``part-2``."""
    pieces: list[Any] = re.split("([0-9]+)", name)
    pieces[1::2] = map(int, pieces[1::2])
    return pieces, name


class SparseStore:
    """Sparse rows on disk; made by `open_store`.

    A row source like a matrix in memory: pure, safe to share by threads, and
    picklable by path, so that it costs a worker nothing.

    Args:
        paths: Absolute paths of its parts.
        memory: See `open_store`.
        identities: Digests of the manifests, where the store is reopened and must
            be the one it was.
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
    def nbytes(self) -> int:
        """Bytes of all values in all files."""
        return self._parts.nbytes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self._parts.dtypes[1]

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

    def look_ahead(self, plan: Plan, epoch: int, index: int) -> None:
        """Says that a batch is about to be read, so that the next ones can be fetched.

        A hint: `read` gives the same rows without it. `SparseBatchSequence` calls it.

        Args:
            plan: The `BatchPlan`; the same object for as long as it is the same.
            epoch: The epoch.
            index: Number of the batch.
        """
        self._reader().look_ahead(plan, epoch, index)

    def stored(self, rows: Integers) -> int:
        """How many values the given rows hold, without reading them.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Raises:
            StoreError: A file is damaged.
            ValueError: The store is closed.
        """
        self._check_open()
        located = self._parts.locate(np.sort(rows))
        return int((located.stops - located.starts).sum())

    @property
    def joins_reads(self) -> bool:
        """Whether several batches had better be read at once: windows are followed."""
        return not self.read_here

    @property
    def read_here(self) -> bool:
        """Whether other processes had better be sent rows: windows are read once."""
        return isinstance(self._reader(), WindowReader)

    def take(self, rows: npt.ArrayLike) -> Any:
        """The given rows as a ``scipy.sparse.csr_array``, in that order.

        Args:
            rows: Row ids, negative ones counted from the end, or a boolean mask of
                shape (num_rows,).

        Raises:
            IndexError: A row is out of range.
            TypeError: `rows` holds neither integers nor booleans.
        """
        return self.read(self._row_ids(rows)).to_scipy()

    def verify(self, progress: bool = True) -> None:
        """Reads everything, and checks every digest and every index.

        Args:
            progress: Whether to show a progress bar where there is a terminal.

        Raises:
            StoreError: Something is not what was written; the message lists what.
        """
        from sequence_loader.progress import ProgressBar
        from sequence_loader.store.verify import damage

        self._check_open()
        parts = self._parts.list
        total = sum(
            part.nbytes + part.manifest.arrays["indices"].nbytes for part in parts
        )
        found = []
        with ProgressBar("verify", total, "bytes", shown=progress) as bar:
            for part in parts:
                for count, wrong in damage(part):
                    bar.advance(count)
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
        return SparseStore, (self.paths, self._memory, identities)

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

    def _row_ids(self, rows: npt.ArrayLike) -> Integers:
        given = np.asarray(rows)
        if given.size == 0 and given.dtype.kind == "f":
            given = given.astype(np.int64)  # what NumPy makes of an empty list
        if given.ndim != 1 or given.dtype.kind not in "iub":
            raise TypeError(
                f"`rows` must be a one-dimensional array of integers or booleans; "
                f"received {shown(rows)}. Pass row ids or a mask."
            )
        if given.dtype.kind == "b":
            if len(given) != self.num_rows:
                raise IndexError(
                    f"`rows` as a mask must have {self.num_rows} entries, one for each "
                    f"row; received {len(given)}. Pass a mask of that length."
                )
            return np.flatnonzero(given)
        outside = (given >= self.num_rows) | (given < -self.num_rows)
        if outside.any():
            raise IndexError(
                f"`rows` must be in [{-self.num_rows}, {self.num_rows}); received "
                f"{given[outside][0]}. Pass rows that the store has."
            )
        ids = given.astype(np.int64)
        return np.where(ids < 0, ids + self.num_rows, ids)


def _column_of(arguments: Any, name: str) -> Array | None:
    store = SparseStore(*arguments)
    column: Array | None = getattr(store, name)
    return column

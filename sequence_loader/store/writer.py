"""StoreWriter: blocks of rows in, a published store out, in bounded memory."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sequence_loader.checks import absolute_path, integer, shown
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.indexes import check_order
from sequence_loader.rows.tables import check_columns
from sequence_loader.store.blocks import (
    DenseTargets,
    as_csr,
    checked_dtype,
    checked_extra,
    checked_metadata,
    checked_names,
    checked_weights,
)
from sequence_loader.store.dtypes import SMALLEST
from sequence_loader.store.format import ARRAYS, MANIFEST, SIDE_FILES, Manifest
from sequence_loader.store.publishing import PendingDirectory
from sequence_loader.store.row_files import RowFiles

OWNED = frozenset([MANIFEST, *(f"{name}.npy" for name in ARRAYS), *SIDE_FILES])
ENDED = "closed", "failed"
"""States in which nothing is left to discard."""


class StoreWriter:
    """Writes rows, block after block, into a store at `path`.

    Nothing is at `path` until `close`, which the ``with`` statement calls, has
    written and synced everything; then the whole store is there. Leaving the
    ``with`` block by an exception publishes nothing and removes what was written.

    Args:
        path: The directory to create. Its parent must exist.
        num_features: Number of columns.
        dtype: Type of the stored values, whatever that of the blocks is: a boolean,
            integer or floating type. float32 is what models are given by default.
            ``"smallest"`` keeps the values of blocks of one dtype in the fewest bytes
            that lose no bit of any, and in none where all are 1. They are read as the
            dtype of the blocks again.
        overwrite: Whether to replace a store at `path`, in one step, at the end.
        feature_names: One name for each feature.
        class_names: Names of the classes that integers in `y` stand for.
        metadata: A dict of anything JSON can hold, kept with the store.

    Raises:
        FileExistsError: Something is at `path` that may not be replaced.
        OSError: The place cannot be written to.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> with StoreWriter("new.store", num_features=50) as writer:
        ...     for block, labels in blocks:
        ...         _ = writer.append(block, y=labels)
        >>> open_store("new.store").shape
        (100, 50)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_features: int,
        dtype: Any = "float32",
        *,
        overwrite: bool = False,
        feature_names: Iterable[str] | None = None,
        class_names: Iterable[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.path = absolute_path("path", path)
        self.num_features = integer(
            "num_features", num_features, minimum=1, maximum=2**62 - 1
        )
        smallest = isinstance(dtype, str) and dtype == SMALLEST
        # What values are read as; where it is `None`, the first block decides.
        self.dtype = None if smallest else checked_dtype(dtype)
        self._one_dtype = False  # whether the first block has decided
        self._names = (
            checked_names("feature_names", feature_names, self.num_features),
            checked_names("class_names", class_names, None),
        )
        self._metadata = checked_metadata(metadata)
        # Those of the first table of each argument.
        self._columns: dict[str, list[tuple[str, ...]]] = {}
        self._targets = DenseTargets()
        self.block_name = "block"  # for messages; `convert` says which file
        self._lock = threading.Lock()
        self._owner: int | None = None  # the thread that has it
        self._state = "closed"  # until there is something to discard
        self._pending = PendingDirectory(self.path, OWNED, MANIFEST, overwrite)
        self._files = RowFiles(self.directory, self.num_features, self.dtype)
        self._state = "open"
        self._guarded(self._files.begin)

    @property
    def num_rows(self) -> int:
        """Rows that were written."""
        return self._files.num_rows

    @property
    def nnz(self) -> int:
        """Their values."""
        return self._files.nnz

    def append(
        self, block: Any, y: Any = None, sample_weight: Any = None
    ) -> StoreWriter:
        """Writes some rows. Threads may do so in turn.

        Args:
            block: Matrix of shape (rows, num_features): scipy sparse of any format,
                or an array. Column indices are sorted, values at the same place are
                summed (in the dtype of the block, as scipy does; what that cannot hold
                is refused), and explicit zeros are kept. Of the dtype of the store,
                floats are rounded, and what it cannot hold, as an integer that a float
                would round, is refused. A pandas, polars or pyarrow table of numbers is
                a block as well; one that has some of the `feature_names` must have all
                of them, in their order.
            y: Numbers of shape (rows, ...), with every block or with none. The
                first block decides the dtype and the shape of a row, and of tables
                the columns and their order.
            sample_weight: Array of shape (rows,), with every block or with none.

        Returns:
            The writer.

        Raises:
            TypeError: The block, or `y`, is not made of real numbers; or, of values
                kept in the fewest bytes, the block is of another dtype than before.
            ValueError: The shape does not fit, an index is out of range, a value
                cannot be converted, or the writer is closed.
            OSError: It could not be written; the writer has been discarded.
        """
        with self._in_turn():
            self._check_open()
            parts = (self.block_name, block), ("y", y), ("sample_weight", sample_weight)
            check_order(parts)
            columns = {name: list(seen) for name, seen in self._columns.items()}
            check_columns(block, columns.setdefault("block", []), self.block_name)
            check_columns(y, columns.setdefault("y", []), "y")
            self._check_order(*columns["block"])
            self._targets.add(y)
            rows = as_csr(block, self.num_features, self.block_name, self.dtype)
            extras = {
                "y": checked_extra("y", y, rows.num_rows),
                "sample_weight": checked_weights(sample_weight, rows.num_rows),
            }
            for name, values in extras.items():
                self._files.check_extra(name, values, rows.num_rows)
            self._check_dtype(rows)
            more = rows, extras, self.dtype, self.block_name
            self._guarded(lambda: self._files.write(*more))
            self._columns = columns
        return self

    @property
    def directory(self) -> Path:
        """Where the store is until it is published: `SIDE_FILES` may be put there."""
        return self._pending.directory

    def close(self) -> None:
        """Publishes the store. Does nothing the second time.

        Raises:
            FileExistsError: Another writer was faster; nothing was published.
            OSError: It could not be written; nothing was published.
        """
        with self._in_turn():
            if self._state != "closed":
                self._check_open()
                self._state = "closing"
                self._guarded(self._publish)
                self._state = "closed"

    def discard(self) -> None:
        """Removes what was written, and publishes nothing."""
        if self._state not in ENDED:
            self._state = "closed"
            self._files.close()
            self._pending.discard()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if getattr(self, "_state", "closed") not in ENDED:
            self.discard()
            warnings.warn(
                f"StoreWriter({str(self.path)!r}) was never closed, so it published "
                f"nothing. Use it in a `with` statement, or call close().",
                ResourceWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return (
            f"StoreWriter({str(self.path)!r}, num_features={self.num_features}, "
            f"dtype={SMALLEST if self.dtype is None else self.dtype.name!r}): "
            f"{self._state}, {self.num_rows} rows, {self.nnz} nonzeros"
        )

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Has threads wait for each other; one cannot wait for itself."""
        if self._owner == threading.get_ident():
            raise RuntimeError(
                f"the writer of {self.path} is in the middle of a block, and received "
                f"another call from the same thread, a signal handler's say. Append "
                f"when it is done."
            )
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    def _check_open(self) -> None:
        if self._state != "open":
            raise ValueError(
                f"the writer of {self.path} is {self._state}, and takes no more rows. "
                f"Write the store again with a new StoreWriter."
            )

    def _check_order(self, found: tuple[str, ...] = ()) -> None:
        """Raises ValueError where a table has features' names, but not all in order."""
        names = self._names[0] or ()
        if found != names and set(found).intersection(names):
            raise ValueError(
                f"`{self.block_name}` must have its columns in the order of "
                f"`feature_names`, {shown([*names])}; this table has "
                f"{shown([*found])}. Pass them in that order, or its numbers alone."
            )

    def _check_dtype(self, rows: CsrRows) -> None:
        """Where no bit may be lost, the first block decides what values are."""
        given = rows.data.dtype.newbyteorder("=")
        if self.dtype is None and rows.num_rows:
            self.dtype, self._one_dtype = checked_dtype(given, self.block_name), True
        if self._one_dtype and rows.num_rows and given != self.dtype:
            raise TypeError(
                f"`{self.block_name}` must be of the dtype of the first block, "
                f"{self.dtype}, so that dtype={SMALLEST!r} loses nothing; received "
                f"{given}. Pass block.astype({str(self.dtype)!r}), or all blocks in "
                f"one dtype that holds them."
            )

    def _publish(self) -> None:
        arrays, dtype = self._files.finish(self.dtype)
        shape = self.num_rows, self.num_features
        manifest = Manifest(
            shape, self.nnz, arrays, dtype, *self._names, self._metadata
        )
        (self._pending.directory / MANIFEST).write_bytes(manifest.to_bytes())
        self._pending.publish()

    def _guarded(self, action: Any) -> None:
        """Runs what writes; a store is whole or not at all, so a failure ends it."""
        try:
            action()
        except FileExistsError:
            self._fail()
            raise
        except OSError as error:
            self._fail()
            raise OSError(
                error.errno,
                f"writing the store {self.path} failed: {error.strerror}. Nothing was "
                f"published, and what was written has been removed",
            ) from error
        except BaseException:
            if self._state in ("open", "closing"):
                self._state = "broken"  # a part of the block may be in the files
            raise

    def _fail(self) -> None:
        """Removes what was written; who goes on to append is told."""
        closing = self._state == "closing"
        self.discard()
        self._state = "closed" if closing else "failed"

"""The arrays of a store while they are written, row after row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.rows.csr import CsrRows, canonical
from sequence_loader.store.array_file import ArrayFile
from sequence_loader.store.blocks import converted, pieces
from sequence_loader.store.dtypes import index_dtype, index_dtypes
from sequence_loader.store.format import ARRAYS, StoredArray, array_path
from sequence_loader.store.narrow_file import NarrowFile


class RowFiles:
    """Rows, and what comes with them, in files that grow.

    Args:
        directory: Where the files are.
        num_features: Number of columns.
        dtype: Type of the values in the file; `None` for the fewest bytes.

    Attributes:
        num_rows: Rows that were written.
        nnz: Their values.
    """

    def __init__(
        self, directory: Path, num_features: int, dtype: np.dtype[Any] | None
    ) -> None:
        self._directory, self._num_features = directory, num_features
        self._dtype = dtype
        self.num_rows = self.nnz = 0
        self._files: dict[str, ArrayFile] = {}
        self._data: ArrayFile | NarrowFile | None = None

    def begin(self) -> None:
        """Creates the files that every store has."""
        # Beside values in the fewest bytes, columns are in few bytes as well.
        indices = index_dtypes(self._num_features)[0]
        if self._dtype is not None:
            indices = index_dtype(self._num_features, self._dtype)
            self._data = ArrayFile(self._path("data"), self._dtype, ())
        for name, dtype in ("indptr", np.dtype(np.int64)), ("indices", indices):
            self._files[name] = ArrayFile(self._path(name), dtype, ())
        self._files["indptr"].write(np.zeros(1, np.int64))

    def check_extra(self, name: str, values: Array | None, num_rows: int) -> None:
        """What comes with one block comes with all, in the same shape and dtype.

        Args:
            name: ``y`` or ``sample_weight``.
            values: Array of shape (num_rows, ...), or `None`.
            num_rows: Rows of the block.

        Raises:
            ValueError: It does not.
        """
        file = self._files.get(name)
        late = file is None and values is not None and self.num_rows > 0
        if late or (file is not None and values is None and num_rows > 0):
            raise ValueError(
                f"{argument(name)} must come with every block or with none; this block "
                f"{'lacks it' if values is None else 'is the first to have it'}. "
                f"Pass `{name}` in each call of append."
            )
        if file is not None and values is not None:
            if values.shape[1:] != file.tail:
                raise ValueError(
                    f"{argument(name)} must have rows of shape {file.tail}, as in the "
                    f"first block; received {values.shape[1:]}. Reshape it."
                )
            converted(name, values, file.dtype, self.num_rows)

    def write(
        self,
        rows: CsrRows,
        extras: dict[str, Array | None],
        dtype: np.dtype[Any] | None,
        name: str,
    ) -> None:
        """Appends rows.

        Args:
            rows: They, as `as_csr` gives them.
            extras: What comes with them, as `check_extra` has seen it.
            dtype: What their values are read as.
            name: What they are, for error messages.

        Raises:
            ValueError: A column is out of range, or a value cannot be converted.
        """
        for extra, values in extras.items():
            if values is not None and len(values):
                if extra not in self._files:
                    path, tail = self._path(extra), values.shape[1:]
                    self._files[extra] = ArrayFile(path, values.dtype, tail)
                file = self._files[extra]
                file.write(converted(extra, values, file.dtype, self.num_rows))
        for piece in pieces(rows):
            ids = np.arange(self.num_rows, self.num_rows + piece.num_rows)
            piece = canonical(piece, name, ids)
            self._files["indptr"].write(piece.indptr[1:] + self.nnz)
            self._files["indices"].write(piece.indices)
            data = self._data_file(dtype)  # of no rows, nothing is decided
            data.write(converted(name, piece.data, data.dtype, self.num_rows, piece))
            self.num_rows += piece.num_rows
            self.nnz += len(piece.indices)

    def finish(
        self, dtype: np.dtype[Any] | None
    ) -> tuple[dict[str, StoredArray], np.dtype[Any]]:
        """Completes the files; returns what is in each, and what values are read as."""
        data = self._data_file(dtype)
        files: dict[str, Any] = self._files | {"data": data}
        arrays = {name: files[name].finish() for name in ARRAYS if name in files}
        return {k: v for k, v in arrays.items() if v is not None}, data.dtype

    def close(self) -> None:
        """Closes the files, whatever state they are in."""
        for file in (*self._files.values(), self._data):
            if file is not None:
                file.close()

    def _data_file(self, dtype: np.dtype[Any] | None) -> ArrayFile | NarrowFile:
        if self._data is None:
            dtype = np.dtype(np.float32) if dtype is None else dtype
            self._data = NarrowFile(self._path("data"), dtype)
        return self._data

    def _path(self, name: str) -> Path:
        return array_path(self._directory, name)

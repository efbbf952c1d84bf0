"""StoreColumn: `y` or `sample_weight` of a store, as an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.rows.sources import Traits

Reopen = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments, which give the array again in another process."""


class StoreColumn(np.ndarray[Any, Any]):
    """An array over a file, and a row source: its pickle is a path.

    What is computed or sliced from it is an ordinary array again. That the file has
    not been cut, which would kill the process, is looked at where the column is asked
    for, indexed or read.
    """

    numeric = True
    traits = Traits(True, True, threads_help=False, count_values=lambda rows: 0)
    _reopen: Reopen | None = None
    _check: Callable[[], None] | None = None

    @classmethod
    def of(
        cls, column: Array, reopen: Reopen, check: Callable[[], None] | None
    ) -> StoreColumn:
        """A view of `column`.

        Args:
            column: Array of shape (rows, ...).
            reopen: What a pickle of it holds.
            check: Raises an error where reading the map would kill the process.
        """
        made = column.view(cls)
        made._reopen, made._check = reopen, check
        return made

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self)

    def read(self, rows: Integers) -> Array:
        """See `RowSource.read`."""
        if self._check is not None:
            self._check()
        return np.asarray(self).take(rows, axis=0)

    def __array_finalize__(self, origin: Any) -> None:
        self._reopen = self._check = None

    def __array_wrap__(
        self, array: Array, context: Any = None, return_scalar: bool = False
    ) -> Any:
        plain = np.asarray(array)
        return plain if plain.ndim else plain[()]  # as of a plain array: a number

    def __iter__(self) -> Any:
        return iter(self[:])

    def __getitem__(self, key: Any) -> Any:
        if self._check is not None:
            self._check()
        found = super().__getitem__(key)
        return np.asarray(found) if isinstance(found, StoreColumn) else found

    def __reduce__(self) -> Any:
        if self._reopen is None:
            return np.asarray(self).__reduce__()
        return self._reopen

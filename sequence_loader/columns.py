"""`y` or `sample_weight` of all rows, given beside a source, and cut into blocks."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.checks import shown


class Column:
    """What was given for all rows, or nothing.

    Args:
        name: The argument: ``"y"`` or ``"sample_weight"``.
        given: Array-like or scipy sparse of shape (rows, ...), the path of a ``.npy``
            file, or `None`. Text in `y` becomes integers.

    Attributes:
        class_names: What the integers stand for, where text was given.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not one array with an entry for each row.
    """

    def __init__(self, name: str, given: Any) -> None:
        self._name = name
        self.class_names: tuple[str, ...] | None = None
        self._values: Any = None
        if sp.issparse(given):
            self._values = given.tocsr()
        elif given is not None:
            is_path = isinstance(given, str | os.PathLike)
            values = self._load(os.fspath(given)) if is_path else np.asarray(given)
            if values.ndim == 0:
                raise ValueError(
                    f"`{name}` must have one entry for each row; received "
                    f"{shown(given)}. Pass an array of shape (rows, ...)."
                )
            if values.dtype.kind == "O" and _all_text(values):  # of pandas, say
                values = values.astype(str)
            if name == "y" and values.dtype.kind in "UT":
                names, codes = np.unique(values, return_inverse=True)
                self.class_names = tuple(map(str, names))
                values = codes.reshape(values.shape)
            self._values = values

    def part(self, start: int, stop: int, own: Any) -> Any:
        """The entries of some rows; `own`, those of the source, if none were given."""
        if self._values is None:
            return own
        if self._values.shape[0] < stop:
            self._refuse(f"at least {stop}")
        return self._values[start:stop]

    def check_length(self, num_rows: int) -> None:
        """Raises ValueError unless what was given is for so many rows."""
        if self._values is not None and self._values.shape[0] != num_rows:
            self._refuse(str(num_rows))

    def _refuse(self, rows: str) -> None:
        raise ValueError(
            f"`{self._name}` must have one entry for each row, {rows} in all; received "
            f"{self._values.shape[0]}. Pass the {self._name} of these rows, in their "
            f"order."
        )

    def _load(self, path: str) -> Any:
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"`{self._name}` must be an array or a .npy file; there is no {path}. "
                f"Check the path."
            ) from None
        except (ValueError, EOFError) as error:
            # NumPy takes what is no .npy file for a pickle, and advises to trust it.
            pickled = "pickle" in str(error)
            why = "it is another file, or holds objects" if pickled else str(error)
            raise ValueError(
                f"`{self._name}` must be an array, or a .npy file of numbers or text; "
                f"{path} cannot be read: {why.rstrip('.')}. Write it with "
                f"numpy.save, texts with .astype(str)."
            ) from None
        if not isinstance(values, np.ndarray):
            values.close()
            raise ValueError(
                f"`{self._name}` must be one array; received {path}, an archive of "
                f"several. Write the array with numpy.save."
            )
        return values


def _all_text(values: Any) -> bool:
    return values.size > 0 and all(isinstance(value, str) for value in values.flat)

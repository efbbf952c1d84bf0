"""`y` or `sample_weight` of all rows, given beside a source, and cut into blocks.

And what labels that are text become: the places of their names among the classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array
from sequence_loader.batches.targets import as_array
from sequence_loader.checks import shown


class Column:
    """What was given for all rows, or nothing.

    Args:
        name: The argument: ``"y"`` or ``"sample_weight"``.
        given: Array-like or scipy sparse of shape (rows, ...), the path of a ``.npy``
            file, or `None`. Text in `y` becomes integers.
        class_names: The names to look text up in; by default those that occur,
            sorted.

    Attributes:
        class_names: What the integers stand for, where text was given.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not one array with an entry for each row.
    """

    def __init__(
        self, name: str, given: Any, class_names: tuple[str, ...] | None = None
    ) -> None:
        self._name = name
        self.class_names: tuple[str, ...] | None = None
        self._values: Any = None
        if sp.issparse(given):
            self._values = given.tocsr()
        elif given is not None:
            is_path = isinstance(given, str | os.PathLike)
            values = self._load(os.fspath(given)) if is_path else as_array(given, name)
            if values.ndim == 0:
                raise ValueError(
                    f"`{name}` must have one entry for each row; received "
                    f"{shown(given)}. Pass an array of shape (rows, ...)."
                )
            if values.dtype.kind == "O" and _all_text(values):  # of pandas, say
                values = values.astype(str)
            if name == "y" and values.dtype.kind in "UT":
                found, codes = np.unique(values, return_inverse=True)
                names = tuple(map(str, found))
                self.class_names = names if class_names is None else class_names
                places = class_places(names, self.class_names)
                values = places[codes.reshape(values.shape)]
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


def class_places(names: Sequence[str], class_names: Sequence[str]) -> Array:
    """The place of each of `names` among `class_names`.

    Returns:
        int32 array of shape (names,).

    Raises:
        ValueError: One is not among them, or one of them occurs twice.
    """
    known = {name: place for place, name in enumerate(class_names)}
    if len(known) < len(class_names):
        raise ValueError(
            f"`class_names` must be different names; received {shown(class_names)}. "
            f"Pass each once."
        )
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"`class_names` must hold every label of the rows; received "
            f"{shown(tuple(class_names))}, without {shown(missing)}. Add what is "
            f"missing, in any place."
        )
    return np.array([known[name] for name in names], np.int32)


def check_classes(y: Any, class_names: Sequence[str]) -> None:
    """Raises ValueError where integers in `y` have no name.

    Args:
        y: Array of shape (n, ...), looked at where it holds one integer for each row.
        class_names: The names.
    """
    array = np.asarray(y)
    if array.dtype.kind not in "biu" or array.size != len(array) or not array.size:
        return  # numbers; or several a row, of which there is more than one kind
    needed = int(array.max()) + 1
    if needed > len(class_names):
        raise ValueError(
            f"`class_names` must name each class, of which `y` has {needed}, counted "
            f"from 0; received {len(class_names)}: {shown(tuple(class_names))}. Pass "
            f"all names, or none."
        )


def _all_text(values: Any) -> bool:
    return values.size > 0 and all(isinstance(value, str) for value in values.flat)

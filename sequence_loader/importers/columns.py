"""`y` or `sample_weight` of all rows, given beside a source, and cut into blocks."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arguments import argument
from sequence_loader.batches.targets import as_array
from sequence_loader.checks import shown
from sequence_loader.importers.column_files import read_column
from sequence_loader.importers.csv_column import header_of
from sequence_loader.importers.labels import Named, named, names_of, placed
from sequence_loader.rows.indexes import check_order, joined
from sequence_loader.rows.tables import check_collected, is_table
from sequence_loader.store.blocks import DenseTargets


class Column:
    """What was given for all rows, or nothing.

    Args:
        name: The argument: ``"y"`` or ``"sample_weight"``.
        given: Array-like or scipy sparse of shape (rows, ...), a file (`read_column`),
            or `None`. Classes in `y` become integers.
        class_names: The names to look classes up in; by default those that occur.
        classes: Whether numbers in `y` are classes.

    Attributes:
        class_names: What the integers stand for, where classes were given.
        turned: How many rows the source would have if its columns were its rows, and
            the `transpose` that makes it so; `None` where no option does.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not one array with an entry for each row.
    """

    def __init__(
        self,
        name: str,
        given: Any,
        class_names: tuple[str, ...] | None = None,
        classes: bool = False,
    ) -> None:
        self._name, self._file = name, ""
        self._given, self._beside = given, list[Any]()
        self.class_names: tuple[str, ...] | None = None
        self.turned: tuple[int, bool] | None = None
        self._values: Any = None
        check_collected(given, name)
        if sp.issparse(given):
            DenseTargets(name).add(given)
            self._values = given.tocsr()
        elif given is not None:
            found: Any = given
            if isinstance(given, str | os.PathLike):
                self._file = os.fspath(given)
                asked = classes or class_names is not None
                found = read_column(name, self._file, asked)
            elif not hasattr(given, "dtype") and not is_table(given):
                found = _listed(given, name)
            if not isinstance(found, Named):
                if not is_table(found) and np.ndim(found) == 0:
                    raise ValueError(
                        f"{argument(name)} must have one entry for each row; received "
                        f"{shown(given)}. Pass an array of shape (rows, ...)."
                    )
                found = named(found, numbers=classes, name=name, given=given)
            if name == "y" and isinstance(found, Named):
                names = names_of([found]) if class_names is None else class_names
                self.class_names, found = names, placed(found, names)
            self._values = found if name == "y" else _weights(found)

    def note(self, rows: Any) -> None:
        """Remembers the index of a block, if it has one and what was given as well."""
        if hasattr(self._given, "iloc"):
            self._beside.append(joined([rows]))

    def part(self, start: int, stop: int, own: Any) -> Any:
        """The entries of some rows; `own`, those of the source, if none were given."""
        if self._values is None:
            return own
        if self._values.shape[0] < stop:
            self._refuse(f"at least {stop}")
        return self._values[start:stop]

    def check_length(self, num_rows: int) -> None:
        """Raises ValueError unless what was given is for these rows, and so many."""
        if self._beside:
            blocks = "pd.concat(source)", joined(self._beside)
            check_order((blocks, (self._name, self._given)))
        if self._values is not None and self._values.shape[0] != num_rows:
            # Empty lines at the end of a text are no entries.
            if not (self._file and np.ma.getmaskarray(self._values[num_rows:]).all()):
                self._refuse(str(num_rows))

    def _refuse(self, rows: str) -> None:
        count = self._values.shape[0]
        mend = f"Pass the {self._name} of these rows, in their order"
        if self.turned is not None and self.turned[0] == count:
            turn = f"Leave {argument('transpose')} out"
            if self.turned[1]:
                turn = f"Pass {argument('transpose', True)}"
            mend = f"{turn}, if the {count} columns are the rows; or p{mend[1:]}"
        if self._file:
            table, names = header_of(self._file)
            if names and not rows.isdecimal():  # there may be one row more
                mend += (
                    f"; the first line, {shown(names, 60)}, was taken for names: if it "
                    f"is a row, write names above it, and pass {table}:NAME"
                )
            elif table and not names and str(count - 1) == rows:
                mend += f"; {table}:NAME if its first line is a name"
        raise ValueError(
            f"{argument(self._name)} must have one entry for each row, {rows} in all; "
            f"received {count}. {mend}."
        )


def _listed(given: Any, name: str) -> Any:
    """A list as an array: of text beside what is missing, NumPy makes text of both."""
    array = as_array(given, name)
    return np.array(given, object) if array.dtype.kind == "U" else array


def _weights(found: Any) -> Any:
    """Weights, all of which must be known."""
    if isinstance(found, Named):
        raise ValueError(
            f"{argument('sample_weight')} must hold numbers; received "
            f"{shown(list(found.names[:3]))}. Pass a number for each row."
        )
    absent = np.ma.getmaskarray(found)
    if absent.any():
        raise ValueError(
            f"{argument('sample_weight')} must be known for each row; row "
            f"{np.argwhere(absent)[0][0]}, counted from 0, has none. Pass 0 for a row "
            f"that is not to count."
        )
    return np.ma.getdata(found)

"""Columns and lists that are none of numbers: what they hold, and what to make of it.

Each mend is an expression that runs, of pandas, polars and pyarrow alike, or one for
each. Dates are days since 1970, for they have no order as classes; categories are
their codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.checks import shown
from sequence_loader.rows.columns import as_arrow, numbers_of_column, package
from sequence_loader.rows.objects import is_missing, is_nan
from sequence_loader.rows.tables import columns_of, is_table, numbers_of

DAYS = "(np.asarray({0}, 'datetime64[us]') - np.datetime64(0, 's')) / "
DAYS += "np.timedelta64(1, 'D')"
SECONDS = "np.asarray({0}, 'timedelta64[us]') / np.timedelta64(1, 's')"
HASHING = "HashingVectorizer(n_features=4096).transform"
"""Few enough features that batches of them may be dense."""
_NUMBERS = {
    "dates": DAYS,
    "durations": SECONDS,
    "periods": DAYS.format("{0}.dt.to_timestamp()"),
    "dates with a time zone": DAYS.format("pd.to_datetime({0})"),
}


@dataclass(frozen=True)
class OddColumn:
    """A column of a table that is none of numbers.

    Attributes:
        table: The table.
        name: The argument that the table came in.
        label: What the column is called, or `None` if the table is that column.
        others: All columns of the table that are none of numbers.
        kind: What it holds, in the plural.
        lacks: Whether some of it is missing.
    """

    table: Any
    name: str
    label: Any
    others: tuple[Any, ...]
    kind: str
    lacks: bool = False

    @property
    def what(self) -> str:
        """The column and its kind, in words."""
        return f"column {self.label!r} of {self.kind}"

    @property
    def unit(self) -> str:
        """What dates or durations are counted in."""
        return "seconds" if self.kind == "durations" else "days"

    @property
    def numbers(self) -> str | None:
        """The column as numbers; `None` where none are known."""
        made = _NUMBERS.get(self.kind)
        if self.kind == "categories":
            made = {
                "polars": "{0}.to_physical()",
                "pyarrow": "{0}.unify_dictionaries().combine_chunks().indices",
            }.get(package(self.table), "{0}.cat.codes")
            if self.label is None and package(self.table) == "pyarrow":
                made = "{0}.dictionary_encode().unify_dictionaries().combine_chunks()"
                made += ".indices"
            if self.lacks:  # it becomes 0, for an Embedding takes no -1
                made = {
                    "polars": f"({made} + 1).fill_null(0)",
                    "pyarrow": f"np.asarray({made}.fill_null(-1)) + 1",
                }.get(package(self.table), f"{made} + 1")
        return None if made is None else made.format(self._column)

    @property
    def texts(self) -> str:
        """The column as texts alone: what is missing is an empty one."""
        if not self.lacks:
            return self._column
        pandas = hasattr(self.table, "iloc")
        return f"{self._column}.{'fillna' if pandas else 'fill_null'}('')"

    @property
    def replaced(self) -> str | None:
        """The table with numbers in place of the column, or `None`."""
        numbers, label = self.numbers, self.label
        if label is None:
            return numbers
        if numbers is None or not isinstance(label, str):
            return None
        if package(self.table) == "polars":
            return f"{self.name}.with_columns(**{{{label!r}: {numbers}}})"
        if package(self.table) == "pyarrow":
            place = self.table.column_names.index(label)
            return f"{self.name}.set_column({place}, {label!r}, [{numbers}])"
        return f"{self.name}.assign(**{{{label!r}: {numbers}}})"

    def without(self, *labels: Any) -> str:
        """The table without some columns, by default this one."""
        drop = {"polars": "drop({})", "pyarrow": "drop_columns({})"}.get(
            package(self.table), "drop(columns={})"
        )
        return f"{self.name}.{drop.format(list(labels or [self.label]))}"

    @property
    def one_hot(self) -> str | None:
        """The table with a column for each category, or `None`."""
        if self.label is None or package(self.table) == "pyarrow":
            return None
        if package(self.table) == "polars":
            return f"{self.name}.to_dummies({self.label!r})"
        return f"pd.get_dummies({self.name}, columns=[{self.label!r}])"

    @property
    def input_mend(self) -> str:
        """What to pass as `x` instead, after "Pass"."""
        column, alone = self._column, len(self._all) < 2

        def beside(made: str) -> str:
            return f"{{'others': {self.without()}, {str(self.label)!r}: {made}}}"

        if self.kind == "texts":
            made = f"{self.texts} with transform={HASHING}"
            if not alone:
                transform = f"{{'others': None, {str(self.label)!r}: {HASHING}}}"
                made = f"{beside(self.texts)} with transform={transform}"
        elif self.kind == "categories":
            codes = str(self.numbers) if alone else beside(str(self.numbers))
            absent = ", 0 where one is missing" * self.lacks
            made = f"codes{absent}, for an Embedding: {codes}"
        elif self.replaced is not None:
            made = f"{self.unit} as numbers: {self.replaced}"
        elif self.kind == "lists":
            made = f"lists of one length as an array: np.array({column}.to_list())"
        else:
            made = ""
        hot = self.one_hot if self.kind in ("texts", "categories") else None
        if hot is not None:
            what = "of categories" if self.kind == "texts" else "a column for each"
            made += f"; or, {what}, {hot}"
        elif not alone:
            made += f"{'; or ' * bool(made)}the others: {self.without()}"
        return made or f"{column} with a transform that makes numbers of it"

    @property
    def _all(self) -> list[Any]:
        return [label for label, _ in columns_of(self.table) or ()]

    @property
    def _column(self) -> str:
        return self.name if self.label is None else f"{self.name}[{self.label!r}]"


def odd_column(table: Any, name: str) -> OddColumn | None:
    """The first column of a table that is none of numbers; `None` if there is none.

    Args:
        table: Anything; only tables are looked at. One of one axis is that column.
        name: The argument it came in.
    """
    if not is_table(table):
        return None
    columns = columns_of(table)
    if columns is None:
        kind = column_kind(table, name)
        if kind is None:
            return None
        return OddColumn(table, name, None, (), kind, _lacks(table))
    kinds = [(*each, column_kind(each[1], name)) for each in columns]
    found = [each for each in kinds if each[2] is not None]
    if not found:
        return None
    label, column, kind = found[0]
    others = tuple(label for label, *_ in found)
    return OddColumn(table, name, label, others, str(kind), _lacks(column))


def _lacks(column: Any) -> bool:
    if hasattr(column, "isna"):
        return bool(np.any(column.isna()))
    count = getattr(column, "null_count", 0)  # of polars a method
    return bool(count() if callable(count) else count)


def column_kind(column: Any, name: str) -> str | None:
    """What a column of a table holds, in the plural; `None` if it holds numbers."""
    made = numbers_of_column(column, None, name, np.dtype(np.float64))
    if made.dtype.kind in "biuf":
        return None
    dtype = getattr(as_arrow(column), "type", getattr(column, "dtype", None))
    text = str(dtype).lower()
    if hasattr(dtype, "categories") or text.startswith(("categor", "enum", "diction")):
        return "categories"
    if text.startswith("period"):
        return "periods"
    return kind_of(made)


def kind_of(array: Array) -> str:
    """What an array that is none of numbers holds, in the plural."""
    kind = {"M": "dates", "m": "durations", "U": "texts", "S": "texts", "T": "texts"}
    if array.dtype.kind in kind:
        return kind[array.dtype.kind]
    items = array.ravel().tolist() if array.dtype.kind == "O" else []
    items = [item for item in items if not (is_missing(item) or is_nan(item))]
    for each, types in (
        ("texts", (str, bytes)),
        ("dates", (date, np.datetime64)),
        ("durations", (timedelta, np.timedelta64)),
        ("times of day", time),
    ):
        if items and all(isinstance(item, types) for item in items):
            zones = each == "dates" and any(getattr(i, "tzinfo", None) for i in items)
            return f"{each} with a time zone" if zones else each
    if items and not any(
        isinstance(item, Mapping | str) or not hasattr(item, "__len__")
        for item in items
    ):
        return "lists"
    types_of = {type(item).__name__ for item in items}
    return f"objects ({', '.join(sorted(types_of)[:3]) or array.dtype})"


def matrix_of(table: Any, name: str, whole: np.dtype[Any] | None = None) -> Any:
    """As `numbers_of`, but raises TypeError where a column is none of numbers."""
    matrix = numbers_of(table, name, whole)
    if matrix is not None:
        return matrix
    odd = odd_column(table, name)
    if odd is None or odd.label is None:
        raise TypeError(
            f"`{name}` must have columns of numbers; received {shown(table)}. Pass "
            f"numbers, and as y what is a label."
        )
    mend = f"{odd.without(*odd.others)}, and as y what is a label"
    if odd.kind == "texts" and package(table) != "pyarrow":
        vectors = f"{HASHING}({odd.texts})"
        mend += f"; or scipy.sparse.hstack([{odd.without(*odd.others)}, {vectors}])"
    elif odd.kind == "categories" and odd.one_hot is not None:
        mend += f"; or, a column for each category, {odd.one_hot}"
    elif odd.replaced is not None:
        mend += f"; or {odd.unit} as numbers: {odd.replaced}"
    raise TypeError(
        f"`{name}` must have columns of numbers; received a {type(table).__name__} "
        f"with others in {shown(list(odd.others))}: {odd.what}. Pass {mend}."
    )

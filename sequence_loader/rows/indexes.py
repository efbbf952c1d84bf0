"""What the indexes of pandas' tables say of which rows belong together.

Rows belong together by position, and an index says nothing. But where two tables have
the same labels in other orders, or labels are passed for positions, one of them is not
what its user takes it for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sequence_loader.rows.columns import package


def check_order(named: Iterable[tuple[str, Any]]) -> None:
    """Raises ValueError where tables have one index, in different orders.

    Args:
        named: Arguments by their names, of any kind.
    """
    tables = _tables(named)
    for name, table in tables[1:]:
        first, index, other = tables[0][0], tables[0][1].index, table.index
        if len(index) != len(other) or index.nlevels != other.nlevels:
            continue
        if index.equals(other):
            continue
        if index.is_unique and other.is_unique and index.isin(other).all():
            pairs = (pair for pair in zip(index, other) if pair[0] != pair[1])
            for here, there in pairs:
                raise ValueError(
                    f"`{name}` must have its rows in the order of `{first}`: they "
                    f"belong together by position; received the same index in another "
                    f"order, {there!r} beside {here!r}. Pass "
                    f"{name}.loc[{first}.index], or {name}.to_numpy(), if positions "
                    f"are right."
                )


def check_positions(rows: Any, named: Iterable[tuple[str, Any]]) -> None:
    """Raises ValueError where `rows` is an index of labels, or a mask of other rows.

    Args:
        rows: The argument `rows`, of any kind.
        named: The arguments that have these rows.
    """
    tables = _tables(named)[:1]
    if package(rows) != "pandas":
        return
    if hasattr(rows, "index"):  # of row ids it says nothing
        is_mask = str(getattr(rows, "dtype", "")) in ("bool", "boolean")
        check_order([*tables, ("rows", rows)] if is_mask else ())
        return
    labels = np.asarray(rows)
    for name, table in tables:
        if labels.dtype.kind not in "iu" or not table.index.is_unique:
            return
        positions = table.index.get_indexer(rows)
        differ = np.flatnonzero(positions != labels)
        if len(differ) and (positions >= 0).all():
            label, position = labels[differ[0]], positions[differ[0]]
            raise ValueError(
                f"`rows` must hold positions; received labels of the index of "
                f"`{name}`, where {label} is at position {position}. Pass "
                f"{name}.index.get_indexer(rows), or rows.to_numpy(), if they are "
                f"positions."
            )


def check_names(name: str, table: Any, names: Callable[[], list[str]]) -> None:
    """Raises ValueError where a table has the rows of files, in another order.

    Args:
        name: What the table is called.
        table: Of any kind.
        names: () -> those of the rows of the files.
    """
    for _, each in _tables([(name, table)]):
        index = each.index
        if index.inferred_type != "string" or not index.is_unique:
            return
        found = names()
        differ = [pair for pair in zip(index, found) if pair[0] != pair[1]]
        if differ and len(index) == len(found) and set(index) == set(found):
            raise ValueError(
                f"`{name}` must have its rows in the order of the files: they belong "
                f"together by position; received the names of their rows as its index "
                f"in another order, {differ[0][0]!r} where they have {differ[0][1]!r}. "
                f"Pass {name}.loc[names], with the names of the rows in their order, "
                f"or {name}.to_numpy(), if positions are right."
            )


def _tables(named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Those of pandas, with an index."""
    tables = [each for each in named if package(each[1]) == "pandas"]
    return [each for each in tables if hasattr(each[1], "index")]

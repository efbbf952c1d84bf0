"""What the indexes of pandas' tables say of which rows belong together.

Rows belong together by position, and an index says nothing. But where two tables have
the same labels in other orders, or labels are passed for positions, one of them is not
what its user takes it for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from sequence_loader.checks import as_numpy


def check_order(named: Iterable[tuple[str, Any]]) -> None:
    """Raises ValueError where tables have one index, in different orders.

    Args:
        named: Arguments by their names, of any kind.
    """
    seen: list[tuple[str, Any]] = []
    for name, table in _tables(named):
        index = table.index
        alike = [(first, other) for first, other in seen if _is_like(other, index)]
        if any(index.equals(other) for _, other in alike):
            continue
        for first, other in alike:
            place = _moved(other, index)
            if place is not None:
                mend = "columns of one table"  # of repeated labels, loc takes each
                if index.is_unique:
                    mend = f"{name}.loc[{first}.index]"
                raise ValueError(
                    f"`{name}` must have its rows in the order of `{first}`: they "
                    f"belong together by position; received the same index in another "
                    f"order, {_label(index, place)} beside {_label(other, place)}. "
                    f"Pass {mend}, or {name}.to_numpy(), if positions are right."
                )
        seen.append((name, index))


def check_transformed(name: str, rows: Any, result: Any) -> None:
    """Raises ValueError where a transform gave the rows of a table in another order.

    Args:
        name: What its input is called.
        rows: What it was given, of any kind.
        result: What it gave.
    """
    tables = _tables([("rows", rows), ("result", result)])
    if len(tables) < 2 or _is_default(result.index):
        return
    before, after = rows.index, result.index
    if not _is_like(before, after) or after.equals(before):
        return
    place = _moved(before, after)
    if place is not None:
        raise ValueError(
            f"`transform` of `{name}` must keep the order of its rows; it returned the "
            f"same index in another order, {_label(after, place)} where it was given "
            f"{_label(before, place)}. Return result.loc[rows.index], or an array."
        )


def check_positions(rows: Any, named: Iterable[tuple[str, Any]]) -> None:
    """Raises ValueError where `rows` is an index of labels, or a mask of other rows.

    Args:
        rows: The argument `rows`, of any kind.
        named: The arguments that have these rows.
    """
    tables = _tables(named)
    if _tables([("rows", rows)]):  # of row ids, its index says nothing
        given = as_numpy("rows", rows)
        is_mask = given.dtype.kind == "b" and given.ndim == 1
        check_order([*tables, ("rows", rows)] if is_mask else ())
    if not tables or not hasattr(rows, "get_indexer"):
        return
    labels = np.asarray(rows)
    for name, table in tables:
        if labels.dtype.kind not in "iu" or not table.index.is_unique:
            continue
        if not rows.isin(table.index).all():
            continue
        positions = table.index.get_indexer(rows)
        differ = np.flatnonzero(positions != labels)
        if not len(differ):
            return
        label, position = labels[differ[0]], positions[differ[0]]
        raise ValueError(
            f"`rows` must hold positions; received labels of the index of "
            f"`{name}`, where {label} is at position {position}. Pass "
            f"{name}.index.get_indexer(rows), or rows.to_numpy(), if they are "
            f"positions."
        )


def check_sampler(sampler: Any, rows: Any, named: Iterable[tuple[str, Any]]) -> None:
    """Raises ValueError where what a sampler knows of rows is in another order.

    Args:
        sampler: One that may have `described`: a table without columns, or `None`.
        rows: Row ids of those that it knows of; `None` for all.
        named: The arguments that have these rows.
    """
    described = getattr(sampler, "described", None)
    if described is None:
        return
    tables = _tables(named)
    if rows is not None:
        tables = [
            (f"{name}.iloc[rows]", table.index[rows].to_frame())
            for name, table in tables
        ]
    name = next(each.name for each in fields(sampler))
    check_order([*tables, (name, described)])


def joined(tables: Sequence[Any]) -> Any:
    """A table of the indexes of several, one after another; `None`, if one has none."""
    if len(_tables([("", each) for each in tables])) < len(tables):
        return None
    index = tables[0].index
    return index.append([each.index for each in tables[1:]]).to_frame()


def check_names(
    name: str, table: Any, names: Callable[[], list[str]], store: str | None = None
) -> None:
    """Raises ValueError where a table has the rows of files, in another order.

    Args:
        name: What the table is called.
        table: Of any kind.
        names: () -> those of the rows of the files.
        store: What the store is called that has them as ``metadata["barcodes"]``.
    """
    of = f"`{store}`" if store else "the files"
    for _, each in _tables([(name, table)]):
        index = each.index
        if _is_default(index):
            return
        found = np.array([str(each) for each in names()], object)
        if len(index) != len(found):
            return
        called = np.array([str(label) for label in index], object)
        differ = np.flatnonzero(called != found)
        if len(differ) and np.array_equal(np.sort(called), np.sort(found)):
            place = differ[0]
            mend = "its entries in their order"
            if index.is_unique and all(isinstance(label, str) for label in index):
                mend = f"{name}.loc[names], with the names of the rows in their order"
                if store:
                    mend = f"{name}.loc[{store}.metadata['barcodes']]"
            raise ValueError(
                f"`{name}` must have its rows in the order of {of}: they belong "
                f"together by position; received the names of their rows as its index "
                f"in another order, {called[place]!r} where they have "
                f"{found[place]!r}. Pass {mend}, or {name}.to_numpy(), if positions "
                f"are right."
            )


def _tables(named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Those of pandas, and of what is made from it, that have an index."""
    return [each for each in named if hasattr(each[1], "iloc") and _is_pandas(each[1])]


def _is_pandas(table: Any) -> bool:
    homes = (kind.__module__.partition(".")[0] for kind in type(table).__mro__)
    return "pandas" in homes


def _is_like(index: Any, other: Any) -> bool:
    """Whether two indexes have as many labels, of as many levels."""
    return len(index) == len(other) and bool(index.nlevels == other.nlevels)


def _is_default(index: Any) -> bool:
    """Whether it is what pandas numbers the rows of a new table by."""
    return type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)


def _label(index: Any, place: int) -> str:
    """A label as Python shows it, and not NumPy."""
    return repr(index[[place]].tolist()[0])


def _moved(index: Any, other: Any) -> int | None:
    """The first place where one has a label that the other has elsewhere.

    Returns:
        `None`, unless both have the same labels, each as often, in different orders.
    """
    # One code for a label whatever the types of both, and -1 for all that is missing.
    try:
        codes = index.append(other).factorize()[0]
    except TypeError:  # of lists, which nobody can look up
        return None
    here, there = codes[: len(index)], codes[len(index) :]
    differ = np.flatnonzero(here != there)
    if len(differ) and np.array_equal(np.sort(here), np.sort(there)):
        return int(differ[0])
    return None

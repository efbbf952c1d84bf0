"""One value, or a dict / tuple of values: the inputs and targets of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sequence_loader.rows.sources import RowSource

Structure: TypeAlias = Any
"""A leaf, ``dict[str, leaf]`` or ``tuple[leaf, ...]``; one level deep."""


def map_structure(
    function: Callable[..., Any], structure: Structure, *others: Structure
) -> Structure:
    """Applies `function` to each leaf, with the leaves of `others` in its place.

    Args:
        function: Takes one leaf of each structure.
        structure: Decides the shape; the others must have the same.
        *others: More structures of that shape.

    Returns:
        A structure of the results.
    """
    if isinstance(structure, dict):
        return {
            name: function(leaf, *(other[name] for other in others))
            for name, leaf in structure.items()
        }
    if isinstance(structure, tuple):
        return tuple(map(function, structure, *others))
    return function(structure, *others)


def leaves(structure: Structure) -> list[Any]:
    """The leaves in the structure's own order."""
    if isinstance(structure, dict):
        return list(structure.values())
    return list(structure) if isinstance(structure, tuple) else [structure]


def names(argument: str, structure: Structure) -> Structure:
    """How a user writes each leaf: ``x``, ``x['tokens']`` or ``x[0]``."""
    if isinstance(structure, dict):
        return {name: f"{argument}[{name!r}]" for name in structure}
    if isinstance(structure, tuple):
        return tuple(f"{argument}[{i}]" for i in range(len(structure)))
    return argument


def named_parts(
    x: Any, y: Any, sample_weight: Any, transform: Structure | None, num_rows: int
) -> list[tuple[str, Any]]:
    """All leaves of what a user passed, lists included, and how they are written.

    Args:
        x: Inputs.
        y: Targets.
        sample_weight: Their weights.
        transform: What the user passed beside them.
        num_rows: How many rows `x` has.
    """
    parts = {"x": from_list(x, transform), "y": y, "sample_weight": sample_weight}
    named: list[tuple[str, Any]] = []
    for argument, part in parts.items():
        if argument != "x":
            part = from_list_of_targets(argument, part, num_rows)
        named += zip(leaves(names(argument, part)), leaves(part))
    return named


def same_shape(structure: Structure, other: Structure) -> bool:
    """Whether both have the same kind of nesting and the same keys or length."""
    if isinstance(structure, dict):
        return isinstance(other, dict) and structure.keys() == other.keys()
    if isinstance(structure, tuple):
        return isinstance(other, tuple) and len(structure) == len(other)
    return not isinstance(other, dict | tuple)


def from_list(value: Any, transform: Structure | None) -> Structure:
    """What a list of `x` is, by Keras's rule: of matrices and arrays, several inputs.

    A list of anything else, of numbers or texts, is one input with an item a row. So
    are arrays of one axis, if there is one transform, which may be given them.

    Args:
        value: Anything; only lists are looked at.
        transform: What the user passed beside it.

    Returns:
        A tuple, where it is several; `value` otherwise.
    """
    if not isinstance(value, list):
        return value
    if isinstance(transform, list | tuple) and len(transform) == len(value):
        return tuple(value)
    axes = 2 if callable(transform) else 1
    return tuple(value) if any(_has_rows(each, axes) for each in value) else value


def from_list_of_targets(argument: str, value: Any, num_rows: int) -> Structure:
    """What a list of `y` or `sample_weight` is: one value, or several of `num_rows`.

    Args:
        argument: The argument it came in, for error messages.
        value: Anything; only lists are looked at.
        num_rows: How many rows `x` has.

    Returns:
        A tuple, where it is several, or the only one; `value` otherwise.

    Raises:
        ValueError: It may be either.
    """
    if not isinstance(value, list):
        return value
    arrays = any(map(_has_rows, value))
    known = [each for each in value if each is not None]
    whole = bool(known) and all(_length(each) == num_rows for each in known)
    if len(value) == num_rows:
        if not (arrays and whole):
            return value
        raise ValueError(
            f"`{argument}` must not be a list that can be read in two ways; received "
            f"{num_rows} arrays of {num_rows} entries for {num_rows} rows. Pass a "
            f"tuple of arrays, one for each of several, or np.asarray({argument}), of "
            f"an entry for each row."
        )
    if not arrays and not whole:
        return value
    return tuple(value) if len(value) > 1 else value[0]


def _has_rows(value: Any, axes: int = 1) -> bool:
    """Whether it is an array, matrix, table or row source, of so many axes or more."""
    if isinstance(value, RowSource):
        return True
    return not isinstance(value, type) and len(getattr(value, "shape", ())) >= axes


def _length(value: Any) -> int | None:
    """How many entries it has; `None` if it is none of several."""
    if isinstance(value, RowSource):
        return value.num_rows
    if _has_rows(value):
        return int(value.shape[0])
    return len(value) if isinstance(value, list | tuple | range) else None


def described(structure: Structure) -> str:
    """The shape of a structure, for an error message."""
    if isinstance(structure, dict):
        return f"a dict with keys {list(structure)}"
    if isinstance(structure, tuple):
        return f"a tuple of {len(structure)}"
    return f"a single {type(structure).__name__}"

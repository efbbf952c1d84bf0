"""One value, or a dict / tuple of values: the inputs and targets of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

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


def same_shape(structure: Structure, other: Structure) -> bool:
    """Whether both have the same kind of nesting and the same keys or length."""
    if isinstance(structure, dict):
        return isinstance(other, dict) and structure.keys() == other.keys()
    if isinstance(structure, tuple):
        return isinstance(other, tuple) and len(structure) == len(other)
    return not isinstance(other, dict | tuple)


def described(structure: Structure) -> str:
    """The shape of a structure, for an error message."""
    if isinstance(structure, dict):
        return f"a dict with keys {list(structure)}"
    if isinstance(structure, tuple):
        return f"a tuple of {len(structure)}"
    return f"a single {type(structure).__name__}"

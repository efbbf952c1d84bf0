"""Checks of arguments: an error names the argument, the rule, the value, the mend."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any


def integer(
    name: str, value: object, *, minimum: int, maximum: int | None = None
) -> int:
    """Returns `value` as an int if it is one and within the bounds.

    Args:
        name: The argument, as the user wrote it.
        value: What was given. NumPy integers are integers; booleans are not.
        minimum: The least value allowed.
        maximum: The largest value allowed, if there is one.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is out of bounds.
    """
    bounds = f"at least {minimum}" if maximum is None else f"in [{minimum}, {maximum}]"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"`{name}` must be an integer, {bounds}; received {shown(value)} of type "
            f"{type(value).__name__}. Pass an int, for example {name}={minimum}."
        )
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        raise ValueError(
            f"`{name}` must be {bounds}; received {value}. "
            f"Pass an int in that range, for example {name}={minimum}."
        )
    return number


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Returns `value` if it is one of the choices, raises ValueError otherwise."""
    for choice in choices:
        if value is choice or (isinstance(value, str) and value == choice):
            return choice
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(
        f"`{name}` must be one of {listed}; received {shown(value)}. "
        f"Pass one of those values."
    )


def shown(value: object, limit: int = 80) -> str:
    """A `repr` short enough for one line of an error."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."

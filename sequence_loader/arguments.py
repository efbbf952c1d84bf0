"""How the user wrote an argument, for messages: in Python, or on a command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


def argument(name: str, *value: object) -> str:
    """An argument as the user writes it: `` `name` ``, or ``name=value``.

    The command line has messages say ``--name`` instead (`spelling`).

    Args:
        name: The argument.
        *value: A value to pass, if the message asks for one.
    """
    return _spell(name, *value)


def in_python(name: str, *value: object) -> str:
    """An argument as it is written in Python."""
    return f"{name}={value[0]!r}" if value else f"`{name}`"


_spell: Callable[..., str] = in_python


@contextmanager
def spelling(spell: Callable[..., str]) -> Iterator[None]:
    """Has all messages of the process spell arguments so, until the block ends.

    Args:
        spell: Called as `argument` is.
    """
    global _spell
    before, _spell = _spell, spell
    try:
        yield
    finally:
        _spell = before

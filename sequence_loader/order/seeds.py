"""Seeds: given, or drawn in this process, in whose place others have drawn others.

A seed that was drawn is a `DrawnSeed` wherever it is taken. Nothing is wrong with it,
until processes share an order: samplers are asked for that within `one_order`, where
`order_seed` raises, which every order is made from.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sequence_loader.checks import integer


class DrawnSeed(int):
    """A seed nobody chose, in whose place other processes have drawn others.

    It is one in copies, in pickles and in what `dataclasses.replace` makes, too.
    """


_shared: ContextVar[str] = ContextVar("_shared", default="")


@contextmanager
def one_order(where: str) -> Iterator[None]:
    """Within, a sampler is asked for an order that is to be the same in processes.

    Whoever asks then, one of a user's own around it too, is told by `order_seed` where
    each process would have another.

    Args:
        where: What makes it one, for the error; nothing, if nothing does.
    """
    before = _shared.set(where)
    try:
        yield
    finally:
        _shared.reset(before)


def draw_seed() -> int:
    """32 bits, short enough to copy from a log."""
    return DrawnSeed(secrets.randbits(32))


def settle_seed(sampler: Any) -> None:
    """Validates the seed of a frozen sampler, or draws it where it is None."""
    object.__setattr__(sampler, "seed", checked_seed(sampler.seed))


def order_seed(sampler: Any) -> int:
    """The seed that a sampler draws an order from, or 0 where it has none.

    Raises:
        ValueError: It was drawn here, for `one_order` of several processes.
    """
    seed, where = getattr(sampler, "seed", None), _shared.get()
    if where and isinstance(seed, DrawnSeed):
        raise ValueError(
            f"`seed` must be given where processes share one order, so that each has "
            f"the same; received seed=None with {where}: {type(sampler).__name__} has "
            f"drawn {seed} here. Pass one in every process, such as seed=7, to the "
            f"sampler if there is one."
        )
    return seed or 0


def checked_seed(seed: int | None) -> int:
    """The seed, or one that is drawn where it is None."""
    if seed is None:
        return draw_seed()
    if isinstance(seed, DrawnSeed):
        return seed
    return integer("seed", seed, minimum=0, maximum=2**64 - 1)

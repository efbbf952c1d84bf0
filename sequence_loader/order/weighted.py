"""WeightedSampler: rows drawn with replacement, each in proportion to its weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Integers
from sequence_loader.checks import as_numpy, check_unmasked, integer, shown
from sequence_loader.order.permutation import Words, derive_key, keyed_words
from sequence_loader.order.samplers import (
    check_described,
    content_digest,
    index_of,
    not_computed,
)
from sequence_loader.order.seeds import order_seed, settle_seed

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class WeightedSampler:
    """Draws rows with replacement, each with a probability given by its weight.

    Every position of an epoch is drawn on its own, so a row may come several times
    in an epoch, and another not at all. Row i is drawn with probability
    ``weights[i] / weights.sum()``; rows of weight 0 are never drawn.

    A draw is a keyed hash of its position, looked up in the running sum of the
    weights (inversion, Devroye 1986, III.2), which is kept as integers: 8 bytes a
    row, and O(log rows) for each draw.

    Args:
        weights: Array-like of shape (rows,), real, finite, not negative and not all
            0: one for each row that is served, so ``weights[rows]`` where the
            sequence has `rows`.
        seed: Integer in [0, 2^64). `None` draws one, which is then kept.
        num_draws: Positions in an epoch; `None` for as many as there are rows.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> counts = np.bincount(labels)
        >>> sampler = WeightedSampler(1 / counts[labels], seed=7)
        >>> sampler.length(len(labels)) == len(labels)
        True
    """

    weights: Any = field(repr=False, compare=False)
    seed: int | None = None
    num_draws: int | None = None
    _cumulative: Integers = field(init=False, repr=False, compare=False)
    digest: bytes = field(init=False, repr=False)
    described: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        settle_seed(self)
        object.__setattr__(self, "described", index_of(self.weights))
        if self.num_draws is not None:
            draws = integer("num_draws", self.num_draws, minimum=1, maximum=2**62)
            object.__setattr__(self, "num_draws", draws)
        weights = checked_weights("weights", self.weights)
        object.__setattr__(self, "weights", weights)
        cumulative = np.cumsum(integer_weights(weights))
        object.__setattr__(self, "_cumulative", cumulative)
        object.__setattr__(self, "digest", content_digest(cumulative))

    def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Integers:
        """See `Sampler.rows`."""
        check_described("weights", len(self.weights), num_rows)
        key = derive_key("weighted", order_seed(self), epoch)
        words = keyed_words(np.arange(start, stop, dtype=np.uint64), key)
        marks = scaled(words, int(self._cumulative[-1]))
        drawn = np.searchsorted(self._cumulative, marks.astype(np.int64), "right")
        return drawn.astype(np.int64, copy=False)

    def length(self, num_rows: int) -> int:
        """`num_draws`, or one position for each row."""
        check_described("weights", len(self.weights), num_rows)
        return num_rows if self.num_draws is None else self.num_draws

    def __getstate__(self) -> dict[str, Any]:
        """All but what is computed; a subclass may hold more than the arguments."""
        return not_computed(self, WeightedSampler)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Computes that again."""
        vars(self).update(state)
        WeightedSampler.__post_init__(self)
        vars(self)["described"] = state.get("described")


def checked_weights(name: str, given: Any) -> npt.NDArray[np.float64]:
    """Weights as floats that nobody else can change.

    Args:
        name: The argument, as the user wrote it.
        given: Array-like of shape (n,).

    Returns:
        Read-only float64 array of shape (n,).

    Raises:
        TypeError: They are not real numbers.
        ValueError: Not one-dimensional, empty, negative, not finite, or all 0.
    """
    check_unmasked(name, given)
    found = as_numpy(name, given)
    if found.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold real numbers; received dtype {found.dtype}: "
            f"{shown(given)}. Pass an array of floats."
        )
    if found.ndim != 1 or len(found) == 0:
        raise ValueError(
            f"`{name}` must be a one-dimensional array of at least one weight; "
            f"received shape {found.shape}. Pass one weight for each row."
        )
    weights = np.array(found, dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if wrong.size:
        raise ValueError(
            f"`{name}` must be finite and not negative; received "
            f"{name}[{wrong[0]}] = {weights[wrong[0]]}. Pass 0 for what is not to be "
            f"drawn."
        )
    if not weights.any():
        raise ValueError(
            f"`{name}` must hold at least one weight above 0; received zeros only. "
            f"Check how they were computed."
        )
    weights.flags.writeable = False
    return weights


def integer_weights(weights: npt.NDArray[np.float64]) -> Integers:
    """Scales weights to integers whose sum fits 62 bits.

    Only a power of two is multiplied and one rounding done, so that the result is
    the same on every machine; what the order is drawn from is exact.

    Args:
        weights: float64 array of shape (n,), checked.

    Returns:
        int64 array of shape (n,), 0 where and only where the weight is.
    """
    room = 62 - (len(weights) - 1).bit_length()
    exponent = int(np.frexp(weights.max())[1])
    integers = np.rint(np.ldexp(weights, room - exponent)).astype(np.int64)
    return np.where(weights > 0, np.maximum(integers, 1), 0)


def scaled(words: Words, limit: int) -> Words:
    """``floor(words * limit / 2^64)`` without losing the upper half.

    Args:
        words: uint64 array of shape (n,).
        limit: At most 2^62.

    Returns:
        uint64 array of shape (n,), each in ``[0, limit)``.
    """
    high, low = np.uint64(limit >> 32), np.uint64(limit & 0xFFFFFFFF)
    upper, lower = words >> _HALF, words & _LOW
    middle = lower * high + (lower * low >> _HALF)
    carried = upper * low + (middle & _LOW)
    result: Words = upper * high + (middle >> _HALF) + (carried >> _HALF)
    return result

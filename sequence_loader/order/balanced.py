"""BalancedSampler: every class drawn equally often, or in given proportions.

An endless stream of draws is cut into epochs. It consists of cycles, and each
cycle holds every class a fixed number of times, spread evenly: the occurrences of
a class cut the cycle into as many equal parts, and there is one at the same place
in each part (systematic sampling, Madow and Madow, 1944). Places are given out to
the classes in an order drawn anew for each cycle, so that they never coincide and
other classes stand together each time.

The n-th draw of a class is the n-th row of an endless row of permutations of its
rows: each is used up before the next begins, over the end of an epoch too. So a
large class is seen whole in the fewest possible epochs, and the rows of a small
one are repeated equally often. Everything is evaluated per position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Integers
from sequence_loader.checks import integer
from sequence_loader.order.class_shares import checked_labels, checked_shares
from sequence_loader.order.permutation import (
    Words,
    derive_key,
    keyed_words,
    permute_each,
)
from sequence_loader.order.samplers import (
    check_described,
    content_digest,
    index_of,
    not_computed,
)
from sequence_loader.order.seeds import order_seed, settle_seed

LONGEST_EXACT = 4096
"""Proportions that are fractions with a common denominator up to this are exact."""
LONGEST_CYCLE = 1 << 20
_GROUPS_AT_ONCE = 8192  # positions: fewer than the groups that `permute_each` takes
_END = 1 << 62


@dataclass(frozen=True)
class BalancedSampler:
    """Draws every class equally often, or in given proportions, with replacement.

    Batches hold classes mixed, and each as often as its share says, within two for
    equal shares: ten classes in a batch of 32 are there 2 to 5 times. In an epoch
    the rows of a small class come many times, and those of a large one at most
    once more than they must; all of a large class are seen before any comes again,
    epoch after epoch.

    It takes 16 bytes a row. An epoch has as many draws as there are rows, unless
    `num_draws` or `max_repeats` says otherwise. Beside it, ``class_weight`` of `fit`
    would weigh the classes a second time.

    Args:
        labels: Array-like of shape (rows,), or scipy sparse of one column, of
            integers, booleans or strings: the class of each row that is served, so
            ``labels[rows]`` where the sequence has `rows`.
        seed: Integer in [0, 2^64). `None` draws one, which is then kept.
        proportions: Mapping from each label to its relative share, such as
            ``{"cat": 3, "dog": 1}``; 0 leaves a class out. `None` for equal shares.
        num_draws: Positions in an epoch; `None` for as many as there are rows.
        max_repeats: Cut epochs short so that no row comes more than this many times
            in one, and once more where a permutation of its class ends within it;
            where `proportions` need a cycle of more draws than that allows, on
            average. `None` for no bound.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or they do not fit together.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 0, 1])
        >>> sampler = BalancedSampler(labels, seed=7)
        >>> np.bincount(labels[sampler.rows(6, 0, 0, 6)])
        array([3, 3])
    """

    labels: Any = field(repr=False, compare=False)
    seed: int | None = None
    proportions: Any = field(default=None, compare=False)
    num_draws: int | None = None
    max_repeats: int | None = None
    _members: Integers = field(init=False, repr=False, compare=False)
    _sizes: Integers = field(init=False, repr=False, compare=False)
    _cycle: Integers = field(init=False, repr=False, compare=False)
    digest: bytes = field(init=False, repr=False)
    described: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        settle_seed(self)
        object.__setattr__(self, "described", index_of(self.labels))
        for name, maximum in (("num_draws", 2**62), ("max_repeats", 2**31)):
            if getattr(self, name) is not None:
                number = integer(name, getattr(self, name), minimum=1, maximum=maximum)
                object.__setattr__(self, name, number)
        labels = checked_labels(self.labels)
        classes, codes, sizes = np.unique(
            labels, return_inverse=True, return_counts=True
        )
        shares = checked_shares(self.proportions, classes)
        if self.proportions is not None:
            kept = tuple(dict(self.proportions).items())
            object.__setattr__(self, "proportions", kept)
        members = np.argsort(codes, kind="stable")
        drawn = shares > 0
        members = members[np.repeat(drawn, sizes)]
        for name, value in (
            ("labels", labels),
            ("_members", members),
            ("_sizes", sizes[drawn]),
            ("_cycle", _cycle(shares[drawn])),
        ):
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        digest = content_digest(self._members, self._sizes, self._cycle)
        object.__setattr__(self, "digest", digest)

    def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Integers:
        """See `Sampler.rows`."""
        # The stream ends, and begins again, after 2^62 draws.
        end = _END // int(self._cycle.sum()) * int(self._cycle.sum())
        first = (epoch * self.length(num_rows) + start) % end
        drawn = np.empty(stop - start, np.int64)
        for low in range(0, stop - start, _GROUPS_AT_ONCE):
            part = drawn[low : low + _GROUPS_AT_ONCE]
            part[:] = self._draw((first + low + np.arange(len(part))) % end)
        return drawn

    def length(self, num_rows: int) -> int:
        """`num_draws` or one for each row, or fewer where `max_repeats` says so."""
        check_described("labels", len(self.labels), num_rows)
        draws = num_rows if self.num_draws is None else self.num_draws
        if self.max_repeats is None:
            return draws
        limits = [
            (self.max_repeats * size, share)
            for size, share in zip(self._sizes.tolist(), self._cycle.tolist())
        ]
        total = int(self._cycle.sum())
        # Whole cycles if one fits, for then every class is drawn equally often.
        whole = min(limit // share for limit, share in limits) * total
        part = min(limit * total // share for limit, share in limits)
        return int(max(1, min(draws, whole or part)))

    def _draw(self, places: Integers) -> Integers:
        """The rows at places of the stream, at most `_GROUPS_AT_ONCE` of them."""
        cycles, slots = np.divmod(places, self._cycle.sum())
        which, own = np.unique(cycles, return_inverse=True)
        classes, occurrences = self._arrangement(which.astype(np.uint64))
        chosen = classes[own, slots]
        number = cycles * self._cycle[chosen] + occurrences[own, slots]
        passes, offsets = np.divmod(number, self._sizes[chosen])

        groups, firsts = _numbered(chosen, passes)
        key = derive_key("balanced rows", order_seed(self))
        words = keyed_words(chosen[firsts].astype(np.uint64), key)
        words ^= passes[firsts].astype(np.uint64)
        words = keyed_words(words, key[2:])
        mixed = permute_each(offsets, groups, self._sizes[chosen[firsts]], words)
        starts = np.cumsum(self._sizes) - self._sizes
        drawn: Integers = self._members[starts[chosen] + mixed]
        return drawn

    def _arrangement(self, cycles: Words) -> tuple[Integers, Integers]:
        """What stands in each slot of some cycles.

        Args:
            cycles: uint64 array of shape (c,), the numbers of the cycles.

        Returns:
            Two int64 arrays of shape (c, slots): the class, and how many times it
            stood before in this cycle.
        """
        key = derive_key("balanced cycle", order_seed(self))
        count = len(self._cycle)
        words = keyed_words(cycles, key)[:, np.newaxis] ^ np.arange(
            count, dtype=np.uint64
        )
        order = np.argsort(keyed_words(words, key[2:]), axis=1, kind="stable")
        phases = np.empty(order.shape)
        np.put_along_axis(phases, order, (np.arange(count) + 0.5)[np.newaxis], axis=1)
        phases /= count
        classes = np.repeat(np.arange(count), self._cycle)
        starts = np.cumsum(self._cycle) - self._cycle
        occurrences = np.arange(len(classes)) - starts[classes]
        # One addition and one division, correctly rounded on every machine.
        times = (occurrences + phases[:, classes]) / self._cycle[classes]
        items = np.argsort(times, axis=1, kind="stable")
        return classes[items], occurrences[items]

    def __getstate__(self) -> dict[str, Any]:
        """All but what is computed; a subclass may hold more than the arguments."""
        return not_computed(self, BalancedSampler)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Computes that again."""
        vars(self).update(state)
        BalancedSampler.__post_init__(self)
        vars(self)["described"] = state.get("described")


def _numbered(classes: Integers, passes: Integers) -> tuple[Integers, Integers]:
    """Numbers the different pairs: the number of each, and where each is first."""
    order = np.lexsort((passes, classes))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(classes[order]) != 0) | (np.diff(passes[order]) != 0)
    groups = np.empty(len(order), np.int64)
    groups[order] = np.cumsum(new) - 1
    return groups, order[new]


def _cycle(shares: npt.NDArray[np.float64]) -> Integers:
    """How often each class stands in a cycle, at least once."""
    fractions = shares / math.fsum(shares.tolist())
    for total in range(len(shares), LONGEST_EXACT + 1):
        counts = np.rint(fractions * total)
        close = np.abs(fractions * total - counts).max() < 1e-9 * total
        if close and counts.min() >= 1:
            return counts.astype(np.int64)
    smallest = float(fractions.min())
    # 64 draws of the rarest class: its share is right to within 1 %.
    total = max(LONGEST_EXACT, math.ceil(min(64 / max(smallest, 1e-300), 2e9)))
    if len(set(shares.tolist())) == 1:
        return np.ones(len(shares), np.int64)
    if total > LONGEST_CYCLE:
        raise ValueError(
            f"`proportions` must not be further apart than about 1 in "
            f"{LONGEST_CYCLE // 64}; received one that is {smallest:.3g} of all. Use "
            f"WeightedSampler, which takes any weights."
        )
    return np.rint(fractions * total).astype(np.int64)

"""The terms of all blocks, a range of hashes at a time.

Each block has its terms in ascending order of hash, and hashes are spread evenly. So
the k-th range of hashes is one slice of each block, and the slices of a range, sorted
together in memory, give its terms: how many texts have each, and where it is first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.text.ngrams import sorted_places
from sequence_loader.text.spill import Block, Spill
from sequence_loader.text.vectorizer_workers import in_threads
from sequence_loader.text.words import Hashes

RANGE_TERMS = 1 << 20
"""Terms of all blocks that are sorted at a time: some 100 MB."""
FINEST = 10
"""Bits of the hash that can tell ranges apart: 1024 ranges, 10**9 terms of blocks."""

Made = TypeVar("Made")


class Located(NamedTuple):
    """A block, and where its arrays go on from those of the blocks before it."""

    spill: Spill
    block: Block
    first_row: int
    first_term: int
    first_place: int

    def read(self, name: str) -> Array:
        """An array of the block."""
        return self.spill.read(self.block, name)

    @property
    def num_terms(self) -> int:
        """How many terms the block has."""
        return self.block.places["hashes"][1]


def located(spills: Sequence[Spill]) -> list[Located]:
    """The blocks of some spills, as one sequence."""
    found = []
    row = term = place = 0
    for spill in spills:
        for block in spill.blocks:
            each = Located(spill, block, row, term, place)
            found.append(each)
            row += block.rows
            term += each.num_terms
            place += block.span
    return found


class Merged(NamedTuple):
    """The terms of a range of hashes.

    Attributes:
        hashes: Ascending, of shape (terms,).
        df: The sums over blocks.
        place: The least over blocks.
        order: Places in the slices, read one behind the other, by hash.
        term_of: The term of each.
        slices: Of each block, the first term in `Links` and how many there are.
    """

    hashes: Hashes
    df: Array
    place: Integers
    order: Integers
    term_of: Integers
    slices: list[tuple[int, int]]

    def spread(self, values: Array, dtype: Any) -> Array:
        """Of each term -> of each in the slices, read one behind the other."""
        found = np.empty(len(self.order), dtype)
        found[self.order] = values.astype(dtype)[self.term_of]
        return found


def ranges(
    blocks: Sequence[Located], made: Callable[[Merged], Made], threads: int
) -> Iterator[Made]:
    """What is made of each range of hashes, in ascending order."""
    total = sum(each.num_terms for each in blocks)
    bits = min(max(total // RANGE_TERMS, 1).bit_length() - 1, FINEST)
    limits = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - bits or 0)
    cuts = [
        np.concatenate(
            [[0], np.searchsorted(each.read("hashes"), limits), [each.num_terms]]
        ).astype(np.int64)
        for each in blocks
    ]

    def of_range(number: int) -> Made:
        return made(_merged(blocks, [cut[number : number + 2] for cut in cuts], bits))

    return in_threads(of_range, range(1 << bits), threads)


def _merged(
    blocks: Sequence[Located], cuts: Sequence[Integers], bits: int
) -> Merged:
    hashes: list[Array] = []
    df: list[Array] = []
    place: list[Array] = []
    slices: list[tuple[int, int]] = []
    for each, cut in zip(blocks, cuts):
        first, last = cut.tolist()
        if first < last:
            slices.append((each.first_term + first, last - first))
            for name, found in (("hashes", hashes), ("df", df), ("order", place)):
                found.append(each.spill.read(each.block, name, first, last))
            place[-1] = place[-1].astype(np.int64) + each.first_place
    if not slices:
        none = np.zeros(0, np.int64)
        return Merged(none.astype(np.uint64), none, none, none, none, [])
    joined = np.concatenate(hashes)
    order = sorted_places(joined << np.uint64(bits))  # they share their high bits
    joined = joined[order]
    new = np.empty(len(joined), np.bool_)
    new[0] = True
    np.not_equal(joined[1:], joined[:-1], out=new[1:])
    start = np.flatnonzero(new)
    return Merged(
        joined[start],
        np.add.reduceat(np.concatenate(df)[order], start, dtype=np.int64),
        np.concatenate(place)[order[start]],  # blocks are in order, and stay in it
        order,
        np.cumsum(new) - 1,
        slices,
    )

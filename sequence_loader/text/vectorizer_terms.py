"""The terms of all blocks, brought together on disk in bounded memory.

Each block has its terms in ascending order of hash, and hashes are spread evenly. So
the k-th range of hashes is one slice of each block, and the slices of a range, sorted
together in memory, give its terms: how many texts have each, and where it is first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.text.ngrams import sorted_places
from sequence_loader.text.spill import TERM_BYTES, Block, Column, Spill
from sequence_loader.text.vectorizer_workers import in_threads
from sequence_loader.text.words import Hashes

RANGE_TERMS = 1 << 20
"""Terms of all blocks that are sorted at a time: some 100 MB."""
_COUNTED = 1 << 16
"""Frequencies from here on are counted as one."""
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


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The terms that are kept, in ascending order of hash: columns of (terms,).

    Attributes:
        hashes: uint64.
        df: uint32, how many texts have each; int64, how often each word occurs.
        place: int64, where it is first: the number of n-grams before it.
    """

    hashes: Column
    df: Column
    place: Column

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, eq=False)
class Links:
    """For each term of each block, what has become of it: columns.

    Attributes:
        number: int32, its number in the vocabulary; -1 if it is not kept.
        df: uint32, how many texts of all have it; 0 if it is not kept.
        place: int64, where it is first.
    """

    number: Column
    df: Column
    place: Column


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


def merge(
    blocks: Sequence[Located],
    keep: Callable[[Array], Array],
    scratch: Path,
    threads: int = 1,
    link: bool = True,
) -> tuple[Vocabulary, Links | None]:
    """Brings equal terms together.

    Args:
        blocks: All of them.
        keep: From df to a mask of what is kept.
        scratch: A directory on a disk with room for 28 bytes for each term of the
            vocabulary and 16 for each of a block.
        threads: That sort and link.
        link: Whether to write links.
    """
    often = np.uint32 if link else np.int64  # texts are fewer than words
    found = Vocabulary(
        *(Column(kind, scratch) for kind in (np.uint64, often, np.int64))
    )
    links = Links(*(Column(kind, scratch) for kind in (np.int32, np.uint32, np.int64)))

    def linked(merged: Merged) -> _Linked:
        kept = keep(merged.df)
        number = np.zeros(0, np.int32)
        if link:
            number = merged.spread(np.where(kept, np.cumsum(kept) - 1, -1), np.int32)
            df = merged.spread(np.where(kept, merged.df, 0), np.uint32)
            _write(links.df, merged.slices, df)
            _write(links.place, merged.slices, merged.spread(merged.place, np.int64))
        columns = merged.hashes[kept], merged.df[kept], merged.place[kept]
        return _Linked(*columns, number, merged.slices)

    for each in ranges(blocks, linked, threads):
        # What has to be done in order, and by one thread, is no more than this.
        np.add(each.number, len(found), out=each.number, where=each.number >= 0)
        if link:
            _write(links.number, each.slices, each.number)
        found.hashes.append(each.hashes)
        found.df.append(each.df)
        found.place.append(each.place)
    return found, links if link else None


class _Linked(NamedTuple):
    """The terms of a range that are kept, and their numbers in it, block by block."""

    hashes: Hashes
    df: Array
    place: Integers
    number: Array
    slices: list[tuple[int, int]]


def _write(column: Column, slices: list[tuple[int, int]], values: Array) -> None:
    at = 0
    for start, count in slices:
        column.write(start, values[at : at + count])
        at += count


def raised(
    blocks: Sequence[Located],
    low: float,
    high: float,
    memory: int | None,
    threads: int,
) -> tuple[float, int]:
    """The least df with which the vocabulary has room, and how many terms that drops.

    Args:
        blocks: All of them.
        low: The least df.
        high: The highest.
        memory: Bytes that the vocabulary may take; `None` for any.
        threads: That sort.
    """
    if memory is None:
        return low, 0
    room = memory // TERM_BYTES
    counts = np.zeros(_COUNTED + 1, np.int64)
    for df in ranges(blocks, lambda merged: merged.df, threads):
        df = df[(df >= low) & (df <= high)]
        counts += np.bincount(np.minimum(df, _COUNTED), minlength=_COUNTED + 1)
    above = np.cumsum(counts[::-1])[::-1]
    if above[0] <= room:
        return low, 0
    if above[-1] > room:
        raise ValueError(
            f"{argument('memory')} must have room for the {above[-1]} terms that at "
            f"least {_COUNTED} texts have, {TERM_BYTES} bytes each; received {memory}. "
            f"Pass more."
        )
    least = int(np.argmax(above <= room))
    dropped = int(above[0] - above[least])
    warnings.warn(
        f"{argument('memory', memory)} has room for {room} of {above[0]} terms: "
        f"{argument('min_df')} is {least} instead of {low:g}, and {dropped} rarer "
        f"terms are let go. Pass more memory to keep them.",
        stacklevel=6,
    )
    return least, dropped


def names_at(
    blocks: Sequence[Located],
    places: Integers,
    names: Callable[[Located, Integers], list[str]],
    threads: int,
) -> list[str]:
    """The names of terms, looked up in the blocks where they are first.

    Args:
        blocks: All of them.
        places: Where the terms are first.
        names: From a block and `order` of terms in it to their names.
        threads: That look them up.
    """
    firsts = np.array([each.first_place for each in blocks])
    owner = np.searchsorted(firsts, places, side="right") - 1
    order = np.argsort(owner, kind="stable")
    found = [""] * len(places)
    numbers, starts = np.unique(owner[order], return_index=True)
    split = np.split(order, starts[1:])

    def of_block(number: int) -> list[str]:
        block = blocks[numbers[number]]
        return names(block, places[split[number]] - block.first_place)

    for mine, named in zip(split, in_threads(of_block, range(len(numbers)), threads)):
        for i, name in zip(mine.tolist(), named):
            found[i] = name
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

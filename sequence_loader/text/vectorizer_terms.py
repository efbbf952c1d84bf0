"""The terms of all blocks, brought together on disk in bounded memory.

They come range by range of hashes (`vectorizer_ranges`); what is kept of each range
becomes the vocabulary, and links say what has become of each term of each block.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.progress import progress_bar
from sequence_loader.text.spill import TERM_BYTES, Column
from sequence_loader.text.vectorizer_ranges import Located, Merged, ranges
from sequence_loader.text.vectorizer_workers import Means, in_threads
from sequence_loader.text.words import Hashes

_COUNTED = 1 << 16
"""Frequencies from here on are counted as one."""


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


def merge(
    blocks: Sequence[Located],
    keep: Callable[[Array], Array],
    means: Means,
    link: bool = True,
) -> tuple[Vocabulary, Links | None]:
    """Brings equal terms together.

    Args:
        blocks: All of them.
        keep: From df to a mask of what is kept.
        means: With room for 28 bytes for each term of the vocabulary, and 16 for each
            of a block.
        link: Whether to write links.
    """
    scratch = means.scratch
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

    total = sum(each.num_terms for each in blocks)
    with progress_bar("merge", total, "terms", shown=means.progress) as advance:
        for each in ranges(blocks, linked, means.threads):
            # What has to be done in order, and by one thread, is no more than this.
            np.add(each.number, len(found), out=each.number, where=each.number >= 0)
            if link:
                _write(links.number, each.slices, each.number)
            found.hashes.append(each.hashes)
            found.df.append(each.df)
            found.place.append(each.place)
            advance(sum(count for _, count in each.slices))
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

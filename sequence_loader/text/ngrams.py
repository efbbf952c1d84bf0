"""A block of texts -> its terms, and how often each text has them.

The n-grams of a block are one array of hashes, word by word, and one sort brings
equal ones together: their low bits are replaced by their places, so that the sort
moves plain integers (which NumPy does with vector instructions, four times as fast
as an indirect sort).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.text import words
from sequence_loader.text.words import Hashes, WordRule, Words

Analyzer = Callable[[str], Iterable[str]]

_NEXT = np.uint64(0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True, eq=False)
class TermCounts:
    """The terms (n-grams) of a block of texts, and their counts.

    Attributes:
        hashes: uint64 array of shape (terms,), ascending.
        df: uint32 array of shape (terms,): how many of the texts have the term.
        order: uint32 array of shape (terms,): the number of n-grams that the analyzer
            gives before the first that is this term.
        docs: uint16 array of shape (entries,): the texts of the first term, then
            those of the second, ...
        counts: Unsigned array of shape (entries,): how often the text has the term.
        lengths: uint32 array of shape (texts,): how many words each text has, or,
            where scikit-learn's analyzer made them, how many n-grams.
        span: How many numbers `order` is made of.
        names: What the terms are looked up in: code points, see `named`.
    """

    hashes: Hashes
    df: Array
    order: Array
    docs: Array
    counts: Array
    lengths: Array
    span: int
    names: Array


def count_ngrams(
    texts: Sequence[str], rule: WordRule, sizes: tuple[int, int], stop: Hashes
) -> TermCounts:
    """The n-grams of words.

    Args:
        texts: At most 65,536.
        rule: What a word is.
        sizes: The least and the largest n.
        stop: Ascending hashes of the words that are left out first.
    """
    found = without(words.split(texts, rule), stop)
    docs = np.repeat(np.arange(len(texts), dtype=np.uint16), found.counts)
    hashes, owners = ngram_hashes(found.hashes, docs, sizes)
    order, term_start, entry_start = _grouped(hashes, owners)
    first = order[entry_start[term_start[:-1]]]
    return TermCounts(
        hashes[first],
        np.diff(term_start).astype(np.uint32),
        _in_analyzer_order(first, owners[first], found.counts, sizes),
        owners[order[entry_start[:-1]]],
        _narrow(np.diff(entry_start)),
        found.counts.astype(np.uint32),
        len(hashes),
        found.code,
    )


def count_analyzed(texts: Sequence[str], analyze: Analyzer) -> TermCounts:
    """What an analyzer of scikit-learn's makes of the texts."""
    ids: dict[str, int] = {}
    terms: list[int] = []
    counts: list[int] = []
    lengths, sizes = [], []
    for text in texts:
        found = Counter(analyze(text))
        terms += [ids.setdefault(term, len(ids)) for term in found]
        counts += found.values()
        sizes.append(len(found))
        lengths.append(found.total())
    names = list(ids)
    hashes = words.hashes_of(names)
    order = np.argsort(hashes, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    term = rank[np.asarray(terms, np.int64)]
    by_term = np.argsort(term, kind="stable")
    docs = np.repeat(np.arange(len(texts), dtype=np.uint16), sizes)
    return TermCounts(
        hashes[order],
        np.bincount(term, minlength=len(names)).astype(np.uint32),
        order.astype(np.uint32),
        docs[by_term],
        _narrow(np.asarray(counts, np.int64)[by_term]),
        np.asarray(lengths, np.uint32),
        len(names),
        packed_names(names),
    )


def without(found: Words, stop: Hashes) -> Words:
    """The words but those whose hash is among `stop`, which ascends."""
    return found.kept(_kept(found.hashes, stop)) if len(stop) else found


def _kept(hashes: Hashes, stop: Hashes) -> Array:
    """A mask of the hashes that are not among `stop`."""
    kept: Array = stop.take(np.searchsorted(stop, hashes), mode="clip") != hashes
    return kept


def ngram_hashes(
    hashes: Hashes, docs: Array, sizes: tuple[int, int]
) -> tuple[Hashes, Array]:
    """Hashes of n-grams: all of the least n in order, then those of the next.

    Args:
        hashes: Of the words.
        docs: The text of each word.
        sizes: The least and the largest n.

    Returns:
        The hashes, and the text of each.
    """
    least, largest = sizes
    found, owners = [], []
    ngram = hashes
    for size in range(1, largest + 1):
        if size > 1:
            ngram = words.mixed(
                ngram[:-1] * np.uint64(3) + hashes[size - 1 :] * _NEXT + np.uint64(size)
            )
        if size >= least:
            within = docs[size - 1 :] == docs[: len(ngram)]
            found.append(ngram if size == 1 else ngram[within])
            owners.append(docs if size == 1 else docs[: len(ngram)][within])
    if len(found) == 1:
        return found[0], owners[0]
    return np.concatenate(found), np.concatenate(owners)


def sorted_places(hashes: Hashes) -> Integers:
    """Places of hashes in ascending order, equal ones in theirs; a stable argsort."""
    bits = np.uint64(max(len(hashes) - 1, 1).bit_length())
    low = (np.uint64(1) << bits) - np.uint64(1)
    keys = hashes & ~low
    keys |= np.arange(len(hashes), dtype=np.uint64)
    keys.sort()
    places: Integers = (keys & low).view(np.int64)
    ordered = hashes[places]
    if (ordered[1:] < ordered[:-1]).any() or _torn(keys >> bits, ordered):
        places = np.argsort(hashes, kind="stable")  # the high bits do not tell them
    return places


def _torn(high: Hashes, ordered: Hashes) -> bool:
    """Whether two hashes that differ share their high bits, so that they may mix."""
    return bool(((high[1:] == high[:-1]) & (ordered[1:] != ordered[:-1])).any())


def _grouped(hashes: Hashes, owners: Array) -> tuple[Integers, Integers, Integers]:
    """Equal hashes brought together.

    Returns:
        Places by hash, then by text; where each term begins among the entries, and
        each entry among the places, both with their ends.
    """
    order = sorted_places(hashes)
    by_hash, by_owner = hashes[order], owners[order]
    new_term = np.empty(len(order), np.bool_)
    new_term[:1] = True
    np.not_equal(by_hash[1:], by_hash[:-1], out=new_term[1:])
    new_entry = new_term.copy()
    new_entry[1:] |= by_owner[1:] != by_owner[:-1]
    entry_start = np.append(np.flatnonzero(new_entry), len(order))
    term_start = np.append(
        np.flatnonzero(new_term[entry_start[:-1]]), len(entry_start) - 1
    )
    return order, term_start, entry_start


def _sizes(counts: Integers, sizes: tuple[int, int]) -> Integers:
    """int64 array of shape (texts, sizes): n-grams of each n that each text has."""
    lost = np.arange(sizes[0], sizes[1] + 1) - 1
    found: Integers = np.maximum(counts[:, None] - lost, 0)
    return found


def _in_analyzer_order(
    places: Integers, docs: Array, counts: Integers, sizes: tuple[int, int]
) -> Array:
    """From places among n-grams by (n, text, word) to those by (text, n, word)."""
    have = _sizes(counts, sizes)
    by_text = (np.cumsum(have) - have.reshape(-1)).reshape(have.shape)
    by_size = (np.cumsum(have.T) - have.T.reshape(-1)).reshape(have.T.shape).T
    size = np.searchsorted(np.cumsum(have.sum(axis=0)), places, side="right")
    return (places + (by_text - by_size)[docs, size]).astype(np.uint32)


def _narrow(counts: Integers) -> Array:
    largest = int(counts.max(initial=0))
    return counts.astype(np.min_scalar_type(largest))


def packed_names(names: Sequence[str]) -> Array:
    """Strings as one array: how many, where each ends, and their code points."""
    ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
    code = words.code_points("".join(names)).astype("<u4")
    head = np.append(len(names), ends).astype("<i8")
    return np.concatenate([head.view("<u4"), code])


def unpacked_names(packed: Array) -> list[str]:
    """The strings of `packed_names`."""
    count = int(packed[:2].view("<i8")[0])
    head = packed[: 2 * (1 + count)].view("<i8")
    text = words.as_text(packed[2 * (1 + count) :])
    starts = np.append(0, head[1:-1]) if count else head[1:]
    return [text[a:b] for a, b in zip(starts.tolist(), head[1:].tolist())]


def named(
    order: Integers,
    names: Array,
    lengths: Array,
    rule: WordRule | None,
    sizes: tuple[int, int],
    stop: Any,
) -> list[str]:
    """The names of terms of a block.

    Args:
        order: Where they are first, as in `TermCounts`.
        names: The block's.
        lengths: The block's.
        rule: The one the block was made with, `None` for an analyzer.
        sizes: As in `count_ngrams`.
        stop: As in `count_ngrams`.
    """
    if rule is None:
        known = unpacked_names(names)
        return [known[i] for i in order.tolist()]
    start, end = words.spans(names, rule)
    if len(stop):
        kept = _kept(words.word_hashes(names, start, end), stop)
        start, end = start[kept], end[kept]
    counts = lengths.astype(np.int64)
    sizes_of = _sizes(counts, sizes).reshape(-1)
    ends = np.cumsum(sizes_of)
    cell = np.searchsorted(ends, order, side="right")
    within = order - (ends - sizes_of)[cell]
    doc, size = np.divmod(cell, sizes[1] - sizes[0] + 1)
    first = (np.cumsum(counts) - counts)[doc] + within
    text, size = words.as_text(names), size + sizes[0]
    parts = []
    for k in range(sizes[1]):
        at = np.minimum(first + k, len(start) - 1)
        spans = zip(start[at].tolist(), end[at].tolist())
        parts.append([text[a:b] for a, b in spans])
    return [" ".join(each[:n]) for each, n in zip(zip(*parts), size.tolist())]

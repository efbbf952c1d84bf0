"""Texts -> their words as places and 64-bit hashes, with NumPy alone.

The texts of a block are joined, and each step is one pass of NumPy over all their
code points: a table tells which belong to a word, runs of them are the words, and
prefix sums of ``c[i] * BASE**i`` modulo 2**64, divided by ``BASE**start``, are their
hashes (Rabin and Karp's polynomial), mixed as in SplitMix64. What Python itself does
to each text (`lower`, NFKD) it goes on doing.

Two words with one hash would be taken for one. Among n different words or n-grams
that happens with a probability of about n**2 / 2**65: 1e-5 for 20 million. Somebody
who knows `BASE` can make words that collide, of a thousand characters and more.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Array, Integers


Hashes = npt.NDArray[np.uint64]

HASH_VERSION = 1
"""Of the hashes in files: a change of `BASE`, `mixed` or `word_hashes` raises it."""
BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2**64."""
LENGTH = np.uint64(0xD6E8FEB86659FD93)
WINDOW = 1 << 16
"""Code points that are hashed at a time: their sums stay in the cache."""
SEPARATOR = " "
"""Between two texts: part of no word, and no accent or letter joins across it."""

Accents = Literal["unicode", "ascii"] | None


@dataclass(frozen=True)
class WordRule:
    r"""What a word is.

    Attributes:
        separators: Characters between words; `None` takes scikit-learn's words, runs
            of what the regular expression ``\w`` matches.
        min_length: Shorter words are passed over.
        lowercase: Whether texts are made lower case first.
        strip_accents: As in scikit-learn: ``"unicode"``, ``"ascii"`` or `None`.
    """

    separators: str | None = None
    min_length: int = 2
    lowercase: bool = True
    strip_accents: Accents = None


@dataclass(frozen=True, eq=False)
class Words:
    """The words of some texts, in order.

    Attributes:
        code: uint8, uint16 or uint32 array: the code points of all texts, prepared
            and joined.
        start: int64 array of shape (words,): where in `code` each begins.
        stop: int64 array of shape (words,): one past where it ends.
        hashes: uint64 array of shape (words,).
        counts: int64 array of shape (texts,): how many words each text has.
    """

    code: Array
    start: Integers
    stop: Integers
    hashes: Hashes
    counts: Integers

    def kept(self, keep: npt.NDArray[np.bool_]) -> Words:
        """Those of a mask."""
        ends = np.concatenate([[0], np.cumsum(keep)])[np.cumsum(self.counts)]
        return Words(
            self.code,
            self.start[keep],
            self.stop[keep],
            self.hashes[keep],
            np.diff(ends, prepend=0),
        )


def split(texts: Sequence[str], rule: WordRule) -> Words:
    """The words of texts."""
    if rule.lowercase:
        texts = [text.lower() for text in texts]
    if rule.strip_accents is not None:
        texts = [
            text if text.isascii() else unicodedata.normalize("NFKD", text)
            for text in texts
        ]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths + 1) - 1
    code = code_points(SEPARATOR.join(texts))
    if rule.strip_accents is not None and code.dtype != np.uint8:
        if rule.strip_accents == "ascii":
            dropped = code >= 128
        else:
            dropped = _combining(_different(code))[code]
        ends = ends - np.searchsorted(np.flatnonzero(dropped), ends)
        code = code[~dropped]
    start, stop = spans(code, rule)
    counts = np.diff(np.searchsorted(start, ends), prepend=0)
    return Words(code, start, stop, word_hashes(code, start, stop), counts)


def spans(code: Array, rule: WordRule) -> tuple[Integers, Integers]:
    """Where each word of texts begins and ends that are prepared and joined."""
    inside = np.zeros(len(code) + 2, bool)
    letters = _letters(rule.separators, _different(code))
    letters.take(code, out=inside[1:-1], mode="clip")
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    start, stop = edges[::2], edges[1::2]
    if rule.min_length > 1:
        long = stop - start >= rule.min_length
        start, stop = start[long], stop[long]
    return start, stop


def code_points(text: str) -> Array:
    """The code points of a text, in the smallest type that holds them."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    narrow = text.encode("utf-16-le", "surrogatepass")
    if len(narrow) == 2 * len(text):
        return np.frombuffer(narrow, "<u2")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def as_text(code: Array) -> str:
    """The text of code points."""
    if code.dtype == np.uint8:
        return code.tobytes().decode("latin-1")
    # Not as UTF-16, which would make one character of two surrogates.
    wide = code.astype("<u4").tobytes()
    return wide.decode("utf-32-le", "surrogatepass")


def word_hashes(code: Array, start: Integers, stop: Integers) -> Hashes:
    """A hash of each run of code points; equal runs have equal ones.

    Args:
        code: Code points, of any unsigned type.
        start: int64 array of shape (words,), ascending.
        stop: int64 array of shape (words,); none ends behind where the next begins.
    """
    found = np.empty(len(start), np.uint64)
    first = 0
    while first < len(start):
        base = int(start[first])
        last = max(int(np.searchsorted(start, base + WINDOW)), first + 1)
        size = int(stop[last - 1]) - base
        power, inverse = _powers(1 << max(size, WINDOW).bit_length())
        sums = np.zeros(size + 1, np.uint64)
        terms = code[base : base + size] * power[:size]
        np.cumsum(terms, out=sums[1:])
        left, right = start[first:last] - base, stop[first:last] - base
        part = sums[right] - sums[left]
        part *= inverse[left]
        part += (right - left).astype(np.uint64) * LENGTH
        found[first:last] = part
        first = last
    return mixed(found)


def hashes_of(words: Sequence[str]) -> Hashes:
    """A hash of each string, as `word_hashes` gives it."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    stop = np.cumsum(lengths)
    return word_hashes(code_points("".join(words)), stop - lengths, stop)


def mixed(values: Hashes) -> Hashes:
    """SplitMix64's finalizer: a bijection in which each bit depends on all."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


@functools.lru_cache(maxsize=2)
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """Powers of `BASE`, and of its inverse: two arrays of shape (count,)."""
    return _ascending(BASE, count), _ascending(pow(BASE, -1, 1 << 64), count)


def _ascending(base: int, count: int) -> Hashes:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _different(code: Array) -> int:
    """How many code points a type has: tables of all of Unicode take 0.2 seconds."""
    return {1: 0x80, 2: 0x10000}.get(code.dtype.itemsize, 0x110000)


@functools.lru_cache(maxsize=8)
def _letters(separators: str | None, size: int) -> npt.NDArray[np.bool_]:
    r"""For each code point, whether it belongs to words: ``\w``, or no separator."""
    if separators is None:
        # What `re` takes for \w in text; a test compares them.
        found = np.fromiter(map(str.isalnum, map(chr, range(size))), np.bool_)
        found[ord("_")] = True
    else:
        found = np.ones(size, np.bool_)
        places = [ord(character) for character in separators + SEPARATOR]
        found[[place for place in places if place < size]] = False
    return found


@functools.lru_cache(maxsize=2)
def _combining(size: int) -> npt.NDArray[np.bool_]:
    """For each code point, whether it is a combining character."""
    classes = map(unicodedata.combining, map(chr, range(size)))
    return np.fromiter(classes, np.bool_)

"""A block of texts -> its words in order, as Keras 2's Tokenizer splits them.

Worker processes import this: it brings no scipy, which takes a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.text import words
from sequence_loader.text.ngrams import sorted_places
from sequence_loader.text.spill import Spill
from sequence_loader.text.vectorizer_inputs import checked_texts, pieces
from sequence_loader.text.words import Hashes, WordRule

RULE = WordRule('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', min_length=1)
"""The words of Keras 2's Tokenizer, with the filters that it has by default."""


@dataclass(frozen=True, eq=False)
class WordCounts:
    """The words of a block of texts.

    Attributes:
        hashes: uint64 array of shape (words,): of the different words, ascending.
        df: int64 array of shape (words,): how often each occurs.
        order: uint32 array of shape (words,): where each is first.
        ids: uint32 array of shape (tokens,): the place in `hashes` of each word.
        lengths: uint32 array of shape (texts,): how many words each text has.
        names: The code points, see `ngrams.named`.
    """

    hashes: Hashes
    df: Integers
    order: Array
    ids: Array
    lengths: Array
    names: Array


class WordCounter:
    """Texts in, their counted words out; picklable, for worker processes.

    Args:
        source: Where `serve` reads rows, or `None` if it is given texts.
    """

    def __init__(self, source: Any = None) -> None:
        self._source = source

    def serve(self, item: Any) -> list[WordCounts]:
        """The words of some texts, or rows, in blocks."""
        if self._source is not None:
            item = checked_texts(self._source.read(item), item)
        return [self.count(part) for part in pieces(item)]

    @staticmethod
    def count(texts: Sequence[str]) -> WordCounts:
        """The words of a block of texts."""
        found = words.split(texts, RULE)
        order = sorted_places(found.hashes)
        by_hash = found.hashes[order]
        new = np.ones(len(order), np.bool_)
        np.not_equal(by_hash[1:], by_hash[:-1], out=new[1:])
        start = np.flatnonzero(new)
        ids = np.empty(len(order), np.uint32)
        ids[order] = np.cumsum(new) - 1
        return WordCounts(
            by_hash[start],
            np.diff(start, append=len(order)),
            order[start].astype(np.uint32),
            ids,
            found.counts.astype(np.uint32),
            found.code,
        )

    @staticmethod
    def append(spill: Spill, counts: WordCounts) -> None:
        """Writes a block."""
        spill.append(len(counts.lengths), len(counts.ids), **vars(counts))

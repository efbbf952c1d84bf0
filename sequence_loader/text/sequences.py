"""`SequenceVectorizer`: texts -> numbers of their commonest words, padded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.checks import integer
from sequence_loader.rows.csr import CsrRows, ends_of
from sequence_loader.text import vectorizer_files as files
from sequence_loader.text import words
from sequence_loader.text.ngrams import named
from sequence_loader.text.sequence_words import RULE, WordCounter
from sequence_loader.text.spill import Spill
from sequence_loader.text.vectorizer import TextVectorizer
from sequence_loader.text.vectorizer_inputs import Labels, pieces
from sequence_loader.text.vectorizer_ranges import Located, located
from sequence_loader.text.vectorizer_tasks import Rows
from sequence_loader.text.vectorizer_terms import (
    Vocabulary,
    merge,
    names_at,
)
from sequence_loader.text.vectorizer_workers import Means, in_threads
from sequence_loader.text.words import Hashes


class SequenceVectorizer(TextVectorizer):
    """Word numbers, of any number of texts, in bounded memory.

    What comes out equals, in Keras 2 (``tf_keras.preprocessing``),
    ``Tokenizer(num_words)`` followed by ``pad_sequences(maxlen=min(max_length, the
    longest text that was fitted))``, padded and cut in front: the commonest word is 1,
    of equally common ones the one that was seen first comes first, and other words are
    left out. This is what Google's text-classification guide feeds its separable CNN.

    A padded sequence is a sparse row: the padding is its zeros. A store holds word
    numbers in two bytes where they reach, and
    ``SparseBatchSequence(store, dtype="int32")`` serves what an Embedding takes.

    Words are found with NumPy alone, as 64-bit polynomial hashes (Rabin and Karp; see
    `words`), which are merged range by range, as in an external sort. Fitting takes
    some 300 MB at most, however many texts there are.

    Args:
        num_words: Numbers are below it, so that one word fewer is kept, as in Keras.
        max_length: The most words of a text that are kept: its last.

    Raises:
        TypeError: An argument is no integer.
        ValueError: An argument is out of range.

    Example:
        >>> vectorizer = SequenceVectorizer()
        >>> store = vectorizer.fit_write(open_texts("train.csv"), "words.store")
        >>> train = SparseBatchSequence(store, dtype="int32", shuffle=True)
        >>> train[0][0].dtype
        dtype('int32')
    """

    KIND = "sequences"

    def __init__(self, *, num_words: int = 20_000, max_length: int = 500) -> None:
        self.num_words = integer("num_words", num_words, minimum=2, maximum=2**31 - 1)
        self.max_length = integer("max_length", max_length, minimum=1)
        self._learned, self._arrays = {}, {}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SequenceVectorizer:
        """Opens a vectorizer.

        Args:
            path: What `save` wrote, or a store that `fit_write` or `write` made.

        Returns:
            The vectorizer, fitted.

        Raises:
            FileNotFoundError: There is none.
            VectorizerError: It is damaged, or of another kind.
        """
        found = files.read(path, cls.KIND)
        return cls(**found.content["options"])._opened(found)

    @property
    def num_features(self) -> int:
        """The length of a padded sequence."""
        return int(self._learned.get("length", 0))

    @property
    def words(self) -> tuple[str, ...]:
        """The words by their numbers: ``words[0]`` is number 1."""
        return tuple(self._learned.get("words", ()))

    def __repr__(self) -> str:
        state = (
            f"{len(self.words)} words, {self.num_features} of a text" if self._arrays
            else "not fitted"
        )  # fmt: skip
        return f"{type(self).__name__}(...): {state}"

    @property
    def _dtype(self) -> str:
        return "uint16" if self.num_words <= 1 << 16 else "int32"

    def _made_with(self) -> dict[str, Any]:
        return {"num_words": self.num_words, "max_length": self.max_length}

    def _counter(self, source: Any) -> WordCounter:
        return WordCounter(source)

    def _learn(
        self, spills: Sequence[Spill], labels: Labels, means: Means
    ) -> Rows:
        blocks = located(spills)
        vocabulary = merge(blocks, _all, means, link=False)[0]
        number = _commonest(vocabulary, self.num_words - 1)
        if not len(number):
            raise ValueError(
                f"{argument('source')} must hold texts with words; received none with "
                f"any. Check how they were read."
            )
        order = np.argsort(number)  # by hash
        hashes = vocabulary.hashes.pick(number[order])
        self._saved = None
        self._arrays = {"hashes": hashes, "columns": (order + 1).astype(np.int32)}
        places = vocabulary.place.pick(number[order])
        names = names_at(blocks, places, _names, means.threads)
        listed = [""] * len(names)
        for rank, name in zip(order, names):
            listed[rank] = name

        def longest(block: Located) -> int:
            return int(self._numbered(block)[1].max(initial=0))

        most = max(in_threads(longest, blocks, means.threads))
        self._learned = {
            "num_texts": sum(each.block.rows for each in blocks),
            "length": min(self.max_length, most),
            "longest": most,
            "class_names": labels.class_names,
            "words": listed,
        }
        return lambda: in_threads(self._of_block, blocks, means.threads)

    def _rows(self, texts: Sequence[str]) -> list[CsrRows]:
        made = []
        for part in pieces(texts):
            found = words.split(part, RULE)
            made.append(self._padded(*self._kept(found.hashes, None, found.counts)))
        return made

    def _rows_of_part(self, spill: Spill) -> Iterator[CsrRows]:
        return map(self._of_block, located([spill]))

    def _of_block(self, block: Located) -> CsrRows:
        return self._padded(*self._numbered(block))

    def _numbered(self, block: Located) -> tuple[Array, Integers]:
        hashes, ids = block.read("hashes"), block.read("ids")
        return self._kept(hashes, ids, block.read("lengths").astype(np.int64))

    def _kept(
        self, hashes: Hashes, ids: Array | None, counts: Integers
    ) -> tuple[Array, Integers]:
        """Numbers of the words that have one, and how many each text has."""
        known, numbers = self._arrays["hashes"], self._arrays["columns"]
        place = np.searchsorted(known, hashes)
        found = known.take(place, mode="clip") == hashes
        number = np.where(found, numbers.take(place, mode="clip"), 0)
        if ids is not None:
            number = number[ids]
        ends = np.concatenate([[0], np.cumsum(number > 0)])[np.cumsum(counts)]
        return number[number > 0], np.diff(ends, prepend=0)

    def _padded(self, number: Array, counts: Integers) -> CsrRows:
        """The last of each text, at the end of its row."""
        length = self.num_features
        ends = np.cumsum(counts)
        column = np.arange(len(number)) - np.repeat(ends, counts) + length
        kept = column >= 0
        return CsrRows(
            ends_of(np.minimum(counts, length)),
            column[kept].astype(np.int32),
            number[kept].astype(np.int32),
            length,
        )


def _all(df: Array) -> Array:
    return np.ones(len(df), np.bool_)


def _commonest(vocabulary: Vocabulary, count: int) -> Integers:
    """The terms that occur most, of equal ones those that are first, in that order."""
    best = np.zeros((3, 0), np.int64)
    for (start, often), (_, place) in zip(
        vocabulary.df.chunks(), vocabulary.place.chunks()
    ):
        number = np.arange(start, start + len(often))
        best = np.concatenate([best, [number, -often.astype(np.int64), place]], axis=1)
        best = best[:, np.lexsort(best[:0:-1])[:count]]
    found: Integers = best[0]
    return found


def _names(block: Located, order: Integers) -> list[str]:
    code, lengths = block.read("names"), block.read("lengths")
    return named(order, code, lengths, RULE, (1, 1), np.zeros(0, np.uint64))

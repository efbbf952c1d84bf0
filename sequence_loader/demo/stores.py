"""Files of labelled texts -> two stores, for training and for validation.

What the rows become, n-grams or sequences of words, is what Google's guide would
choose; columns are learned from the training texts alone.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arrays import Integers
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.text.lengths import Lengths
from sequence_loader.text.ngram_vectorizer import NgramVectorizer
from sequence_loader.text.opening import open_texts
from sequence_loader.text.sequences import SequenceVectorizer
from sequence_loader.text.texts import Texts

VALIDATION_SHARE = 0.2
SEED = 7


@dataclass(frozen=True)
class Vectorized:
    """Texts as rows on disk.

    Attributes:
        words: How long the training texts are.
        vectorizer: What made the rows; fitted with the training texts.
        train, val: The stores.
        class_names: What their `y` stand for.
    """

    words: Lengths
    vectorizer: NgramVectorizer | SequenceVectorizer
    train: SparseStore
    val: SparseStore
    class_names: tuple[str, ...]

    @property
    def is_grams(self) -> bool:
        """Whether rows are n-grams, and not sequences of words."""
        return isinstance(self.vectorizer, NgramVectorizer)

    @property
    def majority_share(self) -> float:
        """The validation accuracy of always answering the commonest class."""
        y = np.asarray(self.train.y)
        return float(np.mean(np.asarray(self.val.y) == np.bincount(y).argmax()))


class SomeRows:
    """Some rows of texts, as texts; picklable by the seed that drew them.

    Args:
        texts: All of them.
        held_out: Whether these are the rows that are held out, or the others.
    """

    numeric = False

    def __init__(self, texts: Texts, held_out: bool) -> None:
        self._texts, self._held_out = texts, held_out
        order = np.random.default_rng(SEED).permutation(texts.num_rows)
        count = round(texts.num_rows * VALIDATION_SHARE)
        self.rows: Integers = np.sort(order[:count] if held_out else order[count:])
        self.num_rows = len(self.rows)
        self.y = None if texts.y is None else texts.y[self.rows]
        self.class_names = texts.class_names

    def read(self, rows: Integers) -> list[str]:
        """See `RowSource.read`."""
        return self._texts.read(self.rows[rows])

    def __reduce__(self) -> tuple[Any, ...]:
        return SomeRows, (self._texts, self._held_out)


def opened(
    train: Any, test: Any, settings: dict[str, Any]
) -> tuple[Texts, Any, Any]:
    """Texts to train with, and texts to validate with.

    Args:
        train: File or pattern of the former.
        test: Of the latter; or `None`, to hold some of the former out.
        settings: Arguments of `open_texts`.

    Returns:
        All texts of `train`; those that are trained with; and those that are not.

    Raises:
        ValueError: There are no labels, or they are all the same.
    """
    with warnings.catch_warnings():
        # All that it warns of is in `described`, which is printed.
        warnings.filterwarnings("ignore", "open_texts: ")
        texts = open_texts(train, **settings)
        if texts.y is None or texts.num_rows < 2 or (texts.y == texts.y[0]).all():
            found = "no labels" if texts.y is None else "one class"
            raise ValueError(
                f"{train} must have texts of two classes or more, to tell apart; it "
                f"has {found}. Pass a file that has."
            )
        if test is None:
            return texts, SomeRows(texts, False), SomeRows(texts, True)
        return texts, texts, open_texts(test, **settings | texts.settings)


def vectorize(
    train: Any,
    val: Any,
    folder: Path,
    kind: str | None = None,
    metadata: dict[str, Any] | None = None,
    workers: int = 1,
) -> Vectorized:
    """Writes both stores.

    Args:
        train: A row source of texts with `y` and `class_names`.
        val: Another.
        folder: Where the stores are put; those of another run are replaced.
        kind: ``"ngrams"``, ``"sequences"``, or `None` for what the guide would choose.
        metadata: Kept in the stores.
        workers: Processes that do it.
    """
    words = Lengths.of(train)
    vectorizer: NgramVectorizer | SequenceVectorizer = (
        NgramVectorizer()
        if (kind or words.choice) == "ngrams"
        else SequenceVectorizer()
    )
    options: dict[str, Any] = {"workers": workers, "overwrite": True}
    kept = [
        {**(metadata or {}), "words": found.to_json()}
        for found in (words, Lengths.of(val))
    ]
    trained = vectorizer.fit_write(
        train, folder / "train.store", metadata=kept[0], **options
    )
    others = vectorizer.write(val, folder / "test.store", metadata=kept[1], **options)
    names = tuple(map(str, train.class_names))
    return Vectorized(words, vectorizer, trained, others, names)

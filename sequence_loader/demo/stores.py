"""Files of labelled texts -> stores for training, for validation and for the test.

Training ends when the validation loss hardly falls any more, so that the texts to
validate with are chosen by: they are a fifth of the file to train with, and never the
test's.
What the rows become, n-grams or sequences of words, is what Google's guide would
choose; columns are learned from the training texts alone.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Integers
from sequence_loader.demo.folder import TEST, TRAIN, VALIDATION
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.text.arguments import settings_for
from sequence_loader.text.faults import ColumnsError
from sequence_loader.text.lengths import Lengths
from sequence_loader.text.ngram_vectorizer import NgramVectorizer
from sequence_loader.text.opening import open_texts
from sequence_loader.text.sequences import SequenceVectorizer
from sequence_loader.text.texts import Texts

VALIDATION_SHARE = 0.2
SEED = 7
MIN_ROWS = 5


@dataclass(frozen=True)
class Vectorized:
    """Texts as rows on disk.

    Attributes:
        words: How long the training texts are.
        vectorizer: What made the rows; fitted with the training texts.
        train, val: The stores.
        test: That of the texts which training never looks at, if there are any.
        class_names: What their `y` stand for.
    """

    words: Lengths
    vectorizer: NgramVectorizer | SequenceVectorizer
    train: SparseStore
    val: SparseStore
    test: SparseStore | None
    class_names: tuple[str, ...]

    @property
    def is_grams(self) -> bool:
        """Whether rows are n-grams, and not sequences of words."""
        return isinstance(self.vectorizer, NgramVectorizer)

    @property
    def judged(self) -> SparseStore:
        """That of the texts by which the network is judged."""
        return self.val if self.test is None else self.test

    @property
    def majority_share(self) -> float:
        """The accuracy on those of always answering the commonest class."""
        y = np.asarray(self.train.y)
        return float(np.mean(np.asarray(self.judged.y) == np.bincount(y).argmax()))

    def close(self) -> None:
        """Closes the stores."""
        for store in (self.train, self.val, self.test):
            if store is not None:
                store.close()


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


class Opened(NamedTuple):
    """Texts, as row sources.

    Attributes:
        whole: All of the file to train with.
        train: Those of them that are trained with.
        val: The others, drawn at random.
        test: Those of the file to test with, if there is one.
    """

    whole: Texts
    train: SomeRows
    val: SomeRows
    test: Texts | None


def opened(train: Any, test: Any, settings: dict[str, Any]) -> Opened:
    """Texts to train with, to validate with, and to test with.

    Args:
        train: File or pattern of the former two.
        test: Of the latter, or `None`.
        settings: Arguments of `open_texts`.

    Raises:
        ValueError: There are no labels, or they are all the same.
    """
    with warnings.catch_warnings():
        # All that it warns of is in `described`, which is printed.
        warnings.filterwarnings("ignore", "open_texts: ")
        texts = open_texts(train, **settings)
        if texts.y is None or (texts.y == texts.y[0]).all():
            found = "no labels" if texts.y is None else "one class"
            raise ValueError(
                f"{train} must have texts of two classes or more, to tell apart; it "
                f"has {found}. Pass a file that has."
            )
        if texts.num_rows < MIN_ROWS:
            raise ValueError(
                f"{train} must have {MIN_ROWS} rows or more, some to train with and "
                f"some to validate with; it has {texts.num_rows}. Pass a file that has."
            )
        tested = None
        if test is not None:
            decided = {n: v for n, v in settings.items() if n not in texts.settings}
            decided = settings_for(test, texts.settings, decided)
            try:
                tested = open_texts(test, **decided)
            except ColumnsError as error:
                raise ValueError(
                    f"{test} must have the columns of {train}; it has {error.found}, "
                    f"and no {decided[error.name]!r} for {argument(error.name)}. Write "
                    f"it with the columns of {train}."
                ) from error
    return Opened(texts, SomeRows(texts, False), SomeRows(texts, True), tested)


def vectorize(
    texts: Opened,
    folder: Path,
    kind: str | None = None,
    metadata: dict[str, Any] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Vectorized:
    """Writes the stores.

    Args:
        texts: What to write.
        folder: Where the stores are put; none of them is there.
        kind: ``"ngrams"``, ``"sequences"``, or `None` for what the guide would choose.
        metadata: Kept in the stores.
        workers: Processes that do it.
        progress: Whether to show a progress bar.
    """
    words = Lengths.of(texts.train)
    vectorizer: NgramVectorizer | SequenceVectorizer = (
        NgramVectorizer()
        if (kind or words.choice) == "ngrams"
        else SequenceVectorizer()
    )
    options: dict[str, Any] = {"workers": workers, "progress": progress}

    def written(made: Any, source: Any, name: str) -> SparseStore:
        lengths = {"words": Lengths.of(source).to_json()}
        store: SparseStore = made(
            source, folder / name, metadata=(metadata or {}) | lengths, **options
        )
        return store

    train = written(vectorizer.fit_write, texts.train, TRAIN)
    val = written(vectorizer.write, texts.val, VALIDATION)
    test = None
    if texts.test is not None:
        test = written(vectorizer.write, texts.test, TEST)
    names = tuple(map(str, texts.whole.class_names or ()))
    return Vectorized(words, vectorizer, train, val, test, names)

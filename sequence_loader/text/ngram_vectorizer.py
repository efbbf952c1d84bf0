"""`NgramVectorizer`: texts -> the n-grams that tell classes apart, weighed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.rows.csr import CsrRows
from sequence_loader.text import vectorizer_files as files
from sequence_loader.text.ngram_fit import NgramFit
from sequence_loader.text.ngram_options import (
    CALLABLE,
    TOKEN_PATTERN,
    NgramCounter,
    NgramOptions,
    Norm,
    Score,
)
from sequence_loader.text.ngram_weights import Weighting, entries_of, rows_of
from sequence_loader.text.spill import Spill
from sequence_loader.text.vectorizer import TextVectorizer
from sequence_loader.text.vectorizer_inputs import Labels, pieces
from sequence_loader.text.vectorizer_ranges import located
from sequence_loader.text.vectorizer_tasks import Rows
from sequence_loader.text.vectorizer_workers import Means


class NgramVectorizer(TextVectorizer):
    r"""TF-IDF of the n-grams of texts, of any number of texts, in bounded memory.

    The columns, their order, names and values are those of scikit-learn's
    ``TfidfVectorizer`` followed by ``SelectKBest(select, k=max_features)``, fitted
    with all texts in memory; values are rounded to float32. The defaults are those of
    Google's text-classification guide.

    Words of the default pattern are counted with NumPy alone, as 64-bit polynomial
    hashes (Rabin and Karp) that one sort brings together (see `words` and `ngrams`);
    anything else, by scikit-learn's own analyzer. Counts go to disk as numbers, and
    the passes that follow read those in blocks: equal hashes of all blocks are merged
    range by range, as in an external sort; the classes' sums of the commonest terms
    are made in one pass, and those of rarer ones only if their bound can reach the
    best. Two n-grams with one hash would become one column: among 20 million that
    has a probability of 1e-5.

    Fitting takes some 700 MB at most with two threads, however many texts there are
    (and 12 bytes for each text and label). Temporary files take some 2.5 kB for 55
    words. Transforming looks terms up in the whole vocabulary, 12 bytes each, which
    is mapped from the files of a vectorizer that was saved: norms need it.

    Args:
        ngram_range: The least and the largest n.
        min_df: Terms that fewer texts have are passed over: a number of texts, or a
            share of them as a float.
        max_df: Terms that more texts have are passed over; likewise.
        strip_accents: ``"unicode"``, ``"ascii"``, `None` or a function.
        lowercase: Whether texts are made lower case first.
        stop_words: Words to leave out: ``"english"``, a list, or `None`.
        analyzer: ``"word"``, ``"char"``, ``"char_wb"``, or a function from a text to
            its terms.
        tokenizer: A function from a text to its words, or `None`.
        token_pattern: A regular expression that words match.
        sublinear_tf: Whether tf is 1 + log(count).
        norm: ``"l2"``, ``"l1"`` or `None`: what rows are divided by.
        select: ``"f_classif"`` or ``"chi2"``: columns with the best scores are taken.
            `None` takes the terms that occur most, as
            ``TfidfVectorizer(max_features=...)``.
        max_features: How many columns at most; `None` for all, whose names are then
            all in memory.
        memory: Bytes that the vocabulary may take, 12 for each term. Where there are
            more, `min_df` is raised until they have room, with a warning that counts
            what is let go (`min_df_used`, `dropped_terms`). `None` sets no bound.

    Raises:
        ImportError: An option needs scikit-learn, and the extra is not installed.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> vectorizer = NgramVectorizer()
        >>> store = vectorizer.fit_write(open_texts("train.csv"), "news.store")
        >>> test = vectorizer.write(open_texts("test.csv"), "news-test.store")
        >>> NgramVectorizer.load("news.store").transform(["a text"]).shape[0]
        1
    """

    KIND = "ngrams"

    def __init__(
        self,
        *,
        ngram_range: tuple[int, int] = (1, 2),
        min_df: int | float = 2,
        max_df: int | float = 1.0,
        strip_accents: str | Callable[[str], str] | None = "unicode",
        lowercase: bool = True,
        stop_words: str | Sequence[str] | None = None,
        analyzer: str | Callable[[str], Sequence[str]] = "word",
        tokenizer: Callable[[str], Sequence[str]] | None = None,
        token_pattern: str = TOKEN_PATTERN,
        sublinear_tf: bool = False,
        norm: Norm = "l2",
        select: Score | None = "f_classif",
        max_features: int | None = 20_000,
        memory: int | None = None,
    ) -> None:
        self.options = NgramOptions(
            ngram_range,
            min_df,
            max_df,
            strip_accents,
            lowercase,
            stop_words,  # type: ignore[arg-type]  # made a tuple there
            analyzer,
            tokenizer,
            token_pattern,
            sublinear_tf,
            norm,
            select,
            max_features,
            memory,
        )
        self._learned, self._arrays = {}, {}
        self._count_texts = NgramCounter(self.options)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], **functions: Callable[..., Any]
    ) -> NgramVectorizer:
        """Opens a vectorizer.

        Args:
            path: What `save` wrote, or a store that `fit_write` or `write` made.
            functions: Those of ``analyzer``, ``tokenizer`` and ``strip_accents`` that
                are functions: files do not hold them.

        Returns:
            The vectorizer, fitted.

        Raises:
            FileNotFoundError: There is none.
            TypeError: A function is missing, or not one of its options.
            VectorizerError: It is damaged, or of another kind.
        """
        found = files.read(path, cls.KIND)
        options = found.content["options"]
        wanted = {name for name in CALLABLE if isinstance(options[name], dict)}
        if wanted != set(functions):
            named = ", ".join(
                f"{name}={options[name]['function']}" for name in sorted(wanted)
            )
            raise TypeError(
                f"the vectorizer in {path} was made with "
                f"{named or 'no functions'}; received {sorted(functions)}. Pass "
                f"load(path{', ' + named if named else ''})."
            )
        options["ngram_range"] = tuple(options["ngram_range"])
        return cls(**options | functions)._opened(found)

    @property
    def num_features(self) -> int:
        """How many columns there are."""
        return len(self._arrays["columns"]) if self._arrays else 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The n-gram of each column, in ascending order."""
        return tuple(self._learned.get("feature_names", ()))

    @property
    def idf(self) -> Array:
        """float64 array of shape (num_features,): the weight of each column."""
        self._check_fitted()
        chosen: Array = self._arrays["df"][self._arrays["columns"]]
        return self._weighting.idf(chosen)

    @property
    def num_terms(self) -> int:
        """Size of the vocabulary, of which the columns were selected."""
        return len(self._arrays["hashes"]) if self._arrays else 0

    @property
    def min_df_used(self) -> float:
        """How many texts a term had to be in; more than `min_df` under `memory`."""
        return float(self._learned.get("min_df_used", 0))

    @property
    def dropped_terms(self) -> int:
        """How many terms were let go because of `memory`."""
        return int(self._learned.get("dropped_terms", 0))

    def __repr__(self) -> str:
        state = (
            f"{self.num_features} of {self.num_terms} terms of "
            f"{self._learned['num_texts']} texts" if self._arrays else "not fitted"
        )  # fmt: skip
        return f"{type(self).__name__}(...): {state}"

    _dtype = "float32"
    _sorted: tuple[Array, Array, Array] | None = None

    @property
    def _weighting(self) -> Weighting:
        texts = self._learned["num_texts"]
        return Weighting(texts, self.options.sublinear_tf, self.options.norm)

    def _made_with(self) -> dict[str, Any]:
        return self.options.to_json()

    def _counter(self, source: Any) -> NgramCounter:
        return NgramCounter(self.options, source)

    def _check_labels(self, labels: Labels) -> None:
        if self.options.select is not None and labels.y is None:
            raise ValueError(
                f"{argument('select', self.options.select)} needs the class of each "
                f"text; received texts without. Pass {argument('y')}, or "
                f"{argument('select', None)}."
            )

    def _learn(
        self, spills: Sequence[Spill], labels: Labels, means: Means
    ) -> Rows:
        work = NgramFit(self._count_texts, spills, labels, means)
        found = work.run()
        self._saved = None
        self._arrays = {
            "hashes": found.hashes, "df": found.df, "columns": found.chosen
        }  # fmt: skip
        self._learned = {
            "num_texts": found.num_texts,
            "min_df_used": found.min_df,
            "dropped_terms": found.dropped,
            "class_names": labels.class_names,
            "feature_names": found.names,
        }
        return work.rows

    def _rows(self, texts: Sequence[str]) -> list[CsrRows]:
        made = []
        for part in pieces(texts):
            counts = self._count_texts.count(part)
            arrays = counts.docs, counts.counts, counts.df
            made.append(self._weighed(counts.hashes, arrays, len(part)))
        return made

    def _rows_of_part(self, spill: Spill) -> Iterator[CsrRows]:
        for block in located([spill]):
            arrays = block.read("docs"), block.read("counts"), block.read("df")
            yield self._weighed(block.read("hashes"), arrays, block.block.rows)

    def _weighed(
        self, hashes: Array, arrays: tuple[Array, Array, Array], rows: int
    ) -> CsrRows:
        """Counts -> the columns that were chosen, of rows divided by their norms."""
        known, columns = self._arrays["hashes"], self._arrays["columns"]
        place = np.searchsorted(known, hashes)
        found = known.take(place, mode="clip") == hashes
        term = place[found]
        entries = entries_of(*arrays, found)
        weighting = self._weighting
        values = weighting.weights(entries, weighting.idf(self._arrays["df"][term]))
        values /= weighting.norms(entries, values, rows)[entries.docs]
        order, chosen = self._by_term()
        at = np.searchsorted(chosen, term)
        is_column = chosen.take(at, mode="clip") == term
        kept = is_column[entries.term]
        number = np.cumsum(is_column) - 1
        entries = entries._replace(
            docs=entries.docs[kept],
            counts=entries.counts[kept],
            term=number[entries.term[kept]],
        )
        return rows_of(
            entries,
            values[kept].astype(np.float32),
            order[at[is_column]],
            rows,
            len(columns),
        )

    def _by_term(self) -> tuple[Array, Array]:
        """Columns in the order of their terms, and those terms."""
        columns = self._arrays["columns"]
        if self._sorted is None or self._sorted[0] is not columns:
            order = np.argsort(columns)
            self._sorted = columns, order, columns[order]
        return self._sorted[1:]

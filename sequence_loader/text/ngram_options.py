"""What n-grams are made of, and which are taken: options, checked once.

Worker processes import this: it brings no scipy, which takes a while.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.text import ngrams, words
from sequence_loader.text.ngrams import Analyzer, TermCounts
from sequence_loader.text.spill import TERM_BYTES, Spill
from sequence_loader.text.vectorizer_inputs import checked_texts, pieces
from sequence_loader.text.words import Hashes, WordRule

Norm = Literal["l1", "l2"] | None
Score = Literal["f_classif", "chi2"]
TOKEN_PATTERN = r"(?u)\b\w\w+\b"
"""scikit-learn's: the words that `words` finds."""
CALLABLE = "analyzer", "strip_accents", "tokenizer"
"""Options that may be functions, which are not written to files."""


@dataclass(frozen=True)
class NgramOptions:
    """The arguments of `NgramVectorizer`, which says what they mean."""

    ngram_range: tuple[int, int]
    min_df: int | float
    max_df: int | float
    strip_accents: Any
    lowercase: bool
    stop_words: str | tuple[str, ...] | None
    analyzer: Any
    tokenizer: Callable[[str], Sequence[str]] | None
    token_pattern: str
    sublinear_tf: bool
    norm: Norm
    select: Score | None
    max_features: int | None
    memory: int | None

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        try:
            least, largest = self.ngram_range
        except (TypeError, ValueError):
            least = largest = 0
        least = integer("ngram_range[0]", least, minimum=1)
        largest = integer("ngram_range[1]", largest, minimum=least)
        put("ngram_range", (least, largest))
        for name in ("min_df", "max_df"):
            put(name, _frequency(name, getattr(self, name)))
        for name in ("lowercase", "sublinear_tf"):
            put(name, bool(one_of(name, getattr(self, name), (True, False))))
        if not callable(self.strip_accents):
            one_of("strip_accents", self.strip_accents, ("unicode", "ascii", None))
        if not callable(self.analyzer):
            one_of("analyzer", self.analyzer, ("word", "char", "char_wb"))
        if self.tokenizer is not None and not callable(self.tokenizer):
            raise TypeError(
                f"`tokenizer` must be a function from a text to its words; received "
                f"{shown(self.tokenizer)}. Pass for example str.split."
            )
        if isinstance(self.stop_words, str):
            one_of("stop_words", self.stop_words, ("english", None))
        elif self.stop_words is not None:
            # In one order, also of a set: parts of several processes are compared.
            put("stop_words", tuple(sorted(set(map(str, self.stop_words)))))
        one_of("norm", self.norm, ("l2", "l1", None))
        one_of("select", self.select, ("f_classif", "chi2", None))
        if self.max_features is not None:
            put("max_features", integer("max_features", self.max_features, minimum=1))
        if self.memory is not None:
            put("memory", integer("memory", self.memory, minimum=TERM_BYTES))

    def to_json(self) -> dict[str, Any]:
        """What a file can hold of them: functions by name only."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in CALLABLE:
            if callable(found[name]):
                found[name] = {"function": getattr(found[name], "__qualname__", "?")}
        return found

    def limits(self, num_texts: int) -> tuple[float, float]:
        """The least and the highest df of a term that is kept.

        Raises:
            ValueError: No df is between them.
        """
        low, high = (
            each if isinstance(each, int) else each * num_texts
            for each in (self.min_df, self.max_df)
        )
        if high < low:
            raise ValueError(
                f"{argument('max_df')} must not be less than {argument('min_df')}; "
                f"received {argument('max_df', self.max_df)}, {high:g} of {num_texts} "
                f"texts, and {argument('min_df', self.min_df)}, {low:g} texts. Pass a "
                f"lower {argument('min_df')}."
            )
        return low, high


class NgramCounter:
    """Texts in, their counted n-grams out; picklable, for worker processes.

    Args:
        options: What n-grams are.
        source: Where `serve` reads rows, or `None` if it is given texts.
    """

    def __init__(self, options: NgramOptions, source: Any = None) -> None:
        self.options, self._source = options, source
        plain = options.analyzer == "word" and options.tokenizer is None
        plain = plain and options.token_pattern == TOKEN_PATTERN
        self.rule: WordRule | None = None
        if plain and not callable(options.strip_accents):
            self.rule = WordRule(
                lowercase=options.lowercase, strip_accents=options.strip_accents
            )

    def count(self, texts: Sequence[str]) -> TermCounts:
        """The n-grams of a block of texts."""
        if self.rule is None:
            return ngrams.count_analyzed(texts, self.analyze)
        return ngrams.count_ngrams(
            texts, self.rule, self.options.ngram_range, self.stop
        )

    def serve(self, item: Any) -> list[TermCounts]:
        """The n-grams of some texts, or rows, in blocks."""
        if self._source is not None:
            item = checked_texts(self._source.read(item), item)
        return [self.count(part) for part in pieces(item)]

    @staticmethod
    def append(spill: Spill, counts: TermCounts) -> None:
        """Writes a block."""
        arrays = vars(counts).copy()
        spill.append(len(counts.lengths), arrays.pop("span"), **arrays)

    def names(self, block: Any, order: Any) -> list[str]:
        """Names of terms of a block, see `ngrams.named`."""
        return ngrams.named(
            order,
            block.read("names"),
            block.read("lengths"),
            self.rule,
            self.options.ngram_range,
            self.stop,
        )

    @functools.cached_property
    def stop(self) -> Hashes:
        """Ascending hashes of the stop words."""
        listed = self.options.stop_words or ()
        if listed == "english":
            require_sklearn("stop_words='english'")
            from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

            listed = tuple(ENGLISH_STOP_WORDS)
        return np.unique(words.hashes_of(listed))

    @functools.cached_property
    def analyze(self) -> Analyzer:
        """scikit-learn's analyzer."""
        require_sklearn("analyzers other than its default words")
        from sklearn.feature_extraction.text import CountVectorizer

        options = self.options
        stop = options.stop_words
        made: Analyzer = CountVectorizer(
            ngram_range=options.ngram_range,
            strip_accents=options.strip_accents,
            lowercase=options.lowercase,
            stop_words=list(stop) if isinstance(stop, tuple) else stop,
            analyzer=options.analyzer,
            tokenizer=options.tokenizer,
            token_pattern=options.token_pattern,
        ).build_analyzer()
        return made

    def __getstate__(self) -> dict[str, Any]:
        made = vars(self).copy()
        made.pop("analyze", None)
        return made


def require_sklearn(what: str) -> None:
    """Raises ImportError that names the extra if scikit-learn is missing."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{what} of `NgramVectorizer` needs scikit-learn, which is not installed. "
            'In a clone of the repository, run: pip install ".[text]"'
        ) from error


def _frequency(name: str, value: Any) -> int | float:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and int(value) >= 1:
        return int(value)
    share = isinstance(value, Real) and not isinstance(value, Integral)
    if share and 0 <= float(value) <= 1:
        return float(value)
    raise ValueError(
        f"{argument(name)} must be a number of texts, an int of at least 1, or a share "
        f"of them, a float in [0, 1]; received {shown(value)}. Pass for example "
        f"{argument(name, 2 if name == 'min_df' else 1.0)}."
    )

"""Counted blocks -> the terms that become columns, and the rows of those.

The passes of `NgramVectorizer.fit`, after the texts have been counted:

1. `vectorizer_terms.merge`: the terms of all blocks -> vocabulary and df.
2. Norms of rows, and sums of classes -> scores (`ngram_scores.best`).
3. Names of the best -> columns.
4. `rows`: blocks -> rows of these columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.progress import progress_bar
from sequence_loader.rows.csr import CsrRows
from sequence_loader.text.ngram_options import NgramCounter
from sequence_loader.text.ngram_scores import ClassScores, best
from sequence_loader.text.ngram_weights import (
    Entries,
    Floats,
    Weighting,
    entries_of,
    rows_of,
)
from sequence_loader.text.spill import Column, Spill
from sequence_loader.text.vectorizer_inputs import Labels
from sequence_loader.text.vectorizer_ranges import Located, located
from sequence_loader.text.vectorizer_terms import (
    Links,
    Vocabulary,
    merge,
    names_at,
    raised,
)
from sequence_loader.text.vectorizer_workers import Means, in_threads

NAMED = 1 << 21
"""Terms whose names are held in memory: some 200 MB."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What fitting found.

    Attributes:
        num_texts: How many texts there were.
        hashes: uint64 array of shape (terms,), ascending: the vocabulary.
        df: uint32 array of shape (terms,): how many texts have each.
        chosen: int64 array of shape (columns,): the term of each column.
        names: Of the columns, ascending.
        min_df: The df that a term needed.
        dropped: How many terms had less because of `memory`.
    """

    num_texts: int
    hashes: Array
    df: Array
    chosen: Integers
    names: tuple[str, ...]
    min_df: float
    dropped: int


class NgramFit:
    """The passes over counted blocks.

    Args:
        counter: What made them.
        spills: The blocks, in the order of the texts.
        labels: Of all texts.
        means: What to compute with.
    """

    def __init__(
        self,
        counter: NgramCounter,
        spills: Sequence[Spill],
        labels: Labels,
        means: Means,
    ) -> None:
        self.counter, self.options = counter, counter.options
        self.blocks = located(spills)
        self.num_texts = sum(each.block.rows for each in self.blocks)
        self.labels, self._means, self._threads = labels, means, means.threads
        self._norms: Column | None = None
        self._links: Links
        self._chosen: Integers
        self._all = True
        self.weighting = Weighting(
            self.num_texts, self.options.sublinear_tf, self.options.norm
        )

    def run(self) -> Fitted:
        """All passes but the last.

        Raises:
            ValueError: No term is left, or labels are missing.
        """
        scores = self._scores()
        low, high = self.options.limits(self.num_texts)
        low, dropped = raised(
            self.blocks, low, high, self.options.memory, self._threads
        )
        vocabulary, links = merge(
            self.blocks,
            lambda df: (df >= low) & (df <= high),
            self._means,
        )
        if links is None or not len(vocabulary):
            raise ValueError(
                f"no term is left of {self.num_texts} texts with "
                f"{argument('min_df', self.options.min_df)} and "
                f"{argument('max_df', self.options.max_df)}. Pass a lower "
                f"{argument('min_df')} or a higher {argument('max_df')}, and texts "
                f"with words of two letters; or {argument('analyzer', 'char')} for a "
                f"language that has no blanks between words."
            )
        self._links = links
        chosen, names = self._columns(vocabulary, scores)
        hashes, df = vocabulary.hashes, vocabulary.df
        self._chosen, place = chosen, chosen
        # As in TfidfVectorizer(max_features=...), others count no more, for norms
        # either; those that SelectKBest leaves out do.
        self._all = scores is not None or len(chosen) == len(hashes)
        if self._all:
            found = hashes.mapped(), df.mapped()
        else:
            terms = np.sort(chosen)
            found = hashes.pick(terms), df.pick(terms)
            place = np.searchsorted(terms, chosen)
        return Fitted(self.num_texts, *found, place, names, low, dropped)

    def rows(self) -> Iterator[CsrRows]:
        """The rows of each block, float32, once the passes before have run."""
        order = np.argsort(self._chosen)
        terms = self._chosen[order]

        def made(block: Located) -> CsrRows:
            number, df, _ = self._linked(block)
            place = np.searchsorted(terms, number)
            chosen = terms.take(place, mode="clip") == number
            arrays = block.read("docs"), block.read("counts"), block.read("df")
            first, rows = block.first_row, block.block.rows
            if self._norms is None:
                known = df > 0 if self._all else chosen
                entries, idf = self._entries(arrays, df, known)
                weights = self.weighting.weights(entries, idf)
                norms = self.weighting.norms(entries, weights, rows)
            else:
                norms = self._norms.read(first, first + rows)
            entries, idf = self._entries(arrays, df, chosen)
            values = self.weighting.weights(entries, idf)
            values /= norms[entries.docs]
            columns = order[place[chosen]]
            return rows_of(
                entries, values.astype(np.float32), columns, rows, len(terms)
            )

        return in_threads(made, self.blocks, self._threads)

    def _scores(self) -> ClassScores | None:
        """How columns are scored, if they are."""
        select = self.options.select
        if select is None:
            return None
        y = np.asarray(self.labels.y)
        rows = np.unique(y, return_counts=True)[1]
        normed = self.options.norm is not None
        return ClassScores(select, rows, normed, self._threads)

    def _columns(
        self, vocabulary: Vocabulary, scores: ClassScores | None
    ) -> tuple[Integers, tuple[str, ...]]:
        """The term of each column, in the order of their names; and those."""
        total = len(vocabulary)
        count = min(self.options.max_features or total, total)
        if count == total:
            terms = np.arange(total)
            found = np.zeros(total)
        elif scores is None:
            terms, found = self._commonest(vocabulary, count)
        elif len(scores.rows) < 2:
            raise ValueError(
                f"{argument('select', scores.score)} must have texts of two classes "
                f"to choose {count} of {total} terms; received texts of one. Pass "
                f"{argument('select', None)}."
            )
        else:
            sums = self._sums(scores, total)
            terms, found = best(scores, count, vocabulary.df, sums)
        names = self._names(vocabulary, terms)
        by_name = np.array(sorted(range(len(names)), key=names.__getitem__))
        if scores is None and count < total:
            # As in CountVectorizer, also where equal ones end up.
            order = (-found[by_name]).argsort()[:count]
        else:
            order = np.argsort(found[by_name], kind="stable")[-count:]
        taken = by_name[np.sort(order)]
        return terms[taken], tuple(names[i] for i in taken.tolist())

    def _commonest(
        self, vocabulary: Vocabulary, count: int
    ) -> tuple[Integers, Floats]:
        """The terms that occur most, and how often: all, where there are not too
        many, since where equal ones end up depends on them."""
        totals = np.zeros(len(vocabulary))
        for block in self.blocks:
            number, df, _ = self._linked(block)
            counts, size = block.read("counts"), block.read("df")
            starts = np.cumsum(size, dtype=np.int64) - size
            sums = np.add.reduceat(counts, starts, dtype=np.float64)
            totals[number[df > 0]] += sums[df > 0]
        if len(totals) <= NAMED:
            return np.arange(len(totals)), totals
        terms = np.flatnonzero(totals >= np.partition(totals, -count)[-count])
        return terms, totals[terms]

    def _sums(
        self, scores: ClassScores, total: int
    ) -> Callable[[Integers], Floats]:
        """Sums by class of some terms: one pass; the first also notes norms."""
        y = np.asarray(self.labels.y)
        codes = np.unique(y, return_inverse=True)[1].astype(np.int32)
        norms = Column(np.float64, self._means.scratch)

        def part(block: Located, terms: Integers) -> tuple[Integers, Integers, Floats]:
            number, df, place = self._linked(block)
            first, rows = block.first_row, block.block.rows
            arrays = block.read("docs"), block.read("counts"), block.read("df")
            column, summed = number.astype(np.int64), df > 0
            if self._norms is None:
                entries, idf = self._entries(arrays, df, summed)
                norm = self.weighting.exact_norms(entries, idf, place[summed], rows)
                norms.write(first, norm)
            else:
                norm = self._norms.read(first, first + rows)
            if len(terms) < total or self._norms is not None:
                column = np.searchsorted(terms, number)
                summed = terms.take(column, mode="clip") == number
                entries, idf = self._entries(arrays, df, summed)
            values = self.weighting.weights(entries, idf)
            values /= norm[entries.docs]
            code = codes[first : first + rows][entries.docs]
            return column[summed][entries.term], code.astype(np.int64), values

        def sums(terms: Integers) -> Floats:
            found = np.zeros(len(terms) * scores.sums_per_column)
            parts = in_threads(
                lambda block: part(block, terms), self.blocks, self._threads
            )
            total, shown = self.num_texts, self._means.progress
            with progress_bar("score", total, "texts", shown=shown) as advance:
                for block, (column, code, values) in zip(self.blocks, parts):
                    scores.add(found, column, code, values)
                    advance(block.block.rows)
            self._norms = norms
            return found

        return sums

    def _linked(self, block: Located) -> tuple[Array, Array, Array]:
        """Number, df and place in the vocabulary of each term of a block."""
        first = block.first_term
        stop = first + block.num_terms
        links = self._links
        return (
            links.number.read(first, stop),
            links.df.read(first, stop),
            links.place.read(first, stop),
        )

    def _entries(
        self, arrays: tuple[Array, Array, Array], df: Array, keep: Array
    ) -> tuple[Entries, Floats]:
        """Entries of the terms to keep, and their idf."""
        return entries_of(*arrays, keep), self.weighting.idf(df[keep])

    def _names(self, vocabulary: Vocabulary, terms: Integers) -> list[str]:
        """The names of terms, which ascend."""
        places = vocabulary.place.pick(terms)
        return names_at(self.blocks, places, self.counter.names, self._threads)

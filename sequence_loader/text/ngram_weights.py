"""Counts of a block -> TF-IDF, as scikit-learn computes it, to the last bit.

Where scores are compared the last bit decides, so that sums are made in the order in
which scikit-learn makes them: of a row, in the order in which its terms were first
seen in the whole corpus; of a column, row after row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Array, Integers
from sequence_loader.rows.csr import CsrRows, ends_of
from sequence_loader.text.ngram_options import Norm
from sequence_loader.text.ngrams import sorted_places

Floats = npt.NDArray[np.float64]


class Entries(NamedTuple):
    """The counts of a block, term by term.

    Attributes:
        docs: uint16 array of shape (entries,): the text.
        counts: Unsigned array of shape (entries,).
        term: int64 array of shape (entries,), ascending: the term, among those kept.
    """

    docs: Array
    counts: Array
    term: Integers


def entries_of(docs: Array, counts: Array, df: Array, keep: Array) -> Entries:
    """The entries of some terms.

    Args:
        docs: As in `TermCounts`.
        counts: As in `TermCounts`.
        df: As in `TermCounts`.
        keep: Mask of shape (terms,).
    """
    kept = np.repeat(keep, df)
    number = np.arange(int(keep.sum()))
    return Entries(docs[kept], counts[kept], np.repeat(number, df[keep]))


@dataclass(frozen=True)
class Weighting:
    """TF-IDF of a corpus.

    Attributes:
        num_texts: How many texts idf is of.
        sublinear_tf: Whether tf is 1 + log of the count.
        norm: What rows are divided by.
    """

    num_texts: int
    sublinear_tf: bool
    norm: Norm

    def idf(self, df: Array) -> Floats:
        """The inverse document frequency, smoothed: float64, of the shape of `df`."""
        idf = np.full(len(df), self.num_texts + 1, np.float64)
        idf /= df.astype(np.float64) + 1.0
        np.log(idf, out=idf)
        idf += 1.0
        return idf

    def weights(self, entries: Entries, idf: Floats) -> Floats:
        """tf * idf of each entry; `idf` is of the terms kept."""
        weights = self._tf(entries.counts)
        weights *= np.repeat(idf, np.bincount(entries.term, minlength=len(idf)))
        return weights

    def norms(self, entries: Entries, weights: Floats, rows: int) -> Floats:
        """What rows are divided by, summed in any order: float64 of shape (rows,)."""
        return self._root(np.bincount(entries.docs, self._powers(weights), rows))

    def exact_norms(
        self, entries: Entries, idf: Floats, first: Integers, rows: int
    ) -> Floats:
        """The same, each row summed in the order of `first`.

        Args:
            entries: Of the block.
            idf: Of the terms kept.
            first: int64 array: where each term kept is first in the corpus.
            rows: How many texts the block has.
        """
        by_first = np.argsort(first)
        rank = np.empty(len(first), np.int64)
        rank[by_first] = np.arange(len(first))
        docs, ranks, counts = _by_doc(entries, rank)
        weights = self._tf(counts)
        weights *= idf[by_first][ranks]
        return self._root(np.bincount(docs, self._powers(weights), rows))

    def _tf(self, counts: Array) -> Floats:
        tf = counts.astype(np.float64)
        if self.sublinear_tf:
            np.log(tf, out=tf)
            tf += 1.0
        return tf

    def _powers(self, weights: Floats) -> Floats:
        return weights * weights if self.norm == "l2" else weights

    def _root(self, sums: Array) -> Floats:
        if self.norm is None:
            return np.ones(len(sums))
        sums[sums == 0.0] = 1.0  # a row without terms
        return np.sqrt(sums) if self.norm == "l2" else sums


def _by_doc(entries: Entries, rank: Integers) -> tuple[Integers, Integers, Integers]:
    """(text, rank of the term, count) of all entries, in that order."""
    largest = int(entries.counts.max(initial=0))
    shift = np.uint64(largest.bit_length())
    middle = np.uint64(max(len(rank) - 1, 0).bit_length())
    if shift + middle > 48:  # a term 2**24 times in one text, say
        ranks = rank[entries.term]
        order = np.lexsort((ranks, entries.docs))
        docs, counts = entries.docs[order], entries.counts[order]
        return docs.astype(np.int64), ranks[order], counts.astype(np.int64)
    shifted = rank.view(np.uint64) << shift
    keys = np.repeat(shifted, np.bincount(entries.term, minlength=len(rank)))
    keys |= entries.docs.astype(np.uint64) << (shift + middle)
    keys |= entries.counts
    keys.sort()
    one = np.uint64(1)
    return (
        (keys >> (shift + middle)).view(np.int64),
        ((keys >> shift) & ((one << middle) - one)).view(np.int64),
        (keys & ((one << shift) - one)).view(np.int64),
    )


def rows_of(
    entries: Entries, values: Array, column: Integers, rows: int, num_features: int
) -> CsrRows:
    """Rows, with the columns in order.

    Args:
        entries: Of the terms that have a column.
        values: Of the entries.
        column: int64 array: the column of each term kept.
        rows: How many texts there are.
        num_features: How many columns there are.
    """
    place = np.argsort(column)
    rank = np.empty(len(column), np.uint64)
    rank[place] = np.arange(len(column), dtype=np.uint64)
    docs = entries.docs.astype(np.uint64)
    order = sorted_places(docs << np.uint64(48) | rank[entries.term] << np.uint64(20))
    indptr = ends_of(np.bincount(entries.docs, minlength=rows))
    indices = column[entries.term[order]].astype(np.int32)
    return CsrRows(indptr, indices, values[order], num_features)

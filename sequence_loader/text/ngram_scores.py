"""The best columns by `f_classif` or `chi2`, in bounded memory.

Both scores need, of each column, sums over the rows of each class. There may be more
columns than sums fit in memory, and a score is bounded by how many rows have the
column at all (`ClassScores.most`): so the commonest columns are scored first, and
those that cannot come up to the best of them are not scored. What is scored gives the
floating-point numbers of scikit-learn: the same sums in the same order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sequence_loader.arrays import Integers
from sequence_loader.text.ngram_options import Score
from sequence_loader.text.ngram_weights import Floats
from sequence_loader.text.spill import Column
from sequence_loader.text.vectorizer_workers import in_threads

SUMS_BYTES = 1 << 28
"""Memory for sums, and as much again for scores: columns beyond are scored in a
further pass: one took a quarter of the time of a fit."""

PIECE_COLUMNS = 1 << 12
"""Columns that are scored at a time: their sums stay in the cache."""
_COMMON = 1 << 16
_LOWEST = np.finfo(np.float64).min
"""What `SelectKBest` takes a score for that is not a number."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """How columns are scored.

    Attributes:
        score: Which score.
        rows: int64 array of shape (classes,): how many rows each class has.
        bounded: Whether values are at most 1.
        threads: That compute.
    """

    score: Score
    rows: Integers
    bounded: bool
    threads: int = 1

    @property
    def sums_per_column(self) -> int:
        """float64 numbers for each column."""
        classes = len(self.rows)
        return 2 * classes if self.score == "f_classif" else classes + 1

    def add(self, sums: Floats, column: Integers, code: Integers, x: Floats) -> None:
        """Adds entries to sums, one after the other.

        Args:
            sums: Of shape (columns * sums_per_column,).
            column: int64 array of shape (entries,).
            code: int64 array of shape (entries,): the class of the row.
            x: float64 array of shape (entries,).
        """
        base = column * self.sums_per_column
        if self.score == "f_classif":
            base += 2 * code
            np.add.at(sums, base, x)
            base += 1
            np.add.at(sums, base, x * x)
        else:
            np.add.at(sums, base, x)
            base += code
            base += 1
            np.add.at(sums, base, x)

    def scores(self, sums: Floats) -> Floats:
        """float64 array of shape (columns,), none of them NaN."""
        rows = sums.reshape(-1, self.sums_per_column)
        pieces = np.array_split(rows, len(rows) // PIECE_COLUMNS + 1)
        return np.concatenate(list(in_threads(self._scored, pieces, self.threads)))

    def _scored(self, rows: Floats) -> Floats:
        table = rows.T
        with np.errstate(divide="ignore", invalid="ignore"):
            made = self._f(table) if self.score == "f_classif" else self._chi2(table)
        made[np.isnan(made)] = _LOWEST
        return made

    def most(self, df: int) -> float:
        """What no score of a column exceeds that `df` rows have.

        With q the sum of squares and r = df / (rows of the smallest class), the
        variance between classes is at most r * q (Cauchy and Schwarz), that within
        them at least (1 - r) * q. chi2 is at most (1 / p - 1) times the sum of the
        column, p the share of the smallest class.
        """
        total, classes = int(self.rows.sum()), len(self.rows)
        if self.score == "chi2":
            return df * (total / int(self.rows.min())) if self.bounded else np.inf
        ratio = df / int(self.rows.min())
        if ratio >= 1 or classes < 2:
            return np.inf
        return ratio / (1 - ratio) * (total - classes) / (classes - 1)

    def _f(self, table: Floats) -> Floats:
        """`sklearn.feature_selection.f_classif`, from the sums."""
        classes, total = len(self.rows), int(self.rows.sum())
        sums, squares = table[::2], table[1::2]
        all_squares: Floats = np.zeros(table.shape[1])
        all_sums: Floats = np.zeros(table.shape[1])
        for k in range(classes):
            all_squares += squares[k]
            all_sums += sums[k]
        square_of_sums = all_sums**2
        total_variance = all_squares - square_of_sums / float(total)
        between: Floats = np.zeros(table.shape[1])
        for k in range(classes):
            between += sums[k] ** 2 / self.rows[k]
        between -= square_of_sums / float(total)
        within = total_variance - between
        between /= float(classes - 1)
        within /= float(total - classes)
        made: Floats = between / within
        return made

    def _chi2(self, table: Floats) -> Floats:
        """`sklearn.feature_selection.chi2`, from the sums."""
        share = _shares(self.rows)
        expected = share * table[0][:, None]
        made = table[1:].T - expected
        made **= 2
        made /= expected
        # Class by class in memory, as scipy's product has it: NumPy's sum of eight
        # and more depends on that.
        total: Floats = made.sum(axis=1)
        return total


def _shares(rows: Integers) -> Floats:
    """The share of each class, as scikit-learn has it: of three or more classes the
    mean of a sparse column, which scipy makes by adding 1 / n so many times."""
    total = int(rows.sum())
    if len(rows) == 2:
        return rows / total
    one = 1.0 / total
    return np.array([_repeated_sum(one, int(count)) for count in rows])


def _repeated_sum(value: float, count: int) -> float:
    """0 + value + value + ..., rounded each time."""
    found = 0.0
    while count:
        step = min(count, 1 << 20)
        found = float(np.add.accumulate(np.append(found, np.full(step, value)))[-1])
        count -= step
    return found


Sums = Callable[[Integers], Floats]
"""From numbers of terms, ascending, to their sums; one pass over all blocks."""


def best(
    scores: ClassScores, count: int, df: Column, sums: Sums
) -> tuple[Integers, Floats]:
    """The terms that are among the best `count`, and those that tie with the last.

    Args:
        scores: How they are scored.
        count: Less than there are.
        df: Of all terms.
        sums: Sums up some of them.

    Returns:
        int64 array of the numbers of the terms, ascending, and their scores.
    """
    most = max(SUMS_BYTES // (8 * scores.sums_per_column), 1)
    terms, found = np.zeros(0, np.int64), np.zeros(0)
    common = _common(df, most)

    for low, high in ((common, None), (None, common)):
        if low is None:
            last = np.partition(found, -count)[-count] if len(found) >= count else None
            low = _hopeful(scores, last, common)
        for chosen in _with_df(df, low, high, most):
            made = scores.scores(sums(chosen))
            terms, found = np.append(terms, chosen), np.append(found, made)
            if len(found) > count:
                kept = found >= np.partition(found, -count)[-count]
                terms, found = terms[kept], found[kept]
    order = np.argsort(terms)
    return terms[order], found[order]


def _hopeful(scores: ClassScores, last: float | None, common: int) -> int:
    """The least df below `common` whose columns may reach the score `last`."""
    if last is None:
        return 0
    slack = 1 + 1e-6  # sums are rounded
    return bisect_left(
        range(common), True, key=lambda df: scores.most(df) * slack >= last
    )


def _common(df: Column, most: int) -> int:
    """The least df for which the terms with it or a higher one are at most `most`."""
    counts = np.zeros(_COMMON + 1, np.int64)
    for _, values in df.chunks():
        counts += np.bincount(np.minimum(values, _COMMON), minlength=_COMMON + 1)
    above = np.cumsum(counts[::-1])[::-1]
    return int(np.argmax(above <= most)) if above[-1] <= most else _COMMON


def _with_df(
    df: Column, low: int, high: int | None, most: int
) -> Iterator[Integers]:
    """Numbers of the terms with df in [low, high), at most `most` at a time."""
    waiting = np.zeros(0, np.int64)
    for start, values in df.chunks():
        within = values >= low
        if high is not None:
            within &= values < high
        waiting = np.append(waiting, np.flatnonzero(within) + start)
        while len(waiting) > most:
            yield waiting[:most]
            waiting = waiting[most:]
    if len(waiting):
        yield waiting

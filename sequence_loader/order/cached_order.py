"""Positions of an epoch -> row ids, evaluated some way ahead.

Drawing the order of one batch is mostly the fixed cost of some fifty NumPy calls:
30 us for 128 positions, 120 us for 8,192. While positions are asked for
in sequence, a whole stretch is drawn and the next batches are cut from it; where
they are asked for at random, just what is needed. The answer is the same.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.arrays import Integers
from sequence_loader.checks import shown
from sequence_loader.order.samplers import Sampler
from sequence_loader.order.seeds import one_order

STRETCH_POSITIONS = 8192
"""Positions drawn at once; 64 KiB of row ids."""

ASKED_AGAIN = 256
"""Positions that show whether a sampler says the same twice."""


class _Stretch(NamedTuple):
    epoch: int
    start: int
    rows: Integers


class Order:
    """The order of the rows served. Safe to use from any thread.

    Args:
        sampler: Gives the order.
        num_rows: Rows it chooses from.
        length: Positions in an epoch.
        subset: int64 array of shape (num_rows,), the row ids the sampler's rows stand
            for, or `None` where they are row ids.
        shared: What makes it that of several processes; see `one_order`.
    """

    def __init__(
        self,
        sampler: Sampler,
        num_rows: int,
        length: int,
        subset: Integers | None,
        shared: str = "",
    ) -> None:
        self.sampler = sampler
        self._num_rows = num_rows
        self._length = length
        self._subset = subset
        self._shared = shared
        # Replaced whole, never changed: threads see one or the other. Two are kept,
        # for threads that are at work on both sides of a border.
        self._stretches: tuple[_Stretch, ...] = ()
        self._last = (-1, 0)

    def positions(self, epoch: int, start: int, stop: int) -> Integers:
        """The rows at positions ``start .. stop - 1`` of `epoch`.

        Args:
            epoch: Epoch of the data.
            start: First position, at least 0.
            stop: One past the last, at most `length`.

        Returns:
            int64 array of shape (stop - start,), not to be written to.

        Raises:
            ValueError: The sampler broke its contract.
        """
        if stop - start > STRETCH_POSITIONS:
            return self._draw(epoch, start, stop)
        border = (start // STRETCH_POSITIONS + 1) * STRETCH_POSITIONS
        if stop <= border:
            return self._within(epoch, start, stop)
        return np.concatenate(
            [self._within(epoch, start, border), self._within(epoch, border, stop)]
        )

    def check_pure(self) -> None:
        """Raises ValueError where a position is another row when it is asked for again.

        One that draws as it is asked would serve some rows twice in an epoch, and
        others never.
        """
        stop = min(self._length, ASKED_AGAIN)
        middle = stop // 2
        first = [self._draw(epoch, 0, stop) for epoch in (0, 1)]
        parts = [(middle, stop), (0, middle)] if middle else [(0, stop)]
        for (begin, end), epoch in itertools.product(parts, (0, 1)):
            before, again = first[epoch][begin:end], self._draw(epoch, begin, end)
            differ = np.flatnonzero(before != again)
            if len(differ):
                place = int(differ[0])
                raise ValueError(
                    f"`sampler` must return the same row whenever it is asked for a "
                    f"position of an epoch; {type(self.sampler).__name__}.rows() "
                    f"returned row {before[place]} for position {begin + place} of "
                    f"epoch {epoch}, and then row {again[place]}. Return the slice "
                    f"[start:stop] of an order that depends on the epoch alone, such "
                    f"as np.random.default_rng((7, epoch)).permutation(num_rows)."
                )

    def _within(self, epoch: int, start: int, stop: int) -> Integers:
        """Positions that lie in one stretch."""
        first = start // STRETCH_POSITIONS * STRETCH_POSITIONS
        last, self._last = self._last, (epoch, start)
        for stretch in self._stretches:
            if stretch.epoch == epoch and stretch.start == first:
                return stretch.rows[start - first : stop - first]
        if last[0] != epoch or abs(start - last[1]) > STRETCH_POSITIONS:
            return self._draw(epoch, start, stop)
        rows = self._draw(epoch, first, min(first + STRETCH_POSITIONS, self._length))
        self._stretches = (_Stretch(epoch, first, rows), *self._stretches[:1])
        return rows[start - first : stop - first]

    def _draw(self, epoch: int, start: int, stop: int) -> Integers:
        with one_order(self._shared):
            drawn: Any = self.sampler.rows(self._num_rows, epoch, start, stop)
        rows: Integers = np.asarray(drawn)
        wanted = stop - start
        if (
            rows.shape != (wanted,)
            or rows.dtype.kind not in "iu"
            or (wanted and (int(rows.min()) < 0 or int(rows.max()) >= self._num_rows))
        ):
            raise ValueError(
                f"`sampler` must return {wanted} integers in [0, {self._num_rows}); "
                f"{type(self.sampler).__name__}.rows() returned {shown(drawn)}. Return "
                f"the rows at positions start .. stop - 1 of the epoch, as int64."
            )
        # A copy: the sampler may keep the array, and draw the next order into it.
        rows = rows.astype(np.int64) if self._subset is None else self._subset[rows]
        rows.flags.writeable = False
        return rows

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what was drawn ahead."""
        return {**self.__dict__, "_stretches": ()}

"""ReadAhead: which batches are asked for -> which to prepare before they are."""

from __future__ import annotations


class ReadAhead:
    """Guesses that batches asked for in order go on in order.

    The window doubles while that holds, and is nothing where it does not: when
    Keras permutes the batches, one guess in as many as there are batches is made.
    Threads of `tf.data` that take batches in order ask a little out of order, by
    less than they are many.

    Args:
        callers: How many threads may be asking.
        limit: The most batches to prepare ahead.
    """

    def __init__(self, callers: int, limit: int) -> None:
        self._callers = callers
        self._limit = limit
        self._epoch = self._last = -1
        self._next = self._window = 0

    def asked(self, epoch: int, batch: int, num_batches: int) -> range | None:
        """Notes what is asked for.

        Args:
            epoch: Epoch of the data.
            batch: Number of the batch.
            num_batches: Batches in the epoch.

        Returns:
            Numbers of batches of this epoch to prepare now, none of them a second
            time; `None` if what has been prepared before will not be wanted.
        """
        far = num_batches + self._callers
        step = batch - self._last if epoch == self._epoch else far
        if batch and -self._callers <= step <= 0:
            return range(0)  # asked again, or by a slower thread
        guessed_wrong = False
        if batch == 0 or step > (self._callers if self._window else 1) or step < 0:
            guessed_wrong = batch > 0
            self._window = 0 if batch else min(self._callers, self._limit)
            self._next = 0
        else:
            self._window = min(max(2 * self._window, 1), self._limit)
        self._epoch, self._last = epoch, batch
        start = max(self._next, batch + 1)
        self._next = max(start, min(batch + 1 + self._window, num_batches))
        return None if guessed_wrong else range(start, self._next)

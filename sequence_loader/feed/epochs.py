"""When the epoch moves on: a small state machine over what Keras calls.

An epoch of the data is not an epoch of Keras. Keras reads batches ahead and in
any order, reads some only to learn their shapes, goes on in the same pass over
several of its epochs under ``steps_per_epoch``, and stops in the middle without
a word. The rule: the epoch moves on, at the next beginning, once every batch of
it has been served in one pass; a pass that is left early is forgotten, and its
epoch is served again from the start; reads outside a pass count for nothing.

What Keras 3 calls, as observed:

    begin          before the first batch of each of its epochs
    end            after the last one; not after an early stop
    reset          at the start of every fit and evaluate: `end` without `begin`,
                   or after one batch that was read to build the model

tf-keras has no `begin`: there the epoch moves on at the `end`.
"""

from __future__ import annotations

import threading


class EpochTracker:
    """Counts the batches served and decides the epoch. Safe to use from any thread.

    Args:
        num_batches: Batches in an epoch.
        epoch: The epoch to begin with.
    """

    def __init__(self, num_batches: int, epoch: int = 0) -> None:
        self._num_batches = num_batches
        self._lock = threading.Lock()
        self._open = False  # between a begin and its end
        self._epoch = epoch
        self._forget()

    @property
    def epoch(self) -> int:
        """The current epoch of the data, from 0."""
        return self._epoch

    @property
    def served(self) -> int:
        """How many different batches of this epoch have been served."""
        return self._served

    def set(self, epoch: int) -> None:
        """Makes `epoch` the current one, with nothing served of it."""
        with self._lock:
            self._epoch = epoch
            self._forget()

    def read(self, batch: int, *, by_driver: bool) -> None:
        """A batch was asked for.

        Args:
            batch: Its number.
            by_driver: Whether the thread that asks is one that has called `begin`
                or `end`. Outside of a pass, TensorFlow's own threads only ever
                read ahead, and the driving thread only ever peeks.
        """
        with self._lock:
            if self._open or (self._served and not by_driver):
                self._mark(batch)

    def begin(self) -> None:
        """Keras 3 begins one of its epochs."""
        with self._lock:
            if self._complete():
                self._epoch += 1
                self._forget()
            elif self._open:  # the pass before was left without an end
                self._forget()
            self._open = True

    def end(self) -> None:
        """Keras 3 ends one of its epochs; a pass may go on in the next."""
        with self._lock:
            self._open = False

    def reset(self) -> None:
        """Keras 3 starts over, in a new fit or after it has built the model."""
        with self._lock:
            if self._open or not self._complete():
                self._forget()
            self._open = False

    def read_legacy(self, batch: int) -> None:
        """A batch was asked for under tf-keras, which does not say when it peeks."""
        with self._lock:
            self._mark(batch)

    def end_legacy(self) -> None:
        """tf-keras ends one of its epochs."""
        with self._lock:
            if self._complete():
                self._epoch += 1
                self._forget()

    def advance_from(self, epoch: int) -> None:
        """All of `epoch` has been handed out by other means than `read`.

        Args:
            epoch: The epoch that was served; nothing happens if it is not the
                current one any more.
        """
        with self._lock:
            if self._epoch == epoch:
                self._epoch += 1
                self._forget()

    def _mark(self, batch: int) -> None:
        self._served += not self._seen[batch]
        self._seen[batch] = True

    def _complete(self) -> bool:
        return self._served == self._num_batches

    def _forget(self) -> None:
        self._seen = bytearray(self._num_batches)
        self._served = 0

"""A sequence that says where it is in its order, and goes on from there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sequence_loader.checks import integer
from sequence_loader.feed.epoch_sequence import EpochSequence
from sequence_loader.feed.pipeline import Pipeline
from sequence_loader.order.position import Position


class StatefulSequence(EpochSequence):
    """The state of a sequence; see `SparseBatchSequence`.

    Args:
        pipeline: Makes the batches.
        shuffle: The argument of the sequence.
        reseeds: Whether the seed was drawn, and that of a state takes its place.
    """

    def __init__(self, pipeline: Pipeline, shuffle: bool | str, reseeds: bool) -> None:
        super().__init__(pipeline)
        self._shuffle, self._reseeds = shuffle, reseeds

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where the sequence is, and what its order depends on, as values for JSON.

        Saved after any batch of a loop ``for batch in sequence``, it continues with
        the next one. How much was trained of what others read, `fit` or a dataset, is
        not known: it then names the start of the epoch, in the middle of a pass that
        of the pass, else the one that comes next.

        Data are known again by their shapes and a digest: of a store that of its
        manifest, of arrays in memory of all values, up to 1 GiB each, of others that
        of 64 rows.

        Args:
            batches: How many batches of the epoch were trained, for loops that read
                ``sequence[i]`` or a dataset. By default as many as the `for` loop
                was given that read last.

        Returns:
            A dict; `rows_trained` counts those of all processes.

        Raises:
            TypeError: `batches` is not an integer.
            ValueError: There are not so many.

        Example:
            >>> import numpy as np
            >>> sequence = SparseBatchSequence(np.eye(6), batch_size=2)
            >>> for number, batch in enumerate(sequence):
            ...     if number == 1:  # the second batch was trained
            ...         break
            >>> again = SparseBatchSequence(np.eye(6), batch_size=2)
            >>> again.load_state_dict(sequence.state_dict())
            >>> len(list(again))
            1
        """
        epoch, handed_out = self._epochs.position
        if batches is None:
            batches = min(handed_out, self._plan.num_batches)
        else:
            batches = integer(
                "batches", batches, minimum=0, maximum=self._plan.num_batches
            )
        return self._position(epoch, batches).described()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where the sequence was that `state` comes from.

        The next `for` loop, or iteration of `to_tf_dataset()`, serves what is left of
        the epoch, and reads nothing of what comes before; the one after it serves a
        whole epoch. A seed that was drawn (``seed=None``) is replaced by that of the
        state. `fit` begins with a whole epoch, and refuses: see
        `SequenceCheckpoint`.

        Args:
            state: From `state_dict` of a sequence over the same rows; with the same
                rows in a batch of all processes, their number may differ.

        Raises:
            TypeError: `state` is not a dict.
            ValueError: It describes another order or other data; both sides are
                printed.
        """
        found = self._take_order(state)
        self._epochs.resume(found.epoch, found.batches)

    def _take_order(self, state: Any) -> Position:
        """The position of a state, whose order this sequence serves from now on."""
        found = self._moved_to(state)
        self._pipeline = replace(self._pipeline, seed=found.seed, plan=found.plan)
        return found

    def _moved_to(self, state: Any) -> Position:
        """The position of a state of this sequence; raises where it is of another."""
        own = self._position(0, 0)
        return own.moved_to(state, self._shuffle, reseed=self._reseeds)

    def _position(self, epoch: int, batches: int) -> Position:
        data = self._pipeline.reader.fingerprint
        return Position(epoch, self.seed, self._plan, data, batches)

"""What Keras is doing when it calls a hook and does not say."""

from __future__ import annotations

import sys
from types import FrameType


def called_by_reset() -> bool:
    """Whether Keras 3 calls `on_epoch_end` because it starts over.

    ``EpochIterator.reset`` calls the same hook as the end of an epoch, at the start
    of every fit and evaluate, and on JAX and torch after it has read one batch to
    build the model. A sequence of one batch looks the same then as after a whole
    epoch; only the caller's name tells. Where no such caller is found (another
    version of Keras), that peek counts as an epoch of a one-batch sequence, and
    nothing else changes.
    """
    frame: FrameType | None = sys._getframe(2)  # skips this function and the hook
    for _ in range(3):  # the adapter's on_epoch_end, then EpochIterator.reset
        if frame is None:
            return False
        if frame.f_code.co_name == "reset":
            return "epoch_iterator" in frame.f_code.co_filename
        frame = frame.f_back
    return False


def replicas_of_caller() -> int:
    """Replicas of the model that reads its first batches, or 1.

    Keras 3 does not enter the strategy's scope to do so; only its frame has it.
    """
    frame = sys._getframe(2)
    for _ in range(8):
        if frame.f_back is None:
            return 1
        frame = frame.f_back
        if "distribute_strategy" in frame.f_code.co_varnames:
            strategy = frame.f_locals.get("distribute_strategy")
            return int(getattr(strategy, "num_replicas_in_sync", 1))
    return 1

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

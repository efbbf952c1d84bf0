"""A few batches again and again: a training step that nobody feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sequence_loader.backends.which_keras import import_keras, keras_backend


def constant_feed(batches: Sequence[Any], steps: int) -> Any:
    """Batches, in turn, `steps` of them, as near to the step as Keras lets them.

    Args:
        batches: At least one: what a sequence's ``[i]`` gave.
        steps: How many batches are served.
    """
    if keras_backend() == "tensorflow":
        import tensorflow as tf

        held = tf.data.Dataset.from_tensors(batches[0])
        for batch in batches[1:]:
            held = held.concatenate(tf.data.Dataset.from_tensors(batch))
        return held.repeat().take(steps)
    keras = import_keras()

    class Constant(keras.utils.PyDataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> Any:
            return batches[index % len(batches)]

    return Constant()

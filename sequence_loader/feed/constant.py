"""One batch again and again: a training step that nobody feeds."""

from __future__ import annotations

from typing import Any

from sequence_loader.backends.which_keras import import_keras, keras_backend


def constant_feed(batch: Any, steps: int) -> Any:
    """One batch, `steps` times, as near to the training step as Keras lets it."""
    if keras_backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensors(batch).cache().repeat(steps)
    keras = import_keras()

    class Constant(keras.utils.PyDataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> Any:
            return batch

    return Constant()

"""Canaries: the names of Keras that `backends/keras_epochs.py` leans on.

Where one fails, a version of Keras has moved them: `SequenceCheckpoint` then says that
it does not know this version. Look up in Keras's trainers what `fit` calls the object
that enumerates its batches, and what of that begins an epoch, and say so there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import CHECKPOINTS, about, counting_model, keras

from sequence_loader import SparseBatchSequence
from sequence_loader.backends.keras_epochs import Fit, FitBatches, running_fit


@CHECKPOINTS
@about("keras_3")
@pytest.mark.parametrize("dataset", [False, True])
def test_a_running_fit_is_found_and_what_it_trains_is_counted(dataset: bool) -> None:
    found: list[Fit] = []
    counted: list[Any] = []

    class Looks(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            found.append(running_fit())
            FitBatches(found[0], 3, lambda *each: counted.append(each))
            assert found[0].is_running

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            counted.append(batch)

    x, y = np.eye(6, dtype="float32"), np.zeros(6, "float32")
    train, other = (SparseBatchSequence(x, y, batch_size=2) for _ in range(2))
    fed = train.to_tf_dataset() if dataset else train
    looks, model = Looks(), counting_model(6)
    model.fit(
        fed, epochs=3, initial_epoch=1, validation_data=other, callbacks=[looks],
        shuffle=False, verbose=0,
    )  # fmt: skip
    (fit,) = found
    assert fit.x is fed and fit.validation is other
    assert (fit.epochs, fit.initial_epoch) == (3, 1)
    assert fit.callbacks[0] is looks and not fit.is_running
    assert counted == [0, (1, True), 1, (1, True), 2, (1, False)] * 2
    with pytest.raises(RuntimeError, match="does not find its way in `fit` of Keras"):
        running_fit()

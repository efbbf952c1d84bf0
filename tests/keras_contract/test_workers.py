"""Worker processes under fit, validation, evaluate and predict, on every Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import psutil
import pytest
import scipy.sparse as sp
from keras_contract.real_keras import compile_model, keras

from sequence_loader import SparseBatchSequence

ROWS, FEATURES = 45, 6


def sequence(workers: int, **options: Any) -> SparseBatchSequence:
    """Rows that all differ, through a transform that no worker could import."""
    x = sp.csr_array(np.arange(ROWS * FEATURES, dtype=np.float32).reshape(ROWS, -1))
    return SparseBatchSequence(
        x / x.max(),
        np.arange(ROWS, dtype=np.float32) % 3,
        batch_size=8,
        seed=3,
        transform=lambda block: block * 0.5,
        workers=workers,
        use_multiprocessing=workers > 0,
        **options,
    )


def trained(workers: int) -> tuple[list[Any], list[set[int]]]:
    """What training computes, and which processes there are after each call."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    compile_model(model, "sgd", "mse")
    found: list[Any] = []
    pids: list[set[int]] = []
    others = children()

    def note(result: Any) -> None:
        found.append(result)
        pids.append(children() - others)

    with (
        sequence(workers, shuffle=True) as train,
        sequence(workers) as validation,
    ):
        for permuted in (False, True):
            keras.utils.set_random_seed(1)  # Keras draws the order of batches
            history = model.fit(
                train,
                validation_data=validation,
                epochs=2,
                shuffle=permuted,
                verbose=0,
            )
            note(history.history)
        note(model.evaluate(validation, verbose=0))
        note(model.predict(validation, verbose=0).tolist())
        note([weight.tolist() for weight in model.get_weights()])
    note("closed")
    return found, pids


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children()}


@pytest.mark.once
def test_workers_change_nothing_and_last_over_validation_and_fits():
    """One set for each sequence, from the first fit to the end of the block."""
    expected, none = trained(0)
    found, pids = trained(2)
    assert found == expected
    assert none == [set()] * len(none)
    assert [len(each) for each in pids[:-1]] == [4] * (len(pids) - 1)
    assert all(each == pids[0] for each in pids[:-1])
    assert pids[-1] == set()

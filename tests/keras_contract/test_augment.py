"""`augment` and errors of the user's own functions, in fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import counting_model, one_hot

from sequence_loader import SparseBatchSequence

ROWS, BATCH = 30, 6


def dropout(x: Any, rng: np.random.Generator) -> Any:
    """Leaves out values of a sparse or dense batch."""
    if isinstance(x, np.ndarray):
        x *= rng.random(x.shape) < 0.5
        return x
    x = x.copy()
    x.data *= rng.random(len(x.data)) < 0.5
    return x


@pytest.mark.once
@pytest.mark.parametrize("output", ["dense", "sparse"])
def test_augment_in_fit_can_be_repeated(output: str) -> None:
    def kept(seed: int) -> list[int]:
        model = counting_model(ROWS, sparse=output == "sparse")
        sequence = SparseBatchSequence(
            one_hot(ROWS),
            np.zeros(ROWS),
            batch_size=BATCH,
            shuffle=True,
            seed=seed,
            output=output,
            augment=dropout,
        )
        model.fit(sequence, epochs=4, shuffle=False, verbose=0)
        return np.rint(-np.asarray(model.get_weights()[0])[:, 0]).astype(int).tolist()

    first = kept(seed=5)
    assert first == kept(seed=5)
    assert first != kept(seed=6)
    # Each epoch draws anew: some rows are left out in some epochs only.
    assert {1, 2, 3} <= set(first)
    assert 0.3 < np.mean(first) / 4 < 0.7


@pytest.mark.parametrize("batch", [0, 3])
@pytest.mark.parametrize("argument", ["transform", "augment"])
def test_an_error_reaches_the_user_of_fit(argument: str, batch: int) -> None:
    broken = True

    def fail(x: Any, rng: Any = None) -> Any:
        dense = x if isinstance(x, np.ndarray) else x.toarray()
        if broken and dense[:, batch * BATCH].any():
            raise RuntimeError(f"row {batch * BATCH} is made of glass")
        return x

    sequence = SparseBatchSequence(
        one_hot(ROWS), np.zeros(ROWS), batch_size=BATCH, **{argument: fail}
    )
    model = counting_model(ROWS)
    with pytest.raises(Exception, match=f"row {batch * BATCH} is made of glass"):
        model.fit(sequence, shuffle=False, verbose=0)

    broken = False  # nothing is left over: the same sequence can be used again
    before = np.asarray(model.get_weights()[0])[:, 0]
    model.fit(sequence, shuffle=False, verbose=0)
    after = np.asarray(model.get_weights()[0])[:, 0]
    assert np.rint(before - after).tolist() == [1] * ROWS

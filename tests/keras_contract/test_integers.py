"""Integers reach the model as they are, on every Keras, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from keras_contract.real_keras import BACKEND, as_array, compile_model, keras, one_hot

from sequence_loader import SparseBatchSequence
from sequence_loader.rows.values import DoesNotFit

ROWS = 8


def looked_up(ids: Any, base: int) -> Any:
    """What an Embedding of one number a row, its own, gives for ``ids - base``."""
    words = keras.Input((ROWS,), name="words")
    item = keras.Input((), name="item", dtype=ids.dtype)
    embedding = keras.layers.Embedding(ROWS, 1)
    found = embedding(keras.layers.Lambda(lambda x: x - base, output_shape=())(item))
    model = keras.Model({"words": words, "item": item}, found)
    embedding.set_weights([np.arange(ROWS, dtype="float32").reshape(-1, 1)])
    x = {"item": ids, "words": one_hot(ROWS)}
    sequence = SparseBatchSequence(x, batch_size=3)
    answers = [
        model.predict(given, verbose=0).ravel().tolist()
        for given in (sequence, sequence.to_tf_dataset())
    ]
    assert answers[0] == answers[1]
    return answers[0]


# Keras's own, of an Input of int64 on JAX.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype:UserWarning")
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_ids_beyond_what_float32_holds_are_looked_up(dtype: str) -> None:
    base = 17_000_000
    ids = (base + np.arange(ROWS)).astype(dtype)
    assert looked_up(ids, base) == list(range(ROWS))


def test_ids_beyond_what_int32_holds() -> None:
    base = 2**40
    ids = base + np.arange(ROWS)
    if BACKEND != "jax":
        assert looked_up(ids, base) == list(range(ROWS))
        return
    y = np.zeros(ROWS)
    for x, targets in ((ids, y), (one_hot(ROWS), ids), (ids.astype("uint64"), y)):
        name = "`y`" if targets is ids else "`x`"
        with pytest.raises(DoesNotFit, match=rf"{name} holds {base + 3} in row 3, and"):
            SparseBatchSequence(x, targets, batch_size=3)[1]
    sparse = SparseBatchSequence(
        sp.csr_array(ids.reshape(-1, 1)), dtype="int64", output="sparse"
    )
    with pytest.raises(DoesNotFit, match="which makes int32 of int64, cannot hold"):
        sparse[0]
    for edge in (2**31 - 1, -(2**31)):
        served = SparseBatchSequence(np.full(3, edge), np.full(3, edge))[0]
        assert served[0].dtype == np.int64 and (served[0] == edge).all()


@pytest.mark.parametrize("output", ["dense", "sparse", "csr"])
def test_integers_that_are_served_as_float64(output: str) -> None:
    """JAX keeps float32 of it, as a model of that dtype does."""
    ids = sp.csr_array([[16777216], [16777217]])
    sequence = SparseBatchSequence(ids, dtype="float64", output=output)
    if BACKEND != "jax":
        (found,) = sequence[0]
        assert as_array(found).ravel().tolist() == [16777216, 16777217]
        return
    with pytest.raises(DoesNotFit, match="`x` holds 16777217 in row 1, column 0, and"):
        sequence[0]
    with pytest.raises(DoesNotFit, match="dtype='float64' .* and set jax_enable_x64"):
        SparseBatchSequence(ids, output=output)[0]
    floats = ids.astype("float64")  # which are rounded: an amount, not an id
    (found,) = SparseBatchSequence(floats, dtype="float64", output="sparse")[0]
    assert as_array(found).ravel().tolist() == [16777216, 16777216]


def test_floats_that_jax_would_make_infinite() -> None:
    x, large = one_hot(2), np.array([1.0, 1e300])
    for name, given in (
        ("x", (sp.csr_array(large.reshape(-1, 1)),)),
        ("y", (x, large)),
        ("sample_weight", (x, np.ones(2), large)),
    ):
        sequence = SparseBatchSequence(*given, dtype="float64")
        if BACKEND == "jax":
            with pytest.raises(DoesNotFit, match=rf"`{name}` holds 1e\+300 in row 1"):
                sequence[0]
        else:
            assert as_array(sequence[0][-1]).ravel().tolist() == large.tolist()


def test_rows_of_two_to_the_31_columns() -> None:
    """JAX counts columns in int32; Keras makes its BCOO of a dataset as well."""
    for columns, served in ((2**31 - 1, True), (2**31, BACKEND != "jax")):
        last = np.array([5, columns - 1], np.int64)
        x = sp.csr_array(
            (np.ones(2, "float32"), last, np.array([0, 1, 2])), shape=(2, columns)
        )
        if not served:
            for make in (
                lambda: SparseBatchSequence(x, output="sparse"),
                lambda: SparseBatchSequence(
                    x, output="sparse", transform=lambda block: block
                )[0],
                lambda: SparseBatchSequence(
                    x, output="sparse", transform=lambda block: block
                ).to_tf_dataset(),
            ):
                with pytest.raises(ValueError, match="at most 2147483647 columns"):
                    make()
            continue
        (found,) = SparseBatchSequence(x, output="sparse")[0]
        assert tuple(found.shape) == (2, columns)
        if BACKEND == "torch":
            assert found.col_indices().tolist() == last.tolist()
        else:
            assert np.asarray(found.indices)[:2, 1].tolist() == last.tolist()


def test_lists_of_inputs_and_targets_are_trained() -> None:
    """`x=[...]` and `y=[...]` as `fit` takes them of arrays."""
    first, second = keras.Input((ROWS,)), keras.Input((2,))
    outputs = [
        keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)(each)
        for each in (first, second)
    ]
    model = compile_model(
        keras.Model([first, second], outputs), optimizer="sgd", loss=["mse", "mse"]
    )
    dense = np.arange(2.0 * ROWS).reshape(ROWS, 2)
    targets = [np.zeros(ROWS), dense[:, :1]]
    sequence = SparseBatchSequence([one_hot(ROWS), dense], targets, batch_size=ROWS)
    found = model.evaluate(sequence, verbose=0)[0]
    expected = model.evaluate(
        [one_hot(ROWS).toarray(), dense], targets, batch_size=ROWS, verbose=0
    )[0]
    assert found == pytest.approx(expected) and found > 1
    assert as_array(sequence[0][0][1]).tolist() == dense.tolist()

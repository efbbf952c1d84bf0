"""Weights, remainders, and models of several inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import csr
from keras_contract.real_keras import (
    BACKEND,
    LEGACY,
    as_array,
    compile_model,
    counting_model,
    input_of,
    keras,
    one_hot,
)

from sequence_loader import SparseBatchSequence

ROWS, FEATURES, BATCH = 23, 7, 5
OUTPUTS = ["dense", "sparse"]


def features(num_rows: int = ROWS, num_features: int = FEATURES) -> Any:
    """Encoded rows, scaled so that a model can compute with them."""
    return (csr(num_rows, num_features) / (num_rows * num_features)).tocsr()


def times_trained(model: Any) -> Any:
    return -np.asarray(model.get_weights()[0])[:, 0]


@pytest.mark.parametrize("output", OUTPUTS)
def test_class_weight(output: str) -> None:
    labels = np.arange(ROWS) % 3
    model = counting_model(ROWS, sparse=output == "sparse")
    model.fit(
        SparseBatchSequence(
            one_hot(ROWS), labels, batch_size=BATCH, shuffle=True, output=output
        ),
        class_weight={0: 1.0, 1: 3.0, 2: 0.5},
        verbose=0,
    )
    np.testing.assert_allclose(times_trained(model), np.array([1, 3, 0.5])[labels])


@pytest.mark.parametrize("remainder", ["keep", "pad"])
def test_sample_weight(remainder: str) -> None:
    weights = np.linspace(0, 2, ROWS)
    model = counting_model(ROWS)
    model.fit(
        SparseBatchSequence(
            one_hot(ROWS),
            np.zeros(ROWS),
            weights,
            batch_size=BATCH,
            shuffle=True,
            remainder=remainder,
        ),
        verbose=0,
    )
    np.testing.assert_allclose(times_trained(model), weights, rtol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("remainder", ["keep", "drop", "pad"])
def test_remainders_train_each_row_once(remainder: str, output: str) -> None:
    train = SparseBatchSequence(
        one_hot(ROWS),
        np.zeros(ROWS),
        batch_size=BATCH,
        shuffle=True,
        remainder=remainder,
        output=output,
    )
    served = {row for i in range(len(train)) for row in train.batch_rows(i)}
    model = counting_model(ROWS, sparse=output == "sparse")
    model.fit(train, verbose=0)
    expected = np.isin(np.arange(ROWS), sorted(served))
    assert times_trained(model).tolist() == expected.tolist()
    assert len(served) == (ROWS // BATCH * BATCH if remainder == "drop" else ROWS)


def test_padding_leaves_weighted_metrics_as_they_are() -> None:
    x, y = features(), np.arange(ROWS, dtype=np.float32)
    inputs = input_of(FEATURES)
    heads = {
        name: keras.layers.Dense(1, name=name)(inputs) for name in ("first", "second")
    }
    model = compile_model(
        keras.Model(inputs, heads),
        optimizer="sgd",
        loss={"first": "mse", "second": "mse"},
        weighted_metrics={"first": ["mse"], "second": ["mse"]},
    )
    targets = {"first": y, "second": -y}
    padded = SparseBatchSequence(x, targets, batch_size=BATCH, remainder="pad")
    result = model.evaluate(padded, return_dict=True, verbose=0)
    predicted = model.predict(x.toarray(), verbose=0)
    for name, target in targets.items():
        by_hand = np.mean((predicted[name][:, 0] - target) ** 2)
        key = next(k for k in result if k.startswith(name) and "loss" not in k)
        np.testing.assert_allclose(result[key], by_hand, rtol=1e-5)


@pytest.mark.parametrize("output", OUTPUTS)
def test_predict_in_row_order(output: str) -> None:
    x = features()
    model = keras.Sequential(
        [input_of(FEATURES, sparse=output == "sparse"), keras.layers.Dense(3)]
    )
    kernel, bias = model.get_weights()
    expected = x.toarray() @ kernel + bias
    options: dict[str, Any] = {"batch_size": BATCH, "output": output}
    for sequence in (
        SparseBatchSequence(x, **options),
        SparseBatchSequence(x, np.zeros(ROWS), **options),
        SparseBatchSequence(x, np.zeros(ROWS), remainder="pad", **options),
    ):
        for _ in range(2):
            found = model.predict(sequence, verbose=0)
            assert len(found) == len(sequence) * BATCH - (
                2 if sequence[-1][0].shape[0] == 3 else 0
            )
            np.testing.assert_allclose(found[:ROWS], expected, rtol=1e-5, atol=1e-6)
    chosen = np.array([4, 0, 22, 7])
    found = model.predict(SparseBatchSequence(x, rows=chosen, **options), verbose=0)
    np.testing.assert_allclose(found, expected[chosen], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_several_inputs_and_outputs(kind: str, output: str) -> None:
    """The history is that of plain arrays in the same order."""
    text, meta = features(), np.linspace(0, 1, ROWS * 2).reshape(ROWS, 2)
    first = sp.csr_array(np.eye(3)[np.arange(ROWS) % 3])  # sparse targets, served dense
    second = np.sin(np.arange(ROWS))

    def structured(one: Any, other: Any, names: tuple[str, str]) -> Any:
        return dict(zip(names, (one, other))) if kind == "dict" else (one, other)

    def model(sparse: bool) -> Any:
        keras.utils.set_random_seed(2)
        inputs = (
            input_of(FEATURES, sparse=sparse, name="text"),
            input_of(2, name="meta"),
        )
        joined = keras.layers.Concatenate()(
            [keras.layers.Dense(4)(inputs[0]), keras.layers.Dense(2)(inputs[1])]
        )
        outputs = (
            keras.layers.Dense(3, activation="softmax", name="kind")(joined),
            keras.layers.Dense(1, name="size")(joined),
        )
        losses = ("categorical_crossentropy", "mse")
        return compile_model(
            keras.Model(
                structured(*inputs, ("text", "meta")),
                structured(*outputs, ("kind", "size")),
            ),
            optimizer=keras.optimizers.SGD(0.1),
            loss=structured(*losses, ("kind", "size"))
            if kind == "dict"
            else list(losses),
        )

    names = ("text", "meta"), ("kind", "size")
    sequence = SparseBatchSequence(
        structured(text, meta, names[0]),
        structured(first, second, names[1]),
        batch_size=BATCH,
        output=output,
    )
    options: dict[str, Any] = {"epochs": 2, "shuffle": False, "verbose": 0}
    from_sequence = model(output == "sparse").fit(sequence, **options)
    plain = model(False)
    from_arrays = plain.fit(
        structured(text.toarray(), meta.astype(np.float32), names[0]),
        structured(first.toarray(), second, names[1]),
        batch_size=BATCH,
        **options,
    )
    assert from_sequence.history.keys() == from_arrays.history.keys()
    for name, values in from_arrays.history.items():
        np.testing.assert_allclose(from_sequence.history[name], values, rtol=1e-4)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes(dtype: str, output: str) -> None:
    x = features()
    sequence = SparseBatchSequence(
        x, np.arange(ROWS), batch_size=BATCH, dtype=dtype, output=output
    )
    model = compile_model(
        keras.Sequential(
            [input_of(FEATURES, sparse=output == "sparse"), keras.layers.Dense(1)]
        ),
        optimizer="sgd",
        loss="mse",
    )
    model.fit(sequence, verbose=0)
    kernel, bias = model.get_weights()
    found = model.predict(sequence, verbose=0)
    np.testing.assert_allclose(
        found, x.toarray() @ kernel + bias, rtol=1e-2, atol=1e-2
    )
    served = as_array(sequence[0][0])
    if BACKEND == "jax" and output == "sparse" and dtype == "float64":
        dtype = "float32"  # JAX has no others, unless told so by jax_enable_x64
    assert served.dtype == dtype
    np.testing.assert_array_equal(served, x[:BATCH].toarray().astype(dtype))


def test_callbacks_with_validation() -> None:
    x, y = features(), np.arange(ROWS, dtype=np.float32)
    model = compile_model(
        keras.Sequential([input_of(FEATURES), keras.layers.Dense(1)]),
        optimizer=keras.optimizers.SGD(0.0),
        loss="mse",
    )
    weights = model.get_weights()
    seen: list[int] = []
    history = model.fit(
        SparseBatchSequence(x, y, batch_size=BATCH, shuffle=True),
        validation_data=SparseBatchSequence(x, y, batch_size=2 * BATCH),
        epochs=9,
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: seen.append(epoch)
            ),
        ],
    )
    # Nothing is learnt at a learning rate of 0, so it stops after its patience.
    assert seen == [0, 1, 2]
    by_hand = np.mean((x.toarray() @ weights[0] + weights[1] - y[:, None]) ** 2)
    np.testing.assert_allclose(history.history["val_loss"], [by_hand] * 3, rtol=1e-4)
    np.testing.assert_allclose(history.history["loss"], [by_hand] * 3, rtol=1e-4)


def test_the_keras_that_was_asked_for() -> None:
    assert issubclass(SparseBatchSequence, keras.utils.Sequence)
    if not LEGACY:
        assert keras.config.backend() == BACKEND

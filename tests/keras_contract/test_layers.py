"""`SparseDropout` and `Densify`: what they do to a batch, and in models that train."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_contract.real_keras import (
    BACKEND,
    LEGACY,
    ON_TENSORFLOW,
    about,
    aliased,
    as_array,
    input_of,
    keras,
)
from running_jobs import left_out
from watching import HUNG_SECONDS

from sequence_loader import SparseBatchSequence
from sequence_loader.layers import Densify, SparseDropout

ROWS, FEATURES, BATCH = 48, 40, 16
SPARSE_TYPES = {
    "tensorflow": "SparseTensor", "tf_keras": "SparseTensor", "jax": "BCOO"
}


def rows(dtype: Any = np.float32) -> sp.csr_array:
    """Values from 1 to 100 at random places; a fifth of the rows is empty."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 101, (ROWS, FEATURES))
    dense[rng.random(dense.shape) < 0.8] = 0
    dense[::5] = 0
    return sp.csr_array(dense.astype(dtype))


def feed(x: Any = None, **options: Any) -> SparseBatchSequence:
    x = rows() if x is None else x
    y = np.arange(x.shape[0]) % 3
    options = {"batch_size": BATCH, "output": "sparse", **options}
    return SparseBatchSequence(x, y, **options)


def batch(x: Any = None) -> Any:
    return feed(x)[0][0]


def is_sparse(tensor: Any) -> bool:
    if BACKEND == "torch":
        import torch

        return bool(tensor.layout == torch.sparse_csr)
    return type(tensor).__name__ == SPARSE_TYPES[BACKEND]


def as_float(tensor: Any) -> Any:
    """A float tensor, of whatever width, as float64."""
    if BACKEND == "torch":
        return tensor.to_dense().detach().double().numpy()
    if ON_TENSORFLOW and not is_sparse(tensor):
        return tensor.numpy().astype(np.float64)
    return as_array(tensor).astype(np.float64)


def dtype_of(tensor: Any) -> str:
    dtype = tensor.dtype
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


# --- what dropout does to a batch -------------------------------------------------


@settings(max_examples=15)
@given(rate=st.floats(0, 0.99), seed=st.integers(0, 2**31 - 1))
def test_values_are_dropped_or_scaled_and_nothing_else_appears(
    rate: float, seed: int
) -> None:
    given_batch = batch()
    before = as_array(given_batch)
    found = SparseDropout(rate, seed=seed)(given_batch, training=True)
    assert is_sparse(found) and tuple(found.shape) == (BATCH, FEATURES)
    after = as_array(found)
    assert not after[before == 0].any()
    kept = after != 0
    np.testing.assert_allclose(after[kept], before[kept] / (1 - rate), rtol=1e-5)
    np.testing.assert_array_equal(as_array(given_batch), before)
    if rate == 0:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate(rate: float) -> None:
    ones = sp.csr_array(np.ones((100, 1000), np.float32))
    served = feed(ones, batch_size=100)[0][0]
    found = as_array(SparseDropout(rate, seed=1)(served, training=True))
    deviation = np.sqrt(rate * (1 - rate) / found.size)
    assert abs(np.mean(found == 0) - rate) < 6 * deviation
    assert abs(found.mean() - 1) < 6 * deviation / (1 - rate)
    # Neither rows nor columns are dropped as one.
    for axis in (0, 1):
        limit = 6 * np.sqrt(rate * (1 - rate) / found.shape[axis])
        assert np.abs(np.mean(found == 0, axis=axis) - rate).max() < limit


@pytest.mark.parametrize("training", [False, None])
def test_in_inference_a_batch_passes_unchanged(training: bool | None) -> None:
    found = SparseDropout(0.7, seed=1)(batch(), training=training)
    assert is_sparse(found)
    np.testing.assert_array_equal(as_array(found), rows()[:BATCH].toarray())


def test_masks_change_from_call_to_call_and_come_again_with_the_seed() -> None:
    def masks(seed: int) -> Any:
        if LEGACY:  # a layer's seed counts from the global one
            keras.utils.set_random_seed(0)
        layer = SparseDropout(0.5, seed=seed)
        return np.stack(
            [as_array(layer(batch(), training=True)) != 0 for _ in range(3)]
        )

    one = masks(1)
    np.testing.assert_array_equal(masks(1), one)
    assert (masks(2) != one).any()
    assert (one[0] != one[1]).any() and (one[1] != one[2]).any()


def test_a_dense_batch_is_taken_too() -> None:
    dense = rows()[:BATCH].toarray()
    given_batch = aliased(dense.copy())
    np.testing.assert_array_equal(as_float(Densify()(given_batch)), dense)
    after = as_float(SparseDropout(0.5)(given_batch, training=True))
    kept = after != 0
    assert 0 < kept.sum() < (dense != 0).sum()
    np.testing.assert_allclose(after[kept], dense[kept] * 2)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16"])
def test_values_of_any_dtype_become_that_of_the_layer(dtype: str) -> None:
    # scipy has no float16, but a sequence serves it.
    x = rows(np.float32 if dtype == "float16" else dtype)
    served = feed(x, dtype=dtype)[0][0]
    dense = x[:BATCH].toarray().astype(np.float32)
    for training in (False, True):
        found = SparseDropout(0.5, seed=1)(served, training=training)
        assert dtype_of(found) == "float32"
        after = as_array(found)
        kept = after != 0
        expected = dense * (2 if training else 1)
        np.testing.assert_array_equal(after[kept], expected[kept])
    found = Densify()(served)
    assert dtype_of(found) == "float32"
    np.testing.assert_array_equal(as_float(found), dense)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan"), "half", None])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match=r"`rate` must be a number in \[0, 1\)"):
        SparseDropout(rate)


# --- in models --------------------------------------------------------------------


def compiled(*layers: Any, functional: bool = False) -> Any:
    """A classifier on these layers. XLA is left to Keras, which must not choose it."""
    keras.utils.set_random_seed(3)
    inputs = input_of(FEATURES, sparse=True)
    layers = (*layers, keras.layers.Dense(3, activation="softmax"))
    if functional:
        outputs = inputs
        for layer in layers:
            outputs = layer(outputs)
        model = keras.Model(inputs, outputs)
    else:
        model = keras.Sequential([inputs, *layers])
    model.compile(keras.optimizers.SGD(0.001), "sparse_categorical_crossentropy")
    return model


def losses(model: Any, data: Any) -> list[float]:
    history = model.fit(data, epochs=2, shuffle=False, verbose=0)
    return [float(loss) for loss in history.history["loss"]]


@pytest.mark.parametrize("functional", [False, True])
def test_densified_batches_train_like_dense_ones(functional: bool) -> None:
    """A Sequential model from the sequence, a functional one from its dataset."""
    keras.utils.set_random_seed(3)
    plain = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    plain.compile(keras.optimizers.SGD(0.001), "sparse_categorical_crossentropy")
    expected = losses(plain, feed(output="dense"))
    model = compiled(
        Densify(), keras.layers.LayerNormalization(), functional=functional
    )
    served = feed()
    by_dataset = functional and BACKEND != "torch"
    found = losses(model, served.to_tf_dataset() if by_dataset else served)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("dense", [False, True])
def test_training_with_dropout_can_be_repeated_and_inference_drops_nothing(
    dense: bool,
) -> None:
    def network(rate: float) -> Any:
        return compiled(SparseDropout(rate), *[Densify()] * dense)

    model = network(0.5)
    first = losses(model, feed())
    assert losses(network(0.5), feed()) == first
    assert losses(network(0.0), feed()) != first
    plain = network(0.0)
    plain.set_weights(model.get_weights())
    found = model.predict(feed(), verbose=0)
    np.testing.assert_allclose(found, plain.predict(feed(), verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    "policy",
    ["mixed_bfloat16", "mixed_float16", *["float64"] * (BACKEND != "jax")],
)
def test_a_policy_decides_the_dtype(policy: str) -> None:
    computed = policy.removeprefix("mixed_")
    layer = SparseDropout(0.5, seed=1, dtype=policy)
    dropped = layer(batch(), training=True)
    found = Densify(dtype=policy)(dropped)
    assert dtype_of(dropped) == dtype_of(found) == computed
    after, before = as_float(found), rows()[:BATCH].toarray()
    kept = after != 0
    assert 0 < kept.sum() < (before != 0).sum()
    np.testing.assert_allclose(after[kept], before[kept] * 2, rtol=1e-2)
    if policy == "mixed_bfloat16":
        dense = keras.layers.Dense(4, dtype=policy)
        model = compiled(layer, Densify(dtype=policy), dense)
        assert np.isfinite(losses(model, feed())).all()


def test_a_symbolic_batch_stays_sparse_until_it_is_densified() -> None:
    def sparse(symbol: Any) -> bool:
        if LEGACY:
            return type(symbol.type_spec).__name__ == "SparseTensorSpec"
        return bool(symbol.sparse)

    inputs = input_of(FEATURES, sparse=True)  # torch has no sparse one
    dropped = SparseDropout(0.5)(inputs)
    made = Densify()(dropped)
    assert sparse(dropped) == sparse(inputs) == (BACKEND != "torch")
    assert not sparse(made)
    assert tuple(dropped.shape) == tuple(made.shape) == (None, FEATURES)


@pytest.mark.parametrize("layer", [SparseDropout, Densify])
def test_keras_does_not_use_xla_where_it_has_no_kernels(layer: type) -> None:
    model = compiled(layer(0.5) if layer is SparseDropout else layer())
    if BACKEND != "tensorflow":
        assert bool(model.jit_compile) == (BACKEND == "jax")
        return
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.jit_compile = True
    assert not model.jit_compile


def saved(path: Path) -> Any:
    """Predictions of a model that is saved there."""
    model = compiled(SparseDropout(0.25, seed=5, name="drop"), Densify())
    model.fit(feed(), shuffle=False, verbose=0)
    model.save(path)
    return model.predict(feed(), verbose=0)


def test_a_saved_model_is_loaded(tmp_path: Path) -> None:
    scores = saved(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    layer = model.get_layer("drop")
    assert isinstance(layer, SparseDropout) and (layer.rate, layer.seed) == (0.25, 5)
    np.testing.assert_allclose(model.predict(feed(), verbose=0), scores, rtol=1e-5)


@pytest.mark.once
def test_a_saved_model_is_loaded_in_a_new_process(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", saved(tmp_path / "model.keras"))
    sp.save_npz(tmp_path / "rows.npz", rows())
    script = f"""if True:
        import numpy as np, scipy.sparse as sp
        from sequence_loader import SparseBatchSequence
        import sequence_loader.layers
        {"import tf_keras as keras" if LEGACY else "import keras"}
        model = keras.models.load_model("model.keras")
        x = SparseBatchSequence(
            sp.csr_array(sp.load_npz("rows.npz")), batch_size={BATCH}, output="sparse"
        )
        scores = np.load("scores.npy")
        np.testing.assert_allclose(model.predict(x, verbose=0), scores, rtol=1e-5)
    """
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=left_out(os.environ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@about("jax")  # it compiles for each number of entries
def test_jax_compiles_no_more_for_the_layers(caplog: pytest.LogCaptureFixture) -> None:
    import jax

    x = sp.random(640, FEATURES, density=0.5, format="csr", dtype=np.float32)
    x.data[:] = 1
    assert len({x[i : i + BATCH].nnz for i in range(0, 640, BATCH)}) > 10

    def compiles(*layers: Any) -> int:
        model = compiled(*layers)
        caplog.clear()
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            model.fit(feed(x), epochs=2, shuffle=False, verbose=0)
        said = [record.getMessage() for record in caplog.records]
        return sum(m.startswith("Compiling") and "train_step" in m for m in said)

    assert compiles(SparseDropout(0.5), Densify()) == compiles() >= 1

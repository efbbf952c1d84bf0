"""Sparse batches train like dense ones, and cost no more than they should."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from keras_contract.real_keras import (
    BACKEND,
    about,
    as_array,
    compile_model,
    input_of,
    keras,
)
from watching import HUNG_SECONDS

from sequence_loader import SparseBatchSequence

FEATURES = 40


def uneven(num_rows: int, longest: int, num_features: int = FEATURES) -> sp.csr_array:
    """Rows of very different lengths; every fifth is empty, and so are the last 16."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, longest + 1, num_rows)
    lengths[::5] = 0
    lengths[-16:] = 0
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.concatenate(
        [np.sort(rng.choice(num_features, n, replace=False)) for n in lengths]
    )
    data = rng.random(len(indices)).astype(np.float32)
    return sp.csr_array((data, indices, indptr), shape=(num_rows, num_features))


def network(sparse: bool) -> Any:
    keras.utils.set_random_seed(4)
    return compile_model(
        keras.Sequential(
            [
                input_of(FEATURES, sparse=sparse),
                keras.layers.Dense(8, activation="tanh"),
                keras.layers.Dense(1),
            ]
        ),
        optimizer=keras.optimizers.SGD(0.1),
        loss="mse",
    )


def test_losses_and_weights_are_those_of_dense() -> None:
    x = uneven(80, 20)
    y = np.cos(np.arange(80))
    results = []
    for output in ("dense", "sparse"):
        model = network(output == "sparse")
        sequence = SparseBatchSequence(
            x, y, batch_size=8, shuffle=False, output=output, remainder="pad"
        )
        history = model.fit(sequence, epochs=2, shuffle=False, verbose=0)
        results.append((history.history["loss"], *model.get_weights()))
    for dense, sparse in zip(*results):
        np.testing.assert_allclose(sparse, dense, rtol=1e-4, atol=1e-6)


def test_content() -> None:
    x = uneven(50, 20)
    sequence = SparseBatchSequence(x, batch_size=8, shuffle=True, output="sparse")
    for index in range(len(sequence)):
        (served,) = sequence[index]
        rows = sequence.batch_rows(index)
        assert tuple(served.shape) == (len(rows), FEATURES)
        np.testing.assert_array_equal(as_array(served), x[rows].toarray())


@about("jax")  # it compiles for each number of entries
def test_jax_compiles_a_handful_of_times(caplog: pytest.LogCaptureFixture) -> None:
    import jax

    x = uneven(100 * 32, 300, 1000)
    sequence = SparseBatchSequence(
        x, np.zeros(x.shape[0]), batch_size=32, shuffle=True, output="sparse"
    )
    entries = {sequence[i][0].nse for i in range(len(sequence))}
    stored = {x[sequence.batch_rows(i)].nnz for i in range(len(sequence))}
    assert len(stored) > 90
    model = compile_model(
        keras.Sequential([input_of(1000, sparse=True), keras.layers.Dense(1)]),
        optimizer="sgd",
        loss="mse",
    )
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        model.fit(sequence, epochs=2, verbose=0)
    compiled = [
        record.getMessage()
        for record in caplog.records
        if record.getMessage().startswith("Compiling")
        and "train_step" in record.getMessage()
    ]
    assert 1 <= len(compiled) <= 8
    assert len(entries) <= 4


@about("tensorflow", "tf_keras")  # they have devices of their own
def test_tensorflow_keeps_it_on_the_cpu() -> None:
    import tensorflow as tf

    (served,) = SparseBatchSequence(uneven(20, 5), batch_size=4, output="sparse")[0]
    assert isinstance(served, tf.SparseTensor)
    for tensor in (served.indices, served.values, served.dense_shape):
        assert tensor.device.endswith("CPU:0")


@about("torch")  # it warns of its CSR tensors
def test_torch_does_not_bother_the_user() -> None:
    """In a new process: torch warns once."""
    script = """if True:
        import warnings
        import numpy as np, scipy.sparse as sp
        from sequence_loader import SparseBatchSequence
        import torch
        warnings.simplefilter("error")
        x = sp.csr_array(sp.eye(8, dtype=np.float32))
        before = list(warnings.filters)
        for (batch,) in SparseBatchSequence(x, batch_size=4, output="sparse"):
            batch @ torch.ones(8, 2)
        assert warnings.filters == before
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=HUNG_SECONDS)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_scipy_matrices_are_refused_where_keras_takes_none(method: str) -> None:
    x = uneven(20, 5)
    model = network(sparse=False)
    given = SparseBatchSequence(x, x[:, [0]], output="csr")
    if BACKEND == "jax":
        getattr(model, method)(given, verbose=0)
        return
    with pytest.raises(ValueError, match="`output` must be 'sparse' or 'dense'"):
        getattr(model, method)(given, verbose=0)
    dense = SparseBatchSequence(x.toarray(), x[:, [0]], output="csr")
    getattr(model, method)(dense, verbose=0)

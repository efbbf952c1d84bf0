"""What each backend is given, where that can be seen without training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from encoded import csr, dense
from hypothesis import given
from hypothesis import strategies as st

from sequence_loader.backends import tensorflow, torch
from sequence_loader.backends.coo import MINIMUM_NSE, padded_nse
from sequence_loader.backends.jax import SparsePart, bcoo
from sequence_loader.batches.assembler import to_dense
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows.as_csr import from_scipy
from sequence_loader.rows.csr import canonical

ENCODED = dense(9, 5)


def rows(num_rows=9, num_features=5, dtype="float32"):
    matrix = csr(num_rows, num_features).astype(dtype)
    return canonical(from_scipy(matrix, "x"), "x")


@given(st.one_of(st.integers(0, 10_000), st.integers(0, 2**40)))
def test_padding_is_never_too_small_and_wastes_at_most_a_half(stored):
    size = padded_nse(stored)
    assert size >= stored and size >= MINIMUM_NSE
    assert size == MINIMUM_NSE or size <= stored * 1.5


def test_batches_of_varying_sizes_are_padded_to_few():
    stored = np.random.default_rng(0).poisson(9000, 100)
    assert len({padded_nse(int(n)) for n in stored}) <= 3
    assert [padded_nse(n) for n in (0, 1024, 1025, 1536, 1537, 2049)] == [
        1024, 1024, 1536, 1536, 2048, 3072,
    ]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_tensorflow(dtype, known, monkeypatch):
    tf = pytest.importorskip("tensorflow")
    if not known:  # a version that calls the parts of a tensor otherwise
        monkeypatch.setattr(tensorflow, "_PARTS", {"_others"})
    tensor = tensorflow.sparse_tensor(rows(dtype=dtype), BufferPool())
    assert isinstance(tensor, tf.SparseTensor)
    assert tensor.values.dtype == tensor.dtype == dtype
    assert "CPU" in tensor.values.device
    assert tensor.shape == ENCODED.shape == tuple(tensor.dense_shape.numpy())
    assert (tf.sparse.to_dense(tensor).numpy() == ENCODED).all()
    rebuilt = tf.SparseTensor(tensor.indices, tensor.values, tensor.dense_shape)
    for name, value in vars(rebuilt).items():
        assert type(getattr(tensor, name)) is type(value)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_jax(dtype):
    jax = pytest.importorskip("jax")
    pool = BufferPool()
    tensor = bcoo(rows(dtype=dtype), pool)
    assert tensor.shape == (9, 5) and tensor.nse == MINIMUM_NSE
    assert tensor.dtype == dtype
    assert (np.asarray(tensor.todense()) == ENCODED).all()
    ones = jax.numpy.ones((5, 2), dtype)
    assert np.allclose(tensor @ ones, ENCODED @ np.ones((5, 2)))


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8"])
def test_torch(dtype):
    block = rows()
    block = replace(block, data=block.data.astype(dtype))
    tensor = torch.sparse_csr(block)
    assert str(tensor.dtype) == f"torch.{dtype}"
    assert (tensor.to_dense().double().numpy() == ENCODED).all()


def test_recycled_memory_shows_nothing_of_the_batch_before():
    """A batch with fewer values after one with more."""
    pytest.importorskip("jax")
    pool = BufferPool(spare=2)
    for _ in range(3):
        for num_rows in (400, 9, 1):
            block = rows(num_rows, 20)
            tensor = bcoo(block, pool)
            expected = block.to_dense(np.zeros((num_rows, 20)))
            assert (np.asarray(tensor.todense()) == expected).all()
            del tensor


def test_to_dense():
    pool = BufferPool()
    for block in (rows(), ENCODED, np.asfortranarray(ENCODED), ENCODED[::-1][::-1]):
        found = to_dense(block, "float32", pool)
        assert found.dtype == np.float32 and found.ctypes.data % 64 == 0
        assert (found == ENCODED).all() and not np.shares_memory(found, ENCODED)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_part_of_the_batch_of_several_jax_processes(index):
    pytest.importorskip("jax")
    part = SparsePart(index, 3, 1536)
    tensor = bcoo(rows(), BufferPool(), part)
    assert tensor.shape == (27, 5) and tensor.nse == 1536
    expected = np.zeros((3, 9, 5))
    expected[index] = ENCODED
    assert (np.asarray(tensor.todense()) == expected.reshape(27, 5)).all()

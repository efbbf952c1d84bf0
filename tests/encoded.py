"""Test data whose values say where they come from, and sizes at the edges.

The value at (row, column) is ``row * features + column + 1``, so that a value in
the wrong place, row or batch is visible, and 0 is never a stored value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

from sequence_loader import (
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
)
from sequence_loader.order.permutation import SMALL

FORMATS = ("csr", "csc", "coo", "bsr", "dia", "dok", "lil")
DTYPES = ("bool", "int8", "uint8", "int16", "int64", "uint64", "float32", "float64")


def dense(num_rows: int, num_features: int, density: float = 0.4) -> Any:
    """Encoded float64 array; some rows and columns are empty at low density."""
    values = np.arange(1, num_rows * num_features + 1, dtype=np.float64)
    keep = np.random.default_rng(num_rows * 1009 + num_features).random(len(values))
    return np.where(keep < density, values, 0).reshape(num_rows, num_features)


def csr(num_rows: int, num_features: int, density: float = 0.4) -> sp.csr_array:
    """The same as a CSR array."""
    return sp.csr_array(dense(num_rows, num_features, density))


def plain(features: Any) -> Any:
    """Served features of any output as an array."""
    if sp.issparse(features):
        return features.toarray()
    if type(features).__name__ == "SparseTensor":
        array = np.zeros(tuple(features.dense_shape), features.values.numpy().dtype)
        array[tuple(features.indices.numpy().T)] = features.values.numpy()
        return array
    return np.asarray(features)


def sizes(limit: int = 5000) -> st.SearchStrategy[int]:
    """Numbers of rows: small ones, and those around every boundary there is."""
    edges = [1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257]
    edges += [SMALL - 1, SMALL, SMALL + 1, SMALL + 2, 4095, 4096, 4097, 8191, 8192]
    edges += [8193, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537]
    return st.one_of(
        st.sampled_from([edge for edge in edges if edge <= limit]),
        st.integers(1, min(limit, 70)),
        st.integers(1, limit),
    )


SEEDS = st.one_of(st.integers(0, 5), st.sampled_from([2**32, 2**63, 2**64 - 1]))
EPOCHS = st.one_of(st.integers(0, 3), st.sampled_from([1000, 2**31, 2**63 - 1]))


def block_samplers() -> st.SearchStrategy[BlockShuffleSampler]:
    return st.builds(
        BlockShuffleSampler,
        seed=SEEDS,
        block_size=st.sampled_from([1, 2, 3, 7, 16, 100, 2000, 10**6]),
        window=st.sampled_from([1, 2, 3, 5, 64, 1024]),
    )


def samplers() -> st.SearchStrategy[Any]:
    """Samplers whose epoch is a permutation of the rows."""
    return st.one_of(
        st.just(SequentialSampler()),
        st.builds(ShuffleSampler, seed=SEEDS),
        block_samplers(),
    )

"""What tells data from other data: their shapes, and a digest of some rows."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.sources import CsrSource, DenseSource, RowSource

SAMPLED_ROWS = 64
"""Rows that are read of data without an identity: below 1 ms, of rows in memory."""


def fingerprint(source: RowSource) -> str:
    """One line that stands for the rows of a source.

    A source that knows what it holds has an `identity`, as a store has, by its
    manifest. Of others, rows at even distances are read.

    Args:
        source: Rows.

    Returns:
        For example ``"1000 x 50, 4980 values, 5f0c22d1a7e93b44"``.
    """
    shape = getattr(source, "shape", (source.num_rows,))
    values = getattr(source, "nnz", None)
    if isinstance(source, CsrSource):
        shape = source.num_rows, source.num_features
        values = len(source.matrix.data)
    elif isinstance(source, DenseSource):
        shape = source.array.shape
    identity = getattr(source, "identity", None)
    if identity is None:
        last = source.num_rows - 1
        places = np.linspace(0, last, min(last + 1, SAMPLED_ROWS))
        identity = _digest(source.read(np.unique(places.astype(np.int64))))
    held = [] if values is None else [f"{values} values"]
    return ", ".join([" x ".join(map(str, shape)), *held, identity])


def _digest(block: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    if isinstance(block, CsrRows):
        parts = [np.diff(block.indptr), block.indices, block.data]
        parts[:2] = [part.astype(np.int64) for part in parts[:2]]
    elif hasattr(block, "shape"):
        parts = [np.asarray(block)]
    else:
        parts = [_as_texts(block)]
    for part in parts:
        array = part if part.dtype.kind in "biufUS" else _as_texts(part.flat)
        plain = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{plain.dtype.str} {plain.shape}".encode())
        digest.update(plain.tobytes())
    return digest.hexdigest()


def _as_texts(items: Any) -> Array:
    """What items look like, without the addresses that differ from run to run."""
    return np.asarray([re.sub(r"0x[0-9a-f]+", "", repr(item)) for item in items])

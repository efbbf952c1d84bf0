"""What tells data from other data: their shapes, and a digest of some rows."""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.sources import CsrSource, DenseSource, RowSource, is_mapped

SAMPLED_ROWS = 64
"""Rows that are read of data without an identity: below 1 ms, of rows in memory."""

WHOLE_BYTES = 2**30
"""Arrays in memory of so many bytes at most are read whole: about a second, once."""

_PIECE_ELEMENTS = 2**16
"""So many are summed together, in the processor's cache."""


def fingerprint(source: RowSource) -> str:
    """One line that stands for the rows of a source.

    A source that knows what it holds has an `identity`, as a store has, by its
    manifest. Of others, rows at even distances are read, and of arrays in memory all.

    Args:
        source: Rows.

    Returns:
        For example ``"1000 x 50, 4980 values, 5f0c22d1a7e93b44 8d2a11c0"``.
    """
    held: list[tuple[Array, Any]] = []  # and what its values are summed as
    shape = getattr(source, "shape", (source.num_rows,))
    values = getattr(source, "nnz", None)
    if isinstance(source, CsrSource):
        shape = source.num_rows, source.num_features
        values = len(source.matrix.data)
        matrix, stop = source.matrix, source.matrix.indptr[-1]
        held = [(matrix.indptr, "<i8"), (matrix.indices[:stop], "<i8")]
        held.append((matrix.data[:stop], None))
    elif isinstance(source, DenseSource):
        shape = source.array.shape
        held = [(source.array, None)]
    identity = getattr(source, "identity", None)
    if identity is None:
        last = source.num_rows - 1
        places = np.linspace(0, last, min(last + 1, SAMPLED_ROWS))
        identity = _digest(source.read(np.unique(places.astype(np.int64))))
    total = sum(each.nbytes for each, _ in held)
    if 0 < total <= WHOLE_BYTES and not any(is_mapped(each) for each, _ in held):
        found = 0
        for each, dtype in held:
            found = _summed(each, dtype or each.dtype.newbyteorder("<"), found)
        identity += f" {found:08x}"
    counted = [] if values is None else [f"{values} values"]
    return ", ".join([" x ".join(map(str, shape)), *counted, identity])


def _summed(array: Array, dtype: Any, found: int) -> int:
    """CRC of all values, as a dtype, behind what was found before."""
    step = max(1, _PIECE_ELEMENTS * len(array) // max(1, array.size))
    for start in range(0, len(array), step):
        piece = array[start : start + step].astype(dtype, order="C", copy=False)
        found = zlib.crc32(piece.view(np.uint8).data, found)
    return found


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
    # Nor the order of a set, which is another in each process, too.
    unordered = (set, frozenset)
    told = [sorted(map(repr, i)) if isinstance(i, unordered) else i for i in items]
    return np.asarray([re.sub(r"0x[0-9a-f]+", "", repr(item)) for item in told])

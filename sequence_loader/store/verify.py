"""What is wrong with a store: every digest and every index, checked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sequence_loader.rows.csr import CsrRows, DamagedRows, canonical
from sequence_loader.store.format import (
    BLOCK_BYTES,
    StoredArray,
    array_path,
    digest_of,
)
from sequence_loader.store.part import StorePart

Finding = tuple[int, str | None]
"""(bytes read, what is wrong with them)"""


def damage(part: StorePart) -> Iterator[Finding]:
    """Reads everything, in pieces of bounded memory.

    Raises:
        StoreError: A file is shorter than when the store was opened.
    """
    for name, array in part.manifest.arrays.items():
        yield from _check_digests(part, name, array)
    yield 0, _check_indptr(part)
    step = 1 << 16
    for start in range(0, part.num_rows, step):
        yield from _check_indices(part, start, min(start + step, part.num_rows))


def _check_digests(
    part: StorePart, name: str, array: StoredArray
) -> Iterator[Finding]:
    buffer = bytearray(min(BLOCK_BYTES, array.nbytes))
    for number, digest in enumerate(array.digests):
        start = number * BLOCK_BYTES
        block = memoryview(buffer)[: min(BLOCK_BYTES, array.nbytes - start)]
        part.read_into(name, block, part.offset(name) + start)
        wrong = None
        if digest_of(block) != digest:
            first = part.offset(name) + start
            wrong = (
                f"{array_path(part.path, name)}: bytes {first} to "
                f"{first + len(block)} are not what was written"
            )
        yield len(block), wrong


def _check_indptr(part: StorePart) -> str | None:
    indptr = part.arrays["indptr"]
    step = 1 << 20
    for start in range(0, part.num_rows, step):
        part.check_sizes()
        if (np.diff(indptr[start : start + step + 1]) < 0).any():
            return f"{array_path(part.path, 'indptr')}: it decreases"
    return None


def _check_indices(part: StorePart, start: int, stop: int) -> Iterator[Finding]:
    """Every index in range and ascending, in pieces of bounded memory."""
    indptr, indices = part.arrays["indptr"], part.arrays["indices"]
    path = array_path(part.path, "indices")
    while start < stop:
        part.check_sizes()
        limit = int(indptr[start]) + (1 << 22)
        upto = int(np.searchsorted(indptr[: stop + 1], limit, side="right")) - 1
        upto = min(max(upto, start + 1), stop)
        first, last = int(indptr[start]), int(indptr[upto])
        ends = indptr[start : upto + 1] - first
        if not 0 <= first <= last <= len(indices) or (np.diff(ends) < 0).any():
            return  # reported by _check_indptr
        taken = indices[first:last]
        piece = CsrRows(ends, taken, taken, part.num_features)
        wrong = None
        try:
            canonical(piece, str(path), np.arange(start, upto), must_ascend=True)
        except DamagedRows as error:
            wrong = error.finding
        yield taken.nbytes, wrong
        start = upto

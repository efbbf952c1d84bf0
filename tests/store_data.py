"""Matrices for the tests of stores: their values say where they belong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st
from watching import HUNG_SECONDS

from sequence_loader.order.plan import BatchPlan
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.sources import traits_of
from sequence_loader.store import array_file as store_array
from sequence_loader.store import blocks as store_blocks
from sequence_loader.store import format as store_format
from sequence_loader.store import verify as store_damage
from sequence_loader.store.format import digest_of
from sequence_loader.store.opening import open_store
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.store.writer import StoreWriter

DTYPES = ("bool", "int8", "uint16", "int64", "float16", "float32", "float64")


def marked(rows: int, features: int, density: float = 0.2, seed: int = 0) -> Any:
    """A float32 CSR whose value at (r, c) is ``r * features + c + 1``."""
    rng = np.random.default_rng(seed)
    mask = rng.random((rows, features)) < density
    values = np.arange(1, rows * features + 1).reshape(rows, features)
    return sp.csr_array((mask * values).astype(np.float32))


def written(path: Path, matrix: Any, blocks: int = 3, **arguments: Any) -> SparseStore:
    """A store of `matrix`, appended in several blocks, with row numbers as `y`."""
    rows = matrix.shape[0]
    with StoreWriter(path, matrix.shape[1], **arguments) as writer:
        cuts = np.linspace(0, rows, blocks + 1).astype(int).tolist()
        for start, stop in zip(cuts, cuts[1:]):
            writer.append(rows_of(matrix, start, stop), y=np.arange(start, stop))
    return open_store(path)


def seal(path: Path, content: dict[str, Any]) -> None:
    """Writes a manifest whose own digest fits."""
    text = json.dumps(content | {"digest": "0" * 32}, indent=1).encode()
    own = digest_of(text).encode()
    (path / "manifest.json").write_bytes(re.sub(b"0" * 32, own, text, count=1))


@contextmanager
def small_pieces(small: bool = True) -> Iterator[None]:
    """Stores are written in many pieces, and their files have many digests."""
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(store_blocks, "WRITE_PIECE_VALUES", 3)
            for module in (store_format, store_array, store_damage):
                patch.setattr(module, "BLOCK_BYTES", 16)
        yield


def dropped(path: Path) -> None:
    """Takes the files of a store out of the page cache."""
    for file in path.iterdir():
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def batch_of(source: Any, plan: BatchPlan, epoch: int, index: int) -> Any:
    """What a sequence does, without a word about the warnings."""
    ahead = traits_of(source).look_ahead
    if ahead is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ahead(plan, epoch, index)
    return source.read(plan.batch(epoch, index).rows).to_scipy()


def rows_of(matrix: Any, start: int, stop: int) -> CsrRows:
    """``matrix[start:stop]``, also of float16, which scipy holds but cannot slice."""
    first, last = matrix.indptr[start], matrix.indptr[stop]
    indptr = matrix.indptr[start : stop + 1].astype(np.int64) - first
    indices, data = matrix.indices[first:last], matrix.data[first:last]
    return CsrRows(indptr, indices, data, matrix.shape[1])


def same(found: Any, expected: Any) -> bool:
    """Whether two CSR matrices hold the same values at the same places, bit by bit."""
    return (
        found.shape == expected.shape
        and found.dtype == expected.dtype
        and np.array_equal(found.indptr, expected.indptr)
        and np.array_equal(found.indices, expected.indices)
        and found.data.tobytes() == expected.data.tobytes()
    )


@st.composite
def matrices(draw: st.DrawFn) -> Any:
    """Adversarial CSR arrays: empty rows and columns, one row, explicit zeros."""
    rows = draw(st.integers(1, 12))
    features = draw(st.integers(1, 9))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    lengths = draw(st.lists(st.integers(0, features), min_size=rows, max_size=rows))
    indices = [
        sorted(draw(st.permutations(range(features)))[:length]) for length in lengths
    ]
    nnz = sum(lengths)
    raw = draw(st.binary(min_size=nnz * dtype.itemsize, max_size=nnz * dtype.itemsize))
    data = np.frombuffer(raw, np.uint8)
    data = data % 2 == 1 if dtype == bool else data.view(dtype)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    columns = np.array([c for row in indices for c in row], np.int32)
    return sp.csr_array((data.copy(), columns, indptr), shape=(rows, features))


def start_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts another interpreter on `code`, with its output piped."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )


def run_python(code: str, *arguments: object) -> str:
    """Runs `code` in another interpreter, and returns what it printed."""
    process = start_python(code, *arguments)
    out, err = process.communicate(timeout=HUNG_SECONDS)
    if process.returncode:
        raise AssertionError(f"exit code {process.returncode}\n{out}\n{err}")
    return out

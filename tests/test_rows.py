"""The contract of a RowSource, against every kind there is."""

from __future__ import annotations

import mmap
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import DTYPES, FORMATS, csr, dense
from hypothesis import given
from hypothesis import strategies as st

from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.sources import (
    CsrSource,
    DenseSource,
    ItemSource,
    RowSource,
    as_row_source,
)

ROWS, FEATURES = 37, 7
ENCODED = dense(ROWS, FEATURES)


def strided():
    wide = np.zeros((2 * ROWS, 3 * FEATURES))
    wide[::2, ::3] = ENCODED
    return wide[::2, ::3]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unsorted():
    """Columns of each row backwards, each value in two halves, explicit zeros."""
    matrix = csr(ROWS, FEATURES)
    indptr = matrix.indptr * 2 + np.arange(ROWS + 1)
    indices, data = [], []
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:]):
        columns, values = matrix.indices[start:stop], matrix.data[start:stop]
        indices += [*columns[::-1], *columns, FEATURES - 1]
        data += [*(values[::-1] / 2), *(values / 2), 0]
    return sp.csr_array(
        (np.array(data), np.array(indices, "int32"), indptr), shape=(ROWS, FEATURES)
    )


def with_arrays(**arrays):
    matrix = csr(ROWS, FEATURES)
    for name, change in arrays.items():
        setattr(matrix, name, change(getattr(matrix, name)))
    return matrix


def on_disk(array, tmp_path, name):
    np.save(tmp_path / f"{name}.npy", array)
    return np.load(tmp_path / f"{name}.npy", mmap_mode="r")


def mapped_csr(tmp_path):
    def moved(name):
        return lambda array: on_disk(array, tmp_path, name)

    return with_arrays(**{n: moved(n) for n in ("indptr", "indices", "data")})


def pandas_frame(_):
    return pytest.importorskip("pandas").DataFrame(ENCODED)


SPARSE = {
    f"{fmt}_{kind}": lambda _, make=getattr(sp, f"{fmt}_{kind}"): make(ENCODED)
    for fmt in FORMATS
    for kind in ("array", "matrix")
} | {
    "unsorted": lambda _: unsorted(),
    "read_only_csr": lambda _: with_arrays(
        indptr=read_only, indices=read_only, data=read_only
    ),
    "int64_indices": lambda _: with_arrays(
        indptr=lambda a: a.astype("int64"), indices=lambda a: a.astype("int64")
    ),
    "int64_indptr": lambda _: with_arrays(indptr=lambda a: a.astype("int64")),
    "uint16_indices": lambda _: with_arrays(indices=lambda a: a.astype("uint16")),
    "big_endian_csr": lambda _: with_arrays(
        indptr=lambda a: a.astype(">i4"),
        indices=lambda a: a.astype(">i4"),
        data=lambda a: a.astype(">f8"),
    ),
    "strided_csr": lambda _: with_arrays(
        indices=lambda a: np.repeat(a, 2)[::2], data=lambda a: np.repeat(a, 3)[::3]
    ),
    "mapped_csr": mapped_csr,
}
DENSE = {
    "array": lambda _: ENCODED,
    "fortran": lambda _: np.asfortranarray(ENCODED),
    "strided": lambda _: strided(),
    "backwards": lambda _: ENCODED[::-1].copy()[::-1],
    "read_only": lambda _: read_only(ENCODED),
    "big_endian": lambda _: ENCODED.astype(">f8"),
    "memmap": lambda tmp: on_disk(ENCODED, tmp, "dense"),
    "memmap_fortran": lambda tmp: on_disk(np.asfortranarray(ENCODED), tmp, "fortran"),
    "matrix": lambda _: ENCODED.view(np.matrix),
    "pandas": pandas_frame,
}
ITEMS = {
    "list": lambda _: [list(row) for row in ENCODED],
    "object_array": lambda _: ENCODED.astype(object),
    "string_array": lambda _: ENCODED.astype(str),
    "pandas_text": lambda _: pandas_frame(_).astype(str),
}
EVERY = SPARSE | DENSE | ITEMS


@pytest.fixture(params=EVERY)
def source(request, tmp_path):
    return as_row_source(EVERY[request.param](tmp_path), "x")


def values(block):
    if isinstance(block, CsrRows):
        return block.to_dense(np.zeros((block.num_rows, block.num_features)))
    return np.asarray(block).astype(float)


REQUESTS = [[], [0], [ROWS - 1], [5, 5, 5], [3, 1, 2], list(range(ROWS)), [36, 0, 36]]


def test_it_is_a_row_source_that_counts_its_rows(source):
    assert isinstance(source, RowSource)
    assert type(source.num_rows) is int and source.num_rows == ROWS
    assert as_row_source(source) is source


@pytest.mark.parametrize("rows", REQUESTS, ids=str)
def test_it_reads_the_rows_asked_for_in_that_order(source, rows):
    rows = np.array(rows, dtype=np.int64)
    block = source.read(rows)
    if not len(rows):
        assert (block.num_rows if isinstance(block, CsrRows) else len(block)) == 0
        return
    assert (values(block) == ENCODED[rows]).all()


def test_it_returns_memory_that_nobody_else_has(source):
    rows = np.arange(ROWS)
    before = values(source.read(rows))
    block = source.read(rows)
    if isinstance(block, CsrRows):
        for array in (block.indptr, block.indices, block.data):
            assert array.flags.writeable
            array[:] = 0
    elif isinstance(block, np.ndarray):
        assert block.flags.writeable
        block[:] = 0
    assert (values(source.read(rows)) == before).all()


def test_a_pickled_copy_reads_the_same(source):
    copy = pickle.loads(pickle.dumps(source))
    rows = np.array([4, 0, 36])
    assert (values(copy.read(rows)) == values(source.read(rows))).all()


def test_many_threads_read_the_same(source):
    def reads_right(seed):
        rows = np.random.default_rng(seed).integers(0, ROWS, 20)
        return (values(source.read(rows)) == ENCODED[rows]).all()

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(reads_right, range(40)))


def test_what_it_reads_tells_whether_it_needs_a_transform(source):
    block = source.read(np.array([1, 2]))
    if source.numeric:
        assert isinstance(block, CsrRows | np.ndarray)
    else:
        assert isinstance(source, ItemSource)


@given(st.lists(st.integers(0, ROWS - 1), max_size=80))
def test_every_numeric_source_agrees(rows):
    rows = np.array(rows, dtype=np.int64)
    for make in (unsorted, strided, lambda: csr(ROWS, FEATURES)):
        assert (values(as_row_source(make()).read(rows)) == ENCODED[rows]).all()


# What each kind adds


def test_a_csr_matrix_is_used_without_a_copy():
    for kind in (sp.csr_array, sp.csr_matrix):
        matrix = kind(ENCODED)
        source = CsrSource(matrix)
        for name in ("indptr", "indices", "data"):
            assert np.shares_memory(getattr(source.matrix, name), getattr(matrix, name))
        assert source.container is kind


@pytest.mark.parametrize("name", ["unsorted", "mapped_csr", "read_only_csr"])
def test_the_matrix_of_the_user_is_left_as_it_was(name, tmp_path):
    matrix = SPARSE[name](tmp_path)
    before = [array.copy() for array in (matrix.indptr, matrix.indices, matrix.data)]
    CsrSource(matrix).read(np.arange(ROWS))
    after = (matrix.indptr, matrix.indices, matrix.data)
    assert all((a == b).all() for a, b in zip(before, after))


@pytest.mark.parametrize("fmt", ["csr", "csc", "coo", "bsr", "dok", "lil"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_keep_their_dtype(fmt, dtype):
    matrix = sp.csr_array(ENCODED).astype(dtype).asformat(fmt)
    assert CsrSource(matrix).read(np.array([1])).data.dtype == dtype
    array = ENCODED.astype(dtype)
    assert DenseSource(array).read(np.array([1])).dtype == dtype


def test_a_matrix_without_any_value():
    source = CsrSource(sp.csr_array((5, 3)))
    assert values(source.read(np.array([4, 0]))).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 2, 3), (6, 2, 2, 2)])
def test_dense_rows_have_any_number_of_axes(shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    found = DenseSource(array).read(np.array([5, 0]))
    assert found.tolist() == array[[5, 0]].tolist()


def test_items_are_handed_out_as_the_container_they_came_in():
    pandas = pytest.importorskip("pandas")
    rows = np.array([2, 0])
    assert as_row_source(["a", "b", "c"]).read(rows) == ["c", "a"]
    assert as_row_source(np.array(["a", "b", "c"])).read(rows).tolist() == ["c", "a"]
    series = pandas.Series(["a", "b", "c"], index=[7, 8, 9])
    found = as_row_source(series).read(rows)
    assert isinstance(found, pandas.Series) and found.tolist() == ["c", "a"]

    class Lazy:
        def __len__(self):
            return 3

        def __getitem__(self, row):
            assert type(row) is int
            return row * 10

    assert as_row_source(Lazy()).read(rows) == [20, 0]


def test_what_lies_in_a_file(tmp_path):
    np.save(tmp_path / "a.npy", ENCODED)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    with open(tmp_path / "a.npy", "rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    read = np.frombuffer(whole, np.uint8)
    for array in (mapped, mapped[2:], np.asarray(mapped), read):
        assert DenseSource(array).traits.threads_help
    sent = pickle.loads(pickle.dumps(mapped))
    for array in (ENCODED, mapped.copy(), np.asarray(mapped.copy()), sent):
        assert not DenseSource(array).traits.threads_help
    rows = sp.csr_array(ENCODED)
    np.save(tmp_path / "data.npy", rows.data)
    rows.data = np.load(tmp_path / "data.npy", mmap_mode="r")
    assert CsrSource(rows).traits.threads_help
    assert not CsrSource(sp.csr_array(ENCODED)).traits.threads_help

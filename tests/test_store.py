"""A store gives back what was written, and refuses what cannot be."""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.utils
from hypothesis import given
from hypothesis import strategies as st
from store_data import (
    marked,
    matrices,
    run_python,
    same,
    small_pieces,
    start_python,
    written,
)
from watching import HUNG_SECONDS

from sequence_loader.rows import narrow
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.sources import RowSource
from sequence_loader.store import blocks as store_blocks
from sequence_loader.store import row_files
from sequence_loader.store import writer as store_writer
from sequence_loader.store.array_file import ArrayFile
from sequence_loader.store.format import StoreError
from sequence_loader.store.opening import open_store
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.store.writer import StoreWriter


@given(matrix=matrices(), data=st.data())
def test_what_is_written_is_read(
    matrix: Any, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("stores") / "a.store"
    blocks = data.draw(st.integers(1, 4))
    with small_pieces(data.draw(st.booleans())):
        store = written(path, matrix, blocks, dtype=matrix.dtype)
        store.verify()
    assert same(store[:], matrix)
    rows = data.draw(st.lists(st.integers(0, matrix.shape[0] - 1), max_size=20))
    # scipy refuses float16; its values are compared as the bits they are.
    kind = matrix.data.dtype
    bits = sp.csr_array(
        (matrix.data.view(f"u{kind.itemsize}"), matrix.indices, matrix.indptr),
        shape=matrix.shape,
    )
    taken = store.take(np.array(rows, np.int64))
    assert store.traits.count_values(np.array(rows, np.int64)) == taken.nnz
    expected = bits[np.array(rows, np.int64)]
    assert taken.data.tobytes() == expected.data.tobytes()
    assert np.array_equal(taken.indices, expected.indices)
    assert np.array_equal(store.y, np.arange(matrix.shape[0]))
    store.close()


def test_a_block_is_cut_between_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_blocks, "WRITE_PIECE_VALUES", 3)
    indptr = np.cumsum([0, 2, 1, 1, 10, 0, 0, 0, 0, 3, 2])
    block = CsrRows(indptr, np.arange(19), np.arange(19) * 2.0, 19)
    # Of pieces without end, those that are too many are enough.
    found = list(itertools.islice(store_blocks.pieces(block), 20))
    assert [piece.num_rows for piece in found] == [2, 1, 1, 3, 2, 1]
    lengths = np.concatenate([np.diff(piece.indptr) for piece in found])
    assert lengths.tolist() == np.diff(indptr).tolist()
    for name in ("indices", "data"):
        joined = np.concatenate([getattr(piece, name) for piece in found])
        assert joined.tolist() == getattr(block, name).tolist()


class FewBytes(io.FileIO):
    """A file whose writes stop early, as they may at a signal."""

    def write(self, content: Any) -> int:
        return super().write(content[:5])


def test_a_write_may_stop_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: Path, mode: str, buffering: int) -> FewBytes:
        return FewBytes(path, mode)

    monkeypatch.setattr(store_writer, "open", opened, raising=False)
    store = written(tmp_path / "a.store", marked(40, 6))
    store.verify()
    assert same(store[:], marked(40, 6))


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr", "dense"])
@pytest.mark.parametrize("array", [True, False])
def test_any_format_can_be_appended(kind: str, array: bool, tmp_path: Path) -> None:
    expected = marked(40, 6)
    block = expected if array else sp.csr_matrix(expected)
    block = block.toarray() if kind == "dense" else block.asformat(kind)
    with StoreWriter(tmp_path / "a.store", 6) as writer:
        writer.append(block)
    assert same(open_store(tmp_path / "a.store")[:], expected)


def test_numpy_and_scipy_alone_can_read_it(tmp_path: Path) -> None:
    expected = marked(50, 7)
    written(tmp_path / "a.store", expected)
    code = """
        import sys, numpy as np, scipy.sparse as sp
        load = lambda name: np.load(f"{sys.argv[1]}/{name}.npy", mmap_mode="r")
        parts = load("data"), load("indices"), load("indptr")
        print(sp.csr_array(parts, shape=(50, 7)).toarray().astype(int).tolist())
        print(load("y").tolist())
    """
    lines = run_python(code, tmp_path / "a.store").splitlines()
    assert json.loads(lines[0]) == expected.toarray().astype(int).tolist()
    assert json.loads(lines[1]) == list(range(50))


def test_unsorted_rows_and_duplicates_become_canonical(tmp_path: Path) -> None:
    block = sp.csr_array(
        (np.array([1, 2, 4, 8], "f"), np.array([3, 0, 3, 1]), np.array([0, 3, 4])),
        shape=(2, 4),
    )
    store = written(tmp_path / "a.store", block, blocks=1)
    assert store[:].toarray().tolist() == [[2, 0, 0, 5], [0, 8, 0, 0]]
    assert store.nnz == 3


def test_explicit_zeros_are_kept(tmp_path: Path) -> None:
    block = sp.csr_array((np.zeros(2, "f"), [0, 2], [0, 2]), shape=(1, 3))
    assert written(tmp_path / "a.store", block, blocks=1).nnz == 2


def test_bfloat16_is_kept(tmp_path: Path) -> None:
    store = written(tmp_path / "a.store", marked(4, 4), dtype="bfloat16")
    assert store.dtype.name == "bfloat16"
    assert store.read(np.arange(4)).data.astype("f").tolist() == marked(
        4, 4
    ).data.tolist()


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "float64", "uint64"])
def test_targets_of_any_shape_and_dtype(
    shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    y = np.random.default_rng(0).integers(0, 2, (9, *shape)).astype(dtype)
    with StoreWriter(tmp_path / "a.store", 3) as writer:
        writer.append(marked(9, 3)[:4], y=y[:4], sample_weight=np.arange(4))
        writer.append(marked(9, 3)[4:], y=y[4:], sample_weight=np.arange(4, 9))
    store = open_store(tmp_path / "a.store")
    assert store.y is not None and store.y.dtype == y.dtype
    assert np.array_equal(store.y, y)
    assert store.sample_weight is not None and store.sample_weight.dtype == np.float32
    assert np.array_equal(store.sample_weight, np.arange(9))
    store.verify()


@pytest.mark.parametrize("kind", [">i4", ">f8", ">u2", "<i8"])
def test_targets_and_weights_of_the_other_byte_order(kind: str, tmp_path: Path) -> None:
    numbers = np.array([1, 2, 3], kind)
    with StoreWriter(tmp_path / "a.store", 2) as writer:
        writer.append(np.ones((3, 2)), y=numbers, sample_weight=numbers)
        writer.append(np.ones((3, 2)), y=numbers.astype("=f4"), sample_weight=numbers)
    store = open_store(tmp_path / "a.store")
    assert store.y is not None and store.sample_weight is not None
    assert store.y.tolist() == store.sample_weight.tolist() == [1, 2, 3] * 2
    assert store.y.dtype.isnative and store.y.dtype.name == np.dtype(kind).name
    assert np.load(tmp_path / "a.store" / "y.npy").tolist() == [1, 2, 3] * 2


def test_threads_may_append_in_turn(tmp_path: Path) -> None:
    matrix = marked(200, 30)

    def append(start: int) -> None:
        for first in range(start, 200, 40):
            rows = slice(first, first + 10)
            writer.append(matrix[rows], y=np.arange(200)[rows])

    with StoreWriter(tmp_path / "a.store", 30) as writer:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(append, range(0, 40, 10)))
    store = open_store(tmp_path / "a.store")
    store.verify()
    assert store.y is not None and sorted(store.y.tolist()) == list(range(200))
    assert same(store[:], matrix[np.asarray(store.y)])


def test_a_call_in_the_middle_of_a_block_is_an_error(tmp_path: Path) -> None:
    class Block:
        def __array__(self, *_: Any, **__: Any) -> Any:
            writer.append(np.ones((1, 2)))

    with StoreWriter(tmp_path / "a.store", 2) as writer:
        with pytest.raises(RuntimeError, match="is in the middle of a block"):
            writer.append(Block())
        writer.append(np.ones((3, 2)))
    assert len(open_store(tmp_path / "a.store")) == 3


def test_closing_waits_for_a_block_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, begun, go = marked(50, 5), threading.Event(), threading.Event()
    write = ArrayFile.write

    def slow(file: Any, values: Any) -> None:
        write(file, values)
        if len(values) == 50:
            begun.set()
            go.wait()

    writer = StoreWriter(tmp_path / "a.store", 5)
    monkeypatch.setattr(ArrayFile, "write", slow)
    with ThreadPoolExecutor(2) as pool:
        appended = pool.submit(writer.append, matrix)
        begun.wait()
        closed = pool.submit(writer.close)
        assert not closed.done()
        go.set()
        appended.result(), closed.result()
    assert same(open_store(tmp_path / "a.store")[:], matrix)


def test_names_and_metadata_are_kept(tmp_path: Path) -> None:
    store = written(
        tmp_path / "a.store",
        marked(3, 2),
        feature_names=["é\n", "\ud800"],
        class_names=iter(["x"]),
        metadata={"a": [1, None, {"digest": "0" * 32}]},
    )
    assert store.feature_names == ("é\n", "\ud800")
    assert store.class_names == ("x",)
    assert store.metadata == {"a": [1, None, {"digest": "0" * 32}]}


def test_a_store_without_rows(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.store", 3):
        pass
    store = open_store(tmp_path / "a.store")
    assert store.shape == (0, 3) and store[:].shape == (0, 3)
    store.verify()


@pytest.mark.parametrize(
    ("dtype", "index_dtype", "nnz", "read_as"),
    [
        ("i1", "i4", 2**31 + 1000, "i1"),
        ("f4", "u2", 2**31 + 1000, "f4"),
        ("u1", "u2", 2**31 + 1001, "f4"),
        ("u1", "u2", 2**32 + 1001, "f4"),
    ],
)
def test_more_than_2_31_nonzeros_in_a_file_of_holes(
    dtype: str,
    index_dtype: str,
    nnz: int,
    read_as: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Billions of zeros and columns 0, 1, 2, ...: the columns are real only in the last
    # row, the rest of both files is a hole and takes no disk.
    from sequence_loader.store.format import (
        BLOCK_BYTES,
        Manifest,
        StoredArray,
        array_path,
    )

    last = 500
    path = tmp_path / "big.store"
    path.mkdir()
    arrays = {
        "indptr": np.array([0, 1, nnz - last, nnz]),
        "indices": np.arange(last, dtype=index_dtype),
        "data": np.full(last, 7, dtype),
    }
    stored = {}
    for name, tail in arrays.items():
        length = 4 if name == "indptr" else nnz
        blocks = -(-length * tail.dtype.itemsize // BLOCK_BYTES)
        stored[name] = StoredArray(tail.dtype, (length,), ("?",) * blocks)
        header = stored[name].header()
        with open(array_path(path, name), "wb") as file:
            file.write(header)
            file.seek(len(header) + (length - len(tail)) * tail.dtype.itemsize)
            file.write(tail.tobytes())
    manifest = Manifest((3, 500), nnz, stored, np.dtype(read_as))
    (path / "manifest.json").write_bytes(manifest.to_bytes())
    store = open_store(path)
    assert store.nnz == nnz and store.dtype == read_as
    for joined in (256, 10**9):  # of narrow rows, those that are long
        monkeypatch.setattr(narrow, "JOINED_ROW_VALUES", joined)
        rows = store.read(np.array([2, 0, 2]))
        assert rows.indptr.tolist() == [0, 500, 501, 1001]
        assert rows.indices.tolist() == [*range(500), 0, *range(500)]
        assert rows.data.tolist() == [7] * 500 + [0] + [7] * 500
        rows = store.read(np.array([2, 2]))  # near each other: 32 bits count from there
        assert rows.indptr.tolist() == [0, 500, 1000]
        assert rows.indices.tolist() == [*range(500), *range(500)]
        assert rows.data.tolist() == [7] * 1000


@pytest.mark.parametrize(
    ("features", "dtype", "expected"),
    [
        (2**16, "float32", "uint16"),
        (2**16, "int64", "uint16"),
        (2**16 + 1, "float32", "int32"),
        (2**16, "float16", "int32"),
        (2**31 - 1, "float32", "int32"),
        (2**31, "float32", "int64"),
    ],
)
@pytest.mark.parametrize("memory", ["auto", 1])
def test_column_indices_are_of_the_smallest_type(
    features: int, dtype: str, expected: str, memory: int | str, tmp_path: Path
) -> None:
    block = sp.csr_array(
        (np.arange(1, 5), np.array([0, features - 1] * 2), np.array([0, 2, 2, 4])),
        shape=(3, features),
    )
    with StoreWriter(tmp_path / "a.store", features, dtype) as writer:
        writer.append(block)
    assert np.load(tmp_path / "a.store" / "indices.npy").dtype == expected
    with open_store(tmp_path / "a.store", memory=memory) as store:
        rows = store.read(np.array([2, 1, 0]))
        assert rows.indices.tolist() == block.indices.tolist()
        assert rows.indices.dtype == ("int64" if features == 2**31 else "int32")
        assert rows.data.tolist() == [3, 4, 1, 2]
        store.verify()


def test_wide_indices_are_read_too_but_not_beside_narrow_ones(tmp_path: Path) -> None:
    # As a writer of before, or another one, may have chosen them.
    expected = marked(40, 6)
    written(tmp_path / "narrow.store", expected).close()
    dtypes = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_files, "index_dtype", lambda *_: np.dtype(np.int32))
        written(tmp_path / "wide.store", expected).close()
    for kind in ("narrow", "wide"):
        path = tmp_path / f"{kind}.store"
        dtypes[kind] = np.load(path / "indices.npy").dtype.name
        for memory in ("auto", 600):
            with open_store(path, memory=memory) as store:
                assert same(store[:], expected)
                store.verify()
    assert dtypes == {"narrow": "uint16", "wide": "int32"}
    with pytest.raises(StoreError, match="column indices: 'int32' and 'uint16'"):
        open_store([tmp_path / "narrow.store", tmp_path / "wide.store"])


class TestStoreWriterRefuses:
    def test_a_wrong_number_of_features(self, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "a.store", 3) as writer:
            with pytest.raises(ValueError, match=r"shape \(rows, 3\).*\(2, 4\)"):
                writer.append(np.zeros((2, 4)))
            writer.append(np.ones((2, 3)))  # the writer is still good
        assert open_store(tmp_path / "a.store").shape == (2, 3)

    @pytest.mark.parametrize("column", [-1, 3, 2**31 - 1])
    def test_a_column_out_of_range(self, column: int, tmp_path: Path) -> None:
        block = sp.csr_array((1, 3), dtype=np.float32)
        block.data, block.indices = np.ones(1, "f"), np.array([column], np.int32)
        block.indptr = np.array([0, 1], np.int32)
        with pytest.raises(ValueError, match="out of range"):
            with StoreWriter(tmp_path / "a.store", 3) as writer:
                writer.append(block)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("kind", ["csc", "coo", "bsr"])
    def test_damage_of_other_formats(self, kind: str, tmp_path: Path) -> None:
        block = marked(6, 6, density=0.9).asformat(kind)
        if kind == "coo":
            block.col[:] += 3
        else:
            block.indices = block.indices + 3
        with StoreWriter(tmp_path / "a.store", 6) as writer:
            with pytest.raises(ValueError, match=f"damaged {kind.upper()}"):
                writer.append(block)

    @pytest.mark.parametrize("axis", [0, 1])
    def test_negative_ids_of_entries(self, axis: int, tmp_path: Path) -> None:
        block = marked(6, 6, density=0.9).tocoo()
        ids = block.row, block.col
        ids[axis][5] = -(10**8)  # scipy's conversion would write there
        with StoreWriter(tmp_path / "a.store", 6) as writer:
            with pytest.raises(ValueError, match=f"damaged COO.*of axis {axis} is out"):
                writer.append(block)

    def test_a_damaged_indptr(self, tmp_path: Path) -> None:
        for indptr in ([1, 2, 3], [0, 3, 2], [0, 1, 9]):
            block = marked(2, 2, density=1)
            block.indptr = np.array(indptr, np.int32)
            with StoreWriter(tmp_path / "a.store", 2, overwrite=True) as writer:
                with pytest.raises(ValueError, match="damaged CSR"):
                    writer.append(block)

    @pytest.mark.parametrize(
        ("dtype", "value"),
        [
            ("int8", 128), ("int8", 0.5), ("uint16", -1), ("bool", 2),
            ("float16", 1e6), ("int64", 2.0**63), ("float32", 1e300),
            ("int32", np.nan), ("int8", np.inf), ("bool", np.nan),
        ],
    )  # fmt: skip
    def test_values_that_do_not_fit(
        self, dtype: str, value: float, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=f"which {dtype} cannot hold"):
            with StoreWriter(tmp_path / "a.store", 1, dtype) as writer:
                writer.append(np.array([[value]]))
        assert os.listdir(tmp_path) == []

    def test_rounding_and_infinities_are_fine(self, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "a.store", 3, "float16") as writer:
            writer.append(np.array([[0.1, np.inf, np.nan]]))
        found = open_store(tmp_path / "a.store")
        assert np.array_equal(
            found.read(np.arange(1)).data,
            np.array([0.1, np.inf, np.nan], np.float16),
            equal_nan=True,
        )

    def test_targets_now_and_then(self, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "a.store", 2) as writer:
            writer.append(np.ones((2, 2)), y=[1, 2])
            with pytest.raises(ValueError, match="with every block or with none"):
                writer.append(np.ones((2, 2)))
            with pytest.raises(ValueError, match="`sample_weight`.*first to have it"):
                writer.append(np.ones((2, 2)), y=[1, 2], sample_weight=[1, 1])
            with pytest.raises(ValueError, match="one entry for each of the 2 rows"):
                writer.append(np.ones((2, 2)), y=[1, 2, 3])
            with pytest.raises(ValueError, match="rows of shape"):
                writer.append(np.ones((2, 2)), y=[[1], [2]])
            with pytest.raises(ValueError, match=r"`y` holds 0\.5"):
                writer.append(np.ones((2, 2)), y=[0.5, 1])
            with pytest.raises(TypeError, match="class_names"):
                writer.append(np.ones((2, 2)), y=["a", "b"])
        assert open_store(tmp_path / "a.store").num_rows == 2

    def test_pointers_that_do_not_fit_the_shape(self, tmp_path: Path) -> None:
        for cut in (lambda p: p[:3], lambda p: p[:0], lambda p: np.append(p, p[-1])):
            block = sp.csr_array(np.eye(5))
            block.indptr = cut(block.indptr)
            with StoreWriter(tmp_path / "a.store", 5, overwrite=True) as writer:
                with pytest.raises(ValueError, match="`indptr` must have 6 entries"):
                    writer.append(block)

    def test_masked_arrays(self, tmp_path: Path) -> None:
        masked = np.ma.masked_equal(np.ones((2, 2)), 1)
        with StoreWriter(tmp_path / "a.store", 2) as writer:
            with pytest.raises(TypeError, match="`block` must not be a masked array"):
                writer.append(masked)
            with pytest.raises(TypeError, match="`y` must not be a masked array"):
                writer.append(np.ones((2, 2)), y=masked)

    @pytest.mark.parametrize("name", ["y", "sample_weight"])
    def test_targets_that_come_late(self, name: str, tmp_path: Path) -> None:
        with StoreWriter(tmp_path / "a.store", 2) as writer:
            writer.append(np.ones((1, 2)))
            with pytest.raises(ValueError, match=f"`{name}`.*the first to have it"):
                writer.append(np.ones((2, 2)), **{name: [1, 2]})
        assert open_store(tmp_path / "a.store").num_rows == 1

    def test_arguments(self, tmp_path: Path) -> None:
        path = tmp_path / "a.store"
        for wrong in (0, 1.5, "3", True, 2**62):
            with pytest.raises((TypeError, ValueError), match="num_features"):
                StoreWriter(path, wrong)  # type: ignore[arg-type]
        for dtype in ("complex64", "O", None, "nonsense", "longdouble", ">M8[s]"):
            with pytest.raises(TypeError, match="`dtype` must be one of"):
                StoreWriter(path, 2, dtype)
        with pytest.raises(ValueError, match="`feature_names` must have 2"):
            StoreWriter(path, 2, feature_names=["a"])
        with pytest.raises(TypeError, match="`class_names`"):
            StoreWriter(path, 2, class_names="ab")
        with pytest.raises(TypeError, match="`metadata`"):
            StoreWriter(path, 2, metadata={"a": np.ones(2)})
        assert os.listdir(tmp_path) == []

    def test_more_rows_after_it_broke_or_was_closed(self, tmp_path: Path) -> None:
        writer = StoreWriter(tmp_path / "a.store", 2, "int8")
        with pytest.raises(ValueError, match="cannot hold"):
            writer.append(np.full((1, 2), 300))
        with pytest.raises(ValueError, match="is broken"):
            writer.append(np.ones((1, 2)))
        with pytest.raises(ValueError, match="is broken"):
            writer.close()
        writer.discard()
        with pytest.raises(ValueError, match="is closed"):
            writer.append(np.ones((1, 2)))
        writer.close()
        assert os.listdir(tmp_path) == []

    def test_to_be_forgotten_in_silence(self, tmp_path: Path) -> None:
        writer = StoreWriter(tmp_path / "a.store", 2)
        with pytest.warns(ResourceWarning, match="never closed"):
            del writer
        assert os.listdir(tmp_path) == []


class Backwards(SparseStore):
    def take(self, rows: Any) -> Any:
        return super().take(self.num_rows - 1 - rows)


class TestSparseStore:
    def test_is_a_row_source(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(9, 3))
        assert isinstance(store, RowSource)
        assert (len(store), store.num_rows, store.num_features) == (9, 9, 3)

    def test_indexing(self, tmp_path: Path) -> None:
        matrix = marked(20, 5)
        store = written(tmp_path / "a.store", matrix)
        mask = np.arange(20) % 3 == 0
        for key in (slice(3, 9), slice(None, None, -2), [4, -1, 4], mask, np.int8(3)):
            rows = key if isinstance(key, slice) else np.atleast_1d(key)
            assert same(store[key], matrix[rows].tocsr())
        assert store[[]].shape == (0, 5)
        for wrong in (20, -21, [0, 99], mask[:5]):
            with pytest.raises(IndexError, match="`rows`"):
                store[wrong]
        for wrong in ("a", 1.5, [[0]]):
            with pytest.raises(TypeError, match="`rows`"):
                store[wrong]

    def test_what_it_gives_belongs_to_the_caller(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(9, 3))
        first = store[:]
        first.data[:], first.indices[:] = 99, 0
        assert same(store[:], marked(9, 3))

    def test_is_pickled_by_path(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(2000, 30))
        text = pickle.dumps((store, store.y))
        assert len(text) < 1000
        again, y = pickle.loads(text)
        assert same(again[:], store[:]) and np.array_equal(y, np.arange(2000))
        assert store.y is not None
        assert pickle.loads(pickle.dumps(store.y[3:5] + 1)).tolist() == [4, 5]

    def test_a_pickle_of_a_subclass_is_one(self, tmp_path: Path) -> None:
        paths = written(tmp_path / "a.store", marked(9, 3)).paths
        again = pickle.loads(pickle.dumps(Backwards(paths)))
        assert again[:].toarray().tolist() == marked(9, 3).toarray()[::-1].tolist()

    def test_a_pickle_of_a_replaced_store_is_refused(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(9, 3))
        text = pickle.dumps(store)
        written(tmp_path / "a.store", marked(10, 3), overwrite=True)
        with pytest.raises(ValueError, match="is not the store it was"):
            pickle.loads(text)

    def test_stays_readable_when_renamed_or_replaced(self, tmp_path: Path) -> None:
        store = written(tmp_path / "a.store", marked(9, 3))
        os.rename(tmp_path / "a.store", tmp_path / "b.store")
        assert same(store[:], marked(9, 3))
        written(tmp_path / "b.store", marked(3, 3), overwrite=True).close()
        assert same(store[:], marked(9, 3))
        store.verify()

    def test_closes_its_files(self, tmp_path: Path) -> None:
        matrix = marked(9, 3)
        before = len(os.listdir("/proc/self/fd"))
        with written(tmp_path / "a.store", matrix) as store:
            assert len(os.listdir("/proc/self/fd")) > before
        assert len(os.listdir("/proc/self/fd")) <= before
        with pytest.raises(ValueError, match="the store is closed"):
            store.read(np.arange(3))
        assert repr(store) == "SparseStore(closed)"
        written(tmp_path / "b.store", matrix)  # forgotten, and collected
        assert len(os.listdir("/proc/self/fd")) <= before


class TestParts:
    def test_parts_are_one(self, tmp_path: Path) -> None:
        matrix = marked(60, 5)
        for part in range(3):
            written(tmp_path / f"{part}.store", matrix[part * 20 : part * 20 + 20])
        for paths in (str(tmp_path / "*.store"), sorted(tmp_path.iterdir())):
            store = open_store(paths)
            assert store.shape == (60, 5)
            rows = np.random.default_rng(0).integers(0, 60, 200)
            assert same(store.take(rows), matrix[rows])
            assert same(store[25:30], matrix[25:30])
            assert np.array_equal(store.y, np.tile(np.arange(20), 3))
            assert same(pickle.loads(pickle.dumps(store))[:], matrix)
            assert len(pickle.dumps(store.y)) < 1000
            store.verify()

    def test_labels_of_several_are_pickled_by_path(self, tmp_path: Path) -> None:
        for part in range(3):
            written(tmp_path / f"{part}.store", marked(20 + part, 5))
        store = open_store(tmp_path / "*.store")
        text = pickle.dumps(store.y)
        expected = np.concatenate([np.arange(20 + part) for part in range(3)])
        assert np.array_equal(pickle.loads(text), expected)
        written(tmp_path / "1.store", marked(21, 5, seed=1), overwrite=True)
        with pytest.raises(StoreError, match=r"1\.store is not the store it was"):
            pickle.loads(text)

    def test_parts_without_rows(self, tmp_path: Path) -> None:
        written(tmp_path / "0.store", marked(20, 5))
        with StoreWriter(tmp_path / "1.store", 5):
            pass
        paths = [tmp_path / f"{i}.store" for i in (1, 0, 1, 0)]
        store = open_store(paths)
        assert np.array_equal(store.y, np.tile(np.arange(20), 2))
        assert same(store[20:], marked(20, 5))

    def test_parts_that_differ_are_refused(self, tmp_path: Path) -> None:
        one = tmp_path / "one.store"
        other = tmp_path / "other.store"
        written(one, marked(9, 3))
        for what, matrix, arguments in (
            ("features", marked(9, 4), {}),
            ("dtype", marked(9, 3), {"dtype": "float64"}),
            ("feature_names", marked(9, 3), {"feature_names": list("abc")}),
            ("class_names", marked(9, 3), {"class_names": ["a"]}),
        ):
            written(other, matrix, overwrite=True, **arguments)  # type: ignore
            with pytest.raises(ValueError, match=f"differs from .* in its {what}"):
                open_store([one, other])
        with StoreWriter(other, 3, overwrite=True) as writer:
            writer.append(marked(9, 3))
        with pytest.raises(ValueError, match=r"`y`: none and int64 of shape \(rows\)"):
            open_store([one, other])
        with StoreWriter(other, 3, overwrite=True) as writer:
            writer.append(marked(9, 3), y=np.ones((9, 2), np.uint8))
        with pytest.raises(ValueError, match=r"uint8 of shape \(rows, 2\) and int64"):
            open_store([one, other])
        for y, said in (
            (np.ones(9, np.int32), r"int32 of shape \(rows\) and int64 of"),
            (np.ones((9, 2), np.int64), r"\(rows, 2\) and int64 of shape \(rows\)"),
        ):
            with StoreWriter(other, 3, overwrite=True) as writer:
                writer.append(marked(9, 3), y=y)
            with pytest.raises(StoreError, match=said):
                open_store([one, other])

    def test_a_pattern_counts_the_numbers_in_names(self, tmp_path: Path) -> None:
        matrix = marked(12, 3)
        for part in range(12):
            written(tmp_path / f"part-{part}.store", matrix[[part]], blocks=1)
        assert same(open_store(tmp_path / "part-*.store")[:], matrix)

    @pytest.mark.parametrize("paths", [3, None, b"a", [["a"]], [b"a"]])
    def test_what_is_no_path(self, paths: Any) -> None:
        with pytest.raises(TypeError, match="`paths` must be a path, a pattern, or"):
            open_store(paths)

    def test_nothing_to_open(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nothing matches"):
            open_store(str(tmp_path / "*.store"))
        with pytest.raises(ValueError, match="empty sequence"):
            open_store([])

    def test_a_name_that_looks_like_a_pattern(self, tmp_path: Path) -> None:
        written(tmp_path / "[a]*.store", marked(9, 3))
        assert len(open_store(tmp_path / "[a]*.store")) == 9

    def test_written_by_processes_at_the_same_time(self, tmp_path: Path) -> None:
        code = """
            import sys
            sys.path.insert(0, "tests")
            from store_data import marked, written
            part, folder = int(sys.argv[1]), sys.argv[2]
            rows = marked(90, 8)[part * 30 : part * 30 + 30]
            written(f"{folder}/part-{part}.store", rows)
        """
        processes = [start_python(code, part, tmp_path) for part in range(3)]
        for process in processes:
            assert process.communicate(timeout=HUNG_SECONDS)[1] == ""
        store: SparseStore = open_store(f"{tmp_path}/part-*.store")
        assert same(store[:], marked(90, 8))

    def test_written_by_the_tasks_of_a_dask_job(self, tmp_path: Path) -> None:
        import dask

        def write(part: int, rows: Any) -> int:
            with StoreWriter(tmp_path / f"part-{part}.store", 8) as writer:
                writer.append(rows, y=np.arange(30) + 30 * part)
            return os.getpid()

        matrix = marked(90, 8)
        tasks = [
            dask.delayed(write)(part, matrix[part * 30 : part * 30 + 30])
            for part in range(3)
        ]
        workers = dask.compute(*tasks, scheduler="processes", num_workers=2)
        assert os.getpid() not in workers
        store = open_store(f"{tmp_path}/part-*.store")
        assert same(store[:], matrix)
        assert np.array_equal(store.y, np.arange(90))
        store.verify()


def test_starts_without_tensorflow() -> None:
    code = """
        import sys
        from sequence_loader.store.opening import open_store
        print([m for m in ("tensorflow", "keras", "sklearn", "anndata", "rich")
               if m in sys.modules])
    """
    assert run_python(code).strip() == "[]"


def test_what_a_store_is_not(tmp_path: Path) -> None:
    store = written(tmp_path / "a.store", marked(9, 3))
    with pytest.raises(TypeError, match=r"by rows alone.*store\[rows\]\[:, columns\]"):
        store[:, [1, 2]]
    for call in (np.asarray, np.array, sklearn.utils.check_array):
        with pytest.raises(TypeError, match=r"a store is not an array.*store\[:1000\]"):
            call(store)


def test_what_is_computed_from_labels_is_plain(tmp_path: Path) -> None:
    store = written(tmp_path / "a.store", marked(9, 3))
    y = store.y
    assert y is not None
    for found, expected in (
        (y.mean(), 4.0), (y.max(), 8), (y[3], 3), (y[2:4].sum(), 5), (np.mean(y), 4.0),
    ):  # fmt: skip
        assert isinstance(found, np.generic) and {found} == {expected}
    for array in (y[2:4], y[[2, 3]], y[y == 2], y + 1, y == 3, -y):
        assert type(array) is np.ndarray
    assert list(y) == list(range(9)) and np.ndim(store) == 2

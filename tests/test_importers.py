"""What `convert` writes is what was in the file, whatever the file looks like."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file
from store_data import marked, matrices, same

from sequence_loader import convert
from sequence_loader.importers import anndata as import_anndata
from sequence_loader.importers import npz as import_npz
from sequence_loader.importers import row_sort as entries
from sequence_loader.importers import source as sources
from sequence_loader.importers import streams as compressed
from sequence_loader.importers.columns import Column
from sequence_loader.importers.row_sort import Entries, in_triangle, rows_of_entries
from sequence_loader.rows.csr import CsrRows, canonical
from sequence_loader.store.opening import open_store


@contextmanager
def small_pieces(small: bool = True) -> Iterator[None]:
    """Everything in many pieces, and files dealt out at several levels."""
    with pytest.MonkeyPatch.context() as patch:
        if small:
            for module, name, value in (
                (compressed, "WRITE_PIECE_VALUES", 3),
                (compressed, "ROWS", 4),
                (import_npz, "WRITE_PIECE_VALUES", 3),
                (entries, "SORTED_ENTRIES", 4),
                (entries, "BLOCK_ROWS", 3),
                (entries, "BUCKET_FILES", 2),
                (sources, "TEXT_BYTES", 20),
                (import_anndata, "DENSE_BYTES", 100),
            ):
                patch.setattr(module, name, value)
        yield


def save_shuffled(path: Path, matrix: Any, kind: str, seed: int, packed: bool) -> None:
    """What save_npz writes, of any dtype: scipy reads float16 but makes none."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    column, mixed = matrix.indices, rng.random(matrix.nnz)
    # Sorted by the axis that is compressed, and in any order along the other.
    major = {"csr": row, "csc": column, "coo": row * 0}[kind]
    order = np.lexsort((mixed, major))
    ends = np.cumsum(np.bincount(major, minlength=matrix.shape[kind == "csc"]))
    arrays = {"data": matrix.data[order]}
    if kind == "coo":
        arrays |= {"row": row[order], "col": column[order]}
    else:
        arrays["indptr"] = np.concatenate([[0], ends])
        arrays["indices"] = (column if kind == "csr" else row)[order]
    save = np.savez_compressed if packed else np.savez
    save(path, format=kind.encode(), shape=matrix.shape, **arrays)


@given(
    matrix=matrices(),
    kind=st.sampled_from(["csr", "csc", "coo"]),
    compress=st.booleans(),
    small=st.booleans(),
    seed=st.integers(0, 99),
)
def test_npz_of_any_dtype_in_any_order(
    matrix: Any,
    kind: str,
    compress: bool,
    small: bool,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    save_shuffled(folder / "a.npz", matrix, kind, seed, compress)
    y = np.arange(matrix.shape[0])
    with small_pieces(small), convert(
        folder / "a.npz", folder / "a.store", y=y, sample_weight=y / 2
    ) as store:
        assert same(store[:], matrix)
        assert store.y.tolist() == y.tolist()
        assert store.sample_weight.tolist() == (y / 2).tolist()
        store.verify()


@pytest.mark.parametrize("kind", ["bsr", "dia"])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("shape", [(12, 6), (6, 12), (1, 1), (30, 2)])
def test_npz_of_blocks_and_diagonals(
    kind: str, small: bool, shape: tuple[int, int], tmp_path: Path
) -> None:
    matrix = marked(*shape, density=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sp.SparseEfficiencyWarning)
        saved = matrix.asformat(kind) if kind == "dia" else sp.bsr_array(
            matrix, blocksize=(shape[0] // 2 or 1, shape[1] // 2 or 1)
        )
    sp.save_npz(tmp_path / "a.npz", saved)
    expected = sp.load_npz(tmp_path / "a.npz").tocsr()
    expected.sort_indices()  # scipy leaves the order of the blocks
    with small_pieces(small):
        assert same(convert(tmp_path / "a.npz", tmp_path / "a.store")[:], expected)


def test_npz_with_coordinates_in_one_array(tmp_path: Path) -> None:
    """How scipy says it will save COO."""
    matrix = marked(9, 5).tocoo()
    arrays = {"coords": np.stack([matrix.row, matrix.col]), "data": matrix.data}
    np.savez(tmp_path / "a.npz", format=b"coo", shape=(9, 5), _is_array=True, **arrays)
    with small_pieces():
        found = convert(tmp_path / "a.npz", tmp_path / "a.store")[:]
    assert same(found, marked(9, 5))


def test_temporary_files_are_beside_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place for others, often a small disk in memory, is not used."""
    matrix = marked(20, 6)
    sp.save_npz(tmp_path / "a.npz", matrix.tocsc())
    scipy.io.mmwrite(tmp_path / "a.mtx", matrix)
    svmlight(tmp_path / "a.svm", matrix, np.arange(20))
    saved(adata(matrix.tocsc(), np.arange(20)), tmp_path / "a.h5ad")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    for name in ("a.npz", "a.mtx", "a.svm", "a.h5ad"):
        with convert(tmp_path / name, tmp_path / "a.store", overwrite=True) as store:
            assert same(store[:], matrix), name


def test_duplicates_add_up_and_explicit_zeros_stay(tmp_path: Path) -> None:
    parts = np.array([1, 2, 0, 4, 8], np.int16), ([2, 0, 1, 2, 2], [1, 0, 2, 1, 0])
    sp.save_npz(tmp_path / "a.npz", sp.coo_matrix(parts, shape=(4, 3)))
    store = convert(tmp_path / "a.npz", tmp_path / "a.store")
    assert store[:].toarray().tolist() == [[2, 0, 0], [0, 0, 0], [8, 5, 0], [0, 0, 0]]
    assert store.nnz == 4 and store.dtype == np.int16


@given(
    rows=st.sampled_from([1, 2, 5, 9, 40, 10**4]),
    places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3)), max_size=60),
    expected=st.sampled_from([0, 5, 1000]),
    chunk=st.integers(1, 20),
)
def test_entries_become_rows_in_their_order(
    rows: int,
    places: list[tuple[int, int]],
    expected: int,
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    row = np.array([r % rows for r, _ in places], np.int64)
    column = np.array([c for _, c in places], np.int64)
    value = np.arange(len(places))
    made = (
        Entries(*(a[i : i + chunk] for a in (row, column, value)))
        for i in range(0, len(places), chunk)
    )
    scratch = tmp_path_factory.getbasetemp()
    before = set(scratch.iterdir())
    with small_pieces(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "BLOCK_ROWS", max(3, rows // 4))
        seen = list(rows_of_entries(made, (rows, 4), expected, scratch, lambda _: None))
    assert set(scratch.iterdir()) == before
    assert sum(block.num_rows for block in seen) == rows
    order = np.argsort(row, kind="stable")
    assert np.concatenate([b.data for b in seen]).tolist() == value[order].tolist()
    assert np.concatenate([b.indices for b in seen]).tolist() == column[order].tolist()
    counts = np.concatenate([np.diff(b.indptr) for b in seen])
    assert counts.tolist() == np.bincount(row, minlength=rows).tolist()
    for block in seen:
        canonical(block, "block")


@pytest.mark.parametrize(
    ("field", "symmetry"),
    [
        *((field, "general") for field in ("real", "integer", "pattern")),
        *((field, "symmetric") for field in ("real", "integer", "pattern")),
        *((field, "skew-symmetric") for field in ("real", "integer")),
    ],
)
@pytest.mark.parametrize("small", [False, True])
def test_matrix_market(
    field: str, symmetry: str, small: bool, tmp_path: Path
) -> None:
    matrix = marked(9, 9, density=0.4).astype(np.int32)
    if symmetry != "general":
        lower = sp.tril(matrix, k=-1)
        matrix = lower + lower.T if symmetry == "symmetric" else lower - lower.T
    matrix = matrix.astype(float) / 7 if field == "real" else matrix
    scipy.io.mmwrite(tmp_path / "a.mtx", matrix, field=field, symmetry=symmetry)
    text = (tmp_path / "a.mtx").read_bytes()
    for name, packed in (
        ("a.mtx", text),
        ("b.mtx.gz", gzip.compress(text)),
        ("c.mtx.bz2", bz2.compress(text)),
        ("d.mtx", text.rstrip(b"\n")),
        ("e.mtx", text.replace(b"\n", b"\n\n")),
        ("f.mtx", text.replace(b"\n", b"\r\n")),
    ):
        (tmp_path / name).write_bytes(packed)
        expected = scipy.io.mmread(io.BytesIO(text)).tocsr()
        expected.sort_indices()
        with small_pieces(small):
            store = convert(tmp_path / name, tmp_path / "a.store", overwrite=True)
        kind = {"real": "float32", "integer": "int32", "pattern": "bool"}[field]
        assert same(store[:], sp.csr_array(expected.astype(kind))), name


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("symmetry", ["symmetric", "skew-symmetric"])
def test_a_dense_triangle_of_matrix_market(
    symmetry: str, size: int, transpose: bool, tmp_path: Path
) -> None:
    sign = -1 if symmetry == "skew-symmetric" else 1
    lower = np.tril(np.arange(1.0, size * size + 1).reshape(size, size), -1)
    whole = lower + sign * lower.T + np.diag(np.arange(size) * (sign > 0))
    scipy.io.mmwrite(tmp_path / "a.mtx", whole, symmetry=symmetry)
    assert f"array real {symmetry}" in (tmp_path / "a.mtx").read_text()
    with small_pieces():
        store = convert(tmp_path / "a.mtx", tmp_path / "a.store", transpose=transpose)
    assert (store[:].toarray() == (whole.T if transpose else whole)).all()


@given(st.integers(1, 2**31), st.integers(0, 1), st.data())
def test_places_in_a_triangle(size: int, below: int, data: st.DataObject) -> None:
    longest = size - below
    if longest == 0:
        return
    column = data.draw(st.integers(0, longest - 1))
    row = data.draw(st.integers(column + below, size - 1))
    place = column * longest - column * (column - 1) // 2 + row - column - below
    found = in_triangle(np.array([place]), size, below)
    assert [int(each[0]) for each in found] == [row, column]


@pytest.mark.parametrize("kind", [np.asarray, sp.coo_array])
def test_matrix_market_of_unsigned_integers(kind: Any, tmp_path: Path) -> None:
    matrix = kind(np.array([[1, 0], [2**32 - 1, 3]], np.uint64))
    scipy.io.mmwrite(tmp_path / "a.mtx", matrix)
    assert "unsigned-integer" in (tmp_path / "a.mtx").read_text()
    store = convert(tmp_path / "a.mtx", tmp_path / "a.store")
    assert store.dtype == np.uint32
    assert store[:].toarray().tolist() == [[1, 0], [2**32 - 1, 3]]


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \t\n", b"\n\r\n\n"])
def test_blank_lines_of_matrix_market(blank: bytes, tmp_path: Path) -> None:
    banner = b"%%MatrixMarket matrix coordinate real general\n"
    lines = [banner + b"% c", b"2 2 2", b"1 1 5", b"2 2 6", b""]
    (tmp_path / "a.mtx").write_bytes((b"\n" + blank).join(lines))
    for text_bytes in (1, 1 << 22):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sequence_loader.importers.source.TEXT_BYTES", text_bytes)
            store = convert(tmp_path / "a.mtx", tmp_path / "a.store", overwrite=True)
        assert store[:].toarray().tolist() == [[5, 0], [0, 6]]


def test_matrix_market_transposed_and_dense(tmp_path: Path) -> None:
    matrix = marked(11, 4)
    scipy.io.mmwrite(tmp_path / "a.mtx", matrix)
    scipy.io.mmwrite(tmp_path / "b.mtx", matrix.toarray())
    with small_pieces():
        turned = convert(tmp_path / "a.mtx", tmp_path / "a.store", transpose=True)
        listed = convert(tmp_path / "b.mtx", tmp_path / "b.store")
    assert same(turned[:], matrix.T.tocsr())
    assert same(listed[:], matrix)


def test_matrix_market_of_large_integers_says_which_dtype_holds_them(
    tmp_path: Path,
) -> None:
    head = "%%MatrixMarket matrix coordinate integer general\n1 1 1\n"
    (tmp_path / "a.mtx").write_text(f"{head}1 1 {2**53 + 1}\n")
    with pytest.raises(ValueError, match="int32 cannot hold. Pass dtype='int64', or"):
        convert(tmp_path / "a.mtx", tmp_path / "a.store")
    store = convert(tmp_path / "a.mtx", tmp_path / "a.store", dtype="int64")
    assert store[0].data.tolist() == [2**53 + 1]


def svmlight(path: Path, matrix: Any, y: Any, **options: Any) -> Path:
    dump_svmlight_file(sp.csr_matrix(matrix), y, str(path), **options)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("suffix", [".svm", ".libsvm.gz"])
def test_svmlight(
    zero_based: bool, small: bool, suffix: str, tmp_path: Path
) -> None:
    values = marked(40, 6).toarray()
    values[:, 0] = np.arange(40)  # column 0 is in use, from row 1 on
    matrix = sp.csr_array(values)
    y = np.arange(40) % 3 - 1
    path = svmlight(tmp_path / f"a{suffix}", matrix, y, zero_based=zero_based)
    with small_pieces(small):
        store = convert(path, tmp_path / "a.store")
    assert same(store[:], matrix.astype("float32"))
    assert store.y.tolist() == y.tolist() and store.y.dtype == np.int64


def test_svmlight_counts_columns_the_same_way_in_all_pieces_and_files(
    tmp_path: Path,
) -> None:
    """Only the last row of the second file shows that columns count from 0."""
    first, second = tmp_path / "a.svm", tmp_path / "b.svm"
    first.write_text("1.5 2:1 # a comment\n\n0 1:2\n")
    second.write_text("1 3:4\n1 2:1\n1 0:8\n")
    for files, expected in (
        ([first], [[0, 1], [2, 0]]),
        ([first, second], [[0, 0, 1, 0], [0, 2, 0, 0], [0, 0, 0, 4], [0, 0, 1, 0],
                           [8, 0, 0, 0]]),
    ):  # fmt: skip
        with small_pieces():
            store = convert(files, tmp_path / "a.store", overwrite=True)
        assert store[:].toarray().tolist() == expected
        assert store.y.tolist() == [1.5, 0, 1, 1, 1][: len(expected)]
    wide = convert(first, tmp_path / "b.store", num_features=9, zero_based=True)
    assert wide[:].toarray()[:, :4].tolist() == [[0, 0, 1, 0], [0, 2, 0, 0]]
    assert wide.num_features == 9


def test_svmlight_labels_that_no_integer_holds_stay_as_they_are(
    tmp_path: Path,
) -> None:
    for text, y in (("1e300", [1e300, 2]), (f"-{2**53}", [-(2.0**53), 2])):
        (tmp_path / "a.svm").write_text(f"{text} 1:1\n2 1:1\n")
        store = convert(tmp_path / "a.svm", tmp_path / "a.store", overwrite=True)
        assert store.y.dtype == np.float64 and store.y.tolist() == y


def test_svmlight_with_several_labels_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("7,2 1:1\n 2:1\n2 1:3\n10.5,7 1:1\n")
    with small_pieces():
        store = convert(tmp_path / "a.svm", tmp_path / "a.store", multilabel=True)
    assert store.class_names == ("2", "7", "10.5")
    (tmp_path / "large.svm").write_text("1000001 1:1\n1000002,1000001 1:1\n")
    large = convert(tmp_path / "large.svm", tmp_path / "b.store", multilabel=True)
    assert large.class_names == ("1000001", "1000002")
    assert store.y.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 1]]


def adata(matrix: Any, labels: Any) -> anndata.AnnData:
    names = [f"cell{i}" for i in range(matrix.shape[0])]
    obs = pd.DataFrame({"kind": labels}, index=names)
    var = pd.DataFrame(index=[f"gene{i}" for i in range(matrix.shape[1])])
    return anndata.AnnData(matrix, obs=obs, var=var)


def saved(data: anndata.AnnData, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr's formats, and of text columns
        data.write_h5ad(path) if path.suffix == ".h5ad" else data.write_zarr(path)
    return path


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("layer", [None, "counts"])
def test_anndata(suffix: str, kind: str, layer: str | None, tmp_path: Path) -> None:
    matrix = marked(30, 7)
    made = matrix.toarray() if kind == "dense" else matrix.asformat(kind)
    other = sp.csr_matrix(matrix * 0)
    labels = pd.Categorical(["b", "a", "b"] * 10, categories=["b", "unused", "a"])
    data = adata(made if layer is None else other, labels)
    if layer is not None:
        data.layers[layer] = made
    path = saved(data, tmp_path / f"a{suffix}")
    with small_pieces():
        store = convert(path, tmp_path / "a.store", layer=layer, label_column="kind")
    assert same(store[:], matrix)
    assert store.feature_names == tuple(f"gene{i}" for i in range(7))
    assert store.class_names == ("b", "unused", "a")
    assert store.y.tolist() == [0, 2, 0] * 10
    with convert(path, tmp_path / "b.store", layer=layer) as plain:
        assert plain.y is None and plain.class_names is None


@pytest.mark.parametrize(
    ("labels", "y", "names"),
    [
        (["q", "p", "q"], [1, 0, 1], ("p", "q")),
        ([0.5, 2, 1], [0.5, 2, 1], None),
        ([True, False, True], [True, False, True], None),
        (pd.array([3, 1, 2], dtype="Int16"), [3, 1, 2], None),
    ],
)
def test_anndata_labels_of_any_kind(
    labels: Any, y: list[Any], names: Any, tmp_path: Path
) -> None:
    path = saved(adata(marked(3, 2), labels), tmp_path / "a.h5ad")
    store = convert(path, tmp_path / "a.store", label_column="kind")
    assert store.y.tolist() == y and store.class_names == names


def test_classes_of_a_source_do_not_name_labels_of_ones_own(tmp_path: Path) -> None:
    path = saved(adata(marked(3, 2), ["q", "p", "q"]), tmp_path / "a.h5ad")
    store = convert(path, tmp_path / "a.store", label_column="kind", y=[5, 6, 7])
    assert store.y.tolist() == [5, 6, 7] and store.class_names is None


def test_several_anndata_files_share_their_classes(tmp_path: Path) -> None:
    matrix = marked(6, 4)
    first = saved(adata(matrix[:3], pd.Categorical(["b", "a", "b"])),
                  tmp_path / "a.h5ad")
    second = saved(adata(matrix[3:], pd.Categorical(["c", "b", "c"])),
                   tmp_path / "b.h5ad")
    store = convert([first, second], tmp_path / "a.store", label_column="kind")
    assert same(store[:], matrix)
    assert [store.class_names[code] for code in store.y] == list("babcbc")


@pytest.mark.parametrize("source", ["anndata", "array", "npy"])
def test_text_labels_are_looked_up_in_class_names(source: str, tmp_path: Path) -> None:
    matrix, labels = marked(6, 4), ["T", "B", "T", "NK", "B", "T"]
    given: dict[str, Any] = {"class_names": iter(["new", "T", "NK", "B"])}
    rows: Any = matrix
    if source == "anndata":
        rows = saved(adata(matrix, pd.Categorical(labels)), tmp_path / "a.h5ad")
        given["label_column"] = "kind"
    elif source == "npy":
        np.save(tmp_path / "y.npy", np.array(labels))
        given["y"] = tmp_path / "y.npy"
    else:
        given["y"] = labels
    store = convert(rows, tmp_path / "a.store", **given)
    assert store.class_names == ("new", "T", "NK", "B")
    assert [store.class_names[code] for code in store.y] == labels
    assert store.y.dtype == np.int32


def test_parts_that_lack_a_class_open_as_one(tmp_path: Path) -> None:
    matrix, names = marked(6, 4), ["T", "NK", "B"]
    parts = [pd.Categorical(["B", "T", "B"], ["unused", "B", "T"]), ["NK", "B", "T"]]
    for number, labels in enumerate(parts):
        rows = matrix[number * 3 : number * 3 + 3]
        path = saved(adata(rows, labels), tmp_path / f"{number}.h5ad")
        convert(path, tmp_path / f"{number}.store", label_column="kind",
                class_names=names)
    store = open_store([tmp_path / "0.store", tmp_path / "1.store"])
    assert [store.class_names[code] for code in store.y] == [*"BTB", "NK", *"BT"]
    with pytest.raises(ValueError, match="`class_names` must .* without .'B"):
        convert(path, tmp_path / "2.store", label_column="kind", class_names=["T"])
    assert not (tmp_path / "2.store").exists()


def test_blocks_from_python(tmp_path: Path) -> None:
    matrix = marked(12, 5)
    y, weights = np.arange(12), np.arange(12) / 4
    cuts = [slice(0, 5), slice(5, 6), slice(6, 12)]
    for blocks in (
        [(matrix[cut], y[cut], weights[cut]) for cut in cuts],
        ((matrix[cut].tocoo(), y[cut], weights[cut]) for cut in cuts),
        ((matrix[cut].toarray(), y[cut], weights[cut]) for cut in cuts),
    ):
        store = convert(blocks, tmp_path / "a.store", overwrite=True)
        assert same(store[:], matrix)
        assert store.y.tolist() == y.tolist()
        assert store.sample_weight.tolist() == weights.tolist()
    listed = [matrix[:5], matrix[5:].toarray().tolist()]
    pair = [matrix[:5], (matrix[5:], y[5:])]  # y= takes the place of theirs
    for whole in (matrix, matrix.toarray(), iter([matrix]), listed, pair):
        names = np.array(list("abcde"))
        store = convert(
            whole, tmp_path / "a.store", y=y, overwrite=True, feature_names=names
        )
        assert same(store[:], matrix) and store.y.tolist() == y.tolist()


def test_blocks_are_made_in_the_thread_that_converts(tmp_path: Path) -> None:
    """They may come from what is bound to it, such as a connection of sqlite3."""
    matrix, threads = marked(12, 5), []

    def blocks() -> Iterator[Any]:
        for start in range(0, 12, 4):
            threads.append(threading.get_ident())
            yield matrix[start : start + 4]
        threads.append(threading.get_ident())

    assert same(convert(blocks(), tmp_path / "a.store")[:], matrix)
    assert threads == [threading.get_ident()] * 4


@pytest.mark.parametrize(
    ("module", "make"),
    [
        ("tensorflow", "constant"),
        pytest.param("torch", "from_numpy", marks=pytest.mark.torch),
    ],
)
def test_tensors_are_blocks(module: str, make: str, tmp_path: Path) -> None:
    tensor = getattr(importlib.import_module(module), make)
    values = marked(12, 5).toarray()
    for source in ([tensor(values[:5]), tensor(values[5:])], tensor(values)):
        store = convert(source, tmp_path / "a.store", overwrite=True)
        assert same(store[:], sp.csr_array(values))
        assert store.dtype == values.dtype


def test_a_block_that_is_made_when_it_is_read_is_made_once(tmp_path: Path) -> None:
    values, made = marked(12, 5).toarray(), []

    class Lazy:
        """As a block of Dask or a data set on disk is."""

        ndim, dtype = 2, values.dtype

        def __init__(self, rows: slice) -> None:
            self.rows, self.shape = rows, values[rows].shape

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            made.append(self.rows)
            return values[self.rows]

    halves = [slice(0, 5), slice(5, 12)]
    store = convert(map(Lazy, halves), tmp_path / "a.store")
    assert same(store[:], sp.csr_array(values))
    assert made == halves


def test_targets_that_are_text_become_classes(tmp_path: Path) -> None:
    labels = np.array(["b", "a", "c", "a"])
    np.save(tmp_path / "y.npy", labels)
    listed = labels.tolist(), labels.astype(object), pd.Series(labels)
    for y in (labels, tmp_path / "y.npy", *listed):
        store = convert(marked(4, 3), tmp_path / "a.store", y=y, overwrite=True)
        assert store.class_names == ("a", "b", "c")
        assert store.y.tolist() == [1, 0, 2, 0]


def test_targets_in_a_file_are_mapped_and_not_read_whole(tmp_path: Path) -> None:
    for name in ("y", "sample_weight"):
        np.save(tmp_path / "a.npy", np.arange(9.0))
        part = Column(name, tmp_path / "a.npy").part(3, 6, None)
        assert isinstance(part, np.memmap) and part.tolist() == [3, 4, 5]


def test_files_follow_one_another_and_share_a_dtype(tmp_path: Path) -> None:
    matrix = marked(9, 4)
    sp.save_npz(tmp_path / "a.npz", matrix[:4].astype(np.int16))
    sp.save_npz(tmp_path / "b.npz", matrix[4:].astype(np.float32).tocsc())
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    store = convert(files, tmp_path / "a.store", y=sp.csc_array(matrix.toarray()))
    assert same(store[:], matrix)
    assert store.y.tolist() == matrix.toarray().tolist()
    listed = convert(pd.Series(map(str, files)), tmp_path / "c.store")
    assert same(listed[:], matrix)
    narrow = convert(files, tmp_path / "b.store", dtype="uint8", metadata={"a": 1})
    assert narrow.dtype == np.uint8 and narrow.metadata == {"a": 1}


def test_a_matrix_without_values_or_rows(tmp_path: Path) -> None:
    for shape in ((5, 3), (0, 3)):
        for kind in ("csr", "csc", "coo"):
            sp.save_npz(tmp_path / "a.npz", sp.csr_array(shape).asformat(kind))
            store = convert(tmp_path / "a.npz", tmp_path / "a.store", overwrite=True)
            assert store.shape == shape and store.nnz == 0
            assert isinstance(store.read(np.arange(shape[0])), CsrRows)

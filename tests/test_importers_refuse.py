"""What cannot be converted is refused in one clear line, and nothing is published."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import anndata
import dask.array
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file
from refusals import SCIPY
from store_data import marked, run_python, same, start_python
from watching import HUNG_SECONDS

from sequence_loader import StoreWriter, convert
from sequence_loader.importers import svmlight_spill as import_svmlight
from sequence_loader.store.opening import open_store
from sequence_loader.store.publishing import leftovers


def refused(source: Any, folder: Path, *parts: str, **options: Any) -> str:
    """Asserts that `source` is refused in one line, and that nothing is left."""
    before = sorted(os.listdir(folder))
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        convert(source, folder / "a.store", **options)
    text = str(caught.value)
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"
    assert "\n" not in text
    assert sorted(os.listdir(folder)) == before
    return text


def npz(path: Path, kind: str = "csr", **arrays: Any) -> Path:
    """A file of save_npz with arrays replaced."""
    matrix = marked(20, 6).asformat(kind)
    buffer = io.BytesIO()
    sp.save_npz(buffer, matrix, compressed=False)
    buffer.seek(0)
    content = dict(np.load(buffer)) | arrays
    np.savez(path, **{key: value for key, value in content.items() if len(key) > 1})
    return path


@pytest.mark.parametrize(
    ("kind", "arrays", "message"),
    [
        ("csr", {"indptr": np.arange(3)}, "`indptr` must have shape (21,)"),
        ("csr", {"indptr": np.arange(21) * 10**6}, "`indptr` must not decrease"),
        ("csr", {"indptr": np.arange(21)[::-1]}, "start at 0"),
        ("csr", {"indptr": np.array([0, 5, 2] + 18 * [6])}, "must not decrease"),
        ("csr", {"indices": np.full(24, 6)}, "[0, 6)"),
        ("csr", {"indices": np.full(24, -1)}, "[0, 6)"),
        ("csr", {"indices": np.full(24, 2**40)}, "[0, 6)"),
        ("csr", {"indices": np.zeros(24, "O")}, "Python objects"),
        ("csr", {"indices": np.zeros(24)}, "must be integers"),
        ("csr", {"indices": np.zeros((9, 9), int)}, "one dimension"),
        ("csr", {"data": np.zeros(24, complex)}, "real numbers"),
        ("csr", {"data": np.zeros(1)}, "one length; they have shapes (24,) and (1,)"),
        ("csr", {"data": np.zeros(25)}, "one length; they have shapes (24,)"),
        ("csr", {"format": b"lil"}, "format csr, csc, coo, bsr, dia"),
        ("csr", {"shape": np.array([3])}, "shape (3,)"),
        ("csr", {"shape": np.array([-20, 6])}, "`indptr` must have shape"),
        ("csr", {"shape": np.array([20, 0])}, "has no columns, and a store"),
        ("csc", {"indices": np.full(24, 20)}, "row 20 is out of range"),
        ("csc", {"indices": np.full(24, -2)}, "row -2 is out of range"),
        ("csc", {"indptr": np.arange(9)}, "`indptr` must have shape (7,)"),
        ("coo", {"col": np.full(99, 6)}, "must have shape"),
        ("coo", {"row": np.zeros(1, int)}, "`row` must have shape"),
        ("bsr", {"indices": np.full(99, 9)}, "damaged BSR"),
        ("bsr", {"data": np.zeros((99, 7, 6))}, "makes no BSR"),
        ("csr", {"indptr": np.arange(21) / 2}, "of integers, and start at 0"),
    ],
)
def test_damaged_npz(
    kind: str, arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(npz(tmp_path / "a.npz", kind, **arrays), tmp_path, message)


def test_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mtx.ZIP", "w") as archive:
        archive.writestr("a.mtx", "%%MatrixMarket matrix array real general\n1 1\n2\n")
    said = "not in a .zip; received a.mtx.ZIP"
    text = refused(tmp_path / "a.mtx.ZIP", tmp_path, said)
    command = text.partition("Unpack it: python ")[2].removesuffix(".").split()
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True)
    store = convert(tmp_path / "unpacked" / "a.mtx", tmp_path / "a.store")
    assert store[:].toarray().tolist() == [[2]]


def test_npz_that_is_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    refused(tmp_path / "a.npz", tmp_path, "holds x and not a sparse matrix", "save_npz")
    np.save(tmp_path / "b.npy", np.ones(3))
    os.rename(tmp_path / "b.npy", tmp_path / "b.npz")
    refused(tmp_path / "b.npz", tmp_path, "b.npz cannot be read as a .npz file")
    with zipfile.ZipFile(npz(tmp_path / "c.npz")) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    del members["indices.npy"]
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as cut:
        for name, content in members.items():
            cut.writestr(name, content)
    refused(tmp_path / "c.npz", tmp_path, "indices.npy")


@pytest.mark.parametrize("gaps", [5.0, np.nan, 0.0])
@pytest.mark.parametrize("kind", ["coo", "csr", "csc"])
def test_gaps_that_are_not_zero(kind: str, gaps: float, tmp_path: Path) -> None:
    """Of the package sparse, whose save_npz names scipy's formats, too."""
    path = npz(tmp_path / "a.npz", kind, fill_value=np.array(gaps))
    if gaps == 0:
        assert convert(path, tmp_path / "a.store").shape == (20, 6)
        return
    refused(path, tmp_path, f"its fill_value is {gaps}", "csr_array(matrix.todense())")


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)])
def test_npz_of_other_dimensions(shape: tuple[int, ...], tmp_path: Path) -> None:
    flat = np.arange(np.prod(shape))
    places = np.array(np.unravel_index(flat, shape))
    arrays = {"data": flat, "coords": places, "shape": shape, "format": b"coo"}
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", tmp_path, "Save its reshape((rows, -1)).tocsr()")
    if SCIPY >= (1, 15):
        matrix, rows = sp.coo_array((flat, tuple(places)), shape), shape[0]
        sp.save_npz(tmp_path / "a.npz", matrix.reshape((rows, -1)).tocsr())  # the mend
        store = convert(tmp_path / "a.npz", tmp_path / "a.store")
        assert (store[:].toarray() == flat.reshape(rows, -1)).all()


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each format, of some kB."""
    folder = tmp_path_factory.mktemp("whole")
    matrix = marked(200, 30)
    sp.save_npz(folder / "csr.npz", matrix, compressed=False)
    sp.save_npz(folder / "packed.npz", matrix.tocsc(), compressed=True)
    scipy.io.mmwrite(folder / "a.mtx", matrix)
    dump_svmlight_file(sp.csr_matrix(matrix), np.arange(200), str(folder / "a.svm"))
    for name in ("a.mtx", "a.svm"):
        packed = gzip.compress((folder / name).read_bytes())
        (folder / f"{name}.gz").write_bytes(packed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(matrix).write_h5ad(folder / "a.h5ad")
    return folder


@pytest.mark.parametrize(
    "name",
    ["csr.npz", "packed.npz", "a.mtx", "a.svm", "a.mtx.gz", "a.svm.gz", "a.h5ad"],
)
@pytest.mark.parametrize("kept", [0, 1, 0.3, 0.99])
def test_cut_files(
    name: str, kept: float, whole_files: Path, tmp_path: Path
) -> None:
    content = (whole_files / name).read_bytes()
    size = int(len(content) * kept) if isinstance(kept, float) else kept
    if name == "a.svm":
        # Text has no end of its own. Cut where a value is, it does not parse.
        size = content.rfind(b":", 0, size) + 1
    (tmp_path / name).write_bytes(content[:size])
    refused(tmp_path / name, tmp_path, name)


@given(
    name=st.sampled_from(["csr.npz", "packed.npz", "a.mtx.gz"]),
    place=st.integers(0, 10**6),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_is_refused_or_harmless(
    name: str,
    place: int,
    bit: int,
    whole_files: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """zip and gzip have checksums: the values are right, or there is an error."""
    folder = tmp_path_factory.mktemp("flipped")
    content = bytearray((whole_files / name).read_bytes())
    content[place % len(content)] ^= 1 << bit
    (folder / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of names that are there twice
        try:
            store = convert(folder / name, folder / "a.store")
        except (ValueError, TypeError, OSError) as error:
            assert str(folder / name) in str(error) or "`" in str(error)
            assert os.listdir(folder) == [name]
        else:
            assert same(store[:], marked(200, 30))
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with a line like '%%MatrixMarket"),
        ("%%MatrixMarket matrix coordinate complex general\n", "is not read"),
        ("%%MatrixMarket matrix array pattern general\n1 1\n1\n", "is not read"),
        ("%%MatrixMarket matrix array real symmetric\n2 1\n1\n", "2 rows and 1 col"),
        ("%%MatrixMarket matrix array unsigned-integer skew-symmetric\n2 2\n1\n",
         "is not read"),
        ("%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 7E", "middle of"),
        ("%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 7E-", "middle of"),
        ("%%MatrixMarket matrix array real general\n2 1\n3\n7.5E+\r", "middle of"),
        ("%%MatrixMarket matrix coordinate real general\n3 0 0\n", "no columns"),
        (f"%%MatrixMarket matrix coordinate real general\n{2**61} 1 1\n1 1 1\n",
         f"it claims {2**61} rows, and "),
        ("%%MatrixMarket vector coordinate real general\n", "must begin with"),
        ("%%MatrixMarket matrix coordinate real general\n% c\n2 2\n",
         "line 3: '2 2' must be the numbers of"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 x\n",
         "line 2: '2 2 x' must be the numbers of rows, columns, entries"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 1\n",
         "line 3: row '3' is out of bounds: it must be in 1 to 2."),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n0 1 1\n",
         "row '0' is out"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1\n",
         "line 3: '1 1' must be row, column, value alone. Write one entry on a line"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n", "1 of the 2"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 1\n1 2 1\n",
         "more than the 1"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 1\0\n", "no text"),
        ("%%MatrixMarket matrix array real general\n2 2\n1\n2\n3\n", "3 of the 4"),
        ("%%MatrixMarket matrix array real general\n2 2\n1 2\n3 4\n", "'1 2' must be "
         "value alone"),
        ("%%MatrixMarket matrix coordinate integer general\n%\n2 2 1\n\n1 1 2.5\n",
         "line 5: '2.5' is no integer. Write real, not integer, in the first line"),
        ("%%MatrixMarket matrix coordinate pattern general\n2 2 1\n1 1 2\n",
         "line 3: '1 1 2' has a value. Write real, not pattern"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 2,5\n",
         "line 3: '2,5' is no number with a decimal comma. Write one like 1.5"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1,1,2\n",
         "'1,1,2' looks like csv"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 1.234.567\n",
         "'1.234.567' is no number"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 2 3\n",
         "'1 1 2 3' must be row"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1.5 2\n",
         "'1.5' is no column. Write an integer, counted from 1"),
        ("%%MatrixMarket matrix coordinate real hermitian\n2 3 0\n", "2 rows and 3"),
        (f"%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 1 {2**63}\n",
         f"line 3: '{2**63}' is beyond int64. Write unsigned-integer in the first"),
        ("%%MatrixMarket matrix coordinate unsigned-integer general\n2 2 1\n1 1 -1\n",
         "line 3: '-1' is below 0. Write integer in the first line"),
        (f"%%MatrixMarket matrix coordinate integer skew-symmetric\n2 2 1\n2 1 {-2**63}"
         "\n", f"it holds {-2**63}, whose opposite, on the other side of the diagonal"),
    ],
)  # fmt: skip
def test_damaged_matrix_market(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.mtx").write_text(text)
    refused(tmp_path / "a.mtx", tmp_path, "a.mtx", message)


@pytest.mark.parametrize(
    ("text", "message", "options"),
    [
        ("1 1:x\n", "'1:x' is no column:value; it looks like a value that is no", {}),
        ("1 1: 2\n", "'1:' is no column:value; it looks like a blank after the", {}),
        ("1 1:2:3\n", "it looks like libffm's field:column:value", {}),
        ("1 1:0,5\n", "it looks like a decimal comma", {}),
        ("1 1.5:1\n", "it looks like a column that is no whole number", {}),
        ("1 -1:1\n", "'-1:1' is no column:value; it looks like a column below 0", {}),
        ("1 99999999999:1\n", "a column that is too large, beyond 2147483647", {}),
        ("1 1:1\n1 cat:1\n", "line 2: 'cat:1' is no column:value; it looks like a name"
         " instead of a column", {}),
        ("1 1:1\n1 7\n", "line 2: '7' is no column:value; it looks like a number with",
         {}),
        ("1 1:1\ncat 2:1\n", "line 2: 'cat' is no label; it looks like a name. Write "
         "numbers, and give names as `y`", {}),
        ("1:.5 2:1\n", "'1:.5' is no label; it looks like a label and its weight", {}),
        ("1 |f a:1\n", "it looks like Vowpal Wabbit's format", {}),
        ("1 qid:a 1:1\n", "'qid:a' is no query", {}),
        ("1 1:1 qid:1\n", "it looks like a query that does not follow the label", {}),
        ("1 1:1\n\n1 qid:1 1:1\n", "line 3: some rows have a qid:", {}),
        ("1,2 1:1\n", "line 1: '1,2' is no label; it looks like several labels. Pass "
         "multilabel=True for rows of several labels.", {}),
        ("a,b,c\n1,0.5,2\n", "it looks like csv", {}),
        ("1,0.5,2\n0,1.5,3\n", "it looks like csv", {}),
        ("1,0.5,2\n0,1.5,3\n", "no column:value is in it; it looks like csv",
         {"multilabel": True}),
        ("t,12:30\n", "it looks like csv", {}),
        ("1\n0\n1\n", "it holds labels alone. Pass it as `y`, beside the rows", {}),
        ("1\n0\n", "it holds labels alone", {"num_features": 3}),
        ("", "it is empty", {}),
        ("# 1:2\n\n", "it is empty", {}),
        ("1 0.5 2\n0 1.5 3\n", "it looks like a dense table", {}),
        ("1\t0.5\t2\n", "it looks like a dense table", {}),
        ('{"a": 1}\n', "it looks like JSON", {}),
        ("PAR1\x15\x04:1\n", "it is no text. Pass a file of lines", {}),
        ("nan,1 1:1\n", "a label among several is nan", {"multilabel": True}),
        ("%%MatrixMarket matrix coordinate real general\n", "it is MatrixMarket. Pass "
         "format='matrix-market'", {}),
        ("2 5 4\n0 1:1\n", "its first line says 2 rows, and it has 1", {}),
        ("1 5 4\n0 5:1\n", "columns up to 5, and its first line says 5 features", {}),
        ("1 5 4\n4 1:1\n", "('0', '1', '2', '3'), without ['4']", {}),
        ("1 5 4\n3 1:1\n", "`num_features` must be 5", {"num_features": 6}),
        ("1 5 4\n3 1:1\n", "`zero_based` must be True", {"zero_based": False}),
        ("1 5:1\n", "`zero_based` must be given with the number of features",
         {"num_features": 7}),
        ("1 5:1\n", "has no qid: to be kept", {"query_ids": "no.npy"}),
        ("1 0:1\n", "Pass zero_based=True", {"zero_based": False}),
        ("1 5:1\n", "`num_features` must be at least 5", {"num_features": 4}),
        ("1 5:1\n", "`num_features` must be an integer", {"num_features": "4"}),
        ("1 5:1\n", "`zero_based` must be one of", {"zero_based": "no"}),
    ],
)
def test_damaged_svmlight(
    text: str, message: str, options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a.svm").write_text(text)
    refused(tmp_path / "a.svm", tmp_path, message, **options)


@pytest.mark.parametrize("wrong", [0, 1, 98, 99])
@pytest.mark.parametrize("piece", [1, 40, 1 << 22])
def test_the_line_of_svmlight_that_is_damaged(
    wrong: int, piece: int, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr("sequence_loader.importers.source.TEXT_BYTES", piece)
    text = ["# comment\n", "\n", *(f"{i} {i + 1}:1\r\n" for i in range(98))]
    text[wrong] = "1 2:1 x\n"
    (tmp_path / "a.svm").write_text("".join(text))
    refused(tmp_path / "a.svm", tmp_path, f"a svmlight file: line {wrong + 1}: ")


def test_an_anndata_element_of_a_kind_nobody_knows(tmp_path: Path) -> None:
    anndata.AnnData(sp.csr_matrix(marked(3, 2))).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file["var/_index"].attrs["encoding-version"] = "9.9.9"
    refused(tmp_path / "a.h5ad", tmp_path, "_index is stored as string-array 9.9.9")


def test_a_column_out_of_range_names_the_file(tmp_path: Path) -> None:
    matrix = marked(3, 4)
    matrix.indices[1] = 9
    sp.save_npz(tmp_path / "a.npz", matrix)
    refused(tmp_path / "a.npz", tmp_path, "a.npz` has a column index out of range")


def test_a_pipe_that_would_be_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mtx")
    refused(tmp_path / "a.mtx", tmp_path, "a.mtx must be a file on a disk")


def test_an_archive_that_points_before_its_start(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "a.npz", marked(3, 4))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    end = content.rindex(b"PK\5\6")
    (offset,) = struct.unpack_from("<I", content, end + 16)
    struct.pack_into("<I", content, end + 16, offset + (1 << 20))
    (tmp_path / "a.npz").write_bytes(content)
    refused(tmp_path / "a.npz", tmp_path, "a.npz cannot be read as a .npz file")


def test_blocks_that_are_no_real_numbers(tmp_path: Path) -> None:
    for block in (np.ones((2, 2), complex), sp.csr_array(np.eye(2) * 1j)):
        refused([block], tmp_path, "`source` must hold real numbers; received dtype c")
    refused(marked(2, 2), tmp_path, "`y` must hold rows of one shape", y=[[1], [2, 3]])


def test_no_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    convert(marked(3, 2), tmp_path / "a.store").verify()


def test_what_an_anndata_file_lacks(tmp_path: Path) -> None:
    obs = pd.DataFrame({"kind": pd.Categorical(["a", None, "b"])}, index=list("xyz"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(marked(3, 4), obs=obs).write_h5ad(tmp_path / "a.h5ad")
    path = tmp_path / "a.h5ad"
    refused(path, tmp_path, "no layer 'x'; it has none. Leave `layer` out", layer="x")
    refused(path, tmp_path, "'obs/x'; it has _index, kind", label_column="x")
    refused(path, tmp_path, "1 missing values in obs['kind']", label_column="kind")
    with h5py.File(path, "a") as file:
        file["X/indptr"][2] = 99
    refused(path, tmp_path, "a.h5ad", "`indptr` must not decrease")
    with h5py.File(path, "a") as file:
        short = file["X/indptr"][:2]
        del file["X/indptr"]
        file["X/indptr"] = short
    refused(path, tmp_path, "a.h5ad", "`indptr` must have 4 entries")
    with h5py.File(path, "a") as file:
        file["X"].attrs["encoding-type"] = "something"
    refused(path, tmp_path, "encoding 'something'")
    with h5py.File(path, "a") as file:
        del file["X"]
    refused(path, tmp_path, "has no 'X'")
    (tmp_path / "a.zarr").mkdir()
    refused(tmp_path / "a.zarr", tmp_path, "a.zarr")


def test_anndata_files_whose_features_are_in_another_order(tmp_path: Path) -> None:
    files = [tmp_path / "a.h5ad", tmp_path / "b.h5ad"]
    for file, names in zip(files, ("abcd", "abdc")):
        data = anndata.AnnData(marked(3, 4), var=pd.DataFrame(index=list(names)))
        data.write_h5ad(file)
    refused(files, tmp_path, "b.h5ad has feature_names", "in the same order")


@pytest.mark.parametrize("count", [2, 4])
def test_anndata_labels_of_another_length(count: int, tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    obs = pd.DataFrame({"kind": [1, 2, 3]}, index=list("xyz"))
    anndata.AnnData(marked(3, 4), obs=obs).write_h5ad(path)
    with h5py.File(path, "a") as file:
        attributes = dict(file["obs/kind"].attrs)
        del file["obs/kind"]
        file["obs/kind"] = np.arange(count)
        file["obs/kind"].attrs.update(attributes)
    said = "`y` must have one entry" if count < 3 else "has 3 rows and 4 labels"
    refused(path, tmp_path, said, label_column="kind")


def test_an_error_of_the_system_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is to write a file again because the network was gone."""
    def broken(_: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(import_svmlight, "lines", broken)
    (tmp_path / "a.svm").write_text("1 1:1\n")
    with pytest.raises(OSError) as caught:
        convert(tmp_path / "a.svm", tmp_path / "a.store")
    assert caught.type is OSError and caught.value.errno == errno.EIO


def test_arguments(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz")
    other = tmp_path / "b.npz"
    sp.save_npz(other, marked(20, 5))
    (tmp_path / "a.svm").write_text("1 1:1\n")
    (tmp_path / "a.csv").write_text("1,2\n")
    np.save(tmp_path / "objects.npy", np.array(["a"] * 20, object))
    opened = np.load(path)
    for source, message, options in (
        (tmp_path / "no.npz", "`source` must name files; there is no", {}),
        ([path, marked(2, 2)], "must hold paths or blocks, not both", {}),
        (tmp_path / "a.csv", "`format` must be given", {}),
        (tmp_path / "a.csv", "`format` must be one of", {"format": "csv"}),
        ([path, tmp_path / "a.svm"], "files of one format", {}),
        ([path, other], "must have the same features", {}),
        ([], "at least one file or block", {}),
        (3, "must be a path, a matrix, or an iterable", {}),
        (pd.DataFrame({"a": ["b"]}), "Pass block.drop(columns=['a']), and as y", {}),
        ((pd.DataFrame({"a": [1.0]}), [1]), "Pass [(x, y)], or x and y=y", {}),
        (pd.Series([1.0]), "must yield matrices of shape (rows, features)", {}),
        ({"x": marked(2, 2)}, "for a mapping, list(its values)", {}),
        (opened, "for an AnnData, or another file that is open, its path", {}),
        ((marked(2, 2), (0, 1)), "Pass [(x, y)], or x and y=y", {}),
        ((marked(2, 2), None), "Pass [(x, y)], or x and y=y", {}),
        ((marked(2, 2), [0, 1]), "Pass [(x, y)], or x and y=y", {}),
        ([np.eye(2), np.zeros(2)], "Pass [(x, y)], or x and y=y", {}),
        ([3], "must yield matrices", {}),
        ([anndata.AnnData(np.eye(2))], "must yield matrices", {}),
        ([tf.sparse.eye(2)], "must yield matrices", {}),
        (dask.array.ones((9, 2), chunks=3), "slices of some thousand rows", {}),
        ([(marked(2, 2), 1, 1, 1)], "a tuple of 4", {}),
        (marked(3, 3), "`layer` is an option of files", {"layer": "x"}),
        (path, "`layer` is an option of anndata files", {"layer": "x"}),
        (path, "`y` must have one entry for each row", {"y": np.zeros(19)}),
        (path, "20 in all; received 21", {"y": np.zeros(21)}),
        (path, "`y` must have one entry", {"y": 3}),
        (path, "`y` must hold numbers", {"y": np.array([{}] * 20)}),
        (path, "`y` must be known for each row; row 1, counted from 0, has None, "
         "and 9 more have none. Remove such rows", {"y": pd.Series(["a", None] * 10)}),
        (path, "`y` must be an array, a .npy file, a text", {"y": "no.npy"}),
        (path, "`sample_weight` must hold numbers", {"sample_weight": ["a"] * 20}),
        (path, "`sample_weight` must have one", {"sample_weight": np.zeros(3)}),
        (path, "20 in all; received 21", {"sample_weight": np.zeros(21)}),
        (path, "a.csv cannot be read: it has several columns: ['1', '2']. Name one of",
         {"y": tmp_path / "a.csv"}),
        (path, "an archive of several", {"y": path}),
        (path, "texts with .astype(str)", {"y": tmp_path / "objects.npy"}),
        (path, "`dtype` must be one of", {"dtype": "complex64"}),
        (path, "bool cannot hold", {"dtype": "bool", "y": np.zeros(20)}),
        (path, "`feature_names` must have 6", {"feature_names": ["a"]}),
    ):
        refused(source, tmp_path, message, **options)
    opened.close()


def test_an_existing_store_is_kept_and_seen_before_the_work(tmp_path: Path) -> None:
    def blocks() -> Any:
        yield marked(3, 3)
        raise RuntimeError("the source failed")

    convert(marked(9, 3), tmp_path / "a.store").close()
    (tmp_path / "a.svm").write_text("damaged")
    with pytest.raises(FileExistsError, match="exists"):
        convert(tmp_path / "a.svm", tmp_path / "a.store")
    with pytest.raises(RuntimeError, match="the source failed"):
        convert(blocks(), tmp_path / "a.store", overwrite=True)
    assert same(open_store(tmp_path / "a.store")[:], marked(9, 3))
    assert sorted(os.listdir(tmp_path)) == ["a.store", "a.svm"]
    with pytest.raises(OSError, match="existing directory"):
        convert(tmp_path / "a.svm", tmp_path / "nowhere" / "a.store")


@pytest.mark.parametrize("module", ["sklearn", "zarr"])
def test_a_missing_package_is_named_with_its_extra(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    name, extra = {"sklearn": ("a.svm", "text"), "zarr": ("a.zarr", "anndata")}[module]
    (tmp_path / name).mkdir() if module == "zarr" else (tmp_path / name).touch()
    with pytest.raises(ImportError, match=re.escape(f'".[{extra}]"')):
        convert(tmp_path / name, tmp_path / "a.store")


CONVERT = """
    import sys
    from sequence_loader import convert
    from sequence_loader.importers import svmlight as import_svmlight
    print("ready", flush=True)
    convert(sys.argv[1], sys.argv[2], progress=False)
"""


@pytest.mark.parametrize("kind", ["csc", pytest.param("csr", marks=pytest.mark.long)])
def test_killed_in_the_middle(kind: str, tmp_path: Path) -> None:
    source, path = tmp_path / "a.npz", tmp_path / "a.store"
    rng = np.random.default_rng(0)
    matrix = sp.random(100_000, 500, density=0.1, format=kind, random_state=rng)
    sp.save_npz(source, matrix, compressed=False)
    killed = 0
    for moment in np.linspace(0.01, 0.4, 4):
        process = start_python(CONVERT, source, path)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=HUNG_SECONDS)
        left = leftovers(path)
        if path.exists():  # it was faster than us
            open_store(path).verify()
            shutil.rmtree(path)
        elif left:
            killed += 1
        # Temporary files have no names: only what the writer left is there.
        assert set(os.listdir(tmp_path)) == {"a.npz", *(each.name for each in left)}
        if left and killed == 1:
            with pytest.warns(UserWarning, match=f"rm -r '{re.escape(str(left[0]))}'"):
                convert(marked(2, 2), path).close()
            shutil.rmtree(path)
        for each in left:
            shutil.rmtree(each)
    assert killed


PEAK = """
    import re, sys, threading
    import numpy as np
    from sequence_loader import convert
    from sequence_loader.importers import svmlight as import_svmlight

    def private():
        text = open("/proc/self/status").read()
        return int(re.search(r"RssAnon:\\\\s+(\\\\d+)", text)[1]) / 1024

    small, large, path = sys.argv[1:]
    convert(small, path, overwrite=True).close()  # imports, and pools of memory
    base, peak, done = private(), [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            peak[0] = max(peak[0], private())

    watcher = threading.Thread(target=watch)
    watcher.start()
    convert(large, path, overwrite=True).close()
    done.set()
    watcher.join()
    print(peak[0] - base)
""".replace("\\\\", "\\")


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("csc.npz", 160),
        pytest.param("dense.zarr", 130, marks=pytest.mark.long),
        pytest.param("a.svm", 100, marks=pytest.mark.long),
        pytest.param("csr.npz", 80, marks=pytest.mark.long),
        pytest.param("csr.h5ad", 80, marks=pytest.mark.long),
        pytest.param("a.mtx", 160, marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_memory_is_bounded(name: str, limit: int, tmp_path: Path) -> None:
    """What is 200 MB to 600 MB in memory, converted within a fraction of that."""
    small, large = tmp_path / f"small-{name}", tmp_path / f"large-{name}"
    save_large(small, 1)
    save_large(large, {".svm": 12, ".zarr": 20, ".mtx": 20}.get(large.suffix, 34))
    grown = float(run_python(PEAK, small, large, tmp_path / "a.store"))
    assert grown < limit


def save_large(path: Path, blocks: int) -> None:
    """`blocks` times 10,000 rows of 100 values, 12 MB as float64."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.random((10_000, 200)).argsort(axis=1)[:, :100], axis=1)
    indptr = np.arange(0, 10**6 * blocks + 1, 100)
    indices = np.tile(columns.astype(np.int32).ravel(), blocks)
    data = np.ones(10**6 * blocks)
    matrix = sp.csr_matrix((data, indices, indptr), shape=(10_000 * blocks, 200))
    kind = path.name.partition("-")[2].partition(".")[0]
    if path.suffix == ".npz":
        sp.save_npz(path, matrix.asformat(kind), compressed=False)
    elif path.suffix in (".h5ad", ".zarr"):
        made = anndata.AnnData(matrix if kind == "csr" else matrix.toarray())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.write_h5ad(path) if path.suffix == ".h5ad" else made.write_zarr(path)
    elif path.suffix == ".mtx":
        scipy.io.mmwrite(path, matrix.tocsc(), field="integer")
    else:
        row = b" ".join(b"%d:1" % column for column in range(1, 101))
        path.write_bytes(b"\n".join([b"1 " + row] * 10_000 * blocks))


@pytest.mark.parametrize(
    ("y", "names", "said"),
    [
        (["a", "b", "c"], ["a", "b"], "must hold every label .* without .'c'."),
        (["a", "b", "c"], ["a", "b", "c", "a"], "must be different names"),
        ([0, 2, 1], ["a", "b"], "must name each class, of which `y` has 3"),
        ([[0], [2], [1]], ["a", "b"], "must name each class, of which `y` has 3"),
    ],
)
def test_class_names_that_do_not_fit(
    y: Any, names: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"`class_names` {said}"):
        convert(marked(3, 2), tmp_path / "a.store", y=y, class_names=names)
    assert not list(tmp_path.iterdir())
    convert(marked(3, 2), tmp_path / "b.store", y=[[0.5], [9], [1]], class_names=["a"])
    texts = np.array([["a", "b", "a"]] * 3)
    convert(marked(3, 2), tmp_path / "d.store", y=texts, class_names=["a", "b"])
    y = [[2], [0], [1]]
    convert(marked(3, 2), tmp_path / "c.store", y=y, class_names=list("abc"))


def test_a_store_is_converted_in_blocks(tmp_path: Path) -> None:
    store = convert(marked(9, 4), tmp_path / "a.store", y=list("abcabcabc"))
    for source in (store, [store], [(store, store.y)]):
        with pytest.raises(TypeError, match="Pass its rows in blocks: ..store"):
            convert(source, tmp_path / "b.store")
    blocks = ((store[i : i + 4], store.y[i : i + 4]) for i in range(0, len(store), 4))
    other = convert(blocks, tmp_path / "b.store", class_names=store.class_names)
    assert same(other[:], store[:]) and np.array_equal(other.y, store.y)
    assert other.class_names == store.class_names == ("a", "b", "c")


@pytest.mark.parametrize("road", ["writer", "blocks", "y"])
def test_sparse_targets_that_would_be_huge_are_refused_however_they_come(
    road: str, tmp_path: Path
) -> None:
    y = sp.csr_array((1_000, 20_000), dtype=np.float32)  # 80 MB, and 4 kB as it is
    rows = marked(1_000, 3)
    parts = [(rows[i : i + 100], y[i : i + 100]) for i in range(0, 1_000, 100)]
    with pytest.raises(ValueError, match="`y` must not be huge as a dense array; rec"):
        if road == "writer":
            with StoreWriter(tmp_path / "a.store", 3) as writer:
                for block, targets in parts:
                    writer.append(block, y=targets)
        elif road == "blocks":
            convert(parts, tmp_path / "a.store")
        else:
            convert([rows], tmp_path / "a.store", y=y)
    assert not list(tmp_path.iterdir())


def test_the_mend_for_a_csv_works(tmp_path: Path) -> None:
    path = tmp_path / "a.svm"
    path.write_text("1,2,12:30\n")
    with pytest.raises(ValueError, match="it looks like csv. Pass arrays from Python"):
        convert(path, tmp_path / "a.store")
    path.write_text("1,0.5,2\n0,1.5,3\n")
    with pytest.raises(ValueError) as caught:
        convert(path, tmp_path / "a.store")
    found = re.search(r"Pass arrays from Python: (.*)\.$", str(caught.value))
    assert found is not None
    blocks = eval(found[1], {"pandas": pd, "path": path})
    store = convert(blocks, tmp_path / "a.store")
    assert store[:].toarray().tolist() == [[1, 0.5, 2], [0, 1.5, 3]]

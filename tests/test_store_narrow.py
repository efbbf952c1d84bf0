"""Values kept in the fewest bytes are those that were written, to the last bit."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from store_data import marked, rows_of, same, small_pieces, written
from test_store_damage import opened_and_verified, seal

from sequence_loader import SparseBatchSequence
from sequence_loader.cli.main import main
from sequence_loader.importers.convert import convert
from sequence_loader.store import survey as surveying
from sequence_loader.store.array_file import ArrayFile
from sequence_loader.store.dtypes import DTYPES, dtype_named
from sequence_loader.store.format import StoreError
from sequence_loader.store.opening import open_store
from sequence_loader.store.survey import survey
from sequence_loader.store.writer import StoreWriter

BOUNDS = {
    name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32")
}
EDGES = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, 0.1, 2.0, 127, 128, 255, 256, -128, -129, 32767),
    *(32768, 65504, 65505, 65535, 65536, -32768, -32769, 2**24 + 1, 2**31, -(2**31)),
    *(2**32 - 1, 2**32, 2**53 - 1, 1e300, math.inf, -math.inf, math.nan),
    *(5.960464477539063e-08, 1e-45, 5e-324, 6.1e-05),  # subnormal, in some types
]
PALETTES = [
    [1], [0, 1], [1, 255], [-1, 1], [200, -1], [1, 256], [-300, 7], [0.5, 1],
    [60001, 1], [-0.0, 1], [70_000, 1], [-70_000, 1], [2**24 + 1, 1], [0.1, 1],
    [math.inf, 2], EDGES,
]  # fmt: skip


def kept(path: Path) -> tuple[str | None, str]:
    """The type in ``data.npy``, and the one that the values are read as."""
    content = json.loads((path / "manifest.json").read_text())
    stored = content["arrays"].get("data", {"dtype": None})["dtype"]
    assert (path / "data.npy").exists() == (stored is not None)
    assert (content["version"] == 1) == ("dtype" not in content)
    return stored, content.get("dtype", stored)


def narrowest(values: Any) -> str | None:
    """What numbers without NaN can be kept in, told one by one with Python's own."""
    dtype = values.dtype
    numbers = [v.item() if dtype.name != "bfloat16" else float(v) for v in values]
    if not numbers:
        return str(dtype.name)
    if all(v == 1 for v in numbers):
        return None
    whole = [
        float(v).is_integer() and math.copysign(1, v) == (-1 if v < 0 else 1)
        for v in numbers
    ]
    for name in ("uint8", "int8", "uint16", "int16", "float16", "uint32", "int32",
                 "float32"):  # fmt: skip
        if np.dtype(name).itemsize >= dtype.itemsize or dtype.kind == "b":
            continue
        if name.startswith("float"):
            code = "e" if name == "float16" else "f"
            fits = dtype.kind not in "iu" and all(_packs(v, code) for v in numbers)
        else:
            low, high = BOUNDS[name]
            fits = all(whole) and all(low <= v <= high for v in numbers)
            fits &= dtype.kind != "u" or name.startswith("u")
        if fits:
            return name
    return str(dtype.name)


def _packs(value: float, code: str) -> bool:
    try:
        return struct.unpack(code, struct.pack(code, value))[0] == value
    except OverflowError:
        return False


@st.composite
def narrow_matrices(draw: st.DrawFn, dtype: Any = None) -> Any:
    """CSR rows of any dtype, whose blocks need other types than those before."""
    dtype = dtype_named(draw(st.sampled_from(DTYPES))) if dtype is None else dtype
    features = draw(st.sampled_from([3, 9, 70_000]))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    last = features - 4 if features > 9 else 0
    indices = [last + column for length in lengths for column in range(length)]
    raw = st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize)
    values = np.ones(len(indices), dtype)
    start = 0
    while start < len(values):
        count = draw(st.integers(1, 8))
        for place in range(start, min(start + count, len(values))):
            if draw(st.integers(0, 9)) == 0 and dtype.kind != "b":
                values[place] = np.frombuffer(draw(raw), dtype)[0]
            else:
                palette = draw(st.shared(st.sampled_from(PALETTES), key=f"p{start}"))
                value = draw(st.sampled_from(palette))
                with np.errstate(all="ignore"):
                    if dtype.kind in "iub":
                        value = int(value) if math.isfinite(value) else 1
                        top = 1 if dtype.kind == "b" else np.iinfo(dtype).max
                        value = max(-top if dtype.kind == "i" else 0, min(value, top))
                    values[place] = np.asarray(value).astype(dtype)
        start += count
    columns = np.array(indices, np.int32)
    return sp_like(values, columns, indptr, features)


class sp_like:
    """As a CSR array, of any dtype."""

    def __init__(self, data: Any, indices: Any, indptr: Any, features: int) -> None:
        self.data, self.indices, self.indptr = data, indices, indptr
        self.shape, self.dtype = (len(indptr) - 1, features), data.dtype


def taken(matrix: Any, rows: Any) -> tuple[list[int], bytes]:
    """Columns and bits of some rows, one row after the other."""
    spans = [range(matrix.indptr[row], matrix.indptr[row + 1]) for row in rows]
    places = np.array([place for span in spans for place in span], np.int64)
    return matrix.indices[places].tolist(), matrix.data[places].tobytes()


@settings(max_examples=80)
@given(matrix=narrow_matrices(), data=st.data())
def test_no_bit_is_lost(
    matrix: Any, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("stores") / "a.store"
    small, blocks = data.draw(st.booleans()), data.draw(st.integers(1, 4))
    rows = data.draw(st.lists(st.integers(0, matrix.shape[0] - 1), max_size=20))
    with small_pieces(small):
        written(path, matrix, blocks, dtype="smallest").close()
        opened_and_verified(path)
        stored, read_as = kept(path)
        assert read_as == matrix.dtype.name
        if not np.isnan(matrix.data.astype(np.float64)).any():
            assert stored == narrowest(matrix.data)
        for memory in ("auto", 1):
            with open_store(path, memory) as store:
                assert store.dtype == matrix.dtype and store.nnz == len(matrix.data)
                for chosen in (rows, range(matrix.shape[0])):
                    found = store.read(np.array(chosen, np.int64))
                    assert found.data.dtype == matrix.dtype
                    assert (found.indices.tolist(), found.data.tobytes()) == taken(
                        matrix, chosen
                    )
                    assert found.data.flags.writeable and found.data.flags.c_contiguous


@settings(max_examples=25)
@given(data=st.data())
def test_parts_may_keep_values_in_several_types(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    dtype = dtype_named(data.draw(st.sampled_from(DTYPES)))
    parts = [data.draw(narrow_matrices(dtype)) for _ in range(3)]
    features = max(part.shape[1] for part in parts)
    whole, paths = [], []
    for number, part in enumerate(parts):
        part.shape = part.shape[0], features
        paths.append(folder / f"{number}.store")
        written(paths[-1], part, 1, dtype="smallest").close()
        whole += [taken(part, [row]) for row in range(part.shape[0])]
    rows = data.draw(st.permutations(range(len(whole))))
    expected = [whole[row] for row in rows]
    for memory in ("auto", 1):
        with open_store(paths, memory) as store:
            found = store.read(np.array(rows, np.int64))
            assert found.data.dtype == dtype
            rows_found = [taken(found, [row]) for row in range(len(rows))]
            assert rows_found == expected
            # And merged into one store, block after block.
            merged_to = folder / f"all-{memory}.store"
            with StoreWriter(merged_to, features, "smallest") as writer:
                for row in range(len(rows)):
                    writer.append(found.cut(row, row + 1, copy=False))
    with open_store(merged_to) as store:
        merged = store.read(np.arange(len(rows)))
        assert [taken(merged, [row]) for row in range(len(rows))] == expected
        assert store.dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float64", 0.1), ("float64", 1.5), ("float32", 1.5), ("int64", 3)],
)
def test_a_part_of_ones_beside_one_of_other_values(
    dtype: str, value: float, tmp_path: Path
) -> None:
    ones = sp.csr_array(np.eye(3, 4, dtype=dtype))
    others = sp.csr_array(np.full((2, 4), value, dtype))
    paths = [tmp_path / "0.store", tmp_path / "1.store"]
    for path, part in zip(paths, (ones, others)):
        written(path, part, dtype="smallest").close()
    assert kept(paths[0])[0] != kept(paths[1])[0]
    for memory in ("auto", 1):
        with open_store(paths, memory) as store:
            found = store.take([4, 0, 3, 2])
            expected = sp.vstack([ones, others]).tocsr()[[4, 0, 3, 2]]
            assert found.dtype == dtype
            assert found.toarray().tolist() == expected.toarray().tolist()


def test_where_nothing_is_narrower_older_releases_can_read_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    matrix = sp.random(50, 30, 0.2, "csr", dtype=np.float32, random_state=random)
    for name, dtype in (("a", "float32"), ("b", "smallest")):
        written(tmp_path / name, matrix, dtype=dtype).close()
    for file in os.listdir(tmp_path / "a"):
        content = [(tmp_path / name / file).read_bytes() for name in "ab"]
        assert content[0] == content[1]
    for empty in (np.zeros((0, 3), np.float64), np.zeros((2, 3), np.float64)):
        with StoreWriter(tmp_path / "c", 3, "smallest", overwrite=True) as writer:
            writer.append(empty)
        assert kept(tmp_path / "c") == (["float32", "float64"][len(empty) // 2],) * 2
        opened_and_verified(tmp_path / "c")


@pytest.mark.parametrize(
    ("dtype", "value", "golden"),
    [
        ("float32", 0.5, "7456f3eda787"),
        ("int16", 3, "08d7446bd673"),
        ("smallest", 3, "3506060a9c74"),
        ("smallest", 1, "b9a0cb84b7cd"),
    ],
)
def test_the_bytes_of_both_formats_are_frozen(
    dtype: str, value: float, golden: str, tmp_path: Path
) -> None:
    """Stores that exist must be read for ever: a change is another version."""
    with StoreWriter(tmp_path / "a", 3, dtype, class_names=["no", "yes"]) as writer:
        writer.append(np.diag(np.full(3, value, np.float32)), y=np.arange(3) % 2)
    content = hashlib.sha256()
    for name in sorted(os.listdir(tmp_path / "a")):
        content.update(name.encode() + (tmp_path / "a" / name).read_bytes())
    assert content.hexdigest()[:12] == golden


def test_two_and_three_bytes_a_nonzero(tmp_path: Path) -> None:
    counts = marked(40, 6)
    counts.data %= 200
    for value, size in ((counts, 3), (counts != 0, 2)):
        for dtype in (np.float32, np.int64):
            matrix = value.astype(dtype)
            with StoreWriter(tmp_path / "a", 6, "smallest", overwrite=True) as writer:
                writer.append(matrix)
            with open_store(tmp_path / "a") as store:
                indptr = 8 * 41
                assert store.nbytes == indptr + size * matrix.nnz
                assert same(store[:], matrix)


@pytest.mark.parametrize("output", ["csr", "dense"])
def test_a_sequence_serves_what_a_wide_store_would(
    output: str, tmp_path: Path
) -> None:
    matrix = marked(60, 9)
    matrix.data = matrix.data.astype(np.float32) % 250
    written(tmp_path / "wide", matrix, dtype="float32").close()
    written(tmp_path / "narrow", matrix, dtype="smallest").close()
    assert kept(tmp_path / "narrow") == ("uint8", "float32")
    for dtype in (None, "float32", "float64", "int16", "uint8", "int8"):
        for memory in ("auto", 600):
            batches = []
            for name in ("wide", "narrow"):
                with open_store(tmp_path / name, memory) as store:
                    store = pickle.loads(pickle.dumps(store))
                    sequence = SparseBatchSequence(
                        store,
                        batch_size=8,
                        shuffle="block",
                        seed=3,
                        dtype=dtype,
                        output=output,
                    )
                    try:
                        batches.append([x for x, _ in sequence])
                    except ValueError as error:  # what int8 cannot hold
                        batches.append(str(error).replace(name, "wide"))
            wide, narrow = batches
            assert (dtype == "int8") == isinstance(wide, str)
            if isinstance(wide, str):
                assert narrow == wide
                continue
            for one, two in zip(wide, narrow, strict=True):
                assert one.dtype == two.dtype
                assert same(one, two) if output == "csr" else (one == two).all()


def test_one_dtype_in_all_blocks(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a", 2, "smallest") as writer:
        assert "dtype='smallest'" in repr(writer)
        writer.append(np.zeros((0, 2), np.float64))
        writer.append(np.ones((2, 2), np.int16))
        assert "dtype='int16'" in repr(writer)
        with pytest.raises(TypeError, match=r"int16.*received int64.*astype\('int16'"):
            writer.append(np.ones((2, 2), np.int64))
        writer.append(np.full((2, 2), 7, np.int64).astype("int16"))
        writer.append(np.full((2, 2), 9, ">i2"))
    assert kept(tmp_path / "a") == ("uint8", "int16")
    with open_store(tmp_path / "a") as store:
        assert store[:].toarray()[:, 0].tolist() == [1, 1, 7, 7, 9, 9]
    with pytest.raises(TypeError, match="'smalest'"):
        StoreWriter(tmp_path / "b", 2, "smalest")
    with StoreWriter(tmp_path / "b", 2, "smallest") as writer:
        with pytest.raises(TypeError, match="block.*longdouble|block.*float128"):
            writer.append(np.ones((1, 2), np.longdouble))


def test_convert_keeps_counts_in_a_byte(tmp_path: Path) -> None:
    counts = marked(40, 6)
    counts.data %= 200
    sp.save_npz(tmp_path / "a.npz", sp.csr_matrix(counts))
    sp.save_npz(tmp_path / "b.npz", sp.csr_matrix(counts.astype(np.int64)))
    whole = sp.vstack([counts, counts], format="csr").astype(np.float64)
    for name, files, options, dtype in (
        ("one", ["a"], {}, "float32"),
        ("two", ["a", "b"], {}, "float64"),
        ("ids", ["b"], {}, "int64"),
        ("as", ["b"], {"like": tmp_path / "one"}, "float32"),
    ):
        paths = [tmp_path / f"{file}.npz" for file in files]
        with convert(paths, tmp_path / name, dtype="smallest", **options) as store:
            assert kept(tmp_path / name) == ("uint8", dtype)
            expected = sp.csr_array(whole[: len(store)].astype(dtype))
            assert same(store[:], expected)
    halves = [counts[:20], counts[20:].astype(np.float64) / 3]
    with pytest.raises(TypeError, match="dtype of the first block, float32"):
        convert(iter(halves), tmp_path / "c", dtype="smallest")
    assert not (tmp_path / "c").exists()


def test_stores_are_written_again_smaller_and_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = marked(40, 6)
    counts.data %= 200
    names = {"feature_names": list("abcdef"), "class_names": ["no", "yes"]}
    for part, (start, stop) in enumerate(((0, 15), (15, 15), (15, 40))):
        about = {"cells": [f"c{row}" for row in range(start, stop)], "of": "mice"}
        with StoreWriter(tmp_path / f"{part}.store", 6, **names, metadata=about) as one:
            rows = rows_of(counts, start, stop)
            one.append(rows, np.arange(start, stop) % 2, np.arange(start, stop) / 2)
    parts = [str(tmp_path / f"{part}.store") for part in range(3)]
    whole = str(tmp_path / "whole.store")
    assert main(["convert", *parts, whole, "--dtype", "smallest"]) == 0
    assert kept(Path(whole)) == ("uint8", "float32")
    with open_store(whole) as store:
        assert same(store[:], counts)
        assert store.y.tolist() == (np.arange(40) % 2).tolist()
        assert store.sample_weight.tolist() == (np.arange(40) / 2).tolist()
        assert store.feature_names == tuple("abcdef")
        assert store.class_names == ("no", "yes")
        assert store.metadata == {"cells": [f"c{n}" for n in range(40)], "of": "mice"}
        saved = store.nbytes
    # What `info` says of the parts is what came of it.
    capsys.readouterr()
    with open_store(parts) as store:
        found = survey(store)
        assert (found.kept, found.narrowest) == (["float32"], "uint8")
        assert found.rows == 40 and found.values == counts.nnz
        assert found.nbytes == saved + 16  # two indptr more
        lengths = np.diff(counts.indptr)
        for first, last, count in found.bars:
            assert count == ((lengths >= first) & (lengths <= last)).sum()
        assert sum(count for _, _, count in found.bars) == 40
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(surveying, "SURVEYED_ROWS", 20)
            patch.setattr(surveying, "SURVEYED_VALUES", 10)
            patch.setattr(surveying, "SAMPLED_RUNS", 5)
            some = survey(store)
            assert some.rows == 20 and 0 < some.values < counts.nnz
    assert main(["info", *parts]) == 0
    out = capsys.readouterr().out
    assert f"all {counts.nnz} were looked at; kept in uint8 the store takes" in out
    assert main(["info", whole]) == 0
    assert "nothing to save" in capsys.readouterr().out
    # In its place, with a vectorizer beside the rows.
    (tmp_path / "0.store" / "vectorizer.json").write_text("{}")
    with convert(parts[0], parts[0], dtype="smallest", overwrite=True) as store:
        assert same(store[:], rows_of(counts, 0, 15).to_scipy())
    assert kept(Path(parts[0])) == ("uint8", "float32")
    assert (tmp_path / "0.store" / "vectorizer.json").read_text() == "{}"
    with pytest.warns(UserWarning, match="vectorizer beside the rows of .*0.store"):
        convert(parts, tmp_path / "three").close()
    with pytest.raises(ValueError, match="class_names.*must be those of the store"):
        convert(parts, tmp_path / "other", class_names=["yes", "no"])
    written(tmp_path / "unlike", marked(3, 6)).close()
    with pytest.raises(StoreError, match="parts must be alike"):
        convert([whole, str(tmp_path / "unlike")], tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("values", "narrowest"), [([], "float32"), ([1], "nothing"), ([0.1], "float32")]
)
def test_a_survey_of_what_is_not_to_be_narrowed(
    values: list[float], narrowest: str, tmp_path: Path
) -> None:
    block = np.array(values or [0], np.float32)[:, np.newaxis]
    written(tmp_path / "a", sp.csr_array(block), blocks=1).close()
    with open_store(tmp_path / "a") as store:
        found = survey(store)
        assert found.narrowest == narrowest
        assert (found.nbytes < store.nbytes) == (narrowest == "nothing")
    with StoreWriter(tmp_path / "b", 3):
        pass
    with open_store(tmp_path / "b") as store:
        assert survey(store).bars == []


def test_a_disk_that_fills_while_values_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ArrayFile.write

    def full(file: Any, values: Any) -> None:
        if file.dtype == np.uint16 and file.tail == () and len(values) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, values)

    writer = StoreWriter(tmp_path / "a", 70_000, "smallest")
    block = sp.csr_array(np.full((1, 4), 5.0))
    block.resize((1, 70_000))
    writer.append(block)
    monkeypatch.setattr(ArrayFile, "write", full)
    with pytest.raises(OSError, match="No space left.*Nothing was"):
        writer.append(block * 100)
    with pytest.raises(ValueError, match="is failed"):
        writer.append(block)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [1, 200])
def test_every_flipped_byte_is_found(value: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    matrix = (marked(12, 5) != 0).astype(np.float32) * np.float32(value)
    written(path, matrix, dtype="smallest").close()
    for name in os.listdir(path):
        whole = (path / name).read_bytes()
        for position in range(0, len(whole), 1 if len(whole) < 300 else 7):
            changed = bytearray(whole)
            changed[position] ^= 1
            (path / name).write_bytes(changed)
            with pytest.raises(StoreError):
                opened_and_verified(path)
        for content in (whole[:-1], whole + b"\0"):
            (path / name).write_bytes(content)
            with pytest.raises(StoreError):
                open_store(path)
        (path / name).unlink()
        with pytest.raises(StoreError, match=name):
            open_store(path)
        (path / name).write_bytes(whole)
    opened_and_verified(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "contradicts itself"),
        ({"version": 2}, "data.npy is there, and the manifest says that all values"),
        ({"version": 3}, "version 3 of the format; this release reads versions 1 and"),
        ({"dtype": "uint8"}, "`data` is uint8, which is not kept for uint8"),
        ({"dtype": "bool"}, "`data` is uint8, which is not kept for bool"),
        ({"dtype": "complex64"}, "dtype 'complex64' is not one of"),
        ({"dtype": None}, "dtype None is not one of"),
        ({"data": "uint16"}, "data.npy has .* bytes where the manifest says"),
        ({"data": "int8"}, "data.npy has a header that is not what the manifest says"),
        ({"data": "float32"}, "`data` is float32, which is not kept for float32"),
    ],
)
def test_a_sealed_manifest_that_lies(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    matrix = marked(12, 5)
    written(path, matrix, dtype="smallest").close()
    assert kept(path) == ("uint8", "float32")
    content = json.loads((path / "manifest.json").read_text())
    if "data" in change:
        content["arrays"]["data"]["dtype"] = change["data"]
    else:
        content |= change
    if "version" in change:  # as if all values were 1
        del content["arrays"]["data"]
    seal(path, content)
    with pytest.raises(StoreError, match=message):
        open_store(path)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "ones"])
def test_a_file_cut_while_open_is_an_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    matrix = marked(300, 40)
    if kind != "uint16":
        matrix.data = matrix.data % 200 if kind == "uint8" else matrix.data * 0 + 1
    written(path, matrix, dtype="smallest").close()
    for name in ("indptr", "indices", "data"):
        file = path / f"{name}.npy"
        if not file.exists():
            continue
        whole = file.read_bytes()
        for memory in ("auto", 1, 10_000):
            with open_store(path, memory) as store:
                assert same(store[:10], rows_of(matrix, 0, 10).to_scipy())
                os.truncate(file, len(whole) - 1)
                sequence = SparseBatchSequence(store, batch_size=10, output="csr")
                with pytest.raises(StoreError, match=f"{name}.npy has become shorter"):
                    list(sequence)
            file.write_bytes(whole)


def test_bfloat16_is_kept_in_a_byte_where_it_can_be(tmp_path: Path) -> None:
    values = np.array([[1, 2, 256 - 1]], np.float32).astype(ml_dtypes.bfloat16)
    with StoreWriter(tmp_path / "a", 3, "smallest") as writer:
        writer.append(values)
    assert kept(tmp_path / "a") == ("uint8", "bfloat16")
    with open_store(tmp_path / "a") as store:
        assert store.read(np.arange(1)).data.tobytes() == values.tobytes()

"""Damage is refused when a store is opened, or found by `verify`, or harmless."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from store_data import (
    marked,
    rows_of,
    same,
    seal,
    small_pieces,
    start_python,
    written,
)
from watching import HUNG_SECONDS

from sequence_loader import SparseBatchSequence
from sequence_loader.store.format import ARRAYS, Manifest, StoreError, digest_of
from sequence_loader.store.opening import open_store
from sequence_loader.store.writer import StoreWriter

FILES = ["manifest.json", *(f"{name}.npy" for name in (
    "indptr", "indices", "data", "y", "sample_weight"))]  # fmt: skip


def damaged_store(folder: Path, dtype: str = "float32") -> Path:
    path = folder / "a.store"
    matrix = marked(30, 7)
    with StoreWriter(
        path, 7, dtype, class_names=["a", "b"], metadata={"a": 1}
    ) as writer:
        writer.append(matrix, y=np.arange(30), sample_weight=np.ones(30))
    return path


def opened_and_verified(path: Path) -> None:
    with open_store(path) as store:
        store.verify()


def seal_array(path: Path, name: str, **change: object) -> None:
    """Changes what the manifest says of an array."""
    content = json.loads((path / "manifest.json").read_text())
    content["arrays"][name] |= change
    seal(path, content)


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_byte_is_found(name: str, tmp_path: Path) -> None:
    path = damaged_store(tmp_path)
    opened_and_verified(path)
    whole = (path / name).read_bytes()
    step = 1 if len(whole) < 1500 else 3
    for position in range(0, len(whole), step):
        for flip in (0x01, 0x80):
            changed = bytearray(whole)
            changed[position] ^= flip
            (path / name).write_bytes(changed)
            with pytest.raises(StoreError):
                opened_and_verified(path)
    (path / name).write_bytes(whole)
    opened_and_verified(path)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_more_or_less_is_refused(name: str, tmp_path: Path) -> None:
    path = damaged_store(tmp_path)
    whole = (path / name).read_bytes()
    for content in (whole[:-1], whole + b" ", whole[: len(whole) // 2], b""):
        (path / name).write_bytes(content)
        with pytest.raises(StoreError, match=name):
            open_store(path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    path = damaged_store(tmp_path)
    (path / name).unlink()
    with pytest.raises(StoreError, match=name):
        open_store(path)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is missing.*StoreWriter"):
        open_store(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="is a file"):
        open_store(tmp_path / "file")
    with pytest.raises(StoreError, match="holds no manifest.json"):
        open_store(tmp_path)
    for text in ("[]", "{}", '{"format": "zarr"}', "null"):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(StoreError, match="not the manifest of a store"):
            open_store(tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = damaged_store(tmp_path)
    manifest = path / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "version": 3}))
    with pytest.raises(StoreError, match="version 3.*reads versions 1 and 2"):
        open_store(path)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [31, 7]}, {"shape": [30]}, {"shape": [-30, 7]}, {"shape": None},
        {"shape": [30, 2**40]}, {"shape": [30, 6.0]}, {"nnz": True}, {"nnz": 2**62},
        {"arrays": {}}, {"arrays": {"../../x": {}}}, {"sorted": False},
        {"feature_names": ["a"]}, {"feature_names": [1] * 7}, {"class_names": 3},
        {"metadata": None}, {"block_bytes": 1},
    ],
)  # fmt: skip
def test_a_sealed_manifest_that_contradicts_itself(
    change: dict[str, object], tmp_path: Path
) -> None:
    path = damaged_store(tmp_path)
    seal(path, json.loads((path / "manifest.json").read_text()) | change)
    with pytest.raises(StoreError, match="contradicts itself"):
        open_store(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [(name, {"digests": []}, f"`{name}` has 0 digests") for name in ARRAYS]
    + [("data", {"digests": ["0" * 32] * 2}, "`data` has 2 digests")]
    + [("indptr", {"dtype": "int32"}, "`indptr` is not int64")],
)
def test_a_sealed_manifest_with_an_array_that_cannot_be(
    name: str, change: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = damaged_store(tmp_path)
    seal_array(path, name, **change)
    with pytest.raises(StoreError, match=f"contradicts itself: .*{message}"):
        open_store(path)


def forged(path: Path, name: str, values: np.ndarray) -> None:
    """Changes a file behind the manifest's back, its size unchanged."""
    file = path / f"{name}.npy"
    header = file.stat().st_size - values.nbytes
    file.write_bytes(file.read_bytes()[:header] + values.tobytes())


@pytest.mark.parametrize("memory", ["auto", 1])
@pytest.mark.parametrize(
    ("dtype", "column"),
    [("float32", 7), ("float32", 2**16 - 1)]  # uint16 indices; the others are int32
    + [("int16", column) for column in (7, -1, 2**31 - 1, -(2**31))],
)
def test_a_column_out_of_range_goes_nowhere(
    dtype: str, column: int, memory: int | str, tmp_path: Path
) -> None:
    path = damaged_store(tmp_path, dtype)
    matrix = marked(30, 7).astype(dtype)
    indices = np.load(path / "indices.npy")
    indices[matrix.indptr[20]] = column
    forged(path, "indices", indices)
    store = open_store(path, memory=memory)
    assert same(store[:20], rows_of(matrix, 0, 20).to_scipy())
    with pytest.raises(ValueError, match="row 20 holds"):
        store.read(np.array([3, 20]))
    with pytest.raises(StoreError, match="row 20 holds"):
        store.verify()


@pytest.mark.parametrize("memory", ["auto", 1])
def test_a_damaged_indptr_goes_nowhere(memory: int | str, tmp_path: Path) -> None:
    path = damaged_store(tmp_path)
    indptr = np.load(path / "indptr.npy")
    for value in (-1, 2**62, 2**31, -(2**63)):
        wrong = indptr.copy()
        wrong[9] = value
        forged(path, "indptr", wrong)
        store = open_store(path, memory=memory)
        for rows in ([8], [9], [3, 9, 4]):
            with pytest.raises(ValueError, match="indptr"):
                store.read(np.array(rows))
        with pytest.raises(StoreError, match="indptr"):
            store.verify()
    wrong = indptr.copy()
    wrong[-1] += 1
    forged(path, "indptr", wrong)
    with pytest.raises(StoreError, match="must begin with 0 and end with"):
        open_store(path)


@pytest.mark.parametrize("memory", ["auto", 1, 12_000])
@pytest.mark.parametrize("swapped", [True, False])
def test_columns_that_do_not_ascend_are_damage(
    swapped: bool, memory: int | str, tmp_path: Path
) -> None:
    path, matrix = tmp_path / "a.store", marked(300, 40)
    written(path, matrix).close()
    indptr, indices = (np.load(path / f"{n}.npy") for n in ("indptr", "indices"))
    row = 150
    two = slice(indptr[row + 1] - 2, indptr[row + 1])
    indices[two] = indices[two][::-1] if swapped else indices[two][0]
    forged(path, "indices", indices)
    store = open_store(path, memory=memory)
    with pytest.raises(StoreError, match=f"do not ascend.*those of row {row}. Restore"):
        store.take([row - 1, row])
    sequence = SparseBatchSequence(store, batch_size=4, output="csr")
    served = []
    with pytest.raises(StoreError, match=f"those of row {row}. Restore"):
        served.extend(batch[0] for batch in sequence)
    assert len(served) == row // 4 or memory == "auto"
    if memory == 12_000:
        assert store._reader()._windows[0].take(np.arange(144, 148)) is not None
    kept = [i for i in range(300) if i != row]
    assert same(store.take(kept), matrix[kept])


def test_a_column_of_labels_that_was_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    with StoreWriter(path, 3) as writer:
        writer.append(np.ones((5000, 3)), y=np.arange(5000))
    store = open_store(path)
    y = store.y
    os.truncate(path / "y.npy", 200)
    for call in (lambda: store.y, lambda: y[3000:], lambda: y.read(np.arange(9))):
        with pytest.raises(StoreError, match="has become shorter"):
            call()


@pytest.mark.parametrize("memory", ["auto", 1])
def test_an_indptr_that_decreases_between_its_ends_goes_nowhere(
    memory: int | str, tmp_path: Path
) -> None:
    path = tmp_path / "a.store"
    matrix = marked(300, 40)
    written(path, matrix).close()
    indptr = np.load(path / "indptr.npy")
    indptr[9] = indptr[30]
    forged(path, "indptr", indptr)
    with open_store(path, memory) as store:
        with pytest.raises(StoreError, match=r"indptr.* at rows? \[?9\b"):
            store.take([*range(100, 200), 9])
        assert same(store[100:200], matrix[100:200])


@pytest.mark.parametrize(
    ("name", "message"),
    [("indices", "` has columns that do not ascend"), ("indptr", ": it decreases")],
)
def test_digests_that_fit_do_not_make_a_matrix(
    name: str, message: str, tmp_path: Path
) -> None:
    path = damaged_store(tmp_path)
    values = np.load(path / f"{name}.npy")
    longest = int(np.diff(marked(30, 7).indptr).argmax())
    place = int(marked(30, 7).indptr[longest]) if name == "indices" else longest
    seal_array(path, name, digests=[digest_of(values.tobytes())])
    opened_and_verified(path)  # it is not the seal that is refused
    values[[place, place + 1]] = values[[place + 1, place]]
    forged(path, name, values)
    seal_array(path, name, digests=[digest_of(values.tobytes())])
    with pytest.raises(StoreError, match=f"{name}.npy{message}"):
        opened_and_verified(path)


@pytest.mark.parametrize("memory", ["auto", 1, 30_000])
@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_cut_while_open_is_an_error_not_a_crash(
    name: str, memory: int | str, tmp_path: Path
) -> None:
    # A map of a cut file ends the process with SIGBUS when it is touched.
    path = tmp_path / "a.store"
    with StoreWriter(path, 100) as writer:
        writer.append(marked(3000, 100), y=np.ones(3000), sample_weight=np.ones(3000))
    code = """
        import os, sys, numpy as np
        from sequence_loader.batches.reader import BatchReader
        from sequence_loader.order.plan import BatchPlan
        from sequence_loader.order.samplers import BlockShuffleSampler
        from sequence_loader.store.format import StoreError
        from sequence_loader.store.opening import open_store
        memory = sys.argv[3]
        store = open_store(sys.argv[1], memory if memory == "auto" else int(memory))
        reader = BatchReader(store)
        plan = BatchPlan(3000, BlockShuffleSampler(0), 100)
        reader.look_ahead(plan, 0, 0)
        reader.read(plan.batch(0, 0))
        os.truncate(f"{sys.argv[1]}/{sys.argv[2]}.npy", 200)
        errors = []
        for index in range(1, plan.num_batches):
            try:
                reader.look_ahead(plan, 0, index)
                reader.read(plan.batch(0, index))
            except StoreError as error:
                errors.append(str(error))
        print(len(errors), errors[-1])
        try:
            store.verify(progress=False)
        except StoreError as error:
            print(error)
    """
    process = start_python(code, path, name.removesuffix(".npy"), memory)
    out, err = process.communicate(timeout=HUNG_SECONDS)
    assert process.returncode == 0, err
    batch, verified = out.splitlines()
    assert f"{name} has become shorter" in batch
    assert int(batch.split()[0]) >= 20  # a window that had been read may be served
    assert "has become shorter" in verified


@pytest.mark.parametrize("memory", ["auto", 1, 30_000])
@pytest.mark.parametrize("name", ["indptr", "indices", "data"])
def test_a_file_cut_by_a_byte_while_open_is_not_read_as_zeros(
    name: str, memory: int | str, tmp_path: Path
) -> None:
    # A map goes on after the end of the file, in the page that it ends in.
    path = tmp_path / "a.store"
    written(path, marked(300, 40)).close()
    with open_store(path, memory) as store:
        os.truncate(path / f"{name}.npy", (path / f"{name}.npy").stat().st_size - 1)
        sequence = SparseBatchSequence(store, batch_size=10, output="csr")
        with pytest.raises(StoreError, match=f"{name}.npy has become shorter"):
            list(sequence)


@pytest.mark.parametrize("memory", ["auto", 1, 30_000])
@pytest.mark.parametrize("name", ["indptr", "indices"])
def test_damage_that_training_finds_is_told_as_damage_of_a_store(
    name: str, memory: int | str, tmp_path: Path
) -> None:
    path = tmp_path / "a.store"
    matrix = marked(300, 40)
    written(path, matrix).close()
    array = np.load(path / f"{name}.npy", mmap_mode="r+")
    array[len(array) // 2] = 2**15
    array.flush()
    with open_store(path, memory) as store:
        sequence = SparseBatchSequence(store, batch_size=300, output="csr")
        with pytest.raises(StoreError, match="[Rr]estore the file") as caught:
            sequence[0]
    assert str(path) in str(caught.value)
    assert "csr_array(coo)" not in str(caught.value)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), StoreError)


def test_verify_names_every_damaged_block(tmp_path: Path) -> None:
    path = damaged_store(tmp_path)
    for name in ("y", "data", "sample_weight"):
        content = bytearray((path / f"{name}.npy").read_bytes())
        content[-1] ^= 1
        (path / f"{name}.npy").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        opened_and_verified(path)
    for name in ("y", "data", "sample_weight"):
        assert f"{name}.npy: bytes 128 to" in str(caught.value)


@pytest.mark.parametrize("name", FILES[2:])  # of indptr the end is seen at opening
def test_verify_reads_every_block(name: str, tmp_path: Path) -> None:
    with small_pieces():
        path = damaged_store(tmp_path)
        opened_and_verified(path)
        content = bytearray((path / name).read_bytes())
        last = (len(content) - 1) // 16 * 16
        assert last > 144
        for place in (144, -1):
            content[place] ^= 1
        (path / name).write_bytes(content)
        with pytest.raises(StoreError) as caught:
            opened_and_verified(path)
    for start, stop in ((144, 160), (last, len(content))):
        assert f"{name}: bytes {start} to {stop} are not" in str(caught.value)


def test_verify_reads_every_store(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.store", "b.store")]
    for path in paths:
        written(path, marked(30, 7)).close()
    with open_store(paths) as store:
        store.verify()
        content = bytearray((paths[1] / "data.npy").read_bytes())
        content[-1] ^= 1
        (paths[1] / "data.npy").write_bytes(content)
        with pytest.raises(StoreError, match="b.store/data.npy: bytes 128 to"):
            store.verify()


def test_a_store_copied_elsewhere_is_whole(tmp_path: Path) -> None:
    path = damaged_store(tmp_path)
    shutil.copytree(path, tmp_path / "b.store")
    opened_and_verified(tmp_path / "b.store")


def test_manifest_text_is_stable(tmp_path: Path) -> None:
    text = (damaged_store(tmp_path) / "manifest.json").read_bytes()
    assert Manifest.from_bytes(text, tmp_path).to_bytes() == text
    assert os.listdir(tmp_path) == ["a.store"]

"""AnnData files of every age: names go with their rows, and raw with its genes."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_data import marked, same

from sequence_loader import SparseStore, convert

ZARR_3 = not zarr.__version__.startswith("2.")
NOT_CONSOLIDATED = {"use_consolidated": False} if ZARR_3 else {}
KINDS = ["T", "B", "NK", "é", "x y"]


def cells(labels: Any, matrix: Any = None, **parts: Any) -> anndata.AnnData:
    """Cells whose rows are marked, with `labels` in ``obs["kind"]``."""
    matrix = marked(len(labels), 4) if matrix is None else matrix
    obs = pd.DataFrame({"kind": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[f"g{i}" for i in range(matrix.shape[1])])
    return anndata.AnnData(sp.csr_matrix(matrix), obs, var, **parts)


def saved(data: anndata.AnnData, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr's formats, and of text columns
        data.write_h5ad(path) if path.suffix == ".h5ad" else data.write_zarr(path)
    return path


def opened(path: Path) -> Any:
    if path.suffix == ".h5ad":
        return h5py.File(path, "r+")
    return zarr.open_group(str(path), mode="r+", **NOT_CONSOLIDATED)


def closed(path: Path, file: Any) -> Path:
    if path.suffix == ".h5ad":
        file.close()
    return path


def as_before_08(path: Path) -> Path:
    """Gives a file the layout of anndata 0.7, as its own writer leaves it.

    A column of categories is an array of codes, whose attribute `categories` refers to
    an array beside: by a reference of HDF5, by its path in zarr. No array has
    attributes of an encoding.
    """
    file = opened(path)
    for frame in (file["obs"], file["var"]):
        frame.attrs["encoding-version"] = "0.1.0"
        for name in list(frame):
            column = frame[name]
            if hasattr(column, "shape"):
                column.attrs.clear()
                continue
            if "codes" not in column:  # text of pandas 3, which had no mask then
                texts = column["values"][()]
                del frame[name]
                put(frame, name, texts.astype(object))
                continue
            codes, names = column["codes"][()], column["categories"][()]
            if names.dtype.kind not in "biuf":
                names = names.astype(object)
            ordered = bool(column.attrs["ordered"])
            del frame[name]
            frame.require_group("__categories")
            for place, array in ((name, codes), (f"__categories/{name}", names)):
                put(frame, place, array)
            found = frame[f"__categories/{name}"]
            found.attrs["ordered"] = ordered
            is_hdf5 = path.suffix == ".h5ad"
            where = found.ref if is_hdf5 else f"__categories/{name}"
            frame[name].attrs["categories"] = where
    return closed(path, file)


def put(group: Any, name: str, array: Any) -> None:
    array = np.asarray(array)
    if isinstance(group, h5py.Group):
        text = array.dtype.kind == "O"
        group.create_dataset(
            name, data=array, dtype=h5py.string_dtype() if text else array.dtype
        )
    else:
        kind: Any = str if array.dtype.kind == "O" else array.dtype
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            create = group.create_array if ZARR_3 else group.create_dataset
            create(name, shape=array.shape, dtype=kind)[:] = array


def names_of(store: SparseStore) -> list[str]:
    assert store.class_names is not None and store.y is not None
    return [store.class_names[code] for code in store.y.tolist()]


@given(
    suffix=st.sampled_from([".h5ad", ".h5ad", ".h5ad", ".zarr"]),
    files=st.lists(
        st.tuples(
            st.lists(st.sampled_from(KINDS), min_size=1, max_size=5),
            st.permutations([*KINDS, "unused"]),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=2,
    ),
    given_names=st.none() | st.permutations([*KINDS, "more"]),
)
@settings(max_examples=20)
def test_names_go_with_rows_in_files_of_every_age(
    suffix: str, files: Any, given_names: Any, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("files")
    paths, expected = [], []
    for number, (labels, order, ordered, old) in enumerate(files):
        kept = [name for name in order if name in {*labels, "unused"}]
        kinds = pd.Categorical(labels, kept, ordered=ordered)
        path = saved(cells(kinds), folder / f"{number}{suffix}")
        paths.append(as_before_08(path) if old else path)
        expected += labels
    with convert(
        paths, folder / "a.store", label_column="kind", class_names=given_names
    ) as store:
        assert names_of(store) == expected
        if given_names is not None:
            assert store.class_names == tuple(given_names)
        elif len(files) == 1:
            order = [n for n in files[0][1] if n in {*expected, "unused"}]
            assert store.class_names == tuple(order)


@pytest.mark.parametrize(
    ("suffix", "old", "codes"),
    [
        (".h5ad", False, "int8"),
        (".h5ad", True, "int16"),
        (".zarr", False, "int16"),
        (".zarr", True, "int8"),
    ],
)
def test_what_is_missing_is_no_class(
    suffix: str, old: bool, codes: str, tmp_path: Path
) -> None:
    unused = [f"unused {i}" for i in range(0 if codes == "int8" else 200)]
    kinds = pd.Categorical(["T", None, "B", "T"], ["B", *unused, "T"])
    assert kinds.codes.dtype == codes
    path = saved(cells(kinds), tmp_path / f"a{suffix}")
    path = as_before_08(path) if old else path
    for names in (None, ["T", "B"]):
        with pytest.raises(ValueError, match=r"1 missing values in obs\['kind'\].*mis"):
            convert(path, tmp_path / "a.store", label_column="kind", class_names=names)
    store = convert(
        path, tmp_path / "a.store", label_column="kind", missing_labels="zero-weight"
    )
    assert [names_of(store)[row] for row in (0, 2, 3)] == ["T", "B", "T"]
    assert store.sample_weight is not None
    assert store.sample_weight.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("values", "names", "suffix", "old"),
    [
        ([20, 10, 20], ["20", "10", "20"], ".h5ad", False),
        ([20, 10, 20], ["20", "10", "20"], ".zarr", True),
        ([2.5, 1.0, 2.5], ["2.5", "1", "2.5"], ".h5ad", True),
        ([True, False, True], ["True", "False", "True"], ".h5ad", True),
        ([True, False, True], ["True", "False", "True"], ".zarr", False),
    ],
)
def test_categories_that_are_no_text(
    values: list[Any], names: list[str], suffix: str, old: bool, tmp_path: Path
) -> None:
    path = saved(cells(pd.Categorical(values)), tmp_path / f"a{suffix}")
    path = as_before_08(path) if old else path
    store = convert(path, tmp_path / "a.store", label_column="kind")
    assert names_of(store) == names


def test_the_same_numbers_are_one_class_whatever_their_type(tmp_path: Path) -> None:
    first = saved(cells(pd.Categorical([3, 1, 3])), tmp_path / "a.h5ad")
    second = saved(cells(pd.Categorical([1.0, 2.0])), tmp_path / "b.h5ad")
    third = saved(cells(pd.Categorical(["2", "3"])), tmp_path / "c.h5ad")
    store = convert([first, second, third], tmp_path / "a.store", label_column="kind")
    assert names_of(store) == ["3", "1", "3", "1", "2", "2", "3"]
    assert store.class_names == ("1", "3", "2")


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize(
    ("values", "weights"),
    [
        (pd.array([3, None, 1], dtype="Int16"), [3, 0, 1]),
        (pd.array([True, None, False], dtype="boolean"), [1, 0, 0]),
        ([0.5, np.nan, 2], [0.5, 0, 2]),
    ],
)
def test_numbers_that_are_missing(
    suffix: str, values: Any, weights: Any, tmp_path: Path
) -> None:
    path = saved(cells(values), tmp_path / f"a{suffix}")
    with pytest.raises(ValueError, match="1 missing values"):
        convert(path, tmp_path / "a.store", label_column="kind")
    store = convert(
        path, tmp_path / "a.store", label_column="kind", missing_labels="zero-weight"
    )
    assert store.y.tolist() == weights and store.class_names is None
    assert store.sample_weight.tolist() == [1, 0, 1]


def test_text_that_may_be_missing(tmp_path: Path) -> None:
    path = saved(cells(["T", "x", "B"]), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:  # as anndata 0.11 may write it
        del file["obs/kind"]
        group = file.create_group("obs/kind")
        group.attrs["encoding-type"] = "nullable-string-array"
        group.attrs["encoding-version"] = "0.1.0"
        group["values"], group["mask"] = ["T", "x", "B"], [False, True, False]
    store = convert(
        path, tmp_path / "a.store", label_column="kind", missing_labels="zero-weight"
    )
    assert store.class_names == ("B", "T") and store.y.tolist() == [1, 0, 0]
    assert store.sample_weight.tolist() == [1, 0, 1]
    with h5py.File(path, "r+") as file:  # categories of such text
        file.move("obs/kind", "kind")
        group = file.create_group("obs/kind")
        group.attrs["encoding-type"] = "categorical"
        group.attrs["encoding-version"] = "0.2.0"
        group["codes"] = np.array([2, 1, 0], "i1")
        file.move("kind", "obs/kind/categories")
    store = convert(path, tmp_path / "b.store", label_column="kind")
    assert names_of(store) == ["B", "x", "T"]


def test_what_stands_under_a_mask_is_no_class(tmp_path: Path) -> None:
    path = saved(cells(pd.array([7, None, 3], dtype="Int16")), tmp_path / "a.h5ad")
    store = convert(
        path,
        tmp_path / "a.store",
        label_column="kind",
        classes=True,
        missing_labels="zero-weight",
    )
    assert store.class_names == ("3", "7") and store.y.tolist() == [1, 0, 0]


@pytest.mark.parametrize("names", [["T"], ["NK", "T"]])
def test_text_in_bytes_and_attributes_of_other_writers(
    names: list[str], tmp_path: Path
) -> None:
    # A single text of fixed length, and attributes that are bytes or arrays.
    codes = np.array([0, len(names) - 1, 0], "i2")
    path = as_before_08(saved(cells(pd.Categorical(["a"] * 3)), tmp_path / "a.h5ad"))
    with h5py.File(path, "r+") as file:
        del file["obs/kind"], file["obs/__categories/kind"]
        file["obs/kind"] = codes
        file["obs/__categories/kind"] = np.array(names, "S2")
        file["obs/kind"].attrs["categories"] = file["obs/__categories/kind"].ref
        file.move("var/_index", "var/gene")
        file["var"].attrs["_index"] = np.bytes_("gene")
        file["X"].attrs["encoding-type"] = np.array(["csr_matrix"], "S")
    store = convert(path, tmp_path / "a.store", label_column="kind")
    assert names_of(store) == [names[code] for code in codes]
    assert same(store[:], marked(3, 4))
    assert store.feature_names == ("g0", "g1", "g2", "g3")
    with h5py.File(path, "r+") as file:  # as it is where a writer leaves it out
        del file["obs/kind"].attrs["categories"]
    again = convert(path, tmp_path / "b.store", label_column="kind")
    assert names_of(again) == names_of(store)


@pytest.mark.parametrize("names", [["z", "a"], ["z"], [2.5, 1.0]])
def test_categories_in_an_attribute(names: list[Any], tmp_path: Path) -> None:
    """As development versions wrote them in 2019."""
    codes = np.array([0, len(names) - 1, 0], "i1")
    path = as_before_08(saved(cells(pd.Categorical(["a"] * 3)), tmp_path / "a.h5ad"))
    with h5py.File(path, "r+") as file:
        del file["obs/__categories"]
        kind = None if isinstance(names[0], float) else h5py.string_dtype()
        file["obs/kind"].attrs["categories"] = np.array(names, kind)
        file["obs/kind"][:] = codes
    store = convert(path, tmp_path / "a.store", label_column="kind")
    assert names_of(store) == [f"{names[code]}".removesuffix(".0") for code in codes]


def test_codes_of_no_category_are_refused(tmp_path: Path) -> None:
    path = as_before_08(saved(cells(pd.Categorical(["a", "b"])), tmp_path / "a.h5ad"))
    with h5py.File(path, "r+") as file:
        file["obs/kind"][1] = 2
    with pytest.raises(ValueError, match="no array of places in 2 names"):
        convert(path, tmp_path / "a.store", label_column="kind")


@pytest.mark.parametrize("where", ["obs", "var", "X"])
def test_files_of_before_07_name_their_mend(where: str, tmp_path: Path) -> None:
    path = saved(cells(["a", "b"]), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        if where == "X":
            file["X"].attrs["h5sparse_format"] = "csr"
        else:
            del file[where]
            file[where] = np.array([(b"c0", 1), (b"c1", 0)], "S2,i1")
    with pytest.raises(ValueError, match=r"before 0\.7.*read_h5ad\(p\)\.write_h5ad"):
        convert(path, tmp_path / "a.store")


@pytest.mark.parametrize(
    ("suffix", "kind", "layer", "old"),
    [
        (".h5ad", "csr", "raw/X", False),
        (".h5ad", "csc", "raw.X", True),
        (".h5ad", "dense", "raw/X", True),
        (".zarr", "csr", "raw.X", True),
        (".zarr", "dense", "raw/X", False),
    ],
)
def test_raw_has_genes_of_its_own(
    suffix: str, kind: str, layer: str, old: bool, tmp_path: Path
) -> None:
    counts = marked(5, 9, density=0.5)
    data = cells(pd.Categorical(list("abbab")), marked(5, 4))
    names = [f"raw{i}" for i in range(9)]
    full: Any = counts.toarray() if kind == "dense" else counts.asformat(kind)
    if kind != "dense":
        full = {"csr": sp.csr_matrix, "csc": sp.csc_matrix}[kind](full)
    data.raw = anndata.AnnData(full, data.obs, pd.DataFrame(index=names))
    path = saved(data, tmp_path / f"a{suffix}")
    path = as_before_08(path) if old else path
    store = convert(path, tmp_path / "a.store", layer=layer, label_column="kind")
    assert same(store[:], counts) and store.feature_names == tuple(names)
    assert names_of(store) == list("abbab")
    for wrong in ("raw", "no"):
        with pytest.raises(ValueError, match=f"no layer '{wrong}'; it has raw/X. Pass"):
            convert(path, tmp_path / "b.store", layer=wrong)


def test_a_file_without_x_names_what_it_has(tmp_path: Path) -> None:
    data = cells(list("ab"))
    data.layers["counts"], data.X = data.X.copy(), None
    for suffix in (".h5ad", ".zarr"):
        path = saved(data, tmp_path / f"a{suffix}")
        with pytest.raises(ValueError, match="has no 'X'; .*layer='counts'"):
            convert(path, tmp_path / "a.store")
        with convert(path, tmp_path / f"{suffix}.store", layer="counts") as store:
            assert same(store[:], marked(2, 4))


def test_a_layer_comes_before_raw(tmp_path: Path) -> None:
    data = cells(list("ab"))
    data.raw = data.copy()
    data.layers["raw.X"] = sp.csr_matrix(marked(2, 4) * 2)
    path = saved(data, tmp_path / "a.h5ad")
    assert same(convert(path, tmp_path / "a.store", layer="raw.X")[:], marked(2, 4) * 2)
    assert same(convert(path, tmp_path / "b.store", layer="raw/X")[:], marked(2, 4))
    plain = saved(cells(list("ab")), tmp_path / "b.h5ad")
    with pytest.raises(ValueError, match="no layer 'raw/X'; it has none. Leave"):
        convert(plain, tmp_path / "c.store", layer="raw/X")


@pytest.mark.parametrize("version", [2, 3] if ZARR_3 else [2])
def test_one_odd_array_hides_nothing_in_zarr(version: int, tmp_path: Path) -> None:
    data = cells(pd.Categorical(["b", "a"]), uns={"odd": np.arange(3)})
    if ZARR_3:
        with anndata.settings.override(zarr_write_format=version):
            path = saved(data, tmp_path / "a.zarr")
    else:
        path = saved(data, tmp_path / "a.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that no specification has
        zarr.consolidate_metadata(str(path))
    odd = path / "uns" / "odd" / {2: ".zarray", 3: "zarr.json"}[version]
    whole = path / {2: ".zmetadata", 3: "zarr.json"}[version]
    for file in (odd, whole):
        content = json.loads(file.read_text())
        found = content
        if file == whole:
            found = content.get("consolidated_metadata", content)["metadata"]
            found = found["uns/odd" if version == 3 else "uns/odd/.zarray"]
        found["dtype" if version == 2 else "data_type"] = "strange"
        file.write_text(json.dumps(content))
    if ZARR_3:  # version 2 reads the metadata of each array
        with pytest.raises(ValueError, match="strange"):
            zarr.open_group(str(path), mode="r")
    store = convert(path, tmp_path / "a.store", label_column="kind")
    assert same(store[:], marked(2, 4)) and names_of(store) == ["b", "a"]
    with pytest.raises(ValueError, match="has no 'obs/no'; it has _index, kind"):
        convert(path, tmp_path / "b.store", label_column="no")


def test_a_filter_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(cells(["a", "b"]), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        for name in ("X/data", "obs/kind"):
            del file[name]
        file.create_dataset("obs/kind", data=[1, 2])
        # What blosc leaves: a filter that HDF5 loads from a plugin.
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2, 4, 16, 5, 1, 1))
        space = h5py.h5s.create_simple((8,))
        h5py.h5d.create(file["X"].id, b"data", h5py.h5t.IEEE_F32LE, space, plist)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(ValueError, match="filter 32001 .*pip install hdf5plugin"):
        convert(path, tmp_path / "a.store")


@pytest.mark.parametrize("kind", ["u1", "u8", ">i4"])
def test_codes_of_other_writers(kind: str, tmp_path: Path) -> None:
    path = saved(cells(pd.Categorical(["T", "B", "T"])), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        del file["obs/kind/codes"]
        file["obs/kind/codes"] = np.array([1, 0, 1], kind)
    store = convert(path, tmp_path / "a.store", label_column="kind")
    assert names_of(store) == ["T", "B", "T"]
    with h5py.File(path, "r+") as file:
        file["obs/kind/codes"][0] = 2
    with pytest.raises(ValueError, match="is no array of places in 2 names"):
        convert(path, tmp_path / "b.store", label_column="kind")


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_values_of_no_row_are_told_of(kind: str, suffix: str, tmp_path: Path) -> None:
    """Writers that count in 32 bits leave rows empty whose values they stored."""
    matrix = marked(6, 4).asformat(kind)
    data = cells(["a"] * 6)
    data.X = matrix
    path = saved(data, tmp_path / f"a{suffix}")
    file = opened(path)
    ends = file["X/indptr"][:]
    ends[3:] = ends[3]
    file["X/indptr"][:] = ends
    closed(path, file)
    text = f"`indptr` ends at {ends[3]}, and {matrix.nnz} values are stored"
    with pytest.warns(UserWarning, match=text):
        store = convert(path, tmp_path / "a.store")
    expected = marked(6, 4).toarray()
    (expected if kind == "csr" else expected.T)[3:] = 0
    assert store[:].toarray().tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["data", "indices"])
@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_chunks_that_zarr_takes_for_zeros_are_told_of(
    kind: str, name: str, tmp_path: Path
) -> None:
    data = cells(["a"] * 6)
    data.X = marked(6, 4).asformat(kind)
    path = saved(data, tmp_path / "a.zarr")
    convert(path, tmp_path / "a.store")
    (chunk,) = (path / "X" / name).rglob("0")
    chunk.unlink()
    text = f"a.zarr lacks 1 of the 1 chunks of /X/{name}, which zarr reads as zeros"
    with pytest.warns(UserWarning, match=text):
        convert(path, tmp_path / "b.store")


@pytest.mark.skipif(not ZARR_3, reason="there are no shards before")
def test_a_shard_that_is_not_full_lacks_no_chunk(tmp_path: Path) -> None:
    with anndata.settings.override(zarr_write_format=3):
        path = saved(cells(["a"] * 6), tmp_path / "a.zarr")
    group = opened(path)["X"]
    for name in ("data", "indices"):
        found = group[name][:]
        group.create_array(name, data=found, chunks=(2,), shards=(64,), overwrite=True)
    assert len(found) < 64
    store = convert(path, tmp_path / "a.store")
    assert same(store[:], marked(6, 4))
    (shard,) = (path / "X" / "data" / "c").iterdir()
    shard.unlink()
    with pytest.warns(UserWarning, match="chunks of /X/data, which zarr reads as zer"):
        convert(path, tmp_path / "b.store")

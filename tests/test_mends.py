"""What an error says is to be done is done here, as it is written, and works."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import pickle
import re
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.io
import scipy.sparse as sp
import sklearn.feature_extraction.text
import sklearn.preprocessing
from refusals import refused

from sequence_loader import (
    SparseBatchSequence,
    StoreWriter,
    convert,
    open_store,
    open_texts,
)
from sequence_loader.importers.source import SourceError

X = sp.csr_array(np.eye(3, 4, dtype="float32"))

LABELS = [["a", "b"], [], ["b"]]
SETS = {
    "lists": LABELS,
    "tuples": [tuple(each) for each in LABELS],
    "sets": [set(each) for each in LABELS],
    "array": np.array([*LABELS, None], object)[:3],
    "Series": pd.Series(LABELS),
    "polars": pl.Series(LABELS),
    "pyarrow": pa.array(LABELS),
    "with None": [["a", "b"], None, ["b"]],
    "Series with None": pd.Series([["a", "b"], None, ["b"]]),
}


@pytest.mark.parametrize("kind", SETS)
def test_lists_of_labels(kind: str, tmp_path: Path) -> None:
    """A 0/1 matrix is what they become; none of them can be padded."""
    y: Any = SETS[kind]
    calls = {
        "sequence": lambda: SparseBatchSequence(X, y),
        "convert": lambda: convert(X, tmp_path / "a.store", y=y),
        "block": lambda: convert([(X, y)], tmp_path / "a.store", class_names=["a"]),
    }
    for call in calls.values():
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        said = str(caught.value)
        assert len(said) < 500 and "Pad" not in said
        mend = re.search(r"Pass a column of 0 .* has it: (.*)\.$", said)
        assert mend is not None, said
        made = eval(mend[1], {**vars(sklearn.preprocessing), "y": y})
        assert sp.issparse(made) and made.toarray().tolist() == [[1, 1], [0, 0], [0, 1]]
        batch = SparseBatchSequence(X, made)[0]
        assert batch[1].tolist() == [[1, 1], [0, 0], [0, 1]]
        for source, options in ((X, {"y": made}), ([(X, made)], {})):
            store = convert(source, tmp_path / "b.store", overwrite=True,
                            class_names=["a", "b"], **options)
            assert store.y.tolist() == [[1, 1], [0, 0], [0, 1]]
            assert store.class_names == ("a", "b")


def test_lists_of_numbers_may_be_labels_or_sequences() -> None:
    y = [[1, 2], [], [3]]
    said = refused(
        ValueError,
        "`y` must hold rows of one shape; received [[1, 2], [], [3]], whose rows "
        "differ. Pad them to one length; or, if they are labels, pass a column of 0 "
        "and 1 for each label",
        call=lambda: SparseBatchSequence(X, y),
    )
    mend = re.search(r"has it: (.*)\.$", said)
    made = eval(mend[1], {**vars(sklearn.preprocessing), "y": y})
    assert SparseBatchSequence(X, made)[0][1].tolist() == [
        [1, 1, 0], [0, 0, 0], [0, 0, 1]
    ]
    refused(
        ValueError,
        "`sample_weight` must hold rows of one shape",
        "whose rows differ. Pad them to one length.",
        call=lambda: SparseBatchSequence(X, [0, 1, 2], [[1, 2], [], [3]]),
    )
    # Rows of one length are an array, as before.
    objects = pd.Series([[1, 2], [3, 4], [5, 6]])
    refused(
        TypeError,
        "Pass rows of one length as an array, np.array(y.to_list()).",
        call=lambda: SparseBatchSequence(X, objects),
    )
    made = SparseBatchSequence(X, np.array(objects.to_list()))
    assert made[0][1].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_sets_of_labels_that_are_as_many_in_each_row(tmp_path: Path) -> None:
    """Each place of the lists was a column of its own: a label had two numbers."""
    y = [["a", "b"], ["a", "b"], ["c", "a"]]
    said = "MultiLabelBinarizer(sparse_output=True).fit_transform(y); or np.array(y)"
    names, path = ["a", "b", "c"], tmp_path / "a.store"

    def write() -> None:
        with StoreWriter(tmp_path / "b.store", X.shape[1]) as writer:
            writer.append(X, y)

    for call in (
        lambda: SparseBatchSequence(X, y),
        lambda: convert(X, path, y=y),
        lambda: convert([(X, list(map(tuple, y)))], path, class_names=names),
        write,
    ):
        refused(ValueError, "`y` must have one label in each row", said, call=call)
    binarizer = sklearn.preprocessing.MultiLabelBinarizer(sparse_output=True)
    sets = binarizer.fit_transform(y)
    assert convert(X, path, y=sets, class_names=names).y.tolist() == [
        [1, 1, 0], [1, 1, 0], [1, 0, 1]
    ]  # fmt: skip
    columns = convert(X, tmp_path / "c.store", y=np.array(y), class_names=names)
    assert columns.y.tolist() == [[0, 1], [0, 1], [2, 0]]
    one = convert(X, tmp_path / "d.store", y=[["b"], ["a"], ["b"]])
    assert one.y.tolist() == [[1], [0], [1]] and one.class_names == ("a", "b")


def test_multilabel_is_for_files_of_svmlight(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "x.npz", X)
    for source in (X, tmp_path / "x.npz"):
        for option in ({"multilabel": True}, {"label_store": tmp_path / "l.store"}):
            said = "Leave it out, and pass `y` with a column"
            with pytest.raises(TypeError, match=said):
                convert(source, tmp_path / "a.store", y=["a", "b", "b"],
                        overwrite=True, **option)
        binarizer = sklearn.preprocessing.MultiLabelBinarizer(sparse_output=True)
        store = convert(
            source,
            tmp_path / "a.store",
            y=binarizer.fit_transform([["x", "y"], [], ["y"]]),
            class_names=binarizer.classes_,
            overwrite=True,
        )
        assert store.y.tolist() == [[1, 1], [0, 0], [0, 1]]
        assert store.class_names == ("x", "y")


DATES = [dt.date(2020, 1, 1), dt.date(2020, 1, 2), dt.date(2020, 1, 4)]
DAYS = [18262.0, 18263.0, 18265.0]
NAMES = {
    "np": np, "pd": pd, "scipy": scipy,
    "HashingVectorizer": sklearn.feature_extraction.text.HashingVectorizer,
}


def tables(columns: dict[str, Any]) -> list[Any]:
    return [pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)]


def followed(said: str, begin: str, **names: Any) -> Any:
    """What the expression behind some words of a message is, up to the next mend."""
    found = re.search(re.escape(begin) + r"(.*?)(; or|, and as y|\.$)", said)
    assert found is not None, said
    return eval(found[1], {**NAMES, **names})


def served(x: Any, **options: Any) -> Any:
    return SparseBatchSequence(x, **options)[0][0]


@pytest.mark.parametrize("place", range(3), ids=["pandas", "polars", "pyarrow"])
def test_a_table_with_a_column_of_dates(place: int, tmp_path: Path) -> None:
    expected = [[1, 18262], [2, 18263], [3, 18265]]
    x = tables({"n": [1.0, 2, 3], "when": DATES})[place]
    for name, call in (
        ("x", lambda: SparseBatchSequence(x)),
        ("block", lambda: convert([x], tmp_path / "a.store")),
    ):
        said = refused(TypeError, "column 'when' of dates. Pass ", call=call)
        made = followed(said, "days as numbers: ", **{name: x})
        assert served(made).tolist() == expected
        store = convert([made], tmp_path / "b.store", overwrite=True)
        assert store[:].toarray().tolist() == expected
        begin = {"x": "the others: ", "block": "Pass "}[name]
        made = followed(said, begin, **{name: x})
        assert served(made).tolist() == [[1], [2], [3]]
    # As y of either: numbers, never classes.
    for call in (
        lambda: SparseBatchSequence(X, x),
        lambda: convert(X, tmp_path / "c.store", y=x),
        lambda: convert([(X, x)], tmp_path / "c.store"),
    ):
        said = refused(
            TypeError, "`y` must hold numbers; received a", "with column 'when' of "
            "dates. Pass days as numbers: ", call=call,
        )
        made = followed(said, "days as numbers: ", y=x)
        assert SparseBatchSequence(X, made)[0][1].tolist() == expected
        store = convert(X, tmp_path / "d.store", y=made, overwrite=True)
        assert store.y.tolist() == expected
        made = followed(said, "; or ", y=x)
        assert SparseBatchSequence(X, made)[0][1].tolist() == [[1], [2], [3]]


TIMES = {
    "NumPy's": pd.to_datetime(DATES),
    "with a time zone": pd.to_datetime(DATES).tz_localize("UTC"),
    "objects": np.array(DATES, object),
    "aware objects": np.array(
        [dt.datetime(d.year, d.month, d.day, tzinfo=dt.timezone.utc) for d in DATES],
        object,
    ),
    "periods": pd.PeriodIndex(DATES, freq="D"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_dates_of_any_type(kind: str) -> None:
    frame = pd.DataFrame({"when": TIMES[kind]})
    for x in (frame, frame["when"]):
        said = refused(TypeError, call=lambda x=x: SparseBatchSequence({"a": x}))
        begin = "days as numbers: "
        made = followed(said, begin, x={"a": x})
        assert np.ravel(served({"a": made})["a"]).tolist() == DAYS
    said = refused(TypeError, call=lambda: SparseBatchSequence(X, frame))
    made = followed(said, "days as numbers: ", y=frame)
    assert np.ravel(SparseBatchSequence(X, made)[0][1]).tolist() == DAYS
    if "objects" in kind:
        y = TIMES[kind].tolist()
        said = refused(TypeError, "to numbers", call=lambda: SparseBatchSequence(X, y))
        made = followed(said, "such as days: ", y=y)
        assert SparseBatchSequence(X, made)[0][1].tolist() == DAYS


def test_durations_and_times_of_day() -> None:
    durations = [dt.timedelta(days=1), dt.timedelta(hours=12)]
    durations.append(dt.timedelta(seconds=0.25))
    for x in tables({"n": [1.0, 2, 3], "long": durations}):
        said = refused(
            TypeError, "column 'long' of durations", call=lambda: SparseBatchSequence(x)
        )
        made = followed(said, "seconds as numbers: ", x=x)
        assert served(made).tolist() == [[1, 86400], [2, 43200], [3, 0.25]]
    for x in tables({"n": [1.0, 2, 3], "at": [dt.time(1), dt.time(2), dt.time(3)]}):
        said = refused(
            TypeError, "'at' of times of day", call=lambda: SparseBatchSequence(x)
        )
        made = followed(said, "Pass the others: ", x=x)
        assert served(made).tolist() == [[1], [2], [3]]
        said = refused(TypeError, call=lambda: SparseBatchSequence(X, x))
        made = followed(said, "Pass ", y=x)
        assert SparseBatchSequence(X, made)[0][1].tolist() == [[1], [2], [3]]


@pytest.mark.parametrize("place", range(3), ids=["pandas", "polars", "pyarrow"])
def test_a_table_with_a_column_of_categories(place: int, tmp_path: Path) -> None:
    kinds: Any = ["b", "a", "b"]
    kinds = [
        pd.Categorical(kinds),
        pl.Series(kinds, dtype=pl.Enum(["a", "b"])),
        pa.array(kinds).dictionary_encode(),
    ][place]
    table = [pd.DataFrame, pl.DataFrame, pa.table][place]
    x = table({"n": [1.0, 2, 3], "kind": kinds})
    codes = [0, 1, 0] if place == 2 else [1, 0, 1]
    said = refused(
        TypeError, "with column 'kind' of categories. Pass codes, for an Embedding: ",
        call=lambda: SparseBatchSequence(x),
    )
    made = followed(said, "for an Embedding: ", x=x)
    batch = served(made)
    assert batch["others"].tolist() == [[1], [2], [3]]
    assert batch["kind"].tolist() == codes and batch["kind"].dtype.kind in "iu"
    alone = table({"kind": kinds})
    said = refused(TypeError, call=lambda: SparseBatchSequence(alone))
    made = followed(said, "for an Embedding: ", x=alone)
    assert served(made).tolist() == codes
    said = refused(TypeError, call=lambda: SparseBatchSequence({"a": x["kind"]}))
    made = followed(said, "for an Embedding: ", x={"a": x["kind"]})
    assert served({"a": made})["a"].tolist() == codes
    if place < 2:  # one column for each
        hot = [[1, 0, 1], [2, 1, 0], [3, 0, 1]]
        made = followed(said := refused(
            TypeError, call=lambda: SparseBatchSequence(x)
        ), "a column for each, ", x=x)
        assert "with column 'kind'" in said
        found = served(made)
        assert sorted(map(tuple, found.T.tolist())) == sorted(zip(*hot))
        said = refused(TypeError, call=lambda: convert([x], tmp_path / "a.store"))
        made = followed(said, "a column for each category, ", block=x)
        store = convert([made], tmp_path / "a.store")
        assert (store[:].toarray() == found).all()


TEXTS = ["one two", "six", "one two"]


@pytest.mark.parametrize("place", range(3), ids=["pandas", "polars", "pyarrow"])
def test_a_table_with_a_column_of_texts(place: int, tmp_path: Path) -> None:
    x = tables({"n": [1.0, 2, 3], "text": TEXTS, "more": list("xyz")})
    x = x[place]
    said = refused(
        TypeError,
        "`x` holds items that are not numbers",
        "with column 'text' of texts. Pass {",
        call=lambda: SparseBatchSequence(x),
    )
    x = x.select(["n", "text"]) if place else x[["n", "text"]]
    said = refused(TypeError, call=lambda: SparseBatchSequence(x))
    inputs, transform = re.search(r"Pass (.*) with transform=(\{.*?\})", said).groups()
    inputs = eval(inputs, {**NAMES, "x": x})
    transform = eval(transform, NAMES)
    batch = served(inputs, transform=transform)
    assert batch["others"].tolist() == [[1], [2], [3]]
    texts = batch["text"]
    assert texts.shape == (3, 4096) and (texts[0] == texts[2]).all()
    assert (texts[0] != texts[1]).any()
    if place < 2:
        made = followed(said, "of categories, ", x=x)
        assert served(made).shape == (3, 3)
        said = refused(TypeError, call=lambda: convert([x], tmp_path / "a.store"))
        made = followed(said, "; or ", block=x)
        store = convert([made], tmp_path / "a.store")
        assert store.shape == (3, 4097)
        assert store[:].toarray()[:, 0].tolist() == [1, 2, 3]


def test_a_transform_that_returns_dates() -> None:
    def give(rows: Any) -> Any:
        return pd.DataFrame({"n": rows.toarray()[:, 0], "when": DATES})

    said = refused(
        TypeError,
        "it returned a DataFrame with column 'when' of dates. Return columns of num",
        call=lambda: SparseBatchSequence(X, transform=give)[0],
    )
    mended = followed(said, "alone: ", rows=give(X))
    made = served(X, transform=lambda rows: mended)
    assert made.tolist() == [[1], [0], [0]]


# Of `convert`


@pytest.mark.parametrize("base", [0, 1])
def test_more_columns_than_like(base: int, tmp_path: Path) -> None:
    train, later = tmp_path / "a.svm", tmp_path / "c.svm"
    train.write_text(f"0 {base}:1 {base + 1}:2\n1 {base + 1}:3\n")
    later.write_text(f"0 {base}:4 {base + 6}:5\n1 {base + 1}:6\n")
    like = tmp_path / "a.store"
    convert(train, like, zero_based=base == 0)
    with pytest.raises(SourceError, match="2 features, counted from") as caught:
        convert(later, tmp_path / "c.store", like=like)
    said = str(caught.value)
    assert said.endswith(", and then these.") and "Leave" not in said
    mend = re.search(r"again, with num_features=(\d+) and zero_based=(\w+),", said)
    options: Any = {"num_features": int(mend[1]), "zero_based": eval(mend[2])}
    first = convert(train, like, overwrite=True, **options)
    store = convert(later, tmp_path / "c.store", like=like)
    assert first[:].toarray()[:, :2].tolist() == [[1, 2], [0, 3]]
    assert first.num_features == store.num_features == 7
    assert store[0:1].toarray().tolist() == [[4, 0, 0, 0, 0, 0, 5]]
    assert store[1:2].toarray()[0, 1] == 6


def test_more_columns_than_a_store_that_is_not_of_svmlight(tmp_path: Path) -> None:
    (tmp_path / "c.svm").write_text("0 0:4 6:5\n")
    x = np.eye(2)
    convert(x, tmp_path / "a.store")
    with pytest.raises(SourceError, match="Write that store again with 7 features"):
        convert(tmp_path / "c.svm", tmp_path / "c.store", like=tmp_path / "a.store")
    convert(np.eye(2, 7), tmp_path / "a.store", overwrite=True)
    store = convert(
        tmp_path / "c.svm", tmp_path / "c.store", like=tmp_path / "a.store",
        zero_based=True,
    )
    assert store[:].toarray().tolist() == [[4, 0, 0, 0, 0, 0, 5]]


def test_labels_that_the_store_in_like_has_not(tmp_path: Path) -> None:
    like = tmp_path / "a.store"
    convert(X, like, y=["b", "a", "b"])
    (tmp_path / "y.svm").write_text("7 0:1\n")
    names = ["a", "b", "z"]
    for source, options, y in (
        (X, {"y": ["a", "z", "b"]}, [0, 2, 1]),
        ([(X, ["a", "z", "b"])], {}, [0, 2, 1]),
        ([(X, [0, 2, 1])], {}, [0, 2, 1]),
    ):
        said = "the class names of the store in `like` must"
        with pytest.raises(ValueError, match=said) as caught:
            convert(source, tmp_path / "b.store", like=like, **options)
        assert "('a', 'b')" in str(caught.value)
        store = convert(source, tmp_path / "b.store", like=like, class_names=names,
                        overwrite=True, **options)
        assert store.y.tolist() == y and store.class_names == tuple(names)
        store.close()
        shutil.rmtree(tmp_path / "b.store")
    with pytest.raises(ValueError, match="^`class_names` must hold every label"):
        convert(X, tmp_path / "b.store", y=["a", "z", "b"], class_names=["a", "b"])


def test_a_store_with_other_names_than_like(tmp_path: Path) -> None:
    convert(X, tmp_path / "a.store", y=["b", "a", "c"])
    convert(X, tmp_path / "b.store", y=["b", "c", "c"])
    said = "in `like`, .'a', 'b', 'c'.; it has"
    with pytest.raises(ValueError, match=said) as caught:
        convert(tmp_path / "b.store", tmp_path / "c.store", like=tmp_path / "a.store")
    found = re.search(r"Pass the labels as y, (.*), where store is (.*)\.$",
                      str(caught.value))
    other = eval(found[2], {"open_store": open_store})
    y = eval(found[1], {"np": np, "store": other})
    store = convert(tmp_path / "b.store", tmp_path / "c.store", y=y,
                    like=tmp_path / "a.store")
    assert store.y.tolist() == [1, 2, 2] and store.class_names == ("a", "b", "c")


# Files that are y


def binary_files(folder: Path) -> dict[str, tuple[str, str]]:
    """Files and columns that are no text, and what is said of them."""
    obs = pd.DataFrame({"kind": pd.Categorical(["b", "a", "b"])}, index=list("xyz"))
    made = anndata.AnnData(X, obs=obs)
    made.write_h5ad(folder / "c.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the version of zarr's format
        made.write_zarr(folder / "c.zarr")
    obs.to_parquet(folder / "c.parquet")
    obs.reset_index().to_feather(folder / "c.feather")
    return {
        "c.h5ad": ("an HDF5 file", "kind"),
        "c.zarr": ("a zarr directory", "kind"),
        "c.parquet": ("a parquet file", "kind"),
        "c.feather": ("an Arrow file", "kind"),
    }


def test_a_column_of_a_binary_file(tmp_path: Path, monkeypatch: Any) -> None:
    """What the message says is done, in the folder, word for word."""
    monkeypatch.chdir(tmp_path)
    for file, (kind, column) in binary_files(tmp_path).items():
        for y in (f"{file}:{column}", file):
            with pytest.raises(ValueError, match=f"it is {kind}. Pass ") as caught:
                convert(X, "a.store", y=y)
        with pytest.raises(ValueError, match=f"it is {kind}. Pass ") as caught:
            convert(X, "a.store", y=f"{file}:{column}")
        said = str(caught.value)
        found = re.search(r"what (.*) writes, as (y.csv:\w+)\.$", said)
        eval(found[1], {"pd": pd, "anndata": anndata})
        store = convert(X, "b.store", y=found[2], overwrite=True)
        assert store.y.tolist() == [1, 0, 1] and store.class_names == ("a", "b")
        assert ("label_column='kind' instead" in said) == (file in ("c.h5ad", "c.zarr"))
        if "label_column" in said:
            store = convert(file, "b.store", label_column="kind", overwrite=True)
            assert store.y.tolist() == [1, 0, 1]
        with pytest.raises(ValueError, match=f"it is {kind}. Pass what ") as caught:
            convert(X, "a.store", sample_weight=f"{file}:{column}")
        assert "label_column" not in str(caught.value)


def test_other_files_that_are_no_text(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("y.npz", k=[1, 2, 3], y=[4, 5, 6])
    convert(X, "y.store", y=[4, 5, 6])
    for file, begin in (
        ("y.npz", "by itself: "), ("y.npz:y", "by itself: "), ("y.store", "Pass what ")
    ):
        with pytest.raises(ValueError, match=begin) as caught:
            convert(X, "a.store", y=file)
        mend = re.search(rf"{begin}(.*?\))(\.| writes\.)$", str(caught.value))
        eval(mend[1], {"np": np, "open_store": open_store})
        store = convert(X, "b.store", y="y.npy", overwrite=True)
        assert store.y.tolist() == ([1, 2, 3] if file == "y.npz" else [4, 5, 6])
    pickled = pickle.dumps(["a", "b", "a"])
    utf16 = "a\nb\na\n".encode("utf-16")
    Path("y.pkl").write_bytes(pickled)
    Path("y.pkl.gz").write_bytes(gzip.compress(pickled))
    Path("y.txt.gz").write_bytes(gzip.compress(gzip.compress(b"a\nb\na\n")))
    Path("y16.txt").write_bytes(utf16)
    Path("latin.txt").write_bytes(b"\xe9\nb\n\xe9\n")
    with zipfile.ZipFile("y.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    with zipfile.ZipFile("y.zip", "w") as archive:
        archive.writestr("y.txt", "a\nb\na\n")
    Path("folder").mkdir()
    for file, said in (
        ("y.pkl", "it is a pickle. Write what it holds with numpy.save"),
        ("y.pkl.gz", "it is a pickle. Write what it holds with numpy.save"),
        ("y.txt.gz", "it is packed. Unpack it"),
        ("y16.txt", "it is a text in UTF-16. Write it in UTF-8"),
        ("latin.txt", "invalid continuation byte. Write it in UTF-8"),
        ("y.xlsx", "it is an Excel file. Pass what pd.read_excel"),
        ("y.zip", "it is a zip archive. Unpack it"),
        ("folder", "it is a directory. Pass a file"),
        ("folder:y", "it is a directory. Pass a file"),
    ):
        for column in ("", ":y") if ":" not in file else ("",):
            with pytest.raises(ValueError, match=said):
                convert(X, "a.store", y=file + column)
    np.save("y.npy", np.asarray(pickle.loads(Path("y.pkl").read_bytes())).astype(str))
    assert convert(X, "c.store", y="y.npy").y.tolist() == [0, 1, 0]


def test_y_of_another_length(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("y.npy", np.arange(4))
    Path("y.txt").write_text("kind\na\nb\na\n")
    with pytest.raises(ValueError, match="received 4. Pass the y .* in their order.$"):
        convert(X, "a.store", y="y.npy")
    with pytest.raises(ValueError, match="; y.txt:NAME if its first line is a name.$"):
        convert(X, "a.store", y="y.txt")
    assert convert(X, "a.store", y="y.txt:kind").y.tolist() == [0, 1, 0]


def test_a_matrix_that_may_be_meant_the_other_way(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    scipy.io.mmwrite("m.mtx", sp.coo_array(X))
    four, three = list("abab"), list("aba")
    Path("y.txt").write_text("a\nb\na\nb\n")
    for y in (four, "y.txt"):
        with pytest.raises(ValueError, match="received 4. Pass transpose=True, if the"):
            convert("m.mtx", "a.store", y=y)
        store = convert("m.mtx", "b.store", y=y, transpose=True, overwrite=True)
        assert store.shape == (4, 3) and store.y.tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="Pass transpose=True, if the 4 columns are "):
        convert("m.mtx", "a.store", sample_weight=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="received 3. Leave `transpose` out, if the 3"):
        convert("m.mtx", "a.store", y=three, transpose=True)
    assert convert("m.mtx", "a.store", y=three).y.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="received 5. Pass the y of these rows, in th"):
        convert("m.mtx", "c.store", y=list("ababa"))
    sp.save_npz("m.npz", X)  # which has no such option
    with pytest.raises(ValueError, match="received 4. Pass the y of these rows, in th"):
        convert("m.npz", "c.store", y=four)


def test_a_first_line_that_is_taken_for_names(tmp_path: Path, monkeypatch: Any) -> None:
    """`1,a` may be names, or a row: then one is lacking, and the error says so."""
    monkeypatch.chdir(tmp_path)
    x, file = np.eye(4), Path("ids.csv")
    for first in (0, 1):
        file.write_text("".join(f"{first + i},{'abba'[i]}\n" for i in range(4)))
        said = rf"received 3. .* the first line, \['{first}', 'a'\], was taken for name"
        with pytest.raises(ValueError, match=said) as caught:
            convert(x, "b.store", y=f"ids.csv:{first}")
        assert str(caught.value).endswith(
            "if it is a row, write names above it, and pass ids.csv:NAME."
        )
        file.write_text("id,label\n" + file.read_text())
        store = convert(x, "a.store", y="ids.csv:label", overwrite=True)
        assert store.y.tolist() == [0, 1, 1, 0] and store.class_names == ("a", "b")
        # By number the names would be a row.
        with pytest.raises(ValueError, match="; ids.csv:NAME if its first line is a"):
            convert(x, "b.store", y="ids.csv:1")
    # It may be as many as there are columns, by chance: then both are said.
    scipy.io.mmwrite("m.mtx", sp.coo_array(X))
    file.write_text("1,a\n2,b\n3,b\n4,a\n")
    with pytest.raises(ValueError, match="Leave `transpose` out.* taken for names: if"):
        convert("m.mtx", "b.store", y="ids.csv:1", transpose=True)
    file.write_text("id,label\n" + file.read_text())
    # With too many rows the first line is not why.
    for y in ("ids.csv:id", "ids.csv:label"):
        with pytest.raises(ValueError, match="received 4. Pass .*, in their order.$"):
            convert(X, "b.store", y=y)
        with pytest.raises(ValueError, match="received 4. Pass .*, in their order.$"):
            convert(np.eye(5), "b.store", y=y)


def test_rows_of_a_list() -> None:
    for rows, expected in (
        ([1.0, 2.0], [1, 2]),
        (np.array([1.0, 2.0]), [1, 2]),
        (pd.Series([1.0, 2.0]), [1, 2]),
        (pl.Series([1.0, 2.0]), [1, 2]),
        ([1.0, 0.0, 1.0], [0, 2]),
        ([1, 0, 1], [0, 2]),
    ):
        with pytest.raises((TypeError, ValueError), match="Convert it with ") as caught:
            SparseBatchSequence(X, rows=rows)
        said = str(caught.value)
        mend = re.search(r"Convert it with (.*?)(, if it is a mask)?\.$", said)
        made = eval(mend[1], {"np": np, "rows": rows})
        assert SparseBatchSequence(X, rows=made).batch_rows(0).tolist() == expected


# Of texts


@pytest.mark.parametrize("kind", ["header", "none", "jsonl"])
def test_a_column_of_ids_as_labels(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    """The column is named, and which else there are; each mend is tried."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{i}", f"hello world {i} and more", "ab"[i % 2]) for i in range(60)]
    names = ("label", "text", "kind")
    if kind == "jsonl":
        file = "t.jsonl"
        text = "".join(json.dumps(dict(zip(names, row))) + "\n" for row in rows)
        options: Any = {"label_column": "label"}
        said = "column 'label' holds 60 different ones in 60 rows, such as 'u0'."
        others: list[Any] = ["text"]
    else:
        file = "t.csv"
        text = "".join(",".join(row) + "\n" for row in rows)
        options = {"header": kind == "header"}
        if kind == "header":
            text = ",".join(names) + "\n" + text
            options["label_column"] = "label"
            said = "column 'label' holds 60 different ones in 60 rows, such as 'u0'."
            others = ["text", "kind"]
        else:
            said = "column 0, which was guessed, holds 60 different ones in 60 rows, su"
            others = [1, 2]
    Path(file).write_text(text)
    with pytest.raises(ValueError) as caught:
        open_texts(file, **options)
    found = str(caught.value)
    assert said in found and f"the labels, one of {others}; " in found
    options.pop("label_column", None)
    last = "kind" if kind != "none" else 2
    mended = open_texts(file, label_column=last, text_columns=others[:1], **options)
    assert mended.y.tolist() == [0, 1] * 30 and mended[1] == "hello world 1 and more"
    none = open_texts(file, label_column=None, text_columns=others[:1], **options)
    assert none.y is None and none[1] == "hello world 1 and more"
    classes = [row[0] for row in rows]
    first = "label" if kind != "none" else 0
    known = open_texts(
        file, label_column=first, class_names=classes, text_columns=others[:1],
        **options,
    )
    assert known.y.tolist() == list(range(60))


@pytest.mark.parametrize("place", range(3), ids=["pandas", "polars", "pyarrow"])
def test_what_is_missing_among_texts_and_categories(
    place: int, tmp_path: Path
) -> None:
    x = tables({"n": [1.0, 2, 3], "text": ["one two", None, "six"]})[place]
    said = refused(TypeError, call=lambda: SparseBatchSequence(x))
    inputs, transform = re.search(r"Pass (.*) with transform=(\{.*?\})", said).groups()
    inputs = eval(inputs, {**NAMES, "x": x})
    batch = served(inputs, transform=eval(transform, NAMES))
    assert batch["others"].tolist() == [[1], [2], [3]]
    assert np.count_nonzero(batch["text"], axis=1).tolist() == [2, 0, 1]
    if place < 2:
        said = refused(TypeError, call=lambda: convert([x], tmp_path / "a.store"))
        store = convert([followed(said, "; or ", block=x)], tmp_path / "a.store")
        assert store[:].toarray()[:, 0].tolist() == [1, 2, 3] and store.nnz == 6
    kinds: Any = ["b", None, "a"]
    kinds = [
        pd.Categorical(kinds),
        pl.Series(kinds, dtype=pl.Enum(["a", "b"])),
        pa.array(kinds).dictionary_encode(),
    ][place]
    x = [pd.DataFrame, pl.DataFrame, pa.table][place]({"n": [1.0, 2, 3], "k": kinds})
    for given in ({"a": x["k"]}, x):
        said = refused(TypeError, call=lambda given=given: SparseBatchSequence(given))
        made = followed(said, "for an Embedding: ", x=given)
        found = served(made) if given is not x else served(made)["k"]
        assert found.tolist() == ([1, 0, 2] if place == 2 else [2, 0, 1])
        assert found.dtype.kind in "iu"

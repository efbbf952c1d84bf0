"""Labels by name: looked up, whoever gives them; what is missing is never a class."""

from __future__ import annotations

import bz2
import gzip
import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from store_data import marked, same

from sequence_loader import StoreWriter, convert
from sequence_loader.cli.main import main
from sequence_loader.importers.labels import Named, named, names_of, placed
from sequence_loader.rows.values import DoesNotFit

NAMES = st.lists(st.sampled_from(["T", "B", "NK", "", "10", "9", "é"]), min_size=1)


def labels_of(store: Any) -> list[Any]:
    """The class of each row by its name."""
    return np.array(store.class_names, object)[store.y].tolist()


@given(labels=NAMES, kind=st.sampled_from(["array", "object", "category"]),
       seed=st.integers(0, 99))
def test_a_name_is_the_same_class_wherever_names_stand(
    labels: list[str], kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    order = list(rng.permutation(["T", "B", "unused", "NK", "10", "9", "é"]))
    values: Any = np.array(labels, object if kind == "object" else str)
    if kind == "category":
        values = pd.Categorical(labels, categories=rng.permutation(sorted(set(labels))))
    found = named(values)
    assert isinstance(found, Named)
    for names in (order, names_of([found])):
        places = placed(found, names)
        back = [None if place is np.ma.masked else names[place] for place in places]
        assert back == [label or None for label in labels]


@given(
    numbers=st.lists(st.sampled_from([-1, 1, 2, 3, 10]), min_size=1),
    kind=st.sampled_from([int, float, "Int64"]),
)
def test_numbers_are_classes_in_their_order(numbers: list[int], kind: Any) -> None:
    found = named(pd.Series(numbers, dtype=kind), numbers=True)
    assert isinstance(found, Named)
    names = names_of([found])
    assert names == tuple(map(str, sorted(set(numbers))))
    assert [int(names[place]) for place in placed(found, names)] == numbers
    other = ["10.0", "+3", "-1", "2", "1"]
    assert [float(other[place]) for place in placed(found, other)] == numbers


def test_numbers_as_classes_from_every_source(tmp_path: Path) -> None:
    labels = [-1, 1, 1, -1]
    (tmp_path / "y.txt").write_text("-1\n+1\n1.0\n-1\n")
    for y, rows in (
        (labels, marked(4, 3)),
        (tmp_path / "y.txt", marked(4, 3)),
        (np.array(labels, float), marked(4, 3)),
        (np.array(labels, ml_dtypes.bfloat16), marked(4, 3)),
        (None, [(marked(4, 3)[:2], labels[:2]), (marked(4, 3)[2:], labels[2:])]),
    ):
        store = convert(
            rows, tmp_path / "a.store", y=y, classes=True, overwrite=True,
            class_names=["1", "-1"],
        )  # fmt: skip
        assert store.y.tolist() == [1, 0, 0, 1] and store.class_names == ("1", "-1")
    store = convert(marked(4, 3), tmp_path / "b.store", y=labels, classes=True)
    assert store.y.tolist() == [0, 1, 1, 0] and store.class_names == ("-1", "1")
    with pytest.raises(ValueError, match="without .'1', '-1'|without .'-1', '1'"):
        convert(marked(4, 3), tmp_path / "c.store", y=labels, classes=True,
                class_names=["0", "2"])


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pl.Series, pd.Categorical])
def test_booleans_as_classes(kind: Any, tmp_path: Path) -> None:
    flags, x = [True, False, True], marked(3, 2)
    store = convert(x, tmp_path / "a.store", y=kind(flags), classes=True)
    assert store.y.tolist() == [1, 0, 1] and store.class_names == ("False", "True")
    store = convert([(x, flags)], tmp_path / "b.store", classes=True,
                    class_names=["True", "False"])
    assert store.y.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="`class_names` must be given where labels in"):
        convert([(x, flags)], tmp_path / "c.store", classes=True)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.array])
def test_booleans_beside_their_names(kind: Any, tmp_path: Path) -> None:
    """True is the place 1, and may be the name of the class 0."""
    flags, x = kind([True, False, True]), marked(3, 2)
    obs = pd.DataFrame({"kind": flags})
    anndata.AnnData(X=x, obs=obs.rename("row{}".format)).write_h5ad(tmp_path / "a.h5ad")
    for source, more in (
        ([x], {"y": flags}), ([(x, flags)], {}),
        (tmp_path / "a.h5ad", {"label_column": "kind"}),
    ):  # fmt: skip
        options = {**more, "overwrite": True, "progress": False}
        for names in (["True", "False"], ["other", "false", "TRUE"]):
            with pytest.raises(ValueError, match="`classes` must be given where both"):
                convert(source, tmp_path / "a.store", class_names=names, **options)
        for names, classes, y in (
            (["True", "False"], True, [0, 1, 0]), (["True", "False"], False, [1, 0, 1]),
            (["False", "True"], None, [1, 0, 1]), (["no", "yes"], None, [1, 0, 1]),
        ):  # fmt: skip
            options |= {"class_names": names, "classes": classes}
            store = convert(source, tmp_path / "a.store", **options)
            assert store.y.tolist() == y and store.class_names == tuple(names)


def test_names_of_numbers_and_of_words() -> None:
    """Of files whose labels are numbers, and one that has words."""
    numbers, words = named(np.array([10, 9]), numbers=True), named(np.array(["a"]))
    assert isinstance(numbers, Named) and isinstance(words, Named)
    assert names_of([words, numbers]) == ("a", "9", "10")


def test_numbers_beside_names_that_are_numbers(tmp_path: Path) -> None:
    """Label 0 may be the first of the names, or the one called 0."""
    with pytest.raises(ValueError, match="`classes` must be given where both labels"):
        convert(marked(3, 2), tmp_path / "a.store", y=[0, 1, 2],
                class_names=list("210"))
    for classes, expected in ((True, [2, 1, 0]), (False, [0, 1, 2])):
        store = convert(marked(3, 2), tmp_path / "a.store", y=[0, 1, 2],
                        class_names=list("210"), classes=classes, overwrite=True)
        assert store.y.tolist() == expected
    for names in (list("012"), list("abc"), ["a", "1", "0"]):
        store = convert(marked(3, 2), tmp_path / "a.store", y=[0, 1, 2],
                        class_names=names, overwrite=True)
        assert store.y.tolist() == [0, 1, 2]
    y, names = [1, 2, 1], ["1", "2", "other"]
    for labels in (y, np.array(y, float), pd.array(y), np.ma.array(y, mask=[1, 0, 0])):
        pair = [(marked(3, 2), labels)]
        for source, beside in ([marked(3, 2)], labels), (pair, None):
            options = {"class_names": names, "missing_labels": "zero-weight"}
            with pytest.raises(ValueError, match="`classes` must be given where both"):
                convert(source, tmp_path / "b.store", y=beside, **options)
            for classes, expected in ((True, [0, 1, 0]), (False, [1, 2, 1])):
                store = convert(source, tmp_path / "a.store", y=beside, **options,
                                classes=classes, overwrite=True)  # fmt: skip
                assert store.y.tolist()[1:] == expected[1:]


TEXT = "b\na\n\u00e9 x\nb\n"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", ["", ".gz", ".BZ2"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_labels_in_a_text_file(
    ending: str, packed: str, mark: str, tmp_path: Path
) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".BZ2": bz2.compress}[packed]
    text = (mark + TEXT).replace("\n", ending)
    for written in (text, text.removesuffix(ending)):
        (tmp_path / f"y.txt{packed}").write_bytes(pack(written.encode()))
        store = convert(
            marked(4, 3), tmp_path / "a.store", y=tmp_path / f"y.txt{packed}",
            overwrite=True,
        )  # fmt: skip
        assert store.class_names == ("a", "b", "\u00e9 x")
        assert store.y.tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("pieces", [1, 1 << 22])
def test_numbers_in_a_text_file(
    pieces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sequence_loader.importers.source.TEXT_BYTES", pieces)
    monkeypatch.setattr("sequence_loader.importers.csv_column.ROWS", 2)
    for text, y in (
        ("3\n-1\n07\n", np.array([3, -1, 7])),
        ("3\n.5\n1e3\n", np.array([3, 0.5, 1000])),
        (f"{2**53 + 1}\n1\n1\n", np.array([2**53 + 1, 1, 1])),
    ):
        (tmp_path / "y.txt").write_text(text)
        rows = "".join(f"a;{line}\n" for line in text.split())
        (tmp_path / "y.csv").write_text(f"name;y\n{rows}")
        for source in (tmp_path / "y.txt", f"{tmp_path}/y.csv:y"):
            whole = marked(3, 2), tmp_path / "a.store"
            store = convert(*whole, y=source, overwrite=True)
            assert store.y.dtype == y.dtype and store.y.tolist() == y.tolist()
            weigh = partial(convert, marked(3, 2), tmp_path / "b.store",
                            sample_weight=source, overwrite=True)
            if y[0] > 2**53:
                with pytest.raises(ValueError, match="in row 0, which float32 cannot"):
                    weigh()
            else:
                assert weigh().sample_weight.tolist() == y.tolist()


def test_a_column_of_a_table(tmp_path: Path) -> None:
    text = 'id,"cell, type",n\n1,"a, b",5\n2,"x ""y""",6\n3,"two\nlines",7\n'
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(b"id\ty\n1\tb\n2\ta\n3\tb\n"))
    for table, labels in (
        (f"{tmp_path}/t.csv:cell, type", ["a, b", 'x "y"', "two\nlines"]),
        (f"{tmp_path}/t.tsv.gz:y", ["b", "a", "b"]),
    ):
        store = convert(marked(3, 2), tmp_path / "a.store", y=table, overwrite=True)
        assert labels_of(store) == labels
    store = convert(marked(3, 2), tmp_path / "b.store", y=f"{tmp_path}/t.csv:n")
    assert store.y.tolist() == [5, 6, 7] and store.class_names is None
    (tmp_path / "bare.csv").write_text("5,b\n6,a\n7,b\n")
    store = convert(marked(3, 2), tmp_path / "c.store", y=f"{tmp_path}/bare.csv:1")
    assert labels_of(store) == ["b", "a", "b"]
    pd.DataFrame({"y": [3, 1, 2]}).to_csv(tmp_path / "index.csv")
    store = convert(marked(3, 2), tmp_path / "i.store", y=f"{tmp_path}/index.csv:y")
    assert store.y.tolist() == [3, 1, 2]
    (tmp_path / "short.csv").write_text("id,y\n1,2\n3\n")
    (tmp_path / "twice.csv").write_text("y,y\n1,2\n")
    (tmp_path / "large.txt").write_text(f"1\n2\n{2**64}\n")
    (tmp_path / "bytes.txt").write_bytes(b"a\0\n")
    (tmp_path / "latin.txt").write_bytes(b"\xe9\n")
    (tmp_path / "one.csv").write_text("y\n1\n2\n3\n")
    (tmp_path / "words.csv").write_text("y\na\nb\na\n")
    for name, said in (
        ("t.csv:no", "it has 0 columns 'no': ['id', 'cell, type', 'n']. Name one of"),
        ("t.csv", "it has several columns: "),
        ("index.csv", "it has several columns: ['', 'y']. Name one of them, as in"),
        ("index.csv:", "it has several columns: ['', 'y']. Name one of them, as in"),
        ("twice.csv:y", "it has 2 columns 'y': ['y', 'y']. Give each a name of"),
        ("short.csv:y", "line 3 has 1 entries, and the first one 2"),
        ("large.txt", "integers beyond int64"),
        ("bytes.txt", "it is no text"),
        ("latin.txt", "can't decode byte 0xe9"),
        ("one.csv", "line 1: 'y' is no number, as most entries are. Write a number"),
        ("words.csv", "words.csv:NAME if its first line is a name."),
        ("no.csv:y", "there is no"),
    ):
        with pytest.raises((ValueError, OSError)) as caught:
            convert(marked(3, 2), tmp_path / "d.store", y=f"{tmp_path}/{name}")
        assert said in str(caught.value)
    assert not (tmp_path / "d.store").exists()
    (tmp_path / "end.txt").write_text("b\na\nb\n\n \n")  # empty lines at the end
    store = convert(marked(3, 2), tmp_path / "e.store", y=tmp_path / "end.txt")
    assert labels_of(store) == ["b", "a", "b"]


def test_weights_must_be_known_numbers(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("1\n\n2\n")
    (tmp_path / "x.txt").write_text("1\nhigh\n2\n")
    (tmp_path / "y.txt").write_text("low\nhigh\n2\n")
    for weights, said in (
        (tmp_path / "w.txt", "must be known for each row; row 1, counted from 0, has"),
        ([1, None, 2], "must be known for each row; row 1, counted from 0, has none"),
        (tmp_path / "y.txt", "must hold numbers; received .'2', 'high', 'low'."),
        (tmp_path / "x.txt", "must.* line 2: 'high' is no .*. Write a number.$"),
        (["a", "b", "c"], "must hold numbers; received .'a', 'b', 'c'."),
        ([1, np.nan, 2], "must be known for each row; that of row 1 of the block is"),
    ):
        with pytest.raises(ValueError, match=f"`sample_weight` {said}"):
            convert(marked(3, 2), tmp_path / "a.store", sample_weight=weights)


MISSING = {
    "NaN": np.array([1.0, np.nan, 0]),
    "columns": np.array([[1.0, 2], [3, np.nan], [0, 0]]),
    "Int64": pd.Series([1, None, 0], dtype="Int64"),
    "objects": np.array([1, None, 0], object),
    "masked": np.ma.array([1, 5, 0], mask=[0, 1, 0]),
    "float16": np.array([1, np.nan, 0], np.float16),
    "text": ["b", None, "a"],
    "text of NumPy": np.array(["b", np.nan, "a"]),
    "list with nan": ["b", float("nan"), "a"],
    "string": pd.Series(["b", pd.NA, "a"], dtype="string"),
    "category": pd.Series(pd.Categorical(["b", None, "a"])),
    "bytes": np.array([b"b", b"", b"a"]),
    "sparse": sp.csr_array([[1.0], [np.nan], [0]]),
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_label_is_refused_or_weighted_0(kind: str, tmp_path: Path) -> None:
    y = MISSING[kind]
    with pytest.raises(ValueError, match="`y` must be known for each row; row 1,"):
        convert(marked(3, 2), tmp_path / "a.store", y=y)
    assert not list(tmp_path.iterdir())
    zero = {"missing_labels": "zero-weight"}
    store = convert(marked(3, 2), tmp_path / "a.store", y=y, **zero)
    assert store.sample_weight.tolist() == [1, 0, 1]
    assert store.y[0].max() in (1, 2) and store.y[2].max() == 0
    assert not np.isnan(store.y).any() and store.y[1].min() == 0
    if store.class_names:
        assert store.class_names == ("a", "b")
    weighted = convert(marked(3, 2), tmp_path / "b.store", y=y, **zero,
                       sample_weight=[2, 3, 4])
    assert weighted.sample_weight.tolist() == [2, 0, 4]
    if kind in ("NaN", "float16", "Int64", "masked"):
        blocks = [(marked(3, 2), y)]
        with pytest.raises(ValueError, match="`y` must be known for each row; row 1"):
            convert(blocks, tmp_path / "c.store")
        store = convert(blocks, tmp_path / "c.store", **zero)
        assert store.sample_weight.tolist() == [1, 0, 1]


def test_missing_labels_in_text_and_blocks(tmp_path: Path) -> None:
    for text, y in (("1\n\n0\n", [1, 0, 0]), ("b\nNA\na\n", [1, 0, 0]),
                    ("0.5\nnan\n0\n", [0.5, 0, 0])):  # fmt: skip
        (tmp_path / "y.txt").write_text(text)
        with pytest.raises(ValueError, match="row 1, counted from 0, has"):
            convert(marked(3, 2), tmp_path / "a.store", y=tmp_path / "y.txt")
        store = convert(marked(3, 2), tmp_path / "a.store", y=tmp_path / "y.txt",
                        missing_labels="zero-weight", overwrite=True)
        assert store.y.tolist() == y and store.sample_weight.tolist() == [1, 0, 1]
        shutil.rmtree(tmp_path / "a.store")
    named_nan = convert(marked(3, 2), tmp_path / "b.store", y=["NA", "b", "NA"],
                        class_names=["b", "NA"])
    assert named_nan.y.tolist() == [1, 0, 1] and named_nan.sample_weight is None
    blocks = [(marked(2, 2), ["T", "B"]), (marked(1, 2), ["T"])]
    store = convert(blocks, tmp_path / "c.store", class_names=["B", "NK", "T"])
    assert store.y.tolist() == [2, 0, 2]
    with pytest.raises(ValueError, match="row 3, counted from 0, has -1, and 1 more"):
        convert([(marked(2, 2), [0, 1]), (marked(3, 2), [0, -1, -1])],
                tmp_path / "d.store", class_names=["B", "T"])
    with pytest.raises(ValueError, match="`missing_labels` must be one of 'refuse'"):
        convert(marked(1, 2), tmp_path / "d.store", y=[1], missing_labels="drop")
    with pytest.raises(ValueError, match="`class_names` must be given where labels"):
        convert([(marked(1, 2), [1])], tmp_path / "d.store", classes=True)


def test_a_writer_takes_no_missing_numbers(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.store", 2) as writer:
        for extra in ({"y": [1, np.nan]}, {"sample_weight": [1, np.nan], "y": [1, 2]}):
            with pytest.raises(ValueError, match="that of row 1 of the block is NaN"):
                writer.append(marked(2, 2), **extra)


def test_the_command_line_says_its_own_names(tmp_path: Path, capsys: Any) -> None:
    sp.save_npz(tmp_path / "a.npz", marked(3, 2))
    (tmp_path / "y.txt").write_text("1\n\n-1\n")
    (tmp_path / "names.txt").write_text("-1\n1\n")
    start = ["convert", f"{tmp_path}/a.npz", f"{tmp_path}/a.store"]
    y = ["--y", f"{tmp_path}/y.txt"]
    for extra, said in (
        (["--one-based"], "--one-based is an option of svmlight files"),
        (["--zero-based"], "--zero-based is an option of svmlight files"),
        (y, "--y must be known for each row; row 1, counted from 0, has None. Remove "
         "such rows, label them, or pass --missing-labels zero-weight."),
        (["--y", f"{tmp_path}/`y`.npy"], "`y`.npy"),  # as the user wrote it
        ([*y, "--missing-labels=zero-weight", "--class-names", f"{tmp_path}/names.txt"],
         "Pass --classes to look labels up among the names, or --no-classes where"),
        (["--format", "csv"], "--format must be one of"),
        (["--num-features", "0"], "--num-features is an option of svmlight files"),
        (["--dtype", "bool"], "bool cannot hold. Pass --dtype float32, or"),
    ):  # fmt: skip
        assert main([*start, *extra]) == 1
        assert said in capsys.readouterr().err
    assert main([*start, *y, "--classes", "--missing-labels", "zero-weight"]) == 0
    with pytest.raises(ValueError, match="`y` must"):
        convert(marked(3, 2), tmp_path / "a.store", y=[1], overwrite=True)


@pytest.mark.parametrize(
    ("name", "format", "packed"),
    [("a.MTX", None, False), ("a.mtx.GZ", None, True), ("a.txt", "mtx", False),
     ("b.SVM", None, False), ("b.txt", "libsvm", False), ("b.LibSVM.gz", None, True),
     ("a.txt", "mm", False), ("a.txt", "MatrixMarket", True), ("b.txt", "SVM", False)],
)  # fmt: skip
def test_suffixes_and_names_of_formats(
    name: str, format: str | None, packed: bool, tmp_path: Path
) -> None:
    text = b"1 1:5 2:6\n"
    if name.startswith("a"):
        text = b"%%MatrixMarket matrix array real general\n1 2\n5\n6\n"
    name += ".gz" * (packed and not name.lower().endswith("gz"))
    (tmp_path / name).write_bytes(gzip.compress(text) if packed else text)
    store = convert(tmp_path / name, tmp_path / "a.store", format=format)
    assert same(store[:], sp.csr_array(np.array([[5, 6]], "float32")))


def test_complex_numbers_name_the_file(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "a.npz", marked(3, 2).astype("complex128"))
    with pytest.raises(TypeError, match="a.npz holds values of dtype complex128, and"):
        convert(tmp_path / "a.npz", tmp_path / "a.store")


@pytest.mark.parametrize("kind", ["U1", "S1", object, "f4"])
def test_what_stands_under_a_mask_is_missing(kind: Any) -> None:
    values = np.array(["1", "2", "3"]).astype(kind)
    found = named(np.ma.array(values, mask=[False, True, False]), numbers=True)
    assert found.names == ("1", "3") and found.codes.tolist() == [0, -1, 1]


@pytest.mark.parametrize("kind", ["blocks", "y", "text", "svmlight", "anndata"])
def test_whole_floats_are_places_as_integers_are(kind: str, tmp_path: Path) -> None:
    """pandas makes floats of integers beside NaN, and Excel writes 1.0."""

    def converted(y: list[float], **options: Any) -> Any:
        options |= {"overwrite": True, "progress": False}
        rows, target = marked(len(y), 3), tmp_path / "a.store"
        if kind == "blocks":
            return convert([(rows, np.array(y))], target, **options)
        if kind == "y":
            return convert([rows], target, y=pd.Series(y), **options)
        if kind == "text":
            (tmp_path / "y.txt").write_text("\n".join(map(str, y)))
            return convert([rows], target, y=tmp_path / "y.txt", **options)
        if kind == "anndata":
            obs = pd.DataFrame({"kind": y}, index=list(map(str, range(len(y)))))
            anndata.AnnData(X=rows, obs=obs).write_h5ad(tmp_path / "a.h5ad")
            return convert(
                tmp_path / "a.h5ad", target, label_column="kind", **options
            )
        lines = [f"{label} {i}:1" for i, label in enumerate(y)]
        (tmp_path / "a.svm").write_text("\n".join(lines))
        return convert(tmp_path / "a.svm", target, **options)

    with pytest.raises(ValueError, match="`classes` must be given where both"):
        converted([1.0, 2.0], class_names=["1", "2"])
    looked_up = converted([1.0, 2.0], class_names=["2", "1"], classes=True)
    assert looked_up.y.tolist() == [1, 0]
    with pytest.raises(ValueError, match="name each class, of which `y` has 3, count"):
        converted([1.0, 2.0], class_names=["a", "b"])
    with pytest.raises(ValueError, match="row 1, counted from 0, has -1"):
        converted([1.0, -1.0], class_names=["a", "b"])
    left = converted(
        [1.0, -1.0, float("nan")], class_names=["a", "b"], missing_labels="zero-weight"
    )
    assert left.y.tolist() == [1, 0, 0] and left.sample_weight.tolist() == [1, 0, 0]
    soft = converted([0.5, 1.0], class_names=["a", "b"])  # how much it is a "b"
    assert soft.y.tolist() == [0.5, 1]


def test_text_is_a_number_where_it_is_one_to_anybody(tmp_path: Path) -> None:
    path = tmp_path / "y.txt"
    for texts, numbers in (
        (["1", "+2", "-3"], [1, 2, -3]),
        (["1.", ".5", "-1E-2"], [1, 0.5, -0.01]),
    ):
        path.write_text("\n".join(texts))
        store = convert([marked(3, 2)], tmp_path / "a.store", y=path, overwrite=True)
        assert store.y.tolist() == numbers and store.class_names is None
    for texts in (["1_0", "1_1", "10"], ["\uff11", "2", "3"], ["0x1", "1", "2"]):
        path.write_text("\n".join(texts))
        options = {"y": path, "overwrite": True, "classes": texts[0] != "1_0"}
        store = convert([marked(3, 2)], tmp_path / "a.store", **options)
        assert labels_of(store) == texts


@pytest.mark.parametrize("suffix", ["txt", "txt.gz", "csv:n"])
@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["1", "?", "2"], 2),
        (["1", "2", "1_0", "nan"], 3),
        (["3", "1,5", "?"], 2),  # which has a decimal comma
        (["1,5", "2,25", "0,1"], 1),
        (["-1,5e", ".5", "1."], 1),
        (["1D2", "nan", "3.5d-1"], 1),  # as Fortran writes them
        (["", "2", "3", "x"], 4),
    ],
)
def test_a_word_among_numbers_is_refused(
    texts: list[str], line: int, suffix: str, tmp_path: Path
) -> None:
    name, _, column = suffix.partition(":")
    path, rows = tmp_path / f"y.{name}", [f'"{text}"' for text in texts]
    text = "\n".join([*(["id;n"] * bool(column)), *rows])
    text = text.replace('\n"', '\n0;"') if column else text.replace('"', "")
    path.write_bytes(gzip.compress(text.encode()) if "gz" in name else text.encode())
    y, x = f"{path}:{column}" if column else path, [marked(len(texts), 2)]
    word = texts[line - 1]
    said = f"line {line + bool(column)}: {word!r} is no number, as most entries are. "
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        convert(x, tmp_path / "a.store", y=y)
    assert str(caught.value).endswith("; or pass classes=True, if all are classes.")
    options = {"missing_labels": "zero-weight", "overwrite": True}
    store = convert(x, tmp_path / "a.store", y=y, classes=True, **options)
    kept = [text for text in texts if text not in ("", "nan")]
    present = store.sample_weight == 1
    assert np.array(store.class_names)[store.y[present]].tolist() == kept
    options["class_names"] = ["z", *kept]
    store = convert(x, tmp_path / "a.store", y=y, **options)
    assert store.y[present].tolist() == [*range(1, len(kept) + 1)]


def test_words_that_are_as_many_as_numbers_are_classes(tmp_path: Path) -> None:
    path = tmp_path / "y.txt"
    path.write_text("1\na\n2\nb\n")
    store = convert([marked(4, 2)], tmp_path / "a.store", y=path)
    assert labels_of(store) == ["1", "a", "2", "b"]
    path.write_text("7\n" * 70_000 + "x\n" + "7\n" * 70_000)
    table = tmp_path / "t.csv"
    table.write_text("n\n" + path.read_text())
    for y, line in ((path, 70_001), (f"{table}:n", 70_002)):
        with pytest.raises(ValueError, match=f"line {line}: 'x' is no number"):
            convert([marked(4, 2)], tmp_path / "b.store", y=y)


def test_numbers_in_text_that_no_float_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sequence_loader.importers.source.TEXT_BYTES", 64)
    path = tmp_path / "y.txt"
    for text, said in (
        ("1\n1e400\n2", "line 2: '1e400' is beyond float64. Write inf, if"),
        ("1\n-1e999\nnan", "line 2: '-1e999' is beyond float64"),
        (f"1\n{2**53 + 1}\n0.5", "line 2: '9007199254740993' is an integer that fl"),
        (f"{2**53 + 1}\n" + "1\n" * 99 + ".5", "9007199254740993 is an integer that"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            convert([marked(3, 2)], tmp_path / "a.store", y=path)
    for text, numbers in (
        ("1\ninf\n-Infinity", [1, np.inf, -np.inf]),
        (f"1\n{2**53 + 1}\n3", [1, 2**53 + 1, 3]),
        (f".5\n{2**54}\n1e20", [0.5, 2**54, 1e20]),
    ):
        path.write_text(text)
        store = convert([marked(3, 2)], tmp_path / "a.store", y=path, overwrite=True)
        assert store.y.tolist() == numbers


@pytest.mark.parametrize(
    ("text", "column", "numbers"),
    [
        ("5,1\n6,2\n7,3\n", "1", [1, 2, 3]),  # no names, though one is called 1
        ("1,5\n0,2\n0,3\n", "1", [5, 2, 3]),
        ("0,1\n5,2\n5,3\n5,4\n", "1", [2, 3, 4]),  # as pandas names columns
        ("1,0\n2,5\n3,5\n4,5\n", "0", None),  # names, or a row: the length tells
        ("2019,2020\n1,2\n3,4\n5,6\n", "2020", [2, 4, 6]),
        ("1,a\n2,7\n3,8\n4,9\n", "1", [2, 3, 4]),
        ("5;1\n6;2\n7;3\n", "1", [1, 2, 3]),
        ("0,5;1\n6,5;2\n7,5;3\n", "1", [1, 2, 3]),  # not 0, 6, 7 by the comma
        ("a, b;n\nx;1\ny;2\nz;3\n", "n", [1, 2, 3]),
    ],
)
def test_columns_without_names_go_by_number(
    text: str, column: str, numbers: list[int] | None, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(text)
    y = f"{tmp_path}/t.csv:{column}"
    if numbers is None:
        with pytest.raises(ValueError, match="3 in all; received 4"):
            convert([marked(3, 2)], tmp_path / "a.store", y=y)
        return
    store = convert([marked(3, 2)], tmp_path / "a.store", y=y)
    assert store.y.tolist() == numbers


@pytest.mark.parametrize("classes", [None, True])
@pytest.mark.parametrize(
    "text",
    [
        "1 2\n3 4\n", "1\t2\n3\t4\n", "1;2\n3;4\n", "1, 2\n3, 4\n",
        "1,2,3\n4,5,6\n", '"1" 2\n"3" 4\n', '"1 2"\n"3 4"\n', "1,\n2,\n",
        "a\tb\nc\td\n",
    ],
)  # fmt: skip
def test_several_entries_on_a_line_are_no_class(
    text: str, classes: bool | None, tmp_path: Path
) -> None:
    path, x = tmp_path / "y.txt", [marked(2, 2)]
    path.write_text(text)
    said = "line 1: .* is several entries. Write one on each line, or name a column of"
    with pytest.raises(ValueError, match=said):
        convert(x, tmp_path / "a.store", y=path, classes=classes)
    table = tmp_path / "table.csv"
    table.write_text("id,label\n1,2\n3,4\n")
    assert convert(x, tmp_path / "a.store", y=f"{table}:label").y.tolist() == [2, 4]
    path.write_text("T cell\na, b\n")
    assert labels_of(convert(x, tmp_path / "b.store", y=path)) == ["T cell", "a, b"]


def test_numbers_in_quotes_are_numbers(tmp_path: Path) -> None:
    """As R writes them."""
    path, x = tmp_path / "y.txt", [marked(3, 2)]
    path.write_text("\"10\"\n'9'\n-1.5\n")
    store = convert(x, tmp_path / "a.store", y=path)
    assert store.y.tolist() == [10, 9, -1.5] and store.class_names is None
    path.write_text('"10"\n"9"\n"10"\n')
    store = convert(x, tmp_path / "b.store", y=path, classes=True)
    assert store.y.tolist() == [1, 0, 1] and store.class_names == ("9", "10")
    names = ['"9"', '"7"', '"10"']
    with pytest.raises(ValueError, match="`classes` must be given where both labels"):
        convert(x, tmp_path / "c.store", y=path, class_names=names)
    store = convert(x, tmp_path / "c.store", y=path, class_names=names, classes=True)
    assert store.y.tolist() == [2, 0, 2]
    path.write_text('"1,5"\n"2"\n"3"\n')
    with pytest.raises(ValueError, match="line 1: '1,5' is no number"):
        convert(x, tmp_path / "d.store", y=path)


def test_labels_in_quotes_are_what_is_in_them(tmp_path: Path) -> None:
    """As R's write.table writes them, by default."""
    path, x = tmp_path / "y.txt", [marked(4, 2)]
    path.write_text('"B cell"\n"B"\n"say ""no"""\n"B cell"\n')
    store = convert(x, tmp_path / "a.store", y=path)
    assert store.class_names == ("B", "B cell", 'say "no"')
    assert store.y.tolist() == [1, 0, 2, 1]
    names = ['say "no"', "B cell", "B"]
    store = convert(x, tmp_path / "b.store", y=path, class_names=names)
    assert store.y.tolist() == [1, 2, 0, 1]
    path.write_text('"b"\nNA\n"a"\n"b"\n')
    options = {"y": path, "missing_labels": "zero-weight"}
    store = convert(x, tmp_path / "c.store", **options)
    assert store.class_names == ("a", "b") and store.y.tolist() == [1, 0, 0, 1]
    assert store.sample_weight.tolist() == [1, 0, 1, 1]
    path.write_text('"b"\n"a\nb\n"c" "d"\n')  # not all of them are quoted
    store = convert(x, tmp_path / "d.store", y=path)
    assert store.class_names == ('"a', '"b"', '"c" "d"', "b")


@pytest.mark.parametrize(
    "line", ['"{}" "{}"', "{} {}", "{},{}", "{}, {}", "{};{}", '{} "{}"']
)
@pytest.mark.parametrize("numbers", [range(4), range(1, 5), range(5, 9), [2, 5, 9, 11]])
def test_numbers_of_rows_are_no_part_of_labels(
    line: str, numbers: Sequence[int], tmp_path: Path
) -> None:
    path, x = tmp_path / "y.txt", [marked(4, 2)]
    rows = list(zip(numbers, ["b", "a", "b", "a"]))
    path.write_text("".join(line.format(*row) + "\n" for row in rows) + "\n")
    with pytest.raises(ValueError, match="each line has the number of the row before"):
        convert(x, tmp_path / "a.store", y=path)
    rows[2] = (17, "b")
    path.write_text("".join(line.format(*row) + "\n" for row in rows))
    assert len(labels_of(convert(x, tmp_path / "a.store", y=path))) == 4


def test_tables_that_no_csv_reader_parts(tmp_path: Path) -> None:
    path = tmp_path / "y.txt"
    path.write_text("a label\nr1 x p\nr2 y q\n")
    with pytest.raises(ValueError, match=r"Write commas or tabs between columns"):
        convert([marked(2, 2)], tmp_path / "a.store", y=f"{path}:label")
    path.write_text('a,label\n"x \\"y\\" z",p\nr2,q\n')
    with pytest.raises(ValueError, match=r"Write a quote within quotes twice\."):
        convert([marked(2, 2)], tmp_path / "a.store", y=f"{path}:label")


@pytest.mark.parametrize(
    "head",
    ['"x;y;z",label', '"x;\ny;z",label', '"a""b;c;d",label', "5\" p;i,a,label",
     '"1,2,3";label', '"a\tb";"label"'],
)  # fmt: skip
def test_what_is_in_quotes_parts_no_columns(head: str, tmp_path: Path) -> None:
    part = ";" if '";' in head else ","
    lines = [head, *(part.join([*"00"[: 2 if ",a," in head else 1], n]) for n in "567")]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    store = convert([marked(3, 2)], tmp_path / "a.store", y=f"{tmp_path}/t.csv:label")
    assert store.y.tolist() == [5, 6, 7]


def test_a_class_without_a_name_is_none(tmp_path: Path, capsys: Any) -> None:
    """Else rows without a label would be of it."""
    scipy_file, names = tmp_path / "x.npz", tmp_path / "names.txt"
    sp.save_npz(scipy_file, sp.csr_matrix(np.eye(3)))
    (tmp_path / "y.txt").write_text("a\n\nb\n")
    start = ["convert", str(scipy_file), str(tmp_path / "a.store"), "--no-progress"]
    start += ["--y", str(tmp_path / "y.txt"), "--class-names", str(names)]
    names.write_text("a\nb\n\n")
    assert main(start) == 1
    assert "names.txt must have one name on each line; line 3 is empty. Remove it." in (
        capsys.readouterr().err
    )
    names.write_text("a\nb\n")
    assert main(start) == 1 and "row 1, counted from 0, has" in capsys.readouterr().err


def test_text_that_says_that_a_label_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "y.txt"
    path.write_text("a\nNone\nb")
    with pytest.raises(ValueError, match="`y` must be known for each row; row 1, cou"):
        convert([marked(3, 2)], tmp_path / "b.store", y=path)
    names = ["a", "b", "None"]
    store = convert([marked(3, 2)], tmp_path / "b.store", y=path, class_names=names)
    assert store.y.tolist() == [0, 2, 1]


def test_empty_lines_at_the_end_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,kind\n1,a\n2,b\n\n\n")
    store = convert([marked(2, 2)], tmp_path / "a.store", y=f"{path}:kind")
    assert labels_of(store) == ["a", "b"]
    path.write_text("id,kind\n1,a\n\n2,b\n")
    with pytest.raises(ValueError, match="cannot be read: line 3 is empty"):
        convert([marked(2, 2)], tmp_path / "b.store", y=f"{path}:kind")
    path.write_text("id,kind\n1,a\n2,b\n3,c\n")
    with pytest.raises(ValueError, match=f"{path}:NAME if its first line is a name.$"):
        convert([marked(3, 2)], tmp_path / "b.store", y=f"{path}:1")


def test_objects_that_are_large_integers_stay_integers() -> None:
    large = [2**63 + 1, 2**63 + 2]
    assert named(np.array(large, object)).tolist() == large
    lacking = named(np.array([2**53 + 1, None], object))
    assert lacking[0] == 2**53 + 1 and lacking.mask.tolist() == [False, True]
    with pytest.raises(DoesNotFit, match="`y` holds 9007199254740993 in row 0"):
        named(np.array([2**53 + 1, 0.5], object))  # no dtype has both


def test_columns_of_tables_are_labels_as_pandas_are(tmp_path: Path) -> None:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    large, texts = [2**53 + 1, None, 3], ["a", None, "b"]
    options = {"missing_labels": "zero-weight", "overwrite": True}
    for kind in (pl.Series, pa.array, lambda v: pa.chunked_array([v]), pd.array):
        store = convert([marked(3, 2)], tmp_path / "a.store", y=kind(large), **options)
        assert store.y.tolist() == [2**53 + 1, 0, 3]
        assert store.sample_weight.tolist() == [1, 0, 1]
        blocks = [(marked(3, 2), kind(large), kind([1, 2, 3]))]
        store = convert(blocks, tmp_path / "a.store", **options)
        assert store.sample_weight.tolist() == [1, 0, 3]
        store = convert([marked(3, 2)], tmp_path / "a.store", y=kind(texts), **options)
        assert labels_of(store) == ["a", "a", "b"] and store.y.tolist() == [0, 0, 1]
    for table in (pd.DataFrame, pl.DataFrame, pa.table):
        y = table({"a": [2**53 + 1, 2, 3], "b": [4, 5, 6]})
        store = convert([(marked(3, 2), y)], tmp_path / "a.store", overwrite=True)
        assert store.y.tolist() == [[2**53 + 1, 4], [2, 5], [3, 6]]
        y = table({"a": ["x", "y", "x"], "b": ["y", "x", "x"]})
        store = convert([marked(3, 2)], tmp_path / "a.store", y=y, overwrite=True)
        assert labels_of(store) == [["x", "y"], ["y", "x"], ["x", "x"]]


def test_sparse_columns_are_labels_as_others_are(tmp_path: Path) -> None:
    y = pd.DataFrame({name: pd.arrays.SparseArray([0, 2, 0]) for name in "ab"})
    for source, beside in ([marked(3, 2)], y), ([(marked(3, 2), y)], None):
        store = convert(source, tmp_path / "a.store", y=beside, overwrite=True)
        assert store.y.tolist() == [[0, 0], [2, 2], [0, 0]]
        store = convert(source, tmp_path / "a.store", y=beside, overwrite=True,
                        classes=True, class_names=["2", "0"])  # fmt: skip
        assert store.y.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_categories_that_are_numbers_are_called_by_their_digits(tmp_path: Path) -> None:
    y = pd.Categorical([3.0, 1.0, 3.0])
    store = convert([marked(3, 2)], tmp_path / "a.store", y=y)
    assert store.class_names == ("1", "3") and store.y.tolist() == [1, 0, 1]


def test_weights_of_a_block_of_another_length(tmp_path: Path) -> None:
    blocks = [(marked(2, 2), [0, None], [1.0, 1.0, 1.0])]
    with pytest.raises(ValueError, match="`sample_weight` must have one entry for ea"):
        convert(blocks, tmp_path / "a.store", missing_labels="zero-weight")


def test_what_is_no_target_is_said_to_be_none(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.store", 2) as writer:
        with pytest.raises(ValueError, match="`y` must hold rows of one shape; rec"):
            writer.append(marked(2, 2), y=[[1, 2], [3]])
        for y in ([1j, 2], np.array(["2020", "2021"], "M8[Y]")):
            with pytest.raises(TypeError, match="`y` must hold real numbers; received"):
                writer.append(marked(2, 2), y=y)

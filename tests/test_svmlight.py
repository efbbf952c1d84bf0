"""svmlight: the same rows and labels as scikit-learn reads, and what it cannot say."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file
from store_data import marked, same

from sequence_loader import SparseBatchSequence, convert, open_store
from sequence_loader.cli.main import main
from sequence_loader.importers.source import SourceError
from sequence_loader.importers.svmlight_labels import LabelColumns
from sequence_loader.importers.svmlight_lines import parsed


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


VALUES = st.floats(-1e30, 1e30, allow_nan=False).map(lambda value: value + 0.0)
ROWS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([-1.0, 0, 2, 7, 10.5]), max_size=3),
        st.integers(0, 5),
        st.dictionaries(st.integers(0, 99), VALUES, max_size=4),
    ),
    min_size=1,
    max_size=12,
)


@given(rows=ROWS, multilabel=st.booleans(), queries=st.booleans(), seed=st.integers())
@example(rows=[([], 0, {})], multilabel=True, queries=False, seed=0)  # no line at all
def test_lines_are_parsed_as_scikit_learn_does_in_any_order_of_columns(
    rows: list[Any], multilabel: bool, queries: bool, seed: int
) -> None:
    lines, mixed = [], []
    for labels, query, values in rows:
        labels = labels if multilabel else (labels or [0.0])[:1]
        qid = f"qid:{query} " if queries else ""
        begin = f"{','.join(map(repr, labels))} {qid}"
        pairs = [f"{column}:{value!r}" for column, value in sorted(values.items())]
        if not (begin + "".join(pairs)).strip():
            continue
        lines.append(begin + " ".join(pairs))
        order = np.random.default_rng(abs(seed)).permutation(len(pairs))
        mixed.append("\t" + begin + "  ".join(pairs[i] for i in order) + " # 9:9\r")
    text = "\n".join(lines).encode() + b"\n"
    expected, y, qid = load_svmlight_file(
        io.BytesIO(text), zero_based=True, multilabel=multilabel, query_id=True,
        n_features=100,
    )  # fmt: skip
    for each in (text, "\n".join(mixed).encode()):
        found = parsed(each, 1, multilabel, np.dtype("f8"))
        matrix = sp.csr_array(
            (found.data, found.indices, found.indptr), shape=(len(lines), 100)
        )
        matrix.sum_duplicates()
        assert same(matrix, sp.csr_array(expected))
        flat = [label for row in y for label in row] if multilabel else list(y)
        ends = np.cumsum(found.counts)
        found_rows = np.split(found.labels, ends)[:-1]
        if multilabel:
            assert [sorted(row) for row in found_rows] == [sorted(row) for row in y]
        assert sorted(found.labels) == sorted(flat)
        assert found.queries.tolist() == list(qid)


def test_columns_that_repeat_add_up(tmp_path: Path) -> None:
    written(tmp_path / "a.svm", "1 3:1 1:2 3:5\n0 2:1\n")
    store = convert(tmp_path / "a.svm", tmp_path / "a.store")
    assert store[:].toarray().tolist() == [[2, 0, 6], [0, 1, 0]]
    assert store.y.tolist() == [1, 0]


@given(
    rows=st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=9),
    names=st.permutations(range(10)),
)
def test_labels_stand_in_the_columns_of_their_names(
    rows: list[list[int]], names: list[int]
) -> None:
    text = "".join(f"{','.join(map(str, row))} 1:1\n" for row in rows)
    piece = parsed(text.encode(), 1, True, np.dtype("f4"))
    found = np.unique(piece.labels)
    for given_names in ([f"{name}.0" for name in names], None):
        columns = LabelColumns.of(found, given_names)
        order = names if given_names else sorted({each for row in rows for each in row})
        labels = columns.rows(piece)
        dense = labels.to_dense(np.zeros((len(rows), max(len(order), 1)), np.uint8))
        back = [[order[column] for column in np.flatnonzero(row)] for row in dense]
        assert [sorted(row) for row in back] == [sorted(set(row)) for row in rows]
        assert set(dense.ravel().tolist()) <= {0, 1}


@pytest.mark.parametrize("suffix", ["y", "label_store"])
def test_files_converted_separately_have_the_same_label_columns(
    suffix: str, tmp_path: Path
) -> None:
    one = written(tmp_path / "a.svm", "0,1 1:1\n2 3:1\n")
    two = written(tmp_path / "b.svm", "0,3 1:1\n1 3:1\n")
    expected = [[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        names, found = list(map(str, order)), []
        for path in (one, two):
            store = tmp_path / f"{path.stem}.store"
            beside = tmp_path / f"{path.stem}.labels"
            options = {"label_store": beside} if suffix != "y" else {}
            convert(path, store, multilabel=True, class_names=names, overwrite=True,
                    **options).close()  # fmt: skip
            if suffix == "y":
                found.append(open_store(store).y)
            else:
                assert open_store(store).y is None
                assert open_store(beside).feature_names == tuple(names)
                found.append(open_store(beside)[:].toarray())
        assert np.vstack(found).tolist() == np.array(expected)[:, order].tolist()
    with pytest.raises(ValueError, match="`class_names` must hold .* without .'3'"):
        convert(two, tmp_path / "c.store", multilabel=True, class_names=["0", "1"])
    if suffix == "y":
        both = convert([one, two], tmp_path / "c.store", multilabel=True)
        assert both.y.tolist() == expected and both.class_names == ("0", "1", "2", "3")


def test_many_labels_are_refused_dense_and_kept_sparse(tmp_path: Path) -> None:
    path = written(tmp_path / "a.svm", "".join(f"{i} 1:1\n" for i in range(20_000)))
    with pytest.raises(ValueError, match="20,000 labels are 400 MB of dense labels, be"
                       "side 0.7 MB of rows. Pass label_store='labels.store'"):
        convert(path, tmp_path / "a.store", multilabel=True)
    assert os.listdir(tmp_path) == ["a.svm"]
    rows = convert(path, tmp_path / "a.store", label_store=tmp_path / "l.store")
    labels = open_store(tmp_path / "l.store")
    assert rows.nbytes + labels.nbytes < 1_000_000 and rows.y is None
    assert rows.class_names == labels.feature_names
    assert labels.feature_names == tuple(map(str, range(20_000)))
    batches = SparseBatchSequence(rows, labels, batch_size=128, shuffle=True, seed=3)
    features, targets = batches[5]
    assert targets.shape == (128, 20_000) and targets.dtype == np.uint8
    assert targets.argmax(1).tolist() == batches.batch_rows(5).tolist()
    assert targets.sum(1).tolist() == [1] * 128
    batches.set_epoch(1)
    _, served = next(iter(batches.to_tf_dataset()))
    assert served.numpy().argmax(1).tolist() == batches.batch_rows(0).tolist()
    with pytest.raises(ValueError, match="`label_store` must be another path"):
        convert(path, tmp_path / "b.store", label_store=tmp_path / "b.store")
    wrong = written(tmp_path / "w.svm", "1 1:1\n1 x\n")
    for target, error in ((tmp_path / "b.store", ValueError),
                          (tmp_path / "l.store", FileExistsError)):
        with pytest.raises(error):
            convert(wrong, tmp_path / "c.store", label_store=target)
    with pytest.raises(ValueError, match="3,200 MB in all if dense and 0.3 MB now"):
        convert(marked(20_000, 2), tmp_path / "c.store", y=sp.csr_array(sp.eye(20_000)))
    assert sorted(os.listdir(tmp_path)) == ["a.store", "a.svm", "l.store", "w.svm"]


def test_dense_labels_are_made_in_bounded_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sequence_loader.importers.svmlight.DENSE_PIECE_BYTES", 50)
    rows = [(i % 7, i * i % 7) for i in range(40)]
    text = "".join(
        f"{a},{b} qid:{a} {b + 1}:{i + 1}\n" for i, (a, b) in enumerate(rows)
    )
    store = convert(written(tmp_path / "a.svm", text), tmp_path / "a.store",
                    multilabel=True, query_ids=tmp_path / "q.npy")
    assert [np.flatnonzero(row).tolist() for row in store.y] == [
        sorted({a, b}) for a, b in rows
    ]
    assert np.load(tmp_path / "q.npy").tolist() == [a for a, _ in rows]
    assert store[:].max(axis=1).toarray().ravel().tolist() == list(range(1, 41))


def test_files_of_extreme_classification(tmp_path: Path) -> None:
    """Their first line holds the numbers of rows, features and labels."""
    one = written(tmp_path / "a.svm", "2 6 5\n4,0 0:1 3:2\n 2:5\n")
    two = written(tmp_path / "b.svm", "\ufeff1 6 5 \r\n1 5:7\r\n")
    for options in ({}, {"multilabel": True, "zero_based": True, "num_features": 6}):
        store = convert([one, two], tmp_path / "a.store", overwrite=True, **options)
        assert store.y.tolist() == [[1, 0, 0, 0, 1], [0] * 5, [0, 1, 0, 0, 0]]
        assert store.class_names == tuple("01234")
        assert store[:].toarray().tolist() == [
            [1, 0, 0, 2, 0, 0], [0, 0, 5, 0, 0, 0], [0, 0, 0, 0, 0, 7]
        ]  # fmt: skip
    other = written(tmp_path / "c.svm", "1 7 5\n1 5:7\n")
    with pytest.raises(ValueError, match="its first line says 7 features and 5 labels"):
        convert([one, other], tmp_path / "b.store")


def test_queries_are_kept_in_a_file_or_said_to_be_dropped(
    tmp_path: Path, capsys: Any
) -> None:
    text = "2 qid:7 1:1\n0 qid:7 2:1\n1 qid:-3 1:4\n"
    path = written(tmp_path / "a.svm", text)
    with pytest.warns(UserWarning, match="Pass query_ids='query_ids.npy' to keep the"):
        plain = convert(path, tmp_path / "a.store")
    store = convert(path, tmp_path / "b.store", query_ids=tmp_path / "q.npy")
    assert same(plain[:], store[:]) and store.y.tolist() == [2, 0, 1]
    queries = np.load(tmp_path / "q.npy")
    assert queries.tolist() == [7, 7, -3] and queries.dtype == np.int64
    with pytest.raises(FileExistsError, match="q.npy exists. Pass another path, or ov"):
        convert(path, tmp_path / "c.store", query_ids=tmp_path / "q.npy")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["convert", str(path), str(tmp_path / "d.store")]) == 0
    assert "Pass --query-ids query_ids.npy to keep the" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "d.store")
    written(path, "2 qid:8 1:1\n")
    convert(path, tmp_path / "b.store", query_ids=tmp_path / "q.npy", overwrite=True)
    assert np.load(tmp_path / "q.npy").tolist() == [8]
    with pytest.raises(ValueError, match="`y` must"):
        convert(path, tmp_path / "b.store", query_ids=tmp_path / "q.npy",
                overwrite=True, y=[1, 2])  # fmt: skip
    assert np.load(tmp_path / "q.npy").tolist() == [8]
    assert sorted(os.listdir(tmp_path)) == ["a.store", "a.svm", "b.store", "q.npy"]


@pytest.mark.parametrize("zero_based", [True, False])
def test_the_base_is_said_and_kept_for_what_must_fit(
    zero_based: bool, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = 0 if zero_based else 1
    rows = np.random.default_rng(1).integers(0, 3, (30, 6)) / 8
    rows[0, [0, 5]] = 1  # the training data uses both ends, what follows uses neither
    rows[20:, [0, 5]] = 0

    def text(part: Any) -> str:
        lines = (
            " ".join(["1", *(f"{c + shift}:{row[c]}" for c in np.flatnonzero(row))])
            for row in part
        )
        return "\n".join(lines) + "\n"

    written(tmp_path / "train.svm", text(rows[:20]))
    written(tmp_path / "test.svm", text(rows[20:]))
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "train.svm", "train.store"]) == 0
    option = "--zero-based" if zero_based else "--one-based"
    said = f"columns counted from {shift} in the source ({option})\n"
    assert capsys.readouterr().out.endswith(said)
    train = open_store("train.store")
    assert train.metadata == {"svmlight": {"zero_based": zero_based}}
    assert main(["convert", "test.svm", "test.store", "--num-features", "6"]) == 1
    error = capsys.readouterr().err
    assert "--zero-based must be given with the number of features" in error
    assert "Pass --zero-based or --one-based, as for the files that it belongs" in error
    for extra in (["--num-features", "6", option], ["--like", "train.store"]):
        assert main(["convert", "test.svm", "test.store", "--overwrite", *extra]) == 0
        assert capsys.readouterr().out.endswith(said)
        found = open_store("test.store")[:].toarray()
        assert np.allclose(found, rows[20:])
    wrong = "--one-based" if zero_based else "--zero-based"
    for extra, part in (
        (["--like", "train.store", wrong], "must be "),
        (["--like", "train.store", "--num-features", "7"], "--num-features must be 6, "
         "as --like says; received 7"),
    ):  # fmt: skip
        assert main(["convert", "test.svm", "x.store", *extra]) == 1
        assert part in capsys.readouterr().err
    assert not Path("x.store").exists()


def test_mends_of_another_base_than_that_of_what_must_fit(tmp_path: Path) -> None:
    train = {
        0: written(tmp_path / "0.svm", "1 0:5 3:7\n"),
        1: written(tmp_path / "1.svm", "1 1:5 4:7\n"),
    }
    for base, other, text in ((0, 1, "1 1:3 4:2\n"), (1, 0, "1 0:3 3:2\n")):
        like = tmp_path / f"{base}.store"
        convert(train[base], like)
        test = written(tmp_path / "test.svm", text)
        mend = f"num_features=4 and zero_based={other == 0} in place of `like`"
        with pytest.raises(SourceError, match=f"counts from {other}, pass {mend}"):
            convert(test, tmp_path / "test.store", like=like)
        options = {"num_features": 4, "zero_based": other == 0}
        store = convert(test, tmp_path / f"{base}.test.store", **options)
        assert store[:].toarray().tolist() == [[3, 0, 0, 2]]
    headed = written(tmp_path / "h.svm", "2 3 4\n1,3 1:5 3:7\n2 2:6\n")
    with pytest.raises(SourceError, match="or remove its first line, if columns count"):
        convert(headed, tmp_path / "h.store")
    written(headed, "1,3 1:5 3:7\n2 2:6\n")
    store = convert(headed, tmp_path / "h.store", multilabel=True)
    assert store[:].toarray().tolist() == [[5, 0, 7], [0, 6, 0]]
    wide = written(tmp_path / "w.svm", "2 3 4\n1,3 0:5 2:7\n2 5:6\n")
    with pytest.raises(SourceError, match="says 3 features, .* Write 6 there.$"):
        convert(wide, tmp_path / "w.store")


def test_a_store_like_another_has_its_features_and_classes(tmp_path: Path) -> None:
    matrix = marked(6, 4)
    names = list("abcd")
    convert(matrix[:3], tmp_path / "a.store", y=["T", "B", "NK"], dtype="float16",
            feature_names=names, metadata={"svmlight": "mine"}).close()
    path = written(tmp_path / "a.svm", "1 0:5 3:2\n")
    for source, y in ((matrix[3:], ["NK", "T", "T"]), (path, ["T"])):
        store = convert(source, tmp_path / "b.store", like=tmp_path / "a.store", y=y,
                        overwrite=True)
        assert store.class_names == ("B", "NK", "T") and store.dtype == np.float16
        assert [store.class_names[place] for place in store.y] == y
        assert store.feature_names == tuple(names) and store.num_features == 4
    for source, options, said in (
        (marked(3, 5), {}, "the features of the store in `like`, 4; it has 5"),
        (matrix, {"feature_names": list("abdc")}, "'b', 'c', 'd'.; it has .'a', 'b', "),
        (matrix, {"class_names": ["NK", "B", "T"]}, "must begin with those of the"),
        (path, {"class_names": ["B", "NK"]}, "in `like`, .*'NK', 'T'.* Leave `class_"),
        (matrix, {"y": ["new"] * 6}, "store in `like` must hold .* without .'new'"),
    ):
        with pytest.raises(ValueError, match=said):
            convert(source, tmp_path / "c.store", like=tmp_path / "a.store", **options)
    more = ["B", "NK", "T", "new"]
    store = convert(matrix[:2], tmp_path / "d.store", like=tmp_path / "a.store",
                    y=["new", "B"], class_names=more)
    assert store.class_names == tuple(more) and store.y.tolist() == [3, 0]
    with pytest.raises(FileNotFoundError):
        convert(matrix, tmp_path / "c.store", like=tmp_path / "no.store")


def test_an_empty_part_among_others_is_no_fault(tmp_path: Path) -> None:
    parts = [written(tmp_path / f"{i}.svm", text)
             for i, text in enumerate(["", "1 1:2\n", "\n"])]
    parts.append(tmp_path / "3.svm.gz")
    parts[-1].write_bytes(gzip.compress(b""))
    store = convert(parts, tmp_path / "a.store")
    assert store[:].toarray().tolist() == [[2]] and store.y.tolist() == [1]
    labels = written(tmp_path / "y.svm", "1\n0\n")
    with pytest.raises(ValueError, match="y.svm cannot be .* it holds labels alone"):
        convert([parts[1], labels], tmp_path / "b.store")


@pytest.mark.parametrize(
    ("magic", "suffix"),
    [
        (gzip.compress(b"1 1:1"), ".gz"),
        (bz2.compress(b"1 1:1"), ".bz2"),
        (lzma.compress(b"1 1:1"), ".xz"),
    ],
    ids=["gzip", "bz2", "lzma"],  # the first has the time in it
)
def test_packed_text_without_its_suffix(
    magic: bytes, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.svm"
    path.write_bytes(magic)
    with pytest.raises(ValueError, match=f"text. Give it the suffix {suffix}"):
        convert(path, tmp_path / "a.store")
    path.rename(path.with_name(f"a.svm{suffix}"))
    store = convert(path.with_name(f"a.svm{suffix}"), tmp_path / "a.store")
    assert store[:].toarray().tolist() == [[1]]


@pytest.mark.parametrize("multilabel", [None, True], ids=["", "multilabel"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 1:1e400", "'1e400' is beyond float64. Write inf, if that is meant"),
        ("-1e999 1:1", "'-1e999' is beyond float64"),
        ("1 2:1 1:1e400", "'1e400' is beyond float64"),  # not in order
        (f"1 1:{2**53 + 1}", "'9007199254740993' is an integer that float64"),
        (f"{2**53 + 1}.0 1:1", "'9007199254740993.0' is an integer that float64"),
        ("1 1_0:5", "'1_0:5' is no column:value"),
        ("1 10:1_5", "'10:1_5' is no column:value; it looks like a value that is no"),
        ("1_0 1:5", "'1_0' is no label"),
        ("1 qid:1_0 1:5", "'qid:1_0' is no query"),
    ],
)
def test_numbers_that_python_reads_otherwise(
    line: str, said: str, multilabel: bool | None, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.svm", f"1 1:1 # 1_0 1e400\n0 2:1\n{line}\n")
    with pytest.raises(SourceError, match=re.escape(f"line 3: {said}")):
        convert(path, tmp_path / "a.store", multilabel=multilabel, query_ids=None)


def test_numbers_that_are_meant_to_be_large_or_none(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.svm", "inf 1:inf 2:-Infinity # 1_0\n1e20 1:1e20 2:1e-400\n"
    )
    store = convert(path, tmp_path / "a.store", dtype="float64")
    assert store[:].toarray().tolist() == [[np.inf, -np.inf], [1e20, 0]]
    assert store.y.tolist() == [np.inf, 1e20]


def test_labels_that_would_be_read_as_their_neighbours(tmp_path: Path) -> None:
    path = written(tmp_path / "a.svm", f"1 1:1\n{2**53 + 1} 1:1\n")
    for options in ({}, {"classes": True}, {"multilabel": True}):
        with pytest.raises(SourceError, match="line 2: '9007199254740993' is an in"):
            convert(path, tmp_path / "a.store", **options)
    written(path, f"1 1:1\n{2**53} 1:1\n")
    assert convert(path, tmp_path / "b.store").y.tolist() == [1, 2**53]
    for options in ({"classes": True}, {"multilabel": True}):
        with pytest.raises(SourceError, match="the label 9007199254740992 would be"):
            convert(path, tmp_path / "a.store", **options)
    written(path, f"1 1:1\n{2**53 - 1} 1:1\n")
    store = convert(path, tmp_path / "a.store", classes=True)
    assert store.class_names == ("1", str(2**53 - 1))


def test_a_query_beyond_64_bits_and_a_file_that_is_not_one_of_queries(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "a.svm", "1 qid:99999999999999999999 1:1\n")
    with pytest.raises(SourceError, match="is no query; it looks like a hash beyond"):
        convert(path, tmp_path / "a.store", query_ids=tmp_path / "q.npy")
    text = path.read_bytes()
    with pytest.raises(FileExistsError, match="a.svm is no .npy file, and `query_ids`"):
        convert(path, tmp_path / "a.store", query_ids=path, overwrite=True)
    assert path.read_bytes() == text


def test_a_sum_that_no_float_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.svmlight"
    path.write_text("0 1:1\n1 1:1.7e308 1:1.7e308\n")
    with pytest.raises(ValueError, match="place in row 1, whose sum float64 cannot ho"):
        convert(path, tmp_path / "a.store", dtype="float64")
    path.write_text("0 1:1\n1 1:1.7e305 1:1.7e305\n")
    store = convert(path, tmp_path / "a.store", dtype="float64")
    assert store[:].toarray().tolist() == [[1], [3.4e305]]

"""Columns of the types that pandas, polars and pyarrow have: values, or why not."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy
import scipy.sparse as sp
from encoded import plain
from refusals import refused, sequence

from sequence_loader import (
    BalancedSampler,
    NgramVectorizer,
    StoreWriter,
    WeightedSampler,
    convert,
    open_store,
)
from sequence_loader.rows.values import DoesNotFit

IDS = [17_000_003, 0, 17_000_001, 5]
SHARES = [0.5, 0.25, 0.75, 1.5]


def whole(seq):
    return np.concatenate([plain(batch[0]) for batch in seq])


def targets(seq):
    return np.concatenate([plain(batch[1]) for batch in seq]).tolist()


def of_arrow(array):
    return pd.Series(pd.arrays.ArrowExtensionArray(array))


def runs(*values):
    ends = range(2, 2 * len(values) + 1, 2)
    return pa.RunEndEncodedArray.from_arrays(list(ends), list(values))


def union(*children):
    kinds = pa.array([i % len(children) for i in range(4)], pa.int8())
    return pa.UnionArray.from_sparse(kinds, list(map(pa.array, children)))


def int128(values):
    return pl.Series(values, dtype=pl.Int128)


def categories(values):
    return pd.DataFrame({"a": pd.Categorical(values)})


@pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128])
def test_integers_of_128_bits_are_what_they_are(kind):
    column = pl.Series("id", [2**53 + 1, 0, 7, 2**62 + 1], dtype=kind)
    frame = pl.DataFrame({"id": column, "n": pl.Series([1, 2, 3, 4], dtype=kind)})
    expected = column.to_list()
    for x in (frame, frame["id"]):
        found = whole(sequence(x))
        assert found.dtype == np.int64
        assert found.reshape(4, -1)[:, 0].tolist() == expected
    assert targets(sequence(np.eye(4), column)) == expected
    assert targets(sequence(np.eye(4), frame)) == list(map(list, frame.rows()))
    missing = pl.Series([5, None, 7, 8], dtype=kind)
    found = whole(sequence(missing))
    assert np.array_equal(found, [5, np.nan, 7, 8], equal_nan=True)
    large = pl.Series([1, 2**100 + 1], dtype=kind)
    refused(
        DoesNotFit,
        f"`x` holds {2**100 + 1} in row 1, among objects of column 'id', which become",
        call=lambda: sequence(pl.DataFrame({"id": large})),
    )


def test_columns_of_several_values_a_row_are_refused_and_unnested():
    pairs = pl.Series([[i, 10 + i] for i in IDS], dtype=pl.Array(pl.Int64, 2))
    fields = pl.Series([{"a": i, "b": s} for i, s in zip(IDS, SHARES)])
    frame = pl.DataFrame({"pair": pairs, "k": [1, 2, 3, 4]})
    expected = [[i, 10 + i, k] for k, i in enumerate(IDS, 1)]
    for name, call in (
        ("x", lambda: sequence(frame)),
        ("y", lambda: sequence(np.eye(4), frame)),
        ("sample_weight", lambda: sequence(np.eye(4), frame["k"], frame)),
        ("transform(x)", lambda: sequence(np.eye(4), transform=lambda x: frame)[0]),
    ):
        refused(
            TypeError,
            f"`{name}` must have columns of one value a row; received column 'pair' of "
            f"Array(Int64, shape=(2,)). Pass {name}.with_columns({name}['pair'].arr."
            f"to_struct()).unnest('pair'), ",
            call=call,
        )
    x = frame
    mended = x.with_columns(x["pair"].arr.to_struct()).unnest("pair")
    assert whole(sequence(mended)).tolist() == expected
    assert targets(sequence(np.eye(4), mended)) == expected
    x = pl.DataFrame({"both": fields, "k": [1, 2, 3, 4]})
    refused(
        TypeError,
        "`x` must have columns of one value a row; received column 'both' of Struct({",
        "Pass x.unnest('both'), which has a column for each value.",
        call=lambda: sequence(x, dtype="float64"),
    )
    expected = [[i, s, k] for k, (i, s) in enumerate(zip(IDS, SHARES), 1)]
    assert whole(sequence(x.unnest("both"), dtype="float64")).tolist() == expected


def test_fields_of_a_column_alone_are_columns_and_round_no_integer():
    ids = [2**53 + 1, 1]
    column = pl.Series([{"a": i, "b": 7} for i in ids])
    assert whole(sequence(column)).tolist() == [[i, 7] for i in ids]
    beside = pl.Series([{"a": i, "b": 0.5} for i in ids])
    for name, call in (
        ("x", lambda: sequence(beside, dtype="float64")),
        ("y", lambda: sequence(np.eye(2), beside)),
    ):
        refused(
            DoesNotFit,
            f"`{name}` holds {2**53 + 1} in row 0, in column 'a' beside floats",
            call=call,
        )


ARROW = {
    "run ends": (runs(7, 8), [7, 7, 8, 8]),
    "run ends, missing": (runs(7, None), [7, 7, np.nan, np.nan]),
    "union": (union([1, 2, 3, 4], [5, 6, 7, 8]), [1, 6, 3, 8]),
    "union of floats": (union([1, 2, 3, 4], SHARES), [1, 0.25, 3, 1.5]),
    "dictionary": (pa.array([9, 7, 9, 8]).dictionary_encode(), [9, 7, 9, 8]),
    "decimal": (pa.array([9, 7, 9, 8]).cast(pa.decimal128(21, 1)), [9, 7, 9, 8]),
    "floats": (pa.array([0.5, None, 1.5, 2]), [0.5, np.nan, 1.5, 2]),
}


@pytest.mark.parametrize("name", ARROW)
@pytest.mark.parametrize("made", [pa.array, lambda a: pa.chunked_array([a[:1], a[1:]])])
def test_columns_of_pyarrow_in_tables_of_both(name, made):
    array, expected = ARROW[name]
    k = [10, 20, 30, 40]
    for x in (pa.table({"c": made(array), "k": k}), {"c": of_arrow(array), "k": k}):
        x = pd.DataFrame(x) if isinstance(x, dict) else x
        columns = np.column_stack([expected, k])
        for dtype in (None, "float64"):
            found = whole(sequence(x, dtype=dtype))
            assert np.array_equal(found, columns, equal_nan=True)
    for column in (made(array), of_arrow(array)):
        assert np.array_equal(whole(sequence(column)), expected, equal_nan=True)
        if not np.isnan(expected).any():
            assert targets(sequence(np.eye(4), column)) == expected
            assert targets(sequence(np.eye(4), column, column)) == expected


STRANGE = {
    "string view": pa.array(list("abab"), pa.string_view()),
    "binary view": pa.array([b"\xe9", b"b"] * 2, pa.binary_view()),
    "list view": pa.array([[1, 2]] * 4, pa.list_view(pa.int64())),
    "intervals": pa.array([pa.MonthDayNano([1, 2, 3])] * 4),
    "uuid": pa.array([b"1" * 16] * 4, pa.uuid()),
    "union of texts": union([1, 2, 3, 4], list("abcd")),
    "texts in runs": runs("a", "b"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_columns_of_no_numbers_are_refused_by_us(name, tmp_path):
    array = STRANGE[name]
    for column in (array, of_arrow(array)):
        kind = pd.DataFrame if hasattr(column, "iloc") else pa.table
        for x in (column, kind({"c": column})):
            refused(TypeError, "`x` holds items that are not", call=lambda: sequence(x))
            said = "`y` must hold numbers; received dtype "
            refused(TypeError, said, call=lambda: sequence(np.eye(4), x))
            refused(
                TypeError,
                said.replace("`y`", "`sample_weight`"),
                call=lambda: sequence(np.eye(4), np.arange(4), x),
            )
            with StoreWriter(tmp_path / "a.store", 4, overwrite=True) as writer:
                refused(TypeError, said, call=lambda: writer.append(np.eye(4), y=x))
        with pytest.raises((TypeError, ValueError), match="`rows` must"):
            sequence(np.eye(4), rows=column)
        with pytest.raises(TypeError, match="`weights` must"):
            WeightedSampler(column)
        if name not in ("string view", "texts in runs"):
            with pytest.raises((TypeError, ValueError), match="`labels` must"):
                BalancedSampler(column)


def test_labels_in_blocks_are_given_their_names(tmp_path):
    said = "`class_names` must be given where labels in blocks are classes, since later"
    column = of_arrow(runs("b", "a"))
    for y in (column, pd.Categorical(list("bbaa")), list("bbaa"), runs("b", "a")):
        text = refused(
            ValueError, said, call=lambda: convert([(np.eye(4), y)], tmp_path / "a")
        )
        assert text.endswith("Pass all names, for example class_names=['a', 'b'].")
        options = {"class_names": ["a", "b"], "overwrite": True}
        store = convert([(np.eye(4), y)], tmp_path / "a.store", **options)
        assert store.y.tolist() == [1, 1, 0, 0] and store.class_names == ("a", "b")


@pytest.mark.parametrize("kind", [lambda v: of_arrow(runs(*v)), int128, categories])
def test_what_is_advised_where_numbers_are_missing_leaves_those_out(kind):
    y = kind([7, None])
    text = refused(
        ValueError,
        "`y` must have a number for each row, or the loss is NaN; row ",
        call=lambda: targets(sequence(np.eye(len(y)), y)),
    )
    rows = eval(text.partition("with rows=")[2][:-1], {"np": np, "pd": pd, "y": y})
    assert set(np.ravel(targets(sequence(np.eye(len(y)), y, rows=rows)))) == {7}


class Unlike:
    """What does not let itself compare, nor be made a number."""

    def __eq__(self, other):
        raise RuntimeError("not comparable")

    def __float__(self):
        raise RuntimeError("no number")


def test_labels_that_cannot_be_compared(tmp_path):
    items = [Unlike(), 1, 2, 10**400]
    for y in (items, np.array(items), pd.Series(items)):
        said = "`y` must hold numbers; received dtype object: ["
        refused(TypeError, said, call=lambda: sequence(np.eye(4), y))
        call = lambda: convert(np.eye(4), tmp_path / "a", y=y)  # noqa: E731
        refused(TypeError, "`y` must hold numbers; received dtype object", call=call)
        said = "`labels` must hold integers, booleans or strings; received dtype object"
        refused(TypeError, said, call=lambda: BalancedSampler(y))


def test_a_list_of_texts_that_lacks_one_has_no_class_of_that_name():
    for gone in (None, float("nan"), pd.NA):
        said = "`labels` must hold integers, booleans or strings; received dtype object"
        refused(
            TypeError,
            said,
            "Leave rows without a label out",
            call=lambda: BalancedSampler(["a", gone, "b"]),
        )


def test_columns_of_types_of_other_packages(tmp_path):
    values = np.array([1, 0, 2, 1]).astype(ml_dtypes.bfloat16)
    for x in (pd.DataFrame({"a": values}), pd.DataFrame({"a": values, "b": [1.5] * 4})):
        assert whole(sequence(x))[:, 0].tolist() == [1, 0, 2, 1]
        store = convert(x, tmp_path / "a.store", overwrite=True)
        assert store[:].toarray()[:, 0].tolist() == [1, 0, 2, 1]
        assert np.array(targets(sequence(np.eye(4), x)))[:, 0].tolist() == [1, 0, 2, 1]
    values = values.astype(ml_dtypes.float8_e5m2)
    for x in ({"a": values}, {"a": values, "b": [1.5] * 4}):
        said = "must hold real numbers; received dtype float8_e5m2. Convert it, for exa"
        x = pd.DataFrame(x)
        refused(TypeError, f"`x` {said}", call=lambda: sequence(x))
        refused(TypeError, f"`y` {said}", call=lambda: sequence(np.eye(4), x))
        assert whole(sequence(x.astype("float32")))[:, 0].tolist() == [1, 0, 2, 1]


TABLES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.mark.parametrize("package", TABLES)
def test_integers_beside_fractions_fit_the_dtype_that_is_asked_for(package, tmp_path):
    x = TABLES[package]({"id": IDS, "share": SHARES})
    expected = [list(row) for row in zip(IDS, SHARES)]
    said = "`x` holds 17000003 in row 0, in column 'id' beside floats, which "
    for options in ({}, {"dtype": "float32"}):
        refused(DoesNotFit, said, "float32", call=lambda: sequence(x, **options))
    for dtype in ("float64", np.float64):
        found = whole(sequence(x, dtype=dtype))
        assert found.dtype == np.float64 and found.tolist() == expected
    both = sequence({"a": x, "b": x["id"]}, dtype={"a": "float64", "b": None})
    assert np.concatenate([batch[0]["a"] for batch in both]).tolist() == expected
    said = "`x` holds 2049 in row 0, in column 'id' beside floats, which float16 cannot"
    small = TABLES[package]({"id": [2049, 1], "share": [0.5, 1]})
    refused(DoesNotFit, said, call=lambda: sequence(small, dtype="float16"))
    assert whole(sequence(small)).tolist() == [[2049, 0.5], [1, 1]]
    large = TABLES[package]({"id": [2**53 + 1, 1], "share": [0.5, 1]})
    said = f"`x` holds {2**53 + 1} in row 0, in column 'id' beside floats, which float6"
    refused(DoesNotFit, said, call=lambda: sequence(large, dtype="float64"))
    seq = sequence(np.eye(4), transform=lambda rows: x, batch_size=4, dtype="float64")
    assert seq[0][0].tolist() == expected
    seq = sequence(np.eye(4), transform=lambda rows: x, batch_size=4)
    refused(DoesNotFit, "`transform(x)` holds 17000003 in", call=lambda: seq[0])
    with StoreWriter(tmp_path / "a.store", 2, dtype="float64") as writer:
        writer.append(x)
    assert open_store(tmp_path / "a.store")[:].toarray().tolist() == expected


def test_missing_integers_and_objects_fit_the_dtype_that_is_asked_for():
    missing = [17_000_001, None, 3]
    for x in (
        pl.Series(missing),
        pa.array(missing),
        pd.Series(missing, dtype="Int64"),
        np.array(missing, object),
    ):
        found = whole(sequence(x, dtype="float64"))
        assert np.array_equal(found, [17_000_001, np.nan, 3], equal_nan=True)
        refused(DoesNotFit, "`x` holds 17000001 in row 0", call=lambda: sequence(x))


# Labels


def classes_of(y, folder, **options):
    options = {"overwrite": True, "progress": False, **options}
    store = convert(np.eye(len(y)), folder / "y.store", y=y, **options)
    return store.y[:].tolist(), store.class_names


NAMES = ["small", "large", "huge"]  # neither sorted nor as they occur
SIZES = ["huge", "small", "small", "large"]


def ordered(entries, names):
    places = [None if each is None else names.index(each) for each in entries]
    return pa.DictionaryArray.from_arrays(
        pa.array(places, pa.uint8()), pa.array(names), ordered=True
    )


COUNTS = [7, -1, 10], [10, 7, 7, -1]


@pytest.mark.parametrize("names, entries", [(NAMES, SIZES), COUNTS])
def test_categories_keep_their_order(names, entries, tmp_path):
    expected = [2, 0, 0, 1], tuple(map(str, names))
    array = ordered(entries, names)
    both = [ordered(entries[:2], names), ordered(entries[2:], names[::-1])]
    kinds = [
        pd.Categorical(entries, names),
        pd.Series(pd.Categorical(entries, names, ordered=True)),
        array,
        pa.chunked_array(both),
        of_arrow(array),
    ]
    if names is NAMES:
        kinds.append(pl.Series(entries, dtype=pl.Enum(names)))
    for y in kinds:
        for options in ({}, {"classes": True}):
            assert classes_of(y, tmp_path, **options) == expected
        given = tuple(sorted(map(str, names)))
        found = classes_of(y, tmp_path, class_names=given)
        assert found == ([given.index(str(each)) for each in entries], given)
    lacking = [entries[0], None, *entries[2:]]
    kinds = [pd.Categorical(lacking, names), ordered(lacking, names)]
    kinds += [pl.Series(lacking, dtype=pl.Enum(names))] if names is NAMES else []
    for y in kinds:
        found = classes_of(y, tmp_path, missing_labels="zero-weight")
        assert found == expected
        said = "`y` must be known for each row; row 1, counted from 0, has None. Remove"
        with pytest.raises(ValueError, match=said):
            classes_of(y, tmp_path)


def test_labels_whose_type_has_no_order_are_sorted(tmp_path):
    expected = [0, 2, 2, 1], ("huge", "large", "small")
    for y in (
        SIZES,
        pl.Series(SIZES, dtype=pl.Categorical),
        pa.array(SIZES).dictionary_encode(),
        of_arrow(pa.array(SIZES).dictionary_encode()),
        np.array(SIZES, "S"),
    ):
        assert classes_of(y, tmp_path) == expected


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_numbers_are_named_by_the_digits_of_their_own_type(kind, tmp_path):
    values = [0.7, 0.1, 2.0, 0.1]
    numbers = np.array(values, kind)
    expected = [1, 0, 2, 0], ("0.1", "0.7", "2")
    of_polars = {"float32": [pl.Float32], "float64": [pl.Float64]}.get(kind, [])
    made = [numbers, pa.array(numbers), numbers.astype(numbers.dtype.newbyteorder())]
    made += [of_arrow(pa.array(numbers))]
    made += [pl.Series(values, dtype=each) for each in of_polars]
    if kind != "float16":
        made += [pd.Series(values, dtype=kind.title()), pd.Categorical(numbers)]
    for y in made:
        assert classes_of(y, tmp_path, classes=True) == expected
        given = ("2", "0.7", "0.1")
        found = classes_of(y, tmp_path, classes=True, class_names=given)
        assert found == ([1, 2, 0, 2], given)
    lacking = [0.7, None, 2.0, 0.1]
    made = [pa.array(lacking).cast(kind if kind != "float16" else "halffloat")]
    made += [pl.Series(lacking, dtype=t) for t in of_polars]
    if kind != "float16":
        made += [pd.Series(lacking, dtype=kind.title())]
    for y in [*made, of_arrow(made[0])]:
        options = {"classes": True, "missing_labels": "zero-weight"}
        assert classes_of(y, tmp_path, **options) == expected


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64", "float16"])
def test_numbers_that_are_places_of_classes(kind, tmp_path):
    y = np.array([1, 0, 2, 1], kind)
    found = classes_of(y, tmp_path, class_names=NAMES)
    assert found == ([1, 0, 2, 1], tuple(NAMES))
    said = "`class_names` must name each class, of which `y` has 3, counted from 0"
    with pytest.raises(ValueError, match=said):
        classes_of(y, tmp_path, class_names=NAMES[:2])


def test_labels_that_are_no_text_and_no_numbers(tmp_path):
    y = np.array([b"\xe9t\xe9", b"mai", b"mai"])
    np.save(tmp_path / "y.npy", y)
    for given in (y, y.tolist(), tmp_path / "y.npy"):
        for options in ({}, {"classes": True}, {"class_names": ["mai", "été"]}):
            refused(
                ValueError,
                "`y` must be text, or bytes of UTF-8; received ",
                r"b'\xe9t\xe9'. Pass text: np.char.decode(labels, 'latin-1')",
                call=lambda: convert(
                    np.eye(3), tmp_path / "a.store", y=given, progress=False, **options
                ),
            )
    mended = np.char.decode(y, "latin-1")
    assert classes_of(mended, tmp_path) == ([1, 0, 0], ("mai", "été"))
    y = np.array([(1, 2.0)] * 3, "i4,f4")
    call = lambda: classes_of(y, tmp_path)  # noqa: E731
    refused(TypeError, "`y` must hold real numbers; received dtype [('f0'", call=call)
    mended = np.stack([y[each] for each in y.dtype.names], -1)
    assert classes_of(mended, tmp_path) == ([[1, 2]] * 3, None)


@pytest.mark.parametrize("kind", ["float8_e5m2", "float8_e4m3fn", "int4"])
def test_types_of_other_packages_are_refused(kind, tmp_path):
    values = np.array([1, 0, 2, 1]).astype(getattr(ml_dtypes, kind))
    for name, call in (
        ("x", lambda: sequence(values)),
        ("y", lambda: sequence(np.eye(4), values)),
        ("sample_weight", lambda: sequence(np.eye(4), np.arange(4), values)),
        ("y", lambda: classes_of(values, tmp_path)),
        ("y", lambda: classes_of(values, tmp_path, classes=True)),
    ):
        refused(
            TypeError,
            f"`{name}` must hold real numbers; received dtype {kind}. Convert it, for "
            f"example with {name}.astype('float32').",
            call=call,
        )
    assert targets(sequence(np.eye(4), values.astype("float32"))) == [1, 0, 2, 1]


def test_longdoubles_become_float64_and_no_dtype_is_advised_that_is_not_taken(tmp_path):
    x = np.array([[1, 2], [3, 4]], np.longdouble)
    for y in (x, x[:, 0], sp.csr_array(x)):
        weight = x[:, 1]
        served = sequence(x, y, weight)[0]
        assert [each.dtype for each in served] == ["float32", "float64", "float64"]
        assert plain(served[1]).tolist() == plain(y).tolist()
        assert served[2].tolist() == [2, 4]
    x[1, 0] = np.longdouble("1e4000")
    mend = "Pass smaller numbers, scaled so that float64 holds them."
    said = "` holds 1e+4000 in row 1, column 0, which float"

    def written():
        with StoreWriter(tmp_path / "a.store", 2, dtype="float64") as writer:
            writer.append(x)

    for name, kind, call in (
        ("x", DoesNotFit, lambda: sequence(x)[0]),
        ("x", DoesNotFit, lambda: sequence(x, dtype="float64")[0]),
        ("y", DoesNotFit, lambda: sequence(np.eye(2), x)[0]),
        ("block", ValueError, written),
    ):
        refused(kind, f"`{name}{said}", mend, call=call)
    for dtype in (np.longdouble, "float128"):
        refused(
            TypeError,
            "`dtype` must be one that Keras has, of 64 bits at most; received",
            "Pass for example dtype='float64'.",
            call=lambda: sequence(np.eye(2), dtype=dtype),
        )
    scaled = whole(sequence(x / np.longdouble("1e3990"), dtype="float64"))
    assert scaled[1, 0] == 1e10


@pytest.mark.parametrize("path", [True, 3, b"a.store", ["a.store"]])
def test_paths_are_text(path, tmp_path):
    Path(tmp_path / "a.svm").write_text("1 qid:1 1:1\n0 qid:2 2:1\n")

    def converted(target=tmp_path / "a.store", **options):
        convert(tmp_path / "a.svm", target, progress=False, **options)

    for name, call in (
        ("path", lambda: converted(path)),
        ("query_ids", lambda: converted(query_ids=path)),
        ("label_store", lambda: converted(label_store=path)),
        ("path", lambda: StoreWriter(path, 2)),
        ("path", lambda: NgramVectorizer.load(path)),
    ):
        said = f"`{name}` must be a path, as text or a pathlib.Path; received {path!r}"
        refused(TypeError, said, f"Pass for example {name}='", call=call)
    assert not list(tmp_path.glob("*.store"))
    converted(query_ids=str(tmp_path / "query_ids.npy"))
    assert np.load(tmp_path / "query_ids.npy").tolist() == [1, 2]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Sparse")  # of torch, that it may change
def test_sparse_tensors_of_torch_are_refused(tmp_path):
    import torch

    said = "must be an array or a scipy sparse matrix; received a sparse tensor of tor"
    for kind in (torch.uint16, torch.uint64, torch.float32):
        values = torch.tensor([1, 2, 3]).to(kind)
        coo = torch.sparse_coo_tensor([[0, 1, 2], [0, 1, 0]], values, (3, 2))
        csr = torch.sparse_csr_tensor([0, 1, 2, 3], [0, 1, 0], values, (3, 2))
        csc = torch.sparse_csc_tensor([0, 2, 3], [0, 2, 1], values, (3, 2))
        for y in (coo, csr, csc):
            text = refused(TypeError, f"`y` {said}", call=lambda: sequence(EYE, y))
            with StoreWriter(tmp_path / "a.store", 2, overwrite=True) as writer:
                call = lambda: writer.append(y)  # noqa: E731
                refused(TypeError, f"`block` {said}", call=call)
                writer.append(np.eye(2))
            mended = eval(text.partition(". Pass ")[2][:-1], {"scipy": scipy, "y": y})
            rows = [[1, 0], [0, 3], [2, 0]] if y is csc else [[1, 0], [0, 2], [3, 0]]
            assert targets(sequence(EYE, mended)) == rows
            assert whole(sequence(mended)).tolist() == rows


EYE = np.eye(3)

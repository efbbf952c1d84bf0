"""Tables of pandas, polars and pyarrow: as numbers, as sparse rows, for a transform."""

from __future__ import annotations

import contextlib
import pickle
import re
import shutil
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
from encoded import csr, dense, plain
from hypothesis import example, given
from hypothesis import strategies as st
from refusals import refused
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

from sequence_loader import (
    BalancedSampler,
    SparseBatchSequence,
    StoreWriter,
    WeightedSampler,
    WorkerError,
    convert,
    open_store,
)
from sequence_loader.importers.source import SourceError
from sequence_loader.rows.sources import CsrSource, as_row_source
from sequence_loader.rows.objects import from_objects
from sequence_loader.rows.tables import is_table, numbers_of
from sequence_loader.rows.values import DoesNotFit

ROWS = 7
COLUMNS = {"count": np.arange(ROWS) * 3, "share": np.arange(ROWS) / 4}


def arrow(columns):
    return pa.table(columns)


def polars(columns):
    return pl.DataFrame(columns)


TABLES = {"pandas": pd.DataFrame, "polars": polars, "pyarrow": arrow}


@pytest.fixture(params=TABLES)
def table(request):
    return TABLES[request.param]


def sequence(x, y=None, **options):
    return SparseBatchSequence(x, y, **{"batch_size": 3, **options})


def whole(seq):
    return np.concatenate([plain(batch[0]) for batch in seq])


# Numbers


def test_numbers_become_a_matrix(table):
    found = whole(sequence(table(COLUMNS)))
    assert found.dtype == np.float32
    assert (found == np.column_stack([*COLUMNS.values()])).all()
    ids = COLUMNS["count"] + 17_000_001
    found = whole(sequence(table({"a": ids, "b": ids > 17_000_010})))
    assert found.dtype == np.int64 and (found.T == [ids, ids > 17_000_010]).all()
    for kind in ("bool", "uint8", "int16"):
        values = (ids % 2).astype(kind)
        found = whole(sequence(table({"a": values, "b": values})))
        assert found.dtype == kind and (found.T == [values, values]).all()


def test_a_column_by_itself_is_an_array(table):
    column = table({"id": COLUMNS["count"] + 17_000_001})["id"]
    found = whole(sequence(column))
    assert found.dtype == np.int64 and (found == COLUMNS["count"] + 17_000_001).all()
    batch = sequence(np.eye(ROWS), column)[1]
    assert batch[1].tolist() == found[3:6].tolist()


def test_whole_numbers_beside_floats_must_be_held(table):
    made = table({"id": COLUMNS["count"] + 17_000_000, "share": COLUMNS["share"]})
    for x, name in ((made, "x"), ({"t": made}, "x['t']")):
        refused(
            DoesNotFit,
            f"`{name}` holds 17000003 in row 1, in column 'id' beside floats, which "
            f"float32 cannot hold. Pass that column by itself",
            "or that column as float64, if it is an amount.",
            call=lambda: sequence(x),
        )
    apart = {"id": made["id"], "share": made["share"]}
    found = [batch[0]["id"] for batch in sequence(apart)]
    assert np.concatenate(found).tolist() == (COLUMNS["count"] + 17_000_000).tolist()
    if isinstance(made, pd.DataFrame):
        found = whole(sequence(made.astype("float64"), dtype="float64"))
        assert found[1, 0] == 17000003


def test_missing_values_are_nan(table):
    found = whole(sequence(table({"a": [1, None, 3], "b": [0.5, 1.0, None]})))
    expected = [[1, 0.5], [np.nan, 1], [3, np.nan]]
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("kind", ["Int64", "UInt8", "Float64", "boolean"])
def test_pandas_types_with_a_mask(kind):
    values = [1, 0, 1, 1]
    frame = pd.DataFrame({"a": pd.array(values, dtype=kind), "b": values})
    assert (whole(sequence(frame)) == np.column_stack([values, values])).all()
    frame.loc[2, "a"] = pd.NA
    found = whole(sequence(frame, dtype="float64"))
    assert np.array_equal(found[:, 0], [1, 0, np.nan, 1], equal_nan=True)


def test_a_frame_of_one_dtype_is_not_copied():
    values = dense(5, 3)
    assert np.shares_memory(numbers_of(pd.DataFrame(values, copy=False), "x"), values)


def test_a_table_of_texts_needs_a_transform(table):
    refused(
        TypeError,
        "`x` holds items that are not numbers",
        "with column 'words' of texts. Pass {'others': x.drop",
        call=lambda: sequence(table({"words": ["a b", "c"], "count": [2, 1]})),
    )


def test_columns_of_objects_that_are_numbers():
    frame = pd.DataFrame({"a": [1, 2**40], "b": [True, False]}, dtype=object)
    assert whole(sequence(frame)).tolist() == [[1, 1], [2**40, 0]]
    frame["c"] = ["x", 1]
    refused(TypeError, "`x` holds items that are no", call=lambda: sequence(frame))


def test_pandas_columns_of_arrow():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow")
    found = whole(sequence(frame))
    assert (found == np.column_stack([*COLUMNS.values()])).all()


# With a transform


@pytest.mark.parametrize("others", [{}, {"name": list("abcdefg")}], ids=["", "text"])
def test_a_transform_is_given_a_table_whatever_its_columns(table, others):
    made = table({**COLUMNS, **others})
    order = np.array([6, 0, 3, 2])

    def change(block):
        assert type(block) is type(made) and is_table(block)
        share = block["share"]
        return np.asarray(share.to_numpy()).reshape(-1, 1) * 4

    for x, transform in ((made, change), ({"t": made}, {"t": change})):
        seq = sequence(x, transform=transform, rows=order, batch_size=2)
        found = [batch[0]["t"] if isinstance(x, dict) else batch[0] for batch in seq]
        assert np.concatenate(found).ravel().tolist() == order.tolist()
    copy = pickle.loads(pickle.dumps(as_row_source(made, "x", change)))
    assert change(copy.read(order)).ravel().tolist() == order.tolist()


@pytest.mark.parametrize("others", [{}, {"name": list("abcdefg")}], ids=["", "text"])
def test_a_column_transformer_goes_by_names(others):
    frame = pd.DataFrame({**others, **COLUMNS})
    fitted = ColumnTransformer([("s", StandardScaler(), ["share"])]).fit(frame)
    expected = fitted.transform(frame).astype("float32")
    assert (whole(sequence(frame, transform=fitted.transform)) == expected).all()
    fitted.set_output(transform="pandas")
    assert (whole(sequence(frame, transform=fitted.transform)) == expected).all()


def test_a_transform_may_return_a_table(table):
    made = table(COLUMNS)
    keep = (lambda t: t.select(["count"])) if not isinstance(
        made, pd.DataFrame
    ) else (lambda t: t[["count"]])
    found = whole(sequence(made, transform=keep))
    assert found.dtype == np.int64 and (found[:, 0] == COLUMNS["count"]).all()


def test_columns_of_texts_are_what_a_tokenizer_takes(table):
    texts = ["b a", "c", "a", "b", "c c"]
    column = table({"text": texts})["text"]
    seq = sequence(
        column,
        transform=lambda block: np.array([[text.count("c")] for text in block]),
        rows=[4, 0, 1],
    )
    assert seq[0][0].ravel().tolist() == [2, 0, 1]


def test_a_series_of_numbers_stays_one_for_a_transform():
    series = pd.Series(COLUMNS["count"], index=range(100, 107))
    found = whole(sequence(series, transform=lambda s: s.to_frame().to_numpy()))
    assert (found[:, 0] == COLUMNS["count"]).all()


# Sparse columns

SPARSE = csr(40, 9, 0.2)


@pytest.mark.parametrize("alone", [False, True])
def test_integers_beside_missing_ones_must_be_held(table, alone):
    ids = [17_000_001, None, 3]
    made = table({"id": pd.array(ids, "Int64") if table is pd.DataFrame else ids})
    made = made["id"] if alone else made
    where = "" if alone else " of column 'id'"
    refused(
        DoesNotFit,
        f"`x` holds 17000001 in row 0, beside missing values{where}, which make floats "
        f"of integers, and float32 cannot hold it. Pass the column with what is",
        call=lambda: sequence(made),
    )
    ids = [5, None]
    small = table({"id": pd.array(ids, "Int64") if table is pd.DataFrame else ids})
    assert np.array_equal(whole(sequence(small)), [[5], [np.nan]], equal_nan=True)
    if alone:  # targets are served in the dtype they have
        seq = sequence(np.eye(3), made, rows=[0, 2])
        assert [row for batch in seq for row in batch[1].tolist()] == [17_000_001, 3]
    if table is pd.DataFrame:  # the mends
        filled = whole(sequence(made.fillna(0)))
        assert filled.ravel().tolist() == [17_000_001, 0, 3]
        found = whole(sequence(made.astype("float64"), dtype="float64"))
        assert found.ravel()[0] == 17_000_001


def test_a_mask_is_not_lost_in_a_transform():
    def masked(rows, rng=None):
        return np.ma.array(rows, mask=rows > 0)

    for name in ("transform", "augment"):
        seq = sequence(np.eye(3), **{name: masked})
        refused(
            TypeError, f"`{name}(x)` must not be a masked", call=lambda seq=seq: seq[0]
        )


def sparse_frame(dtype="float64", fill=0):
    frame = pd.DataFrame.sparse.from_spmatrix(SPARSE, columns=list("abcdefghi"))
    return frame.astype(pd.SparseDtype(dtype, fill))


@pytest.mark.parametrize("output", ["dense", "sparse", "csr"])
@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
def test_sparse_columns_are_served_as_sparse_rows(output, dtype):
    frame = sparse_frame().astype(pd.SparseDtype(dtype, np.dtype(dtype).type(0)))
    source = as_row_source(frame)
    assert isinstance(source, CsrSource) and source.matrix.data.dtype == dtype
    assert len(source.matrix.data) == SPARSE.nnz
    seq = sequence(frame, frame, output=output)
    expected = SPARSE.toarray() != 0 if dtype == "bool" else SPARSE.toarray()
    assert sp.issparse(seq[0][0]) == (output == "csr")
    assert (whole(seq) == expected).all() and seq[0][0].dtype == np.float32
    for batch, start in zip(seq, range(0, 40, 3)):
        assert batch[1].dtype == dtype and (batch[1] == expected[start:][:3]).all()


def test_sparse_columns_beside_others():
    frame = sparse_frame("int64").assign(half=0.5, n=np.arange(40), half_2=0.0)
    source = as_row_source(frame)
    assert isinstance(source, CsrSource)
    assert len(source.matrix.data) == SPARSE.nnz + 40 + 39
    expected = np.column_stack([SPARSE.toarray(), [0.5] * 40, range(40), [0] * 40])
    assert (whole(sequence(frame)) == expected).all()
    frame["a"] = frame["a"].astype("int64") + 2**24 + 1
    refused(
        DoesNotFit, "in column 'a' beside floats", call=lambda: as_row_source(frame)
    )


@pytest.mark.parametrize("fill", [np.nan, 1.0, -1])
def test_gaps_that_are_not_zero(fill):
    values = [1.0, fill, 0.0, 5.0]
    frame = pd.DataFrame({"a": pd.arrays.SparseArray(values, fill_value=fill)})
    refused(
        ValueError,
        f"received column 'a', whose gaps stand for {fill}",
        call=lambda: sequence(frame),
    )
    dense_again = frame.astype("float64").fillna(0)
    mended = dense_again.astype(pd.SparseDtype("float64", 0))
    expected = np.nan_to_num(values)
    for x in (dense_again, mended):
        assert whole(sequence(x)).ravel().tolist() == expected.tolist()
    full = pd.DataFrame({"a": pd.arrays.SparseArray([3.0, 0.0], fill_value=fill)})
    assert whole(sequence(full)).ravel().tolist() == [3, 0]  # there are no gaps


def test_a_sparse_frame_stays_one_for_a_transform():
    def change(block):
        assert list(block.columns) == list("abcdefghi")
        return block.sparse.to_coo()

    assert (whole(sequence(sparse_frame(), transform=change)) == SPARSE).all()
    found = whole(sequence(sparse_frame(), transform=lambda block: block[["c", "a"]]))
    assert (found == SPARSE.toarray()[:, [2, 0]]).all()


# Objects


def test_numbers_in_an_array_of_objects():
    for items, expected in (
        ([1, 2**62 + 1], "int64"),
        ([1, 2**63], "uint64"),
        ([True, np.False_], "bool"),
        ([1.5, 2], "float64"),
        ([Decimal("0.5"), Fraction(1, 4)], "float64"),
        ([np.float32(0.5), np.int8(3)], "float64"),
    ):
        found = from_objects(np.array(items, object), "x")
        assert found.dtype == expected
        assert found.tolist() == [type(f)(i) for f, i in zip(found.tolist(), items)]
    found = from_objects(np.array([[1, None], [pd.NA, 2.5]], object), "x")
    assert np.array_equal(found, [[1, np.nan], [np.nan, 2.5]], equal_nan=True)
    for items in (["a", 1], [None, None], [[1], [2, 3]]):
        array = np.empty(2, object)
        array[:] = items
        assert from_objects(array, "x") is array


def objects_of(values):
    """The same numbers in each container that keeps them as objects or decimals."""
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    array = np.empty(len(values), object)
    array[:] = values
    yield array
    yield pd.Series(array)
    yield pl.Series(values, dtype=pl.Object)
    exact = [None if v is None else Decimal(v) for v in values]
    yield pd.Series(exact, dtype=object)
    yield pd.Series(exact, dtype=pd.ArrowDtype(pa.decimal128(30, 2)))
    yield pl.Series(exact, dtype=pl.Decimal(30, 2))
    for kind in (pa.decimal128(30, 2), pa.decimal256(60, 2)):
        yield pa.array(exact, kind)
        yield pa.chunked_array([pa.array(exact, kind)])


@pytest.mark.parametrize("beside", [None, "0.5", 0.5], ids=["None", "decimal", "float"])
def test_whole_numbers_among_objects_are_not_rounded(beside, tmp_path):
    """As float32 2**24 + 1 is its neighbour; as float64, as targets are, 2**53 + 1."""
    given = Decimal(beside) if isinstance(beside, str) else beside
    for column in objects_of([2**24 + 1, given, 3]):
        said = "`x` holds 16777217"
        refused(DoesNotFit, said, "float32", call=lambda: sequence(column))
        table = {"x['t']": {"t": column}}
        for name, x in table.items():
            refused(DoesNotFit, f"`{name}` holds 1677", call=lambda: sequence(x))
        if beside is not None:
            found = sequence(np.eye(3), column)[0][1]
            assert found.tolist() == [2**24 + 1, 0.5, 3]
    for column in objects_of([2**53 + 1, given, 3]):
        said = "`y` holds 9007199254740993"
        refused(DoesNotFit, said, "float64", call=lambda: sequence(np.eye(3), column))
        with StoreWriter(tmp_path / "a.store", 3) as writer:
            refused(DoesNotFit, said, call=lambda: writer.append(np.eye(3), column))
            writer.append(np.eye(3))
        shutil.rmtree(tmp_path / "a.store")
    for column in objects_of([2**24, given, 3]):
        expected = [2**24, np.nan if beside is None else 0.5, 3]
        found = whole(sequence(column))
        assert np.array_equal(found, expected, equal_nan=True)


def test_the_mend_for_whole_numbers_among_objects():
    ids = pd.Series([2**24 + 1, None, 3], dtype=object)
    said = "Pass integers as int64, with what is missing filled; or all as float64, whe"
    refused(DoesNotFit, said, call=lambda: sequence(ids))
    assert whole(sequence(ids.fillna(0).astype("int64"))).tolist() == [2**24 + 1, 0, 3]
    found = whole(sequence(ids.astype("float64"), dtype="float64"))
    assert np.array_equal(found, [2**24 + 1, np.nan, 3], equal_nan=True)


def test_whole_numbers_in_blocks_and_what_a_transform_returns(tmp_path):
    block = np.array([[2**24 + 1, None], [1, 2]], object)
    lists = [[2**24 + 1, 0.5], [1, 2]]
    with StoreWriter(tmp_path / "a.store", 2) as writer:
        for wrong in (block, lists, pd.DataFrame(block)):
            said = "`block` holds 16777217 in row 0, "
            refused(DoesNotFit, said, call=lambda: writer.append(wrong))
        writer.append(np.array([[1, Decimal("0.5")]], object)).append([[2**24, 0.5]])
    found = open_store(tmp_path / "a.store")[:].toarray()
    assert found.tolist() == [[1, 0.5], [2**24, 0.5]]
    for change in (lambda x: block, lambda x: pd.DataFrame(block)):
        seq = sequence(np.eye(2), transform=change)
        said = "`transform(x)` holds 16777217 in row 0, "
        refused(DoesNotFit, said, call=lambda: seq[0])
    seq = sequence(np.eye(3), [2**53 + 2, 0.5, 1])
    assert seq[0][1].tolist() == [2**53 + 2, 0.5, 1]
    for y in ([2**53 + 1, 0.5, 1], [2**63 + 1, -1, 1]):  # of which NumPy makes floats
        said = f"`y` holds {y[0]} in row 0, "
        refused(DoesNotFit, said, call=lambda: sequence(np.eye(3), y))


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.integers(-(2**70), 2**70),
            st.integers(2**24 - 2, 2**24 + 2),
            st.decimals(allow_nan=None, places=1),
            st.fractions(),
            st.integers(-(2**63), 2**63 - 1).map(np.int64),
        ),
        min_size=1,
    ),
    st.sampled_from(["x", "y"]),
)
@example([np.int64(2**53 + 1), None], "y")
@example([Decimal("1e400"), None], "y")
@example([Fraction(10**400, 3)], "y")
@example([Decimal("sNaN"), Decimal("Infinity")], "x")
@example([2**63, -1], "y")
def test_whole_numbers_stay_what_they_are_or_are_refused(items, name):
    array = np.empty(len(items), object)
    array[:] = items
    if all(item is None for item in items):
        return
    floats = np.float32 if name == "x" else np.float64
    try:
        found = from_objects(array, name)
    except DoesNotFit as error:
        wrong = error.value
        integral = isinstance(wrong, int | np.integer)
        assert not integral or int(floats(int(wrong))) != int(wrong)
        return
    for item, number in zip(items, found.tolist()):
        if isinstance(item, int | np.integer):
            served = number if found.dtype.kind in "iu" else float(floats(number))
            assert int(served) == int(item)


def test_tables_in_blocks_are_converted(table, tmp_path):
    """With labels or without, alone, and of several types, exactly as numbers."""
    ids = np.arange(ROWS) * 2 + 17_000_001  # float32 would merge these
    columns = {"id": ids, "share": COLUMNS["share"], "new": ids % 3 == 0}
    expected = np.column_stack([*columns.values()])
    labels = [["cat", "dog"][i % 2] for i in range(ROWS)]
    blocks = [
        table({name: values[start : start + 3] for name, values in columns.items()})
        for start in (0, 3, 6)
    ]
    pairs = [(block, labels[i : i + 3]) for block, i in zip(blocks, (0, 3, 6))]
    for number, source in enumerate([iter(blocks), iter(pairs), table(columns)]):
        names = ["cat", "dog"] if number == 1 else None
        store = convert(source, tmp_path / f"{number}.store", class_names=names)
        assert store.dtype == np.float64 and (store[:].toarray() == expected).all()
        assert store.feature_names == ("id", "share", "new")
        if number == 1:
            assert store.y.tolist() == [i % 2 for i in range(ROWS)]
    small = table({"a": ids, "b": ids})
    assert convert([small], tmp_path / "ids.store").dtype == np.int64
    mine = convert([small], tmp_path / "mine.store", feature_names=["x", "y"])
    assert mine.feature_names == ("x", "y")
    assert mine[:].toarray()[:, 1].tolist() == [*ids]

    # What a dtype cannot hold, and columns that are not those of the first.
    path = tmp_path / "refused.store"
    said = "holds 17000001 in row 0, in column 'id' beside floats, which float32"
    text = refused(
        DoesNotFit, said, call=lambda: convert(blocks, path, dtype="float32")
    )
    assert "Pass dtype='float64', or that column as float64, if it is an am" in text
    kept = convert(blocks, path, dtype="smallest")
    assert (kept[:].toarray() == expected).all()
    shutil.rmtree(path)
    other = table({name: columns[name] for name in ("share", "id", "new")})
    said = "`block` must have the same columns, in the same order, each time; this "
    refused(ValueError, said, call=lambda: convert([*blocks, other], path))
    text = table({"a": ids, "kind": labels, "b": labels})
    for source in ([text], [(text, labels)], text):
        refused(
            TypeError,
            "`block` must have columns of numbers; received a ",
            "with others in ['kind', 'b']: column 'kind' of texts. Pass block.drop",
            call=lambda: convert(source, path),
        )
    later = table({"a": ids, "b": labels})
    refused(TypeError, "others in ['b']", call=lambda: convert([small, later], path))
    assert not path.exists()
    # The mend, as it is written; and `like`, whose features must be these.
    with pytest.raises(TypeError) as error:
        convert([text], path)
    mend = str(error.value).partition("Pass ")[2].partition(", and as y")[0]
    block = eval(mend, {"block": text})
    left = convert([(block, text["kind"])], path, class_names=["cat", "dog"])
    assert left[:].toarray().tolist() == [[each] for each in ids]
    assert left.feature_names == ("a",)
    assert left.y.tolist() == [i % 2 for i in range(ROWS)]
    said = "must have the features of the store in `like`, .*'a'.*; it has .*'b'"
    again = tmp_path / "again.store"
    swapped = table({"b": ids})
    with pytest.raises(SourceError, match=said):
        convert([swapped], again, like=path)
    assert convert([(block, labels)], again, like=path).num_rows == ROWS


def test_a_csv_is_converted_in_chunks(tmp_path):
    """The later chunks have what the first has not: a fraction, a missing value."""
    frame = pd.DataFrame({"kind": list("abcab"), "n": [1, 0, 3, 4, 5], "m": 2})
    frame.to_csv(tmp_path / "a.csv", index=False)

    def chunks():
        with pd.read_csv(tmp_path / "a.csv", chunksize=2) as reader:
            for each in reader:
                yield each.drop(columns="kind"), each["kind"]

    names = ["a", "b", "c"]
    store = convert(chunks(), tmp_path / "a.store", class_names=names)
    assert store[:].toarray().tolist() == frame[["n", "m"]].to_numpy().tolist()
    assert store.dtype == np.int64 and store.feature_names == ("n", "m")
    assert [store.class_names[k] for k in store.y] == [*frame["kind"]]
    # Names that are no texts are places.
    bare = convert(pd.DataFrame(np.eye(3)), tmp_path / "b.store")
    assert bare.feature_names is None and (bare[:].toarray() == np.eye(3)).all()
    with pytest.raises(TypeError, match=r"a LazyFrame of polars. Pass source.collect"):
        convert(pl.LazyFrame({"a": [1]}), tmp_path / "c.store")
    for odd in (2.5, None):
        frame["n"] = pd.Series([1, 0, 3, 4, odd], dtype=object)
        frame.to_csv(tmp_path / "a.csv", index=False)  # integers, but for the last
        with pytest.raises(ValueError, match="Pass dtype='float64'"):
            convert(chunks(), tmp_path / "c.store", class_names=names)
        path = tmp_path / f"{odd}.store"
        store = convert(chunks(), path, class_names=names, dtype="float64")
        found = store[:].toarray()[:, 0]
        assert np.array_equal(found, frame["n"].astype("float64"), equal_nan=True)
    ones = pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 2]), "b": [0, 1, 0]})
    store = convert(iter([ones, ones]), tmp_path / "sparse.store")
    assert store[:].toarray().tolist() == 2 * [[0, 0], [0, 1], [2, 0]]
    assert store.nnz == 4


def test_columns_that_trade_places_from_block_to_block_are_refused(table, tmp_path):
    one, two = table({"a": [1, 2], "b": [3, 4]}), table({"b": [3, 4], "a": [1, 2]})
    with StoreWriter(tmp_path / "a.store", 2) as writer:
        writer.append(one).append(one)
        said = "`block` must have the same columns, in the same order, each time; this "
        refused(ValueError, said, call=lambda: writer.append(two))
        writer.append(np.array([[5, 6]]))
    found = open_store(tmp_path / "a.store")[:].toarray()
    assert found[-2:].tolist() == [[2, 4], [5, 6]]
    names = ["a", "b"]
    with StoreWriter(tmp_path / "b.store", 2, feature_names=names) as writer:
        said = "`block` must have its columns in the order of `feature_names`, ['a', "
        refused(ValueError, said, call=lambda: writer.append(two))
        writer.append(one)
    assert open_store(tmp_path / "b.store")[:].toarray().tolist() == [[1, 3], [2, 4]]
    with StoreWriter(tmp_path / "c.store", 2, feature_names=["c", "d"]) as writer:
        writer.append(two)  # they are called otherwise
    some = table({"b": [3, 4], "c": [1, 2]})
    said = "order of `feature_names`, ['a', 'b']; this table has ['b', 'c']. Pass them "
    with StoreWriter(tmp_path / "d.store", 2, feature_names=names) as writer:
        refused(ValueError, said, call=lambda: writer.append(some))
        other = table({"a": [3, 4], "c": [1, 2]})  # which of the features is "c"?
        said = "this table has ['a', 'c']"
        refused(ValueError, said, call=lambda: writer.append(other))
        writer.append(np.array(some).reshape(2, 2))  # its numbers alone
    assert open_store(tmp_path / "d.store")[:].toarray().tolist() == [[3, 1], [4, 2]]
    kinds = pd.DataFrame({"kind": ["x", "y", "z", "x"]})
    seq = sequence(
        kinds, transform=lambda rows: pd.get_dummies(rows["kind"]), batch_size=2
    )
    assert seq[0][0].tolist() == [[1, 0], [0, 1]]
    said = r"has \('z',\), after \('y',\), from column 1 on"
    with pytest.raises(ValueError, match=said):
        seq[1]


class Frames:
    """A source of the user's own that reads tables, with the columns of `order`."""

    num_rows, numeric = 4, True

    def __init__(self, columns, order=slice(None, None, -1)):
        self.frame = pd.DataFrame(np.arange(8).reshape(4, 2), columns=columns)
        self.order = order

    def read(self, rows):
        frame = self.frame.iloc[rows]
        return frame[frame.columns[self.order]] if rows[0] else frame


NAMES = {
    "texts": ["a", "b"],
    "numbers": [0, 1],
    "both": ["a", 0],
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]),
}


@pytest.mark.parametrize("columns", NAMES.values(), ids=NAMES)
def test_columns_with_names_of_any_kind_do_not_trade_places(columns, tmp_path):
    said = "must have the same columns, in the same order, each time; this table has ("
    x, source = np.eye(4), Frames(columns)
    for seq, name, place in (
        (sequence(source, batch_size=2), "x", None),
        (sequence({"t": source}, batch_size=2), "x['t']", None),
        (sequence(x, source, batch_size=2), "y", 1),
        (
            sequence(x, {"l": x}, sample_weight={"l": source}, batch_size=2),
            *("sample_weight['l']", 2),
        ),
    ):
        first = seq[0] if place is None else seq[0][place]
        first = first[0] if isinstance(first, tuple) else first
        first = next(iter(first.values())) if isinstance(first, dict) else first
        assert first.tolist() == [[0, 1], [2, 3]]
        refused(ValueError, f"`{name}` {said}", call=lambda: seq[1])
    change = Frames(columns, slice(None))
    for seq in (sequence(change, batch_size=2), sequence(x, change, batch_size=2)):
        found = [plain(batch[-1]) for batch in seq]  # the mend
        assert np.concatenate(found).tolist() == source.frame.values.tolist()
    one, two = source.read(np.array([0, 1])), source.read(np.array([2, 3]))
    seq = sequence(
        x, transform=lambda rows: two if rows[0].sum() and rows[0, 2] else one,
        batch_size=2,
    )
    assert plain(seq[0][0]).tolist() == [[0, 1], [2, 3]]
    refused(ValueError, f"`transform(x)` {said}", call=lambda: seq[1])
    with StoreWriter(tmp_path / "a.store", 4) as writer:
        writer.append(x[:2], one)
        refused(ValueError, f"`y` {said}", call=lambda: writer.append(x[2:], two))
        writer.append(x[2:], two.to_numpy())  # without names, by position
    expected = [[0, 1], [2, 3], [5, 4], [7, 6]]
    assert open_store(tmp_path / "a.store").y.tolist() == expected
    with StoreWriter(tmp_path / "b.store", 2) as writer:
        with pytest.raises(ValueError, match="`y` must have one entry for each"):
            writer.append(one, two[:1])
        writer.append(two)  # what was refused has said nothing
        refused(ValueError, f"`block` {said}", call=lambda: writer.append(one))
    blocks = [(x[:2], one), (x[2:], two)]
    refused(
        ValueError, f"`y` {said}", call=lambda: convert(blocks, tmp_path / "c.store")
    )
    blocks[1] = x[2:], two[one.columns]  # the mend
    store = convert(blocks, tmp_path / "c.store")
    assert store.y.tolist() == source.frame.values.tolist()


def test_names_that_are_numbers_have_the_order_of_feature_names(tmp_path):
    frame = pd.DataFrame([[1, 2]], columns=[1, 0])
    with StoreWriter(tmp_path / "a.store", 2, feature_names=["0", "1"]) as writer:
        said = "`block` must have its columns in the order of `feature_names`, ['0', "
        refused(ValueError, said, call=lambda: writer.append(frame))
        writer.append(frame[[0, 1]])
    assert open_store(tmp_path / "a.store")[:].toarray().tolist() == [[2, 1]]


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_columns_do_not_trade_places_from_worker_to_worker(processes):
    """Each process may have seen one order alone."""

    def change(block):
        columns = ["a", "b"] if block[0, 0] % 2 else ["b", "a"]
        return pd.DataFrame({"a": block[:, 0], "b": block[:, 1]})[columns]

    x = np.repeat(np.arange(16), 2).reshape(16, 2)
    options = {"workers": 2, "use_multiprocessing": processes, "batch_size": 1}
    with sequence(x, transform=change, **options) as seq:
        with pytest.raises(WorkerError, match="must have the same columns, in the sam"):
            list(seq)
    with sequence(x[1::2], transform=change, **options) as seq:
        assert whole(seq).tolist() == x[1::2].tolist()


@pytest.mark.parametrize("options", [{}, {"workers": 1, "use_multiprocessing": True}])
def test_workers_know_which_integers_the_served_dtype_holds(options):
    """They may stand beside fractions in a table that a transform gives."""

    def change(rows):
        return pd.DataFrame({"id": rows[:, 0], "share": np.full(len(rows), 0.5)})

    options = {"transform": change, "batch_size": 1, **options}
    for dtype, most in (("float16", 2**11), ("float32", 2**24), ("float64", 2**53)):
        x = np.array([[most], [most + 1]])
        with sequence(x, dtype=dtype, **options) as seq:
            assert plain(seq[0][0]).tolist() == [[most, 0.5]]
            with pytest.raises((DoesNotFit, WorkerError), match=f"holds {most + 1} in"):
                seq[1]


# Columns whose entries name places of values


ENTRIES = [[7, None, 9], [None, 7.5, 9.0], [True, None, False], [7, 8, 9]]


def indirect(entries):
    """The same column by its values' places, in each package that has such ones."""
    array = pa.array(entries)
    yield pa.chunked_array([array.dictionary_encode()])
    yield pa.table({"a": array.dictionary_encode()})
    yield pa.table({"a": pc.run_end_encode(array)})
    yield pa.Table.from_pandas(pd.DataFrame({"a": pd.Categorical(entries)}))
    yield pd.DataFrame({"a": pd.Categorical(entries)})
    yield pd.Series(pd.Categorical(entries))


@pytest.mark.parametrize("entries", ENTRIES, ids=str)
def test_what_is_missing_among_places_stays_missing(entries, tmp_path):
    expected = np.array([np.nan if each is None else each for each in entries], float)
    present = np.flatnonzero(~np.isnan(expected))
    for number, column in enumerate(indirect(entries)):
        (found,) = SparseBatchSequence(column, batch_size=8)[0]
        np.testing.assert_array_equal(found.ravel(), expected)
        for name in ("y", "sample_weight"):
            given = {"y": np.zeros(3), name: column}
            with contextlib.suppress(ValueError):  # none is missing, in one of them
                SparseBatchSequence(np.eye(3), batch_size=8, **given)[0]
                assert len(present) == 3
            served = SparseBatchSequence(np.eye(3), rows=present, batch_size=8, **given)
            assert served[0][-1].ravel().tolist() == expected[present].tolist()
        path = tmp_path / str(number)
        convert(np.eye(3), path, y=column, missing_labels="zero-weight", classes=False)
        with open_store(path) as store:
            values = np.ravel(store.y)[present].tolist()
            if store.class_names:  # of categories, which are classes in pandas
                values = [eval(store.class_names[int(value)]) for value in values]
            assert values == expected[present].tolist()
            if len(present) < 3:
                assert np.flatnonzero(store.sample_weight).tolist() == present.tolist()


@pytest.mark.parametrize("entries", [["u", None, "w"], ["w", "u", None]], ids=str)
def test_texts_that_are_missing_among_places_are_no_class(entries, tmp_path):
    array = pa.array(entries)
    for number, column in enumerate(
        [
            pa.chunked_array([array.dictionary_encode()]),
            pa.table({"y": array.dictionary_encode()}),
            pd.Series(pd.Categorical(entries)),
        ]
    ):
        path = tmp_path / str(number)
        convert(np.eye(3), path, y=column, missing_labels="zero-weight")
        with open_store(path) as store:
            assert store.class_names == ("u", "w")
            for row, entry in enumerate(entries):
                assert store.sample_weight[row] == (entry is not None)
                if entry is not None:
                    assert store.class_names[int(np.ravel(store.y)[row])] == entry
    y = pa.chunked_array([array.dictionary_encode()])
    with pytest.raises(TypeError, match="pd.factorize") as caught:
        SparseBatchSequence(np.eye(3), y)
    (advice,) = re.findall(r"pd\.factorize\(.*\)\[0\]", str(caught.value))
    codes = eval(advice, {"np": np, "pd": pd, "y": y})
    assert [code == -1 for code in codes] == [entry is None for entry in entries]


def test_integers_among_places_are_not_rounded():
    large = 2**53 + 1
    for x in (
        pd.DataFrame({"a": pd.Categorical([2**24 + 1, None, 5])}),
        pa.table({"a": pc.run_end_encode(pa.array([2**24 + 1, None, 5]))}),
        pl.Series([[2**24 + 1, None], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
    ):
        with pytest.raises(DoesNotFit, match="`x` holds 16777217 in row 0"):
            SparseBatchSequence(x)
    for y in (
        pd.Categorical([large, None, 5]),
        pd.Series(pd.Categorical([large, None, 5])),
        pl.Series([[large, None], [3, 4], [5, 6]], dtype=pl.Array(pl.Int64, 2)),
    ):
        with pytest.raises(DoesNotFit, match=f"`y` holds {large} in row 0"):
            SparseBatchSequence(np.eye(3), y, rows=[0, 2])
    y = pd.DataFrame({"cents": [2**24 + 1, 3], "share": [0.5, 1]})  # float64 holds it
    assert SparseBatchSequence(np.eye(2), y)[0][1][0].tolist() == [2**24 + 1, 0.5]


@pytest.mark.parametrize(
    "index",
    [range(4), list("abcd"), pd.date_range("2020", periods=4), [1.5, 2, "x", None],
     pd.MultiIndex.from_product([[1, 2], ["a", "b"]])],
    ids=["numbers", "texts", "dates", "mixed", "levels"],
)  # fmt: skip
def test_a_table_that_was_shuffled_alone(index, tmp_path):
    """As after ``frame.sample(frac=1)``; scikit-learn goes by position, unasked."""
    frame = pd.DataFrame({"a": [0.0, 1, 2, 3], "y": [0, 1, 2, 3]}, index=index)
    x, y = frame.iloc[[2, 0, 3, 1]][["a"]], frame["y"]
    for arguments, name in (
        ((x, y), "y"),
        ((sp.eye_array(4), {"k": y, "z": x["a"]}), "y['z']"),
        (((x, frame[["a"]]), y), "x[1]"),
        ((x, x["a"], y), "sample_weight"),
    ):
        with pytest.raises(ValueError, match=f"`{re.escape(name)}` must have its rows"):
            SparseBatchSequence(*arguments)
    with pytest.raises(ValueError, match="`y` must have its rows in the order of `b"):
        convert([(x, y)], tmp_path / "a.store")
    with pytest.raises(ValueError, match=r"y.loc\[source.index\], or y.to_numpy"):
        convert(x, tmp_path / "a.store", y=y)
    with StoreWriter(tmp_path / "b.store", num_features=1) as writer:
        with pytest.raises(ValueError, match="`y` must have its rows in the order of"):
            writer.append(x, y)
        writer.append(x, y.loc[x.index])
    mended = SparseBatchSequence(x, y.loc[x.index], batch_size=4)[0]
    assert mended[0][:, 0].tolist() == mended[1].tolist() == [2, 0, 3, 1]
    placed = SparseBatchSequence(x, y.to_numpy(), batch_size=4)[0]
    assert placed[1].tolist() == [0, 1, 2, 3]
    for labels in (y.set_axis(range(7, 11)), y.set_axis([0, 0, 1, 1]), x["a"]):
        SparseBatchSequence(x, labels)


MISSING = ["a", "b", None, "d"]
DAYS = pd.date_range("2020", periods=4)
HERE = DAYS.tz_localize("UTC")
ALIKE = {
    "NA": (pd.Index(MISSING, dtype="string"), None),
    "NA of integers": (pd.Index([1, None, 3, 4], dtype="Int64"), None),
    "None and NA": (pd.Index(MISSING), pd.Index(MISSING, dtype="string")),
    "NA and NaN": (pd.Index([1, None, 3, 4], dtype="Int64"), [1, np.nan, 3, 4]),
    "arrow": (pd.Index([1, None, 3, 4], dtype="int64[pyarrow]"), None),
    "repeated": (["a", "a", "b", "c"], None),
    "repeated levels": (pd.MultiIndex.from_arrays([[1, 1, 1, 2], list("aaba")]), None),
    "zones": (HERE, HERE.tz_convert("Asia/Tokyo")),
    "categories": (pd.CategoricalIndex(list("abcd")), list("abcd")),
}


@pytest.mark.parametrize("index, other", ALIKE.values(), ids=ALIKE)
def test_an_index_in_another_order_whatever_its_type(index, other):
    """Each was served, or raised an error of pandas', or was refused in one order."""
    frame = pd.DataFrame({"a": [0.0, 1, 2, 3], "y": [0, 1, 2, 3]}, index=index)
    labels = frame["y"] if other is None else frame["y"].set_axis(other)
    for x, y in ((frame[["a"]], labels), (labels, frame[["a"]])):
        assert SparseBatchSequence(x, y, batch_size=4)[0][1].ravel().tolist() == [
            0, 1, 2, 3
        ]  # fmt: skip
        for one, two in ((x, y.iloc[[3, 2, 0, 1]]), (x.iloc[[3, 2, 0, 1]], y)):
            mend = r"[xy].loc\[.*index\]" if one.index.is_unique else "columns of one"
            with pytest.raises(ValueError, match=f"the same index in .* Pass {mend}"):
                SparseBatchSequence(one, two)


@pytest.mark.parametrize("kind", ["texts", "periods", "days", "nanoseconds"])
def test_an_index_of_other_labels_is_not_compared(kind):
    """pandas makes dates of texts where it looks for one index in another."""
    named = {
        "texts": (DAYS, [str(day.date()) for day in DAYS]),
        "periods": (DAYS, DAYS.to_period("D")),
        "days": (DAYS, [day.date() for day in DAYS]),
        "nanoseconds": (pd.to_timedelta([1, 2, 3, 4]), list("1234")),
    }[kind]
    for here, there in (named, named[::-1]):
        x = pd.DataFrame({"a": [0.0, 1, 2, 3]}, index=here)
        y = pd.Series([0, 1, 2, 3], index=there)
        assert SparseBatchSequence(x, y, batch_size=4)[0][1].tolist() == [0, 1, 2, 3]


def test_an_index_of_lists_is_not_compared():
    x = pd.DataFrame({"a": [0.0, 1]}, index=pd.Index([[1], [2]], tupleize_cols=False))
    y = pd.Series([0, 1], index=pd.Index([[2], [1]], tupleize_cols=False))
    assert SparseBatchSequence(x, y)[0][1].tolist() == [0, 1]


def test_tables_that_are_compared():
    """Not with the first alone, and not those of pandas' own classes alone."""

    class Kept(pd.DataFrame):
        @property
        def _constructor(self):
            return Kept

    y = pd.Series([0, 1, 2, 3], index=[3, 2, 1, 0])
    x = pd.DataFrame({"a": [0.0, 1, 2, 3]})
    for arguments, name in (
        ((x.set_axis(list("abcd")), y, y.sort_index()), "sample_weight"),
        ((sp.eye_array(4), [y.astype(float), y.sort_index().to_frame()]), "y[1]"),
        ((Kept(x), y), "y"),
        ((y, Kept(x)), "y"),
    ):
        with pytest.raises(ValueError, match=f"`{re.escape(name)}` must have its rows"):
            SparseBatchSequence(*arguments)


def test_a_transform_that_sorts_its_rows():
    frame = pd.DataFrame({"a": [0.0, 1, 2, 3]}, index=[7, 3, 9, 1])

    def served(transform, x=frame, **options):
        made = SparseBatchSequence(
            x, [0, 1, 2, 3], batch_size=4, transform=transform, **options
        )
        return [part.ravel().tolist() for part in made[0]]

    said = r"`transform` of `x` must keep the order .*, 1 where it was given 7. Return"
    with pytest.raises(ValueError, match=said):
        served(lambda table: table.sort_index())
    with pytest.raises(ValueError, match=said):
        served(lambda column: column.sort_index().to_frame(), frame["a"])
    expected = [[0, 1, 2, 3]] * 2
    assert served(lambda table: table.sort_index().loc[table.index]) == expected
    assert served(lambda table: table + 0) == expected
    # Rows numbered anew, as of scikit-learn's set_output(transform="pandas").
    numbered = frame.set_axis([1, 0, 3, 2])
    assert served(lambda table: pd.DataFrame(table.to_numpy()), numbered) == expected


@pytest.mark.parametrize("kind, name", [(BalancedSampler, "labels"),
                                        (WeightedSampler, "weights")])  # fmt: skip
def test_what_a_sampler_knows_of_rows_in_another_order(kind, name):
    y = pd.Series([1, 2, 3, 4], index=list("abcd"))
    x = y.iloc[[2, 0, 3, 1]].to_frame()
    for rows, chosen in ((None, "x"), ([3, 0], "x.iloc[rows]")):
        served = x if rows is None else x.iloc[rows]
        wrong = y.loc[served.index][::-1]
        said = f"`{name}` must have its rows in the order of `{chosen}`"
        with pytest.raises(ValueError, match=re.escape(said)) as caught:
            SparseBatchSequence(x, sampler=kind(wrong, seed=1), rows=rows)
        assert f"Pass {name}.loc[{chosen}.index], or" in str(caught.value)
        for right in (wrong.loc[served.index], wrong.to_numpy(), wrong.tolist()):
            SparseBatchSequence(x, sampler=kind(right, seed=1), rows=rows)
    with pytest.raises(ValueError, match=f"`{name}` must have its rows in the order"):
        SparseBatchSequence(np.eye(4), x, sampler=kind(y, seed=1))
    states = [
        SparseBatchSequence(np.eye(4), seed=1, sampler=kind(given, seed=1)).state_dict()
        for given in (y, y.to_numpy())
    ]
    assert states[0] == states[1]
    for copy in (deepcopy, lambda sampler: pickle.loads(pickle.dumps(sampler))):
        with pytest.raises(ValueError, match=f"`{name}` must have its rows in the or"):
            SparseBatchSequence(np.eye(4), x, sampler=copy(kind(y, seed=1)))
    copied = pickle.loads(pickle.dumps(kind(y, seed=1)))
    assert copied == kind(y.to_numpy(), seed=1) == kind(y, seed=1)


def test_blocks_of_tables_beside_all_labels_in_another_order(tmp_path):
    x = pd.DataFrame({"a": [0, 1, 2, 3]}, index=[7, 3, 9, 1])
    y, path = x["a"], tmp_path / "a.store"
    source = [x[:2], x[2:]]
    said = r"in the order of `pd.concat\(source\)`.* Pass y.loc\[pd.concat\(source\)"
    with pytest.raises(ValueError, match=said):
        convert(source, path, y=y[::-1])
    with pytest.raises(ValueError, match="`sample_weight` must have its rows in the o"):
        convert(source, path, y=y, sample_weight=y[::-1])
    assert not path.exists()
    mended = y[::-1].loc[pd.concat(source).index]
    assert convert(source, path, y=mended).y.tolist() == [0, 1, 2, 3]
    for number, blocks in enumerate(  # of which no index says which rows they are
        [[x[:2].to_numpy(), x[2:]], [x[:2].reset_index(drop=True), x[2:]]]
    ):
        store = convert(blocks, tmp_path / str(number), y=y[::-1])
        assert store.y.tolist() == [3, 2, 1, 0]


def test_rows_that_are_labels_of_an_index():
    frame = pd.DataFrame({"x": [0.0, 1, 2, 3], "y": [0, 1, 2, 3]}, index=[3, 2, 1, 0])
    chosen = frame["x"] < 2  # the labels 3 and 2, at the positions 0 and 1
    labels, csr = frame.index[chosen], sp.csr_array(frame[["x"]].to_numpy())
    for x, y, called in (
        (frame[["x"]], None, "x"),
        ({"k": frame[["x"]]}, frame["y"], "x['k']"),
        (csr, frame["y"], "y"),
    ):
        said = re.escape(f"received labels of the index of `{called}`")
        with pytest.raises(ValueError, match=f"`rows` must hold positions; {said}"):
            SparseBatchSequence(x, y, rows=labels)
        with pytest.raises(ValueError, match="`rows` must have its rows in the order"):
            SparseBatchSequence(x, y, rows=chosen.sort_index())

    def targets(rows, x=frame[["x"]], y=frame["y"]):
        return SparseBatchSequence(x, y, batch_size=4, rows=rows)[0][1].tolist()

    assert targets(frame.index.get_indexer(labels)) == targets(chosen) == [0, 1]
    assert targets(chosen.sort_index().loc[frame.index]) == [0, 1]
    assert targets(labels.to_numpy()) == [3, 2]
    assert targets(pd.Series([2, 0], index=[7, 8])) == [2, 0]  # as scikit-learn has it
    plain = frame.reset_index(drop=True)
    assert targets(plain.index[2:], plain[["x"]], plain["y"]) == [2, 3]
    named = frame["y"].set_axis(list("abcd"))
    assert targets(pd.RangeIndex(2), csr, named) == [0, 1]
    for kind in ("bool[pyarrow]", "Sparse[bool]"):
        assert targets(chosen.astype(kind)) == [0, 1]
        with pytest.raises(ValueError, match="`rows` must have its rows in the order"):
            targets(chosen.sort_index().astype(kind))
    for y in ({"k": frame["y"]}, [frame["y"], frame["y"]]):
        with pytest.raises(ValueError, match=r"received labels of the index of `y\["):
            SparseBatchSequence(csr, y, rows=labels)
    with pytest.raises(ValueError, match="received labels of the index of `y`"):
        targets(labels, frame[["x"]].set_axis(range(10, 14)))
    assert targets(pd.array([3, 2])) == [3, 2]  # which has no labels
    between = pd.IntervalIndex.from_breaks(range(5))
    assert targets(pd.Index([2, 1]), frame[["x"]].set_axis(between), named) == [2, 1]

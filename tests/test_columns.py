"""Columns of the types that pandas, polars and pyarrow have: values, or why not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from encoded import plain
from refusals import refused, sequence

from sequence_loader import StoreWriter, open_store
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
def test_columns_of_no_numbers_are_refused_by_us(name):
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

"""Bad `y`, weights, `transform` and `augment`: the errors name the mend."""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from encoded import csr
from refusals import SCIPY, X, Y, put, refused, sequence

from sequence_loader import SparseBatchSequence, StoreWriter, convert, open_store
from sequence_loader.rows.csr import DamagedRows
from sequence_loader.rows.values import DoesNotFit

# y and sample_weight


@pytest.mark.parametrize(
    "value",
    [np.arange(6), np.arange(8), [0], csr(5, 2)],
    ids=["fewer", "more", "list", "sparse"],
)
def test_targets_of_another_length(value):
    refused(
        ValueError,
        "`y` must have as many rows as `x`, which has 7; received",
        call=lambda: sequence(X, value),
    )


def test_inputs_and_weights_of_another_length():
    refused(
        ValueError,
        "`x['b']` must have as many rows as `x['a']`, which has 7; received 6 rows",
        call=lambda: sequence({"a": X, "b": X[:6]}),
    )
    refused(
        ValueError,
        "`x[1]` must have as many rows as `x[0]`",
        call=lambda: sequence([X, X[:6]]),
    )
    refused(
        ValueError,
        "`y['q']` must have as many rows as `x`",
        call=lambda: sequence(X, {"p": Y, "q": Y[:3]}),
    )
    refused(
        ValueError,
        "`sample_weight` must have as many rows as `x`, which has 7; received 2 rows",
        call=lambda: sequence(X, Y, [1.0, 2.0]),
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (list("abcdefg"), "<U1: ['a', 'b', 'c']"),
        (np.array(list("abcdefg"), object), "object: ['a', 'b', 'c']"),
        ([b"a"] * 7, "|S1: [b'a', b'a', b'a']"),
    ],
)
def test_labels_that_are_not_numbers(value, told):
    refused(
        TypeError,
        f"`y` must hold numbers; received dtype {told}. Encode labels as integers",
        "np.unique(y, return_inverse=True)[1]",
        call=lambda: sequence(X, value),
    )


def test_weights_that_are_not_numbers():
    refused(
        TypeError,
        "`sample_weight` must hold numbers; received dtype",
        "'balanced'. Pass one number for each row.",
        call=lambda: sequence(X, Y, "balanced"),
    )


def test_other_targets_that_are_none():
    refused(
        TypeError,
        "`y` must hold real numbers; received dtype complex128",
        call=lambda: sequence(X, Y * 1j),
    )
    refused(
        TypeError,
        "`y` must hold numbers; received dtype object",
        call=lambda: sequence(X, iter(Y)),
    )
    for value in (3, np.float64(2)):
        refused(
            ValueError,
            "`y` must have one entry for each row of `x`; received the scalar",
            call=lambda: sequence(X, value),
        )
    refused(
        ValueError,
        "received the scalar 32. Pass an array; batch_size goes by name.",
        call=lambda: SparseBatchSequence(X, Y, 32),
    )
    refused(
        TypeError,
        "received 'a.store' of type str. Pass a store as open_store(path)",
        call=lambda: sequence("a.store"),
    )
    refused(
        ValueError,
        "`y` must hold rows of one shape; received",
        call=lambda: sequence(X, [[1], [2, 3]]),
    )


@pytest.mark.parametrize("empty", [{}, ()], ids=str)
def test_structures_of_nothing(empty):
    refused(
        ValueError,
        f"`y` must hold at least one array; received {empty}",
        "Pass None",
        call=lambda: sequence(X, empty),
    )


def test_weights_without_targets():
    refused(
        ValueError,
        "`sample_weight` needs `y`",
        call=lambda: sequence(X, None, np.ones(7)),
    )


@pytest.mark.parametrize(
    ("targets", "weights"),
    [
        (Y, {"a": Y}),
        (Y, (Y,)),
        ({"a": Y}, {"b": Y}),
        ((Y, Y), (Y,)),
        ({"a": Y}, (Y,)),
    ],
    ids=["dict", "tuple", "keys", "length", "kind"],
)
def test_weights_of_another_structure(targets, weights):
    refused(
        ValueError,
        "`sample_weight` must be one array, or have the structure of `y`",
        call=lambda: sequence(X, targets, weights),
    )


def test_labels_of_which_some_are_missing():
    for value in (["a", None] * 3 + ["b"], [None] * 7, ["a"] * 6 + [np.nan]):
        refused(
            TypeError,
            "`y` must hold numbers; received dtype object",
            "Leave out rows without a label, with rows=, and encode the others: "
            "pd.factorize(np.ravel(y))[0] is -1 where there is none.",
            call=lambda: sequence(X, np.array(value, object)),
        )


def holders(values):
    """The same in every container that takes it."""
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    array = np.empty(len(values), object)
    array[:] = values
    made = {
        "array": lambda: array,
        "column": lambda: array.reshape(-1, 1),
        "list": lambda: list(values),
        "Series": lambda: pd.Series(values),
        "Series of objects": lambda: pd.Series(array, dtype=object),
        "nullable": lambda: pd.Series(values).convert_dtypes(),
        "arrow": lambda: pd.Series(values).convert_dtypes(dtype_backend="pyarrow"),
        "DataFrame": lambda: pd.DataFrame({"a": values}),
        "polars": lambda: pl.Series(values),
        "polars frame": lambda: pl.DataFrame({"a": values}),
        "pyarrow": lambda: pa.array(values),
        "chunks": lambda: pa.chunked_array([values]),
        "table": lambda: pa.table({"a": values}),
    }
    for name, make in made.items():
        with suppress(Exception):  # not everything goes into everything
            yield name, make()


DAY, SECOND = pd.Timestamp("2020-01-02"), pd.Timedelta(1, "s")


@pytest.mark.parametrize(
    ("values", "mended"),
    [
        ([1, None, 3], [1, 3]),
        ([1.5, np.nan, 3], [1.5, 3]),
        ([1, pd.NA, 3], [1, 3]),
        ([Decimal("0.5"), None, Decimal(3)], [0.5, 3]),
        ([True, None, False], [1, 0]),
        (["b", "a", "b"], [1, 0, 1]),
        ([b"b", b"a", b"b"], [1, 0, 1]),
        (["b", None, "a"], [0, -1, 1]),
        (["b", pd.NA, "a"], [0, -1, 1]),
        (["1.5", "2", "3"], [1.5, 2, 3]),
        (["b", 1, "b"], [1, 0, 1]),
        ([[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]),
        ([DAY, DAY + SECOND * 43200, DAY], [18263, 18263.5, 18263]),
        ([SECOND, SECOND * 2, SECOND], [1, 2, 1]),
        ([1j, 2 + 1j, 1j], [0, 2, 0]),
    ],
    ids=str,
)
def test_the_mend_for_a_target_works_whatever_holds_it(values, mended):
    """`y` is what the advice calls it; it is followed to the letter."""
    x, tried, column = np.eye(3), 0, "a"  # noqa: F841
    for name, y in holders(values):
        try:
            served = sequence(x, y)[0][1]  # of lists, NumPy makes rows
        except (TypeError, ValueError) as error:
            said = str(error)
        else:
            assert name == "list" and served.tolist() == mended
            continue
        advice = r"(rows=|with |array, |: )((np|pd|\(np|y\.).*?)( is -1.*)?\.$"
        found = re.search(advice, said)
        assert found, f"{name}: {said}"
        made = eval(found[2])
        if found[1] == "rows=":
            served = sequence(x, y, rows=made)[0][1]
        else:
            served = sequence(x, made)[0][1]
        expected = np.ravel(mended).tolist()
        assert np.ravel(served).tolist() == expected, (name, said)
        tried += 1
    assert tried > 3


def test_sparse_targets_of_which_some_are_missing():
    y = sp.csr_array([[1.0], [np.nan], [3]])
    seq = sequence(np.eye(3), y)
    said = refused(ValueError, "row 1 has none", call=lambda: seq[0])
    rows = eval(re.search(r"with rows=(.*)\.$", said)[1])
    assert sequence(np.eye(3), y, rows=rows)[0][1].tolist() == [[1], [3]]


def test_a_table_that_is_still_to_be_computed(tmp_path):
    pl = pytest.importorskip("polars")
    y = pl.LazyFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    x, said = y, " must be a table in memory; received a LazyFrame of polars. Pass "
    with StoreWriter(tmp_path / "a.store", 2) as writer:
        for name, call in (
            ("x", lambda: sequence(x)),
            ("x", lambda: sequence(x, transform=np.asarray)),
            ("x['t']", lambda: sequence({"t": x})),
            ("y", lambda: sequence(np.eye(3), y)),
            ("sample_weight", lambda: sequence(np.eye(3), Y[:3], y)),
            ("y", lambda: writer.append(np.eye(3, 2), y)),
            ("block", lambda: writer.append(y)),
            ("y", lambda: convert(np.eye(3), tmp_path / "b.store", y=y)),
            ("y", lambda: convert([(np.eye(3), y)], tmp_path / "b.store")),
        ):
            refused(TypeError, f"`{name}`{said}{name}.collect().", call=call)
        writer.append(y.collect(), y.collect())
    assert sequence(np.eye(3), y.collect())[0][1].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_dates_are_refused_where_labels_may_be_missing(tmp_path):
    y = np.array(["2020-01-01", "NaT", "2020-01-02"], "M8[D]")
    for missing in ("refuse", "zero-weight"):
        refused(
            TypeError,
            "`y` must hold real numbers; received dtype datetime64[D]",
            call=lambda: convert(
                np.eye(3), tmp_path / "a.store", y=y, missing_labels=missing
            ),
        )


def test_numbers_of_which_no_array_is_made():
    for value in ([2**64 + 1] * 7, [2**53 + 1, 0.5] * 3 + [1], [10**400] * 7):
        y = np.array(value, object)
        said = "`y` holds ", "among objects, which become floats unless all are integ"
        refused(DoesNotFit, *said, call=lambda: sequence(X, y))
        if max(value) > 2**65:
            continue
        assert sequence(X, np.asarray(y, float))[0][1].dtype == np.float64


@pytest.mark.parametrize("dtype", ["float64", ">f4", "float16", "bfloat16"])
def test_numbers_that_are_missing_are_found_at_construction(dtype):
    y = np.array([0.0, np.nan, 2, 3, np.nan, 5, 6]).astype(
        ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    )
    said = "`y` must have a number for each row, or the loss is NaN; row 1 has none"
    for options in ({}, {"shuffle": True}, {"rows": [6, 1]}):
        refused(ValueError, said, call=lambda: sequence(X, y, **options))
        weights = y.astype("float32")
        refused(
            ValueError,
            said.replace("`y`", "`sample_weight`"),
            "with rows=np.flatnonzero(~np.isnan(np.asarray(sample_weight, float))).",
            call=lambda: sequence(X, Y, weights, **options),
        )
    rows = np.flatnonzero(~np.isnan(np.asarray(y, float)))  # the mend
    served = [batch[1].tolist() for batch in sequence(X, y, rows=rows)]
    assert served == [[0, 2, 3], [5, 6]]


def test_numbers_that_a_loss_may_mask_are_told_of_once_when_they_are_served():
    y = np.stack([Y, Y / 2], 1)
    y[3, 1] = np.nan
    seq = sequence(X, y)  # without a warning: those are errors
    with pytest.warns(UserWarning, match="`y` holds NaN, in row 3, col") as caught:
        served = [[batch[1].tolist() for batch in seq] for _ in range(2)]
    assert len(caught) == 1
    assert str(served[0]) == str(served[1]) and "[3.0, nan]" in str(served[0])


def test_integer_weights_are_not_rounded(tmp_path):
    weights = np.array([1, 2, 3, 2**24 + 1, 5, 6, 2**24])
    seq = sequence(X, Y, weights, shuffle=False, batch_size=2)
    assert seq[0][2].tolist() == [1, 2] and seq[0][2].dtype == np.float32
    said = "`sample_weight` holds 16777217 in row 3, which float32 cannot hold. Pass f"
    refused(DoesNotFit, said, call=lambda: seq[1])
    with StoreWriter(tmp_path / "a.store", X.shape[1]) as writer:
        refused(DoesNotFit, said, call=lambda: writer.append(X, Y, weights))
        writer.append(X, Y, weights.astype(float))  # the mend
    assert open_store(tmp_path / "a.store").sample_weight.tolist() == weights.tolist()
    seq = sequence(X, Y, weights.astype(float), shuffle=False, batch_size=2)
    assert seq[1][2].tolist() == [3, 2**24 + 1]


def test_weights_of_classes():
    for weights in ({0: 1.0, 1: 5.0}, {0: np.float32(1), 1: 5}, {"a": 2}):
        refused(
            ValueError,
            f"`sample_weight` must hold a weight for each row; received {weights}",
            "weights of classes are the class_weight of fit",
            call=lambda: sequence(X, Y % 2, weights),
        )
    weights = {0: 1, 1: 2.5}
    y = Y % 2
    found = sequence(X, y, np.vectorize(weights.get, otypes=[float])(y))[0]  # the mend
    assert found[2].tolist() == [1, 2.5, 1]


def test_lists_that_name_the_tuple():
    refused(
        ValueError,
        "a single list (several inputs are a dict or a tuple); received a tuple of 3",
        call=lambda: sequence([["a"] * 7, ["b"] * 7], transform=(len, len, len)),
    )
    refused(
        TypeError,
        "`x[1]` holds items that are not numbers",
        "np.array(x[1])",
        call=lambda: sequence([X, [1] * 7]),
    )
    refused(
        ValueError,
        "`x[1]` must have as many rows as `x[0]`, which has 2; received 3 rows",
        "(np.asarray(x), or a transform, if each is a row).",
        call=lambda: sequence([np.arange(2), np.arange(3)]),
    )
    refused(
        ValueError,
        "`y[0]` must have as many rows as `x`",
        call=lambda: sequence(X, [Y[:2], Y[:2]]),
    )


# transform


@pytest.mark.parametrize("value", [3, "tfidf", [len]], ids=str)
def test_a_transform_that_is_none(value):
    refused(
        TypeError,
        "`transform` must be callable; received",
        "transform=vectorizer.transform",
        call=lambda: sequence(X, transform=value),
    )


@pytest.mark.parametrize(
    ("x", "transform"),
    [
        ({"a": X}, len),
        (X, {"a": len}),
        ((X, X), (len,)),
        ({"a": X}, {"b": len}),
        ([X, X], len),
    ],
    ids=["single", "dict", "length", "keys", "list"],
)
def test_transforms_of_another_structure(x, transform):
    refused(
        ValueError,
        "`transform` must have the structure of `x`",
        call=lambda: sequence(x, transform=transform),
    )


@pytest.mark.parametrize(
    "value", [None, 3, "abc", [1, 2, 3], np.float64(3), ([1], [2])], ids=str
)
def test_a_transform_that_returns_no_matrix(value):
    refused(
        TypeError,
        "`transform` of `x` must return a scipy sparse matrix or an array; it returned",
        f"of type {type(value).__name__}",
        call=lambda: sequence(X, transform=lambda block: value)[0],
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block[:-1],
        lambda block: np.vstack([block, block]),
        lambda block: block[:0],
        lambda block: block[:, :0],
        lambda block: np.array(3.0),
        lambda block: sp.csr_array(block[:-1]),
        lambda block: sp.coo_array(block.T),
        lambda block: sp.csr_array((3, 0)),
    ],
    ids=["fewer", "more", "none", "no_features", "scalar", "csr", "turned", "csr_0"],
)
def test_a_transform_that_changes_the_number_of_rows(change):
    refused(
        ValueError,
        "`transform` of `x` must return one row, of at least one feature, for each of "
        "the 3 rows it is given; it returned shape",
        "filter them with `rows=`",
        call=lambda: sequence(X, transform=change)[0],
    )


@pytest.mark.parametrize("dtype", [complex, "U3"])
def test_a_transform_that_returns_no_real_numbers(dtype):
    refused(
        TypeError,
        "`transform(x)` must hold real numbers; received dtype",
        call=lambda: sequence(X, transform=lambda block: block.astype(dtype))[0],
    )


def test_a_transform_that_returns_a_damaged_matrix():
    def transform(**arrays):
        def change(block):
            matrix = sp.csr_array(block)
            for name, put_into in arrays.items():
                setattr(matrix, name, put_into(getattr(matrix, name)))
            return matrix

        return change

    refused(
        DamagedRows,
        "`transform(x)` has a column index out of range: it must be in [0, 5)",
        call=lambda: sequence(X, transform=transform(indices=put(0, 9)))[0],
    )
    refused(
        ValueError,
        "`transform(x)` is a damaged CSR matrix: `indptr`",
        call=lambda: sequence(X, transform=transform(indptr=put(1, 100)))[0],
    )
    if SCIPY >= (1, 13):  # the first whose arrays may have one dimension
        refused(
            ValueError,
            "`transform(x)` must be a two-dimensional sparse matrix; received shape "
            "(3,)",
            call=lambda: sequence(X, transform=lambda b: sp.coo_array(b[:, 0]))[0],
        )


def test_a_transform_that_is_fitted_to_each_batch():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts = ["one two three", "four five", "six", "seven"]
    seq = sequence(texts, batch_size=1, transform=text.CountVectorizer().fit_transform)
    seq[0]
    refused(
        ValueError,
        "`transform` of `x` must give every batch the same features; it gave shape "
        "(2,) after (3,)",
        "not `.fit_transform`",
        call=lambda: seq[1],
    )


def test_an_error_inside_a_transform_or_augment_is_not_hidden():
    def fail(*_):
        raise KeyError("mine")

    for option in ("transform", "augment"):
        with pytest.raises(KeyError, match="mine"):
            sequence(X, **{option: fail})[0]


# augment


def test_an_augment_that_is_none():
    refused(
        TypeError,
        "`augment` must be a callable (x, rng) -> x; received 3 of type int",
        call=lambda: sequence(X, augment=3),
    )


@pytest.mark.parametrize(
    ("x", "output", "change", "kind", "part"),
    [
        (X, "dense", lambda x: None, TypeError, "NumPy array, as it is given"),
        (X, "dense", lambda x: sp.csr_array(x), TypeError, "NumPy array"),
        (X, "dense", lambda x: x.tolist(), TypeError, "it returned list"),
        (csr(7, 5), "csr", lambda x: x.toarray(), TypeError, "scipy sparse matrix"),
        (X, "dense", lambda x: x[:-1], ValueError, "keep the shape of `x`, (3, 5)"),
        (X, "dense", lambda x: x.T, ValueError, "it returned shape (5, 3)"),
        (csr(7, 5), "csr", lambda x: x[:, :2], ValueError, "it returned shape (3, 2)"),
        (X, "dense", lambda x: x * 1j, TypeError, "(x)` must hold real numbers"),
        (X, "dense", lambda x: (x,), ValueError, "it returned a tuple of 1"),
        ({"a": X}, "dense", lambda x: x["a"], ValueError, "a dict with keys ['a']"),
        ({"a": X}, "dense", lambda x: {"a": 3}, TypeError, "`x['a']`"),
    ],
)
def test_what_augment_may_not_return(x, output, change, kind, part):
    refused(
        kind,
        "`augment",
        part,
        call=lambda: sequence(x, output=output, augment=lambda x, rng: change(x))[0],
    )


def test_an_augment_that_returns_an_index_out_of_range():
    def change(x, rng):
        x.indices[0] = 77
        return x

    refused(
        DamagedRows,
        "`augment(x)` has a column index out of range",
        call=lambda: sequence(csr(7, 5), output="csr", augment=change)[0],
    )

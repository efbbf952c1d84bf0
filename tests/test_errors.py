"""Bad input: each error names the argument, the rule, the value and the mend."""

from __future__ import annotations

import re
from collections import UserDict

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from encoded import csr, dense

from sequence_loader import (
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
    SparseBatchSequence,
)
from sequence_loader.rows.csr import DamagedRows

X, Y = dense(7, 5), np.arange(7)


def sequence(x=X, *args, **options):
    return SparseBatchSequence(x, *args, **{"batch_size": 3, **options})


def damaged(fmt="csr", **arrays):
    """A sound matrix with an array replaced behind scipy's back."""
    matrix = sp.csr_array(X).asformat(fmt)
    for name, change in arrays.items():
        setattr(matrix, name, change(getattr(matrix, name).copy()))
    return matrix


def put(place, value):
    def change(array):
        array[place] = value
        return array

    return change


def refused(kind, *parts, call):
    """Asserts what an error says, and that it is one well-made line."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"
    assert text.endswith(".") and "  " not in text and "\n" not in text
    assert re.search("received|returned|holds|has|gave", text), text
    assert len(text) < 500
    # The mend: a sentence of its own that says what to do.
    mends = "Pass|Use|Build|Correct|Check|Convert|Encode|Number|Reshape|Wrap|Leave"
    mends += "|Lower|Return|Transform|Change|Pad"
    assert re.search(rf"\. ({mends}) ", text), text
    return text


# batch_size, seed, shard and other numbers


@pytest.mark.parametrize("value", [True, 2.0, np.float64(3), "3", None, [3], np.True_])
def test_batch_size_of_another_type(value):
    refused(
        TypeError,
        "`batch_size` must be an integer, at least 1; received",
        f"of type {type(value).__name__}",
        "batch_size=1",
        call=lambda: sequence(batch_size=value),
    )


@pytest.mark.parametrize("value", [0, -1, np.int64(-5)])
def test_batch_size_out_of_range(value):
    refused(
        ValueError,
        f"`batch_size` must be at least 1; received {int(value)}",
        call=lambda: sequence(batch_size=value),
    )


@pytest.mark.parametrize("make", [lambda s: sequence(seed=s), ShuffleSampler])
def test_seeds(make):
    for value in (1.5, "a", True):
        refused(TypeError, "`seed` must be an integer", call=lambda: make(value))
    for value in (-1, 2**64):
        refused(
            ValueError,
            f"`seed` must be in [0, {2**64 - 1}]; received {value}",
            call=lambda: make(value),
        )


@pytest.mark.parametrize("name", ["block_size", "window"])
def test_sizes_of_block_shuffle(name):
    for value in ("a", 1.0, False):
        refused(
            TypeError,
            f"`{name}` must be an integer",
            call=lambda: BlockShuffleSampler(1, **{name: value}),
        )
    for value in (0, -1, 2**62 + 1):
        refused(
            ValueError,
            f"`{name}` must be in [1, {2**62}]; received {value}",
            call=lambda: BlockShuffleSampler(1, **{name: value}),
        )


@pytest.mark.parametrize("value", [0, "01", None, (0,), (0, 1, 2), np.array([0, 1])])
def test_shard_that_is_not_a_pair(value):
    refused(
        TypeError,
        "`shard` must be a pair (index, count); received",
        "shard=(0, 1)",
        call=lambda: sequence(shard=value),
    )


@pytest.mark.parametrize(
    ("value", "kind", "part"),
    [
        ((0, 0), ValueError, "`shard[1]` must be at least 1; received 0"),
        ((0, -2), ValueError, "`shard[1]` must be at least 1; received -2"),
        ((1, 1), ValueError, "`shard[0]` must be in [0, 0]; received 1"),
        ((2, 2), ValueError, "`shard[0]` must be in [0, 1]; received 2"),
        ((-1, 2), ValueError, "`shard[0]` must be in [0, 1]; received -1"),
        ((0.0, 1), TypeError, "`shard[0]` must be an integer"),
        ((0, True), TypeError, "`shard[1]` must be an integer"),
    ],
)
def test_shard_out_of_range(value, kind, part):
    refused(kind, part, call=lambda: sequence(shard=value, remainder="pad"))


def test_shards_with_the_remainder_kept():
    refused(
        ValueError,
        "`remainder` must be 'pad' or 'drop' when `shard` has count > 1",
        "remainder='keep' with shard=(0, 2)",
        call=lambda: sequence(shard=(0, 2)),
    )


@pytest.mark.parametrize("shard", [(0, 1), (1, 3)])
def test_no_batch_is_left(shard):
    refused(
        ValueError,
        "`batch_size` must leave at least one batch when remainder='drop'",
        f"batch_size=8 with shard={shard}",
        f"needs {8 * shard[1]} rows of the 7",
        call=lambda: sequence(batch_size=8, remainder="drop", shard=shard),
    )


@pytest.mark.parametrize("name", ["workers", "max_queue_size"])
def test_numbers_for_workers(name):
    for value in (1.5, "2", None, True):
        refused(
            TypeError,
            f"`{name}` must be an integer",
            call=lambda: sequence(**{name: value}),
        )
    refused(
        ValueError,
        f"`{name}` must be at least",
        "received -1",
        call=lambda: sequence(**{name: -1}),
    )


def test_epoch():
    for value in (1.5, "1", None, True):
        refused(
            TypeError,
            "`epoch` must be an integer",
            call=lambda: sequence().set_epoch(value),
        )
    for value in (-1, 2**63):
        refused(
            ValueError,
            "`epoch` must be in",
            f"received {value}",
            call=lambda: sequence().set_epoch(value),
        )


# Choices


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output", "DENSE"),
        ("output", None),
        ("output", ["dense"]),
        ("remainder", "keeps"),
        ("remainder", None),
        ("remainder", True),
        ("shuffle", "blocks"),
        ("shuffle", None),
        ("shuffle", 1),
        ("shuffle", 0),
        ("shuffle", np.array([True, False])),
        ("use_multiprocessing", 1),
        ("use_multiprocessing", "yes"),
    ],
)
def test_choices(name, value):
    refused(
        ValueError,
        f"`{name}` must be one of ",
        f"received {value!r}",
        call=lambda: sequence(**{name: value}),
    )


@pytest.mark.parametrize("shuffle", [True, "block"])
def test_shuffle_and_sampler(shuffle):
    refused(
        ValueError,
        "`sampler` and `shuffle` must not both be given",
        "sampler=SequentialSampler()",
        f"shuffle={shuffle!r}",
        call=lambda: sequence(shuffle=shuffle, sampler=SequentialSampler()),
    )


def test_a_sampler_as_shuffle():
    refused(
        TypeError,
        "`shuffle` must be one of False, True, 'block'",
        "received ShuffleSampler(seed=1)",
        "sampler=...",
        call=lambda: sequence(shuffle=ShuffleSampler(1)),
    )


@pytest.mark.parametrize("value", [3, "shuffle", ShuffleSampler, np.arange(7)])
def test_a_sampler_that_is_none(value):
    refused(
        TypeError,
        "`sampler` must have methods rows(num_rows, epoch, start, stop)",
        "ShuffleSampler(seed)",
        call=lambda: sequence(sampler=value),
    )


class Fixed:
    """A sampler that returns what it was made with."""

    def __init__(self, rows, length=7):
        self._rows, self._length = rows, length

    def rows(self, num_rows, epoch, start, stop):
        return self._rows

    def length(self, num_rows):
        return self._length


@pytest.mark.parametrize(
    "rows",
    [[0, 1], [0, 1, 7], [0, 1, -1], [0.0, 1.0, 2.0], [[0, 1, 2]], None, ["a", "b"]],
    ids=str,
)
def test_a_sampler_that_breaks_its_contract(rows):
    refused(
        ValueError,
        "`sampler` must return ",
        "integers in [0, 7); Fixed.rows() returned",
        call=lambda: sequence(sampler=Fixed(rows))[0],
    )


def test_the_length_of_a_sampler():
    for value in (2.5, None):
        refused(
            TypeError,
            "`Fixed.length()` must be an integer",
            call=lambda: sequence(sampler=Fixed([], value)),
        )
    refused(
        ValueError,
        "`Fixed.length()` must be at least 1; received 0",
        call=lambda: sequence(sampler=Fixed([], 0)),
    )


# dtype


@pytest.mark.parametrize("value", ["nonsense", "complex64", object, "U5", "M8[s]", [1]])
def test_dtype(value):
    refused(
        TypeError,
        "`dtype` must name a NumPy dtype of real numbers; received",
        "dtype='float32'",
        call=lambda: sequence(dtype=value),
    )


@pytest.mark.parametrize("value", ["float16", "bfloat16"])
def test_dtype_that_scipy_does_not_take(value):
    import keras  # noqa: F401  (registers bfloat16)

    refused(
        ValueError,
        "`dtype` must be one that scipy computes with when output='csr'",
        f"received {value}",
        call=lambda: sequence(csr(7, 5), output="csr", dtype=value),
    )


# rows


@pytest.mark.parametrize(
    ("value", "kind", "parts"),
    [
        ([], ValueError, ["at least one row; received shape (0,)"]),
        ([[0, 1]], ValueError, ["one-dimensional", "received shape (1, 2)"]),
        ([[0], [1, 2]], ValueError, ["one-dimensional"]),
        (3, ValueError, ["one-dimensional", "received shape ()"]),
        ("ab", ValueError, ["one-dimensional"]),
        ({1, 2}, ValueError, ["one-dimensional"]),
        ([1.0, 2.0], TypeError, ["integers or booleans; received dtype float64"]),
        (["a"], TypeError, ["integers or booleans; received dtype <U1"]),
        ([None], TypeError, ["integers or booleans; received dtype object"]),
        ([0, 7], ValueError, ["must be in [0, 7); received 7"]),
        ([0, -1], ValueError, ["must be in [0, 7); received -1"]),
        (np.array([2**63], "uint64"), ValueError, [f"received {2**63}"]),
        ([1, 2, 1], ValueError, ["each row once; received row 1 2 times"]),
        ([5, 5, 5, 2, 2], ValueError, ["received row 5 3 times"]),
        ([2, 2, 5, 5, 5], ValueError, ["received row 5 3 times"]),
        ([True] * 6, ValueError, ["as a mask", "each of the 7 rows; received 6"]),
        ([True] * 8, ValueError, ["as a mask", "received 8"]),
        ([False] * 7, ValueError, ["at least one row", "False everywhere"]),
    ],
    ids=str,
)
def test_rows(value, kind, parts):
    refused(kind, "`rows` ", *parts, call=lambda: sequence(rows=value))


# x


@pytest.mark.parametrize(
    "value", [None, 3, 2.5, {1, 2}, "text", b"text", iter([1]), object()], ids=str
)
def test_x_that_has_no_rows_to_index(value):
    refused(
        TypeError,
        "`x` must be a scipy sparse matrix, a store, an array, or a sequence",
        f"of type {type(value).__name__}",
        call=lambda: sequence(value),
    )


def test_x_nested_too_deep_or_of_texts_in_a_tuple():
    for value, name in (
        ({"a": {"b": X}}, "x['a']"),
        ({"a": UserDict(b=X)}, "x['a']"),
        (("one text", "two"), "x[0]"),
    ):
        refused(TypeError, f"`{name}` must be", call=lambda: sequence(value))


@pytest.mark.parametrize("value", [{}, ()], ids=str)
def test_x_without_inputs(value):
    refused(
        ValueError,
        f"`x` must hold at least one input; received {value}",
        call=lambda: sequence(value),
    )


@pytest.mark.parametrize(
    ("value", "shape", "missing"),
    [
        (np.zeros((0, 3)), "(0, 3)", "rows"),
        (np.zeros((3, 0)), "(3, 0)", "features"),
        (np.zeros((3, 2, 0)), "(3, 2, 0)", "features"),
        (np.zeros(()), "()", "rows"),
        (sp.csr_array((0, 3)), "(0, 3)", "rows"),
        (sp.csr_array((3, 0)), "(3, 0)", "features"),
        (sp.coo_matrix((0, 0)), "(0, 0)", "rows"),
        ([], "(0,)", "rows"),
        (np.array([], dtype=str), "(0,)", "rows"),
    ],
    ids=str,
)
def test_nothing_in_x(value, shape, missing):
    refused(
        ValueError,
        f"`x` must have at least one row and one feature; received shape {shape}",
        f"has no {missing}",
        call=lambda: sequence(value, transform=len),
    )


@pytest.mark.parametrize("dtype", ["complex64", "M8[s]", "m8[s]", "f4,f4", "V4"])
def test_arrays_that_are_not_of_real_numbers(dtype):
    refused(
        TypeError,
        "`x` must hold real numbers; received dtype",
        "x.astype('float32')",
        call=lambda: sequence(np.zeros((3, 2), dtype)),
    )


def test_sparse_matrices_that_are_not_of_real_numbers():
    refused(
        TypeError,
        "`x` must hold real numbers; received dtype complex128",
        call=lambda: sequence(sp.csr_array(X.astype(complex))),
    )
    refused(
        TypeError,
        "`x` must hold real numbers; received dtype object",
        call=lambda: sequence(damaged(data=lambda a: a.astype(object))),
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["a", "b"], "list"),
        (X.tolist(), "list"),
        (X.astype(object), "ndarray of dtype object"),
        (np.array(["a", "b"]), "ndarray of dtype <U1"),
        (np.array([b"a"]), "ndarray of dtype |S1"),
    ],
    ids=["texts", "lists", "objects", "strings", "bytes"],
)
def test_items_without_a_transform(value, kind):
    refused(
        TypeError,
        "`x` holds items that are not numbers, such as texts, and needs a `transform`",
        f"received transform=None with {kind}",
        "HashingVectorizer().transform",
        "np.asarray(x, dtype='float32')",
        call=lambda: sequence(value),
    )


def test_a_frame_of_texts_without_a_transform():
    refused(
        TypeError,
        "`x` holds items that are not numbers",
        "received transform=None with DataFrame",
        "HashingVectorizer().transform with x=frame[column] of a column of texts",
        call=lambda: sequence(pd.DataFrame({"words": ["a b", "c"], "count": [2, 1]})),
    )


def test_an_anndata_and_its_matrix_on_disk(tmp_path):
    made = anndata.AnnData(sp.csr_matrix(X))
    refused(
        TypeError,
        "`x` holds items that are not numbers",
        "Pass for example its matrix, x.X",
        call=lambda: sequence(made),
    )
    made.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    refused(
        TypeError,
        "`x` must be a scipy sparse matrix, a store, an array",
        "Convert its file to a store, with sequence_loader.convert",
        call=lambda: sequence(backed.X),
    )
    backed.file.close()


def test_items_of_one_input_without_a_transform():
    refused(
        TypeError,
        "`x['b']` holds items that are not numbers",
        call=lambda: sequence(
            {"a": X, "b": ["a"] * 7}, transform={"a": len, "b": None}
        ),
    )


def test_masked_arrays():
    refused(
        TypeError,
        "`x` must not be a masked array",
        "x.filled(0)",
        call=lambda: sequence(np.ma.masked_equal(X, 0)),
    )
    refused(
        TypeError,
        "`y` must not be a masked array",
        call=lambda: sequence(X, np.ma.masked_equal(Y, 0)),
    )


@pytest.mark.parametrize("shape", [(7,), (7, 2, 3)])
def test_sparse_arrays_of_other_dimensions(shape):
    refused(
        ValueError,
        f"`x` must be a two-dimensional sparse matrix; received shape {shape}",
        call=lambda: sequence(sp.coo_array(np.ones(shape))),
    )


# Damaged matrices


@pytest.mark.parametrize("place", [0, 5, -1])
@pytest.mark.parametrize("value", [5, 6, 2**31 - 1, -1, -(2**31)])
def test_column_indices_out_of_range(place, value):
    """Found at construction, and the row that holds it is named."""
    matrix = damaged(indices=put(place, value))
    places = np.arange(matrix.nnz)[place]
    row = int(np.searchsorted(matrix.indptr, places, side="right")) - 1
    refused(
        DamagedRows,
        "`x` has a column index out of range: it must be in [0, 5)",
        f"row {row} holds {value}",
        "Correct the indices, or the shape",
        call=lambda: sequence(matrix),
    )


def test_an_index_that_goes_bad_later_is_found_when_it_is_read():
    matrix = sp.csr_array(X)
    seq = sequence(matrix)
    matrix.indices[-1] = 99
    seq[0]
    refused(
        DamagedRows,
        "`x` has a column index out of range",
        "row 6 holds 99",
        call=lambda: seq[-1],
    )


def test_the_wrong_row_of_a_large_matrix_is_named():
    matrix = csr(10_000, 3, density=1)
    matrix.indices[3 * 7777 + 1] = 3
    refused(DamagedRows, "row 7777 holds 3", call=lambda: sequence(matrix))


def test_column_indices_of_another_type():
    matrix = damaged(indices=lambda a: a.astype(float))
    refused(
        DamagedRows,
        "column indices of dtype float64, which must be integers",
        call=lambda: sequence(matrix)[0],
    )


@pytest.mark.parametrize(
    "arrays",
    [
        {"indptr": put(2, -1)},
        {"indptr": put(2, 99)},
        {"indptr": put(0, 1)},
        {"indptr": put(-1, 1000)},
        {"indptr": put(-1, -1)},
        {"indptr": lambda a: a[:-1]},
        {"indptr": lambda a: np.append(a, a[-1])},
        {"indptr": lambda a: a[:0]},
        {"indices": lambda a: a[:-1]},
        {"indices": lambda a: a[:0]},
        {"data": lambda a: a[:-1]},
    ],
    ids=["negative", "huge", "start", "past_end", "negative_end", "short_pointers"]
    + ["long_pointers", "no_pointers", "short_indices", "no_indices", "short_data"],
)
@pytest.mark.parametrize("fmt", ["csr", "csc"])
def test_pointers_that_lead_outside(arrays, fmt):
    refused(
        ValueError,
        f"`x` is a damaged {fmt.upper()} matrix: `indptr` must have ",
        "start at 0, do not decrease",
        "scipy.sparse.csr_array(coo)",
        call=lambda: sequence(damaged(fmt, **arrays)),
    )


@pytest.mark.parametrize(
    ("fmt", "name"), [("csc", "indices"), ("bsr", "indices")]
)
@pytest.mark.parametrize("value", [10**6, -1])
def test_indices_that_would_break_a_conversion(fmt, name, value):
    refused(
        ValueError,
        f"`x` is a damaged {fmt.upper()} matrix: it has an index out of range",
        f"received {value}",
        call=lambda: sequence(damaged(fmt, **{name: put(0, value)})),
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("value", [10**6, -1])
def test_coordinates_that_would_break_a_conversion(axis, value):
    matrix = sp.coo_array(X)
    matrix.coords[axis][0] = value
    refused(
        ValueError,
        "`x` is a damaged COO matrix: it has an index out of range",
        f"received {value}",
        call=lambda: sequence(matrix),
    )


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
    "value",
    [list("abcdefg"), np.array(list("abcdefg"), object), [None] * 7, [b"a"] * 7],
    ids=str,
)
def test_labels_that_are_not_numbers(value):
    refused(
        TypeError,
        "`y` must hold numbers; received dtype",
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


@pytest.mark.parametrize("dtype", [complex, object, "U3"])
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
    refused(
        ValueError,
        "`transform(x)` must be a two-dimensional sparse matrix; received shape (3,)",
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


# Indexing and state


@pytest.mark.parametrize("index", [1.5, "0", None, slice(0, 2), (0,), [0]], ids=str)
def test_an_index_of_another_type(index):
    for read in (sequence().__getitem__, sequence().batch_rows):
        refused(
            TypeError,
            "a batch number must be an integer; received",
            f"of type {type(index).__name__}",
            call=lambda: read(index),
        )


@pytest.mark.parametrize("index", [3, -4, 10**12])
def test_an_index_out_of_range(index):
    with pytest.raises(IndexError) as caught:
        sequence()[index]
    assert str(caught.value) == (
        f"batch number must be in [-3, 3), there are 3 batches; received {index}."
    )


@pytest.mark.parametrize("value", [None, 3, "{}", [("epoch", 1)]], ids=str)
def test_a_state_that_is_none(value):
    refused(
        TypeError,
        "`state` must be a dict from state_dict(); received",
        call=lambda: sequence().load_state_dict(value),
    )


def test_a_state_with_something_missing():
    for seed in (None, 1):
        seq = sequence(shuffle=True, seed=seed)
        for name in seq.state_dict():
            state = seq.state_dict()
            del state[name]
            with pytest.raises(ValueError, match=f"{name}: missing in the state, "):
                seq.load_state_dict(state)
        with pytest.raises(ValueError, match="epoch: missing in the state"):
            seq.load_state_dict({})


def test_a_state_of_another_version():
    for name in ("version", "order_version"):
        state = sequence(seed=1).state_dict() | {name: 99}
        with pytest.raises(ValueError, match=f"{name}: 99 in the state, 1 here"):
            sequence(seed=1).load_state_dict(state)


def test_a_state_with_values_of_another_kind():
    seq = sequence(shuffle=True)
    before = seq.state_dict()
    for name, value in (("epoch", 1.5), ("epoch", "1"), ("seed", None), ("seed", "x")):
        refused(
            TypeError,
            f"`state['{name}']` must be an integer",
            call=lambda: seq.load_state_dict(before | {name: value}),
        )
    for name, value in (("epoch", -1), ("epoch", 2**63), ("seed", -1)):
        refused(
            ValueError,
            f"`state['{name}']` must be in",
            call=lambda: seq.load_state_dict(before | {name: value}),
        )
    assert seq.state_dict() == before

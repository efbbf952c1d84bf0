"""Bad `x`: each error names the argument, the rule, the value and the mend."""

from __future__ import annotations

import re
from collections import UserDict

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy
import scipy.sparse as sp
from encoded import csr
from refusals import SCIPY, X, Y, damaged, put, refused, sequence

from sequence_loader.rows.csr import DamagedRows

# x


@pytest.mark.parametrize(
    "value",
    [None, 3, 2.5, {1, 2}, "text", b"text", iter([1]), object()],
    ids=lambda value: type(value).__name__,  # the same in all processes
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
    x = np.zeros((3, 2), dtype)
    text = refused(
        TypeError,
        "`x` must hold real numbers; received dtype",
        "Convert it, for example with ",
        call=lambda: sequence(x),
    )
    advice = re.search("example with (.*?)(, of the type.*)?\\.$", text)[1]
    mended = eval(advice, {"np": np, "x": x})
    assert not sequence(mended)[0][0].any()


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
        (np.array([*X.tolist(), None], object)[:-1], "ndarray of dtype object"),
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
        f"np.array({'x.tolist()' if isinstance(value, np.ndarray) else 'x'}).",
        call=lambda: sequence(value),
    )
    if kind == "list" and value[0] != "a" or kind == "ndarray of dtype object":
        x = value  # noqa: F841  (the mend, followed, works)
        mended = eval(f"np.array({'x.tolist()' if 'nd' in kind else 'x'})")
        assert (sequence(mended)[0][0] == X[:3]).all()


def test_sparse_matrices_in_arrays_of_objects():
    """As numpy.load returns what numpy.save was given."""
    saved, rows = np.empty((), object), np.empty(7, object)
    saved[()], rows[:] = sp.csr_matrix(X), list(sp.csr_matrix(X))
    for x in (saved, {"a": saved}):
        name = "x['a']" if isinstance(x, dict) else "x"
        refused(
            ValueError,
            f"`{name}` must have rows; received an array of shape () that holds <Comp",
            f"Pass {name}.item().",
            call=lambda x=x: sequence(x),
        )
    assert (sequence(saved.item())[0][0] == X[:3]).all()  # the mend
    refused(
        TypeError,
        "received transform=None with ndarray of dtype object. Pass for example "
        "transform=scipy.sparse.vstack",
        call=lambda: sequence(rows),
    )
    assert (sequence(rows, transform=sp.vstack)[0][0] == X[:3]).all()


def test_a_frame_of_texts_without_a_transform():
    refused(
        TypeError,
        "`x` holds items that are not numbers",
        "received a DataFrame with column 'words' of texts. Pass {'others': x.drop",
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
    if SCIPY < (1, 15):
        pytest.skip(f"SciPy {scipy.__version__} has no such arrays")
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


@pytest.mark.parametrize("name", ["indices", "indptr"])
def test_floats_are_refused_before_a_conversion_rounds_them(name):
    """What is no number, or negative, would pass a check of the largest."""
    refused(
        ValueError,
        "`x` is a damaged CSC matrix: ",
        "integers",
        call=lambda: sequence(damaged("csc", **{name: lambda a: a.astype(float)})),
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("value", [10**6, -1])
def test_coordinates_that_would_break_a_conversion(axis, value):
    matrix = sp.coo_array(X)
    (matrix.row, matrix.col)[axis][0] = value
    refused(
        ValueError,
        "`x` is a damaged COO matrix: it has an index out of range",
        f"received {value}",
        call=lambda: sequence(matrix),
    )

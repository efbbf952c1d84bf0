"""What dtype is served, and values that it cannot hold, from `x` and `y` to batches."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from encoded import plain
from refusals import refused

from sequence_loader import SparseBatchSequence, StoreWriter, open_store
from sequence_loader.rows.values import DoesNotFit

IDS = np.arange(17_000_000, 17_000_008)
"""float32 holds every second of them."""

WORDS = sp.csr_array(sp.eye(8, dtype="float32"))
OUTPUTS = "dense", "sparse", "csr"


def served(x, y=None, **options):
    """All batches of a sequence and of its dataset, which are the same, as one."""
    sequence = SparseBatchSequence(x, y, **{"batch_size": 3, **options})
    batches = list(sequence)
    if sequence._output != "csr":
        for ours, theirs in zip(batches, sequence.to_tf_dataset(), strict=True):
            keras.tree.map_structure(_check_same, ours, theirs)
    parts = zip(*batches)
    return tuple(keras.tree.map_structure(_joined, *part) for part in parts)


def _check_same(ours, theirs):
    ours, theirs = plain(ours), plain(theirs)
    assert ours.dtype == theirs.dtype
    assert ((ours == theirs) | (ours != ours) & (theirs != theirs)).all()


def _joined(*batches):
    return np.concatenate([plain(batch) for batch in batches])


@pytest.mark.parametrize("output", OUTPUTS)
def test_ids_beside_sparse_rows_are_those_that_were_given(output):
    ((found,),) = [served({"item": IDS, "words": WORDS}, output=output)]
    assert found["item"].dtype == np.int64 and (found["item"] == IDS).all()
    assert found["words"].dtype == np.float32
    assert (found["words"] == WORDS.toarray()).all()


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"]
    + ["uint64", ">i4", ">u8"],
)
@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, 2, 3)])
def test_integers_keep_their_dtype_and_every_value(dtype, shape):
    kind = np.dtype(dtype)
    ends = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    x = np.resize(np.array(ends, kind), shape)
    y = x.reshape(8, -1)
    found, targets = served(x, y)
    for one, whole in ((found, x), (targets, y)):
        assert one.dtype == kind.newbyteorder("=") and (one == whole).all()


@pytest.mark.parametrize("floatx", ["float16", "bfloat16", "float32", "float64"])
def test_floats_and_sparse_rows_are_served_as_floatx(floatx):
    keras.config.set_floatx(floatx)
    try:
        x = {"f": np.ones((8, 2)), "s": WORDS.astype("int64"), "i": IDS, "b": IDS > 0}
        (found,) = served(x)
    finally:
        keras.config.set_floatx("float32")
    kinds = {name: value.dtype.name for name, value in found.items()}
    assert kinds == {"f": floatx, "s": floatx, "i": "int64", "b": "bool"}
    assert (found["i"] == IDS).all() and (found["s"] == np.eye(8)).all()


def test_a_dtype_for_each_input():
    x = {"words": WORDS, "item": IDS}
    (found,) = served(x, dtype={"item": "int32", "words": "float64"})
    assert (found["item"].dtype, found["words"].dtype) == (np.int32, np.float64)
    (found,) = served((IDS, WORDS), dtype=(None, "float16"))
    assert (found[0].dtype, found[1].dtype) == (np.int64, np.float16)
    assert (found[0] == IDS).all()
    (found,) = served([WORDS, IDS], dtype=[None, "float64"])  # asked for, and held
    assert found[1].dtype == np.float64 and (found[1] == IDS).all()
    for dtype in ({"item": "int32"}, ("int32", None), {"a": None, "b": None}):
        refused(
            ValueError,
            "`dtype` must be one dtype, or have the structure of `x`, a dict with keys",
            "Pass one dtype (or None) for each input.",
            call=lambda: SparseBatchSequence(x, dtype=dtype),
        )
    refused(
        TypeError,
        "`dtype` must name a NumPy dtype",
        call=lambda: SparseBatchSequence(x, dtype={"item": "ids", "words": None}),
    )


BIG = sp.csr_array(np.array([[0, 0, 5], [0, 0, 2**24 + 1]]))


PASS = "Pass dtype='{}' for this input."
AMOUNT = "Pass dtype='float64' for this input, or convert it to floats first, where it "
AMOUNT += "is an amount."
ROUND = "Convert it yourself, with np.rint say, or pass dtype='float32'."
TRUTH = "Convert it yourself: x != 0 is what it is in NumPy."


@pytest.mark.parametrize(
    ("x", "options", "said", "mend"),
    [
        (IDS, {"dtype": "float32"}, "`x` holds 17000001 in row 1, which float32",
         AMOUNT),
        (IDS, {"dtype": "float16"}, "`x` holds 17000000 in row 0, which float16",
         AMOUNT),
        (IDS, {"dtype": "uint16"}, "17000000 in row 0, which uint16",
         PASS.format("int64")),
        (-IDS, {"dtype": "uint32"}, "`x` holds -17000000 in row 0, which uint32",
         PASS.format("int64")),
        (BIG, {}, "`x` holds 16777217 in row 1, column 2, which float32", AMOUNT),
        (BIG, {"output": "sparse"}, "16777217 in row 1, column 2, which float32",
         AMOUNT),
        (BIG, {"output": "csr", "dtype": "int16"}, "16777217 in row 1, column 2",
         PASS.format("int64")),
        (np.array([[1, 0], [0, 2]]), {"dtype": "bool"}, "2 in row 1, column 1, which",
         TRUTH),
        (np.array([[1.0], [1e39]]), {}, "`x` holds 1e+39 in row 1, column 0, which",
         PASS.format("float64")),
        (np.array([1.0, 1e5]), {"dtype": "float16"}, "100000.0 in row 1, which float",
         PASS.format("float32")),
        (np.array([1.0, 0.5]), {"dtype": "int32"}, "`x` holds 0.5 in row 1, which",
         ROUND),
        (np.array([1.0, np.nan]), {"dtype": "int32"}, "nan in row 1, which", ROUND),
        (sp.csr_array([[0, -np.inf]]), {"dtype": "int8"}, "-inf in row 0, column 1",
         ROUND),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shuffled", [False, True])
def test_what_a_dtype_cannot_hold_is_refused_and_the_row_named(
    x, options, said, mend, shuffled
):
    if shuffled:  # the row is the user's, whatever the order
        options = {**options, "rows": np.arange(x.shape[0])[::-1]}
    sequence = SparseBatchSequence(x, batch_size=1, **options)

    def first_refused():
        for index in range(len(sequence))[:: -1 if shuffled else 1]:
            sequence[index]

    text = refused(DoesNotFit, said, f"cannot hold. {mend}", call=first_refused)
    assert text.endswith(mend)
    if "Pass dtype=" in text:  # the mend, followed, works
        dtype = text.split("Pass dtype='")[1].split("'")[0]
        expected = x.toarray() if sp.issparse(x) else x
        (found,) = served(x, **{**options, "dtype": dtype, "rows": None})
        assert (found == expected).all()


def test_rounding_and_infinities_are_no_loss():
    x = np.array([[0.1, np.inf], [np.nan, 1e-300]])
    (found,) = served(x)
    assert np.array_equal(found, x.astype("float32"), equal_nan=True)
    (found,) = served(sp.csr_array(x), dtype="float16")
    assert np.array_equal(found, x.astype("float16"), equal_nan=True)


def test_integers_of_a_transform():
    x = [f"{n}" for n in IDS]
    (found,) = served(x, transform=lambda block: np.array([[int(n)] for n in block]))
    assert found.dtype == np.int64 and (found[:, 0] == IDS).all()
    counts = SparseBatchSequence(
        x, transform=lambda block: sp.csr_array([[int(n)] for n in block])
    )
    refused(DoesNotFit, "`x` holds 17000001 in row 1, column 0", call=lambda: counts[0])


def test_a_transform_whose_dtype_is_not_the_same_for_all():
    rows = {0: np.array([[2]]), 1: np.array([[0.5]]), 2: np.array([[3]], "int8")}
    given = dict(batch_size=1, transform=lambda block: rows[block[0]])
    for index, mend in ((1, "float32"), (2, "int64")):
        sequence = SparseBatchSequence([0, 1, 2], **given)
        sequence[0]
        refused(
            TypeError,
            "`x` must have one dtype in all batches",
            "after int64",
            f"Pass dtype='{mend}'",
            call=lambda: sequence[index],
        )
    (found,) = served([0, 1, 2], dtype="float32", **given)
    assert found.ravel().tolist() == [2, 0.5, 3]


@pytest.mark.parametrize("output", OUTPUTS)
def test_augment_gives_back_the_dtype_it_is_given(output):
    def change(x, rng):
        return {"i": x["i"] * 2.0, "b": x["b"].astype(int), "s": x["s"] * np.float64(3)}

    x = {"i": IDS, "b": IDS % 2 == 0, "s": WORDS}
    (found,) = served(x, augment=change, output=output)
    assert (found["i"] == IDS * 2).all() and found["i"].dtype == np.int64
    assert (found["b"] == x["b"]).all() and found["b"].dtype == np.bool_
    assert (found["s"] == 3 * np.eye(8)).all() and found["s"].dtype == np.float32
    halved = SparseBatchSequence(IDS, batch_size=4, augment=lambda x, rng: x * 0.5)
    refused(
        DoesNotFit,
        "`augment(x)` holds 8500000.5 in row 1, which int64 cannot hold",
        "pass dtype='float64'",
        call=lambda: halved[0],
    )
    large = SparseBatchSequence(
        WORDS, output="csr", augment=lambda x, rng: x * np.float64(1e39)
    )
    refused(DoesNotFit, "`augment(x)` holds 1e+39 in row 0", call=lambda: large[0])


def test_a_store_is_written_by_the_same_rule(tmp_path):
    def write(block, dtype="float32", y=None):
        with StoreWriter(tmp_path / "a.store", 3, dtype, overwrite=True) as writer:
            writer.append(np.ones((4, 3)))
            writer.append(block)

    with pytest.raises(ValueError) as caught:
        write(BIG)
    assert str(caught.value) == (
        "`block` holds 16777217 in row 5, column 2, which float32 cannot hold. Pass "
        "dtype='float64', or convert it first, to floats where it is an amount."
    )
    for dtype in ("float64", "int32"):
        write(BIG, dtype)
        found = open_store(tmp_path / "a.store")
        assert found.take([5])[0, 2] == 2**24 + 1 and found.dtype == dtype
    write(BIG.astype("float64"))  # an amount, which is rounded
    assert open_store(tmp_path / "a.store").take([5])[0, 2] == 2**24
    write(pd.DataFrame({"a": [2**24], "b": [0.5], "c": [True]}))
    assert open_store(tmp_path / "a.store").take([4]).toarray().tolist() == [
        [2**24, 0.5, 1]
    ]
    with pytest.raises(ValueError, match="`block` holds 16777217 in row 0, in column"):
        write(pd.DataFrame({"a": [2**24 + 1], "b": [0.5], "c": [True]}))


def test_targets_of_a_store_that_a_first_block_decides(tmp_path):
    with StoreWriter(tmp_path / "a.store", 1) as writer:
        writer.append(np.ones((2, 1)), y=np.array([1.0, 2.0], "float32"))
        with pytest.raises(ValueError, match="`y` holds 17000001 in row 3, which flo"):
            writer.append(np.ones((2, 1)), y=[1, 17_000_001])

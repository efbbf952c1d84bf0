"""Assembly: dtype, dense memory, and augmentation with its own generator."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import dense
from hypothesis import given
from hypothesis import strategies as st

from sequence_loader.batches.assembler import Assembler
from sequence_loader.batches.batch import Batch
from sequence_loader.rows.as_csr import from_scipy
from sequence_loader.rows.csr import CsrRows, canonical
from sequence_loader.rows.values import DoesNotFit

ENCODED = dense(9, 5)


def rows(values=ENCODED) -> CsrRows:
    return canonical(from_scipy(sp.csr_array(values), "x"), "x")


def assembled(assembler, features, seed=1, epoch=2, number=3):
    return assembler.assemble(Batch(features, None, None), seed, epoch, number).features


DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"]


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
@pytest.mark.parametrize("source", ["csr", "array"])
def test_dense_features_have_the_dtype_and_are_aligned(dtype, source):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    expected = ENCODED != 0 if dtype == "bool" else ENCODED
    features = rows(expected) if source == "csr" else expected
    found = assembled(Assembler("dense", dtype, None), features)
    assert found.dtype.name == dtype
    assert found.ctypes.data % 64 == 0 and found.flags.writeable
    assert (found == expected.astype(found.dtype)).all()


@pytest.mark.parametrize("output", ["sparse", "csr"])
def test_sparse_features_have_the_dtype(output):
    for dtype in DTYPES[1:]:
        content = ENCODED != 0 if dtype == "bool" else ENCODED
        found = assembled(Assembler(output, dtype, None), rows(content))
        assert isinstance(found, CsrRows) and found.data.dtype == dtype
        values = assembled(Assembler(output, dtype, None), content)
        assert isinstance(values, np.ndarray) and values.dtype == dtype


def test_other_byte_orders_are_served_in_that_of_the_machine():
    for output in ("dense", "sparse", "csr"):
        found = assembled(Assembler(output, ">f4", None), ENCODED)
        assert found.dtype == np.dtype("float32") and (found == ENCODED).all()
        found = assembled(Assembler(output, None, None), ENCODED.astype(">i8"))
        assert found.dtype == np.dtype("int64") and (found == ENCODED).all()


@pytest.mark.parametrize("features", [1, 4, 300])
def test_arrays_of_any_number_of_axes(features):
    array = np.arange(6.0 * features).reshape(6, features, 1)
    for given_as in (array, np.asfortranarray(array), array[::-1], array[:, :, 0]):
        found = assembled(Assembler("dense", "float32", None), given_as)
        assert found.shape == given_as.shape and (found == given_as).all()


def test_a_batch_that_is_kept_never_changes():
    assembler = Assembler("dense", "float32", None)
    kept = []
    for step in range(50):
        found = assembled(assembler, rows())
        assert (found == ENCODED).all()
        found[...] = step
        if step % 3 == 0:
            kept.append((step, found[1:]))
    del found
    gc.collect()
    for step, view in kept:
        assert (view == step).all()
    assert assembler.pool.in_use == len(kept)


def test_structures_pass_through():
    names = {"a": "x['a']", "b": "x['b']"}
    assembler = Assembler("csr", "float32", None, inputs=names)
    found = assembled(assembler, {"a": rows(), "b": ENCODED})
    assert isinstance(found["a"], CsrRows) and found["b"].dtype == np.float32


# Engines that hold 32 bits, as JAX does


def in_32_bits(dtype):
    wide = dtype.itemsize == 8 and dtype.kind in "iuf"
    return np.dtype(f"{dtype.kind}4") if wide else dtype


IDS = np.arange(9) + 2**31 - 4
FEW = np.arange(9)


@pytest.mark.parametrize(
    ("batch", "dtype", "augment", "told"),
    [
        (Batch(IDS, None, None), None, None,
         "`x` holds 2147483648 in row 4, and JAX, which makes int32 of int64"),
        (Batch(IDS, None, None), "float64", None,
         "`x` holds 2147483644 in row 0, and JAX, which makes float32 of float64"),
        (Batch(FEW, None, None), None, lambda x, rng: x + IDS,
         "`x` holds 2147483648 in row 2, and JAX, which makes int32 of int64"),
        (Batch(FEW, {"a": 2 * IDS.astype("uint64")}, None), None, None,
         "`y['a']` holds 4294967296 in row 4, and JAX, which makes uint32 of uint64"),
        (Batch(FEW, FEW, np.full(9, 1e300)), None, None,
         "`sample_weight` holds 1e+300 in row 0, and JAX, which makes float32 of"),
    ],
)  # fmt: skip
def test_what_an_engine_would_hold_as_another_value_is_refused(
    batch, dtype, augment, told
):
    assembler = Assembler("dense", dtype, augment, held_as=in_32_bits)
    with pytest.raises(DoesNotFit) as caught:
        assembler.assemble(batch, 1, 2, 3)
    assert str(caught.value).startswith(told)
    assert "set jax_enable_x64 before" in str(caught.value)
    with_64 = Assembler("dense", dtype, augment).assemble(batch, 1, 2, 3)
    expected = batch.features if augment is None else batch.features + IDS
    assert with_64.features.tolist() == expected.tolist()
    assert with_64[1:] == batch[1:]


def test_what_an_engine_holds_as_it_is_is_served():
    batch = Batch(FEW, IDS[:4].repeat(3)[:9], np.full(9, 0.5))
    found = Assembler("dense", None, None, held_as=in_32_bits).assemble(batch, 1, 2, 3)
    for part, given_as in zip(found, batch, strict=True):
        assert part.dtype == given_as.dtype and (part == given_as).all()


# augment


def noise(features, rng):
    if sp.issparse(features):
        features.data *= rng.random(features.nnz)
        return features
    return features * rng.random(features.shape)


def as_dense(features):
    if isinstance(features, CsrRows):
        return features.to_dense(np.zeros((9, 5)))
    return features


@pytest.mark.parametrize("output", ["dense", "sparse", "csr"])
def test_the_same_batch_is_augmented_the_same_way(output):
    def run(*where, assembler=None):
        assembler = assembler or Assembler(output, "float64", noise)
        return as_dense(assembled(assembler, rows(), *where)).tolist()

    used = Assembler(output, "float64", noise)
    first = run(1, 2, 3, assembler=used)
    others = [run(*w, assembler=used) for w in ((2, 2, 3), (1, 3, 3), (1, 2, 4))]
    assert run(1, 2, 3, assembler=used) == first == run(1, 2, 3)
    assert first not in others and len(set(map(str, others))) == 3
    assert (np.array(first)[ENCODED == 0] == 0).all()
    assert (np.array(first) != ENCODED).any()


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**62))
def test_generators_are_made_for_any_seed_epoch_and_batch(seed, epoch, number):
    drawn = []
    assembler = Assembler(
        "dense", "float32", lambda x, rng: drawn.append(rng.random()) or x
    )
    for _ in range(2):
        assembled(assembler, ENCODED, seed, epoch, number)
    assembled(assembler, ENCODED, seed, epoch, number + 1)
    assert drawn[0] == drawn[1] != drawn[2]


def test_sparse_features_are_given_as_csr_arrays_of_the_dtype():
    def check(features, rng):
        assert type(features) is sp.csr_array and features.dtype == np.float32
        assert isinstance(rng, np.random.Generator)
        return features

    assembled(Assembler("sparse", "float32", check), rows())


AUGMENTED = {
    "coo": lambda x, rng: x.tocoo(),
    "matrix": lambda x, rng: sp.csr_matrix(x),
    "float64": lambda x, rng: x.astype("float64"),
    "unsorted": lambda x, rng: x[:, ::-1][:, ::-1],
}


@pytest.mark.parametrize("kind", AUGMENTED)
def test_any_sparse_result_is_made_canonical(kind):
    found = assembled(Assembler("csr", "float32", AUGMENTED[kind]), rows())
    assert found.data.dtype == np.float32 and found.indptr.dtype == np.int64
    assert (as_dense(found) == ENCODED).all()
    assert found.to_scipy().has_canonical_format


def test_dense_results_become_plain_arrays_of_the_dtype():
    for change in (
        lambda x, rng: x.view(np.matrix),
        lambda x, rng: x.astype("float64"),
        lambda x, rng: np.asfortranarray(x),
    ):
        found = assembled(Assembler("dense", "float32", change), ENCODED)
        assert type(found) is np.ndarray and found.dtype == np.float32
        assert (found == ENCODED).all()


def test_it_is_given_the_whole_structure():
    def swap(features, rng):
        assert set(features) == {"a", "b"}
        return {"a": features["b"], "b": features["a"]}

    names = {"a": "x['a']", "b": "x['b']"}
    found = assembled(
        Assembler("dense", "float32", swap, inputs=names),
        {"a": ENCODED, "b": ENCODED + 1},
    )
    assert (found["a"] == ENCODED + 1).all() and (found["b"] == ENCODED).all()

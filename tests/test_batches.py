"""BatchReader: features, targets and weights stay together, whatever their kind."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import csr, dense
from hypothesis import given
from hypothesis import strategies as st

from sequence_loader.batches.reader import BatchReader
from sequence_loader.order.plan import PlannedBatch
from sequence_loader.rows.csr import CsrRows

ROWS, FEATURES = 23, 6
ENCODED = dense(ROWS, FEATURES)
LABELS = np.arange(ROWS) * 10


def read(reader, rows, weights=None):
    rows = np.array(rows, dtype=np.int64)
    weights = None if weights is None else np.array(weights, np.float32)
    return reader.read(PlannedBatch(0, 0, rows, weights, 0))


def array(block):
    if isinstance(block, CsrRows):
        return block.to_dense(np.zeros((block.num_rows, block.num_features)))
    return block


TARGETS = {
    "int64": LABELS,
    "int8": (LABELS % 100).astype("int8"),
    "bool": LABELS % 20 == 0,
    "float16": LABELS.astype("float16"),
    "big_endian": LABELS.astype(">i4"),
    "two_axes": np.stack([LABELS, LABELS + 1], 1),
    "fortran": np.asfortranarray(np.stack([LABELS, LABELS + 1], 1)),
    "three_axes": np.arange(ROWS * 6).reshape(ROWS, 2, 3),
    "backwards": LABELS[::-1].copy()[::-1],
    "list": LABELS.tolist(),
    "list_of_lists": [[v, v + 1] for v in LABELS.tolist()],
    "range": range(ROWS),
    "one_hot_csr": sp.csr_array(np.eye(ROWS)),
    "one_hot_coo": sp.coo_matrix(np.eye(ROWS)),
    "matrix": np.stack([LABELS, LABELS + 1], 1).view(np.matrix),
}


def as_array(target):
    return target.toarray() if sp.issparse(target) else np.asarray(target)


@pytest.mark.parametrize("kind", TARGETS)
def test_targets_of_every_kind(kind):
    target = TARGETS[kind]
    reader = BatchReader(csr(ROWS, FEATURES), target)
    rows = [5, 0, 22, 5]
    batch = read(reader, rows)
    expected = as_array(target)[rows]
    assert type(batch.targets) is np.ndarray
    assert batch.targets.dtype == expected.dtype.newbyteorder("=")
    assert batch.targets.dtype.isnative
    assert batch.targets.tolist() == expected.tolist()
    assert (array(batch.features) == ENCODED[rows]).all()
    batch.targets[...] = 0  # is nobody else's
    assert read(reader, rows).targets.tolist() == expected.tolist()


@pytest.mark.parametrize("kind", [sp.dok_array, sp.dok_matrix])
def test_a_dictionary_of_keys_is_a_matrix(kind):
    reader = BatchReader(kind(ENCODED), kind(ENCODED))
    assert (array(read(reader, [3, 1]).features) == ENCODED[[3, 1]]).all()
    assert (read(reader, [3, 1]).targets == ENCODED[[3, 1]]).all()


def test_a_frame_may_have_a_column_called_format():
    frame = pytest.importorskip("pandas").DataFrame({"format": LABELS, "b": 1})
    batch = read(BatchReader(frame, frame), [3])
    assert batch.features.tolist() == batch.targets.tolist() == [[30, 1]]


def test_pandas_targets_are_taken_by_position():
    pandas = pytest.importorskip("pandas")
    shuffled = np.random.default_rng(0).permutation(ROWS)
    for target in (
        pandas.Series(LABELS, index=shuffled),
        pandas.DataFrame({"a": LABELS}, index=shuffled)["a"],
    ):
        reader = BatchReader(ENCODED, target)
        assert read(reader, [3, 1]).targets.tolist() == [30, 10]
    frame = pandas.DataFrame({"a": LABELS, "b": LABELS + 1}, index=shuffled)
    assert read(BatchReader(ENCODED, frame), [3]).targets.tolist() == [[30, 31]]


@pytest.mark.parametrize("structure", [tuple, dict])
def test_targets_and_weights_in_a_structure(structure):
    if structure is tuple:
        targets, weights = (LABELS, LABELS + 1), (LABELS + 2.0, LABELS + 3.0)
    else:
        targets = {"p": LABELS, "q": LABELS + 1}
        weights = {"q": LABELS + 3.0, "p": LABELS + 2.0}
    batch = read(BatchReader(ENCODED, targets, weights), [4, 2], [1, 0])
    names = (0, 1) if structure is tuple else ("p", "q")
    assert type(batch.targets) is type(batch.weights) is structure
    assert batch.targets[names[0]].tolist() == [40, 20]
    assert batch.targets[names[1]].tolist() == [41, 21]
    assert batch.weights[names[0]].tolist() == [42, 0]
    assert batch.weights[names[1]].tolist() == [43, 0]


def test_features_in_a_structure():
    sources = {"wide": csr(ROWS, 6), "dense": dense(ROWS, 3), "line": np.arange(ROWS)}
    found = read(BatchReader(sources), [7, 0]).features
    assert list(found) == list(sources)
    assert isinstance(found["wide"], CsrRows)
    assert (array(found["wide"]) == dense(ROWS, 6)[[7, 0]]).all()
    assert (found["dense"] == dense(ROWS, 3)[[7, 0]]).all()
    assert found["line"].tolist() == [7, 0]
    for given_as in (tuple, list):
        values = [csr(ROWS, 6), dense(ROWS, 3)]
        found = read(BatchReader(given_as(values)), [7, 0]).features
        assert type(found) is tuple and len(found) == 2
        assert (found[1] == dense(ROWS, 3)[[7, 0]]).all()


@pytest.mark.parametrize("dtype", ["int64", "bool", "float32", "float64", ">f4"])
def test_weights_are_floating(dtype):
    weights = (np.arange(ROWS) % 2).astype(dtype)
    found = read(BatchReader(ENCODED, LABELS, weights), [1, 2, 3]).weights
    assert found.tolist() == [1, 0, 1]
    assert found.dtype == ("float64" if dtype == "float64" else "float32")


def test_padding_takes_the_weight_away():
    own = np.arange(1.0, ROWS + 1)
    assert read(BatchReader(ENCODED, LABELS), [3, 0], [1, 0]).weights.tolist() == [1, 0]
    found = read(BatchReader(ENCODED, LABELS, own), [3, 0], [1, 0]).weights
    assert found.tolist() == [4, 0]
    found = read(BatchReader(ENCODED, LABELS, own[:, None]), [3, 0], [1, 0]).weights
    assert found.tolist() == [[4], [0]]
    found = read(BatchReader(ENCODED, (LABELS, LABELS)), [3, 0], [1, 0]).weights
    assert [weights.tolist() for weights in found] == [[1, 0], [1, 0]]
    found[0][:] = 9  # each target has its own
    assert found[1].tolist() == [1, 0]
    assert read(BatchReader(ENCODED), [3, 0], [1, 0]).weights is None


class Store:
    """A row source with labels and weights of its own."""

    numeric, num_rows, y, sample_weight = True, ROWS, LABELS, np.arange(float(ROWS))

    def read(self, rows):
        return ENCODED[rows]


def test_a_store_brings_its_own_targets_and_weights():
    batch = read(BatchReader(Store()), [3])
    assert batch.targets.tolist() == [30] and batch.weights.tolist() == [3]
    batch = read(BatchReader(Store(), LABELS + 1, LABELS), [3])
    assert batch.targets.tolist() == [31] and batch.weights.tolist() == [30]


# Transforms


def seen(kind):
    """A transform that insists on being given a `kind`."""

    def transform(block):
        assert type(block) is kind, type(block)
        return block

    return transform


def test_a_transform_is_given_what_the_user_has():
    rows = [2, 0]
    cases = [
        (csr(ROWS, FEATURES), sp.csr_array),
        (sp.csr_matrix(ENCODED), sp.csr_matrix),
        (sp.coo_array(ENCODED), sp.csr_array),
        (sp.coo_matrix(ENCODED), sp.csr_matrix),
        (ENCODED, np.ndarray),
    ]
    for source, kind in cases:
        found = read(BatchReader(source, transform=seen(kind)), rows)
        assert (array(found.features) == ENCODED[rows]).all()


RESULTS = {
    "same": lambda block: block,
    "csr": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "coo": sp.coo_array,
    "csc": sp.csc_matrix,
    "bsr": sp.bsr_array,
    "lil": sp.lil_array,
    "fortran": np.asfortranarray,
    "view": lambda block: np.vstack([block, block])[: len(block)],
    "matrix": lambda block: block.view(np.matrix),
    "big_endian": lambda block: block.astype(">f8"),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_what_a_transform_returns(kind):
    reader = BatchReader(ENCODED, transform=RESULTS[kind])
    for rows in ([4, 1, 1], [0], list(range(ROWS))):
        block = read(reader, rows).features
        assert type(block) in (CsrRows, np.ndarray)
        assert (array(block) == ENCODED[rows]).all()


def test_a_transform_may_return_memory_of_its_own():
    """It is copied: what is served belongs to the user."""
    shared_array, shared_csr = np.ones((2, 3)), sp.csr_array(np.ones((2, 3)))
    for shared in (shared_array, shared_csr):
        def transform(block, shared=shared):
            return shared

        block = read(BatchReader(ENCODED, transform=transform), [0, 1]).features
        if isinstance(block, CsrRows):
            block.data[:], block.indices[:] = 7, 0
        else:
            block[:] = 7
    assert (shared_array == 1).all() and (shared_csr.toarray() == 1).all()


def test_a_transform_may_write_into_what_it_is_given():
    def spoil(block):
        result = block.copy()
        if sp.issparse(block):
            block.data[:] = 0
        else:
            block[:] = 0
        return result

    for source in (ENCODED.copy(), csr(ROWS, FEATURES)):
        reader = BatchReader(source, transform=spoil)
        for _ in range(2):
            assert (array(read(reader, [3, 1]).features) == ENCODED[[3, 1]]).all()


def test_unsorted_and_duplicate_results_are_made_canonical():
    def transform(block):
        return sp.csr_array(
            (np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2]), np.array([0, 3])),
            shape=(1, 3),
        )

    block = read(BatchReader(ENCODED, transform=transform), [0]).features
    assert block.indices.tolist() == [0, 2] and block.data.tolist() == [2, 5]


def test_transforms_in_a_structure_belong_to_inputs():
    source = {"a": ENCODED, "texts": [str(i) for i in range(ROWS)], "b": ENCODED}
    transform = {
        "b": lambda block: block * 2,
        "texts": lambda texts: np.array([[int(text)] for text in texts]),
        "a": None,
    }
    found = read(BatchReader(source, transform=transform), [5, 3]).features
    assert (found["a"] == ENCODED[[5, 3]]).all()
    assert (found["b"] == ENCODED[[5, 3]] * 2).all()
    assert found["texts"].tolist() == [[5], [3]]


@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=40), st.booleans())
def test_features_targets_and_weights_are_of_the_same_rows(rows, sparse):
    source = csr(ROWS, FEATURES) if sparse else ENCODED
    reader = BatchReader(source, LABELS, LABELS / 10, transform=lambda b: b * 3)
    for candidate in (reader, pickle.loads(pickle.dumps(BatchReader(source, LABELS)))):
        batch = read(candidate, rows)
        factor = 3 if candidate is reader else 1
        assert (array(batch.features) == ENCODED[rows] * factor).all()
        assert batch.targets.tolist() == LABELS[rows].tolist()


# scikit-learn, unchanged

TEXTS = [f"word{i % 5} word{i % 7} the end {i}" for i in range(40)]


def texts_match(reader, expected, dtype=float):
    for rows in ([0], [39, 1, 1], list(range(40))):
        assert np.allclose(array(read(reader, rows).features), expected[rows])


def test_vectorizers_on_texts():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    hashing = text.HashingVectorizer(n_features=64)
    counts = text.CountVectorizer().fit(TEXTS)
    tfidf = text.TfidfVectorizer(ngram_range=(1, 2)).fit(TEXTS)
    for transform in (hashing.transform, counts.transform, tfidf.transform):
        expected = transform(TEXTS).toarray()
        for source in (TEXTS, tuple(TEXTS) and list(TEXTS), np.array(TEXTS)):
            texts_match(BatchReader(source, transform=transform), expected)


def test_transformers_on_counts():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.decomposition import TruncatedSVD
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    counts = text.CountVectorizer().fit_transform(TEXTS)
    tfidf = text.TfidfTransformer().fit(counts)
    scaled = make_pipeline(text.TfidfTransformer(), MaxAbsScaler()).fit(counts)
    low = make_pipeline(text.TfidfTransformer(), TruncatedSVD(3, random_state=0))
    low.fit(counts)
    for fitted in (tfidf, scaled, low):
        expected = fitted.transform(counts)
        expected = expected.toarray() if sp.issparse(expected) else expected
        for source in (counts, sp.csr_array(counts), counts.tocsc()):
            texts_match(BatchReader(source, transform=fitted.transform), expected)


def test_a_whole_pipeline_on_texts():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.pipeline import make_pipeline

    pipe = make_pipeline(text.CountVectorizer(), text.TfidfTransformer()).fit(TEXTS)
    expected = pipe.transform(TEXTS).toarray()
    texts_match(BatchReader(TEXTS, transform=pipe.transform), expected)
    copy = pickle.loads(pickle.dumps(BatchReader(TEXTS, transform=pipe.transform)))
    texts_match(copy, expected)


class Doubled:
    """A source of one's own that does not say how many values rows hold."""

    num_rows, numeric = ROWS, True

    def read(self, rows):
        return BatchReader(csr(ROWS, FEATURES)).read_features(np.repeat(rows, 2))


@given(st.lists(st.integers(0, ROWS - 1), max_size=30))
def test_values_of_rows_are_counted_without_serving_them(chosen):
    rows = np.array(chosen, np.int64)
    twice = sp.csr_array(csr(ROWS, FEATURES))
    twice = sp.csr_array(
        (
            np.repeat(twice.data, 2),
            np.repeat(twice.indices, 2),
            twice.indptr * 2,
        ),
        shape=twice.shape,
    )
    inputs = {"csr": csr(ROWS, FEATURES), "twice": twice, "dense": ENCODED,
              "own": Doubled()}
    expected = int((ENCODED[rows] != 0).sum())
    found = BatchReader(inputs).count_values(rows)
    assert found == {
        "csr": expected, "twice": 2 * expected, "dense": 0, "own": 2 * expected,
    }
    assert not BatchReader(inputs).has_transform


def test_columns_are_counted_of_sparse_rows_that_are_served_as_they_are():
    inputs = {"a": csr(ROWS, 4), "b": csr(ROWS, 6), "c": csr(ROWS, 9), "d": ENCODED}
    transform = {**dict.fromkeys(inputs), "c": lambda block: block[:, :8]}
    assert BatchReader(inputs, transform=transform).num_columns == 6
    assert BatchReader(ENCODED, transform=sp.csr_array).num_columns == 0


def test_threads_are_of_use_for_files_and_for_code_of_the_users(tmp_path):
    np.save(tmp_path / "x.npy", ENCODED)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    sparse, same = csr(ROWS, FEATURES), lambda block: block
    for x, transform, slow, helps in (
        (sparse, None, False, False),
        (sparse, same, True, True),
        (ENCODED, None, False, False),
        (mapped, None, False, True),
        (Doubled(), None, True, True),
        ((sparse, ENCODED), None, False, False),
        ((sparse, Doubled()), None, True, True),
        ((sparse, ENCODED), (None, same), True, True),
    ):
        reader = BatchReader(x, transform=transform)
        assert (reader.may_be_slow, reader.threads_help) == (slow, helps)


# Lists, as Keras takes them


def test_lists_of_inputs_targets_and_weights():
    ids, hot = LABELS + 17_000_001, np.eye(ROWS)[:, :3]
    for x in ([csr(ROWS, FEATURES), ids], [ids, LABELS], [LABELS, ENCODED]):
        reader = BatchReader(x, [LABELS, hot], [LABELS / 2, LABELS / 4])
        batch = read(reader, [5, 2])
        for part, given_as in zip(batch, (x, [LABELS, hot], [LABELS / 2, LABELS / 4])):
            assert isinstance(part, tuple)
            for leaf, one in zip(part, given_as, strict=True):
                assert (array(leaf) == as_array(one)[[5, 2]]).all()
    alone = read(BatchReader(ENCODED, [LABELS], [LABELS]), [5, 2])
    assert alone.targets.tolist() == alone.weights.tolist() == [50, 20]


def test_a_list_of_rows_is_no_list_of_targets():
    for rows in ([np.array([v, -v]) for v in LABELS], [[v, -v] for v in LABELS]):
        found = read(BatchReader(ENCODED, rows), [3, 1]).targets
        assert found.tolist() == [[30, -30], [10, -10]]


def test_transforms_of_a_list_of_inputs():
    texts = np.array(list("abcdefghijklmnopqrstuvw"))

    def codes(block):
        return np.array([[ord(text)] for text in block])

    reader = BatchReader([ENCODED, texts], transform=[None, codes])
    features = read(reader, [2, 0]).features
    assert features[1].tolist() == [[ord("c")], [ord("a")]]
    tokens = [np.arange(n % 4) for n in range(ROWS)]
    reader = BatchReader(tokens, transform=lambda b: np.array([[len(t)] for t in b]))
    assert read(reader, [3, 6, 0]).features.tolist() == [[3], [2], [0]]


def test_weights_of_some_targets():
    for y, weights in (
        ((LABELS, LABELS), [None, LABELS / 2]),
        ({"a": LABELS, "b": LABELS}, {"a": None, "b": LABELS / 2}),
    ):
        found = read(BatchReader(ENCODED, y, weights), [5, 2]).weights
        one, other = found.values() if isinstance(found, dict) else found
        assert one.dtype == np.float32 and one.tolist() == [1, 1]
        assert other.tolist() == [25, 10]


# Rows without a number


@pytest.mark.parametrize("kind", ["array", "objects", "list", "Int64", "sparse", "NA"])
@pytest.mark.parametrize("argument", ["y", "sample_weight"])
def test_a_row_without_a_number_is_refused_when_it_is_read(kind, argument):
    pandas = pytest.importorskip("pandas")
    values = [float(v) for v in LABELS]
    values[7] = np.nan
    missing = [None if v != v else v for v in values]
    given_as = {
        "array": np.array(values),
        "objects": np.array(missing, object),
        "list": missing,
        "Int64": pandas.Series(values, dtype="Int64"),
        "sparse": sp.csr_array(np.array(values).reshape(-1, 1)),
        "NA": pandas.Series([pandas.NA if v != v else v for v in values], dtype=object),
    }[kind]
    others = {"y": LABELS} if argument == "sample_weight" else {}
    if argument == "sample_weight" and kind == "sparse":
        given_as = np.array(values)
    reader = BatchReader(ENCODED, **{argument: given_as, **others})
    found = read(reader, [5, 8])
    served = found.targets if argument == "y" else found.weights
    assert served.ravel().tolist() == [50, 80]  # the others are served, with rows=
    with pytest.raises(ValueError) as caught:
        read(reader, [5, 7, 8])
    known = f"~np.isnan(np.asarray({argument}, float))"
    if kind == "NA":
        known = f"~pd.isna({argument})"
    if kind == "sparse" and argument == "y":
        known = "~np.isnan(y.toarray())"
    assert str(caught.value) == (
        f"`{argument}` must have a number for each row, or the loss is NaN; row 7 has "
        f"none. Leave those rows out, with rows=np.flatnonzero({known})."
    )
    names = {"np": np, "pd": pandas, argument: given_as}
    expected = [row for row in range(len(LABELS)) if row != 7]
    assert np.flatnonzero(eval(known, names)).tolist() == expected


def test_a_loss_may_mask_some_numbers_of_a_row():
    y = np.stack([LABELS, LABELS / 2], 1)
    y[7, 1] = np.nan
    reader = BatchReader(ENCODED, {"a": y})
    read(reader, [5])
    with pytest.warns(UserWarning) as caught:
        for _ in range(3):
            found = read(reader, [5, 7]).targets["a"]
    assert np.array_equal(found, y[[5, 7]], equal_nan=True)
    assert [str(each.message) for each in caught] == [
        "`y['a']` holds NaN, in row 7, column 1, say: the loss is NaN, unless it is "
        "one that masks those."
    ]

"""NgramVectorizer beside scikit-learn: columns, order, names, values, ties."""

from __future__ import annotations

import re
import unicodedata
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2, f_classif

from sequence_loader import NgramVectorizer
from sequence_loader.text import (
    ngram_scores,
    ngrams,
    vectorizer_inputs,
    vectorizer_ranges,
    words,
)
from sequence_loader.text.words import WordRule

SCORES = {"f_classif": f_classif, "chi2": chi2}
ODD = "aB_9 \n\t\0\x1c\u0301\u0345\u03a3\u03c3İßﬁ\u2460\u200d\U0001d400"
NO_STOP = np.zeros(0, np.uint64)
FEW = [*"ab", "cc", "dd", "ee", "cc dd", "Éé", "x1"]
"""Words of which small corpora make columns with equal scores."""

texts_of_few = st.lists(
    st.lists(st.sampled_from(FEW), max_size=9).map(" ".join), min_size=2, max_size=14
)
any_text = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(ODD),
        st.characters(categories=["Mn", "Mc", "Nd", "No", "Lo", "Cs", "Pc"]),
    ),
    max_size=30,
)


def by_sklearn(texts, y, max_features, select, options):
    """(vectorizer, selector, matrix, names) of scikit-learn, fitted in memory."""
    limit = {} if select else {"max_features": max_features}
    vectorizer = TfidfVectorizer(**options, **limit)
    matrix = vectorizer.fit_transform(texts)
    names = vectorizer.get_feature_names_out()
    if select is None:
        return vectorizer, None, matrix, list(names)
    k = min(max_features or len(names), len(names))
    selector = SelectKBest(SCORES[select], k=k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant features, division by zero
        matrix = selector.fit_transform(matrix, y)
    return vectorizer, selector, matrix, list(names[selector.get_support()])


def assert_same(found, expected):
    """The same float32 matrix, to rounding."""
    expected = expected.tocsr().astype(np.float32)
    expected.sort_indices()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, rtol=3e-7)


@st.composite
def cases(draw):
    texts = draw(texts_of_few)
    if draw(st.booleans()):
        texts += draw(st.lists(any_text, max_size=4))
    least = draw(st.integers(1, 2))
    options = {
        "ngram_range": (least, least + draw(st.integers(0, 2))),
        "min_df": draw(st.sampled_from([1, 2, 0.2])),
        "max_df": draw(st.sampled_from([1.0, 0.7, 5])),
        "strip_accents": draw(st.sampled_from(["unicode", "ascii", None])),
        "lowercase": draw(st.booleans()),
        "stop_words": draw(st.sampled_from([None, ["cc", "zz"]])),
        "sublinear_tf": draw(st.booleans()),
        "norm": draw(st.sampled_from(["l2", "l1", None])),
    }
    if draw(st.integers(0, 4)) == 0:
        options["analyzer"] = draw(st.sampled_from(["char", "char_wb"]))
        options["stop_words"] = None
    elif draw(st.integers(0, 4)) == 0:
        options["token_pattern"] = r"(?u)\b\w+\b"
    y = draw(st.lists(st.integers(0, 2), min_size=len(texts), max_size=len(texts)))
    return texts, np.array(y), options


@settings(max_examples=150)
@given(
    case=cases(),
    select=st.sampled_from(["f_classif", "chi2", None]),
    max_features=st.integers(1, 12) | st.none(),
    sums=st.sampled_from([1 << 27, 200]),
    rows=st.sampled_from([1, 3, 1 << 14]),
)
def test_it_equals_scikit_learn(
    tmp_path_factory, case, select, max_features, sums, rows
):
    texts, y, options = case
    if len(set(y)) < 2:
        y = np.arange(len(texts)) % 2
    made = NgramVectorizer(select=select, max_features=max_features, **options)
    try:
        vectorizer, selector, matrix, names = by_sklearn(
            texts, y, max_features, select, options
        )
    except ValueError:  # no terms, or max_df below min_df
        with pytest.raises(ValueError, match="min_df"):
            made.fit(texts, y)
        return
    path = tmp_path_factory.mktemp("ngrams") / "a.store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram_scores, "SUMS_BYTES", sums)
        patch.setattr(vectorizer_inputs, "BLOCK_ROWS", rows)
        store = made.fit_write(iter(texts), path, y)
    assert list(made.feature_names) == names == list(store.feature_names)
    np.testing.assert_array_equal(store.y, y)
    assert_same(store[:], matrix)
    others = [text + " dd ee" for text in texts[::2]]
    expected = vectorizer.transform(others)
    if selector is not None:
        expected = selector.transform(expected)
    assert_same(made.transform(others), expected)
    assert_same(NgramVectorizer.load(path).transform(others), expected)


@given(
    st.lists(any_text, min_size=1, max_size=6),
    st.sampled_from(["unicode", "ascii", None]),
)
def test_both_roads_give_what_scikit_learns_analyzer_gives(texts, strip_accents):
    sizes = (1, 3)
    rule = WordRule(strip_accents=strip_accents)
    analyze = CountVectorizer(
        ngram_range=sizes, strip_accents=strip_accents
    ).build_analyzer()
    fast = ngrams.count_ngrams(texts, rule, sizes, NO_STOP)
    slow = ngrams.count_analyzed(texts, analyze)
    expected = [analyze(text) for text in texts]
    first: dict[str, int] = {}
    for listed in expected:
        for term in listed:
            first.setdefault(term, len(first))
    for counts, made_by in ((fast, rule), (slow, None)):
        names = ngrams.named(
            counts.order.astype(np.int64),
            counts.names,
            counts.lengths,
            made_by,
            sizes,
            NO_STOP,
        )
        assert [names[i] for i in np.argsort(counts.order)] == list(first)
        assert (counts.hashes[1:] > counts.hashes[:-1]).all()
        terms = np.repeat(np.arange(len(names)), counts.df)
        found = [[] for _ in texts]
        for doc, term, count in zip(counts.docs, terms, counts.counts):
            found[doc] += [names[term]] * int(count)
        assert list(map(sorted, found)) == list(map(sorted, expected))


def test_word_characters_are_those_of_the_regular_expression():
    """All of Unicode; and what `strip_accents` drops."""
    every = "".join(map(chr, range(0x110000)))
    expected = np.zeros(0x110000, bool)
    for match in re.finditer(r"\w", every):
        expected[match.start()] = True
    np.testing.assert_array_equal(words._letters(None, 0x110000), expected)
    expected[:] = [bool(unicodedata.combining(c)) for c in every]
    np.testing.assert_array_equal(words._combining(0x110000), expected)


def test_each_character_alone_is_counted_as_by_scikit_learn():
    """All of Unicode, each character between letters: lower, NFKD, combining."""
    texts = [
        "".join(f" a{chr(c)}b Z{chr(c)} " for c in range(start, start + 512))
        for start in range(0, 0x110000, 512)
    ]
    for strip_accents in ("unicode", None):
        analyze = CountVectorizer(strip_accents=strip_accents).build_analyzer()
        rule = WordRule(strip_accents=strip_accents)
        for first in range(0, len(texts), 64):
            part = texts[first : first + 64]
            found = words.split(part, rule)
            expected = [analyze(text) for text in part]
            assert found.counts.tolist() == list(map(len, expected))
            flat = [term for listed in expected for term in listed]
            np.testing.assert_array_equal(found.hashes, words.hashes_of(flat))


def test_hashes_do_not_depend_on_place_width_or_window():
    long = "q" * (3 * words.WINDOW)
    listed = ["ab", "ba", "a" * 7, long, "é" * 5, "\U0001d400x", "ab\0", "\0ab", "a"]
    alone = [int(words.hashes_of([word])[0]) for word in listed]
    assert len(set(alone)) == len(alone)
    np.testing.assert_array_equal(words.hashes_of(listed), np.array(alone, np.uint64))
    many = [f"w{i}" for i in range(200_000)]
    found = words.split([" ".join(many)], WordRule()).hashes
    np.testing.assert_array_equal(found, words.hashes_of(many))
    assert len(np.unique(found)) == len(many)
    # Files hold them: another value is another HASH_VERSION.
    assert words.HASH_VERSION == 1
    assert [hex(h) for h in alone[:2]] == ["0x2f1be183dae78da1", "0x3080564ae88b168c"]


def test_places_are_sorted_whatever_the_low_bits_are():
    rng = np.random.default_rng(0)
    for bits in (64, 8, 3, 1):
        hashes = rng.integers(0, 2**63, 3000, np.uint64) >> np.uint64(64 - bits)
        expected = np.argsort(hashes, kind="stable")
        np.testing.assert_array_equal(ngrams.sorted_places(hashes), expected)
    torn = np.array([5 << 40 | 1, 5 << 40, 5 << 40 | 1, 5 << 40], np.uint64)
    assert ngrams.sorted_places(torn).tolist() == [1, 3, 0, 2]


def test_terms_are_merged_by_range_as_in_one(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    texts = [" ".join(f"w{i}" for i in rng.zipf(1.3, 40) % 900) for _ in range(300)]
    y = rng.integers(0, 3, len(texts))
    plain = NgramVectorizer(max_features=400).fit(texts, y)
    monkeypatch.setattr(vectorizer_ranges, "RANGE_TERMS", 500)
    monkeypatch.setattr(vectorizer_inputs, "BLOCK_ROWS", 37)
    cut = NgramVectorizer(max_features=400).fit(texts, y, workers=1)
    assert cut.feature_names == plain.feature_names
    np.testing.assert_array_equal(cut._arrays["hashes"], plain._arrays["hashes"])
    np.testing.assert_array_equal(cut._arrays["df"], plain._arrays["df"])
    assert (cut.transform(texts) != plain.transform(texts)).nnz == 0


@pytest.mark.parametrize("select", ["f_classif", "chi2"])
def test_rare_terms_are_passed_over_only_if_they_cannot_reach_the_best(select):
    """A bound that is too low would lose columns; one pass over all is the truth."""
    rng = np.random.default_rng(1)
    texts, y = [], []
    for row in range(400):
        label = int(rng.integers(0, 9))
        drawn = [f"w{i}" for i in rng.zipf(1.5, 12) % 300]
        texts.append(" ".join([*drawn, f"c{label}{rng.integers(0, 2)}"]))
        y.append(label)
    expected = by_sklearn(texts, y, 15, select, {"ngram_range": (1, 2)})[3]
    passes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram_scores, "SUMS_BYTES", 8 * 20 * 150)
        add = ngram_scores.ClassScores.add

        def noted(self, sums, *rest):
            passes.append(len(sums))
            add(self, sums, *rest)

        patch.setattr(ngram_scores.ClassScores, "add", noted)
        made = NgramVectorizer(select=select, max_features=15, min_df=1)
        made.fit(texts, y)
    assert list(made.feature_names) == expected
    scored = sum(passes) // (18 if select == "f_classif" else 10)
    assert scored < made.num_terms  # and it did pass over some


@given(st.integers(2, 12), st.integers(3, 60), st.integers(0, 2**32 - 1))
def test_scores_are_those_of_scikit_learn_bit_for_bit(classes, columns, seed):
    rng = np.random.default_rng(seed)
    y = np.append(np.arange(classes), rng.integers(0, classes, 40))
    shape = len(y), columns
    x = sp.csr_array(np.where(rng.random(shape) < 0.3, rng.random(shape), 0.0))
    rows = np.bincount(y)
    for select, score in SCORES.items():
        scores = ngram_scores.ClassScores(select, rows, bounded=True)
        sums = np.zeros(columns * scores.sums_per_column)
        coo = x.tocoo()
        scores.add(sums, coo.col.astype(np.int64), y[coo.row], coo.data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = score(x, y)[0]
        found = scores.scores(sums)
        expected[np.isnan(expected)] = np.finfo(np.float64).min
        np.testing.assert_array_equal(found, expected)
        most = [scores.most(int(df)) for df in np.diff(x.tocsc().indptr)]
        assert (found <= np.array(most) * (1 + 1e-6) + 1e-9).all()

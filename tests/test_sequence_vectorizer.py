"""SequenceVectorizer beside Keras 2's Tokenizer and pad_sequences."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequence_loader import SequenceVectorizer, SparseBatchSequence
from sequence_loader.text import vectorizer_inputs, vectorizer_ranges

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tf_keras.preprocessing.sequence import pad_sequences
    from tf_keras.preprocessing.text import Tokenizer

few = st.lists(st.sampled_from([*"abcdE", "ff-f", "g'g", "É", "h\0", ""])).map(" ".join)
any_text = st.text(
    st.one_of(st.characters(), st.sampled_from("aB \n\t\0.,'\u00a0İΣ_-")), max_size=30
)


def by_keras(texts, others, num_words, max_length):
    """(padded texts, padded others, words) as in the guide."""
    tokenizer = Tokenizer(num_words=num_words)
    tokenizer.fit_on_texts(texts)
    made = tokenizer.texts_to_sequences(texts)
    length = min(max_length, max(map(len, made)))
    pad = {"maxlen": length, "dtype": "int32"}
    kept = list(tokenizer.word_index)[: num_words - 1]
    return (
        pad_sequences(made, **pad),
        pad_sequences(tokenizer.texts_to_sequences(others), **pad),
        kept,
    )


@settings(max_examples=120)
@given(
    texts=st.lists(few | any_text, min_size=1, max_size=12),
    num_words=st.integers(2, 9) | st.just(70_000),
    max_length=st.integers(1, 12),
    rows=st.sampled_from([1, 3, 1 << 14]),
    terms=st.sampled_from([2, 1 << 20]),
)
def test_it_equals_keras(tmp_path_factory, texts, num_words, max_length, rows, terms):
    made = SequenceVectorizer(num_words=num_words, max_length=max_length)
    others = [text + " a b zz" for text in texts[::2]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectorizer_inputs, "BLOCK_ROWS", rows)
        patch.setattr(vectorizer_ranges, "RANGE_TERMS", terms)
        try:
            expected, of_others, kept = by_keras(texts, others, num_words, max_length)
            assert kept
        except (ValueError, AssertionError):
            with pytest.raises(ValueError, match="words"):
                made.fit(texts)
            return
        path = tmp_path_factory.mktemp("sequences") / "a.store"
        store = made.fit_write(iter(texts), path, np.arange(len(texts)))
    assert list(made.words) == kept
    assert store.shape == expected.shape
    assert store.dtype == ("uint16" if num_words < 2**16 else "int32")
    np.testing.assert_array_equal(store[:].toarray(), expected)
    found = made.transform(others)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found.toarray(), of_others)
    again = SequenceVectorizer.load(path)
    assert again.words == made.words
    np.testing.assert_array_equal(again.transform(others).toarray(), of_others)


def test_an_embedding_is_served_what_it_takes(tmp_path):
    texts = ["one two three", "two", "three three"]
    path = tmp_path / "a.store"
    made = SequenceVectorizer()
    store = made.fit_write(texts, path, ["x", "y", "x"])
    assert store.class_names == ("x", "y")
    with SparseBatchSequence(store, batch_size=3, dtype="int32") as train:
        x, y = train[0]
    assert x.dtype == np.int32
    assert x.tolist() == [[3, 2, 1], [0, 0, 2], [0, 1, 1]]
    assert y.tolist() == [0, 1, 0]
    with SparseBatchSequence(
        texts, batch_size=3, dtype="int32", transform=made.transform
    ) as raw:
        np.testing.assert_array_equal(raw[0][0], x)


def test_parts_and_pickles_give_the_same(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.zipf(1.4, 9)) for _ in range(60)]
    whole = SequenceVectorizer(num_words=12, max_length=7).fit(texts)
    made = SequenceVectorizer(num_words=12, max_length=7)
    parts = [
        made.fit_part(texts[:25], tmp_path / "a.part"),
        made.fit_part(texts[25:], tmp_path / "b.part"),
    ]
    made.merge(parts)
    assert made.words == whole.words
    expected = whole.transform(texts).toarray()
    np.testing.assert_array_equal(made.transform(texts).toarray(), expected)
    store = made.write(parts[1], tmp_path / "b.store")
    np.testing.assert_array_equal(store[:].toarray(), expected[25:])
    for each in (made, SequenceVectorizer.load(made.save(tmp_path / "saved"))):
        again = pickle.loads(pickle.dumps(each))
        np.testing.assert_array_equal(again.transform(texts).toarray(), expected)

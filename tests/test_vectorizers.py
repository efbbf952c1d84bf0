"""Both vectorizers as tasks of a job: files, parts, workers, endings."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys

import dask
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from sequence_loader import (
    NgramVectorizer,
    SequenceVectorizer,
    SparseBatchSequence,
    WorkerError,
    open_store,
    open_texts,
)
from sequence_loader.text import vectorizer_inputs
from sequence_loader.text.vectorizer_files import VectorizerError, kind_in


def corpus(rows, seed=0):
    """(texts, labels), some words of which tell the label."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, rows)
    return [
        " ".join([f"w{i}" for i in rng.zipf(1.4, 20) % 500] + [f"class{k}"])
        for k in y.tolist()
    ], y


class Lines:
    """Texts in a file, one a line: a source that pickles by path."""

    class_names = ("a", "b", "c", "d")

    def __init__(self, path, y=None):
        self.path, self.y = path, y
        with open(path, encoding="utf-8") as file:
            self.num_rows = sum(1 for _ in file)

    def read(self, rows):
        with open(self.path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        return [lines[i] for i in rows]


class Deadly(Lines):
    """Ends its process instead."""

    def read(self, rows):
        if 300 in rows and os.path.exists(self.path + ".armed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(rows)


@pytest.fixture
def lines(tmp_path):
    texts, y = corpus(600)
    (tmp_path / "lines").write_text("\n".join(texts), encoding="utf-8")
    return Lines(str(tmp_path / "lines"), y)


def files(path):
    """The bytes of each file of a store."""
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.mark.parametrize("kind", [NgramVectorizer, SequenceVectorizer])
def test_tasks_of_dask_fit_and_write_what_one_process_does(tmp_path, lines, kind):
    """A task counts each file, one merges, a task writes each part store."""
    texts, y = lines.read(range(600)), lines.y
    made = kind(**({"max_features": 150} if kind is NgramVectorizer else {}))
    whole = made.fit_write(Lines(lines.path, y), tmp_path / "whole.store")
    names = [tmp_path / f"{i}" for i in range(3)]
    for i, name in enumerate(names):
        name.write_text("\n".join(texts[200 * i : 200 * i + 200]), encoding="utf-8")
    vectorizer = type(made)(
        **({"max_features": 150} if kind is NgramVectorizer else {})
    )
    count = dask.delayed(vectorizer.fit_part)
    parts = [
        count(Lines(str(name), y[200 * i : 200 * i + 200]), f"{name}.part")
        for i, name in enumerate(names)
    ]
    fitted = dask.delayed(vectorizer.merge)(parts)
    paths = [f"{name}.store" for name in names]
    stores = [fitted.write(part, path) for part, path in zip(parts, paths)]
    with dask.config.set(scheduler="threads", num_workers=2):
        dask.compute(*stores)
    together = open_store(paths)
    assert together.feature_names == whole.feature_names
    assert together.class_names == whole.class_names == Lines.class_names
    np.testing.assert_array_equal(together.y, whole.y)
    found, expected = together[:], whole[:]
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, rtol=3e-7)
    other = kind.load(paths[2])
    assert (other.transform(texts) != made.transform(texts)).nnz == 0


def test_two_worker_processes_write_the_same_bytes(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(vectorizer_inputs, "BLOCK_ROWS", 90)
    stores = [
        NgramVectorizer(max_features=99).fit_write(
            source, tmp_path / f"{i}.store", y, workers=workers
        )
        for i, (source, y, workers) in enumerate(
            [(lines, None, 1), (lines, None, 2), (lines.read(range(600)), lines.y, 2)]
        )
    ]
    first = files(tmp_path / "0.store")
    assert files(tmp_path / "1.store") == first
    third = files(tmp_path / "2.store")
    for name in ("indptr.npy", "indices.npy", "data.npy", "y.npy"):
        assert third[name] == first[name]
    vectorizer = NgramVectorizer.load(tmp_path / "1.store")
    again = vectorizer.write(lines, tmp_path / "again.store", workers=2)
    np.testing.assert_array_equal(again[:].indices, stores[0][:].indices)
    np.testing.assert_allclose(again[:].data, stores[0][:].data, rtol=3e-7)


def test_what_counts_in_a_worker_brings_no_scipy():
    code = (
        "import sys, sequence_loader.workers.child\n"
        "import sequence_loader.text.ngram_options\n"
        "import sequence_loader.text.sequence_words, sequence_loader.text.texts\n"
        "assert not {'scipy', 'sklearn', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_worker_that_dies_is_told_and_leaves_nothing(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(vectorizer_inputs, "BLOCK_ROWS", 100)
    (tmp_path / "lines.armed").touch()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(WorkerError, match="SIGKILL.* texts 300 to 399. Nothing was"):
        NgramVectorizer().fit_write(
            Deadly(lines.path, lines.y), tmp_path / "a.store", workers=2
        )
    assert sorted(os.listdir(tmp_path)) == before


def test_an_error_in_any_pass_leaves_nothing(tmp_path):
    texts, y = corpus(50)

    def failing(rows):
        yield from texts[:rows]
        raise OSError("the texts end here")

    with pytest.raises(OSError, match="end here"):
        NgramVectorizer().fit_write(failing(30), tmp_path / "a.store", y)
    with pytest.raises(OSError, match="end here"):
        NgramVectorizer().fit_part(failing(30), tmp_path / "a.part", y)
    with pytest.raises(ValueError, match="one label for each of the 50 texts"):
        NgramVectorizer().fit_write(iter(texts), tmp_path / "a.store", y[:-1])
    with pytest.raises(ValueError, match="needs the class of each text"):
        NgramVectorizer().fit_write(failing(0), tmp_path / "a.store")  # before it reads
    made = NgramVectorizer().fit(texts, y)
    with pytest.raises(OSError, match="end here"):
        made.write(failing(30), tmp_path / "a.store")
    with pytest.raises(ValueError, match="one label for each text; received 49"):
        made.write(iter(texts), tmp_path / "a.store", y[:-1])
    assert os.listdir(tmp_path) == []


PASSES = {
    "count": "passes.TextSource.read",
    "merge": "ngram_fit.merge",
    "scores": "ngram_fit.best",
    "names": "ngram_fit.names_at",
    "rows": "ngram_fit.rows_of",
    "write": "passes.StoreWriter.append",
    "publish": "passes.PendingDirectory.publish",
}
"""What each pass of a fit calls."""

KILLED = """
import functools, operator, os, signal, sys
from sequence_loader import NgramVectorizer
from sequence_loader.store import publishing
from sequence_loader.text import ngram_fit, vectorizer_inputs
from sequence_loader.text import vectorizer_passes as passes

vectorizer_inputs.BLOCK_ROWS = 10
names = {"ngram_fit": ngram_fit, "passes": passes}

class Texts(list):
    num_rows = 80
    def read(self, rows):
        return [self[i] for i in rows]

texts = Texts(["one two", "two three", "three one", "one two three"] * 20)
folder, *places = sys.argv[1:]
for place in places:
    if os.fork():
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        continue
    *owner, name = place.split(".")
    owner = functools.reduce(getattr, owner[1:], names[owner[0]])
    real = getattr(owner, name)
    def deadly(*args, **options):
        real(*args, **options) if "publish" not in place else None
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, deadly)
    path = os.path.join(folder, place, "a.store")
    NgramVectorizer(max_features=2).fit_write(texts, path, [0, 1, 2, 0] * 20)
    os._exit(0)
"""


def test_killed_in_any_pass_it_leaves_nothing_that_a_rerun_does_not_clean(tmp_path):
    for place in PASSES.values():
        (tmp_path / place).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *PASSES.values()],
        capture_output=True,
        text=True,
    )
    killed = str(-signal.SIGKILL)
    assert done.stdout.split() == [killed] * len(PASSES), done.stderr
    texts = ["one two", "two three", "three one", "one two three"] * 20
    expected = None
    for name, place in PASSES.items():
        # Before rows are written, what it has on disk has no name.
        left = os.listdir(tmp_path / place)
        assert len(left) == (name in ("rows", "write", "publish")), name
        store = NgramVectorizer(max_features=2).fit_write(
            texts, tmp_path / place / "a.store", [0, 1, 2, 0] * 20
        )
        store.verify(progress=False)
        assert os.listdir(tmp_path / place) == ["a.store"]
        expected = store[:] if expected is None else expected
        assert (store[:] != expected).nnz == 0


def test_what_others_put_beside_a_store_is_not_removed(tmp_path):
    """Nor what an interrupted replacement has moved aside."""
    texts, y = corpus(30)
    for name in (".a.store.writing-1", ".a.store.old-2", ".b.store.writing-3"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".a.store.writing-1" / "thesis.tex").touch()
    before = sorted(os.listdir(tmp_path))
    with pytest.warns(UserWarning, match="nothing refers to it"):
        NgramVectorizer().fit_write(texts, tmp_path / "a.store", y)
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "a.store"])
    for name in (".p.writing-4", ".v.writing-5"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    NgramVectorizer().fit_part(texts, tmp_path / "p", y)
    NgramVectorizer().fit(texts, y).save(tmp_path / "v")
    assert not (tmp_path / ".p.writing-4").exists()
    assert not (tmp_path / ".v.writing-5").exists()


def test_what_is_saved_holds_no_code_and_is_checked(tmp_path):
    texts, y = corpus(80)
    made = NgramVectorizer(max_features=40).fit(texts, y)
    path = made.save(tmp_path / "saved")
    expected = made.transform(texts)
    for each in (NgramVectorizer.load(path), pickle.loads(pickle.dumps(made))):
        assert (each.transform(texts) != expected).nnz == 0
        assert each.feature_names == made.feature_names
        np.testing.assert_array_equal(each.idf, made.idf)
    assert kind_in(path) == "ngrams" and kind_in(tmp_path) is None
    with pytest.raises(FileExistsError, match="overwrite=True"):
        made.save(path)
    made.save(path, overwrite=True)
    with pytest.raises(VectorizerError, match="of kind 'ngrams'"):
        SequenceVectorizer.load(path)
    with pytest.raises(FileNotFoundError, match="save"):
        NgramVectorizer.load(tmp_path)
    loaded = NgramVectorizer.load(path)
    sent = pickle.dumps(loaded)
    assert len(sent) < 2000  # by path
    for name in ("vectorizer_df.npy", "vectorizer.json"):
        content = bytearray((path / name).read_bytes())
        kept = bytes(content)
        content[-5] ^= 1
        (path / name).write_bytes(content)
        with pytest.raises(VectorizerError, match="is not what was written"):
            NgramVectorizer.load(path)
        (path / name).write_bytes(kept)
    NgramVectorizer(max_features=30).fit(texts, y).save(path, overwrite=True)
    with pytest.raises(VectorizerError, match="another vectorizer"):
        pickle.loads(sent)


def test_functions_are_given_again_when_it_is_loaded(tmp_path):
    texts, y = corpus(60)
    options = {"tokenizer": str.split, "token_pattern": None, "strip_accents": None}
    made = NgramVectorizer(max_features=50, **options)
    made.fit_write(texts, tmp_path / "a.store", y)
    with pytest.raises(TypeError, match="tokenizer=str.split"):
        NgramVectorizer.load(tmp_path / "a.store")
    loaded = NgramVectorizer.load(tmp_path / "a.store", tokenizer=str.split)
    assert (loaded.transform(texts) != made.transform(texts)).nnz == 0
    with pytest.raises(TypeError, match="no functions"):
        path = NgramVectorizer().fit(texts, y).save(tmp_path / "plain")
        NgramVectorizer.load(path, tokenizer=str.split)


def test_a_store_with_a_vectorizer_is_a_store(tmp_path):
    texts, y = corpus(80)
    path = tmp_path / "a.store"
    store = NgramVectorizer(max_features=40).fit_write(texts, path, y)
    store.verify(progress=False)
    manifest = json.loads((path / "manifest.json").read_bytes())
    assert manifest["version"] == 1
    assert set(manifest["arrays"]) == {"indptr", "indices", "data", "y"}
    assert manifest["arrays"]["indices"]["dtype"] == "uint16"
    with pytest.raises(FileExistsError, match="overwrite=True"):
        NgramVectorizer().fit_write(texts, path, y)
    again = NgramVectorizer(max_features=30).fit_write(texts, path, y, overwrite=True)
    assert again.shape == (80, 30)


def test_raw_texts_train_through_its_transform(tmp_path):
    texts, y = corpus(64)
    made = NgramVectorizer(max_features=40)
    store = made.fit_write(texts, tmp_path / "a.store", y)
    with SparseBatchSequence(
        texts, y, batch_size=16, transform=made.transform, output="csr",
        workers=2, use_multiprocessing=True,
    ) as raw:  # fmt: skip
        for i in range(4):
            rows = store[16 * i : 16 * i + 16]
            found = raw[i][0]
            np.testing.assert_array_equal(found.indices, rows.indices)
            np.testing.assert_allclose(found.data, rows.data, rtol=3e-7)


def test_memory_raises_min_df_and_says_so():
    texts, y = corpus(200)
    everything = TfidfVectorizer(ngram_range=(1, 2), min_df=2).fit(texts)
    made = NgramVectorizer(select=None, max_features=None, memory=12 * 100)
    with pytest.warns(UserWarning, match="`min_df` is [0-9]+ instead of") as told:
        made.fit(texts)
    assert told[0].filename == __file__
    least = int(made.min_df_used)
    expected = TfidfVectorizer(ngram_range=(1, 2), min_df=least).fit(texts)
    assert made.feature_names == tuple(expected.get_feature_names_out())
    assert 50 < made.num_terms <= 100
    assert made.dropped_terms + made.num_terms == len(everything.vocabulary_)
    fewer = TfidfVectorizer(ngram_range=(1, 2), min_df=least - 1).fit(texts)
    assert len(fewer.vocabulary_) > 100
    NgramVectorizer(select=None, memory=12 * 100_000).fit(texts)  # has room: no warning


@pytest.mark.parametrize("kind", [NgramVectorizer, SequenceVectorizer])
def test_a_part_may_end_without_a_word(tmp_path, kind):
    texts, names = ["red one", "red two", "", "...", "blue one", ""], list("aabbbb")
    made = kind(**{"min_df": 1} if kind is NgramVectorizer else {})
    parts = [
        made.fit_part([text], tmp_path / f"{row}.part", [name])
        for row, (text, name) in enumerate(zip(texts, names))
    ]
    made.merge(parts)
    expected = kind(**made._made_with()).fit(texts, names)
    assert made._learned == expected._learned
    store = made.write(parts[2], tmp_path / "2.store")
    assert store.nnz == 0 and store.y.tolist() == [1]


def test_stop_words_of_a_set_are_in_one_order():
    orders = [["b", "a", "c"], {"c", "a", "b"}, ("a", "b", "c", "a")]
    found = [NgramVectorizer(stop_words=each).options for each in orders]
    assert found == found[:1] * 3 and found[0].stop_words == ("a", "b", "c")


def test_classes_keep_their_numbers_by_name(tmp_path):
    texts = ["red one", "red two", "blue one", "blue two", "green one", "green two"]
    names = ["red", "red", "blue", "blue", "green", "green"]
    made = NgramVectorizer(min_df=1).fit(texts, names)
    assert made.class_names == ("blue", "green", "red")
    store = made.write(texts[:4], tmp_path / "a.store", names[:4])
    assert store.y.tolist() == [2, 2, 0, 0] and store.class_names == made.class_names
    with pytest.raises(ValueError, match="'yellow' of text 1"):
        made.write(texts[:2], tmp_path / "b.store", ["red", "yellow"])
    for y, said in (([0, 3], "received 3 for text 1"), ([-1, 0], "-1 for text 0")):
        with pytest.raises(ValueError, match=rf"\[0, 3\).*'blue'.*{said}"):
            made.write(texts[:2], tmp_path / "b.store", y)
    assert made.write(texts[:2], tmp_path / "c.store", [0, 2]).y.tolist() == [0, 2]
    parts = [
        made.fit_part(texts[:3], tmp_path / "1.part", names[:3]),
        made.fit_part(texts[3:], tmp_path / "2.part", names[3:]),
    ]
    assert NgramVectorizer(min_df=1).merge(parts).class_names == made.class_names


def test_class_numbers_of_parts_are_in_order(tmp_path):
    for name, numbers in (("a", range(8, 11)), ("b", range(4))):
        lines = [f"{number},red one\n" for number in numbers for _ in range(3)]
        (tmp_path / f"{name}.csv").write_text("".join(lines))
    made = NgramVectorizer(min_df=1)
    parts = [
        made.fit_part(open_texts(tmp_path / f"{name}.csv"), tmp_path / f"{name}.part")
        for name in "ab"
    ]
    whole = open_texts([tmp_path / "a.csv", tmp_path / "b.csv"])
    merged = made.merge(parts).class_names
    assert merged == tuple(map(str, range(11))) == whole.class_names
    assert set(made.write(parts[0], tmp_path / "a.store").y) == {8, 9, 10}


@pytest.mark.parametrize(
    "source, y, error",
    [
        ("a text", None, "received 'a text' of type str. Pass \\[text\\]"),
        (7, None, "open_texts"),
        ([b"bytes"], [0], "received b'bytes' of type bytes in row 0"),
        (["a", None], [0, 1], "received None of type NoneType in row 1"),
        ([], [], "at least one text"),
        (["aa", "bb"], [0.5, 1], "integers or text"),
        (["aa", "bb"], [0, 1, 2], "one label for each text"),
        (["aa", "bb"], [0, 1], "no term is left .* or analyzer='char' for"),
    ],
)
def test_what_is_no_text_or_label_is_refused(source, y, error):
    with pytest.raises((TypeError, ValueError), match=error):
        NgramVectorizer().fit(source, y)


@pytest.mark.parametrize("made", [NgramVectorizer(min_df=1), SequenceVectorizer()])
def test_a_table_is_no_text_for_each_of_its_columns(made):
    made.fit(["red one", "blue two"], [0, 1])
    table = pd.DataFrame({"one": ["red one", "blue two"]})
    for wrong in (table, {"one": ["red one"]}, table.to_numpy()):
        with pytest.raises(TypeError, match="Pass one column of it: table"):
            made.transform(wrong)
    assert made.transform(table["one"]).shape[0] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"ngram_range": (2, 1)},
        {"ngram_range": 2},
        {"min_df": 0},
        {"max_df": 1.5},
        {"norm": "l3"},
        {"select": "best"},
        {"analyzer": "words"},
        {"max_features": 0},
        {"strip_accents": "all"},
        {"stop_words": "german"},
        {"tokenizer": "split"},
        {"memory": 1},
        {"lowercase": 2},
    ],
)
def test_an_option_that_is_wrong_is_named(options):
    with pytest.raises((TypeError, ValueError), match=f"`{next(iter(options))}"):
        NgramVectorizer(**options)


def test_texts_come_from_series_arrays_and_tuples():
    pd = pytest.importorskip("pandas")
    texts, y = corpus(40)
    expected = NgramVectorizer().fit(texts, y).feature_names
    series = pd.Series(texts, index=np.arange(40)[::-1])
    for source in (series, np.array(texts), np.array(texts, object), tuple(texts)):
        assert NgramVectorizer().fit(source, list(y)).feature_names == expected


def test_labels_of_a_series_in_another_order_are_refused(tmp_path):
    texts, y = (pd.Series(part) for part in corpus(40))
    for made in (NgramVectorizer(), SequenceVectorizer()):
        for call in (made.fit, made.fit_write):
            target = [] if call == made.fit else [tmp_path / "a.store"]
            with pytest.raises(ValueError, match="`y` must have its rows in the order"):
                call(texts, *target, y[::-1])
        made.fit(texts, y)
        with pytest.raises(ValueError, match=r"Pass y.loc\[source.index\], or y.to_n"):
            made.write(texts, tmp_path / "a.store", y=y[::-1])
        store = made.write(texts[::-1], tmp_path / type(made).__name__, y=y[::-1])
        assert store.y.tolist() == y[::-1].tolist()


def test_no_texts_are_no_rows():
    texts, y = corpus(40)
    for made in (NgramVectorizer(), SequenceVectorizer()):
        rows = made.fit(texts, y).transform([])
        assert rows.shape == (0, made.num_features)
        assert made.transform(["", "?", texts[0]]).shape[0] == 3


def test_an_unfitted_vectorizer_says_so(tmp_path):
    with pytest.raises(ValueError, match="was not fitted. Call fit"):
        NgramVectorizer().transform(["a"])
    with pytest.raises(ValueError, match="was not fitted"):
        SequenceVectorizer().save(tmp_path / "a")
    part = NgramVectorizer().fit_part(["aa bb"], tmp_path / "a.part", [0])
    with pytest.raises(VectorizerError, match="other options"):
        NgramVectorizer(norm="l1").merge([part])
    with pytest.raises(ValueError, match="each part once, .*a.part 2 times"):
        NgramVectorizer().merge([part, tmp_path / "." / "a.part"])
    with pytest.raises(FileNotFoundError, match="fit_part"):
        NgramVectorizer().merge([tmp_path])

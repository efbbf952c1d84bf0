"""vectorize, and info of texts: options, classes, columns, and what is said."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sequence_loader import (
    NgramVectorizer,
    SequenceVectorizer,
    StoreWriter,
    convert,
    open_store,
    open_texts,
)
from sequence_loader.cli.main import main
from sequence_loader.progress import progress_bar
from sequence_loader.text.lengths import BARS, LOOKED_AT, Lengths

NAMES = ["hail", "rain", "snow"]


def text_of(row, label):
    """A text that tells its row and its class."""
    return f"row{row} {NAMES[label]} and {NAMES[label]}y weather of day{row % 7}"


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`train.csv`: class numbers from 1 of three classes, a title and a text."""
    rows = [(1 + i % 3, f"Title {i}", text_of(i, i % 3)) for i in range(60)]
    write_csv(tmp_path / "train.csv", rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs a command here, and gives what it wrote."""

    def command(*arguments, code=0):
        ended = main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        assert ended == code, err
        if code:
            assert err.startswith(f"sequence_loader {arguments[0]}: error: ")
            assert err.count("\n") == 1
        return out + err

    return command


def same(store, other):
    """Whether two stores have the same rows, labels and names."""
    np.testing.assert_array_equal(store[:].toarray(), other[:].toarray())
    np.testing.assert_array_equal(store.y, other.y)
    assert store.class_names == other.class_names
    assert store.feature_names == other.feature_names
    return True


@pytest.mark.parametrize(
    ("arguments", "vectorizer"),
    [
        ((), NgramVectorizer()),
        (("--as=ngrams", "--max-features=9"), NgramVectorizer(max_features=9)),
        (
            ("--ngrams", 1, 3, "--min-df=0.5", "--max-df=1.0", "--select", "none")
            + ("--max-features", "all", "--sublinear-tf", "--norm", "none"),
            NgramVectorizer(
                ngram_range=(1, 3), min_df=0.5, select=None, max_features=None,
                sublinear_tf=True, norm=None,
            ),
        ),
        (
            ("--analyzer=char", "--select=chi2", "--max-features=30", "--min-df=3"),
            NgramVectorizer(analyzer="char", select="chi2", max_features=30, min_df=3),
        ),
        (
            ("--as=sequences", "--max-features=12", "--max-length=4"),
            SequenceVectorizer(num_words=12, max_length=4),
        ),
    ],
)  # fmt: skip
def test_a_store_is_that_of_the_vectorizer_with_these_options(
    folder, run, arguments, vectorizer
):
    said = run("vectorize", "train.csv", "a.store", *arguments)
    made = vectorizer.fit_write(open_texts("train.csv"), "b.store")
    assert same(open_store("a.store"), made)
    rows, features = made.shape
    assert f"a.store: {rows} rows, {features} " in said and " rows/s" in said
    assert open_store("a.store").metadata["texts"] == made.metadata["texts"]


def test_other_files_get_the_columns_and_the_classes_of_training(folder, run):
    run("vectorize", "train.csv", "train.store", "--max-features", 20)
    # Only the last class, whose least number is not the first of all.
    texts = [text_of(i, 2) for i in range(3)]
    write_csv("test.csv", [("3", "", text) for text in texts])
    run("vectorize", "test.csv", "test.store", "--like", "train.store")
    test = open_store("test.store")
    assert test.y.tolist() == [2, 2, 2] and test.class_names == ("1", "2", "3")
    made = NgramVectorizer.load("train.store")
    expected = made.transform([f", {text}" for text in texts])
    assert (test[:] != expected).nnz == 0
    assert test.feature_names == made.feature_names
    # A class that training has not, and a row that has none of its words.
    write_csv("new.csv", [(4, "a", "b"), (2, "", "unheard-of"), (1, "", text_of(5, 0))])
    refused = run("vectorize", "new.csv", "new.store", "--like=train.store", code=1)
    assert "line 1: the label '4', which is not among" in refused
    assert "--class-names" in refused and not os.path.exists("new.store")
    said = run(
        "vectorize", "new.csv", "new.store", "--like=train.store", "--on-error=skip"
    )
    assert "1 skipped (1 with a label not in class_names)" in said
    assert "1 row is empty: its text has none" in said
    assert open_store("new.store").y.tolist() == [1, 0]


def test_columns_and_labels_go_by_their_names(folder, run):
    """Another order of columns, of classes, and none but two of them."""
    head = ["stars", "id", "title", "text"]
    rows = [(NAMES[i % 3], i, f"T{i}", text_of(i, i % 3)) for i in range(60)]
    write_csv("named.csv", [head, *rows])
    write_csv("named_test.csv", [
        ["text", "title", "id", "stars"],
        *[(row[3], row[2], row[1], row[0]) for row in rows if row[0] != "hail"][:6:-1],
    ])  # fmt: skip
    run("vectorize", "named.csv", "named.store")
    run("vectorize", "named_test.csv", "test.store", "--like", "named.store")
    train, test = open_store("named.store"), open_store("test.store")
    assert train.class_names == test.class_names == tuple(NAMES)
    kept = [i for i in range(60) if i % 3][:6:-1]
    np.testing.assert_array_equal(test.y, [i % 3 for i in kept])
    np.testing.assert_allclose(
        test[:].toarray(), train.take(kept).toarray(), rtol=1e-6
    )
    # What is written counts more than what training did.
    write_csv("bare.csv", [(text_of(1, 1),)])
    said = run(
        "vectorize", "bare.csv", "bare.store", "--like", "named.store",
        "--no-labels", "--text-columns", 0, "--no-header",
    )  # fmt: skip
    assert "label: none" in said and open_store("bare.store").y is None
    # Names of classes in another order: the numbers of training are kept.
    with open("other.txt", "w") as file:
        file.write("snow\nrain\n")
    write_csv("ranked.csv", [(1, "", text_of(2, 2)), (2, "", text_of(1, 1))])
    run(
        "vectorize", "ranked.csv", "ranked.store", "--like", "named.store",
        "--class-names", "other.txt", "--first-label", 1, "--label-column", 0,
        "--text-columns", 1, 2,
    )  # fmt: skip
    assert open_store("ranked.store").y.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("rows", "kind"), [(1499, NgramVectorizer), (1500, SequenceVectorizer)]
)
def test_auto_is_the_rule_of_the_guide_and_says_its_numbers(folder, run, rows, kind):
    write_csv("many.csv", [(i % 2, "w" * (2 + i % 9)) for i in range(rows)])
    said = run("vectorize", "many.csv", "many.store", "--as", "auto")
    ratio = rf"{rows:,} texts / 1 words in the median = {rows:,}, (not )?below 1,500"
    assert re.search(ratio, said)[1] == (None if rows < 1500 else "not ")
    kind.load("many.store")
    info = run("info", "many.store")
    assert re.search(rf"│ 1 +│ +{rows:,} │ █{{30}} │", info)
    said = run("vectorize", "many.csv", "a.store", "--min-df=2", "--max-length=9")
    unused = "--max-length" if rows < 1500 else "--min-df"
    assert re.search(f"warning: not used for .*: {unused}\n", said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.csv", "x.store"], "SRC must name files; there is no"),
        (["no*.csv", "x.store"], "SRC must name at least one file; nothing matches"),
        (["train.csv", "train.csv"], "or --overwrite to replace"),
        (["train.csv", "no/x.store"], "cannot write beside"),
        (["train.csv", "x.store", "--ngrams", "2", "1"], "--ngrams must be two numb"),
        (["train.csv", "x.store", "--min-df", "0"], "--min-df must be a number of"),
        (["train.csv", "x.store", "--min-df", "70"], "--min-df 70, 70 texts. Pass a l"),
        (
            ["train.csv", "x.store", "--min-df", "0.0", "--max-df", "0.001"],
            "with --min-df 0.0 and --max-df 0.001. Pass a lower --min-df or a higher",
        ),
        (["train.csv", "x.store", "--max-features", "0"], "--max-features must be at"),
        (
            ["train.csv", "x.store", "--as", "sequences", "--max-features", "1"],
            "--max-features must be in [2, ",
        ),
        (
            ["train.csv", "x.store", "--as", "ngrams", "--max-length", "5"],
            "--max-length must go with sequences; received --as ngrams",
        ),
        (["train.csv", "x.store", "--no-labels"], "or --select none."),
        (["train.csv", "x.store", "--label-column", "y"], "columns can be given by na"),
        (["train.csv", "x.store", "--label-column", "3"], "--label-column must be in"),
        (["train.csv", "x.store", "--first-label", "0"], "3"),
        (["train.csv", "x.store", "--workers", "0"], "--workers must be at least 1"),
        (["train.csv", "x.store", "--like", "no.store"], "--like must be a store"),
        (["bad.csv", "x.store"], "bad.csv, line 2: no label. Mend the line, or pass "
                                 "--on-error skip"),
        (["head.csv", "x.store"], "Pass --header or --no-header"),
        (["semi.csv", "x.store"], "Pass --delimiter ';'"),
        (["classes/a.csv", "x.store"], "leave that file aside; or --no-labels if"),
    ],
)  # fmt: skip
def test_errors_are_one_line_in_words_of_the_command_line(
    folder, run, arguments, message
):
    write_csv("bad.csv", [(1, "a", "b"), ("", "a", "b"), (2, "a", "b")])
    write_csv("head.csv", [("un usual", "names of", "columns"), *[(1, "a", "b")] * 9])
    with open("semi.csv", "w") as file:
        file.write('1;"a, b";c\n2;"c, d";e\n')
    os.mkdir("classes")
    with open("classes/classes.txt", "w") as file:
        file.write("a\nb\n")
    write_csv("classes/a.csv", [(1, "a b"), (3, "b c")])
    before = sorted(os.listdir())
    if message == "3":  # with 0 as the first label there are four classes
        assert "classes: 4" in run("vectorize", *arguments)
        return
    assert message in run("vectorize", *arguments, code=1)
    assert sorted(os.listdir()) == before


def test_like_refuses_options_that_it_decides(folder, run):
    run("vectorize", "train.csv", "grams.store")
    for options, named in (
        (["--min-df", 3], "--min-df"),
        (["--max-features", 3], "--max-features"),
        (["--as", "sequences"], "--as sequences"),
    ):
        refused = run(
            "vectorize", "train.csv", "x.store", "--like=grams.store", *options, code=1
        )
        assert f"received {named} as well" in refused
    run("vectorize", "train.csv", "x.store", "--like=grams.store", "--as=ngrams")
    # A store that does not say which class is which number would be guessed at.
    texts = open_texts("train.csv")
    NgramVectorizer().fit_write(list(texts), "bare.store", texts.y + 1)
    refused = run("vectorize", "train.csv", "y.store", "--like=bare.store", code=1)
    assert "does not say what its classes are called" in refused
    # One that has their names and nothing else: these count.
    NgramVectorizer().fit_write(list(texts), "named.store", [NAMES[k] for k in texts.y])
    write_csv("b.csv", [("snow", text_of(2, 2)), ("rain", text_of(1, 1))])
    run("vectorize", "b.csv", "y.store", "--like=named.store", "--no-header")
    assert open_store("y.store").y.tolist() == [2, 1]
    with StoreWriter("plain.store", 2):
        pass
    refused = run("vectorize", "train.csv", "z.store", "--like=plain.store", code=1)
    assert "there is no vectorizer.json" in refused


def test_texts_alone_are_taken_from_their_only_column(folder, run):
    """Whichever columns they had in training, by number or by name, of any format."""
    header = [("class", "title", "text")]
    rows = [(1 + i % 3, f"Title {i}", text_of(i, i % 3)) for i in range(60)]
    write_csv("named.csv", header + rows)
    run("vectorize", "train.csv", "numbered.store", "--max-features", 20)
    run("vectorize", "named.csv", "named.store", "--max-features", 20)
    new = [text_of(i, 2 - i % 3) + f"; title, {i}" for i in range(7)]
    write_csv("new.csv", [(text,) for text in new])
    write_csv("head.csv", [("review",), *((text,) for text in new)])
    Path("new.txt").write_text("\n".join(new) + "\n")
    records = [json.dumps({"review": text}) for text in new]
    Path("new.jsonl").write_text("\n".join(records))
    line = ["--format=tsv", "--no-quotes", "--no-header"]
    for like, before in (("numbered.store", "1, 2"), ("named.store", "title, text")):
        expected = NgramVectorizer.load(like).transform(new)
        assert expected.nnz
        for source, options, column in (
            ("new.csv", [], "0"), ("head.csv", [], "review"), ("new.txt", line, "0"),
            ("new.jsonl", [], "review"),
        ):  # fmt: skip
            said = run(
                "vectorize", source, "new.store", "--like", like, "--no-labels",
                "--overwrite", *options,
            )  # fmt: skip
            assert f"texts: {column};" in said
            assert f"texts are in the only column; in {like}: {before}\n" in said
            store = open_store("new.store")
            assert store.y is None and (store[:] != expected).nnz == 0
    # The same in Python, where nothing is inherited.
    made = NgramVectorizer.load("named.store")
    texts = open_texts("new.csv", label_column=None)
    assert (made.write(texts, "python.store")[:] != expected).nnz == 0


def test_columns_that_nobody_passed_are_said_to_be_those_of_the_store(folder, run):
    run("vectorize", "train.csv", "train.store", "--max-features", 20)
    new = [text_of(i, i % 3) for i in range(7)]
    write_csv("one.csv", [(text,) for text in new])
    write_csv("two.csv", [(f"Title {i}", text) for i, text in enumerate(new)])
    like = ["new.store", "--like=train.store"]
    refused = run("vectorize", "one.csv", *like, code=1)
    assert "--text-columns must be given: the texts of train.store are in [1, 2]" in (
        refused
    )
    assert "one.csv has 1 column, counted from 0. Pass --text-columns" in refused
    assert refused.endswith("and --no-labels if there are no labels.\n")
    run("vectorize", "one.csv", *like, "--no-labels")
    refused = run("vectorize", "two.csv", *like, "--no-labels", "--overwrite", code=1)
    assert "two.csv has 2 columns, counted from 0" in refused
    mended = ["--no-labels", "--text-columns", 0, 1]
    run("vectorize", "two.csv", *like, "--overwrite", *mended)
    expected = NgramVectorizer.load("train.store").transform(
        [f"Title {i}, {text}" for i, text in enumerate(new)]
    )
    assert (open_store("new.store")[:] != expected).nnz == 0
    # Numbers that are others than names tell.
    write_csv("three.csv", [("title", "text", "label"), *(("a", t, 1) for t in new)])
    like = ["new.store", "--like=train.store", "--no-labels", "--overwrite"]
    refused = run("vectorize", "three.csv", *like, code=1)
    assert "three.csv has the columns ('title', 'text', 'label')" in refused
    run("vectorize", "three.csv", *like, "--text-columns", "title", "text")
    # What was passed is refused as it was.
    refused = run("vectorize", "two.csv", "x.store", "--text-columns=7", code=1)
    assert "--text-columns must be in [-2, 2); received 7" in refused
    # A store of names, and a file without them.
    write_csv("named.csv", [("kind", "text"), *((i % 3, new[i]) for i in range(7))])
    run("vectorize", "named.csv", "named.store", "--label-column=kind", "--min-df=1")
    write_csv("bare.csv", [(i % 3, new[i]) for i in range(7)])
    like = ["bare.store", "--like=named.store", "--no-header"]
    refused = run("vectorize", "bare.csv", *like, code=1)
    assert (
        "--label-column and --text-columns must be given: the labels of named.store "
        "are in 'kind' and the texts of named.store are in ['text'], and "
    ) in refused
    assert "or --no-labels in place of the first, if there are none." in refused
    label = ["--label-column=0"]
    refused = run("vectorize", "bare.csv", *like, *label, code=1)
    assert "error: --text-columns must be given: the texts of named.store" in refused
    run("vectorize", "bare.csv", *like, *label, "--text-columns=1")
    assert same(open_store("bare.store"), open_store("named.store"))
    # A header of other names.
    write_csv("other.csv", [("stars", "words"), *((i % 3, new[i]) for i in range(7))])
    like = ["other.store", "--like=named.store"]
    refused = run("vectorize", "other.csv", *like, code=1)
    assert "error: --label-column and --text-columns must be given: the lab" in refused
    run("vectorize", "other.csv", *like, "--label-column=stars", "--text-columns=words")
    assert same(open_store("other.store"), open_store("named.store"))
    run("vectorize", "other.csv", *like, "--no-labels", "--text-columns=words",
        "--overwrite")  # fmt: skip
    assert open_store("other.store").y is None


def test_one_text_a_line_is_read_as_the_error_says(folder, run):
    run("vectorize", "train.csv", "train.store", "--max-features", 20)
    texts = ['say "hi", there', "Title", *(text_of(i, 1) for i in range(5))]
    Path("new.txt").write_text("\n".join(texts))
    refused = run("vectorize", "new.txt", "new.store", "--like=train.store", code=1)
    mend = "--format tsv, --no-labels, --no-quotes and --no-header"
    assert f"of one text a line, {mend}." in refused
    options = mend.replace(" and ", ", ").split(", ")
    options = [word for option in options for word in option.split(" ")]
    run("vectorize", "new.txt", "new.store", "--like=train.store", *options)
    expected = NgramVectorizer.load("train.store").transform(texts)
    assert (open_store("new.store")[:] != expected).nnz == 0
    with pytest.raises(ValueError, match="one text a line") as refused:
        open_texts("new.txt")
    mend = str(refused.value).partition("one text a line, ")[2].rstrip(".")
    mend = mend.replace(" and ", ", ")
    assert eval(f"open_texts('new.txt', {mend})")[:] == texts


def test_like_a_store_of_semicolons_json_lines_are_read_as_they_are(folder, run):
    rows = [("label", "text"), *[(NAMES[i % 3], text_of(i, i % 3)) for i in range(60)]]
    with open("semi.csv", "w", newline="") as file:
        csv.writer(file, delimiter=";", quotechar="'").writerows(rows)
    with open("test.jsonl", "w") as file:
        for label, text in rows[:6:-1]:
            file.write(json.dumps({"label": label, "text": text}) + "\n")
    said = ["--delimiter=;", "--quotechar='"]
    run("vectorize", "semi.csv", "semi.store", *said)
    run("vectorize", "test.jsonl", "test.store", "--like=semi.store")
    semi, test = open_store("semi.store"), open_store("test.store")
    assert (semi[:][:5:-1] != test[:]).nnz == 0
    assert test.y.tolist() == semi.y[:5:-1].tolist()
    refused = run(
        "vectorize", "test.jsonl", "x.store", "--like=semi.store", *said, code=1
    )
    assert "--delimiter is for csv and tsv" in refused


def test_class_names_are_carried_over_a_store_without_labels(folder, run):
    with open("classes.txt", "w") as file:
        file.write("\n".join(NAMES))
    run("vectorize", "train.csv", "train.store")
    os.remove("classes.txt")
    bare = ["--no-labels", "--text-columns", 1, 2]
    run("vectorize", "train.csv", "bare.store", "--like=train.store", *bare)
    assert open_store("bare.store").y is None
    write_csv("test.csv", [(k, "", text_of(k, k - 1)) for k in (3, 2, 2)])
    run(
        "vectorize", "test.csv", "test.store", "--like=bare.store", "--label-column=0"
    )
    test = open_store("test.store")
    assert test.class_names == tuple(NAMES) and test.y.tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n\nb\n", "line 2 of names.txt is blank. Leave"),
        (b"\n", "line 1 of names.txt is blank"),
        (b"a\nb\n a\n", "line 3 of names.txt is 'a', as line 1 is"),
        (b"a\ncaf\xe9\n", "line 2 of names.txt is not UTF-8. Convert"),
    ],
)
def test_a_file_of_class_names_is_refused_by_its_line(folder, run, content, said):
    with open("names.txt", "wb") as file:
        file.write(content)
    assert said in run("info", "train.csv", "--class-names", "names.txt", code=1)


def test_info_shows_classes_and_lengths_of_files_and_of_their_stores(folder, run):
    write_csv("odd.csv", [(1, "a b"), (1, "c"), ("", ""), (2, "do " * 30), (1, "")])
    said = run("info", "odd.csv", "--on-error", "skip")
    assert "1 skipped (1 empty)" in said and "1 row with a label but no text" in said
    assert re.search(r"│ 1 +│ +3 │ █{30} │ 75.0% │", said)
    assert re.search(r"│ 2 +│ +1 │ █{10} + │ 25.0% │", said)
    assert re.search(r"│ 0 to 4 +│ +3 │ █{30} │", said)
    assert re.search(r"│ 30 to 34 +│ +1 │ █{10} ", said)
    run("vectorize", "odd.csv", "odd.store", "--on-error=skip", "--min-df=1")
    tables = said[said.index("┏") :]
    assert tables in run("info", "odd.store")
    assert "must go with files of texts" in run(
        "info", "odd.store", "--header", code=1
    )


def test_info_counts_no_label_of_weight_0_and_shows_classes_without_rows(folder, run):
    with StoreWriter("a.store", 1, "uint8", class_names=["b", "none", "a"]) as writer:
        rows = sp.csr_array(np.ones((6, 1), np.uint8))
        writer.append(rows, [0, 2, 2, 0, 0, 2], [0, 1, 1, 0.5, 0, 1])
    said = run("info", "a.store")
    counts = re.findall(r"│ (\w[\w ]*?) +│ +(\d) │ █* *│ +([0-9.]+)% │", said)
    assert counts == [
        ("a", "3", "50.0"), ("b", "1", "16.7"), ("none", "0", "0.0"),
        ("of weight 0", "2", "33.3"),
    ]  # fmt: skip
    assert "all are 1, and without them on disk the store takes" in said
    convert("a.store", "b.store", dtype="smallest")
    assert re.search("values on disk +│ +none, as all are 1 │", run("info", "b.store"))


def test_a_class_of_a_stray_row_is_named_with_its_line(folder, run):
    rows = [(NAMES[i % 3], text_of(i, i % 3)) for i in range(60)]
    write_csv("stray.csv", [*rows, ("snwo", "a"), *rows])
    assert re.search(
        r"class 'snwo' has 1 row: \S*stray.csv, line 61\n", run("info", "stray.csv")
    )
    write_csv("stray.csv", [*[(1, "aa")] * 30, *[(k, "bb") for k in range(3, 8)]])
    said = run("vectorize", "stray.csv", "a.store", "--min-df=1")
    assert re.search(r"class '3' has 1 row: \S*stray.csv, line 31\n", said)
    assert "and 2 more classes of 1 row\n" in said and "no row is of ['2']" in said
    write_csv("few.csv", [(k, "a") for k in (1, 1, 2)])
    assert "has 1 row" not in run("info", "few.csv")


def test_an_empty_file_is_told_in_words_of_the_command(folder, run):
    with open("empty.csv", "w"):
        pass
    for command in (["info", "empty.csv"], ["vectorize", "empty.csv", "x.store"]):
        assert "error: SRC must hold at least one row" in run(*command, code=1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 300) | st.integers(0, 3), min_size=1, max_size=40))
def test_bars_hold_every_text_once(counts):
    class Source:
        num_rows = len(counts)

        def read(self, rows):
            return ["w " * counts[row] for row in rows]

    found = Lengths.of(Source())
    assert found.median == np.median(counts) and found.longest == max(counts)
    assert Lengths.kept({"words": json.loads(json.dumps(found.to_json()))}) == found
    bars = found.bars()
    assert len(bars) <= BARS + 1
    held = []
    for name, count in bars:
        first, *last = map(int, re.findall("[0-9]+", name.replace(",", "")))
        last = last or [10**9 if "more" in name else first]
        held.append(sum(first <= words <= last[0] for words in counts) == count)
    assert all(held) and sum(count for _, count in bars) == len(counts)


def test_of_many_texts_some_are_counted_from_all_over_the_file():
    class Source:
        num_rows = 50 * LOOKED_AT

        def read(self, rows):
            assert len(rows) <= 1024
            return ["w " * (3 if row < 30 * LOOKED_AT else 9) for row in rows]

    found = Lengths.of(Source())
    assert (found.looked_at, found.median, found.counts[3]) == (LOOKED_AT, 3, 12_000)
    assert f"{50 * LOOKED_AT:,} texts / 3 words in the median (20,000 of" in str(found)


def test_a_store_of_texts_keeps_how_they_were_read(folder):
    texts = open_texts("train.csv", joiner=" ")
    store = NgramVectorizer().fit_write(texts, "a.store", metadata={"mine": 1})
    assert store.metadata == {"texts": texts.settings, "mine": 1}
    made = SequenceVectorizer().fit(texts).write(texts, "b.store")
    assert made.metadata == {"texts": texts.settings}
    again = open_texts("train.csv", **made.metadata["texts"])
    assert again[:] == texts[:]
    with pytest.raises(TypeError, match="`metadata` must be a dict that JSON can hold"):
        NgramVectorizer().fit_write(texts, "c.store", metadata={"a": object()})
    assert not os.path.exists("c.store")


def test_a_terminal_is_shown_rows_a_second_and_the_time_left(folder, monkeypatch):
    main_end, other = os.openpty()
    pieces = []

    def listen():
        with suppress(OSError):  # at the end of the other end
            while piece := os.read(main_end, 1 << 12):
                pieces.append(piece)

    listening = threading.Thread(target=listen)
    listening.start()
    with open(other, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        with progress_bar("count", 2_000_000, "texts") as advance:
            advance(1_000)
        # Each pass of a fit, to its end.
        texts = open_texts("train.csv", progress=False)
        NgramVectorizer(max_features=9).fit_write(texts, "a.store")
    listening.join()
    os.close(main_end)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(pieces).decode())
    assert "1000/2000000" in shown and re.search(r"texts/s|texts .*-:--:--", shown)
    for what in ("count", "score", "write"):
        assert re.search(rf"{what} .*60/60", shown), what
    assert re.search(r"merge .* (\d+)/\1\D", shown)

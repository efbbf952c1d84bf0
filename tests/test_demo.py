"""The command line and the demo: corpus, features, exit codes, real runs."""

from __future__ import annotations

import csv
import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from watching import HUNG_SECONDS

import sequence_loader
from sequence_loader import NgramVectorizer, open_store, open_texts
from sequence_loader.cli import main as cli
from sequence_loader.demo.corpus import (
    MIN_TEXTS_PER_PACKAGE,
    MIN_WORDS,
    Corpus,
    collect_docstrings,
    texts_in,
)
from sequence_loader.demo.folder import PendingRun
from sequence_loader.demo.guide import BATCH_SIZE, dense_batches, separable_cnn
from sequence_loader.demo.speed import GENERATOR, SEQUENCE, Figure, Speeds
from sequence_loader.demo.stores import opened
from sequence_loader.demo.training import confusion

WORDS = " ".join(f"word{i}" for i in range(MIN_WORDS))


def run_command(*arguments: str) -> subprocess.CompletedProcess:
    """A real process, as a user starts it."""
    environment = {**os.environ, "COLUMNS": "120"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(
        [sys.executable, "-m", "sequence_loader", *arguments],
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
        env=environment,
    )


# --- the demo as a whole ---------------------------------------------------------


@pytest.mark.long
def test_a_quick_demo_learns_and_says_what_it_did():
    done = run_command("demo", "--quick")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stderr == ""

    def row(name: str) -> str:
        return re.search(rf"{re.escape(name)} +│ +(\S.*?) +│", done.stdout)[1]

    texts = int(row("texts").replace(",", ""))
    assert texts > 1_000
    assert row("features") == "20,000"
    dense_megabytes = texts * 20_000 * 4 / 1e6
    assert row("memory, as dense matrices") == f"{dense_megabytes:,.0f} MB"
    majority = float(row("share of the commonest package"))
    found = re.search(r"validation accuracy, \d epochs +│ +(\S+)", done.stdout)
    accuracy = float(found[1])
    assert accuracy > majority + 0.15
    # The table of confusion is of the same texts.
    lines = done.stdout[done.stdout.index("taken for") :].splitlines()
    counts = [re.findall(r"[0-9,]+(?= │)", line) for line in lines[2:]]
    counts = [list(map(int, row)) for row in counts[: len(counts[0])]]
    right, held_out = np.trace(counts), np.sum(counts)
    assert held_out == round(texts / 5) and abs(right / held_out - accuracy) < 6e-4
    alone = [row(f"{kind} batch, no loader") for kind in ("dense", "sparse")]
    assert all(re.fullmatch(r"(\d+\.\d )?\(.* to .*\)", cost) for cost in alone)
    for feed in (f"dense, {GENERATOR}", f"sparse, {SEQUENCE}"):
        assert re.fullmatch(r"\+ (\d+\.\d )?\(.* to .*\)", row(feed))


def test_a_demo_with_nothing_to_tell_apart_exits_with_1():
    done = run_command("demo", "--quick", "--packages", "numpy", "nowhere_at_all")
    assert done.returncode == 1
    assert "Left out: nowhere_at_all, not installed" in done.stdout
    assert done.stderr.startswith("sequence_loader demo: error: --packages must give")
    assert done.stderr.count("\n") == 1


def test_a_network_no_better_than_the_commonest_class_is_said_not_to_learn(
    monkeypatch, capsys
):
    """The verdict itself, on a training that came to nothing."""
    demo = pytest.importorskip("sequence_loader.demo.run")

    def untrained(found, epochs, console):
        nothing = np.zeros(found.judged.num_rows, np.int64)
        return demo.Trained(None, found.majority_share + 0.1, epochs, None, nothing)

    texts, labels = zip(*((f"{WORDS} text{i}", i % 2) for i in range(demo.MIN_TEXTS)))
    corpus = Corpus(list(texts), list(labels), ("one", "other"), {})
    monkeypatch.setattr(demo, "collect_docstrings", lambda *_, **options: corpus)
    monkeypatch.setattr(demo, "train", untrained)
    monkeypatch.setattr(demo, "measure_feeds", lambda *_: Speeds(0, {}, {}))
    assert cli.main(["demo", "--quick"]) == 1
    assert "the network did not learn" in capsys.readouterr().err


# --- files of a user -------------------------------------------------------------

CLASSES = ["autumn", "spring", "winter"]


def write_texts(path, rows, length=6, names=None):
    """Texts of 3 classes, half of whose words tell the class."""
    rng = np.random.default_rng(rows)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        for _ in range(rows):
            label = int(rng.integers(3))
            words = [f"{CLASSES[label]}{i}" for i in rng.integers(5, size=length // 2)]
            words += [f"word{i}" for i in rng.integers(20, size=length - len(words))]
            text = " ".join(rng.permutation(words))
            writer.writerow([names[label] if names else label + 1, text])


def write_pairs(path, rows):
    """Texts of two words; what tells two of the three classes is their order alone."""
    rng = np.random.default_rng(rows)
    with open(path, "w", newline="") as file:
        for label in rng.integers(3, size=rows).tolist():
            letters = ("ab", "ba", "aa")[label]
            pair = " ".join(f"{letter}{rng.integers(20)}" for letter in letters)
            csv.writer(file).writerow([label + 1, pair])


@pytest.mark.parametrize(
    "kind", ["ngrams", pytest.param("sequences", marks=pytest.mark.long)]
)
def test_files_of_a_user_become_stores_and_a_model_that_answers_for_raw_texts(
    tmp_path, monkeypatch, capsys, kind
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    arguments = ["train.csv", "test.csv"]
    if kind == "ngrams":
        write_texts("train.csv", 1200)
        write_texts("test.csv", 200)
    else:  # the guide takes sequences from 1,500 texts for each word of one
        write_pairs("train.csv", 3750)
        arguments = ["train.csv", "--out=d/train"]
    assert cli.main(["demo", *arguments, "--epochs=24", "--no-progress"]) == 0
    out = capsys.readouterr().out
    network = "an MLP on" if kind == "ngrams" else "a separable CNN on sequences of 2"
    assert network in out and "as in Google's guide" in out
    assert re.findall("epoch [0-9]+: loss [0-9.]+, accuracy [0-9.]+; validation", out)
    folder = Path("train.demo" if kind == "ngrams" else "d/train")
    validated = float(re.search("validation accuracy ([0-9.]+) after", out)[1])
    tested = float((re.search("test accuracy ([0-9.]+), of", out) or [0, "nan"])[1])
    assert validated > 0.9
    # As the last lines say, which need nothing that is not among them.
    used = out[out.index("In Python:\n") :].splitlines()[1:9]
    names: dict = {}
    exec("\n".join(line.removeprefix("  ") for line in used), names)
    said = capsys.readouterr().out.strip()
    texts = open_texts("test.csv" if kind == "ngrams" else "train.csv")
    first = open_texts("train.csv")
    assert said.endswith(f"['{first.class_names[first.y[0]]}']")
    feed = sequence_loader.SparseBatchSequence(
        texts[:],
        transform=names["vectorizer"].transform,
        **{"output": "sparse"} if kind == "ngrams" else {"dtype": "int32"},
    )
    right = names["model"].predict(feed, verbose=0).argmax(1) == texts.y
    if kind == "ngrams":
        assert right.mean() == pytest.approx(tested, abs=6e-4)
        assert open_store(folder / "test.store").num_rows == 200
    else:
        assert right.mean() > 0.9 and not (folder / "test.store").exists()
    # What early stopping looks at is no text of the test.
    held_out, train = (
        open_store(folder / f"{name}.store") for name in ("validation", "train")
    )
    rows = len(open_texts("train.csv"))
    assert (held_out.num_rows, train.num_rows) == (rows // 5, rows - rows // 5)
    assert train.class_names == held_out.class_names == tuple(CLASSES)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def fit_each_other(folder: Path, texts: Path, stores: int) -> None:
    """A folder holds a whole run: its model answers what its vectorizer makes."""
    from sequence_loader.backends.which_keras import import_keras

    model = import_keras().models.load_model(folder / "model.keras")
    vectorizer = NgramVectorizer.load(folder / "train.store")
    served = open_texts(texts, progress=False)
    feed = sequence_loader.SparseBatchSequence(
        served[:], transform=vectorizer.transform, output="sparse"
    )
    right = model.predict(feed, verbose=0).argmax(1) == served.y
    assert right.mean() > 0.9
    held_out = open_store(folder / "validation.store")
    assert held_out.feature_names == tuple(vectorizer.feature_names)
    assert len(list(folder.glob("*.store"))) == stores


def start_and_stop(folder: Path, behind: str, how: int) -> tuple[int, str, str]:
    """Runs the demo on train.csv in a folder; a signal comes behind a line.

    Returns:
        The exit code, what it printed, and what it said of errors.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "sequence_loader", "demo", "train.csv"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as process:  # fmt: skip
        printed = []
        for line in process.stdout:
            printed.append(line)
            if behind in line:
                process.send_signal(how)
                break
        said, errors = process.communicate(timeout=HUNG_SECONDS)
        return process.returncode, "".join(printed) + said, errors


@pytest.mark.long
def test_an_earlier_run_stands_until_a_new_one_is_whole(tmp_path, monkeypatch, capsys):
    """Killed and interrupted, while rows are written and while it trains."""
    monkeypatch.chdir(tmp_path)
    write_texts("train.csv", 900)
    write_texts("test.csv", 90)
    out = Path("train.demo")
    # Ctrl-C before there is one, in training: two epochs at least were to come.
    code, printed, errors = start_and_stop(tmp_path, "epoch 1:", signal.SIGINT)
    assert code == 130 and "Traceback" not in errors
    assert errors.endswith("sequence_loader demo: error: interrupted\n")
    assert printed.endswith("nothing of this run is kept, and there is no train.demo\n")
    assert sorted(os.listdir()) == ["test.csv", "train.csv"]

    options = ["--epochs=24", "--no-progress"]
    assert cli.main(["demo", "train.csv", *options]) == 0
    fit_each_other(out, Path("test.csv"), 2)
    before = content(out)
    write_texts("train.csv", 800, names=CLASSES)  # other columns and classes
    write_texts("test.csv", 80, names=CLASSES)
    code, printed, _ = start_and_stop(tmp_path, "validation:", signal.SIGINT)
    assert code == 130 and printed.endswith("and train.demo is as it was\n")
    assert sorted(os.listdir()) == ["test.csv", "train.csv", "train.demo"]
    for behind in ("an MLP on", "epoch 1:"):
        code, _, _ = start_and_stop(tmp_path, behind, signal.SIGKILL)
        assert code == -signal.SIGKILL and content(out) == before
    killed = [name for name in os.listdir() if name.startswith(".train.demo.")]
    assert len(killed) == 1  # the second removed that of the first

    # Not of a run: what a leftover holds, though it is called like one.
    notes = Path(".train.demo.writing-notmine0/test.store/notes")
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    os.utime(notes.parents[1], (0, 0))
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # as outside of tests
        assert cli.main(["demo", "train.csv", "test.csv", *options]) == 0
    said = capsys.readouterr().err
    assert "is what a writer of" in said and str(notes.parents[1]) in said
    fit_each_other(out, Path("test.csv"), 3)
    assert notes.read_text() == "mine"
    left = [name for name in os.listdir() if name.startswith(".train.demo.")]
    assert left == [notes.parents[1].name]
    notes.unlink()
    # That test set is of other columns; without one there is none.
    assert cli.main(["demo", "train.csv", *options]) == 0
    fit_each_other(out, Path("test.csv"), 2)


@pytest.mark.parametrize(
    ("put", "message"),
    [
        ("notes.txt", "out holds notes.txt"),
        ("test.store/notes", "out holds test.store/notes"),
        (".test.store.old-1234/manifest.json", "out holds .test.store.old-1234"),
        ("model.keras/notes", "out holds model.keras"),
        ("train.store/manifest.json", "out holds no validation.store"),
    ],
)
def test_what_no_run_put_there_is_never_replaced(
    tmp_path, monkeypatch, capsys, put, message
):
    monkeypatch.chdir(tmp_path)
    write_texts("train.csv", 60)
    path = Path("out", put)
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    assert cli.main(["demo", "train.csv", "--out=out"]) == 1
    error = capsys.readouterr().err
    assert "--out must be a new folder, or that of an earlier run" in error
    assert message in error and error.count("\n") == 1
    assert path.read_text() == "mine" and sorted(os.listdir()) == ["out", "train.csv"]
    # The mend: another one; a file is none, nor is the folder that one is in.
    assert cli.main(["demo", "train.csv", "--out=train.csv"]) == 1
    assert "train.csv is not a folder" in capsys.readouterr().err
    for here in (".", "..", str(tmp_path)):
        assert cli.main(["demo", "train.csv", "--out", here]) == 1
        error = capsys.readouterr().err
        assert "--out must be a folder that is replaced as a whole" in error
        assert f"--out {os.path.join(here, 'train.demo')}" in error


def test_what_is_put_there_meanwhile_is_not_replaced_and_the_run_is_kept(tmp_path):
    out = tmp_path / "link" / "out"
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for each, expected in (("one", out), ("other", out)):
        with PendingRun(out) as run:
            (run.folder / "validation.store").mkdir()
            (run.folder / "model.keras").write_text(each)
            run.publish()
        assert (expected / "model.keras").read_text() == each
    with pytest.raises(OSError, match=r"holds notes.*This run is whole in .*out\.2\.$"):
        with PendingRun(out) as run:
            (run.folder / "model.keras").write_text("third")
            (out / "notes").write_text("mine")
            run.publish()
    assert content(out) == {"model.keras": b"other", "notes": b"mine"}
    assert content(tmp_path / "real" / "out.2") == {"model.keras": b"third"}
    assert sorted(os.listdir(tmp_path / "real")) == ["out", "out.2"]


def test_held_out_rows_are_the_others_and_workers_read_the_same(tmp_path):
    write_texts(tmp_path / "a.csv", 101)
    texts, kept, held_out, _ = opened(tmp_path / "a.csv", None, {})
    assert len(held_out.rows) == 20
    np.testing.assert_array_equal(
        np.sort(np.concatenate([kept.rows, held_out.rows])), np.arange(101)
    )
    for part in (kept, pickle.loads(pickle.dumps(kept)), held_out):
        places = np.arange(part.num_rows)[::-3]
        assert part.read(places) == texts.read(part.rows[places])
        np.testing.assert_array_equal(part.y, texts.y[part.rows])


def test_labels_of_both_files_are_those_of_training(tmp_path):
    write_texts(tmp_path / "a.csv", 90, names=["b", "a", "c"])
    write_texts(tmp_path / "b.csv", 50, names=["c", "a", "c"])
    _, train, _, test = opened(tmp_path / "a.csv", tmp_path / "b.csv", {})
    assert train.class_names == test.class_names == ("a", "b", "c")
    lines = (tmp_path / "b.csv").read_text().splitlines()
    found = [line.partition(",")[0] for line in lines]
    assert [test.class_names[k] for k in test.y] == found
    write_texts(tmp_path / "b.csv", 50, names=["d", "a", "c"])
    with pytest.raises(ValueError, match="the label 'd', which is not among"):
        opened(tmp_path / "a.csv", tmp_path / "b.csv", {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.csv"], "one.csv must have texts of two classes or more"),
        (["few.csv"], "few.csv must have 5 rows or more"),
        (["one.csv", "--no-labels", "--text-columns", "1"], "it has no labels"),
        (["two.csv", "bare.csv"], "must have the columns of two.csv; it has 1 "),
        (["no.csv"], "CSV must name files; there is no"),
        (["a.csv", "b.csv", "c.csv"], "CSV must be a file to train with"),
        (["one.csv", "--quick"], "CSV must be a file to train with"),
        (["one.csv", "--epochs", "0"], "--epochs must be at least 1"),
        (["--out", "d", "--header"], "--out, --header must go with a file"),
    ],
)
def test_what_cannot_be_trained_with_is_one_line(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.csv").write_text("1,a b\n1,b c\n")
    (tmp_path / "few.csv").write_text("1,a b\n2,b c\n")
    (tmp_path / "two.csv").write_text("1,a b\n2,b c\n" * 9)
    (tmp_path / "bare.csv").write_text("a b\nb c\n")
    assert cli.main(["demo", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(os.listdir()) == ["bare.csv", "few.csv", "one.csv", "two.csv"]


@pytest.mark.parametrize("count", [2, 10, 11, 400])
def test_confusion_counts_every_text_or_names_the_commonest_mistakes(count):
    names = tuple(f"class {k}" for k in range(count))
    y = np.arange(3 * count) % count
    predicted = np.where(y == 1, 0, y)
    found = SimpleNamespace(class_names=names, judged=SimpleNamespace(y=y), test=None)
    table = confusion(found, predicted)
    cells = [list(column.cells) for column in table.columns]
    if count <= 10:
        counts = np.array(cells[1:], dtype=int).T
        expected = np.zeros((count, count), int)
        np.add.at(expected, (y, predicted), 1)
        np.testing.assert_array_equal(counts, expected)
    else:
        assert [list(map(str, row)) for row in zip(*cells)] == [
            ["class 1", "class 0", "3"]
        ]


def test_a_text_of_one_word_is_long_enough_for_the_cnn():
    model = separable_cnn(num_words=9, length=1, num_classes=2)
    assert model(np.ones((3, 1), np.int32)).shape == (3, 2)


# --- the command line ------------------------------------------------------------


def test_help_lists_the_commands_and_imports_no_tensorflow():
    script = (
        "import sys\nfrom sequence_loader.cli import main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'tensorflow', 'keras', 'scipy', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["demo", "--loud"]])
def test_a_command_written_wrongly_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_traceback_shows_the_traceback_of_an_expected_error():
    with pytest.raises(ValueError, match="--packages must give at least"):
        cli.main(["--traceback", "demo", "--packages", "nowhere_at_all"])


def test_an_interrupted_command_exits_with_130(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sequence_loader.demo.run.demo", interrupted)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "sequence_loader demo: error: interrupted\n"


def test_a_reader_that_leaves_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "sequence_loader", "demo", "--packages", "nowhere"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HUNG_SECONDS,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


# --- the corpus ------------------------------------------------------------------


def package(folder: Path, name: str, texts: list[str]) -> None:
    """A package of one module with a function for each text."""
    root = folder / name
    root.mkdir(parents=True)
    functions = [f'def f{i}():\n    """{text}"""\n' for i, text in enumerate(texts)]
    (root / "__init__.py").write_text("raise SystemExit('read, not imported')\n")
    (root / "module.py").write_text("\n".join(functions))


@pytest.fixture
def two_packages(tmp_path, monkeypatch) -> list[str]:
    """Two packages with texts of their own, a copy of one and one they share."""
    own = [f"{WORDS} number{i}" for i in range(2 * MIN_TEXTS_PER_PACKAGE)]
    shared = f"{WORDS} shared"
    package(tmp_path, "left_pkg", [*own[::2], own[0], shared, "too short"])
    package(tmp_path, "right_pkg", [*own[1::2], shared])
    monkeypatch.syspath_prepend(tmp_path)
    return own


def test_texts_are_distinct_labelled_and_in_the_order_of_the_sources(two_packages):
    corpus = collect_docstrings(["left_pkg", "right_pkg"], processes=1)
    assert corpus.texts == two_packages[::2] + two_packages[1::2]
    assert corpus.labels == [0] * MIN_TEXTS_PER_PACKAGE + [1] * MIN_TEXTS_PER_PACKAGE
    assert corpus.class_names == ("left_pkg", "right_pkg")
    assert not corpus.left_out


def test_processes_do_not_change_the_corpus(two_packages):
    seen: list[tuple[int, int]] = []
    alone = collect_docstrings(["left_pkg", "right_pkg"], processes=1)
    together = collect_docstrings(
        ["left_pkg", "right_pkg"],
        processes=2,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert together == alone
    assert seen == [(i, 4) for i in range(1, 5)]


def test_a_package_with_few_texts_is_left_out_and_said(two_packages, tmp_path):
    package(tmp_path, "tiny_pkg", [f"{WORDS} tiny"])
    corpus = collect_docstrings(["tiny_pkg", "left_pkg", "json.tool"], processes=1)
    assert corpus.class_names == ("left_pkg",)
    assert set(corpus.labels) == {0}
    assert corpus.left_out["tiny_pkg"].startswith("1 docstrings of 10 words or more")
    assert corpus.left_out["json.tool"].startswith("not installed as a package")


def test_names_that_tell_the_label_are_removed(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(f'"""{WORDS} numpy np.array np_array npm NumPy."""\n')
    (text,) = texts_in(path, re.compile(r"(?<![a-z])(?:numpy|np)(?![a-z])", re.I))
    assert text == f"{WORDS} .array _array npm ."


@pytest.mark.parametrize(
    "source",
    [b"def f(:\n", b"\xff\xfe'''", b"'''" + b"\0" * 9, b"x = " + b"(" * 9000 + b"'''"],
)
def test_sources_that_do_not_parse_give_no_texts(tmp_path, source):
    path = tmp_path / "module.py"
    path.write_bytes(source)
    assert texts_in(path, re.compile("nothing")) == []


# --- the generator of dense batches -------------------------------------------------


def test_the_generator_goes_round_in_order():
    rows = BATCH_SIZE + 5
    x = sp.csr_array(np.arange(rows, dtype=np.float32).reshape(-1, 1))
    batches = dense_batches(x, np.arange(rows))
    for _ in range(2):
        first, last = next(batches), next(batches)
        assert (len(first[1]), len(last[1])) == (BATCH_SIZE, 5)
        served = np.concatenate([first[0], last[0]]).ravel()
        np.testing.assert_array_equal(served, np.arange(rows))


# --- what feeds add --------------------------------------------------------------


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=9))
def test_a_figure_says_where_half_of_the_rounds_lie(rounds):
    figure = Figure.of(rounds)
    assert figure.low <= figure.median <= figure.high
    inside = np.mean([figure.low - 1e-9 <= x <= figure.high + 1e-9 for x in rounds])
    assert inside >= 0.5
    assert figure.is_certain == (figure.median > figure.high - figure.low)


def test_only_figures_above_their_spread_are_compared():
    certain, other, noise = Figure(8, 7, 9), Figure(2, 1.5, 2.5), Figure(1, -1, 3)
    feeds = [("dense", GENERATOR), ("dense", SEQUENCE), ("sparse", SEQUENCE)]
    speeds = Speeds(3, {}, dict(zip(feeds, (certain, other, noise))))
    assert speeds.times_less("dense", SEQUENCE) == 4
    assert speeds.times_less("sparse", SEQUENCE) is None
    assert speeds.times_less("dense", GENERATOR) is None
    unknown = Speeds(3, {}, dict(zip(feeds, (noise, other, other))))
    assert unknown.times_less("dense", SEQUENCE) is None

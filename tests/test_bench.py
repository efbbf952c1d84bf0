"""bench: advice that runs, entropy that is exact, and what interrupts it."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from encoded import samplers
from hypothesis import given
from hypothesis import strategies as st
from store_data import marked
from watching import HUNG_SECONDS, once, running

from sequence_loader import BlockShuffleSampler, StoreWriter
from sequence_loader.bench import entropy, measure, report, training
from sequence_loader.bench.results import Results, choose
from sequence_loader.bench.runs import Feed, Run
from sequence_loader.bench.settings import Setting
from sequence_loader.bench.source import ReopenedStore, drop_pages, in_memory
from sequence_loader.cli.main import main
from sequence_loader.order.plan import BatchPlan

ROWS, FEATURES = 300, 20
KEYS = {
    "version", "complete", "seconds", "store", "machine", "entropy", "axes", "rounds",
    "feeds", "models", "advice", "line", "notes",
}  # fmt: skip
FIGURES = {
    "rows_per_second", "cpu_seconds_per_million_rows", "disk_bytes_per_row", "runs",
}  # fmt: skip
SETTING = {"order", "block_size", "output", "batch_size", "workers", "road"}


@pytest.fixture(autouse=True)
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three settings, the fewest that hold both outputs and both roads, twice each."""
    monkeypatch.setattr(measure, "FINALISTS", 3)
    monkeypatch.setattr(measure, "FEWEST_ROUNDS", 2)
    monkeypatch.setattr(measure, "LEAST_SECONDS", HUNG_SECONDS)  # nothing is cut


def store(path: Path, rows: int = ROWS, y: object = "classes") -> str:
    """A store sorted by class."""
    if isinstance(y, str):
        y = np.arange(rows) * 3 // rows
    with StoreWriter(path, FEATURES) as writer:
        writer.append(marked(rows, FEATURES), y=y)
    return str(path)


def benched(capsys, *arguments: str, code: int = 0) -> dict:
    """What ``bench --json`` has printed."""
    assert main(["bench", *arguments, "--json", "--seconds", "0.1"]) == code
    said = capsys.readouterr()
    assert "warning" not in said.err
    return json.loads(said.out)


def made_by(line: str) -> object:
    """What the lines to paste make, which import what they need."""
    made: dict = {}
    exec(line, made)
    return made["train"]


def test_json_is_complete_and_its_line_runs(tmp_path, capsys, monkeypatch):
    for part in range(2):
        store(tmp_path / f"{part}.store", ROWS // 2, np.arange(2, 302)[part::2] // 101)
    monkeypatch.chdir(tmp_path)
    found = benched(capsys, "*.store")
    monkeypatch.chdir("/")  # where the line runs as well
    assert found.keys() == KEYS
    assert (found["version"], found["complete"]) == (1, True)
    assert found["store"]["rows"] == ROWS and found["store"]["y"] == "int64 (300,)"
    assert found["entropy"]["of"] == "y" and found["entropy"]["tolerance"] == 0.02
    bits = {
        (one["order"], one["batch_size"]): one["bits"]
        for one in found["entropy"]["orders"]
    }
    assert bits["sequential", 64] < 1 < bits["uniform", 64] <= math.log2(3)
    for phase in ("axes", "rounds"):
        assert {one["state"] for one in found[phase]} == {"warm", "cold"}
        for one in found[phase]:
            assert one.keys() == {"state", "setting", *FIGURES}
            assert one["setting"].keys() == SETTING
            rate = one["rows_per_second"]
            assert 0 < rate["low"] <= rate["median"] <= rate["high"]
    assert found["rounds"] and found["models"] == found["feeds"] == []
    values = {key: {one["setting"][key] for one in found["axes"]} for key in SETTING}
    assert values["output"] == {"sparse", "dense"} and len(values["batch_size"]) == 3
    assert values["order"] == {"sequential", "block", "uniform"}
    for advice in found["advice"].values():
        assert advice.keys() == {"setting", "best", "ties", "limit", "line"}
        assert advice["limit"] in ("disk", "gather", "delivery")
        assert advice["setting"]["order"] != "sequential"
        assert sum(len(y) for _, y in made_by(advice["line"])) == ROWS
    assert found["line"] == found["advice"]["warm"]["line"]


def test_tables_and_chart(tmp_path, capsys):
    path, chart = store(tmp_path / "a.store"), tmp_path / "chart.png"
    arguments = ["bench", path, "--seconds", "0.1", "--batch-size", "32"]
    if importlib.util.find_spec("matplotlib"):
        arguments += ["--chart", str(chart)]
    else:
        assert main([*arguments, "--chart", str(chart)]) == 1
        assert 'pip install ".[plot]"' in capsys.readouterr().err
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "warm: the feed alone" in out and "cold: the feed alone" in out
    assert "█" in out and "advised" in out and "what limits is" in out
    imports, line = out.splitlines()[-2:]
    assert imports.startswith("from sequence_loader import ")
    assert f" SparseBatchSequence(open_store({path!r}), batch_size=32, " in line
    assert not chart.exists() or chart.read_bytes().startswith(b"\x89PNG")
    assert chart.exists() == ("--chart" in arguments)


@pytest.mark.parametrize(
    ("rows", "y", "of"),
    [
        (1, [1], "place"),
        (5, None, "place"),
        (200, np.arange(400).reshape(200, 2) // 200, "y"),
    ],
)
def test_stores_of_every_kind(tmp_path, capsys, rows, y, of):
    found = benched(capsys, store(tmp_path / "a.store", rows, y), "--batch-size=64")
    assert found["complete"] and found["entropy"]["of"] == of
    assert made_by(found["line"])


def model(path: Path, features: int = FEATURES, units: int = 3) -> str:
    made = keras.Sequential(
        [keras.Input((features,)), keras.layers.Dense(units, "softmax")]
    )
    made.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    made.save(path)
    return str(path)


def test_with_a_model_fit_is_what_counts(tmp_path, capsys):
    path = store(tmp_path / "a.store")
    saved = model(tmp_path / "m.keras")
    before = Path(saved).read_bytes()
    found = benched(capsys, path, "--model", saved, "--batch-size", "64")
    assert found["complete"] and Path(saved).read_bytes() == before
    assert {one["output"] for one in found["models"]} == {"dense", "sparse"}
    roads = {one["setting"]["road"] for one in found["rounds"]}
    assert roads == {"dataset", "sequence"}
    assert found["feeds"] and found["advice"]["warm"]["limit"] in (
        "gather", "delivery", "model",
    )  # fmt: skip
    # Over the same time, and as often, so that one may be told from the other.
    alone = {(one["state"], one["output"]): one["runs"] for one in found["models"]}
    for one in found["rounds"]:
        assert alone[one["state"], one["setting"]["output"]] == one["runs"]


def test_of_a_slow_model_fewer_settings_take_turns_and_it_is_said(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(measure, "LEAST_SECONDS", 0)  # all is late at once
    path, saved = store(tmp_path / "a.store"), model(tmp_path / "m.keras")
    found = benched(capsys, path, "--model", saved, "--batch-size", "64")
    assert found["complete"]
    for phase in ("axes", "rounds", "feeds", "models"):
        assert [one["state"] for one in found[phase]][:1] == ["warm"]
    [turn], [alone] = found["rounds"], found["models"]  # of cold, none
    assert turn["runs"] == alone["runs"] == 1
    assert turn["setting"]["output"] == alone["output"]
    assert len(found["axes"]) == 2 and made_by(found["line"])
    assert [note[: note.index(";")] for note in found["notes"]] == [
        "time was too short for all values of the axes",
        "time was too short for 3 settings to take turns beside this model: 1 did",
        "time was too short for 2 rounds of turns (made: 1)",
        "time was too short for turns with the store cold",
    ]


def of_logits(**options: object) -> keras.Model:
    made = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("sgd", loss, jit_compile=False, **options)
    return made


@pytest.mark.parametrize("at_once", [1, 3, 20])
def test_steps_are_counted_however_many_are_made_at_once(tmp_path, at_once):
    source = ReopenedStore([store(tmp_path / "a.store")])
    made = of_logits(steps_per_execution=at_once)
    feed = Feed(source, setting(batch_size=16))
    count = len(feed.sequence)  # 19 batches
    for timed in (training.train_for, training.train_alone):
        rows = timed(made, feed, HUNG_SECONDS, source.interrupt).rows
        warm = {1: 4, 3: 6, 20: 0}[at_once]
        assert rows == (count - warm) * 16
        few = timed(made, feed, 0.0, source.interrupt).rows
        assert few == {1: 16, 3: 48, 20: count * 16}[at_once]
    source.close()


@pytest.mark.parametrize("road", ["sequence", "dataset"])
def test_epochs_that_bench_leaves_are_not_warned_of(tmp_path, road):
    source = ReopenedStore([store(tmp_path / "a.store")])
    made = of_logits()
    feed = Feed(source, replace(setting(batch_size=16), road=road))
    for _ in range(4):
        assert training.train_for(made, feed, 0.0, source.interrupt).rows == 16
    source.close()


def test_the_model_alone_is_given_whole_batches_of_all_the_epoch(tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(training, "constant_feed", lambda some, _: held.extend(some))
    monkeypatch.setattr(training, "train", lambda *arguments: None)
    source = ReopenedStore([store(tmp_path / "a.store")])
    order = replace(setting(batch_size=16), order="sequential", output="dense")
    feed = Feed(source, order)
    training.train_alone(None, feed, 1.0, source.interrupt)
    assert [y.shape for _, y in held] == [(16,)] * 8
    assert [int(y[0]) for _, y in held] == [i * 16 * 3 // ROWS for i in
                                            (0, 2, 4, 7, 9, 12, 14, 17)]
    source.close()


def test_a_model_that_does_not_fit_is_refused(tmp_path, capsys):
    path = store(tmp_path / "a.store")
    bare = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(3)])
    bare.save(tmp_path / "bare.keras")
    (tmp_path / "text.keras").write_text("no model")
    two = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(2)])
    two.compile("sgd", keras.losses.CategoricalCrossentropy())
    two.save(tmp_path / "two.keras")
    for name, reason in (
        (model(tmp_path / "wide.keras", 21), "one input of 20 features"),
        (tmp_path / "bare.keras", "Call model.compile"),
        (tmp_path / "text.keras", "that Keras can load"),
        (tmp_path / "none.keras", "there is none"),
        (tmp_path / "two.keras", "cannot be trained on a batch"),
    ):
        assert main(["bench", path, "--model", str(name)]) == 1
        err = capsys.readouterr().err
        assert reason in err and err.count("\n") == 1, err
    unlabelled = store(tmp_path / "b.store", y=None)
    assert main(["bench", unlabelled, "--model", model(tmp_path / "m.keras")]) == 1
    assert "has no y" in capsys.readouterr().err
    assert main(["bench", path, "--seconds", "0"]) == 1
    assert "--seconds must be more than 0" in capsys.readouterr().err
    assert main(["bench", path, "--batch-size", "0"]) == 1
    assert "--batch-size must be" in capsys.readouterr().err


def something_is_measured() -> bool:
    found = running(measure.Bench.run)
    return any(frame.f_locals["self"].results.axes.get("warm") for frame in found)


@pytest.mark.parametrize("form", ["tables", "json"])
def test_ctrl_c_prints_what_there_is(tmp_path, capsys, form):
    path = store(tmp_path / "a.store")
    once(something_is_measured, lambda: os.kill(os.getpid(), signal.SIGINT))
    arguments = ["--json"] if form == "json" else []
    assert main(["bench", path, "--seconds", "60", *arguments]) == 130
    said = capsys.readouterr()
    assert said.err == "sequence_loader bench: error: interrupted\n"
    if form == "json":
        found = json.loads(said.out)
        assert found.keys() == KEYS and not found["complete"]
        assert found["axes"] and found["line"] is None and not found["advice"]
    else:
        assert "warm: the feed alone" in said.out and "Interrupted" in said.out


@pytest.mark.parametrize(
    ("y", "source"),
    [
        (None, "place"),
        (np.arange(200) / 3, "place"),
        (np.zeros(200), "place"),
        (np.arange(200), "place"),
        (np.arange(200.0) // 20, "y"),
        (np.arange(200) % 2 == 0, "y"),
        (np.eye(4, dtype=np.uint8)[np.arange(200) % 4], "y"),
    ],
)
def test_targets_that_are_no_classes_are_replaced_by_places(y, source):
    found = entropy.classes_of(y, 200)
    assert found.source == source and found.codes.shape == (200,)
    assert set(found.codes.tolist()) == set(range(found.size))
    if source == "place":
        assert set(np.bincount(found.codes).tolist()) == {3, 4}


@given(
    st.integers(1, 60),
    st.integers(1, 70),
    samplers(),
    st.sampled_from([1, 2, 5, 100]),
    st.integers(0, 3),
)
def test_entropy_is_that_of_counting_labels(rows, size, sampler, classes, epoch):
    y = np.random.default_rng(rows).integers(0, classes, rows)
    plan = BatchPlan(rows, sampler, min(size, rows))
    found = entropy.classes_of(y, rows)
    same = {code: label for code, label in zip(found.codes.tolist(), y.tolist())}
    if found.source == "y":
        assert [same[code] for code in found.codes.tolist()] == y.tolist()
    expected = []
    for number in range(plan.num_batches):
        labels = found.codes[plan.batch(epoch, number).rows].tolist()
        shares = [count / len(labels) for count in Counter(labels).values()]
        expected.append(-sum(share * math.log2(share) for share in shares))
    bits = entropy.label_entropy(plan, found, epoch)
    assert bits == pytest.approx(np.mean(expected), abs=1e-9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entropy, "DENSE_COUNTS", 7)
        assert entropy.label_entropy(plan, found, epoch) == pytest.approx(bits)


def test_of_long_epochs_batches_at_equal_distances_are_counted(monkeypatch):
    monkeypatch.setattr(entropy, "MOST_ROWS", 500)
    plan = BatchPlan(5000, BlockShuffleSampler(1), 50)
    classes = entropy.classes_of(np.arange(5000) // 500, 5000)
    some = [
        entropy._entropies(plan, classes, np.array([number]), 0)[0]
        for number in (0, 11, 22, 33, 44, 55, 66, 77, 88, 99)
    ]
    assert entropy.label_entropy(plan, classes) == pytest.approx(np.mean(some))


def setting(workers: int = 1, batch_size: int = 64) -> Setting:
    return Setting("uniform", 1, "sparse", batch_size, workers, "dataset")


def test_what_is_within_its_spread_is_a_tie_and_the_simpler_is_advised():
    fast, simple, slow = setting(2), setting(1), setting(1, 32)
    noisy = [100, 104, 98, 101, 99, 103, 97]
    rounds = {fast: noisy, simple: noisy[1:] + noisy[:1], slow: [80] * 7}
    found = choose(rounds)
    assert found.advised == simple and {found.best, *found.ties} == {fast, simple}
    certain = {fast: [100.0] * 7, simple: [98.0] * 7}
    assert choose(certain).advised == fast and not choose(certain).ties


def test_what_limits_is_said_of_fit_as_well():
    """A model that shares its processor with a feed is slower than alone."""
    one, size = setting(), 64

    def limit(fit: float, feed: float, alone: float) -> str | None:
        rates = ([Run(int(rate), 1.0, 1.0, 0)] for rate in (fit, feed, alone))
        fits, feeds, alones = rates
        results = Results([], rounds={"warm": {one: fits}})
        results.feeds["warm"] = {one: feeds}
        results.models["warm"] = {("sparse", size): alones}
        return results.limit("warm", one)

    assert limit(920, 2000, 1000) == "model"
    assert limit(500, 50_000, 1000) == "model"
    assert limit(500, 700, 1000) == "delivery"
    assert limit(500, 700, 500) == "model"


def test_the_chart_names_what_is_advised_and_shows_the_rates_of_the_tables():
    fast, slow = setting(), setting(batch_size=32)
    runs = {
        rates: [Run(rate, 1.0, 1.0, 0) for rate in rates]
        for rates in ((100, 140), (10, 30))
    }
    phase = {"warm": {slow: runs[10, 30], fast: runs[100, 140]}}
    results = Results([], axes=phase, rounds=phase)
    assert report._axis_bars(results, "warm") == [
        (30, 10, 30, slow.name), (140, 100, 140, fast.name)
    ]  # fmt: skip
    assert report._turn_bars(results, "warm") == [
        (120, 110, 130, fast.name + ", advised"), (20, 15, 25, slow.name)
    ]  # fmt: skip
    assert report._turn_bars(results, "cold") == []


def test_what_is_late_makes_runs_shorter(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Feed, "run", lambda self, seconds, **_: asked.append(seconds))
    monkeypatch.setattr(measure, "LEAST_SECONDS", 0)
    bench = measure.Bench([store(tmp_path / "a.store")], seconds=1000)
    bench._advance = lambda count: None
    bench._mixing()
    base = bench._space.base
    bench.results.axes["warm"] = {base: [Run(1, 1.0, 1.0, 0)]}
    for late, share, turns in ((0, 1, measure.ROUNDS), (2000, 0.25, 1)):
        del asked[:]
        bench._began = time.perf_counter() - late
        bench._rounds("warm")
        assert asked and set(asked) == {share * 1000 / bench.steps}
        settings = bench.results.rounds.pop("warm")
        assert len(asked) == turns * len(settings)
    assert "time was too short for 2 rounds" in bench.results.notes[-1]


def test_pages_of_a_store_that_is_closed_are_dropped(tmp_path):
    source = ReopenedStore([store(tmp_path / "a.store", 3000)])
    feed = Feed(source, setting())
    assert in_memory(source.store.paths)
    assert source.reopen(cold=True)
    assert feed.run(60, once=True).rows == 3000
    assert not source.reopen(cold=False)
    source.close()
    assert drop_pages(source.store.paths)


def test_nothing_that_mixes_badly_is_advised():
    bits = {"uniform": 4.21, "block 16": 4.19, "block 64": 3.9, "sequential": 4.21}
    known = {(name, 64): value for name, value in bits.items()}
    results = Results([], entropy=known, tolerance=0.02)
    uniform = setting()
    assert results.mixes(uniform)
    for block, mixes in ((16, True), (64, False), (4, False)):
        order = replace(uniform, order="block", block_size=block)
        assert results.mixes(order) == mixes
    assert not results.mixes(replace(uniform, order="sequential"))
    assert not results.mixes(setting(batch_size=32))  # nobody has counted

"""bench in processes of its own: on every Keras, interrupted, and what it prints."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from store_data import marked
from test_every_keras import environment
from watching import HUNG_SECONDS

from sequence_loader import StoreWriter
from sequence_loader.cli.main import main

ROWS, FEATURES = 240, 12
TORCH = pytest.param("torch", marks=pytest.mark.torch)
MODEL = """
import sys, {keras} as keras
made = keras.Sequential([
    keras.Input(({features},), sparse={sparse}), keras.layers.Dense(3, "softmax")
])
made.compile("adam", "sparse_categorical_crossentropy")
made.save(sys.argv[1])
"""


def env(kind: str, folder: Path) -> dict[str, str]:
    if importlib.util.find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed")
    return environment(kind, "--combinations=some", folder)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "parts" / "a.store"
    path.parent.mkdir()
    with StoreWriter(path, FEATURES) as writer:
        writer.append(marked(ROWS, FEATURES), y=np.arange(ROWS) % 3)
    return path


def saved(folder: Path, kind: str, name: str = "m.keras", sparse: bool = False) -> str:
    """The path of a model that the Keras of that kind has saved."""
    code = MODEL.format(
        keras="tf_keras" if kind == "tf_keras" else "keras",
        features=FEATURES,
        sparse=sparse,
    )
    path = str(folder / name)
    ran = [sys.executable, "-W", "ignore", "-c", code, path]
    subprocess.run(ran, env=env(kind, folder), check=True, timeout=HUNG_SECONDS)
    return path


def bench(kind: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sequence_loader", "bench", *map(str, arguments)],
        env=dict(env(kind, folder), PYTHONPATH=str(Path(__file__).parents[1])),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", ["tensorflow", TORCH, "jax", "tf_keras"])
def test_lines_to_paste_run_in_another_folder(tmp_path, store, kind):
    """On every Keras, with a model; a glob pattern is as absolute as a path."""
    model = saved(tmp_path, kind)
    done = bench(
        kind, tmp_path, "parts/*.store", "--model", model, "--batch-size", 60,
        "--seconds", 0.1, "--json",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["complete"] and found["rounds"]
    kinds = {(one["state"], one["output"]) for one in found["models"]}
    outputs = {(one["state"], one["setting"]["output"]) for one in found["rounds"]}
    assert kinds == outputs  # fit stands nowhere without the model alone
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pasted = found["line"] + "\nsum(len(y) for _, y in train)\nexit()\n"
    python = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=pasted,
        env=dict(env(kind, tmp_path), PYTHONPATH=str(Path(__file__).parents[1])),
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert str(ROWS) in python.stdout.split(), python
    assert "Error" not in python.stderr, python


def test_a_folder_whose_name_would_be_a_pattern(tmp_path, store, monkeypatch):
    from sequence_loader.bench.settings import Setting

    folder = tmp_path / "of [2026]*"
    folder.mkdir()
    (tmp_path / "parts").rename(folder / "parts")
    monkeypatch.chdir(folder)
    setting = Setting("sequential", 1, "dense", 60, 1, "sequence")
    for paths in (["parts/a.store"], ["parts/*.store"], ["parts/a.store"] * 2):
        line = setting.line(paths)
        made: dict = {}
        monkeypatch.chdir(tmp_path)
        exec(line, made)
        monkeypatch.chdir(folder)
        assert made["train"].num_rows == ROWS * len(paths)


@pytest.mark.parametrize("form", ["tables", "json"])
@pytest.mark.parametrize(
    ("module", "name", "gives"),
    [
        ("measure", "load_model", None),
        ("measure", "label_entropy", 1.0),
        ("runner", "read_pages", False),
    ],
)
def test_ctrl_c_before_anything_is_measured(
    store, form, module, name, gives, monkeypatch, capsys
):
    """The same JSON, with empty lists; or one line."""

    def pressed(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return gives

    monkeypatch.setattr(f"sequence_loader.bench.{module}.{name}", pressed)
    options = ["--json"] if form == "json" else []
    if name == "load_model":
        options += ["--model", "m.keras"]
    assert main(["bench", str(store), "--no-progress", *options]) == 130
    out, err = capsys.readouterr()
    assert "interrupted" in err
    if form == "tables":
        assert out == "Interrupted before anything was measured.\n"
        return
    found = json.loads(out)
    assert found["complete"] is False and found["line"] is None
    assert all(found[key] == [] for key in ("axes", "rounds", "feeds", "models"))
    assert found["advice"] == {} and found["version"] == 1
    assert found["store"]["paths"] == [str(store)] and "rows" in found["store"]


def refused(kind: str, folder: Path, store: Path, model: str) -> str:
    done = bench(kind, folder, store, "--model", model, "--json")
    assert done.returncode == 1 and not done.stdout
    [line] = [one for one in done.stderr.splitlines() if "bench: error: " in one]
    return line


@pytest.mark.long
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_model_of_the_other_keras_says_so_and_what_reads_it(tmp_path, store, name):
    """And what it says, followed, reads it."""
    old = saved(tmp_path, "tf_keras", name)
    (tmp_path / "new").mkdir()
    new = saved(tmp_path / "new", "tensorflow", name)
    said = refused("tensorflow", tmp_path, store, old)
    assert "of Keras 2 (tf-keras 2." in said
    assert "set the environment variable TF_USE_LEGACY_KERAS=1." in said
    said = refused("tf_keras", tmp_path, store, new)
    assert "of Keras 3 (3." in said
    assert "unset the environment variable TF_USE_LEGACY_KERAS." in said
    done = bench("tf_keras", tmp_path, store, "--model", old, "--seconds", 0.1)
    assert done.returncode == 0, done.stderr


@pytest.mark.torch
def test_torch_has_no_sparse_input_and_it_says_what_takes_sparse_batches(
    tmp_path, store
):
    sparse = saved(tmp_path, "tensorflow", sparse=True)
    said = refused("torch", tmp_path, store, sparse)
    assert "Keras has no sparse Input on torch" in said
    assert "without sparse=True" in said and "KERAS_BACKEND=tensorflow" in said

"""A script that is killed at random moments and run again until it is done.

Its end is compared, bit by bit, with the one of a script that was left alone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import CHECKPOINTS
from running_jobs import left_out
from watching import HUNG_SECONDS

SCRIPT = Path(__file__).parent / "killed_fit.py"
STEPS = [(epoch, batch) for epoch in range(3) for batch in range(21)]
EVERY = 4
MOMENTS = "bvwrd"

pytestmark = CHECKPOINTS


def run(
    directory: Path, backend: str, kind: tuple[str, str], kill: Any = None
) -> bool:
    """Runs the script; kills it behind the n-th line of a kind, ``(word, n, delay)``.

    Returns:
        Whether it came to its end.
    """
    directory.mkdir(exist_ok=True)
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["JAX_PLATFORMS"] = "cpu"
    with open(directory / "errors", "wb") as errors, subprocess.Popen(
        [sys.executable, str(SCRIPT), str(directory), *kind],
        stdout=subprocess.PIPE, stderr=errors, text=True, env=left_out(environment),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        word, left, delay = kill or ("", 0, 0.0)
        for line in process.stdout:
            left -= line.strip() == word
            if word and not left:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
        code = process.wait(HUNG_SECONDS)
    said = (directory / "errors").read_text()
    assert code in (0, -signal.SIGKILL), said
    assert "Traceback" not in said
    return code == 0


def logged(directory: Path) -> list[tuple[int, int]]:
    lines = (directory / "log").read_text().splitlines()
    return [(int(epoch), int(batch)) for epoch, batch in map(str.split, lines)]


def trained_again(log: list[tuple[int, int]]) -> None:
    """Steps follow one another; where they jump, it is back by what was lost."""
    assert log[0] == STEPS[0] and log[-1] == STEPS[-1]
    for before, after in zip(log, log[1:]):
        jump = STEPS.index(before) + 1 - STEPS.index(after)
        # A save that a kill came before is lost as well; at first there is none.
        assert 0 <= jump <= 2 * EVERY + 1


def same_end(one: Path, other: Path) -> None:
    with np.load(one / "result.npz") as first, np.load(other / "result.npz") as second:
        assert sorted(first.files) == sorted(second.files)
        for name in first.files:
            assert first[name].tobytes() == second[name].tobytes(), name


def killed(
    directory: Path, backend: str, kind: tuple[str, str], kills: list[Any]
) -> None:
    assert run(directory / "whole", backend, kind)
    assert logged(directory / "whole") == STEPS
    ended = False
    for kill in kills:
        ended = run(directory / "killed", backend, kind, kill)
        if ended:  # before its moment came
            break
    assert ended or run(directory / "killed", backend, kind)
    log = logged(directory / "killed")
    if ("d",) not in [kill[:1] for kill in kills]:  # deleted: it is a new run
        trained_again(log)
    same_end(directory / "whole", directory / "killed")


@pytest.mark.long
@pytest.mark.parametrize("kind", [("sparse", "dataset")], ids=" ".join)
def test_killed_in_an_epoch_in_a_save_and_in_validation(tmp_path, kind):
    kills = [("b", 10, 0.001), ("r", 1, 0.0), ("v", 3, 0.0)]
    killed(tmp_path, "tensorflow", kind, kills)


BACKENDS, OUTPUTS, FEEDS = "tensorflow jax", "dense sparse", "sequence dataset"
KINDS = list(product(BACKENDS.split(), OUTPUTS.split(), FEEDS.split()))
ON_TORCH = pytest.param("torch", "sparse", "sequence", marks=pytest.mark.torch)


@pytest.mark.long
@pytest.mark.parametrize(("backend", "output", "fed"), [*KINDS, ON_TORCH])
def test_killed_at_random_moments(tmp_path, backend, output, fed, pytestconfig):
    rng = random.Random(f"{backend} {output} {fed}")
    kills = []
    # Of 4 kinds: 32 on each backend with --long, and 12 without; of one on torch.
    for _ in range(8 if pytestconfig.option.long else 3):
        word = rng.choice("bbbwrvd")
        most = {"b": 20, "v": 6, "w": 3, "r": 3, "d": 1}[word]
        kills.append((word, rng.randint(1, most), rng.random() * 0.004))
    killed(tmp_path, backend, (output, fed), kills)

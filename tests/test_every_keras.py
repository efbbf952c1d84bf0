"""Runs `tests/keras_contract` under every Keras, each in a process of its own.

A process can hold one backend. This one's own is tested where pytest collects
that directory; here are the others.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras

CONTRACT = Path(__file__).parent / "keras_contract"
NEEDS = {"tensorflow": "keras", "jax": "jax", "torch": "torch", "tf_keras": "tf_keras"}
LIMIT_SECONDS = 560
# Tests that say so themselves: they are about another backend.
MOST_SKIPS = 12


@pytest.mark.timeout(LIMIT_SECONDS + 40)
@pytest.mark.parametrize("backend", NEEDS)
def test_keras_contract(backend: str) -> None:
    if backend == ("tf_keras" if uses_legacy_keras() else keras_backend()):
        pytest.skip("it runs in this process")
    if importlib.util.find_spec(NEEDS[backend]) is None:
        pytest.skip(f"{NEEDS[backend]} is not installed")
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    for name in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    if backend == "tf_keras":
        environment["TF_USE_LEGACY_KERAS"] = "1"
    else:
        environment["KERAS_BACKEND"] = backend

    try:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", str(CONTRACT)),
                *("-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            ],
            env=environment,
            cwd=CONTRACT.parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        pytest.fail(f"not done after {LIMIT_SECONDS} s:\n{text}", pytrace=False)

    counts = {
        word: int(number)
        for number, word in re.findall(r"(\d+) (\w+)", run.stdout.splitlines()[-1])
    }
    if (
        run.returncode != 0
        or counts.get("passed", 0) == 0
        or counts.get("skipped", 0) > MOST_SKIPS
    ):
        pytest.fail(f"on {backend}:\n{run.stdout}", pytrace=False)

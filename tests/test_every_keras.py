"""`tests/keras_contract` holds under every Keras.

That of this process is tested where pytest collects that directory. A process can hold
one Keras, so each of the others gets a pytest of its own here.
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

TESTS = Path(__file__).parent
OWN = "tf_keras" if uses_legacy_keras() else keras_backend()
OTHERS = [name for name in ("tensorflow", "jax", "torch", "tf_keras") if name != OWN]
FEWEST = 40  # tests; a third of them all


def environment(backend: str, option: str, folder: Path) -> dict[str, str]:
    """What makes a new process use that Keras."""
    found = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    for variable in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "PYTEST_ADDOPTS"):
        found.pop(variable, None)
    if backend == "tf_keras":
        found["TF_USE_LEGACY_KERAS"] = "1"
    else:
        found["KERAS_BACKEND"] = backend
    if option == "--combinations=some":
        # XLA takes half of the time on JAX, over and over for the same small models.
        found["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
        found["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
        found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        found["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return found


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("backend", OTHERS)
def test_keras_contract(
    backend: str, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    option = f"--combinations={pytestconfig.option.combinations}"
    marked = [] if option.endswith("=all") else ["-m", "not once"]
    if pytestconfig.option.long:
        option = "--long"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", TESTS / "keras_contract"),
            *("-q", option, *marked, "-p", "no:cacheprovider"),
        ],
        env=environment(backend, option, tmp_path),
        cwd=TESTS.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    counts = {
        word: int(number)
        for number, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])
    }
    skips = re.findall(r"^SKIPPED \[\d+\] (\S+: .*)", done.stdout, flags=re.MULTILINE)
    wrong = [skip for skip in skips if ": about " not in skip]  # another Keras
    if done.returncode != 0 or counts.get("passed", 0) < FEWEST or wrong:
        pytest.fail(f"on {backend}:\n{done.stdout}", pytrace=False)

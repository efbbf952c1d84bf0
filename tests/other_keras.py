"""Runs `tests/keras_contract` on the Keras that this process has not, beside it.

A process can hold one Keras. The others are tested while this one goes on with its
own tests, one after the other, so that two cores are busy. They are nobody's children,
since tests look for children that they have left, and they end with this process,
however that ends.
"""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent


def is_about(item: Any) -> bool:
    """Whether a test asks how the others did, and so had better be the last."""
    return bool(item.path.name == "test_every_keras.py")


def installed(name: str) -> bool:
    """Whether there is tensorflow, jax, torch or tf_keras."""
    return importlib.util.find_spec(name) is not None


class OtherKeras:
    """The contract on each Keras named that is installed, from now on.

    Args:
        names: Of tensorflow, jax, torch and tf_keras.
        option: "--long" or "--combinations=...", for pytest.
    """

    def __init__(self, names: list[str], option: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="keras_contract-")
        self._ended: dict[str, int] = {}
        # It reads from a pipe that ends with this process, and writes who is done.
        self._runner = subprocess.Popen(
            [
                *(sys.executable, __file__, self._folder, option),
                *filter(installed, names),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._runner.wait()  # for the process in between

    def result(self, name: str) -> tuple[int, str]:
        """The exit code and what was printed, as soon as that Keras is done."""
        assert self._runner.stdout is not None
        while name not in self._ended:
            line = self._runner.stdout.readline()
            assert line, "whoever runs the contract was killed"
            done, code = line.split()
            self._ended[done] = int(code)
        log = Path(self._folder, f"{name}.log")
        return self._ended[name], log.read_text(errors="replace")

    def close(self) -> None:
        """Ends what still runs."""
        assert self._runner.stdin is not None and self._runner.stdout is not None
        self._runner.stdin.close()
        self._runner.stdout.read()  # to its end, and so to that of the runner
        self._runner.stdout.close()
        shutil.rmtree(self._folder)


def environment(name: str, option: str, folder: str) -> dict[str, str]:
    """What makes a new process use that Keras."""
    found = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    for variable in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "PYTEST_ADDOPTS"):
        found.pop(variable, None)
    if name == "tf_keras":
        found["TF_USE_LEGACY_KERAS"] = "1"
    else:
        found["KERAS_BACKEND"] = name
    if option == "--combinations=few":
        # XLA takes half of the time on JAX, over and over for the same small models.
        found["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
        found["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/compiled"
        found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        found["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return found


def main() -> None:
    folder, option, *names = sys.argv[1:]
    if os.fork():
        os._exit(0)
    for name in names:
        with open(f"{folder}/{name}.log", "wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", TESTS / "keras_contract"),
                    *("-q", option, "-p", "no:cacheprovider"),
                ],
                env=environment(name, option, folder),
                cwd=TESTS.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while process.poll() is None:
            if select.select([sys.stdin], [], [], 0.2)[0]:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return
        print(name, process.returncode, flush=True)


if __name__ == "__main__":
    main()

"""Files that anybody may have written: changed at random, they are refused or read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from watching import HUNG_SECONDS

SCRIPT = Path(__file__).with_name("fuzzed_files.py")


def fuzzed(kind: str, count: int, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, kind, str(count), str(seed)],
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'read'" in done.stdout and "'refused'" in done.stdout


def test_changed_files_are_refused_or_read() -> None:
    fuzzed("all", 60, 1)


@pytest.mark.long
@pytest.mark.parametrize(
    "kind", ["svm", "mtx", "npz", "csv", "jsonl", "manifest", "npy"]
)
def test_many_changed_files_are_refused_or_read(kind: str) -> None:
    fuzzed(kind, 2_000, 2)

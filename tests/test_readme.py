"""Every Python block of the README and of CONTRIBUTING.md runs, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
from keras_contract.real_keras import CHECKPOINTS
from watching import HUNG_SECONDS

from sequence_loader import convert

README = Path(__file__).parent.parent / "README.md"
CONTRIBUTING = README.with_name("CONTRIBUTING.md")


@CHECKPOINTS  # which are in one of them
def test_every_block_runs(tmp_path):
    text = README.read_text() + CONTRIBUTING.read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 5
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
        cwd=tmp_path,  # stores are written where it runs
        env={**os.environ, "PYTHONPATH": str(README.parent)},
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_bags_of_words_and_loom_files(tmp_path, monkeypatch):
    """What the README says in passing of files that `convert` does not read."""
    monkeypatch.chdir(tmp_path)
    text = " ".join(README.read_text().split())
    (command,) = re.findall(r"`(\(echo %%MatrixMarket [^`]*)`", text)
    Path("docword.txt").write_text("3\n4\n5\n1 1 2\n1 4 1\n2 2 7\n3 1 1\n3 3 9\n")
    subprocess.run(command, shell=True, check=True)
    expected = [[2, 0, 0, 1], [0, 7, 0, 0], [1, 0, 9, 0]]
    assert convert("docword.mtx", "words.store")[:].toarray().tolist() == expected
    (blocks,) = re.findall(r'`(\(file\["matrix"\][^`]*)`', text)
    genes = np.arange(2 * 1_500).reshape(2, 1_500)
    with h5py.File("a.loom", "w") as file:
        file["matrix"] = genes
        store = convert(eval(blocks, {"file": file, "cells": 1_500}), "loom.store")
    assert store[:].toarray().tolist() == genes.T.tolist()

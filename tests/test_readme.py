"""Every Python block of the README and of CONTRIBUTING.md runs, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from keras_contract.real_keras import CHECKPOINTS
from watching import HUNG_SECONDS

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

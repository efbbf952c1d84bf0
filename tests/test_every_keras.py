"""`tests/keras_contract` holds under every Keras; see `other_keras`.

That of this process is tested where pytest collects that directory; here are the
others, whose tests have run beside all others so far.
"""

from __future__ import annotations

import re

import pytest
from other_keras import OtherKeras, installed

from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras

OWN = "tf_keras" if uses_legacy_keras() else keras_backend()
OTHERS = [name for name in ("tensorflow", "jax", "torch", "tf_keras") if name != OWN]
FEWEST = 40  # tests; a third of them all


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("backend", OTHERS)
def test_keras_contract(backend: str, others: OtherKeras) -> None:
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    code, said = others.result(backend)
    counts = {
        word: int(number)
        for number, word in re.findall(r"(\d+) (\w+)", said.splitlines()[-1])
    }
    skips = re.findall(r"^SKIPPED \[\d+\] (\S+: .*)", said, flags=re.MULTILINE)
    wrong = [skip for skip in skips if ": about " not in skip]  # another Keras
    if code != 0 or counts.get("passed", 0) < FEWEST or wrong:
        pytest.fail(f"on {backend}:\n{said}", pytrace=False)

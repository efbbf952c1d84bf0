"""Integers that are written in a text stay what they are, or are refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sequence_loader import convert
from sequence_loader.importers.source import SourceError

WRITTEN = {
    "svm": lambda texts: "".join(f"1 1:{text}\n" for text in texts),
    "mtx": lambda texts: (
        f"%%MatrixMarket matrix coordinate real general\n{len(texts)} 1 {len(texts)}\n"
        + "".join(f"{row} 1 {text}\n" for row, text in enumerate(texts, 1))
    ),
}
FORMS = {
    "integer": "{}".format,
    "point": "{}.".format,
    "zeros": "{}.00".format,
    "exponent": "{}e0".format,  # an amount, which may be rounded
}
NUMBERS = st.one_of(
    st.integers(-(2**27), 2**27),
    st.sampled_from([2**24, 2**53]).flatmap(lambda n: st.integers(n - 3, n + 3)),
)


@pytest.mark.parametrize("kind", WRITTEN)
@given(
    written=st.lists(st.tuples(NUMBERS, st.sampled_from([*FORMS])), min_size=1),
    dtype=st.sampled_from([None, "smallest", "float32", "float64"]),
)
@example([(2**24 + 1, "integer")], None)
@example([(2**24 + 1, "zeros"), (7, "integer")], "smallest")
@example([(2**24 + 1, "exponent")], None)
@example([(2**53 + 1, "integer")], "float64")
@example([(-(2**24) - 1, "point"), (2**53 + 1, "exponent")], "float32")
def test_integers_are_kept_or_refused(
    kind: str, written: list[tuple[int, str]], dtype: str | None
) -> None:
    numbers = [number for number, _ in written]
    text = WRITTEN[kind]([FORMS[form](number) for number, form in written])
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, f"a.{kind}"), Path(folder, "a.store")
        path.write_text(text)

        def converted(dtype: str | None) -> np.ndarray:
            return convert(path, target, dtype=dtype, progress=False)[:].toarray()[:, 0]

        def lost(dtype: str) -> bool:
            kept = np.array(numbers, np.float64).astype(dtype).tolist()
            return any(
                form != "exponent" and number != there
                for (number, form), there in zip(written, kept)
            )

        asked = "float64" if dtype == "float64" else "float32"
        if lost(asked):
            with pytest.raises(SourceError, match="is an integer that float") as caught:
                converted(dtype)
            if not lost("float64"):
                assert "Pass dtype='float64', or write it like" in str(caught.value)
            asked = dtype = "float64"
        if lost(asked):
            with pytest.raises(SourceError, match="Count from 0, or write it like 9"):
                converted(dtype)
            return
        found = converted(dtype)
        assert found.tolist() == np.array(numbers, asked).tolist()

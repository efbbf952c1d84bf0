"""Integers that are written in a text, and their sums, stay what they are, or are
refused."""

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
                assert "Pass dtype='float64', or write e0" in str(caught.value)
            asked = dtype = "float64"
        if lost(asked):
            with pytest.raises(SourceError, match="Count from 0, or write e0"):
                converted(dtype)
            return
        found = converted(dtype)
        assert found.tolist() == np.array(numbers, asked).tolist()


REPEATED = {
    "svm": lambda texts: "1 " + " ".join(f"1:{text}" for text in texts) + "\n",
    "mtx": lambda texts: (
        f"%%MatrixMarket matrix coordinate real symmetric\n2 2 {len(texts)}\n"
        + "".join(f"2 1 {text}\n" for text in texts)
    ),
}


def _sum(kind: str, texts: list[str], dtype: str | None) -> float:
    """What a store has where a text repeats an entry."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{kind}")
        path.write_text(REPEATED[kind](texts))
        store = convert(path, Path(folder, "a.store"), dtype=dtype, progress=False)
        return float(store.take([0]).data[0])


@pytest.mark.parametrize("kind", REPEATED)
@given(
    numbers=st.lists(NUMBERS, min_size=1, max_size=5),
    dtype=st.sampled_from([None, "smallest", "float32", "float64", "int64"]),
)
@example([2**24, 1], None)
@example([2**24, 1], "smallest")
@example([2**24, 1], "float64")
@example([2**53, 1], "float64")
@example([2**53, 1, -1], "int64")
@example([2**53, 2**53], "float64")
@example([1, 1, 2**53, 2**53 + 2], "float64")
def test_sums_of_integers_are_kept_or_refused(
    kind: str, numbers: list[int], dtype: str | None
) -> None:
    texts, total = list(map(str, numbers)), sum(numbers)
    asked = dtype if dtype in ("float64", "int64") else "float32"
    if any(int(float(number)) != number for number in numbers):
        return  # refused one by one
    if asked == "float32" and any(int(np.float32(n)) != n for n in numbers):
        return
    if int(np.array(float(total)).astype(asked)) == total:
        assert _sum(kind, texts, dtype) == total
        return
    with pytest.raises(SourceError, match=f"sum {total} is an integer") as caught:
        _sum(kind, texts, dtype)
    message = str(caught.value)
    assert f"write the sum as one entry, {total}e0" in message.lower()
    assert _sum(kind, [f"{total}e0"], dtype) == np.array(float(total)).astype(asked)
    assert ("dtype='float64'" in message) == (float(total) == total)
    if float(total) == total:
        assert _sum(kind, texts, "float64") == total


@pytest.mark.parametrize("kind", REPEATED)
def test_sums_of_amounts_are_rounded(kind: str) -> None:
    for texts in ["16777216.5", "1"], ["1e20", "3e19"], ["nan", "16777216", "1"]:
        total = np.float32(sum(map(float, texts)))
        assert np.array_equal(_sum(kind, texts, None), total, equal_nan=True)


@pytest.mark.parametrize("kind", REPEATED)
@pytest.mark.parametrize("dtype, most", [("float16", 2**11), ("bfloat16", 2**8)])
def test_integers_in_two_bytes(kind: str, dtype: str, most: int) -> None:
    assert _sum(kind, [str(most - 1), "1"], dtype) == most
    for texts in [str(most + 1)], [str(most), "1"]:
        with pytest.raises(SourceError, match=f"integer that {dtype} cannot") as caught:
            _sum(kind, texts, dtype)
        assert "e0" in str(caught.value)
        assert _sum(kind, texts, "float64") == most + 1
    assert _sum(kind, [f"{most + 1}e0"], dtype) == most

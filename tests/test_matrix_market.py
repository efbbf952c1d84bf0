"""MatrixMarket: what scipy reads is read as scipy does, and no number by its half."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from refusals import SCIPY
from store_data import same

from sequence_loader import convert
from sequence_loader.importers.matrix_market_lines import INTEGER, REAL, are_plain

HEAD = "%%MatrixMarket matrix coordinate real general\n"
TOKENS = st.one_of(
    st.from_regex(r"[-+]?[0-9]{1,2}(\.[0-9]{0,2})?([eE][-+]?[0-9])?", fullmatch=True),
    st.text("0123.eE+-nif,", min_size=1, max_size=6),
)


@pytest.mark.parametrize("symmetry", ["symmetric", "skew-symmetric", "hermitian"])
@pytest.mark.parametrize("field", ["real", "integer"])
def test_one_side_of_a_diagonal_alone_is_mirrored(
    symmetry: str, field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where both are there, they would be summed to twice, or to nothing."""
    monkeypatch.setattr("sequence_loader.importers.source.TEXT_BYTES", 8)
    path, head = tmp_path / "a.mtx", f"%%MatrixMarket matrix coordinate {field}"
    back = -1 if "skew" in symmetry else 1
    for entries, expected in (
        ("2 1 5\n3 1 6\n3 3 7\n", [[0, 5, 6], [5, 0, 0], [6, 0, 7]]),
        ("1 2 5\n3 3 7\n1 3 6\n", [[0, 5, 6], [5, 0, 0], [6, 0, 7]]),
    ):
        path.write_text(f"{head} {symmetry}\n3 3 3\n{entries}")
        store = convert(path, tmp_path / "a.store", overwrite=True)
        signs = np.where(np.tri(3, k=-1), 1, back) if entries[0] == "2" else (
            np.where(np.tri(3, k=-1), back, 1)
        )
        signs[2, 2] = 1
        assert store[:].toarray().tolist() == (expected * signs).tolist()
    both = "2 1 5\n3 3 7\n1 2 5\n"
    path.write_text(f"{head} {symmetry}\n3 3 3\n{both}")
    with pytest.raises(ValueError, match="up to line 5, it has entries on both s"):
        convert(path, tmp_path / "b.store")
    path.write_text(f"{head} general\n3 3 3\n{both}")  # the mend
    store = convert(path, tmp_path / "b.store")
    assert store[:].toarray().tolist() == [[0, 5, 0], [5, 0, 0], [0, 0, 7]]


@pytest.mark.parametrize("layout", ["coordinate", "array"])
def test_numbers_beyond_floats_and_exponents_of_fortran(
    layout: str, tmp_path: Path
) -> None:
    path, place, sizes = tmp_path / "a.mtx", ["1 1 ", "2 1 "], "2 1 2"
    if layout == "array":
        place, sizes = ["", ""], "2 1"
    head = f"%%MatrixMarket matrix {layout} real general\n{sizes}\n"
    for number in ("1e400", "-1E999", "1D400"):
        path.write_text(f"{head}{place[0]}inf\n{place[1]}{number}\n")
        with pytest.raises(ValueError, match=f"line 4: '{number}' is beyond float"):
            convert(path, tmp_path / "a.store")
    for one, two, expected in (
        ("1D2", "inf", [100, np.inf]),
        ("-Infinity", "+1d-1", [-np.inf, 0.1]),
        ("1D2", "2.5", [100, 2.5]),
    ):
        path.write_text(f"{head}{place[0]}{one}\n{place[1]}{two}\n")
        store = convert(path, tmp_path / "a.store", dtype="float64", overwrite=True)
        assert store[:].toarray().ravel().tolist() == expected


@given(
    lines=st.lists(st.lists(TOKENS, min_size=1, max_size=4), min_size=1, max_size=4),
    tokens=st.sampled_from([1, 2, 3]),
    integers=st.booleans(),
    blank=st.sampled_from([" ", "\t ", "  "]),
)
def test_plain_lines_are_whole_numbers(
    lines: list[list[str]], tokens: int, integers: bool, blank: str
) -> None:
    text = "".join(f"{blank[1:]}{blank.join(line)}\r\n" for line in lines).encode()
    kinds = [INTEGER] * (tokens - 1) + [INTEGER if integers else REAL]
    right = all(
        len(line) == tokens
        and all(kind.match(each) for kind, each in zip(kinds, line))
        for line in lines
    )
    if are_plain(text, tokens, integers):
        assert right
    elif right:  # left to the slower road, which reads them
        assert re.search(b"[nN]|[iI]", text)


@pytest.mark.parametrize("piece", [1, 1 << 22])
@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("%%", "%") + "2 2 1\n1 2 5\n",
        " " + HEAD + "2 2 1\n1 2 5\n",
        HEAD + "  % c\n\t%\n2 2 1\n1 2 5 % c\n",
        HEAD.replace("general", "hermitian") + "2 2 2\n1 1 5\n2 1 -6.5\n",
        HEAD.replace("real general", "integer hermitian") + "2 2 2\n1 1 5\n2 1 -6\n",
        HEAD.replace("real general", "pattern hermitian") + "2 2 1\n2 1\n",
        HEAD.replace("coordinate real general", "array real hermitian")
        + "2 2\n1\n2\n3\n",
        HEAD + "2 2 3\n1 2 inf\n2 1 -Infinity\n1 1 .5\n",
        HEAD.replace("real", "double") + "2 2 2\n1 2 5.\n 2 2 1e-3 \n",
    ],
)
def test_what_scipy_reads(
    text: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sequence_loader.importers.source.TEXT_BYTES", piece)
    if text[1] != "%" and text[0] == "%" and SCIPY < (1, 12):
        pytest.skip(f"SciPy {scipy.__version__} does not read it")
    expected = sp.csr_array(scipy.io.mmread(io.BytesIO(text.encode())))
    (tmp_path / "a.mtx").write_text(text)
    store = convert(tmp_path / "a.mtx", tmp_path / "a.store", dtype="float64")
    expected.sort_indices()
    assert same(store[:], expected.astype("float64"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (HEAD.replace("real", "float") + "2 2 1\n1 2 5\n", [[0, 5], [0, 0]]),
        ("\ufeff" + HEAD + "2 2 1\n1 2 5\n", [[0, 5], [0, 0]]),
        (HEAD + "2 2 2\n1 2 1D2\n% c\n2 1 -2.5d-1\n", [[0, 100], [-0.25, 0]]),
        (HEAD + "2 2 2\n+1 2 +5e+0\n2 1 +.5\n", [[0, 5], [0.5, 0]]),
        (HEAD.upper() + "2 2 1\n1 2 5\n", [[0, 5], [0, 0]]),
    ],
)
def test_what_scipy_does_not_read_and_says_one_thing(
    text: str, values: list[list[float]], tmp_path: Path
) -> None:
    (tmp_path / "a.mtx").write_text(text)
    store = convert(tmp_path / "a.mtx", tmp_path / "a.store")
    assert store[:].toarray().tolist() == values


@pytest.mark.parametrize("wrong", [0, 1, 40, 98, 99])
@pytest.mark.parametrize("piece", [1, 40, 1 << 22])
def test_the_line_of_the_file_is_named(
    wrong: int, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sequence_loader.importers.source.TEXT_BYTES", piece)
    lines = [HEAD, "% a comment\n", "100 100 100\n", "\n"]
    lines += [f"{i + 1} {i + 1} {i}\n" for i in range(100)]
    lines[4 + wrong] = "1 101 1\n"
    lines.insert(4, "% another\n")
    (tmp_path / "a.mtx").write_text("".join(lines))
    with pytest.raises(ValueError, match=f": line {6 + wrong}: column '101' is out of"):
        convert(tmp_path / "a.mtx", tmp_path / "a.store")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_zero_on_the_other_side_doubles_nothing(sign: int, tmp_path: Path) -> None:
    kind = "symmetric" if sign == 1 else "skew-symmetric"
    head = HEAD.replace("general", kind) + "3 3 3\n2 1 5\n"
    (tmp_path / "a.mtx").write_text(head + "1 2 0\n3 2 7\n")
    found = convert(tmp_path / "a.mtx", tmp_path / "a.store")[:].toarray()
    assert found.tolist() == [[0, sign * 5, 0], [5, 0, sign * 7], [0, 7, 0]]
    (tmp_path / "a.mtx").write_text(head + "1 2 5\n3 2 7\n")
    with pytest.raises(ValueError, match="line 5, it has entries on both sides of th"):
        convert(tmp_path / "a.mtx", tmp_path / "b.store")


def test_the_mend_of_a_pattern_that_has_a_place_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.mtx"
    path.write_text(HEAD.replace("real", "pattern") + "2 2 3\n2 1\n2 1\n1 2\n")
    with pytest.raises(ValueError, match="holds 2.0 .* hold. Pass dtype='float64'"):
        convert(path, tmp_path / "a.store")
    store = convert(path, tmp_path / "a.store", dtype="float64")
    assert store[:].toarray().tolist() == [[0, 1], [2, 0]]


def test_two_signs_are_no_number(tmp_path: Path) -> None:
    (tmp_path / "a.mtx").write_text(HEAD + "2 2 1\n1 2 +-5\n")
    with pytest.raises(ValueError, match=r"line 3: '\+-5' is no number"):
        convert(tmp_path / "a.mtx", tmp_path / "a.store")


def test_the_mend_of_a_complex_matrix(tmp_path: Path) -> None:
    path = tmp_path / "a.mtx"
    scipy.io.mmwrite(path, sp.coo_array(np.array([[1 + 2j, 0], [3, 4j]])))
    with pytest.raises(ValueError, match="again as .* as scipy.io.mmread.path..real"):
        convert(path, tmp_path / "a.store")
    scipy.io.mmwrite(path, scipy.io.mmread(path).real)
    store = convert(path, tmp_path / "a.store")
    assert store[:].toarray().tolist() == [[1, 0], [3, 0]]

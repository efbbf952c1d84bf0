"""Another dtype: floats are rounded, and any other change of a value is refused."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16)
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.values import DoesNotFit, cast, check_fits, wider

INTEGERS = [f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
DTYPES = [np.dtype(name) for name in ("bool", *INTEGERS, *FLOATS)]


def numbers(dtype):
    """Every kind of value of a dtype, and those around each power of two."""
    if dtype.kind == "b":
        return [False, True]
    powers = [s * 2**e + d for e in range(65) for d in (-1, 0, 1) for s in (1, -1, 3)]
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        return [n for n in powers if bounds.min <= n <= bounds.max]
    odd = [0.5, -0.0, 65504, 65519, 65520, 3.39e38, 3.3962e38, 3.4028236e38, 1e300]
    return [*powers, *odd, *(-n for n in odd), math.nan, math.inf, -math.inf]


def holds(value, dtype):
    """What `cast` promises, in exact arithmetic."""
    exact = float(value) if value.dtype.name == "bfloat16" else value.item()
    whole = value.dtype.kind in "biu"
    if dtype.kind in "biu":
        least, most = (0, 1) if dtype.kind == "b" else (
            np.iinfo(dtype).min, np.iinfo(dtype).max
        )
        if not whole and not math.isfinite(exact):
            return False
        return Fraction(exact).denominator == 1 and least <= exact <= most
    with np.errstate(over="ignore"):
        nearest = float(np.array([value]).astype(dtype)[0])
    if whole:
        return math.isfinite(nearest) and Fraction(nearest) == exact
    return math.isfinite(nearest) or not math.isfinite(exact)


@pytest.mark.parametrize("given_as", DTYPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_value_is_kept_or_refused(given_as, dtype):
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore")
        wide = given_as if given_as.kind in "biu" else np.float64
        values = np.array(numbers(given_as), wide).astype(given_as)
    fits = np.array([given_as == dtype or holds(value, dtype) for value in values])
    for value, fit in zip(values, fits):
        if fit:
            continue
        for out in (None, np.empty(2, dtype)):
            with pytest.raises(DoesNotFit) as caught:
                cast(np.array([given_as.type(1), value]), dtype, out)
            assert caught.value.place == 1 and caught.value.dtype == dtype
    kept = values[fits]
    if len(kept):
        found, into = cast(kept, dtype), np.empty(len(kept), dtype)
        assert cast(kept, dtype, into) is into
        for one in (found, into):
            assert one.dtype == dtype
            expected = kept.astype(dtype)
            assert ((one == expected) | (one != one) & (expected != expected)).all()
    if not fits.all():
        with pytest.raises(DoesNotFit) as caught:
            check_fits(values.reshape(-1, 1), dtype)
        assert caught.value.place == int(np.argmin(fits))


@given(
    st.sampled_from(DTYPES[1:9]),
    st.sampled_from(DTYPES),
    st.lists(st.integers(-(2**63), 2**64 - 1), max_size=20),
)
def test_integers_are_exact_whatever_else_is_in_the_array(given_as, dtype, numbers):
    bounds = np.iinfo(given_as)
    own = np.array([n for n in numbers if bounds.min <= n <= bounds.max], given_as)
    if all(given_as == dtype or holds(value, dtype) for value in own):
        found = cast(own, dtype)
        assert [int(n) for n in found] == [int(n) for n in own]
    else:
        with pytest.raises(DoesNotFit):
            cast(own, dtype)


def test_what_has_the_dtype_is_handed_back():
    values = np.ones(3, np.float32)
    assert cast(values, values.dtype) is values
    swapped = cast(values.astype(">f4"), values.dtype)
    assert swapped.dtype.isnative and (swapped == 1).all()


def test_where_a_value_was_found():
    block = CsrRows(np.array([0, 0, 2, 3]), np.array([4, 9, 7]), np.ones(3), 20)

    def told(block, place):
        error = DoesNotFit(300, place, np.dtype("uint8")).named("x", block, "Mend.")
        return str(error), str(error.of_rows(np.array([50, 51, 52])))

    rule = "which uint8 cannot hold. Mend."
    assert told(block, 1) == (
        f"`x` holds 300 in row 1, column 9, {rule}",
        f"`x` holds 300 in row 51, column 9, {rule}",
    )
    found = told(np.ones((3, 2, 2)), 9)[1]
    assert found == f"`x` holds 300 in row 52, column 0, 1, {rule}"
    assert told(np.ones(3), 2)[1] == f"`x` holds 300 in row 52, {rule}"


@pytest.mark.parametrize(
    ("given_as", "dtype", "value", "expected"),
    [
        ("int64", "float32", 2**24 + 1, "float64"),
        ("int64", "float16", 5000, "float64"),
        ("int64", "float32", 2**53 + 1, "int64"),
        ("float64", "float16", 1e5, "float32"),
        ("float64", "float16", 1e300, "float64"),
        ("int32", "int8", 200, "int32"),
    ],
)
def test_a_dtype_that_holds_it(given_as, dtype, value, expected):
    assert wider(np.dtype(given_as), np.dtype(dtype), value) == expected

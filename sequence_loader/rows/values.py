"""Values in another dtype: rounded where both are floats, and otherwise the same.

A float becomes the nearest one of fewer bits, unless that is infinite. Integers are
ids as often as amounts: one that a float would round to its neighbour, or that an
integer of fewer bits would wrap, is refused, as are fractions and NaN for integers.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.rows.csr import HALF, CsrRows


class DoesNotFit(ValueError):
    """A value that a dtype cannot hold: what, and where.

    It is raised where values are, and told where it is known what they are called:
    `named` and `of_rows` say more, and return it.

    Args:
        value: The value.
        place: Its place in the flat array it was found in.
        dtype: What cannot hold it.
    """

    def __init__(self, value: Any, place: int, dtype: np.dtype[Any]) -> None:
        super().__init__(value, place, dtype)
        self.value, self.place, self.dtype = value, place, dtype
        self._name, self._column = "values", ""
        self._row: int | None = None
        self._rule, self._mend = f"which {dtype} cannot hold", ""

    def named(
        self, name: str, block: CsrRows | Array, mend: str, rule: str = ""
    ) -> DoesNotFit:
        """Says what holds it.

        Args:
            name: What the user calls it.
            block: The rows whose values were looked at.
            mend: What to do, a sentence.
            rule: Why it must fit, where that is not the dtype that was asked for.
        """
        row, column = position(block, self.place)
        self._name, self._row, self._mend = name, row, mend
        self._column = "" if column is None else f", column {column}"
        self._rule = rule or self._rule
        return self

    def of_rows(self, rows: Array) -> DoesNotFit:
        """Says which rows of the user's those are, in which it was found."""
        if self._row is not None:
            self._row = int(rows[self._row])
        return self

    def __str__(self) -> str:
        where = "" if self._row is None else f" in row {self._row}{self._column}"
        mend = self._mend or "Use a wider dtype."
        value = str(self.value)
        value = value if len(value) <= 40 else f"{value[:37]}..."
        return f"`{self._name}` holds {value}{where}, {self._rule}. {mend}"


def position(block: CsrRows | Array, place: int) -> tuple[int, str | None]:
    """The row of a value, and its column or columns, if there are several."""
    if isinstance(block, CsrRows):
        row = int(np.searchsorted(block.indptr, place, side="right")) - 1
        return row, str(block.indices[place])
    row, *column = map(int, np.unravel_index(place, block.shape))
    return row, ", ".join(map(str, column)) or None


def cast(values: Array, dtype: np.dtype[Any], out: Array | None = None) -> Array:
    """Values as another dtype.

    Args:
        values: Array of booleans or real numbers, of any shape.
        dtype: What to make of them.
        out: Array of that shape and dtype to write them to.

    Returns:
        `out`, a new array, or `values` themselves where there is nothing to do.

    Raises:
        DoesNotFit: The dtype cannot hold one.
    """
    if out is None and values.dtype == dtype:
        return values
    how = _how(values.dtype, dtype)
    if how == "round":
        try:
            # The processor notes an overflow: that costs no pass of its own.
            with np.errstate(over="raise"):
                return _copied(values, dtype, out)
        except FloatingPointError:
            pass  # `check_fits` finds it
    if how != "copy":
        check_fits(values, dtype)
    return _copied(values, dtype, out)


@functools.lru_cache(maxsize=256)
def _how(given: np.dtype[Any], dtype: np.dtype[Any]) -> str:
    if holds_all(given, dtype):
        return "copy"
    floats = not _is_integer(given) and not _is_integer(dtype)
    # bfloat16 is of another package, which does not tell of an overflow.
    told = "bfloat16" not in (given.name, dtype.name)
    return "round" if floats and told else "check"


def floating(weights: Array) -> Array:
    """Weights as a floating array; raises DoesNotFit where an integer is rounded."""
    if weights.dtype.kind == "f":
        return weights
    try:
        return cast(weights, np.dtype(np.float32))
    except DoesNotFit as error:
        raise error.named("sample_weight", weights, "Pass float64 weights.") from None


def check_fits(values: Array, dtype: np.dtype[Any]) -> None:
    """Raises DoesNotFit where `cast` would; in one or two passes over the values."""
    if holds_all(values.dtype, dtype) or _are_small(values, dtype):
        return
    wrong = ~_fit(values, dtype)
    if wrong.any():
        place = int(wrong.argmax())
        raise DoesNotFit(values.flat[place], place, dtype)


@functools.lru_cache(maxsize=256)
def holds_all(given: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` holds every value of another exactly."""
    if given == dtype or given.kind == "b":
        return True
    if dtype.kind == "b":
        return False
    if given.kind in "iu" and dtype.kind in "iu":
        return np.can_cast(given, dtype)
    if given.kind in "iu":  # NumPy calls int64 to float64 safe
        return given.itemsize * 8 - (given.kind == "i") <= precision(dtype)
    return not _is_integer(dtype) and (
        precision(given) <= precision(dtype) and _range(given) <= _range(dtype)
    )


def wider(given: np.dtype[Any], dtype: np.dtype[Any], value: Any) -> str | None:
    """A dtype that holds what `dtype` does not, for an error message; `None` if only
    a longdouble does, which nothing else takes."""
    # Other integers may need more bits than this one.
    for name in ("float64",) if _is_integer(given) else ("float32", "float64"):
        other = np.dtype(name)
        if not _is_integer(dtype) and precision(other) > precision(dtype):
            if bool(_fit(np.array([value], given), other)[0]):
                return name
    return None if is_long(given) else given.name


def is_long(dtype: np.dtype[Any]) -> bool:
    """Whether it is of floats of more bits than float64, which no engine takes."""
    return dtype.kind == "f" and dtype.itemsize > 8


SCALE_DOWN = "Pass smaller numbers, scaled so that float64 holds them"
"""The mend where `wider` has none."""


def _copied(values: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    if out is None:
        return values.astype(dtype)
    np.copyto(out, values, casting="unsafe")
    return out


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biu"


def precision(dtype: np.dtype[Any]) -> int:
    """Bits of a whole number that a float holds exactly."""
    return 8 if dtype.name == "bfloat16" else np.finfo(dtype).nmant + 1


def _range(dtype: np.dtype[Any]) -> int:
    """The power of two that a float does not reach."""
    return 128 if dtype.name == "bfloat16" else np.finfo(dtype).maxexp


def _are_small(values: Array, dtype: np.dtype[Any]) -> bool:
    """Whether all are integers that fit, which their least and largest tell."""
    if values.dtype.kind not in "iu" or values.size == 0:
        return values.size == 0
    low, high = _whole_numbers(dtype)
    # All bits together are no less than the largest; negative, if one of them is.
    if 0 <= int(np.bitwise_or.reduce(values, axis=None)) <= high:
        return True
    return low <= int(values.min()) and int(values.max()) <= high


@functools.cache
def _whole_numbers(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Between which bounds `dtype` holds every whole number."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        return int(bounds.min), int(bounds.max)
    return -(1 << precision(dtype)), 1 << precision(dtype)


def _fit(values: Array, dtype: np.dtype[Any]) -> Any:
    """bool array of the shape of `values`: which of them `cast` may take."""
    if dtype.kind == "b":
        return (values == 0) | (values == 1)
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if _is_integer(values.dtype):
            # Of their own type: what is compared must not be rounded first.
            own = np.iinfo(values.dtype)
            least, most = max(own.min, bounds.min), min(own.max, bounds.max)
            return (values >= least) & (values <= most)
        wide = values.astype(np.result_type(np.float64, _plain(values.dtype)))
        inside = (wide >= float(bounds.min)) & (wide < float(bounds.max) + 1)
        return inside & (np.trunc(wide) == wide)
    with np.errstate(over="ignore"):
        finite = np.isfinite(values.astype(dtype))
    if values.dtype.kind not in "iu":
        return finite | ~np.isfinite(values)
    # A float holds an integer whose bits, from the highest to the lowest that is
    # set, are no more than its own.
    size = values.astype(np.uint64)
    size = np.where(values < 0, ~size + np.uint64(1), size)
    lowest = size & (~size + np.uint64(1))
    return finite & ((size == 0) | (size >> np.uint64(precision(dtype)) < lowest))


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype.name in HALF else dtype

"""The dtype to serve each input as: what is asked for, and what if it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.batches.structures import (
    Structure,
    described,
    map_structure,
    same_shape,
)
from sequence_loader.checks import check_real, is_floating, shown
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.values import SCALE_DOWN, DoesNotFit, is_long, wider


def mend_for(
    block: CsrRows | Array,
    error: DoesNotFit,
    held_as: Callable[[np.dtype[Any]], np.dtype[Any]],
) -> str:
    """What to do about a value that the dtype to serve cannot hold, a sentence.

    Args:
        block: The values.
        error: Which one.
        held_as: See `Assembler`.
    """
    values = block.data if isinstance(block, CsrRows) else block
    given, dtype = values.dtype.newbyteorder("="), error.dtype
    other = wider(given, dtype, error.value)
    mend = SCALE_DOWN if other is None else f"Pass dtype={other!r} for this input"
    if other is not None and held_as(np.dtype(other)) != other:
        mend += " and set jax_enable_x64 before anything is imported"
    if dtype.kind == "b":
        mend = "Convert it yourself: x != 0 is what it is in NumPy"
    elif given.kind == "f" and dtype.kind in "iu":
        mend = "Convert it yourself, with np.rint say, or pass dtype='float32'"
    elif given.kind in "iu" and dtype.kind == "f":
        mend += ", or convert it to floats first, where it is an amount"
    return f"{mend}."


def checked_dtypes(dtype: Structure, inputs: Structure) -> Structure:
    """A dtype, or `None`, for each input.

    Args:
        dtype: One of them for all inputs, or a structure like `inputs`.
        inputs: What the user calls each input.

    Raises:
        TypeError: One is no dtype of real numbers.
        ValueError: It is another structure.
    """
    if isinstance(inputs, tuple) and isinstance(dtype, list):
        dtype = tuple(dtype)
    if not isinstance(dtype, dict | tuple):
        whole = None if dtype is None else checked_dtype(dtype)
        return map_structure(lambda _: whole, inputs)
    if not same_shape(inputs, dtype):
        raise ValueError(
            f"`dtype` must be one dtype, or have the structure of `x`, "
            f"{described(inputs)}; received {described(dtype)}. Pass one dtype (or "
            f"None) for each input."
        )
    return map_structure(
        lambda each, _: None if each is None else checked_dtype(each), dtype, inputs
    )


def whole_numbers(
    dtype: Structure,
    inputs: Structure,
    floats: np.dtype[Any],
    held_as: Callable[[np.dtype[Any]], np.dtype[Any]],
) -> Structure:
    """What the integers of each input must fit where they become floats beside others.

    Args:
        dtype: As for `checked_dtypes`, which raises.
        inputs: What the user calls each input.
        floats: What floats are served as where no dtype is asked for.
        held_as: See `Assembler`.
    """

    def whole(asked: np.dtype[Any] | None) -> np.dtype[Any]:
        asked = floats if asked is None else asked
        return held_as(asked) if is_floating(asked) else np.dtype(np.float64)

    return map_structure(whole, checked_dtypes(dtype, inputs))


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """A dtype of real numbers, in the byte order of the machine."""
    try:
        found = np.dtype(dtype)
        check_real("dtype", found)
    except TypeError:
        raise TypeError(
            f"`dtype` must name a NumPy dtype of real numbers; received "
            f"{shown(dtype)}. Pass for example dtype='float32'."
        ) from None
    if is_long(found):
        raise TypeError(
            f"`dtype` must be one that Keras has, of 64 bits at most; received "
            f"{shown(dtype)}. Pass for example dtype='float64'."
        )
    native: np.dtype[Any] = found.newbyteorder("=")  # no backend takes the other
    return native

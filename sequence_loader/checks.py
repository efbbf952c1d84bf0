"""Checks of arguments: an error names the argument, the rule, the value, the mend."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array

ABSENT = frozenset(" nan NaN NA <NA> N/A n/a #N/A null NULL None".split(" "))
"""Text that says that there is no label, unless `class_names` holds it: what NumPy,
pandas, R, SQL, Excel and Python write in its place."""


def integer(
    name: str, value: object, *, minimum: int, maximum: int | None = None
) -> int:
    """Returns `value` as an int if it is one and within the bounds.

    Args:
        name: The argument, as the user wrote it.
        value: What was given. NumPy integers are integers; booleans are not.
        minimum: The least value allowed.
        maximum: The largest value allowed, if there is one.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is out of bounds.
    """
    bounds = f"at least {minimum}" if maximum is None else f"in [{minimum}, {maximum}]"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"{argument(name)} must be an integer, {bounds}; received {shown(value)} "
            f"of type {type(value).__name__}. Pass an int, for example "
            f"{argument(name, minimum)}."
        )
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        raise ValueError(
            f"{argument(name)} must be {bounds}; received {value}. "
            f"Pass an int in that range, for example {argument(name, minimum)}."
        )
    return number


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Returns `value` if it is one of the choices, raises ValueError otherwise."""
    for choice in choices:
        if value is choice or (isinstance(value, str) and value == choice):
            return choice
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(
        f"{argument(name)} must be one of {listed}; received {shown(value)}. "
        f"Pass one of those values."
    )


def shown(value: object, limit: int = 80) -> str:
    """A `repr` short enough for one line of an error."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def check_not_empty(name: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError where there are no rows or no features."""
    if 0 in shape or not shape:
        missing = "rows" if not shape or shape[0] == 0 else "features"
        raise ValueError(
            f"`{name}` must have at least one row and one feature; received shape "
            f"{tuple(shape)}, which has no {missing}. Check how it was loaded."
        )


def check_unmasked(name: str, value: Any) -> None:
    """Raises TypeError for a masked array."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"`{name}` must not be a masked array, whose mask would be lost; received "
            f"one of shape {value.shape}. Pass for example {name}.filled(0)."
        )


def check_ordered(name: str, value: Any) -> None:
    """Raises TypeError for a set: each process that is started has another order."""
    if isinstance(value, set | frozenset):
        raise TypeError(
            f"{argument(name)} must have an order; received {shown(value)}, a set, "
            f"which has another in each process. Pass a list, such as sorted({name})."
        )


def as_numpy(name: str, value: Any) -> Array:
    """An array of what is array-like; raises TypeError of what NumPy makes none.

    Some types of pandas, polars and pyarrow raise errors of their own.
    """
    try:
        return np.asarray(value)
    except ValueError:  # of rows of several lengths
        return np.empty((0, 0))
    except Exception as error:
        lists = "to_pylist" if hasattr(value, "to_pylist") else "to_list"
        raise TypeError(
            f"`{name}` must be an array, or what NumPy makes one of; received a "
            f"{type(value).__name__}: {shown(error)}. Pass np.array({name}.{lists}())."
        ) from error


def check_real(name: str, dtype: np.dtype[Any]) -> None:
    """Raises TypeError unless values of `dtype` are booleans or real numbers."""
    if not is_real(dtype):
        mend = {
            "c": f"np.real({name})",
            "M": f"(np.asarray({name}) - np.datetime64(0, 's')) / "
            f"np.timedelta64(1, 'D')",
            "m": f"np.asarray({name}) / np.timedelta64(1, 's')",
            "V": f"np.stack([{name}[each] for each in {name}.dtype.names], -1)"
            if dtype.names
            else f"{name}.view('float32'), of the type that it has"
            if dtype.isbuiltin != 2
            else f"{name}.astype('float32')",
        }.get(dtype.kind, f"{name}.astype('float32')")
        raise TypeError(
            f"`{name}` must hold real numbers; received dtype {dtype}. Convert it, for "
            f"example with {mend}."
        )


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether values of a dtype are booleans or real numbers."""
    # "V" is how NumPy sees ml_dtypes' bfloat16, which Keras brings. Of its other types
    # (`isbuiltin` is 2), some say that they are floats: no rule here holds for them.
    own = dtype.kind in "biuf" and dtype.isbuiltin != 2
    return own or dtype.name == "bfloat16"


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether values may be NaN: those of bfloat16, which NumPy calls void, too."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def absolute_path(name: str, path: Any, example: str = "train.store") -> Path:
    """A path as an absolute one; raises TypeError of what is none.

    Args:
        name: The argument that it came in.
        path: Text, or what Python's functions take for it.
        example: A path for it.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(
            f"{argument(name)} must be a path, as text or a pathlib.Path; received "
            f"{shown(path)} of type {type(path).__name__}. Pass for example "
            f"{argument(name, example)}."
        )
    return Path(os.path.abspath(text))


def found_paths(paths: Any, what: str, example: str) -> list[str]:
    """The absolute paths that `paths` means: one, those of a pattern, or several.

    Args:
        paths: A path, a glob pattern, or a sequence of paths. Those of a pattern
            follow their names, with the numbers in them counted.
        what: What is at a path, in a word.
        example: A path of such a thing.

    Raises:
        FileNotFoundError: Nothing matches a pattern.
        TypeError: It is none of those.
        ValueError: It is an empty sequence.
    """
    if isinstance(paths, str | os.PathLike):
        text = os.fspath(paths)
        found = [text]
        if not os.path.lexists(text) and glob.has_magic(text):
            found = sorted(glob.glob(text), key=_counted)
        if not found:
            raise FileNotFoundError(
                f"{argument('paths')} must name at least one {what}; nothing matches "
                f"{text}. Check the pattern."
            )
    else:
        check_ordered("paths", paths)
        given = list(paths) if isinstance(paths, Iterable) else [paths]
        if not all(isinstance(path, str | os.PathLike) for path in given):
            raise TypeError(
                f"{argument('paths')} must be a path, a pattern, or a sequence of "
                f"paths; received {shown(paths)}. Pass for example {example!r}."
            )
        found = [os.fspath(path) for path in given]
        if not found:
            raise ValueError(
                f"{argument('paths')} must name at least one {what}; received an empty "
                f"sequence. Pass the path of a {what}."
            )
    return list(map(os.path.abspath, found))


def _counted(name: str) -> tuple[list[Any], str]:
    """What a name is sorted by, so that ``part-10`` comes after ``part-2``."""
    pieces: list[Any] = re.split("([0-9]+)", name)
    pieces[1::2] = map(int, pieces[1::2])
    return pieces, name

"""Whether a checkpoint is of the `fit` that is about to begin."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

FORMAT = 2

_AROUND_CHARACTERS = 60


def check_format(path: Path, header: Mapping[str, Any]) -> None:
    """Raises ValueError where another version wrote a checkpoint."""
    if header.get("format") != FORMAT:
        raise ValueError(
            f"`path` must hold checkpoints of format {FORMAT}; {path} has one of "
            f"format {header.get('format')}. Delete it, or use the version of "
            f"sequence_loader that wrote it."
        )


def check_same(
    path: Path,
    what: str,
    there: Mapping[Any, Any] | list[Any],
    here: Mapping[Any, Any] | list[Any],
) -> None:
    """Raises ValueError where two descriptions differ; prints both sides.

    Args:
        path: Where the checkpoint is.
        what: What is described.
        there: By the checkpoint: a value for each name, or a list of values.
        here: By this `fit`.
    """
    there, here = (
        dict(enumerate(side)) if isinstance(side, list) else side
        for side in (there, here)
    )
    differing = []
    for name in [*there, *(name for name in here if name not in there)]:
        one, other = (str(side.get(name, "missing")) for side in (there, here))
        if one != other:
            one, other = _around_difference(one, other)
            differing.append(f"  {name}: {one} in the checkpoint, {other} here")
    if differing:
        more = f"\n  (and {len(differing) - 5} more)" if len(differing) > 5 else ""
        raise ValueError(
            f"the checkpoint in {path} must be of this `fit`; it differs in its "
            f"{what}:\n"
            + "\n".join(differing[:5])
            + f"{more}\nRun the script that it was made with, pass another path, or "
            f"delete the checkpoint to train from the start."
        )


def _around_difference(one: str, other: str) -> tuple[str, str]:
    """What two long texts are like where they begin to differ."""
    pairs = zip_longest(one, other)
    first = next(place for place, (a, b) in enumerate(pairs) if a != b)
    start = max(0, first - _AROUND_CHARACTERS // 2)
    return tuple(  # type: ignore[return-value]
        f"{'...' * (start > 0)}{text[start : first + _AROUND_CHARACTERS]}"
        f"{'...' * (len(text) > first + _AROUND_CHARACTERS)}"
        for text in (one, other)
    )

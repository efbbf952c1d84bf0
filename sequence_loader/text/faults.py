"""What is wrong with files: columns, and records, which are raised or counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import shown

REMEMBERED = 10
SHOWN = 3
"""How many faults are kept in words, and how many of those said; all are counted."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with one record.

    Attributes:
        kind: What it is counted as: ``"no label"``.
        reason: What the user is told of this one: ``"5 fields, not 3"``.
        mend: What else than mending the line helps, or nothing.
    """

    kind: str
    reason: str
    mend: str = ""


EMPTY = Fault("empty", "an empty record")
NUL = Fault("with a NUL", "a NUL character, which no text holds")


class Faults:
    """What is wrong with the files of one source.

    Args:
        skip: Whether faulty records are left out, rather than raised.

    Attributes:
        counts: How many of each kind were left out.
        first: The first of them, in words.
    """

    def __init__(self, skip: bool) -> None:
        self._skip = skip
        self.counts: Counter[str] = Counter()
        self.first: list[str] = []

    def add(self, path: str, line: int, count: int, fault: Fault) -> None:
        """Counts a fault.

        Args:
            path: The file.
            line: The line on which the record starts, counted from 1.
            count: How many lines it takes.
            fault: What is wrong.

        Raises:
            ValueError: Faults are not skipped.
        """
        where = f"{path}, line {line}: {fault.reason}"
        if count > 1:
            where += f" ({count:,} lines)"
        if not self._skip:
            mend = f"{fault.mend}. O" if fault.mend else "Mend the line, o"
            raise ValueError(
                f"{where}. {mend}r pass {argument('on_error', 'skip')}, which leaves "
                f"such records out and counts them."
            )
        self.counts[fault.kind] += 1
        if len(self.first) < REMEMBERED:
            self.first.append(where)

    @property
    def total(self) -> int:
        """How many records were left out."""
        return self.counts.total()

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        more = "; ..." if self.total > SHOWN else ""
        first = "; ".join(self.first[:SHOWN])
        return f"{self.total:,} skipped ({kinds}): {first}{more}"


class ColumnsError(ValueError):
    """A column that is asked for is not in a file.

    Args:
        message: What is said of it.
        name: The argument that asks: ``"label_column"`` or ``"text_columns"``.
        path: The file.
        names: How its columns are called, or how many there are.
    """

    def __init__(
        self, message: str, name: str, path: str, names: Sequence[str] | int
    ) -> None:
        super().__init__(message)
        self.name, self.path, self._names = name, path, names
        self.count = names if isinstance(names, int) else len(names)
        self.found = (
            f"{names} column{'s' * (names != 1)}, counted from 0"
            if isinstance(names, int)
            else f"the columns {shown(tuple(names))}"
        )

    def lacks(self, columns: Any) -> bool:
        """Whether the file has not all of some columns: one, several, or `None`."""
        each = columns if isinstance(columns, list | tuple) else [columns]
        named = [] if isinstance(self._names, int) else list(self._names)
        return any(
            named.count(column) != 1
            if isinstance(column, str)
            else column is not None and not -self.count <= column < self.count
            for column in each
        )

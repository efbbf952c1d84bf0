"""A progress bar where somebody is looking, and nothing where nobody is."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class ProgressBar:
    """A rich progress bar on standard error; silent unless that is a terminal.

    Args:
        what: What is under way, in a word.
        total: How much there is, or `None` if nobody knows.
        unit: ``"bytes"``, or what is counted.
        shown: Whether to show it at all.
    """

    def __init__(
        self, what: str, total: int | None, unit: str, *, shown: bool = True
    ) -> None:
        self._bar: Any = None
        # Without a console, or with standard error closed, there is none.
        if not shown or sys.stderr is None or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        amounts = (
            [DownloadColumn(), TransferSpeedColumn()]
            if unit == "bytes"
            else [MofNCompleteColumn(), TextColumn(unit)]
        )
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *amounts,
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(what, total=total)

    def advance(self, count: int) -> None:
        """So much more is done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def __enter__(self) -> ProgressBar:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

"""A progress bar where somebody is looking, and nothing where nobody is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called with how much more is done."""


@contextmanager
def progress_bar(
    what: str, total: int | None, unit: str, *, shown: bool = True
) -> Iterator[Advance]:
    """A rich progress bar on standard error; silent unless that is a terminal.

    Args:
        what: What is under way, in a word.
        total: How much there is, or `None` if nobody knows.
        unit: ``"bytes"``, or what is counted; ``""`` where nothing is, and the bar
            only says that work goes on.
        shown: Whether to show it at all.
    """
    # Without a console, or with standard error closed, there is none.
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    amounts: list[progress.ProgressColumn]
    amounts = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    if unit != "bytes":
        amounts = [progress.MofNCompleteColumn(), progress.TextColumn(unit), Rate()]
    if not unit:
        amounts = [progress.TimeElapsedColumn()]
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *amounts,
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)

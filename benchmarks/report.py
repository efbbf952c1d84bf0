"""Figures of `compare.py` as tables and as a chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from timing import times

ROADS = {
    "loop": "read by a loop in Python",
    "drained": "drained inside the graph",
    "fit": "trained from with fit",
}
OTHERS = {
    "pause": ("longest pause between epochs of fit", "ms"),
    "memory": ("peak memory of fit", "MB"),
}
COLOURS = {"naive Sequence": "#b0b0b0", "TFRecord, shuffle(10000)": "#d9a441"}
OURS, FLOOR = "#2f6f9f", "#dddddd"


def show(
    title: str, figures: Mapping[str, Mapping[str, Any]], naive: str, floor: str
) -> None:
    """Prints a table for each road.

    Args:
        title: The setting.
        figures: Thousand rows/s by road, feed and round; milliseconds by feed under
            ``pause``, MB under ``memory``.
        naive: The feed that the others are compared with.
        floor: The feed that is no loader.
    """
    console = Console(width=100)
    for road, heading in ROADS.items():
        speeds = figures[road]
        table = Table(title=f"{title}, {heading}", title_justify="left")
        table.add_column("feed")
        for column in ("thousand rows/s", "over naive", "over the floor"):
            table.add_column(column, justify="right")
        for name in sorted(speeds, key=lambda name: median(speeds[name])):
            table.add_row(
                f"floor: {name}" if name == floor else name,
                f"{median(speeds[name]):.1f}",
                f"{times(speeds[name], speeds[naive]):.2f}",
                f"{times(speeds[name], speeds[floor]):.2f}",
            )
        console.print(table)
    for road, (heading, unit) in OTHERS.items():
        if road not in figures:
            continue
        table = Table(title=f"{title}, {heading}", title_justify="left")
        table.add_column("feed")
        table.add_column(unit, justify="right")
        for name, figure in figures[road].items():
            table.add_row(name, f"{figure:.0f}")
        console.print(table)


def write_chart(
    path: Path,
    results: Mapping[str, Mapping[str, Mapping[str, Any]]],
    naive: str,
    floor: str,
) -> None:
    """Draws drained and trained speeds, one row of panels for each setting.

    Raises:
        ImportError: matplotlib, of the extra ``plot``, is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "the chart needs matplotlib, which is not installed. Install the extra: "
            'pip install "sequence_loader[plot]"'
        ) from error
    shown = ("drained", "fit")
    figure, panels = pyplot.subplots(
        len(results),
        len(shown),
        figsize=(11, 1.9 * len(results) + 0.6),
        squeeze=False,
        layout="constrained",
    )
    for row, (title, figures) in zip(panels, results.items()):
        for panel, road in zip(row, shown):
            _draw(panel, figures[road], naive, floor)
            panel.set_title(f"{title}: {ROADS[road]}", fontsize=9, loc="left")
    figure.supxlabel("thousand rows/s (and times the naive Sequence)", fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(
    panel: Any, rounds: Mapping[str, list[float]], naive: str, floor: str
) -> None:
    speeds = {name: median(found) for name, found in rounds.items()}
    names = sorted(speeds, key=lambda name: speeds[name])
    for place, name in enumerate(names):
        speed = speeds[name]
        colour = COLOURS.get(name, OURS if name.startswith("ours") else FLOOR)
        panel.barh(place, speed, color=colour)
        note = f" {speed:.0f}" if speed >= 10 else f" {speed:.1f}"
        if name != naive:
            note += f"  ({times(rounds[name], rounds[naive]):.1f}x)"
        panel.text(speed, place, note, va="center", fontsize=8)
    panel.set_yticks(
        range(len(names)),
        [f"no loader: {name}" if name == floor else name for name in names],
        fontsize=8,
    )
    panel.tick_params(axis="x", labelsize=8)
    panel.set_xlim(0, 1.3 * max(speeds.values()))
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)

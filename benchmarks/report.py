"""Figures of `compare.py` as tables and as a chart."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROADS = {
    "loop": "read by a loop in Python",
    "drained": "drained inside the graph",
    "fit": "trained from with fit",
}
FLOORS = {
    "loop": "moving the bytes",
    "drained": "one batch, by a Sequence",
    "fit": "one batch, no loader",
}
"""What the floor of a road is. A dataset does without the adapter that a Sequence is
drained through, and may be faster than the floor."""
OTHERS = {
    "pause": ("longest pause between epochs of fit", "ms"),
    "memory": ("peak memory of fit", "MB"),
}
COLOURS = {"naive Sequence": "#b0b0b0", "TFRecord, shuffle(10000)": "#d9a441"}
OURS, FLOOR = "#2f6f9f", "#dddddd"

Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""By feed: ``speed``, ``cpu`` and ``faults`` of each round; see `compare.measure`."""


def show_road(
    title: str, road: str, figures: Figures, naive: str, floor: str
) -> None:
    """Prints the table of a road.

    Args:
        title: The setting.
        road: One of `ROADS`.
        figures: What was measured.
        naive: The feed that the others are compared with.
        floor: The feed that is no loader.
    """
    table = Table(title=f"{title}, {ROADS[road]}", title_justify="left")
    table.add_column("feed", no_wrap=True)
    for column in (
        *("thousand rows/s", "half of rounds", "over naive", "over floor"),
        *("CPU ms a batch", "faults"),
    ):
        table.add_column(column, justify="right")
    middle = {name: quartiles(each["speed"])[1] for name, each in figures.items()}
    for name in sorted(middle, key=lambda name: middle[name]):
        low, speed, high = quartiles(figures[name]["speed"])
        table.add_row(
            f"floor: {FLOORS[road]}" if name == floor else name,
            f"{speed:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{speed / middle[naive]:.2f}",
            f"{speed / middle[floor]:.2f}",
            f"{quartiles(figures[name]['cpu'])[1]:.2f}",
            f"{quartiles(figures[name]['faults'])[1]:.0f}",
        )
    Console(width=130).print(table)


def show_others(title: str, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Prints what was measured of `OTHERS`."""
    for road, (heading, unit) in OTHERS.items():
        if road not in figures:
            continue
        table = Table(title=f"{title}, {heading}", title_justify="left")
        table.add_column("feed")
        table.add_column(unit, justify="right")
        for name, figure in figures[road].items():
            table.add_row(name, f"{figure:.0f}")
        Console(width=130).print(table)


def quartiles(rounds: Sequence[float]) -> tuple[float, float, float]:
    """Half of the rounds lie between the first and the last; the median is between."""
    low, middle, high = np.quantile(rounds, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def machine() -> str:
    """When and on what something was measured, in a line."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(one.partition(": ")[2] for one in lines if "model name" in one)
    except (OSError, StopIteration):
        pass  # not Linux
    packages = ("tensorflow", "keras", "numpy", "scipy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores of {cpu}, "
        f"load {os.getloadavg()[2]:.0f}, Python {platform.python_version()}, {versions}"
    )


def write_chart(
    path: Path,
    results: Mapping[str, Mapping[str, Figures]],
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
            "the chart needs matplotlib, which is not installed. In a clone of the "
            'repository, run: pip install ".[plot]"'
        ) from error
    shown = ("drained", "fit")
    figure, panels = pyplot.subplots(
        len(results),
        len(shown),
        figsize=(11, 1.9 * len(results) + 0.8),
        squeeze=False,
        layout="constrained",
    )
    for row, (title, figures) in zip(panels, results.items()):
        for panel, road in zip(row, shown):
            _draw(panel, figures[road], naive, floor, FLOORS[road])
            panel.set_title(f"{title}: {ROADS[road]}", fontsize=9, loc="left")
    figure.supxlabel(
        "thousand rows/s, median of the rounds (times the naive Sequence's bar); "
        f"lines: half of the rounds\n{machine()}",
        fontsize=8,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(
    panel: Any,
    figures: Figures,
    naive: str,
    floor: str,
    floor_name: str,
) -> None:
    spread = {name: quartiles(each["speed"]) for name, each in figures.items()}
    names = sorted(spread, key=lambda name: spread[name][1])
    for place, name in enumerate(names):
        low, speed, high = spread[name]
        colour = COLOURS.get(name, OURS if name.startswith("ours") else FLOOR)
        panel.barh(place, speed, color=colour)
        panel.plot((low, high), (place, place), color="#555555", linewidth=1)
        note = f" {speed:.0f}" if speed >= 10 else f" {speed:.1f}"
        if name != naive:
            note += f"  ({speed / spread[naive][1]:.1f}x)"
        panel.text(max(speed, high), place, note, va="center", fontsize=8)
    panel.set_yticks(
        range(len(names)),
        [floor_name if name == floor else name for name in names],
        fontsize=8,
    )
    panel.tick_params(axis="x", labelsize=8)
    panel.set_xlim(0, 1.3 * max(high for _, _, high in spread.values()))
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)

"""What a bench has found, as tables with bars in the terminal, and as a chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sequence_loader.bench.results import Figure, Results
from sequence_loader.bench.runs import Run
from sequence_loader.bench.settings import Setting

BAR = 16
"""Characters of the longest bar."""

_Bar = tuple[float, float, float, str]
"""Rows a second, from where to where they lie, and what was measured."""

COLOURS = {"warm": "#d9a441", "cold": "#2f6f9f"}
LIMITS = {
    "disk": "the disk",
    "gather": "reading rows (gather)",
    "transform": "the transform",
    "delivery": "assembling and handing over (delivery)",
    "model": "the model",
}


def show(results: Results) -> None:
    """Prints tables, what limits, and the lines to paste."""
    if not results.axes:
        print("Interrupted before anything was measured.")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for state in results.states:
        runs = results.axes.get(state)
        if runs:
            base = next(iter(runs)).name
            table = Table(title=f"{state}: the feed alone. Base: {base}",
                          title_justify="left")
            for name in ("", "rows/s", "", "CPU s/Mrow", "entropy"):
                table.add_column(name, justify="left" if not name else "right")
            fastest = max(run.rate for found in runs.values() for run in found)
            for axis, setting, found in by_axis(runs):
                rate = max(run.rate for run in found)
                table.add_row(
                    axis, f"{rate:,.0f}", bar(rate / fastest), f"{_cpu(found):.2f}",
                    _bits(results, setting),
                )
            console.print(table)
    for state in results.states:
        rounds = {s: runs for s, runs in results.rounds.get(state, {}).items() if runs}
        choice = results.choice(state)
        if choice is None:
            continue
        what = "fit" if results.models else "the feed"
        table = Table(title=f"{state}: {what}, settings that took turns",
                      title_justify="left")
        columns = ["", "rows/s", "half of the rounds", ""]
        columns += ["model alone", "feed alone"] * bool(results.models)
        for name in columns:
            table.add_column(name, justify="left" if not name else "right")
        figures = {one: Figure.of(runs) for one, runs in rounds.items()}
        for setting in sorted(figures, key=lambda one: -figures[one].median):
            figure = figures[setting]
            mark = "advised" if setting == choice.advised else ""
            tie = choice.ties and setting in (choice.best, *choice.ties)
            mark = ", ".join(filter(None, [mark, "a tie" if tie else ""]))
            row = [
                setting.name, f"{figure.median:,.0f}",
                f"{figure.low:,.0f} to {figure.high:,.0f}", mark,
            ]
            if results.models:
                alone = results.alone(state, setting)
                feed = results.feeds.get(state, {}).get(setting, [])
                row += [_median(alone), _median(feed)]
            table.add_row(*row)
        console.print(table)
        if choice.ties:
            console.print("A tie: as fast as the fastest, as far as these rounds tell. "
                          "The simplest of them is advised.")
        limit = results.limit(state, choice.advised)
        if limit is not None:
            console.print(f"{state}: what limits is {LIMITS[limit]}.")
    of = "labels" if results.mixing == "y" else "places in the store, in 64ths,"
    if results.entropy:
        console.print(
            f"Entropy: bits of {of} in a batch, exactly, beside those of a uniform "
            f"order. An order is advised if it has {1 - results.tolerance:.0%} of them."
        )
    for note in results.notes:
        console.print(Text(f"Note: {note}"))
    if not results.complete:
        console.print("Interrupted: this is what there is up to then.")
    for state in results.states:
        choice = results.choice(state)
        line = choice and choice.advised.line(results.paths)
        if line and line != results.line:
            console.print(f"To paste, for a store that is {state}:")
            console.print(Text(line), soft_wrap=True)
    if results.line:
        console.print("To paste:")
        console.print(Text(results.line), soft_wrap=True)


def by_axis(
    runs: Mapping[Setting, Sequence[Run]],
) -> Iterator[tuple[str, Setting, Sequence[Run]]]:
    """What was changed from the base, which is the first, for each setting."""
    base = next(iter(runs))
    names = {
        "order_name": "{}", "output": "{}", "batch_size": "{} rows",
        "workers": "{} workers", "road": "{}",
    }  # fmt: skip
    for setting, found in runs.items():
        changed = [
            name.format(getattr(setting, key))
            for key, name in names.items()
            if getattr(setting, key) != getattr(base, key)
        ]
        yield changed[0] if changed else "base", setting, found


def bar(share: float) -> str:
    """A bar of up to `BAR` characters."""
    eighths = round(max(0.0, min(share, 1.0)) * BAR * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def write_chart(results: Results, path: str) -> None:
    """Draws rows a second of all settings on an axis, and of those in turns.

    Args:
        results: What to draw.
        path: Of the picture to write.

    Raises:
        ImportError: matplotlib, of the extra ``plot``, is not installed.
    """
    pyplot = require_matplotlib()
    turns = "fit" if results.models else "the feed"
    panels = [
        (f"{state}: {what}, rows/s", state, found)
        for what, bars in (
            ("the feed alone", _axis_bars),
            (f"{turns}, settings that took turns", _turn_bars),
        )
        for state in results.states
        if (found := bars(results, state))
    ]
    figure, axes = pyplot.subplots(
        max(len(panels), 1),
        figsize=(9, 0.9 + sum(0.9 + 0.24 * len(bars) for *_, bars in panels)),
        height_ratios=[3 + len(bars) for *_, bars in panels] or None,
        squeeze=False,
        layout="constrained",
    )
    for panel, (title, state, bars) in zip(axes[:, 0], panels):
        for place, (rate, low, high, _) in enumerate(reversed(bars)):
            panel.barh(place, rate, color=COLOURS[state])
            panel.plot((low, high), (place, place), color="#555555", linewidth=1)
        panel.set_yticks(range(len(bars)), [one[-1] for one in bars[::-1]], fontsize=7)
        panel.set_title(title, fontsize=9, loc="left")
        panel.tick_params(axis="x", labelsize=7)
        panel.xaxis.set_major_formatter("{x:,.0f}")
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    figure.savefig(Path(path), dpi=110)
    pyplot.close(figure)


def _axis_bars(results: Results, state: str) -> list[_Bar]:
    """As in the table, the fastest run of each setting."""
    rates = {
        setting: [run.rate for run in runs]
        for setting, runs in results.axes.get(state, {}).items()
    }
    return [(max(found), min(found), max(found), s.name) for s, found in rates.items()]


def _turn_bars(results: Results, state: str) -> list[_Bar]:
    """The fastest first."""
    choice = results.choice(state)
    return sorted(
        (
            (*Figure.of(runs), setting.name + ", advised" * (setting == choice.advised))
            for setting, runs in results.rounds.get(state, {}).items()
            if runs and choice
        ),
        reverse=True,
    )


def require_matplotlib() -> Any:
    """``matplotlib.pyplot``; raises ImportError that names the extra."""
    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "--chart needs matplotlib, which is not installed. In a clone of the "
            'repository, run: pip install ".[plot]"'
        ) from error
    return pyplot


def _cpu(runs: Sequence[Run]) -> float:
    rows = max(sum(run.rows for run in runs), 1)
    return sum(run.cpu_seconds for run in runs) / rows * 1e6


def _median(runs: Sequence[Run]) -> str:
    return f"{Figure.of(runs).median:,.0f}" if runs else "-"


def _bits(results: Results, setting: Setting) -> str:
    bits = results.entropy.get((setting.order_name, setting.batch_size))
    uniform = results.entropy.get(("uniform", setting.batch_size))
    return "" if bits is None else f"{bits:.2f} of {uniform or bits:.2f}"

"""Results: what was measured, what follows from it, and both as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.bench.runs import Run
from sequence_loader.bench.settings import Setting

VERSION = 1
"""Of the JSON: it changes where a key goes or gets another meaning."""

MOST_TIE = 0.05
"""Settings that are slower by more than this part are no tie, however they spread."""

MODEL_SHARE = 0.9
"""From this part of the model's own speed on, the model is what limits; and where the
feed alone takes less than the rest of a step."""

DISK_SHARE = 0.8
"""Below this part of the speed with all pages in memory, the disk is what limits."""


class Figure(NamedTuple):
    """Rows a second: the middle of the rounds, and where half of them lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Figure:
        """Of some runs, at least one."""
        low, median, high = np.quantile([run.rate for run in runs], (0.25, 0.5, 0.75))
        return cls(float(median), float(low), float(high))


class Choice(NamedTuple):
    """The outcome of rounds in which settings took turns.

    Attributes:
        advised: The setting of least effort among the fastest and those that tie.
        best: The fastest.
        ties: Those whose distance from it is smaller than its own spread.
    """

    advised: Setting
    best: Setting
    ties: tuple[Setting, ...]


def choose(rounds: Mapping[Setting, Sequence[float]]) -> Choice:
    """Chooses among settings.

    Args:
        rounds: Rows a second of each, round by round.
    """
    best = max(rounds, key=lambda setting: float(np.median(rounds[setting])))
    ties = []
    for setting, rates in rounds.items():
        shared = min(len(rates), len(rounds[best]))
        ratios = np.array(rates[:shared]) / np.array(rounds[best][:shared])
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        if setting != best and 1 - middle <= min(high - low, MOST_TIE):
            ties.append(setting)
    advised = min((best, *ties), key=lambda setting: setting.effort)
    return Choice(advised, best, tuple(ties))


@dataclass
class Results:
    """What a bench has found up to now.

    Attributes:
        paths: Of the store, as the user wrote them.
        store: What it is, plain values.
        machine: What it was measured on, plain values.
        states: Those that are measured: ``"warm"``, ``"cold"``.
        main_state: The one whose advice is the line to paste.
        mixing: ``"y"`` or ``"place"``: what the entropy is of.
        tolerance: What part of a uniform order's entropy may be missing.
        entropy: Bits by (order name, batch size).
        axes: Runs of the feed alone, by state and setting: one axis at a time.
        rounds: Runs of the finalists, in turn, by state and setting: of the feed, or
            of `fit` where there is a model.
        feeds: Where there is a model: runs of the feed alone of the finalists.
        models: Where there is a model: runs without a loader, by state and by output
            and batch size. They took turns with those of `rounds`.
        notes: What the reader ought to know.
        seconds: How long it took.
        complete: Whether nothing interrupted it.
    """

    paths: list[str]
    store: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    main_state: str = "warm"
    mixing: str = "y"
    tolerance: float = 0.0
    entropy: dict[tuple[str, int], float] = field(default_factory=dict)
    axes: dict[str, dict[Setting, list[Run]]] = field(default_factory=dict)
    rounds: dict[str, dict[Setting, list[Run]]] = field(default_factory=dict)
    feeds: dict[str, dict[Setting, list[Run]]] = field(default_factory=dict)
    models: dict[str, dict[tuple[str, int], list[Run]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    complete: bool = False

    def mixes(self, setting: Setting) -> bool:
        """Whether a setting's batches are mixed nearly as those of a uniform order.

        An order that is the same in every epoch is not, however its rows lie.
        """
        size = setting.batch_size
        bits = self.entropy.get((setting.order_name, size))
        uniform = self.entropy.get(("uniform", size))
        if bits is None or uniform is None or setting.order == "sequential":
            return False
        return bits >= (1 - self.tolerance) * uniform

    def choice(self, state: str) -> Choice | None:
        """What the rounds of a state say; `None` while one is missing."""
        found = {
            setting: [run.rate for run in runs]
            for setting, runs in self.rounds.get(state, {}).items()
            if runs
        }
        return choose(found) if found else None

    @property
    def line(self) -> str | None:
        """Python that makes the advised feed."""
        for state in (self.main_state, *self.states):
            choice = self.choice(state)
            if choice is not None:
                return choice.advised.line(self.paths)
        return None

    def alone(self, state: str, setting: Setting) -> list[Run]:
        """Runs of the model without a loader, beside those of a finalist."""
        return self.models.get(state, {}).get((setting.output, setting.batch_size), [])

    def limit(self, state: str, setting: Setting) -> str | None:
        """What keeps a finalist from more rows a second.

        Returns:
            ``"disk"``, ``"gather"`` (reading rows), ``"transform"``, ``"delivery"``
            (assembling, tensors, TensorFlow's pipeline) or ``"model"``.
        """
        runs = self.rounds.get(state, {}).get(setting)
        if not runs:
            return None
        rate = Figure.of(runs).median
        alone = self.alone(state, setting)
        if alone and rate >= MODEL_SHARE * Figure.of(alone).median:
            return "model"
        feed = self.feeds.get(state, {}).get(setting) or runs
        if alone and rate <= (1 - MODEL_SHARE) * Figure.of(feed).median:
            return "model"
        if state == "cold":
            for phase in (self.feeds if self.models else self.rounds, self.axes):
                warm = phase.get("warm", {}).get(setting)
                if warm:
                    slow = Figure.of(feed).median < DISK_SHARE * Figure.of(warm).median
                    return "disk" if slow else _stage(feed)
            if all(run.cpu_seconds < run.seconds / 2 for run in feed):
                return "disk"
        return _stage(feed)

    def as_json(self) -> dict[str, Any]:
        """Plain values, whose keys are always there.

        ``axes``, ``rounds`` and ``feeds`` list what was measured, with ``state``,
        ``setting``, ``rows_per_second`` (median and quartiles of the runs),
        ``cpu_seconds_per_million_rows``, ``disk_bytes_per_row`` (or `None`) and
        ``runs``; ``models`` has ``output`` and ``batch_size`` instead of ``setting``.
        ``advice`` has, by state, ``setting``, ``best``, ``ties``, ``limit`` and
        ``line``; ``line`` is the one to paste, or `None` where nothing was advised
        up to an interruption, which ``complete`` tells.
        """
        advice = {}
        for state in self.states:
            choice = self.choice(state)
            if choice is not None:
                advice[state] = {
                    "setting": choice.advised.described(),
                    "best": choice.best.described(),
                    "ties": [setting.described() for setting in choice.ties],
                    "limit": self.limit(state, choice.advised),
                    "line": choice.advised.line(self.paths),
                }
        return {
            "version": VERSION,
            "complete": self.complete,
            "seconds": round(self.seconds, 1),
            "store": self.store,
            "machine": self.machine,
            "entropy": {
                "of": self.mixing,
                "tolerance": self.tolerance,
                "orders": [
                    {"order": name, "batch_size": size, "bits": bits}
                    for (name, size), bits in self.entropy.items()
                ],
            },
            "axes": _described(self.axes),
            "rounds": _described(self.rounds),
            "feeds": _described(self.feeds),
            "models": [
                {"state": s, "output": output, "batch_size": size, **_figures(runs)}
                for s, found in self.models.items()
                for (output, size), runs in found.items()
                if runs
            ],
            "advice": advice,
            "line": self.line,
            "notes": self.notes,
        }


def _stage(runs: Sequence[Run]) -> str:
    """Whether rows, or what is made of them, took the time of a feed."""
    read = sum(run.stats.read_seconds for run in runs if run.stats)
    waited = sum(run.stats.waited_seconds for run in runs if run.stats)
    whole = max(waited, sum(run.seconds for run in runs))
    return "gather" if read > whole / 2 else "delivery"


def _described(phase: Mapping[str, Mapping[Setting, Sequence[Run]]]) -> list[Any]:
    return [
        {"state": state, "setting": setting.described(), **_figures(runs)}
        for state, found in phase.items()
        for setting, runs in found.items()
        if runs
    ]


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    rows = max(sum(run.rows for run in runs), 1)
    disk = [run.disk_bytes for run in runs if run.disk_bytes is not None]
    return {
        "rows_per_second": Figure.of(runs)._asdict(),
        "cpu_seconds_per_million_rows": sum(r.cpu_seconds for r in runs) / rows * 1e6,
        "disk_bytes_per_row": sum(disk) / rows if len(disk) == len(runs) else None,
        "runs": len(runs),
    }

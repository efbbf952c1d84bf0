"""Is the advice of ``bench`` right? What it advises, against an exhaustive run.

    python benchmarks/advice.py --shape TEXT --folder DIR       # writes the store
    python -m sequence_loader bench DIR/TEXT.store --json > a.json
    python benchmarks/advice.py --shape TEXT --folder DIR --advice a.json --state cold

The store is of the shape, sorted by class. Every setting that may be advised takes
turns, --rounds times. The best of them by their medians, and the advised one, then meet
again, so that the best is not the luckiest. What counts is the last ratio: what the
advice gives, over the best. With --kept FILE, the turns may be taken in several runs.

2026-11-30, two cores, what was advised over the best when they met again, of 60
settings each. TEXT, warm: 1.00; cold: 1.04 (half of the rounds 0.64 to 1.05: it is the
disk). CELLS, warm: 0.97 (0.97 to 1.00); cold: 0.95 (0.89 to 1.04).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
from shapes import SHAPES, Shape  # noqa: E402

from sequence_loader import StoreWriter  # noqa: E402
from sequence_loader.bench.results import Results  # noqa: E402
from sequence_loader.bench.runs import Feed  # noqa: E402
from sequence_loader.bench.settings import Setting  # noqa: E402
from sequence_loader.bench.source import ReopenedStore  # noqa: E402
from sequence_loader.bench.space import Space  # noqa: E402

print = functools.partial(print, flush=True)  # a piece may be stopped
ROWS = {"TEXT": 400_000, "CELLS": 100_000}
MEET_AGAIN, MEETINGS = 5, 9


def written(folder: Path, shape: Shape) -> str:
    """A store of the shape, sorted by class."""
    path = folder / f"{shape.name}.store"
    if not path.exists():
        x, y = shape.matrix(ROWS[shape.name])
        with StoreWriter(path, shape.features) as writer:
            for start in range(0, len(y), 4096):
                rows = slice(start, start + 4096)
                writer.append(x[rows], y=np.sort(y)[rows])
    return str(path)


def take_turns(
    path: str,
    settings: Sequence[Setting],
    state: str,
    rounds: int,
    seconds: float,
    found: dict[str, list[float]],
    until: float = float("inf"),
) -> bool:
    """Adds rows a second of each setting, round by round; whether time was enough."""
    source, cold = ReopenedStore([path]), state == "cold"
    feeds = [Feed(source, setting) for setting in settings]
    for number, feed in itertools.product(range(rounds), feeds):
        rates = found.setdefault(feed.setting.name, [])
        if len(rates) > number:
            continue
        if time.perf_counter() > until:
            break
        if cold and not source.reopen(cold=True):
            raise OSError("the store's pages could not be dropped")
        rates.append(feed.run(seconds, once=cold).rate)
    source.close()
    return all(len(rates) >= rounds for rates in found.values())


def advisable(found: dict[str, Any]) -> list[Setting]:
    """All settings that a bench of feeds alone may advise, from its JSON."""
    orders = found["entropy"]["orders"]
    bits = {(one["order"], one["batch_size"]): one["bits"] for one in orders}
    results = Results([], entropy=bits, tolerance=found["entropy"]["tolerance"])
    shape = found["store"]["rows"], found["store"]["features"]
    space = Space.of(shape, ["sparse", "dense"], None, in_graph=True, trains=False)
    return [one for one in space.combined() if results.mixes(one)]


def main() -> None:
    """Writes the store, or measures it and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--advice", type=Path, help="what bench --json has printed")
    parser.add_argument("--state", choices=("warm", "cold"), default="warm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turn", type=float, default=0.3, help="seconds of a turn")
    parser.add_argument("--kept", type=Path, help="where turns are kept for a rerun")
    parser.add_argument("--seconds", type=float, default=100.0, help="of the turns")
    options = parser.parse_args()
    began = time.perf_counter()
    path = written(options.folder, SHAPES[options.shape])
    if options.advice is None:
        return
    found = json.loads(options.advice.read_text())
    advice = found["advice"][options.state]
    advised = Setting(**advice["setting"])
    print(
        f"{options.shape} {options.state}: advised {advised.name} after "
        f"{found['seconds']:.0f} s, {len(advice['ties'])} ties, limit {advice['limit']}"
    )
    turns: dict[str, list[float]] = {}
    if options.kept and options.kept.exists():
        turns = json.loads(options.kept.read_text())
    settings = advisable(found)
    until = began + options.seconds
    took = options.rounds, options.turn
    whole = take_turns(path, settings, options.state, *took, turns, until)
    if options.kept:
        options.kept.write_text(json.dumps(turns))
    if not whole:
        print("  time is up: run it again, with --kept")
        return
    middle = {one: float(np.median(turns[one.name])) for one in settings}
    ranked = sorted(settings, key=lambda one: -middle[one])
    for setting in ranked[:MEET_AGAIN]:
        print(f"  {middle[setting]:12,.0f} rows/s  {setting.name}")
    print(
        f"  advised: {middle[advised]:,.0f} rows/s, place {ranked.index(advised) + 1} "
        f"of {len(ranked)}, {middle[advised] / middle[ranked[0]]:.2f} of best"
    )
    again = list(dict.fromkeys([*ranked[:MEET_AGAIN], advised]))
    met: dict[str, list[float]] = {}
    take_turns(path, again, options.state, MEETINGS, options.turn, met)
    best = max(again, key=lambda one: float(np.median(met[one.name])))
    ratios = np.array(met[advised.name]) / np.array(met[best.name])
    low, ratio, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    print(
        f"  met again, {MEETINGS} rounds: advised is {ratio:.2f} ({low:.2f} to "
        f"{high:.2f}) of the best, {best.name}"
    )


if __name__ == "__main__":
    main()

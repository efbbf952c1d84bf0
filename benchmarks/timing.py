"""Jobs that take turns, so that whatever else the machine does strikes them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Job = Callable[[], Any]
"""Does the work; a float that it returns is the seconds that count, else all do."""


def seconds_by_round(jobs: Mapping[str, Job], repeats: int) -> dict[str, list[float]]:
    """How long each job takes, round after round, after one to warm up.

    Args:
        jobs: What to time, by name.
        repeats: Rounds; in each one every job runs once.

    Returns:
        Seconds by name, one for each round.
    """
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(repeats):
        for name, job in jobs.items():
            started = time.perf_counter()
            counted = job()
            whole = time.perf_counter() - started
            found[name].append(counted if isinstance(counted, float) else whole)
    return found

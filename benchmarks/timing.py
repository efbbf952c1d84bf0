"""Jobs that take turns, so that whatever else the machine does strikes them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Job = Callable[[], Any]


def best_seconds(jobs: Mapping[str, Job], repeats: int) -> dict[str, float]:
    """The fastest of `repeats` rounds for each job, after one to warm up.

    Args:
        jobs: What to time, by name.
        repeats: Rounds; in each one every job runs once.

    Returns:
        Seconds by name.
    """
    best = dict.fromkeys(jobs, float("inf"))
    for job in jobs.values():
        job()
    for _ in range(repeats):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            best[name] = min(best[name], time.perf_counter() - started)
    return best

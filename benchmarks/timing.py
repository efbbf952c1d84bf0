"""Jobs that take turns, so that whatever else the machine does strikes them all."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Job = Callable[[], Any]
"""Does the work; a float that it returns is the seconds that count, else all do."""


class Round(NamedTuple):
    """What a job took in one round.

    Attributes:
        seconds: By the clock, or what the job said.
        cpu_seconds: Of all threads of this process.
        faults: Pages that were new to this process.
    """

    seconds: float
    cpu_seconds: float
    faults: int


def rounds_of(jobs: Mapping[str, Job], repeats: int) -> dict[str, list[Round]]:
    """What each job takes, round after round, after one to warm up.

    Args:
        jobs: What to time, by name.
        repeats: Rounds; in each one every job runs once.

    Returns:
        By name, one for each round.
    """
    found: dict[str, list[Round]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(repeats):
        for name, job in jobs.items():
            before = resource.getrusage(resource.RUSAGE_SELF)
            started, cpu = time.perf_counter(), time.process_time()
            counted = job()
            seconds = time.perf_counter() - started
            cpu = time.process_time() - cpu
            after = resource.getrusage(resource.RUSAGE_SELF)
            if isinstance(counted, float):
                seconds = counted
            faults = after.ru_minflt - before.ru_minflt
            found[name].append(Round(seconds, cpu, faults))
    return found

"""One function over many items, in threads or processes, results in order.

Processes are those of `workers.process`: new interpreters that do not run the user's
script, and end with this one.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sequence_loader.order.plan import PlannedBatch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Means(NamedTuple):
    """What a fit computes with.

    Attributes:
        scratch: A directory on a disk with room.
        threads: How many.
        progress: Whether to show progress bars.
    """

    scratch: Path
    threads: int
    progress: bool = False


class TextJob(PlannedBatch):
    """Some texts, as messages name them."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"texts {self.rows[0]} to {self.rows[-1]}"

    @property
    def mend(self) -> str:
        """What to do when its worker has died."""
        return "Nothing was written. Run it again; with fewer workers, less memory."


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Results in the order of the items; at most two more than threads are ready."""
    if threads < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads, "vectorize") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_processes(
    serve: Any, items: Iterable[tuple[int, int, Any]], workers: int
) -> Iterator[Any]:
    """What ``serve.serve(item)`` gives in worker processes, in the order of the items.

    Args:
        serve: Can be pickled; sent to each worker once.
        items: (first row, one past the last, what to send).
        workers: How many processes.

    Raises:
        ImportError: The extra ``workers`` is missing.
        WorkerError: One of them failed.
    """
    from sequence_loader.workers import pickling
    from sequence_loader.workers.process import WorkerProcess

    pickling.check_available()
    description = pickling.pickled([serve])
    free: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
    processes: list[WorkerProcess] = []

    def ask(item: tuple[int, int, Any]) -> Any:
        process = free.get()
        try:
            start, stop, sent = item
            rows = np.arange(start, max(stop, start + 1))
            job = TextJob(0, 0, rows, None, 0)
            return process.ask([(sent,)], job)[0]
        finally:
            free.put(process)

    try:
        for _ in range(workers):
            processes.append(WorkerProcess(description))
            free.put(processes[-1])
        yield from in_threads(ask, items, workers)
    finally:
        for process in processes:
            if not process.idle:
                process.kill()
        for process in processes:
            with suppress(OSError):
                process.dispose()

"""A process whose threads return from calls all the time, while their stacks are read.

Every few allocations collect garbage, and each finalizer lets another thread go on:
what happens once in many hours of training happens at once. Run as a script, for what
goes wrong here ends the process.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator

from sequence_loader.backends.stacks import outwards, walking

SECONDS = 4


class Yields:
    """Lets another thread go on when it is freed."""

    def __del__(self) -> None:
        time.sleep(0)


class Cycle:
    """The same; it is freed when garbage is collected."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0.0001)


def returns(depth: int) -> int:
    held, more = Yields(), [Yields() for _ in range(3)]
    if depth:
        return returns(depth - 1)
    os.getpid()
    return sum(map(lambda _: 1, more)) + (held is None)


def generates() -> Iterator[int]:
    held = Yields()
    for depth in range(3):
        held = Yields()
        yield depth + (held is None)


def calls() -> None:
    while not over:
        for depth in generates():
            returns(depth * 3)
        list(map(returns, (1, 2)))
        sorted([3, 1, 2], key=lambda value: returns(1) + value)


def litters() -> None:
    while not over:
        for _ in range(2):
            Cycle()
        time.sleep(0.001)


def ends() -> None:
    while not over:
        thread = threading.Thread(target=returns, args=(5,))
        thread.start()
        thread.join()


over = False
gc.set_threshold(10, 100_000, 100_000)
for target in (calls, calls, calls, ends, litters):
    threading.Thread(target=target, daemon=True).start()
end = time.monotonic() + SECONDS
walks = 0
while time.monotonic() < end:
    with walking():
        for frame in list(sys._current_frames().values()):
            names = [(outer.f_code, outer.f_back) for outer in outwards(frame)]
            walks += len(names) > 0
over = True
assert gc.isenabled()
print(walks)

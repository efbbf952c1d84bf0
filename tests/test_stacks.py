"""Reading the stacks of other threads ends no process, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from watching import HUNG_SECONDS, until

from sequence_loader.backends.stacks import locals_of, walking

SCRIPT = Path(__file__).with_name("walked_stacks.py")


def test_threads_may_return_while_their_stacks_are_read() -> None:
    """Without `walking`, Python 3.11 crashes here within a second."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", SCRIPT],
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000


def test_all_threads_are_found_to_their_outermost_frame() -> None:
    stop = threading.Event()

    def waits() -> None:
        stop.wait(HUNG_SECONDS)

    thread = threading.Thread(target=waits)
    thread.start()
    try:
        with walking() as stacks:
            names = [[one.f_code.co_name for one in stack] for stack in stacks]
    finally:
        stop.set()
        thread.join()
    assert any("waits" in each and each[-1] == "_bootstrap" for each in names)
    own = test_all_threads_are_found_to_their_outermost_frame.__name__
    assert sum(own in each for each in names) == 1


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_again_or_not(collects: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        with pytest.raises(KeyboardInterrupt), walking(), walking():
            raise KeyboardInterrupt
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


class Freed:
    """Tells in which threads its objects were freed."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def __call__(self) -> object:
        found = type("Object", (), {})()
        weakref.finalize(found, lambda: self.threads.append(threading.get_ident()))
        return found


@contextmanager
def beside(target: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=target)
    thread.start()
    yield
    thread.join()


def look(stacks: list[list[FrameType]]) -> None:
    """Asks for the variables of `has_one`, which runs in one of the threads."""
    frames = [one for stack in stacks for one in stack]
    found = [locals_of(one) for one in frames if one.f_code.co_name == "has_one"]
    assert len(found) == 1 and "freed" in found[0]


def test_what_a_thread_lets_go_between_two_walks_is_freed_elsewhere() -> None:
    """An iterator of TensorFlow may wait in its end for the thread that walks."""
    freed, step = Freed(), threading.Barrier(2, timeout=HUNG_SECONDS)

    def has_one() -> None:
        one = freed()
        step.wait()
        step.wait()
        del one
        step.wait()
        step.wait()

    with beside(has_one):
        for _ in range(2):
            step.wait()
            with walking() as stacks:
                look(stacks)
            step.wait()
    until(lambda: bool(freed.threads))
    assert threading.get_ident() not in freed.threads


def test_what_a_thread_lets_go_that_it_looked_at_is_not_freed_by_a_walk() -> None:
    freed, step = Freed(), threading.Barrier(2, timeout=HUNG_SECONDS)

    def has_one() -> None:
        one = freed()
        assert locals_of(sys._getframe())["one"] is one
        del one
        step.wait()
        step.wait()

    with beside(has_one):
        step.wait()
        with walking() as stacks:
            look(stacks)
        step.wait()
    until(lambda: bool(freed.threads))
    assert threading.get_ident() not in freed.threads


def test_what_a_thread_lets_go_during_a_walk_is_not_freed_by_the_walk() -> None:
    freed, step = Freed(), threading.Barrier(2, timeout=HUNG_SECONDS)

    def has_one() -> None:
        one = freed()
        step.wait()
        step.wait()
        assert one

    def thread() -> None:
        has_one()
        step.wait()

    with beside(thread):
        step.wait()
        with walking() as stacks:
            look(stacks)
            step.wait()  # it returns
            step.wait()
            assert not freed.threads
        until(lambda: bool(freed.threads))
    assert threading.get_ident() not in freed.threads


@pytest.mark.parametrize("watches", [sys.setprofile, sys.settrace])
def test_a_thread_keeps_its_variables_while_it_is_profiled_or_traced(
    watches: Callable[[Any], None],
) -> None:
    """Before Python 3.13 they are set to what `f_locals` has, when that is over."""
    freed, step = Freed(), threading.Barrier(2, timeout=HUNG_SECONDS)
    found = []

    def has_one(one: str) -> tuple[str, Freed]:
        return one, freed

    def watched(frame: FrameType, event: str, arg: object) -> None:
        if frame.f_code is has_one.__code__ and event == "call":
            step.wait()
            step.wait()

    def thread() -> None:
        watches(watched)
        try:
            found.append(has_one("still there"))
        finally:
            watches(None)

    with beside(thread):
        step.wait()
        with walking() as stacks:
            look(stacks)
        step.wait()
    assert found == [("still there", freed)]


def test_the_variables_of_a_module_stay() -> None:
    names = {"__name__": "a module", "locals_of": locals_of, "sys": sys}
    exec("found = locals_of(sys._getframe())", names)
    assert names["found"]["sys"] is names["sys"] is sys


def test_a_child_that_is_forked_beside_a_walk_collects_garbage_and_walks() -> None:
    walks, over = threading.Event(), threading.Event()

    def walk() -> None:
        with walking():
            walks.set()
            over.wait(0.2)  # a fork waits for a walk

    thread = threading.Thread(target=walk)
    thread.start()
    walks.wait(HUNG_SECONDS)
    child = os.fork()
    if not child:
        with walking():
            ends_well = len(sys._current_frames()) == 1
        os._exit(0 if ends_well and gc.isenabled() else 1)
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0

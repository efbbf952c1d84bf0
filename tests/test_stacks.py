"""Reading the stacks of other threads ends no process, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from watching import HUNG_SECONDS

from sequence_loader.backends.stacks import outwards, walking

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
        with walking():
            found = list(sys._current_frames().values())
            names = [[one.f_code.co_name for one in outwards(top)] for top in found]
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

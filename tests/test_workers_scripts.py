"""Whole programs with workers: scripts without a main guard, signals, and the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest
from running_jobs import left_out
from watching import HUNG_SECONDS, shared_memory, until

AT_ONCE_SECONDS = 120
"""On a busy machine; a second or two on others."""

SETUP = """
import os, signal, sys, threading, time
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf  # before anything else, and without a main guard
import numpy as np
from sequence_loader import SparseBatchSequence
from sequence_loader.workers import prefetch

prefetch.STUCK_SECONDS = {stuck_seconds}
x = np.arange(400, dtype="float32").reshape(-1, 1)
factor = 2

class Scale:  # of __main__
    def __init__(self, by):
        self.by = by
    def __call__(self, block):
        return block * self.by

def act(action, row=200):
    def transform(block):
        if (block == row).any():
            action()
        return Scale(factor)(block)
    return transform

def make(transform, **options):
    options = dict(dict(workers=2, use_multiprocessing=True), **options)
    return SparseBatchSequence(x, x, batch_size=10, transform=transform, **options)

def stuck():
    print("STUCK", os.getpid(), flush=True)
    time.sleep(10_000)

def stuck_in_compiled_code():
    import re
    print("STUCK", os.getpid(), flush=True)
    re.match(r"(a*)*b", "a" * 60)

def fit(sequence, dataset=False):
    import keras
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    xla = "auto" if keras.backend.backend() == "jax" else False
    model.compile("sgd", "mse", jit_compile=xla)
    feed = sequence.to_tf_dataset() if dataset else sequence
    model.fit(feed, epochs=2, shuffle=False, verbose=0)

def pids(sequence):
    return [process.pid for process in sequence._pipeline.workers._crew.processes]
"""


class Program:
    """A script that runs, in a session of its own."""

    def __init__(
        self, tmp_path, body, backend="tensorflow", stuck_seconds=HUNG_SECONDS
    ):
        path = tmp_path / "script.py"
        setup = SETUP.replace("{stuck_seconds}", str(stuck_seconds))
        path.write_text(setup + textwrap.dedent(body))
        self.shm = shared_memory()
        self.log = tmp_path / "stderr.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=left_out(
                    {**os.environ, "KERAS_BACKEND": backend,
                     "TF_CPP_MIN_LOG_LEVEL": "3", "TMPDIR": self.folder(tmp_path)}
                ),
            )

    def folder(self, tmp_path):
        self.temporary = tmp_path / "temporary"
        self.temporary.mkdir()
        return str(self.temporary)

    def wait_for(self, word):
        for line in self.process.stdout:
            _, found, rest = line.partition(word)  # a worker may print as well
            if found:
                return [int(number) for number in re.findall(r"\d+", rest)]
        code = self.process.wait(HUNG_SECONDS)
        err = self.log.read_text()[-3000:]
        raise AssertionError(f"it ended, with {code}, before {word}:\n{err}")

    def end(self):
        """Waits for the end, and that nothing is left of it."""
        try:
            out, _ = self.process.communicate(timeout=HUNG_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        until(lambda: not self.left())
        until(lambda: shared_memory() <= self.shm)  # others may be about to use theirs
        assert not os.listdir(self.temporary)
        return out, self.log.read_text()

    def left(self):
        return [
            process
            for process in psutil.process_iter(["status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and session(process.pid) == self.process.pid
        ]


def session(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def test_a_script_without_a_guard_defines_its_transform_anywhere(tmp_path):
    """In modules as well, of which one imports TensorFlow."""
    (tmp_path / "mine.py").write_text(
        "import tensorflow as tf\n"
        "from sequence_loader import SparseBatchSequence\n"
        "SCALE = 2\n"
        "def build():\n    return tf.constant(1)\n"
        "def scale(block):\n    return block * SCALE\n"
    )
    (tmp_path / "other.py").write_text("import mine\ndef scale(b):\n    return b * 2\n")
    program = Program(tmp_path, """
        assert __name__ == "__main__"  # nobody else runs this script
        print("ran", flush=True)
        import mine, other
        def calls(function):
            def transform(block):
                assert "tensorflow" not in sys.modules
                return function(block)
            return transform
        local = dict(globals())
        exec("def made(block):\\n    return block * factor", local)
        for transform in (
            lambda block: block * factor, Scale(2), act(None, -1), local["made"],
            mine.scale, other.scale, calls(mine.scale), calls(other.scale),
        ):
            with make(transform, workers=1) as sequence:
                for index in range(3):
                    expected = 2 * np.arange(index * 10, index * 10 + 10)
                    assert (sequence[index][0][:, 0] == expected).all()
        def loaded(block):
            assert not {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
            return block
        with make(loaded) as sequence:
            fit(sequence), fit(sequence, dataset=True)
            used = pids(sequence)
            model = sequence[0]
            assert pids(sequence) == used
        print("DONE", flush=True)
        """)
    out, err = program.end()
    assert out.split() == ["ran", "DONE"] and program.process.returncode == 0, err


def long(*values):
    """What is tried with --combinations=all: each takes seconds to import Keras."""
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize("death, backend, dataset", [
    ("os.kill(os.getpid(), 9)", "tensorflow", True),
    long("os._exit(5)", "jax", False),
    long("os.kill(os.getpid(), 9)", "tensorflow", False),
    long("os._exit(5)", "tensorflow", False),
])
def test_a_worker_that_dies_fails_the_fit(tmp_path, backend, dataset, death):
    program = Program(tmp_path, f"""
        with make(act(lambda: {death})) as sequence:
            try:
                fit(sequence, {dataset})
            except Exception as error:
                text = str(error)
                assert "batch 20 of epoch 0 (10 rows: 200, 201" in text, text
                assert "SIGKILL" in text or "exited with code 5" in text, text
                assert all(batch for batch in [sequence[3], sequence[30]])
                print("DONE", flush=True)
        """, backend)
    out, err = program.end()
    assert out.split() == ["DONE"], err


@pytest.mark.long
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_an_idle_worker_that_dies_fails_the_fit(tmp_path, backend):
    program = Program(tmp_path, """
        sequence = make(Scale(2))
        sequence[0]
        for task in sequence._pipeline.workers._cache.values():
            task.future.result()
        victim = sequence._pipeline.workers._crew.processes[0]
        os.kill(victim.pid, signal.SIGKILL)
        os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
        try:
            fit(sequence)
        except Exception as error:
            assert "SIGKILL" in str(error) and "idle" in str(error), error
            print("DONE", flush=True)
        """, backend)
    out, err = program.end()
    assert out.split() == ["DONE"], err


RUNS = {
    "loop": "for batch in sequence: pass",
    "fit": "fit(sequence)",
    "dataset": "fit(sequence, dataset=True)",
}


@pytest.mark.parametrize("run, processes, backend, group", [
    ("loop", False, "jax", False),
    ("fit", True, "jax", True),
    ("dataset", True, "tensorflow", False),
    long("fit", False, "jax", False),
    long("fit", True, "tensorflow", True),
    long("dataset", False, "tensorflow", True),
])
def test_ctrl_c_ends_a_stuck_run_at_once(tmp_path, run, processes, backend, group):
    program = Program(tmp_path, f"""
        sequence = make(act(stuck), use_multiprocessing={processes})
        {RUNS[run]}
        """, backend, stuck_seconds=1)
    program.wait_for("STUCK")
    until(lambda: "has been busy for" in program.log.read_text())
    send = os.killpg if group else os.kill
    send(program.process.pid, signal.SIGINT)
    program.process.wait(AT_ONCE_SECONDS)
    out, err = program.end()
    assert program.process.returncode != 0
    assert "KeyboardInterrupt" in err and re.search(r"busy for \d+ seconds", err)


@pytest.mark.parametrize(
    "action, backend", [("stuck_in_compiled_code", "jax"), long("stuck", "tensorflow")]
)
def test_workers_die_with_a_parent_that_is_killed(tmp_path, action, backend):
    program = Program(tmp_path, f"""
        sequence = make(act({action}))
        if os.fork() == 0:  # a copy of the parent's handles keeps nobody alive
            time.sleep(1.5)
            os._exit(0)
        for batch in sequence: pass
        """, backend)
    program.wait_for("STUCK")
    os.kill(program.process.pid, signal.SIGKILL)
    program.end()


@pytest.mark.parametrize("ending, processes, backend", [
    ("", True, "tensorflow"), ("", False, "jax"), long("", False, "tensorflow"),
    long("raise ValueError('mine')", True, "tensorflow"),
    long("os._exit(0)", True, "tensorflow"),
])
def test_nothing_outlives_the_interpreter(tmp_path, ending, processes, backend):
    program = Program(tmp_path, f"""
        idle = make(Scale(2), use_multiprocessing={processes})
        idle[0]
        sequence = make(act(stuck, row=20), use_multiprocessing={processes})
        sequence[0]
        print("READY", flush=True)
        time.sleep(0.5)
        {ending}
        """, backend)
    program.wait_for("READY")
    program.end()

"""Real processes of a training job, started together and never left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from watching import HUNG_SECONDS

TESTS = Path(__file__).parent
# What a launcher, or another test, may have left in the environment.
FOREIGN = ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "TF_CONFIG", "RANK", "WORLD_SIZE")


def left_out(environment: Mapping[str, str]) -> dict[str, str]:
    """That environment, where Keras does not find what it only imports to offer it.

    scikit-learn, pandas and Matplotlib are a third of what importing Keras takes. No
    script here uses them.
    """
    paths = str(TESTS / "left_out"), environment.get("PYTHONPATH", "")
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class Job:
    """The processes of a job, by rank, and the files they write to."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], logs: list[Path]):
        self.processes, self.logs = processes, logs

    def said(self, rank: int) -> str:
        """What a process has printed so far."""
        return self.logs[rank].read_text(errors="replace")

    def wait_until_said(self, rank: int, text: str) -> None:
        end = time.monotonic() + HUNG_SECONDS
        while text not in self.said(rank):
            assert self.processes[rank].poll() is None, self.said(rank)
            assert time.monotonic() < end, self.said(rank)
            time.sleep(0.05)

    def finish(self) -> list[str]:
        """Waits for all to end well; what each has printed."""
        end = time.monotonic() + HUNG_SECONDS
        waiting = set(range(len(self.processes)))
        while waiting:
            assert time.monotonic() < end, [self.said(rank) for rank in waiting]
            for rank in list(waiting):
                code = self.processes[rank].poll()
                assert code in (None, 0), f"rank {rank} ({code}): {self.said(rank)}"
                waiting -= {rank} if code == 0 else set()
            time.sleep(0.05)
        return [self.said(rank) for rank in range(len(self.processes))]


@contextmanager
def job(
    script: Path, arguments: list[str], environments: list[dict[str, str]], logs: Path
) -> Iterator[Job]:
    """Starts one process for each environment; all are gone when the block ends.

    A shell script is one process, and finds this Python.
    """
    common = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    common["TF_CPP_MIN_LOG_LEVEL"] = "3"
    common["PYTHONPATH"] = os.pathsep.join(
        [str(TESTS.parent), str(TESTS), common.get("PYTHONPATH", "")]
    )
    where = [str(Path(sys.executable).parent), common.get("PATH", "")]
    common["PATH"] = os.pathsep.join(where)
    runner = "bash" if script.suffix == ".sh" else sys.executable
    processes, files = [], []
    try:
        for rank, environment in enumerate(environments):
            files.append(logs / f"rank{rank}.log")
            with files[-1].open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [runner, str(script), *arguments],
                        env=left_out({**common, **environment}),
                        cwd=logs,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        yield Job(processes, files)
    finally:
        for process in processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait(HUNG_SECONDS)


def alive_in_session(leader: int) -> list[int]:
    """Processes that a process, or what it started, has left running."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, different ones."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def jax_environments(count: int) -> list[dict[str, str]]:
    """What a launcher would set for each process; the names are torchrun's."""
    (port,) = free_ports(1)
    return [
        {
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # they take longer than the job
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "WORLD_SIZE": str(count),
        }
        for rank in range(count)
    ]


def tf_keras_environments(count: int) -> list[dict[str, str]]:
    """What tf.distribute's documentation asks for."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    return [
        {
            "TF_USE_LEGACY_KERAS": "1",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CONFIG": json.dumps(
                {
                    "cluster": {"worker": workers},
                    "task": {"type": "worker", "index": rank},
                }
            ),
        }
        for rank in range(count)
    ]

"""Worker processes against none, in one run. Read the ratios.

    python benchmarks/workers.py [--batches 150] [--gigabytes 1]

A transform that holds the GIL for 10 ms a batch (what a tokenizer costs), and one for
1 ms, where sending the rows is most of the work; in order and permuted, through
``seq[i]`` and through ``to_tf_dataset``. Then what workers cost to start, and in
private memory beside a matrix that lies in their parent.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402

from sequence_loader import SparseBatchSequence  # noqa: E402

FEATURES, PER_ROW, BATCH = 20_000, 86, 128


def matrix(rows: int) -> sp.csr_array:
    """Rows of the TEXT shape: 86 values of 20,000."""
    columns = np.arange(rows * PER_ROW, dtype=np.int32) % (FEATURES // PER_ROW)
    columns += np.tile(np.arange(PER_ROW, dtype=np.int32), rows) * 232
    pointers = np.arange(0, rows * PER_ROW + 1, PER_ROW, dtype=np.int64)
    data = np.ones(rows * PER_ROW, dtype=np.float32)
    return sp.csr_array((data, columns, pointers), shape=(rows, FEATURES))


def busy(milliseconds: float) -> Callable[[Any], Any]:
    """A transform that takes so much of a processor, and of the GIL, for 128 rows."""
    clock = time.thread_time

    def transform(block: Any) -> Any:
        end = clock() + milliseconds / 1000 * block.shape[0] / 128
        while clock() < end:
            pass
        return block

    return transform


def seconds(sequence: SparseBatchSequence, order: Sequence[int]) -> float:
    """Time to take the batches, once they have started."""
    start = time.perf_counter()
    for index in order:
        sequence[index]
    return time.perf_counter() - start


def drained(sequence: SparseBatchSequence) -> float:
    """Time to take an epoch inside TensorFlow's graph."""
    dataset = sequence.to_tf_dataset()
    start = time.perf_counter()
    dataset.reduce(np.int64(0), lambda count, *batch: count + 1)
    return time.perf_counter() - start


def private_megabytes(pid: int) -> float:
    """Proportional set size of a process."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        pss = next(line for line in lines if line.startswith("Pss:"))
    return int(pss.split()[1]) / 1000


def main() -> None:
    """Measures, and prints one line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    options = parser.parse_args()
    x = matrix(options.batches * BATCH)
    in_order = range(options.batches)
    permuted = np.random.default_rng(0).permutation(options.batches).tolist()

    for cost in (10, 1):
        made = [
            SparseBatchSequence(
                x,
                batch_size=BATCH,
                transform=busy(cost),
                output="sparse",
                workers=count,
                use_multiprocessing=count > 0,
            )
            for count in (0, 1, 2)
        ]
        for sequence in made:
            sequence[0], sequence[1]
        for name, order in (("in order", in_order), ("permuted", permuted)):
            times = [
                min(seconds(sequence, order) for _ in range(2)) for sequence in made
            ]
            print(
                f"{cost} ms, seq[i] {name}: none {times[0] / len(order) * 1e3:.2f} ms "
                f"a batch; of that speed 1 process {times[0] / times[1]:.2f}, "
                f"2 processes {times[0] / times[2]:.2f}"
            )
        times = [min(drained(sequence) for _ in range(2)) for sequence in made]
        print(
            f"{cost} ms, to_tf_dataset: none {times[0] / options.batches * 1e3:.2f} ms "
            f"a batch; of that speed 1 process {times[0] / times[1]:.2f}, "
            f"2 processes {times[0] / times[2]:.2f}"
        )
        for sequence in made:
            sequence.close()

    large = matrix(int(options.gigabytes * 1e9 / 8 / PER_ROW))
    start = time.perf_counter()
    with SparseBatchSequence(
        large,
        batch_size=BATCH,
        transform=busy(1),
        output="csr",
        workers=2,
        use_multiprocessing=True,
    ) as sequence:
        made_after = time.perf_counter() - start
        sequence[0]
        print(
            f"{options.gigabytes} GB in memory: first batch of 2 processes "
            f"{time.perf_counter() - start - made_after:.2f} s after it is asked for"
        )
        seconds(sequence, range(1, 60))
        pids = [one.pid for one in sequence._pipeline.workers._crew.processes]
        shares = ", ".join(f"{private_megabytes(pid):.0f}" for pid in pids)
        print(f"memory of each process: {shares} MB (PSS)")


if __name__ == "__main__":
    main()

"""Ours against what people write today, side by side in one process.

    python benchmarks/compare.py --quick            TEXT, batches of 128: 2 minutes
    python benchmarks/compare.py                    more rounds, pauses, memory: 15
    python benchmarks/compare.py --all              TEXT and CELLS; 32, 128 and 1024
    python benchmarks/compare.py --chart FILE.png   and draw it (extra: plot)

Each feed is read by a loop in Python, drained inside TensorFlow's graph as Keras's
adapter hands it over, and trained from: a Dense(64)-softmax network. All feeds of a
road take turns; a speed is the median over the rounds, shown with where half of them
lie, and a ratio is one of medians. Read the ratios: the speeds are this machine's. CPU
time and page faults are those of all threads, in `fit` also of its start. Each road is
printed when it is measured, and has its floor:

    loop        moving the bytes that a batch must move, and nothing else
    drained     one batch, again and again, by a Sequence through Keras's adapter,
                which a dataset does without: it can be faster than this floor
    fit         one batch that is a tensor already: no loader at all

An epoch of `fit` is timed without what lies between it and the next one, which is
shown apart, as the longest pause seen: see `EpochClock` in `feeds.py`. Peak memory
is measured in a process for each feed: private bytes during `fit` above those
before the feed is made.

Half of a sparse step in `fit` is none of a feed's: glibc hands the memory of gradients
back to the system, and 16 MB (SGD) or 33 MB (Adam) of it come as fresh pages with the
next step. Where MALLOC_TOP_PAD_=67108864 is in the environment from the start, steps
took 17 to 23 ms instead of 30 to 41 with SGD, and 26 to 33 instead of 37 to 65 with
Adam, on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import feeds  # first: it tells TensorFlow to be quiet
import numpy as np
import psutil
from report import show_others, show_road, write_chart
from shapes import CLASSES, SHAPES, TEXT, Shape
from timing import rounds_of

NAIVE, CSR = "naive Sequence", "fit(x=csr)"
SEQUENCE, DATASET = "ours, Sequence", "ours, to_tf_dataset"
TFRECORD, CONSTANT = "TFRecord, shuffle(10000)", "constant batch"
GENERATOR = "generator, .toarray()"
OUTPUTS = ("dense", "sparse")
EPOCHS = 5  # to look between


@dataclass(frozen=True)
class Case:
    """One setting that all feeds are measured in.

    Attributes:
        shape: What the rows look like.
        batch_size: Rows in a batch.
        output: ``"dense"`` or ``"sparse"``.
        steps: Batches in a round.
    """

    shape: Shape
    batch_size: int
    output: str
    steps: int

    @property
    def name(self) -> str:
        """What the results are filed under."""
        return f"{self.shape.name} {self.batch_size} {self.output}"


class Feeds:
    """The feeds of a case, made when they are asked for.

    Args:
        case: What is measured.
        folder: Where the TFRecord file goes.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        count = case.steps * case.batch_size
        self.x, self.y = case.shape.matrix(count + count // 4)
        order = np.random.default_rng(1).permutation(self.x.shape[0])
        self.served = order[:count]
        self._records = folder / f"{case.shape.name}-{count}.tfrecord"

    def feed(self, name: str) -> Any:
        """A fresh feed."""
        case = self.case
        if name == NAIVE:
            dense = case.output == "dense"
            kind = feeds.NaiveDense if dense else feeds.NaiveSparse
            return kind(self.x, self.y, self.served, case.batch_size)
        if name == GENERATOR:
            return feeds.dense_generator(self.x, self.y, case.batch_size)
        if name == CONSTANT:
            # Ours is aligned, always: of others TensorFlow takes a copy, or not.
            return feeds.Constant(self.feed(SEQUENCE)[0], case.steps)
        if name == TFRECORD:
            if not self._records.exists():
                rows = np.sort(self.served)
                feeds.write_tfrecord(self._records, self.x[rows], self.y[rows])
            return feeds.tfrecord_dataset(
                self._records, case.shape.features, case.batch_size, case.output
            )
        sequence = feeds.ours(
            self.x, self.y, self.served, case.batch_size, case.output
        )
        return sequence.to_tf_dataset() if name == DATASET else sequence

    def loops(self) -> dict[str, Callable[[], Any]]:
        """Read by Python; the floor moves the bytes that must be moved."""
        jobs = {
            name: lambda feed=self.feed(name): [feed[i] and None for i in range(steps)]
            for steps in [self.case.steps]
            for name in (NAIVE, SEQUENCE)
        }
        return jobs | {CONSTANT: _mover(self.case)}

    def drains(self) -> dict[str, Callable[[], Any]]:
        """Read inside the graph."""
        names = (NAIVE, SEQUENCE, DATASET, TFRECORD, CONSTANT)
        steps = self.case.steps
        return {name: feeds.drained(self.feed(name), steps) for name in names}

    def fits(self, names: tuple[str, ...] = ()) -> dict[str, Callable[[], Any]]:
        """Trained from, an epoch at a time.

        Args:
            names: Which feeds; by default all that fit the output.
        """
        trainers = {name: self._trainer(name) for name in names or self.trained()}
        return {name: lambda t=t: t(1).epochs[0] for name, t in trainers.items()}

    def trained(self) -> tuple[str, ...]:
        """The feeds that a model can be trained from."""
        names = (NAIVE, SEQUENCE, DATASET, TFRECORD, CONSTANT)
        return (*names, GENERATOR if self.case.output == "dense" else CSR)

    def pauses(self) -> dict[str, float]:
        """Milliseconds between two epochs of `fit`, the longest that was seen.

        One that never ends, as a generator, has none.
        """
        return {
            name: 1e3 * max(self._trainer(name)(EPOCHS).pauses)
            for name in self.trained()
            if name != GENERATOR
        }

    def _trainer(self, name: str) -> Callable[[int], feeds.EpochClock]:
        case = self.case
        model = feeds.network(case.shape.features, CLASSES, case.output)
        options: dict[str, Any] = {"verbose": 0, "shuffle": False}
        if name == CSR:
            rows = np.sort(self.served)
            # Keras takes the older class alone.
            feed: Any = feeds.sp.csr_matrix(self.x[rows])
            options |= {"y": self.y[rows], "batch_size": case.batch_size}
        elif name == CONSTANT:
            feed = feeds.constant_dataset(self.feed(NAIVE)[0], case.steps)
        else:
            feed = self.feed(name)
        if name == GENERATOR:
            options["steps_per_epoch"] = case.steps

        def train(epochs: int) -> feeds.EpochClock:
            clock = feeds.EpochClock()
            model.fit(feed, epochs=epochs, callbacks=[clock], **options)
            return clock

        return train


def _mover(case: Case) -> Callable[[], Any]:
    """Moves the bytes of a batch: read as CSR, written as what is served."""
    stored = case.batch_size * case.shape.per_row
    source = np.ones(stored, np.int64)  # an index and a value
    if case.output == "dense":
        target = np.zeros((case.batch_size, case.shape.features), np.float32)
        kept = np.empty_like(source)

        def move() -> None:
            target.fill(0)
            np.copyto(kept, source)
    else:
        target = np.zeros((stored, 2), np.int64)
        values = np.zeros(stored, np.float32)

        def move() -> None:
            np.copyto(target, source[:, np.newaxis])
            values.fill(1)

    return lambda: [move() for _ in range(case.steps)]


def measure(case: Case, repeats: int, *, quick: bool) -> dict[str, dict[str, Any]]:
    """Measures and prints.

    Returns:
        By road and feed, for each round, thousand rows a second, CPU milliseconds and
        page faults of a batch; and unless it is to be quick, the milliseconds between
        epochs and the memory of each feed.
    """
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = Feeds(case, Path(folder))
        # A step of `fit` takes as long as many batches of the other roads.
        fewer = replace(case, steps=case.steps // 4) if quick else case
        trained = Feeds(fewer, Path(folder))
        roads = {"loop": made.loops, "drained": made.drains, "fit": trained.fits}
        for road, jobs in roads.items():
            steps = fewer.steps if road == "fit" else case.steps
            rows = steps * case.batch_size / 1e3
            found[road] = {
                name: {
                    "speed": [rows / each.seconds for each in rounds],
                    "cpu": [1e3 * each.cpu_seconds / steps for each in rounds],
                    "faults": [each.faults / steps for each in rounds],
                }
                for name, rounds in rounds_of(jobs(), repeats).items()
            }
            show_road(case.name, road, found[road], naive=NAIVE, floor=CONSTANT)
    if quick:
        return found
    with tempfile.TemporaryDirectory() as folder:
        shorter = replace(case, steps=max(8, case.steps // 2))
        found["pause"] = Feeds(shorter, Path(folder)).pauses()
    if case.shape is TEXT and case.batch_size == 128:
        found["memory"] = memory(case)
    show_others(case.name, found)
    return found


def peak_memory(case: Case, name: str) -> float:
    """MB of private memory that training from one feed adds, in this process."""
    process, peak = psutil.Process(), 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, process.memory_full_info().uss)

    with tempfile.TemporaryDirectory() as folder:
        feeds_of_case = Feeds(case, Path(folder))
        feeds_of_case.fits((CONSTANT,))[CONSTANT]()  # TensorFlow's own
        if name == TFRECORD:
            feeds_of_case.feed(TFRECORD)  # writing the file is not part of it
        before = process.memory_full_info().uss
        watcher = threading.Thread(target=watch)
        watcher.start()
        feeds_of_case.fits((name,))[name]()
        done.set()
        watcher.join()
    return (peak - before) / 1e6


def memory(case: Case) -> dict[str, float]:
    """MB by feed, each measured in a process of its own."""
    found = {}
    for name in (NAIVE, SEQUENCE, DATASET, TFRECORD, CSR):
        if name == CSR and case.output == "dense":
            continue
        done = subprocess.run(
            [sys.executable, __file__, "--memory-of", name, "--output", case.output],
            capture_output=True,
            text=True,
            check=True,
        )
        found[name] = float(done.stdout.split()[-1])
    return found


def cases(everything: bool, rows: int) -> list[Case]:
    """The settings to measure; each round reads about `rows` rows of TEXT."""
    shapes = list(SHAPES.values()) if everything else [TEXT]
    sizes = (32, 128, 1024) if everything else (128,)
    found = []
    for shape in shapes:
        for size in sizes:
            budget = rows if shape is TEXT else rows // 8
            steps = max(8, budget // size)
            found += [Case(shape, size, output, steps) for output in OUTPUTS]
    return found


def main() -> None:
    """Reads the arguments, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="speeds, in two minutes")
    parser.add_argument("--all", action="store_true", help="every shape and size")
    parser.add_argument("--rows", type=int, help="rows in a round")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--chart", type=Path, help="draw the figures into this file")
    parser.add_argument("--output", choices=OUTPUTS, help="only this one")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    rows = args.rows or (12_800 if args.quick else 51_200)
    repeats = args.repeats or (4 if args.quick else 7)
    warnings.filterwarnings("ignore", message=".*ran out of data.*")
    if args.memory_of:
        case = Case(TEXT, 128, args.output, rows // 128)
        print(peak_memory(case, args.memory_of))
        return
    results: dict[str, Any] = {}
    for case in cases(args.all, rows):
        if args.output in (None, case.output):
            results[case.name] = measure(case, repeats, quick=args.quick)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    if args.chart:
        write_chart(args.chart, results, naive=NAIVE, floor=CONSTANT)


if __name__ == "__main__":
    main()

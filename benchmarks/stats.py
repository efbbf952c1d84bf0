"""What `seq.stats()` costs: counting, beside the batch that is counted.

    python benchmarks/stats.py

For batches of TEXT, sparse, which are the cheapest there are: a turn of what is added
to each batch, over a turn that reads one, by rounds that alternate. Of what a batch
takes in `fit`, which trains the least model there is, the share is smaller still.

Counting, as a share of a batch, on two cores that were busy otherwise, 2026-11-28; it
took 1.3 to 1.5 us, whatever the batch:

    rows    seq[i]    drained    fit
      32     0.74 %     0.51 %    0.08 %
     128     0.51 %     0.30 %    0.05 %
    1024     0.15 %     0.06 %    0.01 %
"""

from __future__ import annotations

import os
import time
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from shapes import TEXT  # noqa: E402
from timing import rounds_of  # noqa: E402

from sequence_loader import SparseBatchSequence  # noqa: E402
from sequence_loader.feed.stats import FeedCounters  # noqa: E402

ROWS, ROUNDS = 1 << 16, 9


def main() -> None:
    """Measures, and prints a line for each batch size."""
    x, y = TEXT.matrix(ROWS)
    counters, clock = FeedCounters(), time.perf_counter
    model = keras.Sequential(
        [keras.Input((TEXT.features,), sparse=True), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse", jit_compile=False)
    for size in (32, 128, 1024):
        sequence = SparseBatchSequence(
            x, y, batch_size=size, shuffle=True, seed=1, output="sparse"
        )
        dataset = sequence.to_tf_dataset()
        count, plan = len(sequence), sequence._plan

        def counting(count: int = count, plan: Any = plan) -> None:
            for index in range(count):
                asked, read, began = clock(), clock(), clock()
                counters.made(read - asked, began - read)
                counters.served(1, plan.rows_in(index, index + 1), asked, clock())

        def reading(count: int = count, sequence: Any = sequence) -> None:
            for index in range(count):
                sequence[index]

        def drained(dataset: Any = dataset) -> None:
            dataset.reduce(np.int64(0), lambda done, *batch: done + 1)

        def trained(dataset: Any = dataset) -> None:
            model.fit(dataset, shuffle=False, verbose=0)

        rounds = rounds_of(
            {"counting": counting, "seq[i]": reading, "drained": drained,
             "fit": trained},
            ROUNDS if size > 32 else 3,
        )
        cost = median(each.seconds for each in rounds.pop("counting"))
        shares = [
            f"{name} {median(each.seconds for each in found) / count * 1e6:.0f} us, "
            f"{median(cost / each.seconds for each in found):.2%}"
            for name, found in rounds.items()
        ]
        print(f"{size} rows: counting {cost / count * 1e6:.2f} us; {'; '.join(shares)}")


if __name__ == "__main__":
    main()

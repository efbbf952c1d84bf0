"""Counts in the fewest bytes, beside the same counts as float32: size and speed.

    python benchmarks/small_stores.py                       CELLS, batches of 128
    python benchmarks/small_stores.py --shape TEXT --batch 1024
    python benchmarks/small_stores.py --ones                interactions, all of them 1

Writes the same rows, of lengths that vary, twice: as float32, and with
``dtype="smallest"``, which keeps counts in a byte. Then the readers take turns, as many
rounds as --repeats says. What counts are the ratios, each the median of the rounds:

    bytes     on the disk, wanted at most 0.55
    warm      rows/s with all files in the page cache, wanted at least 0.9
    cold      rows/s with none of their pages there, wanted at least 1.5 (CELLS)

Both serve float32, and must serve the same. Of 150,000 rows of CELLS, on two cores, in
batches of 128, in uniform and block order: bytes 0.50; warm 0.93 and 0.99; cold 1.60
and 1.76 (1.3 to 2.1 in single rounds); written in 0.55 to 0.7 of the time, as less is
hashed. Rows of TEXT are short: read one batch at a time, at 0.7 to 0.8 of the speed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import scipy.sparse as sp
from disk import drop_pages
from shapes import CELLS, SHAPES, Shape

from sequence_loader import (
    BlockShuffleSampler,
    ShuffleSampler,
    SparseBatchSequence,
    StoreWriter,
    open_store,
)

WIDE, SMALL = "float32", "smallest"


def counts(shape: Shape, rows: int, ones: bool) -> sp.csr_array:
    """Rows of between half as many values as the shape has, and half as many more.

    Nine of ten are counts of up to 4, the others of up to 255, as of genes in cells.
    """
    rng = np.random.default_rng(0)
    x, _ = shape.matrix(rows)
    lengths = rng.integers(shape.per_row // 2, shape.per_row + 1, rows)
    kept = (np.arange(shape.per_row) < lengths[:, np.newaxis]).ravel()
    values = rng.integers(1, 5, len(kept), dtype=np.uint8)
    high = rng.random(len(kept), dtype=np.float32) < 0.1
    values[high] = rng.integers(5, 256, int(high.sum()), dtype=np.uint8)
    data = np.ones(int(kept.sum()), np.float32) if ones else values[kept].astype("f")
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sp.csr_array((data, x.indices[kept], indptr), shape=x.shape)


def epoch(path: Path, batch: int, order: str, cold: bool) -> tuple[float, float]:
    """Rows a second of one epoch, and seconds of CPU, opening included where cold."""
    sampler = (
        ShuffleSampler(1)
        if order == "uniform"
        else BlockShuffleSampler(1, 16, 64 * batch // 16)
    )
    if cold:
        drop_pages(list(path.iterdir()))
    with open_store(path) as store:
        sequence = SparseBatchSequence(
            store, batch_size=batch, sampler=sampler, output="csr"
        )
        if not cold:
            for _ in sequence:
                pass
        start, used = time.perf_counter(), time.process_time()
        for _ in sequence:
            pass
        taken, used = time.perf_counter() - start, time.process_time() - used
    return store.num_rows / taken, used


def main() -> None:
    """Reads the arguments, writes the stores, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default=CELLS.name)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rows", type=int, help="by default, some 40 million values")
    parser.add_argument("--ones", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    shape = SHAPES[args.shape]
    x = counts(shape, args.rows or int(5e7) // shape.per_row, args.ones)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        paths = {kind: Path(folder) / f"{kind}.store" for kind in (WIDE, SMALL)}
        sizes, written = {}, {}
        for kind, path in paths.items():
            start = time.perf_counter()
            with StoreWriter(path, shape.features, kind) as writer:
                writer.append(x)
            written[kind] = time.perf_counter() - start
            with open_store(path) as store:
                sizes[kind] = store.nbytes
                some = np.random.default_rng(1).permutation(len(store))[:1000]
                assert (store.take(some) != x[some]).nnz == 0
                assert store.dtype == np.float32
        print(
            f"{shape.name}, batches of {args.batch}: {x.shape[0]:,} rows, {x.nnz:,} "
            f"nonzeros, {sizes[SMALL] / x.nnz:.2f} bytes each; bytes "
            f"{sizes[SMALL] / sizes[WIDE]:.2f} of float32, written in "
            f"{written[SMALL] / written[WIDE]:.2f} of the time"
        )
        for state in ("warm", "cold"):
            for order in ("uniform", "block"):
                found: dict[str, list[tuple[float, float]]] = {WIDE: [], SMALL: []}
                for turn in range(args.repeats):
                    for kind in (WIDE, SMALL)[:: (-1) ** turn]:
                        made = epoch(paths[kind], args.batch, order, state == "cold")
                        found[kind].append(made)
                speeds, cpus = (
                    [one[i] / two[i] for one, two in zip(found[SMALL], found[WIDE])]
                    for i in range(2)
                )
                rates = [median(r for r, _ in found[kind]) for kind in (WIDE, SMALL)]
                print(
                    f"  {state}, {order}: {median(speeds):.2f} of the speed "
                    f"({min(speeds):.2f} to {max(speeds):.2f}), {median(cpus):.2f} of "
                    f"the CPU; {rates[0] / 1e3:.0f} and {rates[1] / 1e3:.0f} thousand "
                    f"rows/s"
                )


if __name__ == "__main__":
    main()

"""Converting a large .npz, beside writing the same bytes to the same disk.

    python benchmarks/convert.py [--gigabytes 2.5] [--directory .] [--repeats 2]

Makes an uncompressed CSR .npz of the TEXT shape (20,000 features, 86 nonzeros a row)
in --directory, which needs room for three times its size. Each repeat writes and
syncs a plain file as large as the .npz, then converts the .npz, whose pages have
been dropped from the page cache; the store is a quarter smaller, and both rates are of
the bytes of the .npz. The best of the repeats counts. Private memory is
what this process has of its own (RssAnon), looked at every 5 ms, beyond what it had
before. Two lines to look at: the rate against the disk's is to be at least 0.33, and
the private memory below 500 MB, whatever the size.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np

from sequence_loader.importers.convert import convert

FEATURES, PER_ROW, ROWS = 20_000, 86, 50_000


def make_npz(path: Path, gigabytes: float) -> None:
    """One block of rows, over and over: content does not matter, its size does."""
    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(0, FEATURES // PER_ROW, (ROWS, PER_ROW)), axis=1)
    indices += np.arange(PER_ROW) * (FEATURES // PER_ROW)  # no column twice in a row
    blocks = max(1, round(gigabytes * 1e9 / (ROWS * PER_ROW * 8)))
    rows = blocks * ROWS
    arrays = {
        "indices": (indices.astype(np.int32).tobytes(), "<i4", rows * PER_ROW),
        "data": (rng.random(ROWS * PER_ROW, np.float32).tobytes(), "<f4",
                 rows * PER_ROW),
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for name, (content, kind, count) in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": kind, "fortran_order": False, "shape": (count,)}
                np.lib.format.write_array_header_1_0(file, header)
                for _ in range(blocks):
                    file.write(content)
        for name, value in {
            "indptr": np.arange(0, rows * PER_ROW + 1, PER_ROW, dtype=np.int32),
            "format": np.array(b"csr"),
            "shape": np.array([rows, FEATURES]),
        }.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.save(file, value)


def plain_write(path: Path, size: int) -> float:
    """Seconds to write and sync `size` bytes."""
    content = os.urandom(1 << 24)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // len(content)):
            file.write(content)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


def drop_pages(path: Path) -> None:
    """Empties the page cache of a file."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def private_bytes() -> int:
    """What this process has of its own, without pages of files."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=2.5)
    parser.add_argument("--directory", type=Path, default=Path("."))
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(dir=args.directory, prefix="convert-"))
    try:
        source, store = work / "x.npz", work / "x.store"
        make_npz(source, args.gigabytes)
        convert(np.ones((1, 1)), work / "first.store").close()  # imports are not timed
        size = source.stat().st_size
        disk, ours, peak = [], [], 0
        for _ in range(args.repeats):
            disk.append(plain_write(work / "plain", size))
            drop_pages(source)
            base, done, seen = private_bytes(), threading.Event(), [0]

            def watch() -> None:
                while not done.wait(0.005):
                    seen.append(private_bytes())

            watcher = threading.Thread(target=watch)
            watcher.start()
            start = time.perf_counter()
            convert(source, store, overwrite=True).close()
            ours.append(time.perf_counter() - start)
            done.set()
            watcher.join()
            peak = max(peak, max(seen) - base)
            shutil.rmtree(store)
        rates = [size / min(times) / 1e6 for times in (disk, ours)]
        print(f"{size / 1e9:.2f} GB; plain write {rates[0]:.0f} MB/s, convert "
              f"{rates[1]:.0f} MB/s: {rates[1] / rates[0]:.2f} of the disk's rate")
        print(f"peak private memory {peak / 1e6:.0f} MB")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

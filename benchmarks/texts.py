"""Texts to n-grams and sequences, beside scikit-learn and Keras 2, and many of them.

    python benchmarks/texts.py [--rows 20000] [--repeats 3] [--words 55]
        [--many 560000 5600000] [--directory .]
    python benchmarks/texts.py --train [--rows 20000]
    python benchmarks/texts.py --accuracy

Texts are Zipf words of a vocabulary of 200,000, in 14 classes of which each has words
of its own. The peers and the vectorizers take turns over the same texts in memory; the
median of the rounds counts, in wall time and in CPU time (on a machine that does
other things, the latter is the one to look at). Then `--many` rows, made up as they are
read, go into a store, each number in a process of its own: rows/s, peak memory
(ru_maxrss), bytes of temporary files and of the store. Lines to look at: the ratio to
scikit-learn is to be at least 3, two workers over one at least 1.4, and peak memory
below 1 GB and the same for ten times the rows.

``--train`` trains the guide's MLP for an epoch of `--rows` texts of a csv file, out of
a store and out of the file itself through two worker processes, in turns.
``--accuracy`` trains it on docstrings, on scikit-learn's matrix and on ours, with the
same seeds: the validation accuracies are to be within 0.005.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sequence_loader import NgramVectorizer, SequenceVectorizer

CLASSES, VOCABULARY = 14, 200_000
STEP = 1024


class ZipfTexts:
    """Texts made when they are read: rows of any number, and no file.

    Args:
        num_rows: How many.
        words: In each.
    """

    class_names = tuple(f"class {k}" for k in range(CLASSES))

    def __init__(self, num_rows: int, words: int) -> None:
        self.num_rows, self._words = num_rows, words
        rng = np.random.default_rng(0)
        letters = rng.integers(ord("a"), ord("z") + 1, (VOCABULARY, 9)).astype("<u4")
        whole = letters.view("<U9")[:, 0].astype(object)
        sizes = rng.integers(2, 10, VOCABULARY)
        self._vocabulary = np.array(
            [word[:size] for word, size in zip(whole, sizes)], object
        )
        share = 1 / np.arange(1, VOCABULARY + 1)
        self._ends = np.cumsum(share / share.sum())
        self.y = np.random.default_rng(1).integers(0, CLASSES, num_rows)

    def read(self, rows: Any) -> list[str]:
        """The same text for a row, however it is read."""
        found: list[str] = []
        for start in np.unique(rows // STEP) * STEP:
            wanted = rows[(rows >= start) & (rows < start + STEP)]
            rng = np.random.default_rng(int(start))
            drawn = np.searchsorted(self._ends, rng.random((STEP, self._words)))
            drawn = np.minimum(drawn, VOCABULARY - 1)
            own = rng.random(drawn.shape) < 0.1  # words of the class
            y = np.resize(self.y[start : start + STEP], STEP)[:, None]
            drawn = np.where(own, 1000 + CLASSES * (drawn % 500) + y, drawn)
            found += map(" ".join, self._vocabulary[drawn[wanted - start]])
        return found


class LineTexts:
    """Texts of a file, one a line, read by row; pickled by path."""

    class_names = ZipfTexts.class_names

    def __init__(self, path: Path) -> None:
        self.path = path
        self.y = np.load(path.with_suffix(".y.npy"), mmap_mode="r")
        self.num_rows = len(self.y)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def read(self, rows: Any) -> list[str]:
        """Rows that follow each other are one read."""
        ends = np.load(self.path.with_suffix(".ends.npy"), mmap_mode="r")
        with open(self.path, "rb", buffering=0) as file:
            if (np.diff(rows) == 1).all():
                start = int(ends[rows[0] - 1]) if rows[0] else 0
                content = os.pread(file.fileno(), int(ends[rows[-1]]) - start, start)
                return content.decode("ascii").splitlines()
            return [self.read(rows[i : i + 1])[0] for i in range(len(rows))]

    @classmethod
    def write(cls, path: Path, source: ZipfTexts) -> LineTexts:
        """Writes the file."""
        sizes = []
        with open(path, "w", encoding="ascii") as file:
            for start in range(0, source.num_rows, STEP):
                stop = min(start + STEP, source.num_rows)
                lines = [text + "\n" for text in source.read(np.arange(start, stop))]
                file.writelines(lines)
                sizes += map(len, lines)
        np.save(path.with_suffix(".ends.npy"), np.cumsum(sizes))
        np.save(path.with_suffix(".y.npy"), source.y)
        return cls(path)


def rounds(jobs: dict[str, Callable[[], object]], repeats: int) -> None:
    """Prints how long each takes, and how many times as long as the last."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            before = time.perf_counter(), cpu_seconds()
            job()
            found[name].append(
                (time.perf_counter() - before[0], cpu_seconds() - before[1])
            )
    last = found[list(jobs)[-1]]
    for name, seconds in found.items():
        wall, cpu = (median(each[i] for each in seconds) for i in (0, 1))
        ratio = [
            median(one[i] / other[i] for one, other in zip(seconds, last))
            for i in (0, 1)
        ]
        print(
            f"  {name:34} {wall:7.2f} s wall {cpu:7.2f} s CPU"
            f"   {ratio[0]:5.2f} / {ratio[1]:5.2f} times the last",
            flush=True,
        )


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def scikit_learn(texts: list[str], y: Any) -> None:
    """The guide's n-grams, all in memory."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.feature_selection import SelectKBest, f_classif

    made = TfidfVectorizer(ngram_range=(1, 2), min_df=2, strip_accents="unicode")
    matrix = made.fit_transform(texts)
    SelectKBest(f_classif, k=min(20_000, matrix.shape[1])).fit_transform(matrix, y)


def keras_2(texts: list[str]) -> None:
    """The guide's sequences, all in memory."""
    from tf_keras.preprocessing.sequence import pad_sequences
    from tf_keras.preprocessing.text import Tokenizer

    made = Tokenizer(num_words=20_000)
    made.fit_on_texts(texts)
    found = made.texts_to_sequences(texts)
    pad_sequences(found, maxlen=min(500, max(map(len, found))))


def many(rows: int, words: int, directory: str) -> None:
    """One run from made-up texts to a store, and what it took, as JSON."""
    source = ZipfTexts(rows, words)
    peak, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            total = 0
            for name in os.listdir("/proc/self/fd"):
                try:
                    found = os.stat(f"/proc/self/fd/{name}")
                except OSError:
                    continue
                if found.st_nlink == 0:
                    total += found.st_blocks * 512
            peak[0] = max(peak[0], total)

    threading.Thread(target=look, daemon=True).start()
    before = time.perf_counter(), cpu_seconds()
    for start in range(0, min(rows, 50 * STEP), STEP):
        source.read(np.arange(start, start + STEP))
    making = (cpu_seconds() - before[1]) * rows / min(rows, 50 * STEP)
    before = time.perf_counter(), cpu_seconds()
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        path = Path(folder) / "many.store"
        made = NgramVectorizer()
        made.fit_write(source, path)
        store = sum(each.stat().st_size for each in path.iterdir())
    ended.set()
    found = {
        "rows": rows,
        "wall": time.perf_counter() - before[0],
        "cpu": cpu_seconds() - before[1] - making,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "temporary": peak[0],
        "store": store,
        "terms": made.num_terms,
    }
    print(json.dumps(found))


def train(rows: int, words: int, repeats: int, directory: str) -> None:
    """Prints rows/s of `fit` and of the feed alone, from a store and from raw csv."""
    from sequence_loader import SparseBatchSequence, open_texts
    from sequence_loader.demo.guide import mlp

    made = ZipfTexts(rows, words)
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        path = Path(folder) / "train.csv"
        with open(path, "w", newline="", encoding="ascii") as file:
            writer = csv.writer(file)
            for start in range(0, rows, STEP):
                number = np.arange(start, min(start + STEP, rows))
                writer.writerows(zip(made.y[number] + 1, made.read(number)))
        texts = open_texts(path)
        vectorizer = NgramVectorizer()
        before = time.perf_counter()
        store = vectorizer.fit_write(texts, Path(folder) / "train.store")
        print(f"into a store, one process: {time.perf_counter() - before:.1f} s")
        vectorizer = NgramVectorizer.load(Path(folder) / "train.store")
        options = {"batch_size": 128, "shuffle": True, "seed": 7, "output": "sparse"}
        model = mlp(store.num_features, CLASSES, sparse=True)
        with SparseBatchSequence(
            texts,
            transform=vectorizer.transform,
            workers=2,
            use_multiprocessing=True,
            **options,
        ) as raw:
            feeds = {
                "raw csv, two worker processes": raw,
                "the store": SparseBatchSequence(store, **options),
            }
            for feed in feeds.values():  # compiles, and starts the workers
                model.fit(feed, verbose=0, shuffle=False, steps_per_epoch=8)
            print(f"{rows} rows, drained:")
            rounds({n: lambda f=f: list(f) for n, f in feeds.items()}, repeats)
            print("trained from, an epoch:")
            rounds(
                {
                    n: lambda f=f: model.fit(f, verbose=0, shuffle=False)
                    for n, f in feeds.items()
                },
                repeats,
            )


def accuracy() -> None:
    """Prints the guide's MLP on docstrings, from both matrices, epoch by epoch."""
    import keras
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.feature_selection import SelectKBest, f_classif

    from sequence_loader import SparseBatchSequence
    from sequence_loader.demo.corpus import collect_docstrings
    from sequence_loader.demo.guide import mlp

    corpus = collect_docstrings()
    order = np.random.default_rng(7).permutation(len(corpus.texts))
    val, train = np.split(order, [len(order) // 5])
    texts = [[corpus.texts[i] for i in rows] for rows in (train, val)]
    y = [np.array(corpus.labels)[rows] for rows in (train, val)]
    theirs = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, strip_accents="unicode", dtype=np.float32
    )
    found = [theirs.fit_transform(texts[0]), theirs.transform(texts[1])]
    best = SelectKBest(f_classif, k=20_000).fit(found[0], y[0])
    ours = NgramVectorizer().fit(texts[0], y[0])
    kept = theirs.get_feature_names_out()[best.get_support()]
    print(f"the same columns: {tuple(kept) == ours.feature_names}")
    for name, matrices in (
        ("scikit-learn", [best.transform(each) for each in found]),
        ("NgramVectorizer", [ours.transform(each) for each in texts]),
    ):
        keras.utils.set_random_seed(7)
        feeds = [
            SparseBatchSequence(x, k, shuffle=i == 0, seed=7, output="sparse")
            for i, (x, k) in enumerate(zip(matrices, y))
        ]
        model = mlp(20_000, len(corpus.class_names), sparse=True)
        history = model.fit(
            feeds[0], validation_data=feeds[1], epochs=6, shuffle=False, verbose=0
        ).history
        print(name, [f"{each:.4f}" for each in history["val_accuracy"]], flush=True)


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--words", type=int, default=55)
    parser.add_argument("--many", type=int, nargs="*", default=[560_000, 5_600_000])
    parser.add_argument("--directory", default=".")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--accuracy", action="store_true")
    options = parser.parse_args()
    if options.train:
        train(options.rows, options.words, options.repeats, options.directory)
        return
    if options.accuracy:
        accuracy()
        return
    if options.run:
        many(options.run, options.words, options.directory)
        return
    source = ZipfTexts(options.rows, options.words)
    texts = [
        text
        for start in range(0, options.rows, STEP)
        for text in source.read(np.arange(start, min(start + STEP, options.rows)))
    ]
    y = source.y
    print(f"{options.rows} texts of {options.words} words, in memory, one process:")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rounds(
            {
                "TfidfVectorizer + SelectKBest": lambda: scikit_learn(texts, y),
                "NgramVectorizer.fit": lambda: NgramVectorizer().fit(texts, y),
            },
            options.repeats,
        )
        rounds(
            {
                "Tokenizer + pad_sequences": lambda: keras_2(texts),
                "SequenceVectorizer.fit": lambda: SequenceVectorizer().fit(texts),
            },
            options.repeats,
        )
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        lines = LineTexts.write(
            Path(folder) / "texts.txt", ZipfTexts(5 * options.rows, options.words)
        )
        print(f"{lines.num_rows} texts of a file into a store:")

        def write(workers: int) -> None:
            path = Path(folder) / "a.store"
            NgramVectorizer().fit_write(lines, path, workers=workers, overwrite=True)

        rounds(
            {"one worker": lambda: write(1), "two workers": lambda: write(2)},
            options.repeats,
        )
    for rows in options.many:
        command = [sys.executable, __file__, "--run", str(rows)]
        command += ["--words", str(options.words), "--directory", options.directory]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        print(
            f"{rows} texts into a store, one process: {rows / found['wall']:,.0f} "
            f"rows/s wall (with making the texts), {rows / found['cpu']:,.0f} rows/s "
            f"CPU without; peak {found['peak'] / 1e6:.0f} MB; temporary files "
            f"{found['temporary'] / 1e9:.2f} GB, store {found['store'] / 1e9:.2f} GB; "
            f"{found['terms']:,} terms",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""``vectorize``: files of labelled texts, into a store of n-grams or word numbers."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sequence_loader.cli.command import Subparsers, add_command, add_no_progress, size
from sequence_loader.cli.texts import SPELLED, add_text_options, given
from sequence_loader.cli.vectorizers import (
    BOTH,
    GRAMS,
    KINDS,
    SEQUENCES,
    add_learning,
    chosen,
    written,
)


def add_vectorize(commands: Subparsers) -> None:
    """Describes ``vectorize``."""
    parser = add_command(
        commands,
        "vectorize",
        "write a store of n-grams or word numbers from csv, tsv or JSON lines of texts",
        "Learns from labelled texts which n-grams or words to take, and writes the "
        "store DST, in less than 1 GB of memory, whatever the size of the files. The "
        "store keeps what was learned: with --like, other files get the same columns "
        "and classes.",
        "vectorize train.csv train.store --workers 2",
        "vectorize test.csv test.store --like train.store",
        "vectorize 'parts/*.csv.gz' all.store --as ngrams --ngrams 1 3 --min-df 5",
        "vectorize reviews.jsonl reviews.store --label-column stars "
        "--text-columns text",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="SRC",
        help=".csv, .tsv, .jsonl, .ndjson, also .gz: class number or name, and texts",
    )
    parser.add_argument("path", metavar="DST", help="the store to create")
    parser.add_argument(
        "--as",
        dest="kind",
        choices=("auto", *KINDS),
        help="TF-IDF of n-grams, or padded word numbers; auto, the default, takes "
        "n-grams where texts / words in the median is below 1500, as Google's guide "
        "does",
    )
    parser.add_argument(
        "--like",
        metavar="STORE",
        help="a store whose columns and classes the new one gets",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes; 1 by default"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the store at DST"
    )
    add_no_progress(parser)
    add_learning(parser)
    add_text_options(parser)
    names = {"path": "DST", "source": "SRC", "num_words": "--max-features"}
    learning = GRAMS | SEQUENCES | BOTH | {"y": "--label-column"}
    none = {("select", None): "--select none"}
    spelled = {**SPELLED, **names, **learning, **none}
    parser.set_defaults(run=run_vectorize, spelled=spelled)


class Like(NamedTuple):
    """What other texts have to be like.

    Attributes:
        vectorizer: The one in a store.
        settings: How its texts were opened.
    """

    vectorizer: Any
    settings: dict[str, Any]


def run_vectorize(args: argparse.Namespace) -> int:
    """Runs ``vectorize``."""
    from sequence_loader.text.lengths import Lengths
    from sequence_loader.text.like import open_like
    from sequence_loader.text.vectorizer_passes import free

    free(args.path, args.overwrite)
    like = None if args.like is None else _like(args)
    sources = args.paths[0] if len(args.paths) == 1 else args.paths
    with warnings.catch_warnings():
        # All that it warns of is in what is printed.
        warnings.filterwarnings("ignore", "open_texts: ")
        settings = {} if like is None else like.settings
        said = given(args) | {"progress": args.progress}
        texts, elsewhere = open_like(sources, settings, args.like, said)
    print("\n".join(filter(None, [texts.described(), elsewhere])))
    words = Lengths.of(texts)
    options: dict[str, Any] = {
        "workers": args.workers,
        "overwrite": args.overwrite,
        "progress": args.progress,
        "metadata": {"words": words.to_json()},
    }
    before = time.perf_counter()
    if like is None:
        vectorizer = chosen(args, words)
        store = vectorizer.fit_write(texts, args.path, **options)
    else:
        vectorizer = like.vectorizer
        _check_classes(texts, like, args.like)
        store = vectorizer.write(texts, args.path, **options)
    seconds = time.perf_counter() - before
    with store:
        empty = rows_without(store, args.path)
        kind = "TF-IDF n-grams" if vectorizer.KIND == "ngrams" else "words of a text"
        print(
            f"{args.path}: {store.num_rows:,} rows, {store.num_features:,} {kind}, "
            f"{store.nnz:,} nonzeros of {store.dtype}, {size(store.nbytes)}; "
            f"{seconds:.1f} s, {store.num_rows / seconds:,.0f} rows/s"
        )
    if empty:
        rows, whose = ("row is", "its text has") if empty == 1 else (
            "rows are", "their texts have"
        )  # fmt: skip
        print(f"{empty:,} {rows} empty: {whose} none of the words that have a column")
    return 0


def _like(args: argparse.Namespace) -> Like:
    """The vectorizer of a store, and how its texts were opened."""
    from sequence_loader.store.opening import open_store
    from sequence_loader.text.ngram_vectorizer import NgramVectorizer
    from sequence_loader.text.sequences import SequenceVectorizer
    from sequence_loader.text.vectorizer_files import MANIFEST, kind_in

    path = Path(args.like)
    kind = kind_in(path)
    if kind is None:
        raise FileNotFoundError(
            f"--like must be a store that `vectorize` or a vectorizer made; there is "
            f"no {MANIFEST} in {path}. Make it again from its texts."
        )
    unused = written(args, GRAMS | SEQUENCES | BOTH)
    if args.kind not in (None, "auto", kind):
        unused.append(f"--as {args.kind}")
    if unused:
        raise ValueError(
            f"--like takes the columns of {path}, {KINDS[kind]}; received "
            f"{', '.join(unused)} as well. Leave that out, or --like."
        )
    made = NgramVectorizer if kind == "ngrams" else SequenceVectorizer
    try:
        vectorizer = made.load(path)
    except TypeError as error:  # a function of the user's
        raise TypeError(f"{error} That takes Python.") from None
    settings = {}
    if (path / "manifest.json").exists():
        with open_store(path) as store:
            settings = dict(store.metadata.get("texts", {}))
    if vectorizer.class_names is not None:
        settings.setdefault("class_names", vectorizer.class_names)
    return Like(vectorizer, settings)


def _check_classes(texts: Any, like: Like, path: str) -> None:
    """Raises ValueError if labels cannot be known to be those of training."""
    if texts.y is not None and like.vectorizer.class_names is None:
        raise ValueError(
            f"the labels of SRC would be numbered anew: {path} does not say what its "
            f"classes are called. Pass --no-labels, or write {path} again with class "
            f"names."
        )


def rows_without(store: Any, path: str) -> int:
    """How many rows have no nonzero."""
    import numpy as np

    pointers = np.load(Path(path) / "indptr.npy", mmap_mode="r")
    ends: Iterable[int] = range(0, store.num_rows, 1 << 20)
    return sum(
        int((np.diff(pointers[start : start + (1 << 20) + 1]) == 0).sum())
        for start in ends
    )

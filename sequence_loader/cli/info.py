"""``info``: what is in a store, or in files of texts."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from typing import Any

from sequence_loader.cli.command import Subparsers, add_command, add_no_progress, size
from sequence_loader.cli.texts import SPELLED, add_text_options, given

SHOWN_CLASSES = 20
"""Rows of a table of classes; the rest is summed up."""
SHOWN_TEXT = 300
"""Characters of what one name in `metadata` stands for: barcodes may be many."""


BAR = 30
"""Characters of the longest bar."""


def add_info(commands: Subparsers) -> None:
    """Describes ``info``."""
    parser = add_command(
        commands,
        "info",
        "show what is in a store, or in files of texts",
        "Shows the shape, the size and the labels of a store, or of several as one. Of "
        "csv, tsv and JSON lines files, and of stores made of them, it shows how many "
        "texts each class has and how long they are, and which rows Google's guide "
        "would make of them.",
        "info train.store",
        "info parts/*.store",
        "info train.csv",
    )
    parser.add_argument("stores", nargs="+", metavar="SRC")
    add_no_progress(parser)
    add_text_options(parser)
    parser.set_defaults(run=run_info, spelled=SPELLED)


def run_info(args: argparse.Namespace) -> int:
    """Runs ``info``."""
    from sequence_loader.text.arguments import SUFFIXES

    # One is passed as it is, since it may be a pattern.
    paths = args.stores[0] if len(args.stores) == 1 else args.stores
    suffixes = tuple(end + gz for end in SUFFIXES for gz in ("", ".gz"))
    is_text = [
        "format" in vars(args) or path.lower().endswith(suffixes)
        for path in args.stores
    ]
    if all(is_text) and not any(map(os.path.isdir, args.stores)):
        return _info_of_texts(args, paths)
    written = [SPELLED[name] for name in given(args)]
    if written:
        raise ValueError(
            f"{', '.join(written)} must go with files of texts; received "
            f"{' '.join(args.stores)}. Leave it out."
        )
    return _info_of_stores(args, paths)


def _info_of_texts(args: argparse.Namespace, paths: Any) -> int:
    from rich.console import Console

    from sequence_loader.text.lengths import Lengths
    from sequence_loader.text.opening import open_texts

    with warnings.catch_warnings():
        # All that it warns of is in what is printed.
        warnings.filterwarnings("ignore", "open_texts: ")
        texts = open_texts(paths, progress=args.progress, **given(args))
    print(texts.described())
    console = Console()
    if texts.y is not None:
        _show_labels(texts.y, texts.class_names, console)
    _show_lengths(Lengths.of(texts), console)
    return 0


def _info_of_stores(args: argparse.Namespace, paths: Any) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sequence_loader.store.opening import open_store
    from sequence_loader.store.survey import ONES, survey
    from sequence_loader.text.lengths import Lengths

    with open_store(paths) as store:
        rows, features = store.shape
        cells = rows * features
        dense = cells * store.dtype.itemsize
        found = survey(store)
        table = Table(title=Text(" ".join(args.stores)), show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in {
            "rows": f"{rows:,}",
            "features": f"{features:,}{' (named)' if store.feature_names else ''}",
            "nonzeros": f"{store.nnz:,}",
            "nonzeros a row": f"{store.nnz / rows:,.1f}" if rows else "-",
            "density": f"{store.nnz / cells:.4%}" if cells else "-",
            "dtype": store.dtype.name,
            "values on disk": ", ".join(
                "none, as all are 1" if kind == ONES else kind for kind in found.kept
            ),
            "on disk": size(store.nbytes),
            "as a dense array": size(dense),
            "sample_weight": "no" if store.sample_weight is None else "yes",
            "y": "no" if store.y is None else f"{store.y.dtype} {store.y.shape}",
        }.items():
            table.add_row(name, value)
        words = Lengths.kept(store.metadata)
        for key, entry in store.metadata.items():
            if key == "words" and words is not None:
                continue
            text = str(entry)
            text = text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}..."
            table.add_row(Text(f"metadata: {key}"), Text(text))
        console = Console()
        console.print(table)
        if store.y is not None and len(store.y):
            _show_labels(store.y, store.class_names, console, store.sample_weight)
        if words is not None and words.texts == rows:
            _show_lengths(words, console)
        if found.bars:
            _show_values(store, found, console)
    return 0


def _show_values(store: Any, found: Any, console: Any) -> None:
    """How many values rows have, and how few bytes would hold them."""
    from rich.table import Table

    from sequence_loader.store.survey import ONES

    some = "" if found.rows == store.num_rows else f" of {found.rows:,}"
    table = Table(title="values of a row")
    table.add_column("")
    table.add_column(f"rows{some}", justify="right")
    table.add_column("")
    most = max(count for _, _, count in found.bars)
    for first, last, count in found.bars:
        name = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        table.add_row(name, f"{count:,}", _bar(count, most))
    console.print(table)
    whole = found.values == store.nnz
    looked = f"all {store.nnz:,}" if whole else f"{found.values:,} of {store.nnz:,}"
    told = f"narrower values: {looked} were looked at; "
    if found.nbytes < store.nbytes:
        how = f"kept in {found.narrowest}"
        if found.narrowest == ONES:
            how = "all are 1, and without them on disk"
        told += (
            f"{how} the store takes {size(found.nbytes)} in place of "
            f"{size(store.nbytes)}: convert --dtype smallest"
        )
        told += "" if whole else ", which looks at all"
    else:
        told += "nothing to save"
    print(told)


def _show_labels(
    y: Any, class_names: Sequence[str] | None, console: Any, weights: Any = None
) -> None:
    """What `y` holds, as a table: classes with bars.

    A row of weight 0 has no label, whatever stands there.
    """
    import numpy as np

    from rich.table import Table
    from rich.text import Text

    labels = Table(title="y")
    labels.add_column("")
    labels.add_column("rows", justify="right")
    weightless = 0
    if weights is not None and weights.ndim == 1:
        counted = np.asarray(weights) != 0
        weightless = len(y) - int(counted.sum())
    rows = len(y)
    found = _distribution(y[counted] if weightless else y, class_names)
    if weightless:
        found.append(("of weight 0", weightless))
    most = max((count for _, count in found if count is not None), default=0)
    labels.add_column("")
    labels.add_column("share", justify="right")
    for label, count in found:
        share = "" if count is None else f"{count / rows:.1%}"
        shown = "" if count is None else f"{count:,}"
        labels.add_row(Text(label), shown, _bar(count or 0, most), share)
    console.print(labels)


def _show_lengths(words: Any, console: Any) -> None:
    """How long texts are, as a table of bars, and what the guide makes of them."""
    from rich.table import Table

    some = "" if words.looked_at == words.texts else f" of {words.looked_at:,}"
    table = Table(title="words of a text")
    table.add_column("")
    table.add_column(f"texts{some}", justify="right")
    table.add_column("")
    bars = words.bars()
    most = max(count for _, count in bars)
    for name, count in bars:
        table.add_row(name, f"{count:,}", _bar(count, most))
    console.print(table)
    kind = {"ngrams": "n-grams", "sequences": "sequences"}[words.choice]
    print(f"{words}: Google's guide takes {kind}")


def _bar(count: int, most: int) -> str:
    return "█" * -(-BAR * count // max(most, 1))


def _distribution(
    y: Any, class_names: Sequence[str] | None
) -> list[tuple[str, int | None]]:
    """What `y` holds: classes and how many rows each has, or where numbers lie."""
    import numpy as np

    if y.ndim == 2 and y.dtype.kind in "biu" and y.shape[1]:
        # Several labels a row: how many rows have each.
        labels = np.arange(y.shape[1])
        counts = np.count_nonzero(y, axis=0)
    elif y.ndim == 1 and y.dtype.kind in "biu":
        labels, counts = np.unique(y, return_counts=True)
        absent = np.setdiff1d(np.arange(len(class_names or ())), labels)
        labels = np.append(labels, absent)
        counts = np.append(counts, np.zeros_like(absent))
    else:
        numbers = np.asarray(y, np.float64)
        if not numbers.size:
            return []
        found = numbers.min(), numbers.mean(), numbers.max()
        return [
            (f"{name} {value:.6g}", None)
            for name, value in zip(("least", "mean", "largest"), found)
        ]
    known = class_names or ()
    named = [
        (known[label] if 0 <= label < len(known) else str(label), count)
        for label, count in zip(labels.tolist(), counts.tolist())
    ]
    named.sort(key=lambda each: -each[1])  # stable: equals stay in the order of labels
    rest = named[SHOWN_CLASSES:]
    if len(rest) > 1:
        more = sum(count for _, count in rest)
        without = sum(not count for _, count in rest)
        some = f", {without} of them without rows" if without else ""
        named[SHOWN_CLASSES:] = [(f"{len(rest)} more{some}", more)]
    return named

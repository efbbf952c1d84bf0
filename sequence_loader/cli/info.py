"""``info``: what is in a store."""

from __future__ import annotations

import argparse
from typing import Any

from sequence_loader.cli.command import Subparsers, add_command, size

SHOWN_CLASSES = 20
"""Rows of a table of classes; the rest is summed up."""
SHOWN_TEXT = 300
"""Characters of what one name in `metadata` stands for: barcodes may be many."""


def add_info(commands: Subparsers) -> None:
    """Describes ``info``."""
    parser = add_command(
        commands,
        "info",
        "show what is in a store",
        "Shows the shape, the size and the labels of a store, or of several as one.",
        "info train.store",
        "info parts/*.store",
    )
    parser.add_argument("stores", nargs="+", metavar="STORE")
    parser.set_defaults(run=run_info)


def run_info(args: argparse.Namespace) -> int:
    """Runs ``info``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sequence_loader.store.opening import open_store

    # One is passed as it is, since it may be a pattern.
    paths = args.stores[0] if len(args.stores) == 1 else args.stores
    with open_store(paths) as store:
        rows, features = store.shape
        cells = rows * features
        dense = cells * store.dtype.itemsize
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
            "on disk": size(store.nbytes),
            "as a dense array": size(dense),
            "sample_weight": "no" if store.sample_weight is None else "yes",
            "y": "no" if store.y is None else f"{store.y.dtype} {store.y.shape}",
        }.items():
            table.add_row(name, value)
        for key, entry in store.metadata.items():
            text = str(entry)
            text = text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}..."
            table.add_row(Text(f"metadata: {key}"), Text(text))
        console = Console()
        console.print(table)
        if store.y is not None and len(store.y):
            labels = Table(title="y")
            labels.add_column("")
            labels.add_column("rows", justify="right")
            labels.add_column("share", justify="right")
            for label, count in _distribution(store.y, store.class_names):
                share = "" if count is None else f"{count / rows:.1%}"
                shown = "" if count is None else f"{count:,}"
                labels.add_row(Text(label), shown, share)
            console.print(labels)
    return 0


def _distribution(
    y: Any, class_names: tuple[str, ...] | None
) -> list[tuple[str, int | None]]:
    """What `y` holds: classes and how many rows each has, or where numbers lie."""
    import numpy as np

    if y.ndim == 2 and y.dtype.kind in "biu" and y.shape[1]:
        # Several labels a row: how many rows have each.
        labels = np.arange(y.shape[1])
        counts = np.count_nonzero(y, axis=0)
    elif y.ndim == 1 and y.dtype.kind in "biu":
        labels, counts = np.unique(y, return_counts=True)
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
        named[SHOWN_CLASSES:] = [(f"{len(rest)} more", more)]
    return named

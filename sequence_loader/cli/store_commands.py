"""The commands about stores: ``convert``, ``info``, ``verify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sequence_loader.cli.command import Subparsers, add_command, failed

SHOWN_CLASSES = 20
"""Rows of a table of classes; the rest is summed up."""


def add_convert(commands: Subparsers) -> None:
    """Describes ``convert``."""
    parser = add_command(
        commands,
        "convert",
        "write a store from .npz, svmlight, AnnData or MatrixMarket files",
        "Writes the store DST from one or more files of the same format, whose rows "
        "follow one another. Memory stays bounded, whatever their size, and nothing "
        "is at DST before all of it is.",
        "convert train.npz train.store --y labels.npy",
        "convert part0.svm.gz part1.svm.gz train.store",
        "convert cells.h5ad cells.store --label-column cell_type --layer counts",
        "convert matrix.mtx.gz cells.store --transpose --dtype uint16",
    )
    parser.add_argument(
        "source", nargs="+", metavar="SRC", help="the files, or directories of zarr"
    )
    parser.add_argument("path", metavar="DST", help="the store to create")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="npz, svmlight, anndata or matrix-market; by default that of the suffix",
    )
    parser.add_argument(
        "--y",
        metavar="FILE",
        help="a .npy of targets, one for each row; text becomes classes",
    )
    parser.add_argument(
        "--sample-weight", metavar="FILE", help="a .npy of weights, one for each row"
    )
    parser.add_argument(
        "--dtype", metavar="NAME", help="type of the stored values, float32 for example"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the store at DST"
    )
    for what in ("feature", "class"):
        parser.add_argument(
            f"--{what}-names",
            metavar="FILE",
            help=f"a text of {what} names, one on each line",
        )
    parser.add_argument(
        "--no-progress",
        dest="progress",
        action="store_false",
        help="show no progress bar",
    )
    anndata = parser.add_argument_group("AnnData")
    anndata.add_argument("--layer", metavar="NAME", help="a layer instead of X")
    anndata.add_argument(
        "--label-column", metavar="NAME", help="a column of obs, for y"
    )
    svmlight = parser.add_argument_group("svmlight")
    svmlight.add_argument(
        "--num-features",
        type=int,
        metavar="N",
        help="number of columns, where the last ones are unused",
    )
    base = svmlight.add_mutually_exclusive_group()
    base.add_argument(
        "--zero-based",
        dest="zero_based",
        action="store_true",
        default=None,
        help="columns count from 0; by default, from 1 if column 0 is unused",
    )
    base.add_argument(
        "--one-based",
        dest="zero_based",
        action="store_false",
        default=None,
        help="columns count from 1",
    )
    svmlight.add_argument(
        "--multilabel",
        action="store_true",
        default=None,
        help="a row has any number of labels",
    )
    market = parser.add_argument_group("MatrixMarket")
    market.add_argument(
        "--transpose",
        action="store_true",
        default=None,
        help="columns are the rows wanted, as in genes by cells",
    )
    parser.set_defaults(run=run_convert)


def run_convert(args: argparse.Namespace) -> int:
    """Runs ``convert``."""
    from sequence_loader.importers.convert import convert

    options = dict(vars(args))
    for name in ("run", "command", "traceback"):
        del options[name]
    for name in ("feature_names", "class_names"):
        if options[name] is not None:
            options[name] = Path(options[name]).read_text("utf-8").splitlines()
    with convert(**options) as store:
        rows, features = store.shape
        print(
            f"{args.path}: {rows:,} rows, {features:,} features, {store.nnz:,} "
            f"nonzeros of {store.dtype}, {_size(store.nbytes)}"
        )
    return 0


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

    from sequence_loader.store.sparse_store import open_store

    with open_store(_paths(args.stores)) as store:
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
            "on disk": _size(store.nbytes),
            "as a dense array": _size(dense),
            "sample_weight": "no" if store.sample_weight is None else "yes",
            "y": "no" if store.y is None else f"{store.y.dtype} {store.y.shape}",
        }.items():
            table.add_row(name, value)
        for key, entry in store.metadata.items():
            table.add_row(Text(f"metadata: {key}"), Text(str(entry)))
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


def add_verify(commands: Subparsers) -> None:
    """Describes ``verify``."""
    parser = add_command(
        commands,
        "verify",
        "read a store, and check every digest and every index",
        "Reads everything, with a progress bar, of one store after the other. The exit "
        "code is 0 only if all of it is what was written.",
        "verify train.store",
        "verify parts/*.store",
    )
    parser.add_argument("stores", nargs="+", metavar="STORE")
    parser.add_argument(
        "--no-progress",
        dest="progress",
        action="store_false",
        help="show no progress bar",
    )
    parser.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Runs ``verify``."""
    from sequence_loader.store.sparse_store import StoreError, open_store

    code = 0
    for path in args.stores:
        try:
            with open_store(path) as store:
                store.verify(progress=args.progress)
                print(f"{path}: whole, {_size(store.nbytes)}")
        except (FileNotFoundError, StoreError) as error:  # the others may be whole
            if args.traceback:
                raise
            code = failed(args.command, str(error))
    return code


def _paths(stores: list[str]) -> Any:
    """One is passed as it is, since it may be a pattern."""
    return stores[0] if len(stores) == 1 else stores


def _size(count: int) -> str:
    """Bytes with three digits that tell: ``86.1 MB``."""
    if count < 1000:
        return f"{count} bytes"
    size, units = count / 1000, ["kB", "MB", "GB", "TB", "PB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}" if size < 1000 else f"{size:,.0f} {units[0]}"


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

"""``convert``: files of other formats, into a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from sequence_loader.cli.command import Subparsers, add_command, add_no_progress, size


def add_convert(commands: Subparsers) -> None:
    """Describes ``convert``."""
    parser = add_command(
        commands,
        "convert",
        "write a store from .npz, svmlight, AnnData, 10x or MatrixMarket files, or "
        "from stores",
        "Writes the store DST from one or more files of the same format, whose rows "
        "follow one another. Memory stays bounded, whatever their size, and nothing "
        "is at DST before all of it is.",
        "convert train.npz train.store --y labels.npy",
        "convert part0.svm.gz part1.svm.gz train.store",
        "convert cells.h5ad cells.store --label-column cell_type --layer counts",
        "convert filtered_feature_bc_matrix cells.store --dtype smallest",
        "convert matrix.mtx.gz cells.store --transpose",
    )
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SRC",
        help="the files, or directories of zarr or 10x, or stores",
    )
    parser.add_argument("path", metavar="DST", help="the store to create")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="npz, svmlight, anndata, 10x, matrix-market or store; by default that of "
        "the suffix",
    )
    parser.add_argument(
        "--y",
        metavar="FILE",
        help="targets, one for each row: a .npy, a text with one on each line (.gz, "
        ".bz2, .xz), or TABLE.csv:COLUMN (its name, or without names its number, from "
        "0); text becomes classes, a word where most entries are numbers is refused",
    )
    parser.add_argument(
        "--sample-weight", metavar="FILE", help="weights, one for each row, as --y"
    )
    parser.add_argument(
        "--classes",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="labels that are numbers are classes, too, such as -1 and 1, or 1 to k; "
        "and so are words among them",
    )
    parser.add_argument(
        "--missing-labels",
        default="refuse",
        choices=("refuse", "zero-weight"),
        help="whether rows without a label are refused, or get the weight 0",
    )
    parser.add_argument(
        "--dtype",
        metavar="NAME",
        help="type of the stored values, float32 for example; or smallest, which keeps "
        "counts in one byte or two, and loses nothing",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the store at DST"
    )
    for what in ("feature", "class"):
        parser.add_argument(
            f"--{what}-names",
            metavar="FILE",
            help=f"a text of {what} names, one on each line; or .gz"
            + ("; or features.tsv of 10x" if what == "feature" else ""),
        )
    add_no_progress(parser)
    parser.add_argument(
        "--like",
        metavar="STORE",
        help="a store whose features, dtype and class names the new one must have",
    )
    anndata = parser.add_argument_group("AnnData")
    anndata.add_argument(
        "--layer", metavar="NAME", help="a layer, or raw/X, instead of X"
    )
    anndata.add_argument(
        "--label-column", metavar="NAME", help="a column of obs, for y"
    )
    tenx = parser.add_argument_group("10x Genomics")
    tenx.add_argument(
        "--feature-type", metavar="NAME", help="these alone: 'Gene Expression', say"
    )
    tenx.add_argument(
        "--genome", metavar="NAME", help="the features of one genome of an .h5 file"
    )
    svmlight = parser.add_argument_group("svmlight")
    svmlight.add_argument(
        "--num-features",
        type=int,
        metavar="N",
        help="number of columns; by default, up to the last one in use",
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
        help="a row has any number of labels; y has a column for each",
    )
    svmlight.add_argument(
        "--label-store",
        metavar="STORE",
        help="a second store to create, for such labels as sparse rows",
    )
    svmlight.add_argument(
        "--query-ids",
        metavar="FILE",
        help="a .npy to create, for the numbers after qid:",
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
    from sequence_loader.importers.feature_names import read_listed, read_names
    from sequence_loader.store.opening import open_store

    options = dict(vars(args))
    for name in ("run", "command", "traceback"):
        del options[name]
    for name, read in (("feature_names", read_names), ("class_names", read_listed)):
        if options[name] is not None:
            options[name] = read(Path(options[name]))
    with convert(**options) as store:
        rows, features = store.shape
        print(
            f"{args.path}: {rows:,} rows, {features:,} features, {store.nnz:,} "
            f"nonzeros of {store.dtype}, {size(store.nbytes)}"
        )
        noted = store.metadata.get("svmlight")
        if isinstance(noted, dict) and "zero_based" in noted:
            base, option = (0, "--zero-based") if noted["zero_based"] else (
                1, "--one-based"
            )
            print(f"columns counted from {base} in the source ({option})")
    if args.label_store is not None:
        with open_store(args.label_store) as labels:
            print(
                f"{args.label_store}: {labels.num_features:,} labels, {labels.nnz:,} "
                f"of them set, {size(labels.nbytes)}"
            )
    return 0

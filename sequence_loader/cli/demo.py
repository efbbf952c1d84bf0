"""``demo``: the whole way from texts to a trained model."""

from __future__ import annotations

import argparse

from sequence_loader.cli.command import Subparsers, add_command, add_no_progress, failed
from sequence_loader.cli.texts import SPELLED, add_text_options, given


def add_demo(commands: Subparsers) -> None:
    """Describes ``demo``."""
    parser = add_command(
        commands,
        "demo",
        "train a text classifier from sparse rows, on real text or on your own",
        "Without a file it collects the docstrings of installed packages, writes them "
        "into csv files, makes stores of TF-IDF n-grams, trains a network to tell "
        "which package a docstring comes from, and compares memory and speed with "
        "dense batches. With a file it trains what Google's text-classification guide "
        "would choose for that: an MLP on n-grams or a separable CNN on sequences of "
        "words, until the validation loss falls by less than 0.0005 in two epochs. "
        "Stores and model are put into a folder once all of them are whole, in place "
        "of those of an earlier run; of a run that is interrupted nothing is kept. "
        "The exit code is 0 only if the network learned.",
        *("demo", "demo --quick", "demo --packages scipy sklearn torch"),
        "demo train.csv test.csv",
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="CSV",
        help="labelled texts to train with, of which a fifth is held out to validate "
        "with, and others to test with at the end",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a fifth of the sources and fewer epochs: under 40 seconds",
    )
    parser.add_argument(
        "--packages",
        nargs="+",
        metavar="NAME",
        help='top-level packages to tell apart; "stdlib" is the standard library',
    )
    add_no_progress(parser)
    own = parser.add_argument_group("with files", argument_default=argparse.SUPPRESS)
    own.add_argument(
        "--as",
        dest="kind",
        choices=("ngrams", "sequences"),
        help="rather than what the guide would choose",
    )
    own.add_argument(
        "--out",
        dest="folder",
        metavar="DIR",
        help="where stores and model are put: a new folder, or that of an earlier run, "
        "which is replaced at the end; by default train.demo for train.csv",
    )
    own.add_argument(
        "--epochs", type=int, metavar="N", help="at most; 1000, as in the guide"
    )
    own.add_argument("--workers", type=int, metavar="N", help="processes; 1 by default")
    add_text_options(parser)
    spelled = {**SPELLED, "paths": "CSV", "folder": "--out"}
    parser.set_defaults(run=run_demo, spelled=spelled)


OWN = {
    "kind": "--as", "folder": "--out", "epochs": "--epochs", "workers": "--workers"
}  # fmt: skip


def run_demo(args: argparse.Namespace) -> int:
    """Runs ``demo``."""
    options = {name: vars(args)[name] for name in OWN if name in vars(args)}
    if args.files:
        return _of_files(args, options)
    written = [OWN[name] for name in options] + [SPELLED[name] for name in given(args)]
    if written:
        raise ValueError(
            f"{', '.join(written)} must go with a file; received none. Pass the file "
            f"of the texts."
        )
    from sequence_loader.demo.corpus import PACKAGES
    from sequence_loader.demo.run import FULL, QUICK, demo

    scale = QUICK if args.quick else FULL
    reason = demo(args.packages or PACKAGES, scale, args.progress)
    return failed(args.command, reason) if reason else 0


def _of_files(args: argparse.Namespace, options: dict[str, object]) -> int:
    from sequence_loader.checks import integer
    from sequence_loader.demo.guide import EPOCHS
    from sequence_loader.demo.own import demo_of_files

    if len(args.files) > 2 or args.quick or args.packages is not None:
        raise ValueError(
            "CSV must be a file to train with and at most one to test with, "
            "without --quick and --packages; received "
            f"{' '.join(args.files)}. Pass several files as a pattern in quotes."
        )
    defaults = {"kind": None, "folder": None, "epochs": EPOCHS, "workers": 1}
    found = defaults | options | {"progress": args.progress}
    for name in ("epochs", "workers"):
        integer(name, found[name], minimum=1)
    reason = demo_of_files(args.files, given(args), **found)  # type: ignore[arg-type]
    return failed(args.command, reason) if reason else 0

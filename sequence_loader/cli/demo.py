"""``demo``: the whole way from texts to a trained model."""

from __future__ import annotations

import argparse

from sequence_loader.cli.command import Subparsers, add_command, failed


def add_demo(commands: Subparsers) -> None:
    """Describes ``demo``."""
    parser = add_command(
        commands,
        "demo",
        "train a text classifier from sparse rows, on real text, and time it",
        "Collects the docstrings of installed packages, learns which package a "
        "docstring comes from with TF-IDF n-grams and a small network fed by "
        "SparseBatchSequence, and compares memory and speed with dense batches. "
        "The exit code is 0 only if the network learned.",
        *("demo", "demo --quick", "demo --packages scipy sklearn torch"),
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
    parser.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> int:
    """Runs ``demo``."""
    from sequence_loader.demo.corpus import PACKAGES
    from sequence_loader.demo.run import FULL, QUICK, demo

    scale = QUICK if args.quick else FULL
    reason = demo(args.packages or PACKAGES, scale)
    return failed(args.command, reason) if reason else 0

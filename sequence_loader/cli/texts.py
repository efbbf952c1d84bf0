"""How `open_texts` and the vectorizers are asked for on a command line."""

from __future__ import annotations

import argparse
import re
from typing import Any

FLAGS = {
    "label_column": "--label-column",
    "text_columns": "--text-columns",
    "class_names": "--class-names",
    "first_label": "--first-label",
    "header": "--header",
    "format": "--format",
    "delimiter": "--delimiter",
    "quotechar": "--quotechar",
    "encoding": "--encoding",
    "joiner": "--joiner",
    "unescape": "--unescape",
    "on_error": "--on-error",
    "max_record_bytes": "--max-record-bytes",
}
"""Arguments of `open_texts`: those that are not written are not in the namespace."""

SPELLED: dict[Any, str] = {
    **FLAGS,
    "paths": "SRC",
    ("label_column", None): "--no-labels",
    ("class_names", None): "--no-class-names",
    ("first_label", None): "--labels-are-names",
    ("quotechar", None): "--no-quotes",
    ("header", True): "--header",
    ("header", False): "--no-header",
    ("unescape", True): "--unescape",
    ("unescape", False): "--no-unescape",
}
"""How messages name them, some of them by their value."""


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Adds what says how files of texts are read."""
    group = parser.add_argument_group(
        "how the files are read (by default this is told from them, and said)",
        argument_default=argparse.SUPPRESS,
    )
    group.add_argument(
        "--label-column",
        type=column,
        metavar="COLUMN",
        help="number, counted from 0, or name of the column of labels",
    )
    group.add_argument(
        "--no-labels",
        dest="label_column",
        action="store_const",
        const=None,
        help="there is no such column",
    )
    group.add_argument(
        "--text-columns",
        type=column,
        nargs="+",
        metavar="COLUMN",
        help="those of the texts, which are joined",
    )
    group.add_argument(
        "--class-names",
        metavar="FILE",
        help="a text with the name of a class on each line; by default the "
        "classes.txt beside the files",
    )
    group.add_argument(
        "--no-class-names",
        dest="class_names",
        action="store_const",
        const=None,
        help="leave that classes.txt aside",
    )
    group.add_argument(
        "--first-label",
        type=int,
        choices=(0, 1),
        help="labels are class numbers that count from here",
    )
    group.add_argument(
        "--labels-are-names",
        dest="first_label",
        action="store_const",
        const=None,
        help="labels are names, also if they are digits",
    )
    for name, what in (
        ("header", "the files begin with the names of their columns"),
        ("unescape", r"a literal \n is a line end, and \" a quote"),
    ):
        group.add_argument(
            f"--{name}",
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,  # Python 3.10 shows any other in the help
            help=what,
        )
    group.add_argument("--format", metavar="NAME", help="csv, tsv or jsonl")
    group.add_argument(
        "--delimiter",
        type=lambda text: "\t" if text == r"\t" else text,
        metavar="CHARACTER",
        help=r"between fields: ';', for example, or '\t' for a tab",
    )
    group.add_argument(
        "--quotechar", metavar="CHARACTER", help="around fields, as in Python's csv"
    )
    group.add_argument(
        "--no-quotes",
        dest="quotechar",
        action="store_const",
        const=None,
        help="a quote is a plain character",
    )
    group.add_argument("--encoding", metavar="NAME", help="cp1252, for example")
    group.add_argument(
        "--joiner", metavar="TEXT", help="stands between the texts of a row"
    )
    group.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        help="whether a record that cannot be a row ends all, or is left out, counted "
        "and said",
    )
    group.add_argument(
        "--max-record-bytes", type=int, metavar="N", help="the longest record"
    )


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `open_texts` that were written."""
    return {name: vars(args)[name] for name in FLAGS if name in vars(args)}


def column(text: str) -> int | str:
    """The number or the name of a column."""
    return int(text) if re.fullmatch("-?[0-9]+", text) else text

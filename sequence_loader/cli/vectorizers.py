"""How the vectorizers are asked for on a command line."""

from __future__ import annotations

import argparse
import re
from typing import Any

from sequence_loader.cli.command import say

KINDS = {"ngrams": "n-grams", "sequences": "sequences"}
GRAMS = {
    "ngram_range": "--ngrams",
    "min_df": "--min-df",
    "max_df": "--max-df",
    "select": "--select",
    "stop_words": "--stop-words",
    "analyzer": "--analyzer",
    "norm": "--norm",
    "sublinear_tf": "--sublinear-tf",
    "memory": "--memory",
}
SEQUENCES = {"max_length": "--max-length"}
BOTH = {"max_features": "--max-features"}
"""Arguments of the vectorizers: those not written are not in the namespace."""


def add_learning(parser: argparse.ArgumentParser) -> None:
    """Adds what says which columns are learned."""
    group = parser.add_argument_group(
        "what is learned", argument_default=argparse.SUPPRESS
    )
    group.add_argument(
        "--max-features",
        type=lambda text: None if text == "all" else int(text),
        metavar="N",
        help="n-grams, or words and the padding, at most: 20000; n-grams: or all",
    )
    group.add_argument(
        "--max-length", type=int, metavar="N", help="sequences: words of a text: 500"
    )
    group = parser.add_argument_group("n-grams", argument_default=argparse.SUPPRESS)
    group.add_argument(
        "--ngrams",
        dest="ngram_range",
        nargs=2,
        type=int,
        metavar=("LEAST", "MOST"),
        help="words of one: 1 2",
    )
    for name, what in (("min", "fewer: 2"), ("max", "more: 1.0")):
        group.add_argument(
            f"--{name}-df",
            type=_frequency,
            metavar="N",
            help=f"leave out what is in {what}; texts, or a share with a point",
        )
    group.add_argument(
        "--select",
        type=_or_none,
        choices=("f_classif", "chi2", None),
        metavar="SCORE",
        help="by what the best are chosen: f_classif, chi2, or none: the commonest",
    )
    group.add_argument("--stop-words", choices=("english",), help="leave these out")
    group.add_argument(
        "--analyzer",
        choices=("word", "char", "char_wb"),
        help="n-grams of words, or of characters, within words",
    )
    group.add_argument(
        "--norm",
        type=_or_none,
        choices=("l2", "l1", None),
        metavar="NORM",
        help="what rows are divided by: l2, l1 or none",
    )
    group.add_argument(
        "--sublinear-tf", action="store_true", help="log(count) + 1 instead of count"
    )
    group.add_argument(
        "--memory",
        type=int,
        metavar="BYTES",
        help="that the vocabulary may take: rarer n-grams are let go beyond, and said",
    )


def _or_none(text: str) -> str | None:
    return None if text == "none" else text


def _frequency(text: str) -> int | float:
    return int(text) if re.fullmatch("[0-9]+", text) else float(text)


def chosen(args: argparse.Namespace, words: Any) -> Any:
    """The vectorizer that was asked for, or that the guide would choose."""
    from sequence_loader.text.ngram_vectorizer import NgramVectorizer
    from sequence_loader.text.sequences import SequenceVectorizer

    kind = args.kind or "auto"
    if kind == "auto":
        kind = words.choice
        print(f"{words}: {KINDS[kind]}, as in Google's guide")
    takes, others = (GRAMS, SEQUENCES) if kind == "ngrams" else (SEQUENCES, GRAMS)
    unused = written(args, others)
    if unused and args.kind == kind:
        other = KINDS["sequences" if kind == "ngrams" else "ngrams"]
        raise ValueError(
            f"{', '.join(unused)} must go with {other}; received --as {kind}. Leave "
            f"out what does not."
        )
    if unused:
        say(args.command, "warning", f"not used for {KINDS[kind]}: {', '.join(unused)}")
    options = {n: vars(args)[n] for n in takes | BOTH if n in vars(args)}
    if kind == "ngrams":
        least, most = options.setdefault("ngram_range", (1, 2))
        if not 1 <= least <= most:
            raise ValueError(
                f"--ngrams must be two numbers, 1 <= LEAST <= MOST; received {least} "
                f"{most}. Pass for example --ngrams 1 2."
            )
        return NgramVectorizer(**options)
    if "max_features" in options:
        options["num_words"] = options.pop("max_features")
    return SequenceVectorizer(**options)


def written(args: argparse.Namespace, flags: dict[str, str]) -> list[str]:
    return [flag for name, flag in flags.items() if name in vars(args)]

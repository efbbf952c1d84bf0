"""The command line: ``python -m sequence_loader <command>``.

A command is two functions: `add_<command>` describes it to argparse, `run_<command>`
imports what it needs, does the work and returns the exit code. Where an argument is
called otherwise on its command line, its default `spelled` says how, by name or by
(name, value). `COMMANDS` lists the former. No command's imports happen before it is
chosen, so that ``--help`` is instant. Expected errors are one line on stderr and exit
code 1; argparse's own, about how the command was written, are exit code 2.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence

from sequence_loader._version import __version__
from sequence_loader.arguments import in_python, spelling
from sequence_loader.cli.bench import add_bench
from sequence_loader.cli.command import Subparsers, examples, failed, say
from sequence_loader.cli.convert import add_convert
from sequence_loader.cli.demo import add_demo
from sequence_loader.cli.info import add_info
from sequence_loader.cli.vectorize import add_vectorize
from sequence_loader.cli.verify import add_verify

# What checks of arguments, files and optional packages raise. Anything else is a
# defect and shows its traceback.
EXPECTED_ERRORS = (ValueError, TypeError, OSError, ImportError)
POSITIONAL = {"source": "SRC", "path": "DST"}
"""Arguments of `convert` that the command line gives no name."""
SWITCHED_OFF = {"zero_based": "--one-based", "classes": "--no-classes"}
"""Options that say that an argument is False."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments without the program's name; by default those of the process.

    Returns:
        The exit code: 0 if the command did what it promises.
    """
    args, unknown = build_parser().parse_known_args(argv)
    refuse = vars(args).pop("refuse")
    if unknown:  # said with the usage of the command, not with that of all
        refuse(f"unrecognized arguments: {shlex.join(unknown)}")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: names of files
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *where: say(
                args.command, "warning", str(message)
            )
            with spelling(lambda *given: _option(args, *given)):
                return int(args.run(args))
    except KeyboardInterrupt:
        return failed(args.command, "interrupted", code=130)
    except BrokenPipeError:
        # The reader of our output has left (`| head`). Python flushes stdout once
        # more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except EXPECTED_ERRORS as error:
        if args.traceback:
            raise
        return failed(args.command, _reason(error))


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="sequence_loader",
        allow_abbrev=False,
        description="Feed Keras models from sparse rows.",
        epilog=examples(
            "demo",
            "vectorize train.csv train.store",
            "convert cells.h5ad cells.store --label-column cell_type",
            "info cells.store",
            "verify cells.store",
            "bench cells.store",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--traceback",
        action="store_true",
        help="show the traceback of an error instead of one line",
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for add in COMMANDS:
        add(commands)
    return parser


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}"
    return str(error) or type(error).__name__


def _option(args: argparse.Namespace, name: str, *value: object) -> str:
    """An argument, perhaps with a value to pass, as it is written on a command line."""
    spelled = getattr(args, "spelled", {})
    if value and isinstance(value[0], bool | None) and (name, value[0]) in spelled:
        return str(spelled[name, value[0]])
    if name in spelled:
        shown = [spelled[name], *(shlex.quote(str(each)) for each in value)]
        return " ".join(shown)
    if name in POSITIONAL:
        return POSITIONAL[name]
    if name not in vars(args):  # one that only Python has
        return in_python(name, *value)
    meant = value[0] if value else getattr(args, name)
    if meant is False and name in SWITCHED_OFF:
        return SWITCHED_OFF[name]
    option = f"--{name.replace('_', '-')}"
    alone = not value or meant is True
    return option if alone else f"{option} {shlex.quote(str(meant))}"


COMMANDS: tuple[Callable[[Subparsers], None], ...] = (
    add_convert,
    add_vectorize,
    add_info,
    add_verify,
    add_bench,
    add_demo,
)

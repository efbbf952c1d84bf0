"""How a command is described to argparse, and what it says when it fails."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import Any

Subparsers = Any  # argparse's own type for it is private


def examples(*commands: str) -> str:
    """The end of a help text."""
    lines = (f"  python -m sequence_loader {command}" for command in commands)
    return "examples:\n" + "\n".join(lines)


def add_command(
    commands: Subparsers, name: str, help: str, description: str, *shown: str
) -> argparse.ArgumentParser:
    """Adds a command.

    Args:
        commands: What `add_subparsers` returned.
        name: What the user writes.
        help: A line for the list of all commands.
        description: A paragraph for the command's own help.
        *shown: Examples.

    Returns:
        Its parser, to add arguments to.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        allow_abbrev=False,  # an option that comes later must not change old calls
        help=help,
        description=textwrap.fill(description, 80),
        epilog=examples(*shown),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(refuse=parser.error)
    return parser


def add_no_progress(parser: argparse.ArgumentParser) -> None:
    """Adds the option of every command that may take long."""
    parser.add_argument(
        "--no-progress",
        dest="progress",
        action="store_false",
        help="show no progress bar",
    )


def say(command: str, kind: str, text: str) -> None:
    """Writes one line to standard error."""
    print(f"sequence_loader {command}: {kind}: {' '.join(text.split())}",
          file=sys.stderr)


def failed(command: str, reason: str, code: int = 1) -> int:
    """Says why on one line, and returns the exit code."""
    say(command, "error", reason)
    return code


def size(count: int) -> str:
    """Bytes with three digits that tell: ``86.1 MB``."""
    if count < 1000:
        return f"{count} bytes"
    size, units = count / 1000, ["kB", "MB", "GB", "TB", "PB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}" if size < 1000 else f"{size:,.0f} {units[0]}"

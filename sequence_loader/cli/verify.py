"""``verify``: a store, read whole and checked."""

from __future__ import annotations

import argparse

from sequence_loader.cli.command import (
    Subparsers,
    add_command,
    add_no_progress,
    failed,
    size,
)


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
    add_no_progress(parser)
    parser.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Runs ``verify``."""
    from sequence_loader.store.format import StoreError
    from sequence_loader.store.opening import open_store

    code = 0
    for path in args.stores:
        try:
            with open_store(path) as store:
                store.verify(progress=args.progress)
                print(f"{path}: whole, {size(store.nbytes)}")
        except (FileNotFoundError, StoreError) as error:  # the others may be whole
            if args.traceback:
                raise
            code = failed(args.command, str(error))
    return code

"""The open files of a store, which threads may read while it is closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sequence_loader.store.format import StoreError

Value = TypeVar("Value")


class Handle:
    """A descriptor, open for as long as somebody refers to it.

    Closed by number under a thread that reads, it might get to mean another file.

    Args:
        path: The file.
        folder: Descriptor of its directory, whatever has that path by now.

    Raises:
        FileNotFoundError: There is none.
    """

    def __init__(self, path: Path, folder: int) -> None:
        self.path = path
        flags = os.O_RDONLY | os.O_CLOEXEC
        self.number = os.open(path.name, flags, dir_fd=folder)

    def check(self, size: int) -> None:
        """Raises StoreError if the file has become shorter than `size` bytes."""
        # A third of the time of `fstat`, at every batch; nobody reads at the place
        # of the file that this moves.
        if os.lseek(self.number, 0, os.SEEK_END) < size:
            raise self.cut()

    def cut(self) -> StoreError:
        """The error of a file that ends too early."""
        return StoreError(
            f"{self.path} has become shorter since the store was opened. Restore the "
            f"file, or write the store again."
        )

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """A descriptor of a directory, which goes on meaning the same one.

    Raises:
        FileNotFoundError: There is nothing.
        NotADirectoryError: It is something else.
    """
    # Only to open files by: that needs no permission to list them.
    flags = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
    number = os.open(path, flags)
    try:
        yield number
    finally:
        os.close(number)


class ByName(dict[str, Value]):
    """What a store has of each file: nothing, once it is closed."""

    def __missing__(self, name: str) -> Value:
        raise closed()


def closed() -> ValueError:
    """The error of reading in a store that was closed."""
    return ValueError("the store is closed. Open it again with open_store.")

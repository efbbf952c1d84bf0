"""What comes with rows and has no place in their store: files beside it.

Sparse labels become a store of their own, whose rows are `y` of the others. The
numbers of queries become a ``.npy``. Both appear whole, before the store does.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.importers.source import Block
from sequence_loader.store.array_file import ArrayFile
from sequence_loader.store.writer import StoreWriter

PathLike = str | os.PathLike[str]


class SideFiles:
    """Writes them, block by block.

    Args:
        label_store: Where the store of the labels goes, if anywhere.
        label_names: The names of its columns.
        query_ids: Where the ``.npy`` goes, if anywhere.
        overwrite: Whether what is there is replaced.

    Raises:
        FileExistsError: Something is there that may not be replaced.
        OSError: A place cannot be written to.
    """

    def __init__(
        self,
        label_store: PathLike | None,
        label_names: tuple[str, ...],
        query_ids: PathLike | None,
        overwrite: bool,
    ) -> None:
        self._labels = self._queries = None
        self._target = self._part = Path()
        if query_ids is not None:
            check_free(query_ids, overwrite)
            self._target = Path(os.path.abspath(query_ids))
            name = f".{self._target.name}.writing-{secrets.token_hex(4)}"
            self._part = self._target.with_name(name)
            self._queries = ArrayFile(self._part, np.dtype(np.int64), ())
        if label_store is not None:
            self._labels = StoreWriter(
                label_store,
                max(len(label_names), 1),
                "uint8",
                overwrite=overwrite,
                feature_names=label_names,
            )

    def append(self, block: Block) -> None:
        """Writes what is beside the rows of a block."""
        if self._labels is not None:
            self._labels.append(block.labels)
        if self._queries is not None:
            self._queries.write(block.queries)

    def publish(self) -> None:
        """Puts them in place."""
        if self._labels is not None:
            self._labels.close()
        if self._queries is not None:
            self._queries.finish()
            with open(self._part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._part, self._target)

    def discard(self) -> None:
        """Removes what is not in place."""
        if self._labels is not None:
            self._labels.discard()
        if self._queries is not None:
            self._queries.close()
            self._part.unlink(missing_ok=True)


def check_free(path: PathLike, overwrite: bool) -> None:
    """Raises FileExistsError where a file is that may not be replaced."""
    found = Path(path)
    if not found.exists():
        return
    what, mend = "exists", f", or {argument('overwrite', True)}"
    if found.is_dir():
        what, mend = "is a directory", ""
    elif not _is_npy(found):  # the rows, say, by a slip of the hand
        what, mend = f"is no .npy file, and {argument('query_ids')} is to be one", ""
    elif overwrite:
        return
    raise FileExistsError(f"{path} {what}. Pass another path{mend}.")


def _is_npy(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(6) == b"\x93NUMPY"


@contextmanager
def side_files(
    label_store: PathLike | None,
    label_names: tuple[str, ...] | None,
    query_ids: PathLike | None,
    overwrite: bool,
) -> Iterator[SideFiles]:
    """Files that are published when the block ends, and removed when it fails."""
    files = SideFiles(label_store, label_names or (), query_ids, overwrite)
    try:
        yield files
        files.publish()
    finally:
        files.discard()

"""The files of one store directory: opened, held against the manifest, and mapped."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.memory.page_cache import File
from sequence_loader.rows.csr import ones
from sequence_loader.store.format import (
    MANIFEST,
    Manifest,
    StoredArray,
    StoreError,
    array_path,
    digest_of,
)
from sequence_loader.store.local import ByName, Handle, opened_folder
from sequence_loader.store.publishing import is_at, leftovers, mend

MATRIX = ("indptr", "indices", "data")

OPEN_ATTEMPTS = 100
"""Times to open a store that is being replaced meanwhile."""


class StoreFiles:
    """The files of a store directory, open for reading.

    The files are held open: renaming or replacing the store changes nothing for
    who has it open.

    Args:
        path: The directory.

    Raises:
        FileNotFoundError: There is no store.
        StoreError: It is damaged, incomplete, or not a store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        for attempt in range(OPEN_ATTEMPTS):
            try:
                with opened_folder(path) as folder:
                    try:
                        self._open(folder)
                        return
                    except (FileNotFoundError, StoreError):
                        # Another process may be replacing the store, and removing
                        # the files of the old one.
                        if is_at(path, folder) or attempt == OPEN_ATTEMPTS - 1:
                            raise
            except (FileNotFoundError, NotADirectoryError):
                # Replaced in two steps, it is away for a moment.
                if not path.is_dir() or attempt == OPEN_ATTEMPTS - 1:
                    raise _no_store(path) from None

    def _open(self, folder: int) -> None:
        text = _manifest_text(self.path, folder)
        self.identity = digest_of(text)
        self.manifest = Manifest.from_bytes(text, self.path / MANIFEST)
        self.dtype = self.manifest.dtype
        self._matrix = [name for name in MATRIX if name in self.manifest.arrays]
        self._handles: ByName[Handle] = ByName()
        self.arrays: ByName[Array] = ByName()
        try:
            for name, array in self.manifest.arrays.items():
                self._open_array(name, array, folder)
            self._check_ends()
        except BaseException:
            self.close()
            raise
        if "data" not in self.arrays:
            self._check_ones(folder)
            self.arrays["data"] = ones(self.manifest.nnz, self.dtype)
        self._sizes = {
            name: self.offset(name) + array.nbytes
            for name, array in self.manifest.arrays.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all values in all files."""
        return sum(array.nbytes for array in self.manifest.arrays.values())

    def files(self) -> list[File]:
        """The open files, the small ones first."""
        handles = list(self._handles.values())
        sizes = [(handle, os.fstat(handle.number).st_size) for handle in handles]
        return sorted(sizes, key=lambda file: file[1])

    def read_into(self, name: str, piece: memoryview, position: int) -> None:
        """Fills `piece` with the bytes of the file `name` from `position` on.

        Raises:
            StoreError: The file ends before.
        """
        handle = self._handles[name]  # by its number alone it might be closed
        while len(piece):  # a read may stop early, at a signal or after 2 GiB
            count = os.preadv(handle.number, [piece], position)
            if count == 0:
                raise handle.cut()
            piece, position = piece[count:], position + count

    def check_sizes(self, names: Sequence[str] = ()) -> None:
        """Raises StoreError if a file was cut: touching its map would kill us."""
        for name in names or self._matrix:
            self._handles[name].check(self._sizes[name])

    def size_check(self, name: str) -> Callable[[], None]:
        """`check_sizes` of one file, which goes on after the part is closed."""
        return partial(self._handles[name].check, self._sizes[name])

    def close(self) -> None:
        """Closes the files. Arrays that were given out stay valid."""
        self._handles, self.arrays = ByName(), ByName()

    def _open_array(self, name: str, array: StoredArray, folder: int) -> None:
        path = array_path(self.path, name)
        try:
            handle = Handle(path, folder)
        except FileNotFoundError:
            raise StoreError(
                f"{path} is missing, and the manifest names it. Restore the file, or "
                f"write the store again."
            ) from None
        self._handles[name] = handle
        header = array.header()
        size, expected = os.fstat(handle.number).st_size, len(header) + array.nbytes
        if size != expected:
            raise StoreError(
                f"{path} has {size} bytes where the manifest says {expected}: the file "
                f"was cut, or is another one. Restore it, or write the store again."
            )
        if os.pread(handle.number, len(header), 0) != header:
            raise StoreError(
                f"{path} has a header that is not what the manifest says: it should "
                f"hold {array.dtype} of shape {array.shape}. Restore the file, or "
                f"write the store again."
            )
        if array.nbytes == 0:
            self.arrays[name] = np.empty(array.shape, array.dtype)
            return
        mapped = mmap.mmap(handle.number, expected, access=mmap.ACCESS_READ)
        self.arrays[name] = np.ndarray(array.shape, array.dtype, mapped, len(header))

    def _check_ones(self, folder: int) -> None:
        path = array_path(self.path, "data")
        with suppress(FileNotFoundError):
            Handle(path, folder)
            raise StoreError(
                f"{path} is there, and the manifest says that all values are 1, in no "
                f"file. Restore the manifest, or write the store again."
            )

    def offset(self, name: str) -> int:
        """Where the values begin in the file `name`, in bytes."""
        return len(self.manifest.arrays[name].header())

    def _check_ends(self) -> None:
        first, last = self.arrays["indptr"][[0, -1]].tolist()
        if (first, last) != (0, self.manifest.nnz):
            raise StoreError(
                f"{array_path(self.path, 'indptr')} must begin with 0 and end with "
                f"{self.manifest.nnz}; it has {first} and {last}. Restore the file, or "
                f"write the store again."
            )


def _manifest_text(path: Path, folder: int) -> bytes:
    try:
        handle = Handle(path / MANIFEST, folder)
    except FileNotFoundError:
        raise StoreError(
            f"{path} holds no {MANIFEST}, so it is not a store. Pass the directory "
            f"that a StoreWriter wrote."
        ) from None
    with open(handle.number, "rb", closefd=False) as file:
        return file.read()


def _no_store(path: Path) -> FileNotFoundError:
    left = leftovers(path)
    hint = (
        f" A writer of it was killed before it was done, and left {left[0]}. "
        f"{mend(path, left[0])}"
        if left
        else " Write it with StoreWriter, or `python -m sequence_loader convert`."
    )
    what = "is a file, not the directory of a store" if path.exists() else "is missing"
    return FileNotFoundError(f"{path} {what}.{hint}")

"""One store directory, opened: checked, mapped, and read in one of two ways.

`gather` takes rows out of the maps, which is fastest for pages in memory. `bounds`
and `fetch` copy them into arrays of the caller's, many short runs in one call of the
kernel's and long ones with ``preadv``, which does not collapse when pages are evicted
before they are used. Both give the same values.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.memory.map_copy import copy_parts, expect_parts
from sequence_loader.memory.page_cache import File, at_random, will_need_parts
from sequence_loader.rows.csr import CsrRows, ends_of, ones
from sequence_loader.rows.gather import read_rows
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

ATTEMPTS = 100
"""Times to open a store that is being replaced meanwhile."""


class StorePart:
    """A store directory, open for reading.

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
        for attempt in range(ATTEMPTS):
            try:
                with opened_folder(path) as folder:
                    try:
                        self._open(folder)
                        return
                    except (FileNotFoundError, StoreError):
                        # Another process may be replacing the store, and removing
                        # the files of the old one.
                        if is_at(path, folder) or attempt == ATTEMPTS - 1:
                            raise
            except (FileNotFoundError, NotADirectoryError):
                # Replaced in two steps, it is away for a moment.
                if not path.is_dir() or attempt == ATTEMPTS - 1:
                    raise _no_store(path) from None

    def _open(self, folder: int) -> None:
        text = _manifest_text(self.path, folder)
        self.identity = digest_of(text)
        self.manifest = Manifest.from_bytes(text, self.path / MANIFEST)
        self.num_rows, self.num_features = self.manifest.shape
        self.dtype = self.manifest.dtype
        self._matrix = [name for name in MATRIX if name in self.manifest.arrays]
        self._pool = BufferPool(spare=2)
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
    def kept_as(self) -> np.dtype[Any] | None:
        """Type of the values in the file; `None` where all are 1, and there is none."""
        stored = self.manifest.arrays.get("data")
        return None if stored is None else stored.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all values in all files."""
        return sum(array.nbytes for array in self.manifest.arrays.values())

    def files(self) -> list[File]:
        """The open files, the small ones first."""
        handles = list(self._handles.values())
        sizes = [(handle, os.fstat(handle.number).st_size) for handle in handles]
        return sorted(sizes, key=lambda file: file[1])

    def gather(self, rows: Integers) -> CsrRows:
        """Rows out of the maps.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Canonical rows, in that order, whose values are of `dtype`.

        Raises:
            StoreError: A file has changed since the store was opened.
            DamagedRows: A column index is out of range, or they do not ascend.
        """
        self.check_sizes()
        indptr, indices, data = (self.arrays[name] for name in MATRIX)
        matrix = CsrRows(indptr, indices, data, self.num_features)
        name = str(self.path)
        return read_rows(
            matrix, rows, self._pool, name, rows, self.dtype, must_ascend=True
        )

    def bounds(self, rows: Integers) -> tuple[Integers, Integers]:
        """Where rows start and stop among the stored values, checked.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Two int64 arrays of shape (n,).

        Raises:
            StoreError: ``indptr.npy`` is damaged.
        """
        self.check_sizes(("indptr",))
        indptr, nnz = self.arrays["indptr"], self.manifest.nnz
        starts, stops = indptr[rows], indptr[rows + 1]
        wrong = (starts < 0) | (stops < starts) | (stops > nnz)
        if wrong.any():
            raise StoreError(
                f"{array_path(self.path, 'indptr')} is damaged: it must not decrease "
                f"and must stay in [0, {nnz}], which it does not at row "
                f"{rows[wrong][0]}. Restore the file, or write the store again."
            )
        return starts, stops

    def fetch(
        self,
        starts: Integers,
        stops: Integers,
        places: Integers,
        indices: Array,
        data: Array | None,
    ) -> None:
        """Reads runs of stored values into `indices` and `data`.

        Args:
            starts: int64 array of shape (n,), from `bounds`.
            stops: int64 array of shape (n,), from `bounds`.
            places: int64 array of shape (n,): where each run begins in the output.
            indices: Array of shape (nnz,) to fill, of the store's index dtype.
            data: Array of shape (nnz,) to fill, of a dtype that holds what the
                values are kept as; `None` where all are 1.

        Raises:
            StoreError: A file is shorter than when the store was opened.
        """
        first, last = _runs(starts, stops, 0, places)
        runs = np.stack([starts[first], stops[last] - starts[first], places[first]])
        self._fetch("indices", runs, indices)
        if data is None:
            return
        if self.kept_as == data.dtype:
            self._fetch("data", runs, data)
            return
        begins, lengths, into = runs
        ends = ends_of(lengths)
        kept = data.dtype if self.kept_as is None else self.kept_as
        values = np.ones(int(ends[-1]), kept)
        if self.kept_as is not None:
            self._fetch("data", np.stack([begins, lengths, ends[:-1]]), values)
        for place, first, last in zip(into.tolist(), ends.tolist(), ends[1:].tolist()):
            data[place : place + last - first] = values[first:last]

    def _fetch(self, name: str, runs: Integers, out: Array) -> None:
        """Reads runs of one file: where each begins, its length, where it goes."""
        begins, lengths, into = runs * out.dtype.itemsize
        if copy_parts(self.arrays[name], begins, lengths, out, into):
            self.check_sizes((name,))
            return
        handle, offset = self._handles[name], self.offset(name)
        view = out.view(np.uint8).data
        for start, length, place in (runs.T * out.dtype.itemsize).tolist():
            piece = view[place : place + length]
            if os.preadv(handle.number, [piece], offset + start) != length:
                self.read_into(name, piece, offset + start)

    def expect_windows(self) -> None:
        """Has the kernel read what is asked for ahead, and nothing around it."""
        at_random(self.files())
        for name in self._matrix[1:]:
            expect_parts(self.arrays[name])

    def advise(self, starts: Integers, stops: Integers) -> None:
        """Asks for runs of stored values, ascending, to be read soon."""
        for name in self._matrix[1:]:
            self._advise(name, starts, stops)

    def advise_bounds(self, rows: Integers) -> None:
        """Asks for what `bounds` needs of ascending rows to be read soon."""
        self._advise("indptr", rows, rows + 1)  # the next entry is in the same page

    def _advise(self, name: str, starts: Integers, stops: Integers) -> None:
        handle, array = self._handles[name], self.arrays[name]
        size = array.dtype.itemsize
        first, last = _runs(starts, stops, READ_GAP_BYTES // size)
        where = handle.number, self.offset(name), array
        will_need_parts(*where, starts[first] * size, stops[last] * size)

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
        self._pool = BufferPool(spare=2)

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


READ_GAP_BYTES = 1 << 14
"""Bytes between two runs up to which the kernel is asked for both in one piece. On a
disk of 1.5 GB/s and 50,000 reads a second that costs less than another request. In
uniform order it doubled the speed of short rows; 128 kB cost long ones a third."""


def _runs(
    starts: Integers, stops: Integers, gap: int, places: Integers | None = None
) -> tuple[Integers, Integers]:
    """Joins ascending runs where one begins within `gap` of where another ended.

    Args:
        starts: int64 array of shape (n,).
        stops: int64 array of shape (n,).
        gap: Values that may be between two that are joined.
        places: int64 array of shape (n,), which must go on as well, or `None`.

    Returns:
        Two int64 arrays: the numbers of the first and last run in each joined one.
    """
    numbers = np.flatnonzero(stops > starts)
    if len(numbers) == 0:
        return numbers, numbers
    between = starts[numbers[1:]] - stops[numbers[:-1]]
    apart = (between < 0) | (between > gap)
    if places is not None:
        apart |= np.diff(places[numbers]) != (stops - starts)[numbers[:-1]]
    cuts = np.flatnonzero(apart)
    return (
        numbers[np.concatenate([[0], cuts + 1])],
        numbers[np.concatenate([cuts, [len(numbers) - 1]])],
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

"""One store directory, opened: checked, mapped, and read in one of two ways.

`gather` takes rows out of the maps, which is fastest for pages in memory. `fetch`
reads rows with ``preadv`` into arrays of the caller's, which does not collapse
when pages are evicted before they are used. Both give the same arrays.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sequence_loader.csr import Array, CsrRows, canonical, gather
from sequence_loader.permutation import Integers
from sequence_loader.publishing import leftovers
from sequence_loader.store_format import (
    BLOCK_BYTES,
    MANIFEST,
    Manifest,
    StoredArray,
    StoreError,
    array_path,
    digest_of,
)


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
        text = _manifest_text(path)
        self.identity = digest_of(text)
        self.manifest = Manifest.from_bytes(text, path / MANIFEST)
        self.num_rows, self.num_features = self.manifest.shape
        self._handles: dict[str, int] = {}
        self.arrays: dict[str, Array] = {}
        try:
            for name, array in self.manifest.arrays.items():
                self._open(name, array)
            self._check_ends()
        except BaseException:
            self.close()
            raise
        self._sizes = [
            (name, self._handles[name], self._offset(name) + array.nbytes)
            for name, array in self.manifest.arrays.items()
            if name in ("indices", "data")
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of all values in all files."""
        return sum(array.nbytes for array in self.manifest.arrays.values())

    def files(self) -> Iterator[tuple[int, int]]:
        """(descriptor, length in bytes) of each file, the small ones first."""
        sizes = {name: os.fstat(fd).st_size for name, fd in self._handles.items()}
        for name in sorted(sizes, key=lambda name: sizes[name]):
            yield self._handles[name], sizes[name]

    def gather(self, rows: Integers) -> CsrRows:
        """Rows out of the maps.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Canonical rows, in that order.

        Raises:
            StoreError: A file has changed since the store was opened.
            ValueError: A column index is out of range.
        """
        self.check_sizes()
        arrays = self.arrays
        batch = gather(
            arrays["indptr"], arrays["indices"], arrays["data"], rows, self.num_features
        )
        return canonical(batch, str(self.path), rows)

    def bounds(self, rows: Integers) -> tuple[Integers, Integers]:
        """Where rows start and stop among the stored values, checked.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Two int64 arrays of shape (n,).

        Raises:
            StoreError: ``indptr.npy`` is damaged.
        """
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
        self, starts: Integers, stops: Integers, indices: Array, data: Array
    ) -> None:
        """Reads runs of stored values, one after another, into `indices`, `data`.

        Args:
            starts: int64 array of shape (n,), from `bounds`.
            stops: int64 array of shape (n,), from `bounds`.
            indices: Array of shape (nnz,) to fill, of the store's index dtype.
            data: Array of shape (nnz,) to fill, of the store's dtype.

        Raises:
            StoreError: A file is shorter than when the store was opened.
        """
        runs = _merged(starts, stops)
        for name, out in (("indices", indices), ("data", data)):
            handle, offset = self._handles[name], self._offset(name)
            view = out.view(np.uint8).data
            size = out.dtype.itemsize
            filled = 0
            for start, stop in runs:
                length = (stop - start) * size
                piece = view[filled : filled + length]
                if os.preadv(handle, [piece], offset + start * size) != length:
                    self._read_rest(name, piece, offset + start * size)
                filled += length

    def advise(self, starts: Integers, stops: Integers) -> None:
        """Asks the kernel to read runs of stored values soon, and returns at once."""
        for name in ("indices", "data"):
            handle, offset = self._handles[name], self._offset(name)
            size = self.arrays[name].dtype.itemsize
            for start, stop in _merged(starts, stops, GAP // size):
                os.posix_fadvise(
                    handle,
                    offset + start * size,
                    (stop - start) * size,
                    os.POSIX_FADV_WILLNEED,
                )

    def check_sizes(self) -> None:
        """Raises StoreError if a file was cut: touching its map would kill us."""
        for name, handle, size in self._sizes:
            if os.fstat(handle).st_size < size:
                raise StoreError(self._cut(name))

    def damage(self) -> Iterator[tuple[int, str | None]]:
        """Reads everything, and yields (bytes read, what is wrong with them)."""
        for name, array in self.manifest.arrays.items():
            yield from self._check_digests(name, array)
        yield 0, self._check_indptr()
        step = 1 << 16
        for start in range(0, self.num_rows, step):
            yield from self._check_indices(start, min(start + step, self.num_rows))

    def close(self) -> None:
        """Closes the files. Arrays that were given out stay valid."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles, self.arrays = {}, {}

    def __del__(self) -> None:
        for handle in getattr(self, "_handles", {}).values():
            os.close(handle)

    def _open(self, name: str, array: StoredArray) -> None:
        path = array_path(self.path, name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise StoreError(
                f"{path} is missing, and the manifest names it. Restore the file, or "
                f"write the store again."
            ) from None
        self._handles[name] = handle
        header = array.header()
        size, expected = os.fstat(handle).st_size, len(header) + array.nbytes
        if size != expected:
            raise StoreError(
                f"{path} has {size} bytes where the manifest says {expected}: the file "
                f"was cut, or is another one. Restore it, or write the store again."
            )
        if os.pread(handle, len(header), 0) != header:
            raise StoreError(
                f"{path} has a header that is not what the manifest says: it should "
                f"hold {array.dtype} of shape {array.shape}. Restore the file, or "
                f"write the store again."
            )
        if array.nbytes == 0:
            self.arrays[name] = np.empty(array.shape, array.dtype)
            return
        mapped = mmap.mmap(handle, expected, access=mmap.ACCESS_READ)
        self.arrays[name] = np.ndarray(array.shape, array.dtype, mapped, len(header))

    def _offset(self, name: str) -> int:
        return len(self.manifest.arrays[name].header())

    def _check_ends(self) -> None:
        first, last = self.arrays["indptr"][[0, -1]].tolist()
        if (first, last) != (0, self.manifest.nnz):
            raise StoreError(
                f"{array_path(self.path, 'indptr')} must begin with 0 and end with "
                f"{self.manifest.nnz}; it has {first} and {last}. Restore the file, or "
                f"write the store again."
            )

    def _read_rest(self, name: str, piece: memoryview, position: int) -> None:
        """A read may stop early, at a signal or after 2 GiB; at the end it gives 0."""
        while len(piece):
            count = os.preadv(self._handles[name], [piece], position)
            if count == 0:
                raise StoreError(self._cut(name))
            piece, position = piece[count:], position + count

    def _cut(self, name: str) -> str:
        return (
            f"{array_path(self.path, name)} has become shorter since the store was "
            f"opened. Restore the file, or write the store again."
        )

    def _check_digests(
        self, name: str, array: StoredArray
    ) -> Iterator[tuple[int, str | None]]:
        buffer = bytearray(min(BLOCK_BYTES, array.nbytes))
        for number, digest in enumerate(array.digests):
            start = number * BLOCK_BYTES
            block = memoryview(buffer)[: min(BLOCK_BYTES, array.nbytes - start)]
            self._read_rest(name, block, self._offset(name) + start)
            wrong = None
            if digest_of(block) != digest:
                path = array_path(self.path, name)
                wrong = (
                    f"{path}: bytes {self._offset(name) + start} to "
                    f"{self._offset(name) + start + len(block)} are not what was "
                    f"written"
                )
            yield len(block), wrong

    def _check_indptr(self) -> str | None:
        indptr = self.arrays["indptr"]
        step = 1 << 20
        for start in range(0, self.num_rows, step):
            if (np.diff(indptr[start : start + step + 1]) < 0).any():
                return f"{array_path(self.path, 'indptr')}: it decreases"
        return None

    def _check_indices(self, start: int, stop: int) -> Iterator[tuple[int, str | None]]:
        """Every index in range and ascending, in pieces of bounded memory."""
        indptr, indices = self.arrays["indptr"], self.arrays["indices"]
        path = array_path(self.path, "indices")
        while start < stop:
            limit = int(indptr[start]) + (1 << 22)
            upto = int(np.searchsorted(indptr[: stop + 1], limit, side="right")) - 1
            upto = min(max(upto, start + 1), stop)
            first, last = int(indptr[start]), int(indptr[upto])
            if not 0 <= first <= last <= len(indices):
                return  # reported by _check_indptr
            taken = indices[first:last]
            ends = indptr[start : upto + 1] - first
            piece = CsrRows(ends, taken, taken, self.num_features)
            wrong = None
            try:
                served = canonical(piece, str(path), np.arange(start, upto))
                if not np.array_equal(served.indices, taken):
                    wrong = f"{path}: rows {start} to {upto} are not sorted"
            except ValueError as error:
                wrong = str(error)
            yield taken.nbytes, wrong
            start = upto


GAP = 1 << 17
"""Bytes between two runs up to which the kernel is asked for both in one piece: it
reads 128 kB in the time of a seek of this machine's disk."""


def _merged(starts: Integers, stops: Integers, gap: int = 0) -> list[tuple[int, int]]:
    """Runs of values, joined where one begins within `gap` of where another ended."""
    kept = stops > starts
    starts, stops = starts[kept], stops[kept]
    if len(starts) == 0:
        return []
    between = starts[1:] - stops[:-1]
    cuts = np.flatnonzero((between < 0) | (between > gap))
    first = np.concatenate([[0], cuts + 1])
    last = np.concatenate([cuts, [len(stops) - 1]])
    return list(zip(starts[first].tolist(), stops[last].tolist()))


def _manifest_text(path: Path) -> bytes:
    try:
        return (path / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        pass
    if path.is_dir():
        raise StoreError(
            f"{path} holds no {MANIFEST}, so it is not a store. Pass the directory "
            f"that a StoreWriter wrote."
        )
    left = leftovers(path)
    hint = (
        f" A writer of it was killed before it was done; write it again, and remove "
        f"what was left with: rm -r '{left[0]}'"
        if left
        else " Write it with StoreWriter, or `python -m sequence_loader convert`."
    )
    what = "is a file, not the directory of a store" if path.exists() else "is missing"
    raise FileNotFoundError(f"{path} {what}.{hint}")

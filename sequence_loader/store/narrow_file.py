"""``data.npy`` of a store, written in the narrowest type that holds every value."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.store import blocks
from sequence_loader.store.array_file import ArrayFile
from sequence_loader.store.dtypes import narrower
from sequence_loader.store.format import StoredArray
from sequence_loader.store.npy import npy_header


class NarrowFile:
    """An `ArrayFile` whose dtype is that of the values so far.

    At first there is no file, which says that all are 1. Where a value does not fit,
    all before it are written again in the next type that holds them all. So the type
    is the first of `narrower` that does, however the values come in blocks. It happens
    a few times at most, and piece by piece.

    Args:
        path: Where the file is to be.
        dtype: What values are read as.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._path, self.dtype = path, dtype
        self._kinds = [*narrower(dtype), dtype]
        self._file: ArrayFile | None = None
        self._length = 0

    def write(self, values: Array) -> None:
        """Appends values of shape (n,), of that dtype."""
        if self._file is not None or not bool((values == 1).all()):
            kept = None
            if self._file is not None:
                kept = narrowed(values, self._file.dtype)
            if self._file is None or kept is None:
                self._file = self._widened(values)
                kept = values.astype(self._file.dtype)
            self._file.write(kept)
        self._length += len(values)

    def finish(self) -> StoredArray | None:
        """Completes the file; `None` where there is none, because all values are 1."""
        if self._length == 0:  # of none at all, nothing is said
            self._file = ArrayFile(self._path, self.dtype, ())
        return None if self._file is None else self._file.finish()

    def close(self) -> None:
        """Closes the file, whatever state it is in."""
        if self._file is not None:
            self._file.close()

    def _widened(self, values: Array) -> ArrayFile:
        """The file with all that was written, in a type that also holds `values`."""
        kept = None if self._file is None else self._file.dtype
        with nullcontext() if kept is None else open(self._path, "rb") as old:
            before = partial(self._written, old, kept)
            while not self._holds(self._kinds[0], values, before):
                del self._kinds[0]
            if self._file is not None:
                self._file.close()
                self._path.unlink()  # `old` still reads it
            self._file = ArrayFile(self._path, self._kinds[0], ())
            for piece in before():
                self._file.write(piece.astype(self._kinds[0]))
        return self._file

    def _holds(
        self, kind: np.dtype[Any], values: Array, before: Callable[[], Iterator[Array]]
    ) -> bool:
        """Whether a type holds `values` and all that was written before."""
        return kind == self.dtype or (
            narrowed(values, kind) is not None
            and all(narrowed(piece, kind) is not None for piece in before())
        )

    def _written(
        self, old: BinaryIO | None, kept: np.dtype[Any] | None
    ) -> Iterator[Array]:
        """What was written, in pieces, in the dtype that it came in.

        Args:
            old: The file, or `None` where all values are 1.
            kept: Its dtype.
        """
        if old is not None and kept is not None:
            old.seek(len(npy_header(kept, (0,))))
        for start in range(0, self._length, blocks.WRITE_PIECE_VALUES):
            count = min(blocks.WRITE_PIECE_VALUES, self._length - start)
            if old is None or kept is None:
                yield np.ones(count, self.dtype)
                continue
            content = old.read(count * kept.itemsize)
            if len(content) != count * kept.itemsize:
                raise OSError(errno.EIO, f"{self._path} was cut while it was written")
            yield np.frombuffer(content, kept).astype(self.dtype)


def narrowed(values: Array, dtype: np.dtype[Any]) -> Array | None:
    """Values in a type of fewer bytes, or `None` where a bit of one would be lost.

    Args:
        values: Array of shape (n,), of a dtype that `dtype` is one of `narrower` of.
        dtype: The type.
    """
    if values.dtype == dtype:
        return values
    # What does not fit becomes anything, which is not what it was.
    with np.errstate(invalid="ignore", over="ignore"):
        kept = values.astype(dtype)
        again = kept.astype(values.dtype)
    bits = f"u{values.itemsize}"
    return kept if np.array_equal(again.view(bits), values.view(bits)) else None

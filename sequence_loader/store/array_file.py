"""A ``.npy`` file of a store while it is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.store.format import BLOCK_BYTES, StoredArray
from sequence_loader.store.npy import npy_header


class ArrayFile:
    """A ``.npy`` file that grows along its first axis, and its digests."""

    def __init__(
        self, path: Path, dtype: np.dtype[Any], tail: tuple[int, ...]
    ) -> None:
        self.dtype, self.tail = dtype, tail
        self._length = self._filled = 0
        self._digests: list[str] = []
        self._hash = hashlib.blake2b(digest_size=16)
        # Unbuffered: a forked child that exits must have nothing of ours to flush.
        self._file = open(path, "wb", buffering=0)
        self._put(memoryview(npy_header(dtype, (0, *tail))))

    def write(self, values: Array) -> None:
        """Appends an array of shape (n, *tail)."""
        values = np.ascontiguousarray(values, dtype=self.dtype)
        self._length += len(values)
        content = values.reshape(-1).view(np.uint8).data
        self._put(content)
        while len(content):
            part = content[: BLOCK_BYTES - self._filled]
            self._hash.update(part)
            self._filled += len(part)
            content = content[len(part) :]
            if self._filled == BLOCK_BYTES:
                self._end_block()

    def finish(self) -> StoredArray:
        """Writes the final header and closes the file."""
        if self._filled:
            self._end_block()
        shape = (self._length, *self.tail)
        self._file.seek(0)
        self._put(memoryview(npy_header(self.dtype, shape)))
        self._file.close()
        return StoredArray(self.dtype, shape, tuple(self._digests))

    def close(self) -> None:
        """Closes the file, whatever state it is in."""
        try:
            self._file.close()
        except OSError:
            pass  # the disk is full, and the file about to be removed

    def _put(self, content: memoryview) -> None:
        while len(content):
            content = content[self._file.write(content) :]

    def _end_block(self) -> None:
        self._digests.append(self._hash.hexdigest())
        self._hash = hashlib.blake2b(digest_size=16)
        self._filled = 0

"""What one pass over texts makes, kept on disk for the next: arrays in plain files.

The files of a fit have no names: the kernel removes them with the process, however
it ends. Those of a part, which another process reads, have.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sequence_loader.arrays import Array


TERM_BYTES = 12
"""Of the vocabulary, in memory and on disk: a hash, and how many texts have it."""
CHUNK = 1 << 20
"""Values of a column that are read at a time."""


class Column:
    """One array on disk, without a name.

    Args:
        dtype: Of its values.
        scratch: A directory on a disk with room.
    """

    def __init__(self, dtype: Any, scratch: Path) -> None:
        self.dtype = np.dtype(dtype)
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=scratch, buffering=0)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()  # a map of it stays

    def append(self, values: Array) -> None:
        """Writes an array of shape (n,) at the end."""
        self.write(self._size, values)
        self._size += len(values)

    def write(self, start: int, values: Array) -> None:
        """Writes an array of shape (n,) from a place on, also from several threads.

        It is there for `read`, and not counted: the others see what was appended.
        """
        values = np.ascontiguousarray(values, self.dtype)
        _write_at(self.file, start * self.dtype.itemsize, values)

    def read(self, start: int, stop: int) -> Array:
        """Values ``start .. stop - 1``."""
        offset = start * self.dtype.itemsize
        return _read_at(self.file, offset, self.dtype, stop - start)

    def chunks(self) -> Iterator[tuple[int, Array]]:
        """All of them, in pieces, each with its place."""
        for start in range(0, self._size, CHUNK):
            yield start, self.read(start, min(start + CHUNK, self._size))

    def pick(self, places: Array) -> Array:
        """Values at ascending places, in bounded memory."""
        found = np.empty(len(places), self.dtype)
        for start, values in self.chunks():
            first, last = np.searchsorted(places, [start, start + len(values)])
            found[first:last] = values[places[first:last] - start]
        return found

    def mapped(self) -> Array:
        """The whole, mapped: pages are read when they are looked at."""
        if not self._size:
            return np.empty(0, self.dtype)
        mapped = np.memmap(self.file, self.dtype, "r", shape=(self._size,))
        return mapped.view(np.ndarray)


@dataclass(frozen=True)
class Block:
    """A block of a `Spill`.

    Attributes:
        rows: How many texts it is made of.
        span: By how much `order` of the next block is higher than that of this one.
        places: For each array, its offset in the file, its size and its dtype.
    """

    rows: int
    span: int
    places: Mapping[str, tuple[int, int, str]]


class Spill:
    """Blocks of arrays, one behind the other in one file.

    Args:
        file: Open for reading, and for writing if blocks are to be appended.
        blocks: Those that it holds.
    """

    def __init__(self, file: IO[bytes], blocks: list[Block]) -> None:
        self._file, self.blocks = file, blocks
        self._end = 0

    @classmethod
    def unnamed(cls, scratch: Path) -> Spill:
        """An empty one in a file without a name."""
        return cls(tempfile.TemporaryFile(dir=scratch, buffering=0), [])

    def append(self, rows: int, span: int, **arrays: Array) -> None:
        """Writes a block."""
        places = {}
        for name, values in arrays.items():
            values = np.ascontiguousarray(values)
            if len(values):  # what is behind the last is not written, nor counted
                self._end += -self._end % 8
            places[name] = self._end, len(values), values.dtype.str
            _write_at(self._file, self._end, values)
            self._end += values.nbytes
        self.blocks.append(Block(rows, span, places))

    def read(
        self, block: Block, name: str, start: int = 0, stop: int | None = None
    ) -> Array:
        """Values ``start .. stop - 1`` of an array; all of it by default.

        Threads may read at once.
        """
        offset, size, kind = block.places[name]
        dtype = np.dtype(kind)
        stop = size if stop is None else stop
        offset += start * dtype.itemsize
        return _read_at(self._file, offset, dtype, stop - start)

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._end

    def close(self) -> None:
        """Closes the file; one without a name is gone."""
        self._file.close()

    def __del__(self) -> None:
        self.close()


def _write_at(file: IO[bytes], offset: int, values: Array) -> None:
    content = values.reshape(-1).view(np.uint8).data
    while len(content):
        try:
            done = os.pwrite(file.fileno(), content, offset)
        except OSError as error:
            raise OSError(
                error.errno,
                f"writing temporary files failed: {error.strerror}. Make room beside "
                f"the store or part; for `fit`, set TMPDIR to a directory with room",
            ) from error
        content, offset = content[done:], offset + done


def _read_at(file: IO[bytes], offset: int, dtype: np.dtype[Any], count: int) -> Array:
    values = np.empty(count, dtype)
    content = values.view(np.uint8).data
    while len(content):
        done = os.preadv(file.fileno(), [content], offset)
        if done == 0:
            raise OSError(
                f"a file of counted terms ends {len(content)} bytes too early: it was "
                f"cut. Count the texts again"
            )
        content, offset = content[done:], offset + done
    return values

"""Dense memory that is used again once nobody refers to it any more.

A dense batch is megabytes of fresh pages: faulting them in costs several times
what filling them does. TensorFlow, JAX and torch use a NumPy array where it
lies, without a copy, if it begins at a multiple of 64 bytes, and keep a
reference to it while they do. So:

- an array from a pool is aligned, writable, and the user's own;
- its memory returns to the pool when the last reference to it, or to any view
  of it, is gone, and not a moment earlier;
- a pool keeps no more blocks idle than are in use, and the few of one batch, or
  what is reserved: a user who keeps every batch loses none, and one who lets go of
  them all gets the memory back;
- pools may be used from any thread, in a forked child, and from a finaliser.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from sequence_loader.arrays import Array
from sequence_loader.forks import renew_after_fork

ALIGNMENT_BYTES = 64
"""Bytes; what TensorFlow (Eigen), JAX and torch ask of memory they take as is."""

_Block = npt.NDArray[np.uint8]


class BufferPool:
    """Hands out arrays whose memory comes back by itself.

    Args:
        spare: Blocks that one batch needs, which are kept when none is in use.
    """

    def __init__(self, spare: int = 1) -> None:
        self._spare = spare
        self._reserves: list[int] = []  # of each that exists
        self.after_fork()
        self._idle: list[_Block] = []
        self._in_use = 0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        # Reentrant: a garbage collection inside the lock may run a finaliser.
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[type[BufferPool], tuple[int]]:
        return BufferPool, (self._spare,)  # memory does not travel

    @property
    def spare(self) -> int:
        """Blocks that are kept when none is in use."""
        return max([self._spare, *self._reserves])

    def reserve(self, blocks: int) -> object:
        """Has so many blocks kept when none is in use, while the result exists.

        Who fills a queue again and again would get fresh memory for it each time.
        """
        return _Reserve(self, blocks)

    @property
    def in_use(self) -> int:
        """Blocks that something still refers to."""
        return self._in_use

    @property
    def idle_bytes(self) -> int:
        """Bytes held for the next batches."""
        return sum(block.nbytes for block in list(self._idle))

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array of zeros, as `empty` makes it."""
        array = self.empty(shape, dtype)
        # Cleared whole, not only where the last batch wrote: a backend may have
        # written into an input that it believed to be its own. Bytes are set twice as
        # fast as numbers where they lie in a cache.
        array.reshape(-1).view(np.uint8).fill(0)
        return array

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array of any content, 64-byte aligned and C-contiguous.

        Args:
            shape: Shape of the array.
            dtype: Any fixed-size dtype.

        Returns:
            A writable array that is the caller's for as long as it is wanted.
        """
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        block = self._take(size)
        if block is None:
            # NumPy asks for huge pages itself where the platform has them.
            fresh = np.empty(max(size, 1) + ALIGNMENT_BYTES, dtype=np.uint8)
            start = -fresh.ctypes.data % ALIGNMENT_BYTES
            block = fresh[start : start + max(size, 1)]
        with self._lock:
            self._in_use += 1
        lease = _Lease(self, block)
        array: Array = np.asarray(lease)[:size].view(dtype).reshape(shape)
        return array

    def _take(self, size: int) -> _Block | None:
        """An idle block that fits without wasting as much again, or None."""
        with self._lock:
            # Swapped out, so that a finaliser in between appends elsewhere.
            idle, self._idle = self._idle, []
            found = None
            for position in range(len(idle) - 1, -1, -1):
                if size <= idle[position].nbytes <= 2 * size:
                    found = idle.pop(position)
                    break
            self._idle = idle + self._idle
            return found

    def _give_back(self, block: _Block) -> None:
        with self._lock:
            self._in_use -= 1
            self._idle.append(block)
            self._trim()

    def _trim(self) -> None:
        """Lets go of the blocks that are too many, now that the bound has shrunk."""
        del self._idle[: -(self._in_use + self.spare)]


class _Reserve:
    """See `BufferPool.reserve`."""

    __slots__ = ("_pool", "_blocks")

    def __init__(self, pool: BufferPool, blocks: int) -> None:
        self._pool, self._blocks = pool, blocks
        with pool._lock:
            pool._reserves.append(blocks)

    def __del__(self) -> None:
        pool = self._pool
        with pool._lock:
            pool._reserves.remove(self._blocks)
            pool._trim()


class _Lease:
    """Owns a block while arrays over it exist; they hold it as their base.

    It is not an array itself, because NumPy shortens chains of views: the base of
    a view of a view is the array that owns the memory, and views in between, with
    whatever was to happen when they die, are skipped.
    """

    __slots__ = ("_pool", "_block", "__array_interface__")

    def __init__(self, pool: BufferPool, block: _Block) -> None:
        self._pool = pool
        self._block = block
        self.__array_interface__: dict[str, Any] = block.__array_interface__

    def __del__(self) -> None:
        self._pool._give_back(self._block)

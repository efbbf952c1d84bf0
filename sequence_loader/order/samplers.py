"""Samplers: (seed, epoch, position) -> row ids.

A sampler is a frozen, picklable value. Its order is a pure function: any slice
of any epoch can be asked for, in any order, by any process, at no start-up cost
and without memory that grows with the number of rows.

A sampler of your own needs two methods:

    rows(num_rows, epoch, start, stop) -> int64 array of shape (stop - start,),
        the rows at those positions of that epoch, each in [0, num_rows);
    length(num_rows) -> how many positions an epoch has.

One that holds arrays, such as weights, also has `digest`, bytes that stand for them
(`content_digest`): `load_state_dict` tells by it that a state belongs to others. One
that mixes neighbouring rows in windows may tell where these are, by `window_at` as
`BlockShuffleSampler` has it, for positions in [0, length): a store larger than memory
is then read in such pieces.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sequence_loader.arrays import Integers
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.order.permutation import derive_key, permute
from sequence_loader.order.seeds import order_seed, settle_seed


@runtime_checkable
class Sampler(Protocol):
    """The order of an epoch. Must be picklable, pure and safe to share by threads.

    Pure: a position of an epoch is the same row whenever it is asked for, as some are
    twice when a sequence is made.

    Example:
        >>> class Backwards:
        ...     def rows(self, num_rows, epoch, start, stop):
        ...         return num_rows - 1 - np.arange(start, stop)
        ...     def length(self, num_rows):
        ...         return num_rows
        >>> SparseBatchSequence(x, sampler=Backwards(), batch_size=4).batch_rows(0)
        array([99, 98, 97, 96])
    """

    def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Integers:
        """The rows at positions ``start .. stop - 1`` of `epoch`, as int64."""

    def length(self, num_rows: int) -> int:
        """The number of positions of an epoch over `num_rows` rows."""


@dataclass(frozen=True)
class SequentialSampler:
    """Rows in the order they are stored, the same in every epoch.

    Example:
        >>> SequentialSampler().rows(100, epoch=0, start=2, stop=5)
        array([2, 3, 4])
    """

    def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Integers:
        """See `Sampler.rows`."""
        return np.arange(start, stop, dtype=np.int64)

    def length(self, num_rows: int) -> int:
        """One position for each row."""
        return num_rows


@dataclass(frozen=True)
class ShuffleSampler:
    """A uniform permutation of all rows, another one in every epoch.

    Args:
        seed: Integer in [0, 2^64). `None` draws one, which is then kept.

    Raises:
        TypeError: The seed is no integer.
        ValueError: The seed is out of range.

    Example:
        >>> sampler = ShuffleSampler(seed=7)
        >>> sorted(sampler.rows(3, epoch=0, start=0, stop=3).tolist())
        [0, 1, 2]
    """

    seed: int | None = None

    def __post_init__(self) -> None:
        settle_seed(self)

    def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Integers:
        """See `Sampler.rows`."""
        positions = np.arange(start, stop, dtype=np.int64)
        return permute(positions, num_rows, derive_key("rows", order_seed(self), epoch))

    def length(self, num_rows: int) -> int:
        """One position for each row."""
        return num_rows


@dataclass(frozen=True)
class BlockShuffleSampler:
    """Shuffled blocks of neighbouring rows, mixed row by row in large windows.

    Reading from disk wants neighbours, training wants strangers. Rows are cut
    into blocks at an offset drawn for each epoch, the blocks are permuted, and
    all rows of `window` consecutive blocks are permuted among themselves. How
    well a batch is mixed depends almost only on the number of blocks in the
    window: with four times as many blocks as the batch has rows, about 0.05 bit
    of label entropy is lost on rows that are sorted by label.

    Windows are of equal size, to within a block, so none is left with a few
    badly mixed rows at the end.

    Args:
        seed: Integer in [0, 2^64). `None` draws one, which is then kept.
        block_size: Neighbouring rows in a block.
        window: Blocks that are mixed together. A window of
            ``block_size * window`` rows is what a reader holds in memory.

    Raises:
        TypeError: An argument is no integer.
        ValueError: An argument is out of range.

    Example:
        >>> sampler = BlockShuffleSampler(seed=7, block_size=32, window=512)
        >>> train = SparseBatchSequence(x, sampler=sampler)
    """

    seed: int | None = None
    block_size: int = 16
    window: int = 1024

    def __post_init__(self) -> None:
        settle_seed(self)
        for name in ("block_size", "window"):
            size = integer(name, getattr(self, name), minimum=1, maximum=2**62)
            object.__setattr__(self, name, size)

    def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Integers:
        """See `Sampler.rows`."""
        pieces = []
        while start < stop:
            index, first, end = self._window(num_rows, start)
            upto = min(stop, end)
            mixed = permute(
                np.arange(start - first, upto - first, dtype=np.int64),
                end - first,
                derive_key("window", order_seed(self), epoch, index),
            )
            pieces.append(first + mixed)
            start = upto
        return self._place(_concatenate(pieces), num_rows, epoch)

    def window_at(self, num_rows: int, position: int) -> tuple[int, int]:
        """The first position, and one past the last, of the window of a position.

        No block has rows inside and outside: a reader had better stop there.
        """
        return self._window(num_rows, position)[1:]

    def _window(self, num_rows: int, position: int) -> tuple[int, int, int]:
        """(number, first position, one past the last) of the window of a position."""
        blocks = -(-num_rows // self.block_size)
        windows = -(-blocks // self.window)
        # The last window whose first block, index * blocks // windows, is not after
        # the block that `position` would fall in unmixed.
        block = position // self.block_size
        index = -(-(block + 1) * windows // blocks) - 1
        first = index * blocks // windows * self.block_size
        end = min((index + 1) * blocks // windows * self.block_size, num_rows)
        return index, first, end

    def _place(self, slots: Integers, num_rows: int, epoch: int) -> Integers:
        """Maps slots of the permuted blocks to rows."""
        # Only whole blocks are permuted; the short one stays last, where slot
        # arithmetic is exact, and the epoch's offset decides which rows it holds.
        whole = num_rows // self.block_size
        blocks = slots // self.block_size
        first, last = (int(blocks.min()), int(blocks.max())) if len(blocks) else (0, 0)
        # Slots of one window share their blocks: each is permuted once.
        shared = last - first < len(blocks)
        numbers = np.arange(first, last + 1) if shared else blocks.copy()
        if whole > 1:
            key = derive_key("blocks", order_seed(self), epoch)
            inside = numbers < whole
            numbers[inside] = permute(numbers[inside], whole, key)
        word = int(derive_key("offset", order_seed(self), epoch)[0])
        starts = numbers * self.block_size + (word * num_rows >> 64)
        rows = starts.take(blocks - first) if shared else starts
        rows += slots
        rows -= blocks * self.block_size
        return np.where(rows >= num_rows, rows - num_rows, rows)

    def length(self, num_rows: int) -> int:
        """One position for each row."""
        return num_rows


def content_digest(*arrays: Integers) -> bytes:
    """Stands for arrays where samplers are compared, hashed and resumed."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).astype("<i8", copy=False).data)
    return digest.digest()


def index_of(given: Any) -> Any:
    """Of a pandas Series a table of its index alone, which may tell of what rows it is.

    `None` of anything else.
    """
    is_series = hasattr(given, "iloc") and hasattr(given, "to_frame")
    return given.to_frame().iloc[:, :0] if is_series else None


def not_computed(sampler: Any, kind: type) -> dict[str, Any]:
    """The attributes of a sampler that `kind` does not compute from the others.

    Of what rows it is can be computed of what was given alone, which is not kept.
    """
    state = dict(vars(sampler))
    for each in fields(kind):
        if not each.init and each.name != "described":
            del state[each.name]
    return state


def check_described(name: str, length: int, num_rows: int) -> None:
    """Refuses an array of a sampler that does not describe the rows served."""
    if length != num_rows:
        raise ValueError(
            f"`{name}` of the sampler must have one entry for each of the {num_rows} "
            f"rows that are served; received {length}. Pass {name} of those rows: "
            f"where the sequence has `rows`, {name}[rows]."
        )


def _concatenate(pieces: list[Integers]) -> Integers:
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def chosen_sampler(sampler: Sampler | None, shuffle: bool | str, seed: int) -> Sampler:
    """The sampler that the arguments of a sequence name.

    Args:
        sampler: A sampler, or `None`.
        shuffle: `False`, `True` or ``"block"``.
        seed: Integer in [0, 2^64), where `shuffle` decides.

    Raises:
        TypeError: `sampler` is not one, or `shuffle` is.
        ValueError: `shuffle` is not known, or both are given.
    """
    if isinstance(shuffle, Sampler):
        raise TypeError(
            f"`shuffle` must be one of False, True, 'block'; received "
            f"{shown(shuffle)}. Pass a sampler by its own name: sampler=..."
        )
    one_of("shuffle", shuffle, (False, True, "block"))
    if sampler is None:
        if shuffle == "block":
            return BlockShuffleSampler(seed)
        return ShuffleSampler(seed) if shuffle else SequentialSampler()
    if shuffle:
        raise ValueError(
            f"`sampler` and `shuffle` must not both be given; received "
            f"sampler={shown(sampler)} and shuffle={shuffle!r}. Leave out `shuffle`: "
            f"the sampler decides the order."
        )
    if not isinstance(sampler, Sampler) or isinstance(sampler, type):
        raise TypeError(
            f"`sampler` must have methods rows(num_rows, epoch, start, stop) and "
            f"length(num_rows); received {shown(sampler)}. Pass for example "
            f"ShuffleSampler(seed)."
        )
    return sampler

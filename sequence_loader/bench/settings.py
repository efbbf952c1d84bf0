"""Setting: one way to make a sequence over a store, and the lines that make it."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sequence_loader.order.samplers import (
    BlockShuffleSampler,
    Sampler,
    SequentialSampler,
    ShuffleSampler,
)

DEFAULT_BLOCK = 16
"""The block size of ``shuffle="block"``."""
SEED = 7


@dataclass(frozen=True)
class Setting:
    """Arguments of a `SparseBatchSequence`, and the road its batches take.

    Attributes:
        order: ``"sequential"``, ``"block"`` or ``"uniform"``.
        block_size: Neighbouring rows in a block; 1 where there are no blocks.
        output: ``"sparse"`` or ``"dense"``.
        batch_size: Rows in a batch.
        workers: Threads that prepare batches; 1 starts none.
        road: ``"dataset"`` for `to_tf_dataset()`, ``"sequence"`` for the sequence.
    """

    order: str
    block_size: int
    output: str
    batch_size: int
    workers: int
    road: str

    @property
    def order_name(self) -> str:
        """``"block 16"``, for example."""
        return f"block {self.block_size}" if self.order == "block" else self.order

    @property
    def name(self) -> str:
        """All of it, in short."""
        threads = f", {self.workers} workers" if self.workers > 1 else ""
        road = ", sequence" if self.road == "sequence" else ""
        rows = f"{self.batch_size} rows"
        return f"{self.order_name}, {self.output}, {rows}{threads}{road}"

    @property
    def effort(self) -> tuple[Any, ...]:
        """What is preferred of settings that are equally fast: the least.

        Fewer workers, smaller batches, a uniform order, blocks near the default.
        """
        blocks = abs(self.block_size - DEFAULT_BLOCK) if self.order == "block" else -1
        return self.workers, self.batch_size, blocks, self.road, self.output

    def sampler(self) -> Sampler:
        """The order, of a seed that is always the same."""
        if self.order == "block":
            return BlockShuffleSampler(SEED, block_size=self.block_size)
        return ShuffleSampler(SEED) if self.order == "uniform" else SequentialSampler()

    def line(self, paths: Sequence[str]) -> str:
        """Python that imports what it needs and makes the feed ``train``, anywhere.

        Args:
            paths: Of the store, as the user wrote them.
        """
        found = [_absolute(path) for path in paths]
        where = repr(found[0] if len(found) == 1 else found)
        order = {"sequential": "", "uniform": "shuffle=True, "}.get(self.order)
        imported = ["SparseBatchSequence", "open_store"]
        if order is None and self.block_size == DEFAULT_BLOCK:
            order = "shuffle='block', "
        elif order is None:
            order = f"sampler=BlockShuffleSampler(block_size={self.block_size}), "
            imported.insert(0, "BlockShuffleSampler")
        made = (
            f"from sequence_loader import {', '.join(imported)}\n"
            f"train = SparseBatchSequence(open_store({where}), "
            f"batch_size={self.batch_size}, "
            f"{order}output={self.output!r}, workers={self.workers})"
        )
        return made + (".to_tf_dataset()" if self.road == "dataset" else "")

    def described(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def _absolute(path: str) -> str:
    """A path that means the same in every folder; a pattern stays a pattern.

    A folder above a pattern may have a name that would be one.
    """
    absolute = os.path.abspath(path)
    if os.path.lexists(path) or not glob.has_magic(path) or os.path.isabs(path):
        return absolute
    return os.path.normpath(os.path.join(glob.escape(os.getcwd()), path))

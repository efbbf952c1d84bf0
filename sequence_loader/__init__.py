"""Feed Keras models from sparse rows, in memory or on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sequence_loader._version import __version__
from sequence_loader.balanced import BalancedSampler
from sequence_loader.samplers import (
    BlockShuffleSampler,
    Sampler,
    SequentialSampler,
    ShuffleSampler,
)
from sequence_loader.weighted import WeightedSampler

if TYPE_CHECKING:
    from sequence_loader.sequence import SparseBatchSequence
    from sequence_loader.sharding import current_shard

__all__ = [
    "BalancedSampler",
    "BlockShuffleSampler",
    "Sampler",
    "SequentialSampler",
    "ShuffleSampler",
    "SparseBatchSequence",
    "WeightedSampler",
    "__version__",
    "current_shard",
]


def __getattr__(name: str) -> Any:
    """Imports Keras when, and only when, the sequence is asked for."""
    if name == "SparseBatchSequence":
        from sequence_loader.sequence import SparseBatchSequence

        return SparseBatchSequence
    if name == "current_shard":
        from sequence_loader.sharding import current_shard

        return current_shard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

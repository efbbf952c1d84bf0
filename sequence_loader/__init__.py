"""Feed Keras models from sparse rows, in memory or on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sequence_loader._version import __version__
from sequence_loader.failures import WorkerError
from sequence_loader.samplers import (
    BlockShuffleSampler,
    Sampler,
    SequentialSampler,
    ShuffleSampler,
)

if TYPE_CHECKING:
    from sequence_loader.sequence import SparseBatchSequence

__all__ = [
    "BlockShuffleSampler",
    "Sampler",
    "SequentialSampler",
    "ShuffleSampler",
    "SparseBatchSequence",
    "WorkerError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Imports Keras when, and only when, the sequence is asked for."""
    if name == "SparseBatchSequence":
        from sequence_loader.sequence import SparseBatchSequence

        return SparseBatchSequence
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Feed Keras models from sparse rows, in memory or on disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sequence_loader._version import __version__
from sequence_loader.samplers import (
    BlockShuffleSampler,
    Sampler,
    SequentialSampler,
    ShuffleSampler,
)

if TYPE_CHECKING:
    from sequence_loader.importers import convert
    from sequence_loader.sequence import SparseBatchSequence
    from sequence_loader.store import SparseStore, StoreError, StoreWriter, open_store

__all__ = [
    "BlockShuffleSampler",
    "Sampler",
    "SequentialSampler",
    "ShuffleSampler",
    "SparseBatchSequence",
    "SparseStore",
    "StoreError",
    "StoreWriter",
    "__version__",
    "convert",
    "open_store",
]

# Imported when, and only when, they are asked for: one of them brings Keras.
_HOMES = {
    "SparseBatchSequence": "sequence_loader.sequence",
    "SparseStore": "sequence_loader.store",
    "StoreError": "sequence_loader.store",
    "StoreWriter": "sequence_loader.store",
    "convert": "sequence_loader.importers",
    "open_store": "sequence_loader.store",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Feed Keras models from sparse rows, in memory or on disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sequence_loader._version import __version__
from sequence_loader.order.balanced import BalancedSampler
from sequence_loader.order.samplers import (
    BlockShuffleSampler,
    Sampler,
    SequentialSampler,
    ShuffleSampler,
)
from sequence_loader.order.weighted import WeightedSampler
from sequence_loader.workers.errors import WorkerError

if TYPE_CHECKING:
    from sequence_loader.backends.current_shard import current_shard
    from sequence_loader.feed.checkpoint import SequenceCheckpoint
    from sequence_loader.feed.sequence import SparseBatchSequence
    from sequence_loader.feed.stats import FeedStats
    from sequence_loader.importers.convert import convert
    from sequence_loader.store.format import StoreError
    from sequence_loader.store.opening import open_store
    from sequence_loader.store.sparse_store import SparseStore
    from sequence_loader.store.writer import StoreWriter
    from sequence_loader.text.opening import open_texts

__all__ = [
    "BalancedSampler",
    "BlockShuffleSampler",
    "FeedStats",
    "NgramVectorizer",
    "Sampler",
    "SequenceCheckpoint",
    "SequenceVectorizer",
    "SequentialSampler",
    "ShuffleSampler",
    "SparseBatchSequence",
    "SparseStore",
    "StoreError",
    "StoreWriter",
    "WeightedSampler",
    "WorkerError",
    "__version__",
    "convert",
    "current_shard",
    "open_store",
    "open_texts",
]

# Imported when, and only when, they are asked for: one of them brings Keras.
_HOMES = {
    "FeedStats": "sequence_loader.feed.stats",
    "NgramVectorizer": "sequence_loader.text.ngram_vectorizer",
    "SequenceCheckpoint": "sequence_loader.feed.checkpoint",
    "SequenceVectorizer": "sequence_loader.text.sequences",
    "SparseBatchSequence": "sequence_loader.feed.sequence",
    "SparseStore": "sequence_loader.store.sparse_store",
    "StoreError": "sequence_loader.store.format",
    "StoreWriter": "sequence_loader.store.writer",
    "convert": "sequence_loader.importers.convert",
    "current_shard": "sequence_loader.backends.current_shard",
    "open_store": "sequence_loader.store.opening",
    "open_texts": "sequence_loader.text.opening",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

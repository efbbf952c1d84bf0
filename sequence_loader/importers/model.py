"""A store that a new one must fit to: validation data to training data, say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.importers.source import Source, SourceError
from sequence_loader.store.opening import open_store


@dataclass(frozen=True)
class Model:
    """What is taken from that store.

    Attributes:
        num_features: Number of columns.
        dtype: Of the values.
        feature_names: One name for each feature, or `None`.
        class_names: The names of classes, or of labels, or `None`.
        metadata: What it remembers of its source.
    """

    num_features: int
    dtype: np.dtype[Any]
    feature_names: tuple[str, ...] | None
    class_names: tuple[str, ...] | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Model:
        """Looks at a store.

        Raises:
            StoreError: It is none.
        """
        with open_store(path) as store:
            return cls(
                store.num_features,
                store.dtype,
                store.feature_names,
                store.class_names,
                store.metadata,
            )

    def classes(self, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The names of classes, of which `names` may have more than the store.

        Raises:
            ValueError: A class would have another number than in the store.
        """
        own = self.class_names
        if own is None or names is None:
            return own if names is None else names
        if names[: len(own)] != own:
            raise ValueError(
                f"{argument('class_names')} must begin with those of the store in "
                f"{argument('like')}, {shown(own)}, or a class would have another "
                f"number than there; received {shown(names)}. Leave "
                f"{argument('class_names')} out."
            )
        return names

    def check(self, source: Source, names: tuple[str, ...] | None) -> None:
        """Raises SourceError unless a source, with these names, has its features."""
        for one, two in (
            (self.num_features, source.num_features),
            (self.feature_names, names),
        ):
            if one != two and None not in (one, two):
                raise SourceError(
                    f"{source.name} must have the features of the store in "
                    f"{argument('like')}, {shown(one)}; it has {shown(two)}. Select "
                    f"the same ones, in the same order."
                )

"""Fitting in many tasks: each counts some texts into a part, and one merges those."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sequence_loader.rows.csr import CsrRows
from sequence_loader.text.spill import Spill
from sequence_loader.text.vectorizer_inputs import Labels
from sequence_loader.text.vectorizer_learned import LearnedColumns, PathLike
from sequence_loader.text.vectorizer_parts import Part, PartWriter, joined_labels
from sequence_loader.text.vectorizer_workers import Means

Rows = Callable[[], Iterator[CsrRows]]
"""The rows of each block, once the passes before have run."""
Self = TypeVar("Self", bound="TaskVectorizer")


class TaskVectorizer(LearnedColumns):
    """Counts texts here, and learns from what was counted anywhere."""

    def fit_part(
        self,
        source: Any,
        path: PathLike,
        y: Any = None,
        *,
        workers: int = 1,
        overwrite: bool = False,
        progress: bool = True,
    ) -> Path:
        """Counts some of the texts: one task of many, on any machine.

        What it makes is what `merge` fits from, and what `write` can make a store of
        without reading the texts again. The vectorizer learns nothing yet.

        Args:
            source: As in `fit`.
            path: The directory to create, where all tasks can read it.
            y: As in `fit`.
            workers: As in `fit`.
            overwrite: Whether to replace a part at `path`.
            progress: As in `fit`.

        Returns:
            Its path.

        Raises:
            FileExistsError: Something is at `path` that may not be replaced.
            OSError: The part cannot be written.
            TypeError: As in `fit`.
            ValueError: As in `fit`.
            WorkerError: As in `fit`.
        """
        writer = PartWriter(path, overwrite)
        try:
            labels = self._count(source, y, writer.spill, workers, progress)
            writer.publish(self._made_with(), labels)
        except BaseException:
            writer.discard()
            raise
        finally:
            writer.spill.close()
        return writer.path

    def merge(
        self: Self,
        parts: Iterable[PathLike],
        *,
        workers: int = 1,
        progress: bool = True,
    ) -> Self:
        """Learns the columns from parts: the same as `fit` from all of their texts.

        Temporary files are beside the first part, without names.

        Args:
            parts: What `fit_part` gave, in the order of the texts.
            workers: Threads that compute.
            progress: Whether to show a progress bar, if standard error is a terminal.

        Returns:
            The vectorizer.

        Raises:
            FileNotFoundError: A part is missing.
            ValueError: Parts are damaged, or do not fit together; or as in `fit`.
        """
        found = [Part(path, self._made_with()) for path in parts]
        if not found:
            raise ValueError("`parts` must name at least one part; received none.")
        places = [os.path.realpath(part.path) for part in found]
        twice = next((each for each in places if places.count(each) > 1), None)
        if twice is not None:
            raise ValueError(
                f"`parts` must name each part once, or its texts count more often; "
                f"received {twice} {places.count(twice)} times. Leave the others out."
            )
        try:
            labels = joined_labels([part.labels for part in found])
            spills = [part.spill for part in found]
            means = Means(found[0].path.parent, workers, progress)
            self._learn(spills, labels, means)
        finally:
            for part in found:
                part.spill.close()
        return self

    @abstractmethod
    def _count(
        self, source: Any, y: Any, spill: Spill, workers: int, progress: bool
    ) -> Labels:
        """Counts texts, and gives their labels."""

    @abstractmethod
    def _learn(
        self, spills: Sequence[Spill], labels: Labels, means: Means
    ) -> Rows:
        """Learns from counted blocks: sets `_learned` and `_arrays`."""

"""What both vectorizers do: passes over texts, and into a store."""

from __future__ import annotations

import os
import tempfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from sequence_loader.checks import integer
from sequence_loader.rows.csr import CsrRows, joined
from sequence_loader.store.opening import open_store
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.store.writer import StoreWriter
from sequence_loader.text.spill import Spill
from sequence_loader.text.vectorizer_inputs import (
    Labels,
    TextSource,
    checked_texts,
    labels_of,
)
from sequence_loader.text.vectorizer_learned import PathLike
from sequence_loader.text.vectorizer_parts import Part
from sequence_loader.text.vectorizer_passes import (
    RowMaker,
    count,
    free,
    served,
    store,
    with_settings,
)
from sequence_loader.text.vectorizer_tasks import Rows, TaskVectorizer
from sequence_loader.text.vectorizer_workers import Means

Self = TypeVar("Self", bound="TextVectorizer")


class TextVectorizer(TaskVectorizer):
    """Texts in, sparse rows out.

    A subclass says how a block of texts is counted, what is learned from counted
    blocks, and how texts become rows with it.
    """

    def fit(
        self: Self,
        source: Any,
        y: Any = None,
        *,
        workers: int = 1,
        progress: bool = True,
    ) -> Self:
        """Learns the columns. Temporary files are in ``tempfile.gettempdir()``.

        Args:
            source: Texts: what `open_texts` gives, or another object with
                ``num_rows`` and ``read(rows)``; a list, array or Series of str; or
                any iterable of str, which is gone through once.
            y: The class of each text, integers or text; by default ``source.y``.
            workers: Processes that read and split texts, and threads that compute; 1
                does all in this thread. More than 1 takes the extra ``workers``. Of
                200,000 texts of 55 words, two on two cores made n-grams 1.3 times as
                fast as one, and sequences no faster: they take a second to start.
            progress: Whether to show a progress bar, if standard error is a terminal.

        Returns:
            The vectorizer.

        Raises:
            TypeError: A text is no str, or `y` neither integers nor text.
            ValueError: There are no texts or no terms, or `y` does not fit.
            WorkerError: A worker failed.
        """
        with ExitStack() as stack:
            self._fit(source, y, Path(tempfile.gettempdir()), workers, progress, stack)
        return self

    def fit_write(
        self,
        source: Any,
        path: PathLike,
        y: Any = None,
        *,
        workers: int = 1,
        overwrite: bool = False,
        metadata: dict[str, Any] | None = None,
        progress: bool = True,
    ) -> SparseStore:
        """Learns the columns, and writes the rows of the same texts into a store.

        The texts are read once. Temporary files are beside `path`, without names: the
        kernel removes them with the process, however it ends.

        Args:
            source: As in `fit`.
            path: The store to create; the vectorizer is kept in it.
            y: As in `fit`.
            workers: As in `fit`.
            overwrite: Whether to replace a store at `path`.
            metadata: As in `StoreWriter`. The settings of `open_texts` stand beside it
                as ``"texts"``, so that other files can be opened likewise.
            progress: As in `fit`.

        Returns:
            The store, open, with `y`, `class_names` and, of n-grams, `feature_names`.

        Raises:
            FileExistsError: Something is at `path` that may not be replaced.
            OSError: The store cannot be written.
            TypeError: As in `fit`.
            ValueError: As in `fit`.
            WorkerError: As in `fit`.
        """
        target, kept = free(path, overwrite), with_settings(metadata, source)
        with ExitStack() as stack:
            labels, rows = self._fit(
                source, y, target.parent, workers, progress, stack
            )
            self._store(target, overwrite, labels, rows(), kept, progress)
        return open_store(target)

    def transform(self, texts: Iterable[str]) -> Any:
        """Rows of texts; what `SparseBatchSequence` takes as its `transform`.

        Args:
            texts: An iterable of str.

        Returns:
            ``csr_array`` of shape (texts, num_features).

        Raises:
            TypeError: A text is no str.
            ValueError: The vectorizer was not fitted.
        """
        self._check_fitted()
        return joined(self._rows(checked_texts(texts))).to_scipy()

    def write(
        self,
        source: Any,
        path: PathLike,
        y: Any = None,
        *,
        workers: int = 1,
        overwrite: bool = False,
        metadata: dict[str, Any] | None = None,
        progress: bool = True,
    ) -> SparseStore:
        """Writes other texts into a store, with the columns that were learned.

        Args:
            source: As in `fit`; or the path of a part that `fit_part` made.
            path: The store to create; the vectorizer is kept in it.
            y: As in `fit`. Classes have the integers that they had in `fit`, by their
                names, where there are names.
            workers: As in `fit`.
            overwrite: Whether to replace a store at `path`.
            metadata: As in `fit_write`.
            progress: As in `fit`.

        Returns:
            The store, open.

        Raises:
            FileExistsError: Something is at `path` that may not be replaced.
            OSError: The store cannot be written.
            TypeError: As in `fit`.
            ValueError: The vectorizer was not fitted, or a class is not one of its.
            WorkerError: As in `fit`.
        """
        self._check_fitted()
        target, kept = free(path, overwrite), with_settings(metadata, source)
        if isinstance(source, str | os.PathLike):
            part = Part(source, self._made_with())
            labels, made = part.labels, self._rows_of_part(part.spill)
        else:
            labels = labels_of(source, y)
            texts = TextSource(source)
            found = served(lambda sent: RowMaker(self._rows, sent), texts, workers)
            made = (rows for blocks in found for rows in blocks)
        labels = labels.like(self.class_names)
        self._store(target, overwrite, labels, made, kept, progress)
        return open_store(target)

    @property
    @abstractmethod
    def _dtype(self) -> str:
        """Of values in a store."""

    @abstractmethod
    def _counter(self, source: Any) -> Any:
        """What counts texts: ``serve(texts or rows)`` and ``append(spill, counts)``."""

    def _check_labels(self, labels: Labels) -> None:
        """Raises ValueError for labels with which it cannot learn."""

    @abstractmethod
    def _rows(self, texts: Sequence[str]) -> list[CsrRows]:
        """Rows of texts, in blocks."""

    @abstractmethod
    def _rows_of_part(self, spill: Spill) -> Iterator[CsrRows]:
        """Rows of counted blocks."""

    def _fit(
        self,
        source: Any,
        y: Any,
        scratch: Path,
        workers: int,
        progress: bool,
        stack: ExitStack,
    ) -> tuple[Labels, Rows]:
        means = Means(scratch, integer("workers", workers, minimum=1), progress)
        spill = Spill.unnamed(scratch)
        stack.callback(spill.close)
        labels = self._count(source, y, spill, workers, progress)
        return labels, self._learn([spill], labels, means)

    def _count(
        self, source: Any, y: Any, spill: Spill, workers: int, progress: bool
    ) -> Labels:
        texts = TextSource(source)
        labels = labels_of(source, y, texts.num_rows)
        self._check_labels(labels)
        count(self._counter, texts, labels, spill, workers, progress)
        return labels

    def _store(
        self,
        path: Path,
        overwrite: bool,
        labels: Labels,
        made: Iterable[CsrRows],
        metadata: dict[str, Any],
        progress: bool,
    ) -> None:
        writer = StoreWriter(
            path,
            self.num_features,
            self._dtype,
            overwrite=overwrite,
            feature_names=self._learned.get("feature_names"),
            class_names=labels.class_names,
            metadata=metadata,
        )
        digest = store(
            writer, self._content(), self._arrays, labels.y, made, progress
        )
        self._saved = path, digest

"""The passes that go over texts, or put rows into a store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.checks import absolute_path, integer
from sequence_loader.progress import progress_bar
from sequence_loader.rows.csr import CsrRows
from sequence_loader.store.blocks import checked_metadata
from sequence_loader.store.format import MANIFEST
from sequence_loader.store.publishing import PendingDirectory, remove_leftovers
from sequence_loader.store.writer import OWNED, StoreWriter
from sequence_loader.text import vectorizer_files as files
from sequence_loader.text.spill import Spill
from sequence_loader.text.texts import Texts
from sequence_loader.text.vectorizer_inputs import (
    Labels,
    TextSource,
    checked_texts,
)
from sequence_loader.text.vectorizer_workers import in_processes


def count(
    make: Callable[[Any], Any],
    texts: TextSource,
    labels: Labels,
    spill: Spill,
    workers: int,
    progress: bool,
) -> None:
    """Counts texts, block by block.

    Args:
        make: From a source, or `None`, to what counts its rows, or texts: it has
            ``serve(item) -> list`` and ``append(spill, counts)``.
        texts: All of them.
        labels: One for each.
        spill: Where counts go.
        workers: How many processes; 1 counts in this thread.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: There are no texts, or not as many as labels.
    """
    append = make(None).append
    with progress_bar("count", texts.num_rows, "texts", shown=progress) as advance:
        for found in served(make, texts, workers):
            for counts in found:
                append(spill, counts)
                advance(len(counts.lengths))
    rows = sum(block.rows for block in spill.blocks)
    if rows == 0:
        raise ValueError(
            f"{argument('source')} must hold at least one text; received none. Check "
            f"how it was made."
        )
    if labels.y is not None and len(labels.y) != rows:
        raise ValueError(
            f"`y` must have one label for each of the {rows} texts; received "
            f"{len(labels.y)}. Pass the class of each text."
        )


def served(
    make: Callable[[Any], Any], texts: TextSource, workers: int
) -> Iterator[Any]:
    """What ``serve`` gives for each block of texts, in this process or in workers."""
    if integer("workers", workers, minimum=1) == 1:
        serve = make(None).serve
        return (serve(sent) for _, _, sent in texts.items(send_rows=False))
    sent = texts.description()
    return in_processes(make(sent), texts.items(sent is not None), workers)


class RowMaker:
    """Rows of texts, or of rows of a source; picklable, for worker processes.

    Args:
        rows: From texts to rows, in blocks.
        source: Where `serve` reads rows, or `None` if it is given texts.
    """

    def __init__(
        self, rows: Callable[[Sequence[str]], list[CsrRows]], source: Any = None
    ) -> None:
        self._rows, self._source = rows, source

    def serve(self, item: Any) -> list[CsrRows]:
        """Rows of some texts, in blocks."""
        if self._source is not None:
            item = checked_texts(self._source.read(item), item)
        return self._rows(item)


def free(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The path of a store that may be written; asked now, not after hours.

    What a run that was killed while it wrote left beside it is removed.
    """
    target = absolute_path("path", path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the writer says again what others left
        PendingDirectory(target, OWNED, MANIFEST, overwrite).discard()
    remove_leftovers(target, lambda left: set(os.listdir(left)) <= OWNED)
    return target


def with_settings(metadata: dict[str, Any] | None, source: Any) -> dict[str, Any]:
    """What a store keeps of its texts: `metadata`, and how `open_texts` read them."""
    settings = {"texts": source.settings} if isinstance(source, Texts) else {}
    return settings | checked_metadata(metadata)


def store(
    writer: StoreWriter,
    content: dict[str, Any],
    arrays: Mapping[str, Array],
    y: Array | None,
    made: Iterable[CsrRows],
    progress: bool,
) -> str:
    """Writes rows, and the vectorizer that made them, into a store.

    Returns:
        The vectorizer's digest.
    """
    start = 0
    total = None if y is None else len(y)
    with writer, progress_bar("write", total, "texts", shown=progress) as advance:
        digest = files.write(writer.directory, content, arrays)
        for rows in made:
            labels = None if y is None else y[start : start + rows.num_rows]
            start += rows.num_rows
            if labels is not None and len(labels) < rows.num_rows:
                break
            writer.append(rows, labels)
            advance(rows.num_rows)
        if total not in (None, start):
            raise ValueError(
                f"`y` must have one label for each text; received {total} for {start} "
                f"texts or more. Pass the class of each text."
            )
    return digest

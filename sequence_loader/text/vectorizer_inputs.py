"""Texts from what users have them in, in blocks; and their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from sequence_loader.arrays import Integers
from sequence_loader.arguments import argument
from sequence_loader.checks import check_ordered, shown
from sequence_loader.rows.indexes import check_order

BLOCK_CHARS = 1 << 21
"""Characters of a block, or one longer text: 600,000 n-grams and 100 MB at work."""
BLOCK_ROWS = 1 << 14
"""Texts of a block at most: their numbers must fit in two bytes."""
READ_ROWS = 1 << 10

Item = tuple[int, int, Any]
"""(first row, one past the last, their texts or their numbers)."""


class TextSource:
    """Texts by row, or once, in order.

    Args:
        source: Something with ``num_rows`` and ``read(rows)``, as `open_texts` gives;
            a list, array or Series of str; or any iterable of str.
    """

    def __init__(self, source: Any) -> None:
        if isinstance(source, str | bytes) or not (
            hasattr(source, "read") or isinstance(source, Iterable)
        ):
            raise TypeError(
                f"{argument('source')} must be open_texts(...), or a list or iterable "
                f"of str; received {shown(source)} of type {type(source).__name__}. "
                f"Pass [text] for one text, and open_texts(path) for a file."
            )
        check_ordered("source", source)
        self.source = source.to_numpy() if hasattr(source, "iloc") else source
        self.by_row = hasattr(source, "num_rows") and hasattr(source, "read")
        self.num_rows: int | None = None
        if self.by_row:
            self.num_rows = int(source.num_rows)
        elif isinstance(self.source, Sequence | np.ndarray):
            self.num_rows = len(self.source)

    def items(self, send_rows: bool) -> Iterator[Item]:
        """Blocks of texts, about as long as `BLOCK_CHARS`.

        Args:
            send_rows: Whether to give numbers of rows, for a worker to read.
        """
        if send_rows and self.num_rows:
            sample = np.linspace(0, self.num_rows - 1, 64).astype(np.int64)
            chars = sum(map(len, self.read(np.unique(sample))))
            step = BLOCK_CHARS * len(np.unique(sample)) // max(chars, 1)
            step = min(max(step, 1), BLOCK_ROWS)
            for start in range(0, self.num_rows, step):
                rows = np.arange(start, min(start + step, self.num_rows))
                yield start, start + len(rows), rows
            return
        waiting: list[str] = []
        start = size = 0
        for texts in self._reads():
            for part in pieces(texts):
                waiting += part
                size += sum(map(len, part))
                if size >= BLOCK_CHARS or len(waiting) + READ_ROWS > BLOCK_ROWS:
                    yield start, start + len(waiting), waiting
                    start, waiting, size = start + len(waiting), [], 0
        if waiting:
            yield start, start + len(waiting), waiting

    def description(self) -> Any:
        """The source, if a worker can be sent it rather than texts; or `None`."""
        # Here, since workers import this module, and that one brings scipy.
        from sequence_loader.rows.sources import traits_of
        from sequence_loader.workers.pickling import DESCRIPTION_BYTES, pickled

        if not self.by_row or traits_of(self.source).stays_here:
            return None
        try:
            pickled(self.source, limit=DESCRIPTION_BYTES)
        except Exception:  # it cannot be sent, or not without its rows
            return None
        return self.source

    def read(self, rows: Integers) -> list[str]:
        """The texts of some rows of a source that is read by row."""
        return checked_texts(self.source.read(rows), rows)

    def _reads(self) -> Iterator[list[str]]:
        if self.by_row:
            for start in range(0, self.num_rows or 0, READ_ROWS):
                stop = min(start + READ_ROWS, self.num_rows or 0)
                yield self.read(np.arange(start, stop))
            return
        texts, start = iter(self.source), 0
        while block := list(islice(texts, READ_ROWS)):
            yield checked_texts(block, range(start, start + len(block)))
            start += len(block)


def checked_texts(
    texts: Any, rows: Sequence[int] | Integers | None = None
) -> list[str]:
    """A list of str; raises TypeError where something else is among them."""
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"`texts` must be a sequence of str; received one, {shown(texts)}. Pass "
            f"[text]."
        )
    if isinstance(texts, Mapping) or getattr(texts, "ndim", 1) != 1:
        # Of a table, what is iterated over are the names of its columns.
        raise TypeError(
            f"`texts` must be a sequence of str; received {shown(texts)} of type "
            f"{type(texts).__name__}. Pass one column of it: table['text']."
        )
    check_ordered("texts", texts)
    found = list(texts)
    if not set(map(type, found)) <= {str}:
        for i, text in enumerate(found):
            if not isinstance(text, str):
                raise TypeError(
                    f"texts must be str; received {shown(text)} of type "
                    f"{type(text).__name__} in row {i if rows is None else rows[i]}. "
                    f"Decode bytes, and replace what is missing by ''."
                )
        found = [str(text) for text in found]
    return found


def pieces(texts: Sequence[str]) -> list[Sequence[str]]:
    """Runs of texts of about `BLOCK_CHARS` characters, or one longer text."""
    if len(texts) <= BLOCK_ROWS and sum(map(len, texts)) <= 2 * BLOCK_CHARS:
        return [texts]
    found, start, size = [], 0, 0
    for i, text in enumerate(texts, 1):
        size += len(text)
        if size >= BLOCK_CHARS or i - start == BLOCK_ROWS:
            found.append(texts[start:i])
            start, size = i, 0
    if start < len(texts):
        found.append(texts[start:])
    return found


@dataclass(frozen=True, eq=False)
class Labels:
    """The classes of texts.

    Attributes:
        y: int64 array of shape (texts,), or `None`.
        class_names: What its integers stand for, or `None`.

    Raises:
        ValueError: An integer stands for no name.
    """

    y: Integers | None
    class_names: tuple[str, ...] | None

    def __post_init__(self) -> None:
        if self.y is None or self.class_names is None:
            return
        wrong = (self.y < 0) | (self.y >= len(self.class_names))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{argument('y')} must be in [0, {len(self.class_names)}), the places "
                f"of {shown(list(self.class_names))}; received {self.y[row]} for text "
                f"{row}. Pass those, or the names."
            )

    def like(self, class_names: tuple[str, ...] | None) -> Labels:
        """The same with the integers that `class_names` gives the names.

        Raises:
            ValueError: A class is not among them.
        """
        if class_names is None or self.class_names in (None, class_names):
            return Labels(self.y, class_names or self.class_names)
        if self.y is None:
            return Labels(None, class_names)
        places = {name: i for i, name in enumerate(class_names)}
        names = self.class_names or ()
        y = np.array([places.get(name, -1) for name in names], np.int64)[self.y]
        if (y < 0).any():
            row = int(np.argmax(y < 0))
            raise ValueError(
                f"the class {names[self.y[row]]!r} of text {row} is not one that the "
                f"vectorizer was fitted with: {shown(list(class_names))}. Fit with "
                f"texts of all classes, or leave this text out."
            )
        return Labels(y, class_names)


def labels_of(source: Any, y: Any, num_rows: int | None = None) -> Labels:
    """The labels that are given, or else those of the source.

    Raises:
        TypeError: They are neither integers nor text.
        ValueError: They are not one for each text, or in another order.
    """
    check_order((("source", source), ("y", y)))
    names = getattr(source, "class_names", None) if y is None else None
    y = getattr(source, "y", None) if y is None else y
    if y is None:
        return Labels(None, None if names is None else tuple(names))
    values = np.asarray(y if hasattr(y, "__len__") else list(y))
    if values.ndim != 1 or (num_rows is not None and len(values) != num_rows):
        raise ValueError(
            f"`y` must have one label for each text, shape ({num_rows},); received "
            f"shape {values.shape}. Pass the class of each text."
        )
    if values.dtype.kind in "OUST" and all(isinstance(v, str) for v in values):
        found, codes = np.unique(values.astype(object), return_inverse=True)
        return Labels(codes.astype(np.int64), tuple(map(str, found)))
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64) if values.dtype.kind in "biuf" else None
    if whole is None or (whole != values).any():
        raise TypeError(
            f"`y` must hold classes, integers or text; received dtype "
            f"{values.dtype}: {shown(values)}. Encode them as integers."
        )
    return Labels(whole, None if names is None else tuple(map(str, names)))

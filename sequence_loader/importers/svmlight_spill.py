"""Parsed rows of svmlight, in a temporary file until all is known of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from sequence_loader.importers.source import Advance, SourceError, lines, open_text
from sequence_loader.importers.svmlight_lines import Piece, foreign, look_of, parsed

KIND = "svmlight"
BOM = b"\xef\xbb\xbf"
SIZES = re.compile(rb"[ \t]*(\d+)[ \t]+(\d+)[ \t]+(\d+)[ \t]*\r?\n")
"""Rows, features and labels, as files of extreme classification begin."""
HEAD_BYTES = 1 << 12
"""Bytes of a file that are looked at to say what it is."""


def _unread(path: Path, why: Any) -> SourceError:
    return SourceError(f"{path} cannot be read as a {KIND} file: {why}.")


class Spill:
    """Parsed pieces of rows, in a file that vanishes with the process.

    Attributes:
        multilabel: Whether a row has any number of labels.
        sizes: (features, labels) that the files say they have, or `None`.
        low: The smallest column so far, as it is in the text.
        high: The largest one, or -1.
        num_rows: Rows so far.
        size: Bytes of the pieces.
        labels: All labels so far, sorted, where they are classes.
        integral: Whether all of them are integers.
        queries: Whether rows have ``qid:``.
    """

    def __init__(
        self,
        scratch: Path,
        multilabel: bool | None,
        classes: bool,
        dtype: np.dtype[Any],
    ) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)
        self._classes, self._dtype = classes, dtype
        self._given, self.multilabel = multilabel, bool(multilabel)
        self._count = 0
        self._heads: list[tuple[bool, bytes]] = []
        self.sizes: tuple[int, int] | None = None
        self.low, self.high, self.num_rows, self.size = 2**31, -1, 0, 0
        self.labels, self.integral = np.zeros(0), True
        self.queries = False

    def __del__(self) -> None:
        self._file.close()

    def parse(self, path: Path, advance: Advance) -> None:
        """Adds the rows of a file."""
        number, values, before, claimed, head = 1, 0, self.num_rows, None, b""
        with open_text(path) as file:
            for text in lines(file):
                done = len(text)
                if not head:
                    head = text[:HEAD_BYTES]
                    if (what := foreign(head)) is not None:
                        raise _unread(path, f"it is {what}")
                    text = text.removeprefix(BOM)
                    if (sizes := SIZES.match(text)) is not None:
                        claimed = self._begin(*map(int, sizes.groups()))
                        text, number = text[sizes.end() :], 2
                try:
                    piece = parsed(text, number, self.multilabel, self._dtype)
                except ValueError as error:
                    none = not values and b":" not in text  # not of this line alone
                    raise _unread(path, look_of(head) if none else error) from error
                self._add(piece)
                values += len(piece.indices)
                number += text.count(b"\n")
                advance(done)
        if claimed not in (None, self.num_rows - before):
            raise ValueError(
                f"its first line says {claimed} rows, and it has "
                f"{self.num_rows - before}"
            )
        self._heads.append((values > 0, head))

    def check(self, paths: Sequence[Path]) -> None:
        """Refuses files in which no ``column:value`` is, but for empty parts."""
        some = any(values for values, _ in self._heads)
        for path, (values, head) in zip(paths, self._heads):
            if not values and not (some and not head.strip()):
                raise _unread(path, f"no column:value is in it; {look_of(head)}")

    def pieces(self, advance: Advance) -> Generator[Piece]:
        """Reads the rows again."""
        self._file.seek(0)
        for _ in range(self._count):
            start = self._file.tell()
            yield Piece(*(np.load(self._file) for _ in range(6)))
            advance(self._file.tell() - start)

    def _begin(self, rows: int, features: int, labels: int) -> int:
        """A file of extreme classification: what all of them must say."""
        if self.sizes not in (None, (features, labels)):
            raise ValueError(
                f"its first line says {features} features and {labels} labels, and "
                f"that of the file before it {self.sizes}"
            )
        self.sizes = features, labels
        self.multilabel = self._given is not False
        return rows

    def _add(self, piece: Piece) -> None:
        rows = len(piece.indptr) - 1
        if self.multilabel and np.isnan(piece.labels).any():
            raise ValueError("a label among several is nan. Leave it out")
        if len(piece.indices):
            self.low = min(self.low, int(piece.indices.min()))
            self.high = max(self.high, int(piece.indices.max()))
        if rows and self.num_rows and self.queries != bool(len(piece.queries)):
            raise ValueError("some rows have a qid:, and others have none")
        self.queries = self.queries or bool(len(piece.queries))
        if self._classes or self.multilabel:
            large = np.isfinite(piece.labels) & (np.abs(piece.labels) >= 2**53)
            if large.any():
                raise ValueError(
                    f"the label {piece.labels[large][0]:.0f} would be read as its "
                    f"neighbours are, as all from 2**53 on. Number the labels"
                )
            self.labels = np.union1d(self.labels, piece.labels)
        whole = np.abs(piece.labels) < 2**53
        whole &= piece.labels == np.floor(piece.labels)
        self.integral &= bool(whole.all())
        for array in piece.arrays():
            np.save(self._file, array)
        self._count += 1
        self.num_rows += rows
        self.size = self._file.tell()

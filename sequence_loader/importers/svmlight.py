"""svmlight / libsvm text as a source of rows, parsed by scikit-learn in pieces.

How many features there are, whether columns count from 0 or from 1, and what the
labels are is known when all files have been read. So they are parsed once, into a
temporary file without a name, and the rows are taken from there.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.checks import integer, one_of, shown
from sequence_loader.importers.source import (
    PACKED,
    Advance,
    Block,
    Source,
    SourceError,
    lines,
    open_text,
    reading,
    required,
)
from sequence_loader.progress import ProgressBar
from sequence_loader.rows.csr import CsrRows

KIND = "svmlight"
PARSING = ValueError, IndexError, OverflowError
"""What scikit-learn raises at text that is not svmlight."""


def read_svmlight(
    paths: Sequence[Path],
    scratch: Path,
    *,
    num_features: int | None = None,
    zero_based: bool | str = "auto",
    multilabel: bool = False,
    progress: bool = True,
) -> list[Source]:
    """Parses svmlight / libsvm files, plain or as ``.gz``, ``.bz2``, ``.xz``.

    Args:
        paths: The files; together they are one data set.
        scratch: Directory for the temporary file, of 12 bytes a value.
        num_features: Number of columns; by default, up to the last one in use.
        zero_based: Whether columns count from 0. ``"auto"``: they count from 1
            if no file uses column 0.
        multilabel: Whether a row has any number of labels; `y` is then uint8 of
            shape (rows, labels), 1 where the row has the label.
        progress: Whether to show a progress bar.

    Raises:
        ImportError: scikit-learn is missing.
        SourceError: A file is damaged.
        ValueError: A column does not fit into `num_features`.
    """
    required("sklearn", "text", "reading svmlight files")
    one_of("zero_based", zero_based, (True, False, "auto"))
    if num_features is not None:
        num_features = integer("num_features", num_features, minimum=1)
    spill = _Spill(scratch, multilabel)
    # How far a decompressor has come in its file, nobody says.
    packed = any(path.suffix in PACKED for path in paths)
    total = None if packed else sum(path.stat().st_size for path in paths)
    with ProgressBar("parse", total, "bytes", shown=progress) as bar:
        for path in paths:
            with reading(path, KIND):
                spill.parse(path, bar.advance)
    shift = 0 if zero_based is True or (zero_based == "auto" and spill.low < 1) else 1
    if spill.low < shift and spill.high >= 0:
        raise SourceError(
            f"{argument('zero_based')} is {zero_based}, but a row has column "
            f"{spill.low}; received {', '.join(map(str, paths[:3]))}. Pass "
            f"{argument('zero_based', True)}."
        )
    found = max(spill.high + 1 - shift, 1)
    if num_features is not None and num_features < found:
        other_base = not shift and spill.low >= 1
        raise SourceError(
            f"{argument('num_features')} must be at least {found}, for the columns in "
            f"use; received {num_features}. Leave it out"
            f"{', or pass ' + argument('zero_based', False) if other_base else ''}."
        )
    labels = spill.labels.tolist() if multilabel else []
    classes = [str(int(n) if n.is_integer() else n) for n in labels]
    return [
        Source(
            shown([str(path) for path in paths]) if len(paths) > 1 else str(paths[0]),
            num_features or found,
            np.dtype(np.float32),  # text has no type
            spill.blocks(shift, num_features or found),
            spill.size,
            class_names=tuple(classes) if multilabel else None,
        )
    ]


class _Spill:
    """Parsed pieces of rows, in a file that vanishes with the process.

    Attributes:
        low: The smallest column so far, as it is in the text.
        high: The largest one, or -1.
        size: Bytes of the pieces.
        labels: All labels so far, if rows may have several, sorted.
    """

    def __init__(self, scratch: Path, multilabel: bool) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)
        self._multilabel = multilabel
        self._integral = True
        self._pieces = 0
        self.low, self.high, self.size = 2**31, -1, 0
        self.labels = np.zeros(0)

    def __del__(self) -> None:
        self._file.close()

    def parse(self, path: Path, advance: Advance) -> None:
        """Adds the rows of a file."""
        number = 1
        with open_text(path) as file:
            for text in lines(file):
                try:
                    rows, labels = self._parsed(text)
                except PARSING as error:
                    raise self._located(text, number, error) from error
                self._add(rows, labels)
                number += text.count(b"\n")
                advance(len(text))

    def _parsed(self, text: bytes) -> tuple[Any, Any]:
        from sklearn.datasets import load_svmlight_file

        parsed: tuple[Any, Any] = load_svmlight_file(
            io.BytesIO(text), zero_based=True, multilabel=self._multilabel
        )
        return parsed

    def _located(self, text: bytes, number: int, error: Exception) -> ValueError:
        """The error of a piece of text with the line it is in.

        Args:
            text: Lines, one of which cannot be parsed.
            number: That of the first.
            error: What parsing them raised.
        """
        wrong = io.BytesIO(text).readlines()
        while len(wrong) > 1:
            middle = len(wrong) // 2
            try:
                self._parsed(b"".join(wrong[:middle]))
            except PARSING:
                wrong = wrong[:middle]
            else:
                number, wrong = number + middle, wrong[middle:]
        labels = wrong[0].split()[:1]
        several = labels and b"," in labels[0] and not self._multilabel
        mend = f"; pass {argument('multilabel', True)} for rows of several labels"
        hint = mend if several else ""
        return ValueError(f"line {number}: {str(error).rstrip('.')}{hint}")

    def blocks(
        self, shift: int, num_features: int
    ) -> Callable[[Advance], Generator[Block]]:
        """What reads the rows again, with `shift` taken from every column."""

        def read(advance: Advance) -> Generator[Block]:
            self._file.seek(0)
            for _ in range(self._pieces):
                start = self._file.tell()
                indptr, indices, data, labels, counts = (
                    np.load(self._file) for _ in range(5)
                )
                rows = CsrRows(indptr, indices - shift, data, num_features)
                yield Block(rows, self._targets(labels, counts))
                advance(self._file.tell() - start)

        return read

    def _add(self, rows: Any, labels: Any) -> None:
        if rows.nnz:
            self.low = min(self.low, int(rows.indices.min()))
            self.high = max(self.high, int(rows.indices.max()))
        if self._multilabel:
            counts = np.array([len(each) for each in labels], np.int64)
            labels = np.array([label for each in labels for label in each], float)
            self.labels = np.union1d(self.labels, labels)
        else:
            counts = np.zeros(0, np.int64)
            whole = np.abs(labels) < 2**53
            self._integral &= bool((whole & (labels == np.floor(labels))).all())
        indices = rows.indices.astype(np.int32)  # scikit-learn reads no larger ones
        for array in (rows.indptr.astype(np.int64), indices, rows.data, labels, counts):
            np.save(self._file, array)
        self._pieces += 1
        self.size = self._file.tell()

    def _targets(self, labels: Array, counts: Array) -> Array:
        if not self._multilabel:
            return labels.astype(np.int64) if self._integral else labels
        y = np.zeros((len(counts), len(self.labels)), np.uint8)
        columns = np.searchsorted(self.labels, labels)
        y[np.repeat(np.arange(len(counts)), counts), columns] = 1
        return y

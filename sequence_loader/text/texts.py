"""`Texts`: labelled texts as a row source, read from their files row by row."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sequence_loader.arrays import Array, Integers, distinct
from sequence_loader.checks import shown
from sequence_loader.text.describing import described
from sequence_loader.text.files import (
    Address,
    FirstReading,
    Scratch,
    TextFile,
    TextFiles,
    changed,
    opened_files,
)
from sequence_loader.text.options import Options
from sequence_loader.text.row_index import RowIndex
from sequence_loader.text.scan import Scanned, scan

ITERATED = 1024
"""Rows that are read at once where texts are iterated over."""

Shelf = dict[str, tuple[str, int, int]]
"""For each array its dtype, its place in a temporary file, and its length."""


class Texts:
    """Texts in files, as rows; made by `open_texts`, where what it does is said.

    A row source: pure, safe to share by threads, picklable by path. Also a sequence:
    ``texts[i]`` is a text, ``texts[a:b]`` a list of them, and iteration reads ahead.

    Attributes:
        num_rows: How many rows there are.
        y: The class of each row: int32, shape (rows,); or `None`.
        class_names: What the integers in `y` stand for, or `None`.
        first_label: Which class number became 0; `None` where labels were names.
        num_skipped: How many records were left out, with ``on_error="skip"``.
        skipped: How many of each kind.
        skipped_records: The first ten of them: file, line, and what is wrong.
    """

    numeric = False

    def __init__(self, files: TextFiles, options: Options, scanned: Scanned) -> None:
        self._files, self._options, self._scanned = files, options, scanned
        self._records = options.records()
        self._index = scanned.index
        self._bases = np.concatenate([[0], scanned.index.ends[:-1]])
        self._shelf: tuple[Scratch, Shelf] | None = None
        self._shelving = threading.Lock()
        self.num_rows = scanned.index.num_rows
        self.y = scanned.y
        self.class_names = scanned.class_names
        self.first_label = scanned.first_label
        self.num_skipped = scanned.faults.total
        self.skipped = dict(scanned.faults.counts)
        self.skipped_records = tuple(scanned.faults.first)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in order."""
        return tuple(file.path for file in self._files.files)

    @property
    def settings(self) -> dict[str, Any]:
        """What was decided, as arguments for files that go with these.

        ``open_texts("test.csv", **train.settings)`` gives the same columns, classes
        and texts. JSON can hold it.
        """
        columns = next(each for each in self._scanned.columns if each is not None)
        label, texts = columns.names()
        settings = {
            "label_column": label,
            "text_columns": list(texts),
            "joiner": self._options.joiner,
            "unescape": self._scanned.unescape,
            "encoding": self._options.encoding,
        }
        if self._options.delimiter_told:
            settings["delimiter"] = self._options.delimiter
        if self._options.exact:
            settings["quotechar"] = self._options.quotechar
        if label is not None:
            settings["class_names"] = list(self.class_names or ())
            settings["first_label"] = self.first_label
        return settings

    def read(self, rows: Integers) -> list[str]:
        """See `RowSource.read`.

        Raises:
            IndexError: There is no such row.
            OSError: A file cannot be read.
            ValueError: A file has changed since it was opened.
        """
        rows = np.asarray(rows, np.int64)
        if not len(rows):
            return []
        if rows.min() < 0 or rows.max() >= self.num_rows:
            raise IndexError(
                f"rows must be in [0, {self.num_rows}); received {rows.min()} to "
                f"{rows.max()}"
            )
        numbers, starts, stops = self._index.spans(rows)
        texts: list[str] = []
        # Rows that follow one another in a file are read at once.
        together = (starts[1:] == stops[:-1]) & (numbers[1:] == numbers[:-1])
        breaks = np.flatnonzero(~together) + 1
        raw: list[bytes] = []
        for first, end in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)]):
            number, base = int(numbers[first]), int(self._bases[numbers[first]])
            at, size = int(starts[first]), int(stops[end - 1] - starts[first])
            data = self._files.read(number, at - base, size)
            cuts = (starts[first:end] - at).tolist()
            raw += map(data.__getitem__, map(slice, cuts, [*cuts[1:], size]))
        # Behind the reading: what was read before a change is what was indexed.
        for number in distinct(numbers).tolist():
            self._files.check(number)
        files = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
        for first, end in zip([0, *files.tolist()], [*files.tolist(), len(rows)]):
            texts += self._texts(raw[first:end], int(numbers[first]))
        return texts

    def _texts(self, raw: list[bytes], number: int) -> list[str]:
        columns = self._scanned.columns[number]
        if columns is None:
            raise changed(self.paths[number])
        fields = self._options.fields(columns)
        places = self._options.text_places(columns)
        texts = []
        for record in self._records.parsed(raw):
            row = fields(record)
            if not isinstance(row, list):
                raise changed(self.paths[number])
            parts = [row[place] for place in places]
            if self._scanned.unescape:
                parts = [
                    part.replace("\\n", "\n").replace('\\"', '"') for part in parts
                ]
            texts.append(self._options.joiner.join(parts))
        return texts

    def described(self) -> str:
        """What was decided about the files, in a few lines."""
        return described(self.paths, self._options, self._scanned)

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, rows: Any) -> Any:
        """A text, or a list of texts for a slice or an array of row numbers."""
        if isinstance(rows, slice):
            return self.read(np.arange(*rows.indices(self.num_rows)))
        chosen = np.asarray(rows)
        if chosen.dtype == bool and chosen.shape == (self.num_rows,):
            chosen = np.flatnonzero(chosen)
        if chosen.dtype.kind not in "iu" and chosen.size:
            raise IndexError(
                f"rows must be integers, a slice, or a mask of {self.num_rows} "
                f"booleans; received {shown(rows)}"
            )
        chosen = chosen.astype(np.int64)
        chosen = np.where(chosen < 0, chosen + self.num_rows, chosen)
        texts = self.read(chosen.reshape(-1))
        return texts if chosen.ndim else texts[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, self.num_rows, ITERATED):
            yield from self[start : start + ITERATED]

    def __repr__(self) -> str:
        return f"Texts({self.num_rows:,} rows of {', '.join(self.paths)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Places and labels go by a temporary file, where it can be found. Otherwise
        # the files are read once more, with what was decided.
        scanned = self._scanned
        options = replace(
            self._options,
            class_names=self.class_names,
            first_label=self.first_label,
            unescape=scanned.unescape,
        )
        with self._shelving:
            if self._shelf is None:
                self._shelf = _shelved(self._files.scratch, scanned)
            scratch, shelf = self._shelf
            address = scratch.address()
        light = replace(scanned, index=RowIndex.empty(), y=None)
        return _reopened, (self._files.files, options, light, address, shelf)


def opened_texts(paths: Sequence[str], options: Options, progress: bool) -> Texts:
    """Opens files, and reads them once; see `open_texts`."""
    files = opened_files(paths)
    return Texts(files, options, scan(files, options, progress))


def _shelved(scratch: Scratch | None, scanned: Scanned) -> tuple[Scratch, Shelf]:
    """Writes places and labels where other processes of this machine find them."""
    scratch = scratch or Scratch()
    arrays = dict(scanned.index._asdict())
    if scanned.y is not None:
        arrays["y"] = scanned.y
    shelf: Shelf = {}
    for name, array in arrays.items():
        scratch.append(bytes(-scratch.size % 8))
        shelf[name] = array.dtype.str, scratch.append(array.data), len(array)
    return scratch, shelf


def _reopened(
    files: list[TextFile],
    options: Options,
    light: Scanned,
    address: Address,
    shelf: Shelf,
) -> Texts:
    scratch = Scratch.found(address)
    if scratch is not None:
        return _taken_over(files, options, light, scratch, shelf)
    again = opened_files([file.path for file in files])
    for number, file in enumerate(files):
        reading = FirstReading(again, number)
        reading.finish()
        if (reading.size, reading.digest) != (file.size, file.digest):
            raise changed(file.path)
    return Texts(again, options, scan(again, options, progress=False))


def _taken_over(
    files: list[TextFile],
    options: Options,
    light: Scanned,
    scratch: Scratch,
    shelf: Shelf,
) -> Texts:
    whole = mmap.mmap(scratch.number, 0, access=mmap.ACCESS_READ)
    arrays: dict[str, Array] = {
        name: np.frombuffer(whole, dtype, count, place)
        for name, (dtype, place, count) in shelf.items()
    }
    y = arrays.pop("y", None)
    scanned = replace(light, index=RowIndex(**arrays), y=y)
    texts = Texts(TextFiles(files, scratch), options, scanned)
    texts._shelf = scratch, shelf
    return texts

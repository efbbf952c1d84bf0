"""One pass over the files: where rows begin, their labels, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array
from sequence_loader.checks import ABSENT
from sequence_loader.progress import Advance, progress_bar
from sequence_loader.text.columns import AUTO, Columns, csv_columns, json_columns
from sequence_loader.text.faults import EMPTY, Fault, Faults
from sequence_loader.text.fields import swallowing
from sequence_loader.text.files import FirstReading, TextFiles
from sequence_loader.text.header import LABEL_NAMES, in_doubt, may_be_name, plain_name
from sequence_loader.text.labels import MANY_ROWS, Labels
from sequence_loader.text.options import Options
from sequence_loader.text.records import Block, Seen
from sequence_loader.text.row_index import RowIndex, RowIndexBuilder

SAMPLE = 1000
SAMPLE_BYTES = 1 << 20
"""By the first records of a file, so many or in so many bytes, columns are told."""

NO_LABEL = Fault("without a label", "no label")
HEADER_AGAIN = Fault("header again", "the header once more")


@dataclass
class Scanned:
    """What one pass has found.

    Attributes:
        index: Where rows lie.
        columns: Of each file; `None` for a file without records.
        y: int32, shape (rows,), or `None`.
        class_names: What `y` stands for, or `None`.
        first_label: Which class number is 0, or `None` where labels are names.
        guessed: Whether it might as well be another.
        unescape: Whether literal ``\\\\n`` and ``\\\\"`` are undone.
        faults: What was left out.
        seen: What else is said.
        without_text: Rows with a label alone.
        lone: Classes of a single row, in words.
    """

    index: RowIndex
    columns: list[Columns | None]
    y: Array | None
    class_names: tuple[str, ...] | None
    first_label: int | None
    guessed: bool
    unescape: bool
    faults: Faults
    seen: Seen
    without_text: int
    lone: tuple[str, ...] = ()


def scan(files: TextFiles, options: Options, progress: bool) -> Scanned:
    """Reads all files once.

    Raises:
        OSError: A file cannot be read.
        ValueError: A record is faulty and not to be skipped, or what is asked for
            does not fit the files, or there are no rows.
    """
    total = sum(file.size for file in files.files)
    with progress_bar("reading texts", total, "bytes", shown=progress) as advance:
        walk = _Scan(files, options)
        for number in range(len(files.files)):
            walk.file(number, advance)
    return walk.done()


class _Scan:
    def __init__(self, files: TextFiles, options: Options) -> None:
        self._files, self._options = files, options
        self._records = options.records()
        self._builder = RowIndexBuilder()
        self._columns: list[Columns | None] = []
        self._labels: Labels | None = None
        self._faults, self._seen = Faults(options.skip), Seen()
        self._header: list[str] | None = None
        self._without_text = 0
        # Backslashes, and those of them that stand for a line end or quote.
        self._slashes = self._escapes = 0
        self._line_ends = 0
        self._doubtful: list[tuple[str, list[str]]] = []

    def file(self, number: int, advance: Advance) -> None:
        """Reads a file."""
        file = self._files.files[number]
        reading = FirstReading(self._files, number)
        columns, header = self._decided(reading, file.path)
        self._columns.append(columns)
        self._header = header or self._header
        skip_one, done = header is not None, 0
        for block in self._records.blocks(reading, file.path, self._seen):
            if block.records and skip_one:
                for each in block:
                    del each[0]
                skip_one = False
            if block.records:
                self._take(block, columns, file.path)
            advance(reading.summed - done)
            done = reading.summed
        reading.finish()
        file.digest = reading.digest
        self._files.check(number)
        self._builder.end_file(file.size)

    def _decided(
        self, reading: FirstReading, path: str
    ) -> tuple[Columns | None, Any]:
        """The columns of a file, and its header record, if it has them."""
        first, sample = self._sample(reading, path)
        header = self._options.header
        if isinstance(first, Fault):
            if header:
                raise ValueError(
                    f"{path} must begin with a header for {argument('header', True)}; "
                    f"its first record is faulty: {first.reason}. Mend it, or pass "
                    f"{argument('header', False)}."
                )
            header = False
        if not sample:
            return None, None
        before = next((each for each in self._columns if each is not None), None)
        label, texts = self._options.label_column, self._options.text_columns
        if self._options.is_json:
            if before is not None:
                label, texts = before.label, before.texts
            columns = json_columns(sample, label, texts, path)
        else:
            if before is not None and before.header is not None:
                label, texts = before.names()
            told = self._options.delimiter_told, self._options.exact
            columns = csv_columns(sample, label, texts, header, path, before, *told)
        if before is not None and len(before.texts) != len(columns.texts):
            raise ValueError(
                f"{argument('text_columns')} must be as many in all files; they are "
                f"{list(before.names()[1])} in the first one and "
                f"{list(columns.names()[1])} in {path}. Pass them."
            )
        doubtful = self._options.header is None and columns.header is None
        if doubtful and not self._options.is_json:
            self._doubtful.append((path, sample[0]))
        return columns, sample[0] if columns.header is not None else None

    def _sample(self, reading: FirstReading, path: str) -> tuple[Any, list[Any]]:
        """The first record of a file, and the first ones without a fault."""
        first, good = None, []
        for block in self._records.blocks(reading, path, Seen()):
            first = first or next(iter(block.records), None)
            good += [each for each in block.records if not isinstance(each, Fault)]
            if good and (len(good) >= SAMPLE or reading.summed >= SAMPLE_BYTES):
                break
        return first, good[:SAMPLE]

    def _take(self, block: Block, columns: Columns | None, path: str) -> None:
        """Takes up the records of a block."""
        first = self._builder.num_records
        self._builder.append(np.array(block.starts, np.int64))
        rows = block.records
        if columns is not None:
            rows = self._fields(rows, columns)
            self._note_texts([row for row in rows if isinstance(row, list)], columns)
        codes = self._codes(rows, columns)
        if codes is None:
            codes = []
            for place, row in enumerate(rows):
                line, count = block.lines[place], block.counts[place]
                code = self._code(row, columns, f"{path}, line {line}")
                if isinstance(code, Fault):
                    self._faults.add(path, line, count, code)
                    self._builder.skip(first + place)
                else:
                    codes.append(code)
        if columns is not None and columns.label is not None:
            self._builder.label(np.array(codes, np.int32))
            known = self._labels.known if self._labels is not None else {}
            for line in swallowing(block, columns, self._options.delimiter, known):
                self._seen.swallowed += 1
                self._seen.first.setdefault("swallowed", f"{path}, line {line}")

    def _fields(self, rows: list[Any], columns: Columns) -> list[Any]:
        if self._header is not None and self._header in rows:
            rows = [HEADER_AGAIN if row == self._header else row for row in rows]
        try:
            if not self._options.is_json and set(map(len, rows)) <= {columns.count}:
                return rows
        except TypeError:
            pass  # a fault among them
        fields = self._options.fields(columns, self._seen)
        return [row if isinstance(row, Fault) else fields(row) for row in rows]

    def _codes(self, rows: list[Any], columns: Columns | None) -> list[int] | None:
        """The labels of rows in which nothing is new, or `None`."""
        if columns is None or columns.label is None:
            return None
        label = itemgetter(self._options.label_place(columns))
        if self._labels is None:
            names, first_label = self._options.class_names, self._options.first_label
            sample = [label(row).strip() for row in rows if isinstance(row, list)]
            absent = ABSENT.difference(names or ())
            sample = [text for text in sample if text not in absent]
            if not sample:
                return None
            names_from = self._options.names_from
            place, others = columns.beside_label()
            told = self._options.label_column != AUTO
            self._labels = Labels(
                sample[:SAMPLE], names, first_label, names_from,
                f"column {place!r}{'' if told else ', which was guessed,'}", others,
            )
        try:
            return list(map(self._labels.known.__getitem__, map(label, rows)))
        except (KeyError, TypeError):
            return None

    def _code(self, row: Any, columns: Columns | None, where: str) -> int | Fault:
        if isinstance(row, Fault):
            return row
        if not any(map(str.strip, row)):
            return EMPTY
        if columns is None or columns.label is None:
            return 0
        text = row[self._options.label_place(columns)]
        if self._labels is None:
            return NO_LABEL
        known = self._labels.known.get(text)
        return self._labels.code(text, where) if known is None else known

    def _note_texts(self, rows: list[list[str]], columns: Columns) -> None:
        places = self._options.text_places(columns)
        bare = [row for row in rows if not row[places[-1]]]
        bare = [row for row in bare if not any(row[place] for place in places)]
        self._without_text += sum(map(any, bare))
        if self._options.unescape == AUTO and not self._options.is_json:
            texts = "\0".join([row[place] for row in rows for place in places])
            behind = [piece[:1] for piece in texts.split("\\")[1:]]
            self._slashes += len(behind)
            self._line_ends += texts.count("\n")
            self._escapes += behind.count("n") + behind.count('"')

    def done(self) -> Scanned:
        """What has been found.

        Raises:
            ValueError: There are no rows, or the labels do not fit together.
        """
        index, codes = self._builder.done()
        if not index.num_rows:
            why = f": {self._faults}" if self._faults.total else ""
            raise ValueError(
                f"{argument('paths')} must hold at least one row; received files "
                f"without any{why}. Check the files."
            )
        y = class_names = first_label = None
        guessed, lone = False, tuple[str, ...]()
        if self._labels is not None:
            self._check_doubtful(codes)
            guessed, lone = self._labels.is_guessed, self._labels.lone(codes)
            y, class_names, first_label = self._labels.settle(codes)
        unescape = self._options.unescape
        if unescape == AUTO:
            # Who writes line ends as they are has no need to write them otherwise; one
            # row among many may have come another way.
            unescape = not self._options.is_json
            unescape &= 10 * self._line_ends <= self._escapes
            unescape &= 10 * self._escapes >= 9 * self._slashes
        return Scanned(
            index, self._columns, y, class_names, first_label, guessed, unescape,
            self._faults, self._seen, self._without_text, lone,
        )

    def _check_doubtful(self, codes: Array) -> None:
        """Raises ValueError if the first record of a file looks like a header.

        Nothing but the label tells it from a row, where labels are names: that it
        occurs nowhere else. Its other names may be long, as questions are.
        """
        labels = self._labels
        if labels is None or labels.are_numbers or self._options.class_names:
            return
        labels.check_few(codes)
        if len(codes) <= 2 * len(self._doubtful):
            return
        at = next(each.label for each in self._columns if each is not None)
        firsts = [first[at] if at < len(first) else "" for _, first in self._doubtful]
        counts = np.bincount(codes)
        others = counts[counts > 1]
        for label, (path, first) in zip(firsts, self._doubtful):
            code = labels.known.get(label)
            if code is None or counts[code] != firsts.count(label):
                continue
            alone = (counts == 1).sum() == (counts[code] == 1)
            if (
                all(map(may_be_name, first))
                or plain_name(label) in LABEL_NAMES
                or (alone and others.max(initial=0) >= MANY_ROWS)
            ):
                row = f"the only row that is labelled {label!r}"
                raise in_doubt(path, "a header", row, first)

"""The records of csv and tsv files, exactly as Python's csv module has them.

It is that module which finds where records begin: it is given the lines of a block and
says, after each record, how many of them it took. What it refuses (fields of more than
131,072 characters, and what its strict mode calls wrong) is parsed by `parse_record`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.text.csv_parser import parse_record
from sequence_loader.text.faults import NUL, Fault
from sequence_loader.text.files import FirstReading
from sequence_loader.text.records import (
    BLOCK_BYTES,
    Block,
    Decoder,
    Seen,
    count_lines,
    line_after,
    too_long,
)

QUOTE = '"'
ESCAPED = re.compile(r'\\"(?![",;|\t\r\n])')
"""A quote behind a backslash that neither is doubled nor ends a field."""
MOST = 100
"""Lines in which the end of a record with such quotes is looked for."""
UNCLOSED = Fault("with a quote never closed", "a quote is opened that is never closed")


def _swallowed() -> Fault:
    """A record of several lines, of which the first alone is left out."""
    return Fault(
        "with a quote not closed in place",
        "a quoted field goes over the end of this line, and what follows looks like "
        "another record: its quote may not be meant, or not be closed",
        _mend(),
    )


def _loose() -> Fault:
    """A quoted field that goes on behind its quote."""
    return Fault(
        "with text behind a quote", "a quote is closed within a field", _mend()
    )


def _escaped() -> Fault:
    """A quote behind a backslash, as Spark and MySQL write it."""
    return Fault(
        "with a quote behind a backslash",
        'a quote within a field is written \\", which ends the field',
        f"Write it twice, as csv has it: sed 's/\\\\\"/\"\"/g'; or pass "
        f"{argument('quotechar', QUOTE)} to have it read as Python's csv module does",
    )


def _mend() -> str:
    return (
        f"Pass {argument('quotechar', None)}, if quotes are plain characters in these "
        f"files, or {argument('quotechar', QUOTE)}, to have them read as Python's csv "
        f"module does"
    )


@dataclass(frozen=True)
class CsvRecords:
    """See `Records`. A record is a list of its fields, of any number.

    Attributes:
        delimiter: Between fields.
        quotechar: Around fields, or `None` if it is a character like others.
        exact: Whether quotes are read as csv does even where lines seem to have been
            swallowed.
        limit: Most bytes of a record.
        decoder: Of its text.
    """

    delimiter: str
    quotechar: str | None
    exact: bool
    limit: int
    decoder: Decoder

    def blocks(self, reading: FirstReading, path: str, seen: Seen) -> Iterator[Block]:
        """See `Records`."""
        at = self.decoder.start(reading.read(0, 3), path)
        line, window = 1, BLOCK_BYTES
        while at < reading.size:
            data = reading.read(at, window)
            at_end = at + len(data) == reading.size
            lines = data.splitlines(True)
            # A return may be the first half of a line end.
            if not at_end and not lines[-1].endswith(b"\n"):
                lines.pop()
            block, used = self._block(lines, at, line, f"{path}, line", seen)
            if used:
                if b"\0" in data:
                    _refuse_nul(block.records)
                yield block
                at += sum(map(len, lines[:used]))
                line += used
                window = BLOCK_BYTES
            elif at_end:
                yield Block([at], [line], [1], [UNCLOSED])
                at, line = line_after(reading, at, b"\r\n"), line + 1
            elif len(data) < self.limit + 2:  # with the two bytes of a line end
                window = min(2 * window, self.limit + 2)
            else:
                fault, stop = too_long(self.limit), self._end(reading, at)
                if stop is None:  # the lines behind it are records again
                    fault, stop = UNCLOSED, line_after(reading, at, b"\r\n")
                count = count_lines(reading, at, stop)
                yield Block([at], [line], [count], [fault])
                at, line = stop, line + count

    def parsed(self, raw: Sequence[bytes]) -> list[list[str]]:
        """See `Records`."""
        texts = list(map(self.decoder.text, raw))
        try:
            rows = list(csv.reader(texts, **self._dialect))
            if len(rows) == len(texts):
                return rows
        except csv.Error:
            pass
        return [self._parsed(record) for record in raw]

    def _parsed(self, raw: bytes) -> list[str]:
        lines = [self.decoder.text(line) for line in raw.splitlines(True)]
        record = parse_record(lines, 0, self.delimiter, self.quotechar)
        return record[0] if record else []

    @property
    def _dialect(self) -> dict[str, Any]:
        quoting = csv.QUOTE_NONE if self.quotechar is None else csv.QUOTE_MINIMAL
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quotechar,
            "quoting": quoting,
            "strict": True,
        }

    def _block(
        self, lines: list[bytes], at: int, line: int, where: str, seen: Seen
    ) -> tuple[Block, int]:
        """The complete records among some lines, and how many lines they take."""
        texts, mended = self.decoder.texts(lines)
        rows, ends = self._rows(texts, line, where, seen)
        used = ends[-1] if ends else 0
        mended = [place for place in mended if place < used]
        if mended:
            seen.undecodable += len(mended)
            seen.first.setdefault("undecodable", f"{where} {line + mended[0]}")
        firsts = [0, *ends[:-1]] if ends else []
        counts = [end - first for first, end in zip(firsts, ends)]
        places = list(accumulate(map(len, lines[:used]), initial=at))
        seen.several_lines += sum(count > 1 for count in counts)
        if places[-1] - at > self.limit:
            for place, (first, end) in enumerate(zip(firsts, ends)):
                if rows[place] != [] and places[end] - places[first] > self.limit:
                    rows[place] = too_long(self.limit)
        if [] in rows:
            kept = [place for place, row in enumerate(rows) if row != []]
            seen.blank += len(rows) - len(kept)
            rows = [rows[place] for place in kept]
            firsts = [firsts[place] for place in kept]
            counts = [counts[place] for place in kept]
        starts = [places[first] for first in firsts]
        return Block(starts, [line + first for first in firsts], counts, rows), used

    def _rows(
        self, texts: list[str], line: int, where: str, seen: Seen
    ) -> tuple[list[Any], list[int]]:
        """Records, and how many lines are taken with each."""
        rows: list[Any] = []
        ends: list[int] = []
        done, odd = 0, True
        while odd and done < len(texts):
            reader = csv.reader(texts[done:] if done else texts, **self._dialect)
            begin = len(rows)
            try:
                for row in reader:
                    rows.append(row)
                    ends.append(done + reader.line_num)
                odd = False
            except csv.Error:
                pass
            place = self._swallowing(rows, ends, begin)
            if place is not None:
                odd, done = True, ends[place - 1] + 1 if place else 1
                rows[place:], ends[place:] = [_swallowed()], [done]
                continue
            if not odd:
                break
            done = ends[-1] if ends else 0
            record = parse_record(texts, done, self.delimiter, self.quotechar)
            if record is None:
                break
            fields, end, loose = record
            fault = None
            if loose and not self.exact:
                if any(map(ESCAPED.search, texts[done:end])):
                    # Left out whole: to where it ends for who wrote it.
                    lines = [line.replace('\\"', "  ") for line in texts[done:][:MOST]]
                    whole = parse_record(lines, 0, self.delimiter, self.quotechar)
                    if whole is None and len(lines) < MOST:
                        break
                    fault, end = _escaped(), done + (whole[1] if whole else 1)
                elif end - done > 1:
                    fault, end = _swallowed(), done + 1
                elif self.delimiter == "\t":
                    fault = _loose()
            if loose and fault is None:
                seen.loose += 1
                seen.first.setdefault("loose", f"{where} {line + done}")
            rows.append(fault or fields)
            ends.append(end)
            done = end
        return rows, ends

    def _swallowing(
        self, rows: list[Any], ends: list[int], begin: int
    ) -> int | None:
        """The first record that seems to have taken in others, by a tab within it.

        Tabs are rare in texts: this one was between the fields of a next line. The
        lines behind the first are then taken for records.
        """
        if self.delimiter != "\t" or self.exact:
            return None
        for place in range(begin, len(rows)):
            if ends[place] - (ends[place - 1] if place else 0) > 1:
                for field in rows[place]:
                    if "\t" in field and ("\n" in field or "\r" in field):
                        return place
        return None

    def _end(self, reading: FirstReading, at: int) -> int | None:
        """Where a record of any length ends, or `None`, if its quote is not closed."""
        quote = self.quotechar.encode() if self.quotechar else None
        special = re.compile(b"[\r\n" + re.escape(self.delimiter.encode()) + b"]")
        state = "start"
        while at < reading.size:
            data, place = reading.read(at, BLOCK_BYTES), 0
            while place < len(data):
                here = data[place : place + 1]
                if state == "start":
                    state = "quoted" if here == quote else "field"
                    place += here == quote
                elif state == "quoted":
                    found = data.find(quote or b"", place)
                    place = found + 1 if found >= 0 else len(data)
                    state = "closing" if found >= 0 else state
                elif state == "closing":
                    state = "quoted" if here == quote else "field"
                    place += here == quote
                else:
                    match = special.search(data, place)
                    if match is None:
                        break
                    place = match.end()
                    state = "start"
                    if match[0] in b"\r\n":
                        return line_after(reading, at + place - 1, b"\r\n")
            at += len(data)
        return None if state == "quoted" else reading.size


def _refuse_nul(records: list[Any]) -> None:
    for place, record in enumerate(records):
        if isinstance(record, list) and any("\0" in field for field in record):
            records[place] = NUL

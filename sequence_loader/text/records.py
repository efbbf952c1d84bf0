"""What the formats share: blocks of records, and the bytes and text they come from."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Protocol

from sequence_loader.arguments import argument
from sequence_loader.checks import shown
from sequence_loader.text.faults import Fault
from sequence_loader.text.files import FirstReading

BLOCK_BYTES = 1 << 20
"""What is read and parsed at once: 4 MiB took no less time, and 15 MB more memory."""

BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Records that follow one another.

    Attributes:
        starts: Where each begins, in bytes from the start of the file.
        lines: The line on which each begins, counted from 1.
        counts: How many lines each takes.
        records: What each holds (fields or values), or what is wrong with it.
    """

    starts: list[int]
    lines: list[int]
    counts: list[int]
    records: list[Any]


class Seen:
    """What was met on the way, and is said though it is no fault.

    Attributes:
        blank: Lines with nothing on them, which are no records.
        several_lines: Records of more than one line.
        undecodable: Lines with bytes that are not of the encoding.
        loose: Records with text behind a closing quote.
        swallowed: Records with a line in them that looks like one.
        first: The first place of each of the last three.
        halves: JSON texts with half of a surrogate pair.
    """

    def __init__(self) -> None:
        self.blank = self.several_lines = self.undecodable = self.loose = 0
        self.halves = self.swallowed = 0
        self.first: dict[str, str] = {}


class Records(Protocol):
    """How the records of a format are found and read. Picklable."""

    def blocks(self, reading: FirstReading, path: str, seen: Seen) -> Iterator[Block]:
        """All records of a file, in order.

        Args:
            reading: Its bytes.
            path: Its name, for what is said.
            seen: Where it is counted.
        """

    def parsed(self, raw: Sequence[bytes]) -> list[Any]:
        """What records hold, each found by `blocks` and without a fault.

        Args:
            raw: The bytes from where each begins to where the next one does.
        """


class Decoder:
    """Bytes to text. What cannot be decoded is replaced, and counted.

    Args:
        encoding: Its name.

    Raises:
        ValueError: There is none of that name, or it is none in which line ends,
            quotes and delimiters are single bytes that mean nothing else.
    """

    def __init__(self, encoding: str) -> None:
        name = None
        try:
            name = codecs.lookup(encoding).name
            ascii_bytes = bytes(range(128))
            plain = ascii_bytes.decode(encoding) == ascii_bytes.decode("ascii")
        except (LookupError, TypeError, UnicodeError):
            plain = False
        # These have other characters as well, made of bytes of ASCII.
        others = ("iso2022", "unicode", "raw", "idna")
        if name is None or not plain or name.startswith(others):
            raise ValueError(
                f"{argument('encoding')} must name an encoding that has ASCII in it, "
                f"byte for byte; received {shown(encoding)}. Pass for example 'utf-8', "
                f"'cp1252' or 'gb18030'; convert others with iconv."
            )
        self.encoding = "utf-8" if name == "utf-8-sig" else name

    def text(self, raw: bytes) -> str:
        """The text of some whole lines."""
        try:
            return str(raw, self.encoding)
        except UnicodeError:
            return "".join(map(self._mended, raw.splitlines(True)))

    def _mended(self, line: bytes) -> str:
        """A line, whose end half a character before it must not take with it."""
        body = line.rstrip(b"\r\n")
        return str(body, self.encoding, "replace") + line[len(body) :].decode()

    def texts(self, lines: list[bytes]) -> tuple[list[str], list[int]]:
        """The text of each line, and the places of those that had to be mended."""
        try:
            return list(map(str, lines, repeat(self.encoding))), []
        except UnicodeError:
            pass
        texts, mended = [], []
        for place, line in enumerate(lines):
            try:
                texts.append(str(line, self.encoding))
            except UnicodeError:
                mended.append(place)
                texts.append(self._mended(line))
        return texts, mended

    def start(self, head: bytes, path: str) -> int:
        """Where the text of a file begins: behind the mark of UTF-8, if it has one."""
        if not head.startswith(BOM):
            return 0
        if self.encoding != "utf-8":
            raise ValueError(
                f"{argument('encoding')} must be that of the files; {path} begins with "
                f"the mark of UTF-8, and received {self.encoding!r}. Leave it out."
            )
        return len(BOM)


def too_long(limit: int) -> Fault:
    """A record that is longer than it may be."""
    return Fault(
        "too long",
        f"a record of more than {limit:,} bytes, or a quote that is never closed",
        f"Pass {argument('max_record_bytes')}, if the record is right",
    )


def line_after(reading: FirstReading, place: int, ends: bytes) -> int:
    """Where the line ends on which a place is.

    Args:
        reading: The file.
        place: Where to begin.
        ends: What ends a line: ``b"\\n"``, or ``b"\\r\\n"`` for either.
    """
    while place < reading.size:
        data = reading.read(place, BLOCK_BYTES)
        found = [at for at in (data.find(bytes([end])) for end in ends) if at >= 0]
        if found:
            place += min(found) + 1
            pair = reading.read(place - 1, 2) == b"\r\n"
            return place + (pair and len(ends) == 2)
        place += len(data)
    return reading.size


def count_lines(reading: FirstReading, start: int, stop: int) -> int:
    """How many line ends, of any kind, there are between two places."""
    count, after_return = 0, False
    while start < stop:
        data = reading.read(start, min(BLOCK_BYTES, stop - start))
        count += data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
        count -= after_return and data.startswith(b"\n")
        after_return = data.endswith(b"\r")
        start += len(data)
    return count

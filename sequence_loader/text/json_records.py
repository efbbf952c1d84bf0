"""The records of JSON lines files: an object on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sequence_loader.checks import shown
from sequence_loader.text.faults import Fault
from sequence_loader.text.files import FirstReading
from sequence_loader.text.records import (
    BLOCK_BYTES,
    Block,
    Decoder,
    Seen,
    line_after,
    too_long,
)


NO_OBJECT = "that are no JSON objects"
MEND = "Write one object on each line, as jq -c '.[]' does of an array"


class _Repeated(ValueError):
    """A key that an object has twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _Repeated(f"the key {shown(repeated)} twice")
    return found


_decoder = json.JSONDecoder(object_pairs_hook=_object)


@dataclass(frozen=True)
class JsonRecords:
    """See `Records`. A record is a dict.

    Attributes:
        limit: Most bytes of a record.
        decoder: Of its text.
    """

    limit: int
    decoder: Decoder

    def blocks(self, reading: FirstReading, path: str, seen: Seen) -> Iterator[Block]:
        """See `Records`."""
        at = self.decoder.start(reading.read(0, 3), path)
        line, window = 1, BLOCK_BYTES
        while at < reading.size:
            data = reading.read(at, window)
            whole = data
            if at + len(data) < reading.size:
                whole = data[: data.rfind(b"\n") + 1]
            if whole:
                lines = _lines(whole)
                yield self._block(lines, at, line, f"{path}, line", seen)
                at += len(whole)
                line += len(lines)
                window = BLOCK_BYTES
            elif len(data) < self.limit:
                window = min(2 * window, self.limit)
            else:
                yield Block([at], [line], [1], [too_long(self.limit)])
                at, line = line_after(reading, at, b"\n"), line + 1

    def parsed(self, raw: Sequence[bytes]) -> list[Any]:
        """See `Records`."""
        return [self._parsed(self.decoder.text(record)) for record in raw]

    def _block(
        self, lines: list[bytes], at: int, line: int, where: str, seen: Seen
    ) -> Block:
        texts, mended = self.decoder.texts(lines)
        if mended:
            seen.undecodable += len(mended)
            seen.first.setdefault("undecodable", f"{where} {line + mended[0]}")
        records: list[Any] = []
        kept: list[int] = []
        for place, text in enumerate(texts):
            if not text.strip(" \t\r\n"):
                seen.blank += 1
                continue
            long = len(lines[place]) > self.limit
            records.append(too_long(self.limit) if long else self._parsed(text))
            kept.append(place)
        places = list(accumulate(map(len, lines), initial=at))
        starts = [places[place] for place in kept]
        lines_ = [line + place for place in kept]
        return Block(starts, lines_, [1] * len(kept), records)

    def _parsed(self, text: str) -> dict[str, Any] | Fault:
        try:
            found = _decoder.decode(text)
        except _Repeated as error:
            return Fault("with a key twice", f"an object that has {error}")
        except (ValueError, RecursionError) as error:
            return Fault(NO_OBJECT, f"no JSON object: {error}", MEND)
        if not isinstance(found, dict):
            return Fault(NO_OBJECT, f"JSON, but no object: {shown(found)}", MEND)
        return found


def _lines(data: bytes) -> list[bytes]:
    """Lines with their ends, where a return alone ends none."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]

"""What texts are opened with, and how records are read by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sequence_loader.text.columns import Columns
from sequence_loader.text.csv_records import CsvRecords
from sequence_loader.text.faults import Fault
from sequence_loader.text.fields import csv_fields, json_fields
from sequence_loader.text.json_records import JsonRecords
from sequence_loader.text.records import Decoder, Records, Seen


@dataclass(frozen=True)
class Options:
    """What `open_texts` was asked for; see there.

    `quotechar` is the character or `None`; `exact`, whether it was given, and
    `delimiter_told`, whether that was. Names of
    classes have been read, if there are any, and `names_from` is their file or empty.
    """

    format: str
    delimiter: str
    delimiter_told: bool
    quotechar: str | None
    exact: bool
    encoding: str
    label_column: Any
    text_columns: Any
    header: bool | None
    joiner: str
    unescape: Any
    class_names: tuple[str, ...] | None
    names_from: str
    first_label: Any
    skip: bool
    max_record_bytes: int

    @property
    def is_json(self) -> bool:
        """Whether records are objects rather than lists of fields."""
        return self.format == "jsonl"

    def records(self) -> Records:
        """How records are found and read."""
        decoder = Decoder(self.encoding)
        if self.is_json:
            return JsonRecords(self.max_record_bytes, decoder)
        return CsvRecords(
            self.delimiter, self.quotechar, self.exact, self.max_record_bytes, decoder
        )

    def fields(
        self, columns: Columns, seen: Seen | None = None
    ) -> Callable[[Any], list[str] | Fault]:
        """What makes fields of a record."""
        return json_fields(columns, seen) if self.is_json else csv_fields(columns)

    def label_place(self, columns: Columns) -> int:
        """Where in those fields the label is, if there is one."""
        return 0 if self.is_json else int(columns.label)

    def text_places(self, columns: Columns) -> tuple[int, ...]:
        """Where in those fields the texts are."""
        if self.is_json:
            first = int(columns.label is not None)
            return tuple(range(first, first + len(columns.texts)))
        return columns.texts

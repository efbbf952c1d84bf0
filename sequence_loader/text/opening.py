"""`open_texts`: labelled texts in files, as rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence

from sequence_loader.arguments import argument
from sequence_loader.checks import integer, one_of
from sequence_loader.text.arguments import (
    checked_character,
    checked_column,
    checked_columns,
    checked_text,
    choice_of,
    delimiter_of,
    format_of,
    found_files,
    names_of_classes,
)
from sequence_loader.text.columns import AUTO
from sequence_loader.text.describing import how_guessed, noted
from sequence_loader.text.options import Options
from sequence_loader.text.records import Decoder
from sequence_loader.text.texts import Texts, opened_texts

PathLike = str | os.PathLike[str]


def open_texts(
    paths: PathLike | Iterable[PathLike],
    *,
    label_column: int | str | None = AUTO,
    text_columns: int | str | Sequence[int | str] = AUTO,
    class_names: PathLike | Iterable[str] | None = AUTO,
    first_label: int | str | None = AUTO,
    header: bool | None = None,
    format: str | None = None,
    delimiter: str | None = None,
    quotechar: str | None = AUTO,
    encoding: str = "utf-8",
    joiner: str = ", ",
    unescape: bool | str = AUTO,
    on_error: str = "raise",
    max_record_bytes: int = 1 << 24,
    progress: bool = True,
) -> Texts:
    """Opens labelled texts in csv, tsv or JSON lines files as rows.

    The files are read once, to find where rows begin and to check every record; 8
    bytes a row are kept, of place and label. Texts are read from the files when they
    are asked for. What was decided on the way is in ``texts.described()``, and
    ``open_texts("test.csv", **train.settings)`` decides the same for other files.

    Files may be gzip files: their text is unpacked once, into a temporary file
    without a name in ``$TMPDIR``, which is gone with the process, however it ends.
    Another file that changes afterwards is refused, not read.

    A source is pickled by the paths of its files. On the same machine, while the
    first process lives, another one takes places and labels from it; elsewhere it
    reads the files once, and refuses them if they differ.

    Args:
        paths: A file; a glob pattern; or a sequence of files, whose rows follow one
            another in that order. Those of a pattern follow their names, with the
            numbers in them counted: ``part-2``, ``part-10``.
        label_column: Number of the column of labels, counted from 0; its name, where
            there is a header; or the key, in JSON lines. `None`: there is none. By
            default the one called ``label``, ``class``, ``category``, ``stars``, and
            so on, or the first one where there is no header.
        text_columns: Those of the texts, likewise. By default those called ``text``,
            ``title``, ``description``, ``review``, and so on, or all others; but not
            one that says the label, as ``label_text`` with one value for each does.
        class_names: What the integers in `y` stand for; or a text file with one name
            on each line. By default the ``classes.txt`` beside the files, if there is
            one; `None`: none. Labels that are names are looked up in it; without it
            they are numbered in the order of their text. A label that is not in it is
            a fault. For other files of the same classes pass those of the first. Names
            are compared as they look: composed (NFC), without blanks around them.
        first_label: Labels that are class numbers count from here: 0 or 1. By default
            from 0 if there is a 0 among them, from 1 otherwise, whatever the least of
            them is. `None`: labels are names, also if they are digits.
        header: Whether the files begin with the names of their columns. By default
            this is told from the names, or from labels that are numbers below it;
            where it cannot be told, it is asked for.
        format: ``"csv"``, ``"tsv"`` or ``"jsonl"``, by default what the suffix says:
            ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson``, and ``.gz`` behind it.
        delimiter: Between fields: ``","`` or a tab by default.
        quotechar: Around fields. By default ``'"'``, as Python's csv module has it,
            but that a record which seems to have swallowed the next one is a fault;
            given, exactly as that module. `None`: a quote is a plain character.
        encoding: Of the files. Bytes that are not of it become U+FFFD and are counted.
        joiner: Stands between the texts of a row that has several.
        unescape: Whether a literal ``\\n`` becomes a line end and ``\\"`` a quote. By
            default where nine in ten backslashes are of those, and ten times as many
            as fields hold line ends as they are: a path such as ``C:\\new``, or a word
            behind a lone backslash (AG news), would lose its n. In JSON lines, which
            have escapes of their own, not.
        on_error: ``"raise"``: a record that cannot be a row is an error that names
            its file and line. ``"skip"``: it is left out and counted, and one warning
            says how many and which; see `Texts`. Such are: an empty record, no label,
            a label of no class, a wrong number of fields, a NUL, a record that is too
            long, or a quote that is not closed: of that its first line alone is left
            out, and the next is a record again. Blank lines are none.
        max_record_bytes: The longest record. Memory may take some ten times that.
        progress: Whether to show a progress bar, if standard error is a terminal.

    Returns:
        The texts: a row source, to be passed as `x`, with `y` and `class_names`.

    Raises:
        OSError: A file cannot be read, or there is no room for what is unpacked.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is not one of its values, or does not fit the files;
            or a record is faulty; or there are no rows.

    Example:
        >>> train = open_texts("train.csv")
        >>> print(train.described())  # doctest: +SKIP
        >>> test = open_texts("test.csv", **train.settings)
        >>> train[0], int(train.y[0]), test.class_names == train.class_names
        ('A title, and a text', 1, True)
    """
    found = found_files(paths)
    kind = format_of(found, format)
    exact = quotechar != AUTO
    names, names_from = names_of_classes(class_names, found, label_column)
    options = Options(
        format=kind,
        delimiter=delimiter_of(delimiter, kind),
        delimiter_told=delimiter is not None,
        quotechar=checked_character("quotechar", quotechar) if exact else '"',
        exact=exact,
        encoding=Decoder(encoding).encoding,
        label_column=checked_column("label_column", label_column, or_none=True),
        text_columns=checked_columns(text_columns),
        header=choice_of("header", header, (None, True, False)),
        joiner=checked_text("joiner", joiner),
        unescape=choice_of("unescape", unescape, (AUTO, True, False)),
        class_names=names,
        names_from=names_from,
        first_label=choice_of("first_label", first_label, (AUTO, 0, 1, None)),
        skip=one_of("on_error", on_error, ("raise", "skip")) == "skip",
        max_record_bytes=integer("max_record_bytes", max_record_bytes, minimum=1),
    )
    if options.delimiter and options.delimiter == options.quotechar:
        raise ValueError(
            f"{argument('delimiter')} must not be {argument('quotechar')}; received "
            f"{delimiter!r} as both. Pass {argument('quotechar', None)} if nothing is "
            f"quoted."
        )
    texts = opened_texts(found, options, progress)
    _warn(texts, names_from)
    return texts


def _warn(texts: Texts, names_from: str) -> None:
    """Says once what changes or leaves out something.

    Files called classes.txt go with class numbers from 1: nothing was guessed.
    """
    scanned = texts._scanned
    seen = scanned.seen
    said = []
    met = seen.undecodable, seen.halves, seen.loose, seen.swallowed
    if scanned.faults.total or any(met):
        said += noted(texts._options, scanned)
    if scanned.guessed and os.path.basename(names_from) != "classes.txt":
        said.append(how_guessed())
    if said:
        warnings.warn("open_texts: " + "\n".join(said), stacklevel=3)

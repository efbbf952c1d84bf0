"""What is converted into a store: files and Python objects, described the same way.

A reader of a format opens a file, looks at what is cheap, and gives a `Source`: how
many features, which dtype, and the blocks of rows, which are read when they are
asked for, from front to back and in bounded memory. `importers` writes them.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import importlib
import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.checks import is_real, shown
from sequence_loader.rows.csr import CsrRows

PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""What opens a compressed text, by its suffix."""
TEXT_BYTES = 1 << 22
"""Text that is parsed at a time; what parsers make of it is several times as much."""
Advance = Callable[[int], None]
"""Called with the number of bytes that have been dealt with."""


class SourceError(ValueError):
    """A file to convert is damaged, cut, or not what it is said to be.

    The message is whole: it names the file and the mend. What else is raised while a
    file is read is made a `SourceError` by `reading`.
    """


@dataclass(frozen=True)
class Block:
    """Some rows, and what comes with them.

    Attributes:
        rows: What `StoreWriter.append` takes: scipy sparse, array or `CsrRows`, of
            shape (n, num_features).
        y: Targets, array of shape (n, ...), or `None`.
        sample_weight: Array of shape (n,), or `None`.
        labels: The labels of each row as a sparse row, in place of `y`, or `None`.
        queries: int64 array of shape (n,): the query that a row is of, or `None`.
    """

    rows: Any
    y: Any = None
    sample_weight: Any = None
    labels: CsrRows | None = None
    queries: Any = None

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        rows = self.rows
        return rows.num_rows if isinstance(rows, CsrRows) else int(np.shape(rows)[0])


@dataclass(frozen=True)
class Source:
    """One file, or one matrix, before its rows are read.

    Attributes:
        name: What it is, for messages.
        num_features: Number of columns.
        dtype: Type that holds its values.
        blocks: Reads the rows, once, and reports what it has dealt with.
        work: Bytes that `blocks` reports in all, or `None` if nobody knows.
        feature_names: One name for each feature, or `None`.
        class_names: What the integers in `y` stand for, or `None`.
        row_metadata: What else is kept with the store, a list with an entry for each
            row, by its name.
        feature_metadata: The same, for each feature.
        row_names: () -> what the rows are called in it, or `None`.
        metadata: What the store is to remember of the source.
        transposed: Whether rows and columns change places, where an option says so.
    """

    name: str
    num_features: int
    dtype: np.dtype[Any]
    blocks: Callable[[Advance], Generator[Block]]
    work: int | None = None
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    row_metadata: dict[str, list[str]] = field(default_factory=dict)
    feature_metadata: dict[str, list[str]] = field(default_factory=dict)
    row_names: Callable[[], list[str]] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    transposed: bool | None = None


def first_of_alike(sources: Sequence[Source]) -> Source:
    """The first of several; raises ValueError where others have other features."""
    first = sources[0]
    for other in sources[1:]:
        for what in ("num_features", "feature_names", "feature_metadata"):
            one, two = getattr(first, what), getattr(other, what)
            if one != two:
                raise ValueError(
                    f"the files of {argument('source')} must have the same features; "
                    f"{other.name} has {what} {shown(two)}, and {first.name} has "
                    f"{shown(one)}. Select the same features, in the same order."
                )
    return first


def common_dtype(sources: Sequence[Source]) -> np.dtype[Any]:
    """The type that holds the values of all."""
    kinds = {source.dtype.newbyteorder("=") for source in sources}
    return kinds.pop() if len(kinds) == 1 else np.result_type(*kinds)


# What NumPy, zipfile, the decompressors, h5py, zarr and scipy raise when a file is
# not what they expect. An OSError with an error number is the system's own.
_DAMAGE = (
    *(ValueError, TypeError, KeyError, IndexError, RuntimeError, ArithmeticError),
    *(EOFError, OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(SyntaxError, tokenize.TokenError),  # NumPy, of a header of .npy
)


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turns what a library raises at a damaged file into one clear error.

    Args:
        path: The file.
        kind: What it should be: ``".npz"``, ``"MatrixMarket"``, ...

    Raises:
        SourceError: The file is damaged.
    """
    try:
        yield
    except SourceError:
        raise
    except _DAMAGE as error:
        # Of a place before the start of a file, that it should not be asked for.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise SourceError(
            f"{path} cannot be read as {'an' if kind[0] in 'AEIO' else 'a'} {kind} "
            f"file: {reason}. Check that it is whole and of that format, or write it "
            f"again."
        ) from error


def open_text(path: Path) -> BinaryIO:
    """Opens a file, through a decompressor if its suffix names one."""
    return cast(BinaryIO, PACKED.get(path.suffix.lower(), open)(path, "rb"))


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Pieces of about `TEXT_BYTES` that end where a line ends."""
    while piece := file.read(TEXT_BYTES):
        yield piece if piece.endswith(b"\n") else piece + file.readline()


def check_real_values(what: str, dtype: np.dtype[Any]) -> None:
    """Raises TypeError unless a store can hold what is in a file.

    Args:
        what: The file, and where in it.
        dtype: Of the values.
    """
    if not is_real(dtype):
        raise TypeError(
            f"{what} holds values of dtype {dtype}, and a store holds real numbers. "
            f"Write the file again with numbers, of a complex matrix with matrix.real."
        )


def required(module: str, extra: str, what: str) -> Any:
    """Imports an optional module.

    Raises:
        ImportError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs {module.partition('.')[0]}, which is not installed "
            f'({error}). In a clone of the repository, run: pip install ".[{extra}]"'
        ) from error

"""The bytes of text files: by place, and only as long as they are those indexed."""

from __future__ import annotations

import gzip
import os
import stat
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from sequence_loader.arguments import argument

COPY_BYTES = 1 << 20
OPEN_FILES = 32
"""Descriptors that a source of many files keeps."""

Stamp: TypeAlias = tuple[int, int, int]
Address: TypeAlias = tuple[str, int, bytes]


class OpenFile:
    """A descriptor, open for as long as somebody refers to it.

    It is read by place, so that threads and forked processes can share it.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        # Opening a pipe would wait for somebody who writes.
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def stamp(self) -> Stamp:
        """Size and times in nanoseconds, which any change of the content changes."""
        found = os.fstat(self.number)
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def read(self, place: int, count: int) -> bytes:
        """Bytes from a place on; fewer only at the end of the file."""
        data = os.pread(self.number, count, place)
        while len(data) < count:
            more = os.pread(self.number, count - len(data), place + len(data))
            if not more:
                break
            data += more
        return data

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class Scratch(OpenFile):
    """A temporary file without a name, gone with the last process that has it open.

    Other processes of this machine find it by the descriptor of one that has it,
    where the system shows those (`/proc`), and know it by the token at its end.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryFile(prefix="sequence_loader-") as file:
            self.number = os.dup(file.fileno())
        self.size, self._token = 0, b""

    def append(self, data: bytes | memoryview) -> int:
        """Writes bytes behind what there is; returns their place."""
        place, left = self.size, memoryview(data).cast("B")
        while left:
            written = os.pwrite(self.number, left, self.size)
            left, self.size = left[written:], self.size + written
        return place

    def address(self) -> Address:
        """What `found` needs. From now on nothing can be appended."""
        if not self._token:
            self._token = os.urandom(16)
            os.pwrite(self.number, self._token, self.size)
        return f"/proc/{os.getpid()}/fd/{self.number}", self.size, self._token

    @classmethod
    def found(cls, address: Address) -> Scratch | None:
        """The file of a living process of this machine, or `None`."""
        path, size, token = address
        scratch = cls.__new__(cls)
        try:
            OpenFile.__init__(scratch, path)
        except OSError:
            return None
        scratch.size, scratch._token = size, token
        # By now the number may mean something else.
        is_file = stat.S_ISREG(os.fstat(scratch.number).st_mode)
        return scratch if is_file and scratch.read(size, 17) == token else None


@dataclass
class TextFile:
    """One file, by what makes it the same.

    Attributes:
        path: Absolute path.
        size: Bytes of text, unpacked.
        packed: Where in the scratch file its text lies, if it was compressed.
        stamp: Of a file that is read where it is; see `OpenFile.stamp`.
        digest: CRC-32 of the text, known after the first pass over it.
    """

    path: str
    size: int = 0
    packed: int | None = None
    stamp: Stamp | None = None
    digest: int = 0


class TextFiles:
    """Files that are read by place. Safe to share by threads.

    Args:
        files: What there is.
        scratch: Where the text of compressed ones lies.
    """

    def __init__(
        self, files: Sequence[TextFile], scratch: Scratch | None = None
    ) -> None:
        self.files = list(files)
        self.scratch = scratch
        self._opened = lru_cache(OPEN_FILES)(OpenFile)

    def read(self, number: int, place: int, count: int) -> bytes:
        """Bytes of a file.

        Raises:
            ValueError: The file has become shorter.
            OSError: It cannot be read.
        """
        file = self.files[number]
        if file.packed is not None and self.scratch is not None:
            data = self.scratch.read(file.packed + place, count)
        else:
            data = self._opened(file.path).read(place, count)
        if len(data) < count:
            raise changed(file.path)
        return data

    def check(self, number: int) -> None:
        """Raises ValueError if a file is not what it was when it was indexed.

        Size and times are looked at. If only times differ (it was copied, touched,
        or another name was given to it), the content decides.
        """
        file = self.files[number]
        if file.packed is not None:
            return
        found = self._opened(file.path).stamp()
        if found == file.stamp:
            return
        if found[0] != file.size or self._digest(number) != file.digest:
            raise changed(file.path)
        file.stamp = found

    def _digest(self, number: int) -> int:
        reading = FirstReading(self, number)
        reading.finish()
        return reading.digest


class FirstReading:
    """Reads a file in about the order of its bytes, and sums each of them once.

    Args:
        files: All files.
        number: Which of them.

    Attributes:
        digest: CRC-32 of what has been read.
        summed: How many bytes that is.
    """

    def __init__(self, files: TextFiles, number: int) -> None:
        self._files = files
        self._number = number
        self.summed = 0
        self.digest = 0
        self.size = files.files[number].size

    def read(self, place: int, count: int) -> bytes:
        """Up to `count` bytes from a place on: fewer at the end of the file."""
        self._sum_until(place)
        data = self._files.read(self._number, place, min(count, self.size - place))
        stop = place + len(data)
        if stop > self.summed:
            fresh = memoryview(data)[self.summed - place :]
            self.digest = zlib.crc32(fresh, self.digest)
            self.summed = stop
        return data

    def finish(self) -> None:
        """Reads what is left."""
        self._sum_until(self.size)

    def _sum_until(self, place: int) -> None:
        while self.summed < place:
            count = min(COPY_BYTES, place - self.summed)
            data = self._files.read(self._number, self.summed, count)
            self.digest = zlib.crc32(data, self.digest)
            self.summed += count


def opened_files(paths: Sequence[str]) -> TextFiles:
    """Opens files, and unpacks those that are gzip files into a temporary one.

    Raises:
        OSError: One cannot be read, or there is no room for its text.
        ValueError: One is no file, or compressed in another way, or damaged.
    """
    files = [TextFile(path) for path in paths]
    scratch: Scratch | None = None
    for file in files:
        opened = OpenFile(file.path)
        if not stat.S_ISREG(os.fstat(opened.number).st_mode):
            raise ValueError(
                f"{argument('paths')} must name files; {file.path} is none. Pass the "
                f"files in a directory as a pattern, such as 'parts/*.csv', and write "
                f"what a program prints to a file."
            )
        head = opened.read(0, 6)
        if head.startswith(b"\x1f\x8b"):
            scratch = scratch or Scratch()
            file.packed = scratch.size
            _unpack(file.path, scratch)
            file.size = scratch.size - file.packed
            head = scratch.read(file.packed, 6)
        else:
            file.stamp = opened.stamp()
            file.size = file.stamp[0]
        _check_head(file.path, head)
    return TextFiles(files, scratch)


def _unpack(path: str, scratch: Scratch) -> None:
    with gzip.open(path) as packed:
        while True:
            try:
                data = packed.read(COPY_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(
                    f"{path} is a gzip file that is damaged or cut short: {error}. "
                    f"Fetch it again."
                ) from error
            if not data:
                return
            try:
                scratch.append(data)
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"the text of {path} does not go into a temporary file in "
                    f"{tempfile.gettempdir()}: {error.strerror}. Set TMPDIR to a "
                    f"directory with more room, or unpack the file",
                ) from error


def _check_head(path: str, head: bytes) -> None:
    """Raises ValueError for what is no text, or none of bytes."""
    wide = head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff"))
    if wide or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        name = "UTF-32" if wide else "UTF-16"
        raise ValueError(
            f"{path} is {name}, which cannot be cut at line ends byte by byte. Convert "
            f"it: iconv -f {name} -t UTF-8."
        )
    kinds = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
    kinds |= {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "twice gzip"}
    for magic, kind in kinds.items():
        if head.startswith(magic):
            raise ValueError(
                f"{path} must be text, or text in a gzip file; it is a {kind} file. "
                f"Unpack it first."
            )


def changed(path: str) -> ValueError:
    """The error of a file that is not what it was."""
    return ValueError(
        f"{path} has changed since it was opened, and rows would be taken from the "
        f"wrong places. Open it again with open_texts."
    )

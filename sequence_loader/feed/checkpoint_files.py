"""A folder of checkpoints: each is one file, there whole or not at all.

A file is two arrays in NumPy's format, one behind the other: the JSON of a header, and
the bytes of all arrays. It is written beside its name, synced, and renamed. Its header
holds its length, a digest of itself and a sum of the bytes, so that damage is found.

Files are numbered; the newest that is whole is read. The oldest are deleted first, so
that what a kill leaves behind goes on from where the newest was.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sequence_loader.arrays import Array

SUFFIX = ".checkpoint"

_held: dict[str, CheckpointFolder] = {}  # by real path: locks of this process


@dataclass(frozen=True)
class Options:
    """The arguments of SequenceCheckpoint."""

    path: Path
    every: int
    keep: int
    deletes: bool
    raises: bool


class CheckpointFolder:
    """Where the checkpoints of one `fit` are.

    Args:
        options: Of them; the directory is made.
        writes: Whether this process writes here; others of its job only read.
        is_running: () -> whether the `fit` that writes here still runs. Another of
            this process may go on where it was left by an error.

    Raises:
        ValueError: Another job writes there, or `path` is no directory.
        OSError: It cannot be made.
    """

    def __init__(
        self, options: Options, writes: bool, is_running: Callable[[], bool]
    ) -> None:
        self._options, self.writes = options, writes
        self._path = path = options.path
        self.is_running = is_running
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._lock: BinaryIO | None = None
        if path.exists() and not path.is_dir():
            raise ValueError(
                f"`path` must be a directory for checkpoints; received {path}, which "
                f"is a file. Pass another path."
            )
        if not writes:
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._claim()
            for left in path.glob(f"*{SUFFIX}.tmp"):
                left.unlink(missing_ok=True)
        except OSError as error:
            self.release()
            raise OSError(
                error.errno,
                f"`path` must be a directory that can be written to; received {path} "
                f"({error}). Pass another path.",
            ) from error

    def _claim(self) -> None:
        real = os.path.realpath(self._path)
        before = _held.get(real)
        if before is not None:
            if before.is_running():
                raise ValueError(self._in_use("another `fit` of this process"))
            before.wait()
            before.release()
        self._real = real
        while True:
            lock = open(self._path / "lock", "a+b")
            try:
                # Of this process alone: children do not hold it on when it dies.
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                lock.seek(0)
                owner = lock.read(99).decode("ascii", "replace") or "?"
                lock.close()
                raise ValueError(self._in_use(f"process {owner}")) from None
            try:
                same = os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name))
            except FileNotFoundError:
                same = False
            if same:
                break
            lock.close()  # of a job that ended meanwhile, and took it away
        try:
            lock.truncate(0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        except OSError:
            pass  # a full disk: only a message would tell of it
        self._lock = lock
        _held[real] = self

    def _in_use(self, by: str) -> str:
        return (
            f"`path` must belong to one job; received {self._path}, where {by} writes. "
            f"Pass another path, or wait until that has ended."
        )

    def load(self) -> tuple[int, dict[str, Any], Array] | None:
        """The newest checkpoint that is whole; `None`, where there is none.

        Returns:
            Its number, header and content.

        Raises:
            ValueError: There are some, and all are damaged.
        """
        found = self._files()
        for path in reversed(found):
            try:
                return (_number(path), *_read(path))
            except Exception as error:  # NumPy has many for a header that is damaged
                warnings.warn(
                    f"the checkpoint {path} is damaged ({error}); the one before it "
                    f"is taken.",
                    stacklevel=2,
                )
        if found:
            raise ValueError(
                f"`path` must hold a checkpoint that can be read; all {len(found)} in "
                f"{self._path} are damaged. Delete them, to train from the start."
            )
        return None

    def load_number(self, number: int) -> tuple[dict[str, Any], Array]:
        """The checkpoint that the process which writes has found.

        Raises:
            ValueError: It is not here, or damaged.
        """
        path = self._path / f"{number:08}{SUFFIX}"
        try:
            return _read(path)
        except Exception as error:
            raise ValueError(
                f"`path` must be one directory for all processes of a job; the first "
                f"one goes on from {path}, which this one cannot read ({error}). Pass "
                f"a path on a disk that all machines share."
            ) from error

    def publish(self, header: dict[str, Any], content: Array) -> None:
        """Writes a checkpoint, beside what the caller does next.

        Args:
            header: Plain values.
            content: uint8 array, whose length is a multiple of 8. It must not change
                before `wait` has returned.
        """
        self.wait()
        files = self._files()
        number = _number(files[-1]) + 1 if files else 1
        path = self._path / f"{number:08}{SUFFIX}"
        # Not a daemon: a process that ends by an error waits for its last save.
        self._thread = threading.Thread(
            target=self._write, args=(path, header, content),
            name="sequence_loader-checkpoint",
        )  # fmt: skip
        self._thread.start()

    def wait(self) -> None:
        """Waits until all is written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def tell_of_error(self) -> None:
        """Waits; warns that the last checkpoint was not written, if so, or raises."""
        self.wait()
        error, self._error = self._error, None
        if error is None:
            return
        left = "What was saved before is still there."
        message = (
            f"SequenceCheckpoint could not write a checkpoint to {self._path}: "
            f"{error}. {left if self._files() else 'None is there to go on from.'}"
        )
        if self._options.raises:
            number = getattr(error, "errno", None)
            told = (message,) if number is None else (number, message)
            raise OSError(*told) from error
        warnings.warn(f"{message} Training goes on.", stacklevel=4)

    def delete(self) -> None:
        """Deletes what was written, and the directory, if nothing else is in it."""
        if not self.writes:
            return
        self.wait()
        for path in [*self._path.glob(f"*{SUFFIX}.tmp"), *self._files()]:
            path.unlink(missing_ok=True)
        (self._path / "lock").unlink(missing_ok=True)
        try:
            self._path.rmdir()
        except OSError:
            pass  # there is something of the user's own in it

    def release(self) -> None:
        """Lets another job write here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            _held.pop(self._real, None)

    def _files(self) -> list[Path]:
        """The checkpoints, the oldest first."""
        found = [
            path
            for path in self._path.glob(f"*{SUFFIX}")
            if path.name.removesuffix(SUFFIX).isdecimal()
        ]
        return sorted(found, key=_number)

    def _write(self, path: Path, header: dict[str, Any], content: Array) -> None:
        beside = path.with_name(path.name + ".tmp")
        try:
            with open(beside, "wb") as file:
                for array in np.frombuffer(_sealed(header, content), np.uint8), content:
                    described = np.lib.format.header_data_from_array_1_0(array)
                    np.lib.format.write_array_header_1_0(file, described)
                    file.write(array.data)  # np.save would not tell why it cannot
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
            _sync_directory(self._path)
            for old in self._files()[: -self._options.keep]:
                old.unlink(missing_ok=True)
        except Exception as error:  # nobody else is told of what ends this thread
            self._error = error
            try:
                beside.unlink(missing_ok=True)
            except OSError:
                pass  # it is swept away at the next start


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _sealed(header: dict[str, Any], content: Array) -> bytes:
    text = json.dumps({**header, "bytes": len(content), "sum": _sum(content)})
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{digest}{text}".encode()


def _read(path: Path) -> tuple[dict[str, Any], Array]:
    with open(path, "rb") as file:
        text = np.load(file).tobytes()
        content: Array = np.load(file)
    if hashlib.blake2b(text[32:], digest_size=16).hexdigest().encode() != text[:32]:
        raise ValueError("its header has changed")
    header: dict[str, Any] = json.loads(text[32:])
    if (len(content), _sum(content)) != (header["bytes"], header["sum"]):
        raise ValueError("its bytes have changed")
    return header, content


def _sum(content: Array) -> int:
    """Of 64-bit words; a digest of a large model would take longer than writing it."""
    return int(content.view(np.uint64).sum(dtype=np.uint64))


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

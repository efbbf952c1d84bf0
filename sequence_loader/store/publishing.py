"""A directory that appears at its path whole, or not at all.

Everything is written into a hidden sibling, ``.NAME.writing-XXXXXXXX``, which is
locked for as long as its writer lives: the kernel drops the lock of a killed
process, which is how a leftover is told from the work of another writer. To
publish, the sibling's content and then the sibling itself are synced, it is
renamed, and the parent is synced.

A new store is put in place by a rename that fails if something is there already
(``renameat2`` with RENAME_NOREPLACE), so of two writers the second to publish
gets the error. An existing store is replaced by exchanging the two directories
in one step (RENAME_EXCHANGE): there is no moment without one of them. A file
system without it (NFS, say) gets two renames, with the old store moved aside in
between, and moved back should the second one fail.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sequence_loader.arguments import argument


YOUNG_SECONDS, MOMENT_SECONDS = 1.0, 0.05
"""Seconds: a directory so young is perhaps not locked yet, and is so a moment later."""

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


class PendingDirectory:
    """A directory under construction.

    Args:
        path: Where it will be published.
        owned: Names of the files it may hold. A directory at `path` that holds
            anything else is never replaced.
        marker: The one of them that tells that a directory is of this kind. One that
            is not empty and lacks it is not replaced either.
        overwrite: Whether to replace what an earlier run published at `path`.

    Raises:
        FileExistsError: Something is at `path`, and may not be replaced.
        OSError: The parent is missing or cannot be written to.
    """

    def __init__(
        self, path: Path, owned: frozenset[str], marker: str, overwrite: bool
    ) -> None:
        self.path, self._owned, self._overwrite = path, owned, overwrite
        self._marker = marker
        self._check_target()
        report_leftovers(path)
        self.directory = path.parent / f".{path.name}.writing-{secrets.token_hex(4)}"
        try:
            os.mkdir(self.directory)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write beside {path}: {error.strerror}. Pass a path in an "
                f"existing directory that can be written to",
            ) from error
        self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._owner = os.getpid()

    def publish(self) -> None:
        """Makes the content durable and puts it in place.

        Raises:
            FileExistsError: Another writer was faster.
        """
        for entry in os.scandir(self.directory):
            sync(Path(entry.path))
        os.fsync(self._lock)
        self._check_target()
        if not _rename(self.directory, self.path, _NOREPLACE):
            if not self._overwrite:
                raise FileExistsError(
                    errno.EEXIST,
                    f"another writer published {self.path} first; this store was not "
                    f"published. Pass another path, or {argument('overwrite', True)}",
                )
            self._replace()
        self._owner = 0  # there is nothing to discard any more
        try:
            sync(self.path.parent)
        finally:
            os.close(self._lock)

    def discard(self) -> None:
        """Removes what was written. Does nothing in a forked child."""
        if self._owner == os.getpid():
            shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._lock)

    def _replace(self) -> None:
        # Locked, what is being removed is no leftover for others either.
        locked = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # who published it a moment ago has it locked
                fcntl.flock(locked, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _rename(self.directory, self.path, _EXCHANGE):
                old = self.directory
            else:
                old = self.path.parent / f".{self.path.name}.old-{secrets.token_hex(4)}"
                os.rename(self.path, old)
                try:
                    os.rename(self.directory, self.path)
                except OSError:
                    os.rename(old, self.path)
                    raise
            shutil.rmtree(old, ignore_errors=True)
        finally:
            os.close(locked)

    def _check_target(self) -> None:
        """What stands at the path must be absent, or ours to replace."""
        if not os.path.lexists(self.path):
            return
        if not self._overwrite:
            raise FileExistsError(
                errno.EEXIST,
                f"{self.path} exists. Pass another path, or "
                f"{argument('overwrite', True)} to replace a store",
            )
        is_ours = self.path.is_dir() and not self.path.is_symlink()
        found = _listed(self.path) if is_ours else set()
        foreign = sorted(found - self._owned)
        unmarked = bool(found) and self._marker not in found
        if foreign or unmarked or not is_ours:
            what = (
                f"holds {foreign[0]!r}" if foreign
                else f"holds no {self._marker}" if unmarked
                else "is not a directory"
            )  # fmt: skip
            raise FileExistsError(
                errno.EEXIST,
                f"{self.path} {what}, so it is not a store, and "
                f"{argument('overwrite', True)} replaces nothing else. Pass another "
                f"path, or remove it yourself",
            )


def _listed(path: Path) -> set[str]:
    """What a directory holds: none that is replaced, and being removed, meanwhile."""
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = set(os.listdir(handle))
            if is_at(path, handle):
                return found
        finally:
            os.close(handle)


def is_at(path: Path, folder: int) -> bool:
    """Whether a directory is still what is found at a path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(folder))
    except FileNotFoundError:
        return False


def leftovers(path: Path) -> list[Path]:
    """Siblings that writers to `path` left behind when they were killed."""
    found = []
    parent = path.parent
    names = os.listdir(parent) if parent.is_dir() else []
    for name in names:
        if name.startswith((f".{path.name}.writing-", f".{path.name}.old-")):
            try:
                if _is_abandoned(parent / name):
                    found.append(parent / name)
            except OSError:
                continue  # gone, or not ours to open
    return sorted(found)


def _is_abandoned(path: Path) -> bool:
    """Whether a directory is locked by nobody."""
    for pause in (MOMENT_SECONDS, 0.0):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            age = time.time() - os.fstat(handle).st_mtime
        except BlockingIOError:
            return False  # its writer is alive
        finally:
            os.close(handle)
        if age > YOUNG_SECONDS:
            break
        time.sleep(pause)
    return True


def remove_leftovers(path: Path, is_ours: Callable[[Path], bool]) -> None:
    """Removes what killed writers to `path` left, for a job that is run again.

    What stood there before is kept, and what is not `is_ours`: holds other things.
    """
    for leftover in leftovers(path):
        if not _was_there(path, leftover) and is_ours(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def report_leftovers(path: Path) -> None:
    """Warns of what was left beside `path`, and says what to do with it."""
    for leftover in leftovers(path):
        before = ", with what was there before" if _was_there(path, leftover) else ""
        warnings.warn(
            f"{leftover} is what a writer of {path} left when it was killed{before}; "
            f"nothing refers to it. Remove it with: rm -r {_quoted(leftover)}",
            stacklevel=4,
        )


def mend(path: Path, leftover: Path) -> str:
    """What to do with what a writer left where nothing is, as a command for a shell."""
    if _was_there(path, leftover) and not os.path.lexists(path):
        return f"Bring it back with: mv {_quoted(leftover)} {_quoted(path)}"
    return f"Remove it with: rm -r {_quoted(leftover)}"


def _was_there(path: Path, leftover: Path) -> bool:
    return leftover.name.startswith(f".{path.name}.old-")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def sync(path: Path) -> None:
    """Waits until a file, or the entries of a directory, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename(source: Path, target: Path, flags: int) -> bool:
    """Renames a directory; False where that cannot be done as `flags` ask."""
    code = _renameat2(source, target, flags)
    if code == 0:
        return True
    if code == errno.EEXIST:
        return False
    if code is not None and code not in _UNSUPPORTED:
        raise OSError(code, os.strerror(code), str(target))
    if flags == _EXCHANGE or os.path.lexists(target):
        return False
    os.rename(source, target)  # fails on a directory that is not empty
    return True


def _renameat2(source: Path, target: Path, flags: int) -> int | None:
    """The system call's error number, 0 for success; `None` where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return None
    names = os.fsencode(source), os.fsencode(target)
    done = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flags)
    return ctypes.get_errno() if done else 0

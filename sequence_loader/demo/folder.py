"""The folder of a run of the demo on files: stores and a model that fit each other.

A run writes into a hidden folder beside it (see `store.publishing`) and puts that in
place when the model is saved, in one step: whenever a run is killed, what is found at
the path is whole, of one run, and nothing of the user's is gone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sequence_loader.arguments import argument
from sequence_loader.store.publishing import PendingDirectory, remove_leftovers
from sequence_loader.store.writer import OWNED

TRAIN, VALIDATION, TEST = "train.store", "validation.store", "test.store"
STORES = (TRAIN, VALIDATION, TEST)
MODEL = "model.keras"


def foreign_in(folder: Path) -> Path | None:
    """What a folder holds that no run put there; `None` if there is nothing.

    Args:
        folder: That of a run, or what one that was killed left.
    """
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        # A store that was being written is hidden beside its place.
        hidden = tuple(f".{name}.writing-" for name in STORES)
        if entry.name in STORES or entry.name.startswith(hidden):
            if not entry.is_dir(follow_symlinks=False):
                return Path(entry.path)
            others = set(os.listdir(entry.path)) - OWNED
            if others:
                return Path(entry.path) / min(others)
        elif entry.name != MODEL or not entry.is_file(follow_symlinks=False):
            return Path(entry.path)
    return None


def checked_folder(path: str | os.PathLike[str]) -> Path:
    """The real path of a folder that a run may be put in.

    Raises:
        FileExistsError: There is something else than an earlier run, which is not
            replaced.
        ValueError: It is where this process works, which would be taken from it.
    """
    folder = Path(os.path.realpath(path))
    here = Path(os.path.realpath(os.curdir))
    if folder in (here, *here.parents):
        raise ValueError(
            f"{argument('folder')} must be a folder that is replaced as a whole, and "
            f"not the current one; received {path}. Pass a name in it, such as "
            f"{argument('folder', os.path.join(path, 'train.demo'))}."
        )
    if os.path.lexists(folder):
        found = None if not folder.is_dir() else foreign_in(folder)
        what = (
            "is not a folder" if not folder.is_dir()
            else f"holds {found.relative_to(folder)}" if found is not None
            else f"holds no {VALIDATION}"
            if any(folder.iterdir()) and not (folder / VALIDATION).exists()
            else ""
        )  # fmt: skip
        if what:
            raise FileExistsError(
                f"{argument('folder')} must be a new folder, or that of an earlier "
                f"run, which is replaced; {path} {what}, which no run put there. Pass "
                f"another {argument('folder')}, or move that away."
            )
    return folder


class PendingRun:
    """A run that is not done yet.

    Used with ``with``: what was not published by then is removed.

    Args:
        path: Where it will be put. What killed runs left beside it is removed.

    Attributes:
        folder: Where to write until then.

    Raises:
        FileExistsError: See `checked_folder`.
        OSError: The folder around `path` cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = checked_folder(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._path, lambda left: foreign_in(left) is None)
        owned = frozenset([*STORES, MODEL])
        self._pending = PendingDirectory(self._path, owned, VALIDATION, overwrite=True)
        self.folder = self._pending.directory

    def __enter__(self) -> PendingRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._pending.discard()

    def publish(self) -> None:
        """Puts it in place.

        Raises:
            OSError: That cannot be done, since something was put there meanwhile,
                say. The message says where the run is then.
        """
        try:
            checked_folder(self._path)
            self._pending.publish()
        except OSError as error:
            number, kept = 2, self._path
            while os.path.lexists(kept):
                kept = self._path.with_name(f"{self._path.name}.{number}")
                number += 1
            shutil.move(self.folder, kept)
            reason = f"{error.strerror or error}".rstrip(".")
            raise OSError(f"{reason}. This run is whole in {kept}.") from error

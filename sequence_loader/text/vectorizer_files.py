"""A fitted vectorizer in a directory, its own or that of the store it made.

``vectorizer.json`` holds options, names and the digest of everything; plain ``.npy``
files beside it hold the arrays. Nothing in them can run code. A store is read, checked
and verified without these files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.checks import absolute_path, shown
from sequence_loader.store.array_file import ArrayFile
from sequence_loader.store.format import BLOCK_BYTES, SIDE_FILES, digest_of
from sequence_loader.store.publishing import PendingDirectory, remove_leftovers
from sequence_loader.text.words import HASH_VERSION

FORMAT, VERSION = "sequence_loader.vectorizer", 1
MANIFEST = SIDE_FILES[0]


class VectorizerError(ValueError):
    """The files of a vectorizer are missing, damaged, or of another kind."""


def write(directory: Path, content: dict[str, Any], arrays: Mapping[str, Array]) -> str:
    """Writes a vectorizer into a directory.

    Args:
        directory: Where.
        content: What JSON can hold, ``kind`` among it.
        arrays: Those named in `SIDE_FILES`, of shape (n,).

    Returns:
        The digest.
    """
    files = {}
    for name, values in arrays.items():
        file = ArrayFile(_array_path(directory, name), values.dtype, ())
        for start in range(0, len(values), BLOCK_BYTES):
            file.write(values[start : start + BLOCK_BYTES])
        stored = file.finish()
        files[name] = {
            "dtype": stored.dtype.name,
            "shape": list(stored.shape),
            "digests": list(stored.digests),
        }
    head = {"format": FORMAT, "version": VERSION, "hash_version": HASH_VERSION}
    whole = head | content | {"arrays": files}
    digest = _digest(whole)
    text = json.dumps({"digest": digest} | whole, indent=1, allow_nan=False)
    (directory / MANIFEST).write_text(text + "\n", encoding="ascii")
    return digest


def publish(
    path: str | os.PathLike[str],
    content: dict[str, Any],
    arrays: Mapping[str, Array],
    overwrite: bool,
) -> Path:
    """Writes a vectorizer into a directory of its own, whole or not at all."""
    target = absolute_path("path", path)
    owned = frozenset(SIDE_FILES)
    remove_leftovers(target, lambda left: set(os.listdir(left)) <= owned)
    pending = PendingDirectory(target, owned, MANIFEST, overwrite)
    try:
        write(pending.directory, content, arrays)
        pending.publish()
    except BaseException:
        pending.discard()
        raise
    return target


class Found(NamedTuple):
    """What a vectorizer's files hold.

    Attributes:
        path: Their directory.
        content: What JSON held.
        arrays: Mapped.
        digest: Of everything.
    """

    path: Path
    content: dict[str, Any]
    arrays: dict[str, Array]
    digest: str


def read(path: str | os.PathLike[str], kind: str) -> Found:
    """Reads a vectorizer, and checks all of it.

    Raises:
        FileNotFoundError: There is none.
        VectorizerError: It is damaged, or of another kind.
    """
    directory = absolute_path("path", path)
    try:
        text = (directory / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"there is no {MANIFEST} in {directory}. Pass what `save` wrote, or a "
            f"store that `fit_write` or `write` made."
        ) from None
    try:
        content = json.loads(text)
        digest = content.pop("digest")
        if content["format"] != FORMAT or digest != _digest(content):
            raise ValueError("its digest is not that of its content")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise VectorizerError(
            f"{directory / MANIFEST} is not what was written: {error}. Restore it, or "
            f"fit again."
        ) from None
    found = content["version"], content["hash_version"]
    if found != (VERSION, HASH_VERSION):
        raise VectorizerError(
            f"{directory / MANIFEST} has version {found} of the format; this release "
            f"reads {(VERSION, HASH_VERSION)}. Fit again, or update sequence_loader."
        )
    if content["kind"] != kind:
        raise VectorizerError(
            f"{directory} holds a vectorizer of kind {shown(content['kind'])}, not "
            f"{kind!r}. Load it with the class that wrote it."
        )
    arrays = {
        name: _checked(_array_path(directory, name), entry)
        for name, entry in content["arrays"].items()
    }
    return Found(directory, content, arrays, digest)


def kind_in(path: str | os.PathLike[str]) -> str | None:
    """``"ngrams"``, ``"sequences"``, or `None` where a directory has no vectorizer."""
    file = Path(path) / MANIFEST
    if not file.is_file():
        return None
    found: str | None = json.loads(file.read_bytes()).get("kind")
    return found


def _checked(path: Path, entry: dict[str, Any]) -> Array:
    try:
        values: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        is_same = [values.dtype.name, list(values.shape)] == [
            entry["dtype"],
            entry["shape"],
        ]
    except (OSError, ValueError) as error:
        raise VectorizerError(
            f"{path} cannot be read: {error}. Restore it, or fit again."
        ) from None
    content = values.view(np.ndarray).view(np.uint8)
    digests = [
        digest_of(content[start : start + BLOCK_BYTES].data)
        for start in range(0, len(content), BLOCK_BYTES)
    ]
    if not is_same or digests != entry["digests"]:
        raise VectorizerError(
            f"{path} is not what was written. Restore it, or fit again."
        )
    return values.view(np.ndarray)


def _array_path(directory: Path, name: str) -> Path:
    return directory / f"vectorizer_{name}.npy"


def _digest(content: dict[str, Any]) -> str:
    return digest_of(json.dumps(content, sort_keys=True).encode())

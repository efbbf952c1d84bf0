"""The format of a store, and its manifest.

A store is a directory of plain ``.npy`` files (format 1.0, C order,
little-endian), which NumPy and scipy can open without this package:

    indptr.npy         int64, shape (rows + 1,): row i is values
                       indptr[i] .. indptr[i + 1] - 1; it starts at 0, does not
                       decrease, and ends at nnz
    indices.npy        uint16, int32 or (beyond 2^31 - 1 features) int64, shape
                       (nnz,): the column of each value, strictly ascending in each
                       row. Written as uint16 where there are at most 65,536
                       features and values of at least 4 bytes, or narrowed ones
    data.npy           any boolean, integer or floating dtype, shape (nnz,)
    y.npy              optional targets, shape (rows, ...)
    sample_weight.npy  optional floating weights, shape (rows,)
    manifest.json      what ties them together

``bfloat16``, which NumPy does not know, is in the files as two raw bytes (``V2``).
The manifest is a JSON object:

    digest         BLAKE2b-128, in hex, of the manifest's own bytes with this digest
                   written as 32 zeros; always the first entry
    format         "sequence_loader.store"
    version        1 or 2; a reader refuses any other
    shape, nnz     [rows, features] and the number of stored values
    sorted         true: rows are canonical
    block_bytes    16777216: how many bytes share a digest
    arrays         for each file: dtype, shape, and `digests`, the BLAKE2b-128 of
                   each `block_bytes` of the values (the header is not part of it:
                   dtype and shape imply it, byte for byte)
    feature_names  list of text, or null
    class_names    list of text, or null
    metadata       an object, the user's own

    values = np.load("train.store/data.npy", mmap_mode="r"), and so on;
    csr_array((values, indices, indptr), shape) is the matrix.

Version 2 keeps values in fewer bytes than they are served in (`narrower`), and says
in one more entry what that is; where nothing can be kept narrower, version 1 is
written, which older releases read:

    dtype          what values are served as; each converts to it without loss
    arrays         without ``data`` where all values are 1

A store is written beside its path and appears there whole (`publishing`). Opening
one checks what costs nothing: the manifest and its digest, the size and header of
each file, the ends of `indptr`. Each row that is read is checked for columns out
of range. The digests are left to `SparseStore.verify`, which reads everything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.checks import shown
from sequence_loader.store.dtypes import dtype_named, index_dtypes, narrower
from sequence_loader.store.npy import npy_header

FORMAT = "sequence_loader.store"
VERSIONS = 1, 2
MANIFEST = "manifest.json"
ARRAYS = ("indptr", "indices", "data", "y", "sample_weight")
SIDE_FILES = (
    "vectorizer.json",
    *(f"vectorizer_{name}.npy" for name in ("hashes", "df", "columns")),
)
"""What may lie beside them: the vectorizer that made the rows. Readers pass them by."""
BLOCK_BYTES = 1 << 24
"""Bytes that share a digest: 16 MiB make 64 kB of manifest for 16 GiB of rows."""

_SEAL = re.compile(rb'\A\{\n "digest": "([0-9a-f]{32})",\n')
_NO_SEAL = b"0" * 32


class StoreError(ValueError):
    """A store is damaged, incomplete, or not a store; the message says which.

    Example:
        >>> try:
        ...     open_store("train.store").verify()
        ... except StoreError as error:
        ...     print(error)
    """


@dataclass(frozen=True)
class StoredArray:
    """What the manifest says of one ``.npy`` file.

    Attributes:
        dtype: Type of the values; little-endian in the file.
        shape: Shape of the array; the first axis is counted in rows or nonzeros.
        digests: BLAKE2b-128, in hex, of each `BLOCK_BYTES` of the values.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    digests: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def header(self) -> bytes:
        """The ``.npy`` header, byte for byte."""
        return npy_header(self.dtype, self.shape)


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds, validated.

    Attributes:
        shape: (rows, features).
        nnz: Number of stored values.
        arrays: The files by name, without the suffix ``.npy``; no ``data`` where all
            values are 1.
        dtype: What values are served as.
        feature_names: One name for each feature, or `None`.
        class_names: Names of the classes that integers in `y` stand for, or `None`.
        metadata: Anything that JSON can hold, the user's own.
    """

    shape: tuple[int, int]
    nnz: int
    arrays: Mapping[str, StoredArray]
    dtype: np.dtype[Any]
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def narrowed(self) -> bool:
        """Whether values are kept in fewer bytes than they are served in."""
        return "data" not in self.arrays or self.arrays["data"].dtype != self.dtype

    def to_bytes(self) -> bytes:
        """The text of the file, sealed with a digest of itself."""
        content = {
            "digest": _NO_SEAL.decode(),
            "format": FORMAT,
            "version": VERSIONS[self.narrowed],
            "shape": list(self.shape),
            "nnz": self.nnz,
            **({"dtype": self.dtype.name} if self.narrowed else {}),
            "sorted": True,
            "block_bytes": BLOCK_BYTES,
            "arrays": {
                name: {
                    "dtype": array.dtype.name,
                    "shape": list(array.shape),
                    "digests": list(array.digests),
                }
                for name, array in self.arrays.items()
            },
            "feature_names": self.feature_names,
            "class_names": self.class_names,
            "metadata": self.metadata,
        }
        text = json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"
        return text.replace(_NO_SEAL, digest_of(text).encode(), 1)

    @classmethod
    def from_bytes(cls, text: bytes, path: Path) -> Manifest:
        """Reads and validates the text of the file.

        Args:
            text: What the file holds.
            path: Where it lies, for the error message.

        Raises:
            StoreError: It was cut, changed, or written by something else.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{path} is not a whole manifest: {error}. The file was cut or "
                f"changed; write the store again."
            ) from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StoreError(
                f"{path} is not the manifest of a store: `format` must be "
                f"{FORMAT!r}. Pass the directory that a StoreWriter wrote."
            )
        if content.get("version") not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise StoreError(
                f"{path} has version {shown(content.get('version'))} of the format; "
                f"this release reads versions {known}. Update sequence_loader, or "
                f"write the store again."
            )
        seal = _SEAL.match(text)
        body = text.replace(seal[1], _NO_SEAL, 1) if seal else text
        if seal is None or digest_of(body).encode() != seal[1]:
            raise StoreError(
                f"{path} was changed after it was written: its digest does not fit "
                f"its content. Restore it, or write the store again."
            )
        try:
            return cls._from_content(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{path} contradicts itself: {error}. Write the store again."
            ) from None

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Manifest:
        """Builds the record from JSON; any exception means that it is malformed."""
        rows, features = map(_count, content["shape"])
        nnz = _count(content["nnz"])
        if content["block_bytes"] != BLOCK_BYTES or content["sorted"] is not True:
            raise ValueError("`block_bytes` or `sorted` is not what this version has")
        arrays = {
            name: StoredArray(
                dtype_named(entry["dtype"]),
                tuple(map(_count, entry["shape"])),
                tuple(map(str, entry["digests"])),
            )
            for name, entry in content["arrays"].items()
        }
        leading = dict.fromkeys(ARRAYS, rows) | {
            "indptr": rows + 1,
            "indices": nnz,
            "data": nnz,
        }
        narrowed = content["version"] == 2
        needed = {"indptr", "indices", *(() if narrowed else ("data",))}
        if not needed <= set(arrays) <= set(ARRAYS):
            raise ValueError(f"`arrays` are {sorted(arrays)}")
        for name, array in arrays.items():
            expected = (leading[name], *(() if name in ARRAYS[:3] else array.shape[1:]))
            if array.shape != expected:
                raise ValueError(f"`{name}` has shape {array.shape}, not {expected}")
            if len(array.digests) != -(-array.nbytes // BLOCK_BYTES):
                raise ValueError(f"`{name}` has {len(array.digests)} digests")
        if arrays["indptr"].dtype != np.int64:
            raise ValueError("`indptr` is not int64")
        kinds, kind = index_dtypes(features), arrays["indices"].dtype
        if kind not in kinds:
            wanted = " or ".join(map(str, kinds))
            raise ValueError(f"`indices` is {kind}, not {wanted}")
        kept = arrays["data"].dtype if "data" in arrays else None
        dtype = dtype_named(content["dtype"]) if narrowed else kept
        fits = not narrowed or kept is None or kept in narrower(dtype)
        if dtype is None or not fits:
            raise ValueError(f"`data` is {kept}, which is not kept for {dtype}")
        names = _names(content["feature_names"])
        if names is not None and len(names) != features:
            raise ValueError(f"{len(names)} `feature_names` for {features} features")
        return cls(
            (rows, features),
            nnz,
            arrays,
            dtype,
            names,
            _names(content["class_names"]),
            dict(content["metadata"]),
        )


def digest_of(content: Any) -> str:
    """BLAKE2b-128 of a bytes-like object, in hex."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def array_path(directory: Path, name: str) -> Path:
    """Where the array `name` of the store at `directory` lies."""
    return directory / f"{name}.npy"


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"{shown(value)} is not a count")
    return value


def _names(value: Iterable[Any] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("names are not all text")
    return names

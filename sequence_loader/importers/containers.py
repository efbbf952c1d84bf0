"""HDF5 files and zarr directories: arrays by name, read along their first axis."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.importers.source import Advance, SourceError, required


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A group, to be closed: a directory is zarr, a file is HDF5."""
    if path.is_dir():
        zarr = required("zarr", "anndata", "reading zarr")
        # Of consolidated metadata, one array of an unknown kind hides all others.
        modern = int(zarr.__version__.partition(".")[0]) >= 3
        options = {"use_consolidated": False} if modern else {}
        yield zarr.open_group(str(path), mode="r", **options)
    else:
        with required("h5py", "anndata", "reading HDF5").File(path, "r") as file:
            yield file


def element(file: Any, path: Path, name: str) -> Any:
    """A part of a file by its path inside it, whose values can be decompressed.

    Raises:
        SourceError: There is no such part, and the message lists the others; or its
            compression needs hdf5plugin, which is not installed.
    """
    parent, _, child = name.rpartition("/")
    group = file[parent] if parent else file
    if child not in group:
        others = ", ".join(names(group)[:20])
        known = f"{others}. Pass a name that it has" if others else "none. Leave it out"
        raise SourceError(f"{path} has no {name!r}; it has {known}.")
    found = group[child]
    check_filters(found, path)
    return found


def is_group(part: Any) -> bool:
    """Whether it holds other parts, and is no array."""
    return not hasattr(part, "shape")


def names(group: Any) -> list[str]:
    """What is in a group, as far as it can be listed."""
    try:
        return sorted(name for name in group if not name.startswith("__"))
    except Exception:  # zarr opens what it lists, and one array may be of any kind
        return []


def attribute(part: Any, name: str, default: Any = None) -> Any:
    """An attribute, whichever of its ways a writer chose: text may be bytes, or
    an array of one text."""
    found = part.attrs.get(name, default)
    if isinstance(found, np.ndarray) and found.size == 1 and found.dtype.kind in "OSU":
        found = found.reshape(-1)[0]
    return found.decode("utf-8") if isinstance(found, bytes) else found


def values(array: Any) -> Array:
    """All of an array of any shape; text as text, whichever way it is stored.

    Raises:
        ValueError: Text is not UTF-8.
    """
    import h5py

    if isinstance(array, h5py.Dataset) and h5py.check_string_dtype(array.dtype):
        array = array.asstr("utf-8")
    found = np.asarray(array[()])
    if found.dtype.kind == "S":
        return np.char.decode(found, "utf-8")
    if found.dtype.kind == "O":
        decoded = [
            each.decode("utf-8") if isinstance(each, bytes) else each
            for each in found.flat
        ]
        found = np.array([*decoded, None], object)[:-1].reshape(found.shape)
    return found


class Stream:
    """A dataset of HDF5 or an array of zarr, read along its first axis."""

    def __init__(self, dataset: Any, advance: Advance | None = None) -> None:
        self._dataset, self._advance = dataset, advance
        self._position = 0
        self.shape: tuple[int, ...] = tuple(dataset.shape)

    def read(self, count: int) -> Array:
        """The next `count` entries."""
        start, self._position = self._position, self._position + count
        found: Array = np.asarray(self._dataset[start : self._position])
        if len(found) != count:
            raise ValueError(f"{self._dataset.name} is too short")
        if self._advance is not None:
            self._advance(found.nbytes)
        return found


def warn_of_lost_chunks(array: Any, path: Path) -> None:
    """Warns where zarr would read zeros for files that are not there.

    Writers leave out what is zero as a whole, which values of a sparse matrix are not.
    """
    lost = getattr(array, "nchunks", 0) - getattr(array, "nchunks_initialized", 0)
    if lost > 0:  # of a shard with room for more chunks, those count as written
        warnings.warn(
            f"{path} lacks {lost} of the {array.nchunks} chunks of {array.name}, which "
            f"zarr reads as zeros. If they were lost, copy the whole directory again.",
            stacklevel=2,
        )


def check_filters(part: Any, path: Path) -> None:
    """Raises SourceError where HDF5 cannot decompress; imports hdf5plugin, if it can.

    Which filters there are is known only when hdf5plugin has been imported.
    """
    import h5py

    if isinstance(part, h5py.Group):
        for name in part:
            # A link of no use, or to another file, is nobody's matter until it is read.
            if isinstance(part.get(name, getlink=True), h5py.HardLink):
                check_filters(part[name], path)
    if not isinstance(part, h5py.Dataset):
        return
    plist = part.id.get_create_plist()
    for number in range(plist.get_nfilters()):
        code, _, _, title = plist.get_filter(number)
        if h5py.h5z.filter_avail(code) or _plugins(code):
            continue
        named = title.decode("utf-8", "replace") or "unknown"
        raise SourceError(
            f"{path} is compressed by filter {code} ({named}), which HDF5 does not "
            f"have here. Install what brings it, most often pip install hdf5plugin, "
            f"and convert again."
        )


def _plugins(code: int) -> bool:
    import h5py

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    return bool(h5py.h5z.filter_avail(code))

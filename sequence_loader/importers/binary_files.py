"""Files that are given as a text or ``.npy`` and are neither: what they are instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.importers.source import open_text
from sequence_loader.importers.stores import is_store

SIGNS = {
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a parquet file",
    b"ARROW1": "an Arrow file",
    b"PK\3\4": "a zip archive",
    b"\x80\2": "a pickle",
    b"\x80\3": "a pickle",
    b"\x80\4": "a pickle",
    b"\x80\5": "a pickle",
    b"\x1f\x8b": "packed",
    b"BZh": "packed",
    b"\xfd7zXZ": "packed",
    b"\xff\xfe": "a text in UTF-16",
    b"\xfe\xff": "a text in UTF-16",
}
"""How files begin, once unpacked, that are no text."""
TABLES = {
    "an HDF5 file": "anndata.read_h5ad({!r}).obs",
    "a zarr directory": "anndata.read_zarr({!r}).obs",
    "a parquet file": "pd.read_parquet({!r})",
    "an Arrow file": "pd.read_feather({!r})",
    "an Excel file": "pd.read_excel({!r})",
}
"""What reads the tables in them."""
MENDS = {
    "a pickle": "Write what it holds with numpy.save, texts with .astype(str)",
    "a directory": "Pass a file",
    "a zip archive": "Unpack it",
    "packed": "Unpack it, or call it .gz, .bz2 or .xz if it is packed so, once",
    "a text in UTF-16": "Write it in UTF-8",
}


def binary_fault(name: str, path: Path, column: str) -> str | None:
    """What a file is, and what to do, if it is no text.

    Args:
        name: The argument that names it: ``"y"`` or ``"sample_weight"``.
        path: The file, or directory.
        column: The column that is asked for, or nothing.

    Returns:
        A clause, and a sentence without its end; `None` of what may be a text.
    """
    kind = _kind(path)
    if kind is None:
        return None
    if kind in TABLES:
        table, label = TABLES[kind].format(str(path)), column or "label"
        mend = f"{table}[[{label!r}]].to_csv('{name}.csv', index=False)"
        mend = f"{mend} writes, as {name}.csv:{label}"
        if name == "y" and kind in ("an HDF5 file", "a zarr directory"):
            option = argument("label_column", label)
            mend = f"{option} instead, if it is the AnnData source, or what {mend}"
        else:
            mend = f"what {mend}"
        mend = f"Pass {mend}"
    elif kind == "a store":
        array = f"open_store({str(path)!r}).{name}"
        mend = f"Pass what np.save('{name}.npy', {array}) writes"
    else:
        mend = MENDS[kind]
    return f"it is {kind}. {mend}"


def begins_as_npy(path: Path) -> bool:
    """Whether a file begins as a ``.npy`` does."""
    with open(path, "rb") as file:
        return file.read(6) == b"\x93NUMPY"


def key_of_archive(path: Path, column: str) -> str:
    """The name of an array in an ``.npz``: the one that is asked for, or the first."""
    with np.load(path) as archive:
        return column if column in archive.files else [*archive.files, "y"][0]


def _kind(path: Path) -> str | None:
    if path.is_dir():
        if is_store(path):
            return "a store"
        zarr = any((path / name).exists() for name in (".zgroup", "zarr.json"))
        return "a zarr directory" if zarr else "a directory"
    try:
        with open_text(path) as file:
            begin = file.read(4096)
    except (OSError, EOFError):  # who reads it says why
        return None
    for sign, kind in SIGNS.items():
        if begin.startswith(sign):
            excel = kind == "a zip archive" and b"[Content_Types].xml" in begin
            return "an Excel file" if excel else kind
    return None

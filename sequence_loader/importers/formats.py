"""The formats that `convert` reads: which reader, which suffixes, which options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import one_of
from sequence_loader.importers.anndata import read_anndata
from sequence_loader.importers.matrix_market import read_matrix_market
from sequence_loader.importers.npz import read_npz
from sequence_loader.importers.source import PACKED, Source
from sequence_loader.importers.stores import is_store, read_stores
from sequence_loader.importers.svmlight import read_svmlight
from sequence_loader.importers.tenx import read_tenx
from sequence_loader.importers.tenx_files import tenx_matrices

FORMATS: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...]]] = {
    "npz": (read_npz, (".npz",), ()),
    "svmlight": (
        read_svmlight,
        (".svmlight", ".svm", ".libsvm"),
        ("num_features", "zero_based", "multilabel", "label_store", "query_ids"),
    ),
    "anndata": (read_anndata, (".h5ad", ".zarr"), ("layer", "label_column")),
    "10x": (read_tenx, (".h5",), ("feature_type", "genome")),
    "matrix-market": (read_matrix_market, (".mtx", ".mm"), ("transpose",)),
    "store": (read_stores, (".store",), ()),
}
"""For each format its reader, the suffixes that name it, and the options it takes."""

ALIASES = {"libsvm": "svmlight", "h5ad": "anndata", "mtx": "matrix-market"}
ALIASES |= {"svm": "svmlight", "mm": "matrix-market", "matrixmarket": "matrix-market"}
"""How formats are called besides."""

USES = {
    "svmlight": ("progress", "class_names", "classes", "like", "dtype"),
    "anndata": ("class_names", "classes", "missing_labels"),
    "10x": ("dtype",),
    "matrix-market": ("dtype",),
    "store": ("class_names",),
}
"""What some readers must know of the arguments for every format."""


def open_files(
    files: list[Path],
    format: str | None,
    scratch: Path,
    options: dict[str, Any],
    shared: dict[str, Any],
) -> list[Source]:
    """Opens files of one format, with the options that are for it.

    Args:
        files: The files, whose rows follow one another.
        format: A key of `FORMATS`; by default what the suffix of the files says.
        scratch: Directory for temporary files.
        options: What the caller gave of the options of formats, by name.
        shared: The arguments for every format that some readers must know (`USES`).

    Raises:
        FileNotFoundError: A file is not there.
        TypeError: An option is of another format.
        ValueError: The format is unknown, or the files are of several; or a file is
            damaged (`SourceError`).
    """
    for file in files:
        if not file.exists():
            raise FileNotFoundError(
                f"{argument('source')} must name files; there is no {file}. Check the "
                f"path; a pattern is expanded by sorted(glob.glob(pattern)), or by the "
                f"shell."
            )
    if isinstance(format, str):
        format = ALIASES.get(format.lower(), format.lower())
    named = [] if format is None else [format]
    formats = named or [format_of(file) for file in files]
    format = one_of("format", formats[0], list(FORMATS))
    if len(set(formats)) > 1:
        raise ValueError(
            f"{argument('source')} must hold files of one format; received "
            f"{', '.join(sorted(set(formats)))}. Convert each format to a store of "
            f"its own, and open them as one."
        )
    reader, suffixes, known = FORMATS[format]
    for name in options:
        if name not in known:
            owners = [each for each in FORMATS if name in FORMATS[each][2]]
            raise TypeError(
                f"{argument(name)} is an option of {', '.join(owners)} files; received "
                f"a file of format {format}. {left_out(name)}."
            )
    options = options | {name: shared[name] for name in USES.get(format, ())}
    found: list[Source] = reader(files, scratch, **options)
    return found


def left_out(name: str) -> str:
    """What to do with an option of another format than the source has."""
    if name not in ("multilabel", "label_store"):
        return "Leave it out"
    return (
        f"Leave it out, and pass {argument('y')} with a column of 0 and 1 for each "
        f"label, as MultiLabelBinarizer(sparse_output=True) of scikit-learn makes it "
        f"of lists of labels, and its classes_ as {argument('class_names')}"
    )


def format_of(path: Path) -> str:
    """The format that the suffix of a file names, or what is in a directory.

    Raises:
        ValueError: No format has that suffix.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".zip"]:
        raise ValueError(
            f"{argument('source')} must name files or directories that are not in "
            f"a .zip; received {path.name}. Unpack it: python -m "
            f"zipfile -e {path} unpacked."
        )
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    for name, (_, known, _) in FORMATS.items():
        if suffixes and suffixes[-1] in known:
            return name
    if path.is_dir():
        if is_store(path):
            return "store"
        if tenx_matrices(path):
            return "10x"
        if any((path / name).exists() for name in (".zgroup", "zarr.json")):
            return "anndata"
        inside = ", ".join(sorted(each.name for each in path.iterdir())[:5])
        raise ValueError(
            f"{argument('source')} must name files, or directories of zarr or 10x "
            f"Genomics; {path} holds {inside or 'nothing'}. Pass the files in it, or "
            f"the directory that holds matrix.mtx."
        )
    listed = ", ".join(suffix for _, known, _ in FORMATS.values() for suffix in known)
    raise ValueError(
        f"{argument('format')} must be given where the suffix is none of {listed}; "
        f"received {path.name}. Pass one of {', '.join(FORMATS)}; convert what is in "
        f"no such file from Python, in blocks, as pandas reads a table with chunksize; "
        f"texts are for vectorize."
    )

"""What Cell Ranger writes, before it is rows: directories and HDF5 files.

The matrix of a directory is MatrixMarket text, genes by cells. That of an HDF5 file
is compressed by cells, so that it is read in order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.importers.containers import (
    Stream,
    element,
    is_group,
    opened,
    values,
)
from sequence_loader.importers.feature_names import (
    Features,
    read_features,
    read_lines,
    unique_names,
)
from sequence_loader.importers.matrix_market import read_matrix_market
from sequence_loader.importers.source import (
    Advance,
    Block,
    Source,
    SourceError,
    check_real_values,
    lines,
    open_text,
    reading,
)
from sequence_loader.importers.streams import csr_blocks

KIND = "10x Genomics"
MATRIX = "matrix.mtx"
TABLES = ("features.tsv", "genes.tsv")
PACKED = ("", ".gz")
V3 = ("features/id", "features/name", "features/feature_type", "features/genome")
V2 = ("genes", "gene_names", "", "")
"""Where the table of features is, by its columns: id, symbol, type and genome."""


@dataclass(frozen=True)
class Matrix:
    """Cells by all features, before what is not wanted is left out.

    Attributes:
        path: A directory, or an HDF5 file.
        shape: (cells, features).
        source: Reads them.
        features: The table of features.
        genomes: That of each feature; none where the file does not say.
        barcodes: Reads those of the cells.
    """

    path: Path
    shape: tuple[int, int]
    source: Source
    features: Features
    genomes: tuple[str, ...]
    barcodes: Callable[[], list[str]]


def tenx_matrices(path: Path) -> list[Path]:
    """The files of a directory that are a matrix of 10x Genomics, by their name."""
    ends = tuple(MATRIX + packed for packed in PACKED)
    return sorted(each for each in path.iterdir() if each.name.endswith(ends))


def read_directory(
    path: Path, scratch: Path, genome: str | None, dtype: np.dtype[Any] | None
) -> Matrix:
    """Opens a directory: MatrixMarket text, with tables beside it."""
    matrices = tenx_matrices(path)
    if len(matrices) != 1:
        what = ", ".join(each.name for each in matrices) or f"no {MATRIX}"
        raise SourceError(
            f"{path} must hold one {MATRIX} or {MATRIX}.gz, with the barcodes and "
            f"features beside it; it has {what}. Pass the directory of one sample: of "
            f"Cell Ranger, filtered_feature_bc_matrix."
        )
    if genome is not None:
        raise TypeError(
            f"{argument('genome')} is known of HDF5 files; received it with the "
            f"directory {path}. Pass the .h5 file beside it, or leave it out."
        )
    matrix = matrices[0]
    prefix = matrix.name[: matrix.name.rindex(MATRIX)]
    table = _beside(path, prefix, TABLES)
    cells = _beside(path, prefix, ("barcodes.tsv",))
    features = read_features(table)
    (source,) = read_matrix_market([matrix], scratch, transpose=True, dtype=dtype)
    with reading(cells, "UTF-8 text"), open_text(cells) as text:
        count = sum(piece.count(b"\n") + (piece[-1:] != b"\n") for piece in lines(text))
    shape = count, source.num_features
    return Matrix(path, shape, source, features, (), lambda: list(read_lines(cells)))


def _beside(folder: Path, prefix: str, names: Sequence[str]) -> Path:
    wanted = [f"{prefix}{name}{packed}" for name in names for packed in PACKED]
    for name in wanted:
        if (folder / name).is_file():
            return folder / name
    raise SourceError(
        f"{folder} must hold {' or '.join(wanted)} beside its matrix; it has none. "
        f"Copy the whole directory."
    )


def read_hdf5(path: Path, scratch: Path, genome: str | None) -> Matrix:
    """Opens an HDF5 file, of version 2 the matrix of one genome."""
    with reading(path, KIND), opened(path) as file:
        where = _group(file, path, genome)
        group = element(file, path, where)
        modern = "features" in group
        columns = [_texts(group, name) for name in (V3 if modern else V2)]
        if len({len(each) for each in columns if each}) > 1:
            raise ValueError("the columns of its features have several lengths")
        ids, symbols, types, genomes = columns
        genomes = genomes if modern else (where,) * len(ids)
        features = Features(ids, unique_names(symbols or ids, ids), types)
        num_features, cells = map(int, group["shape"][()])
        data = group["data"]
        check_real_values(f"{path}: {where}", data.dtype)
        if len(ids) != num_features or group["indptr"].shape != (cells + 1,):
            raise ValueError(
                f"its shape is {num_features} features and {cells} cells, and there "
                f"are {len(ids)} features, and {group['indptr'].shape[0] - 1} cells"
            )
        work = data.shape[0] * (data.dtype.itemsize + group["indices"].dtype.itemsize)

    def blocks(advance: Advance) -> Generator[Block]:
        with reading(path, KIND), opened(path) as again:
            found = element(again, path, where)
            for rows in csr_blocks(
                Stream(found["indptr"]),
                Stream(found["indices"], advance),
                Stream(found["data"], advance),
                num_features,
            ):
                yield Block(rows)

    def barcodes() -> list[str]:
        with reading(path, KIND), opened(path) as again:
            found = values(element(again, path, f"{where}/barcodes")).tolist()
            if len(found) != cells:
                raise ValueError(f"it has {cells} cells, and {len(found)} barcodes")
            return [str(each) for each in found]

    source = Source(str(path), num_features, data.dtype, blocks, work)
    return Matrix(path, (cells, num_features), source, features, genomes, barcodes)


def _group(file: Any, path: Path, genome: str | None) -> str:
    """The group that holds the matrix: of version 2, one for each genome."""
    if "matrix" in file and is_group(file["matrix"]):
        return "matrix"
    groups = [
        name
        for name in file
        if is_group(file[name]) and {"genes", "barcodes"} <= set(file[name])
    ]
    if genome is None and len(groups) == 1:
        return str(groups[0])
    if groups and genome in groups:
        return str(genome)
    if groups:
        raise SourceError(
            f"{path} holds a matrix for each of {', '.join(groups)}. Choose one: "
            f"{argument('genome', groups[0])}."
        )
    found = ", ".join(sorted(file)[:10]) or "nothing"
    mend = "Pass filtered_feature_bc_matrix.h5"
    if "X" in file:
        mend = f"Pass {argument('format', 'anndata')}"
    raise SourceError(
        f"{path} holds {found}, and no matrix of 10x Genomics. {mend}, or convert what "
        f"is in it from Python, in blocks."
    )


def _texts(group: Any, name: str) -> tuple[str, ...]:
    if not name or name not in group:
        return ()
    return tuple(map(str, values(group[name]).tolist()))

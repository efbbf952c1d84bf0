"""Matrices of 10x Genomics, directories and HDF5 files, as a source of rows.

Both list genes by cells; the cells, which have barcodes, are the rows of a store.
Columns can be chosen, and what is known of rows and columns goes with them.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Array, Integers
from sequence_loader.importers.source import Advance, Block, Source, SourceError
from sequence_loader.importers.tenx_files import (
    MATRIX,
    Matrix,
    read_directory,
    read_hdf5,
)
from sequence_loader.rows.csr import CsrRows

MOST_BARCODES = 1 << 18
"""Barcodes that are kept with a store, in which they take 70 bytes of memory each."""


def read_tenx(
    paths: Sequence[Path],
    scratch: Path,
    *,
    feature_type: str | None = None,
    genome: str | None = None,
    dtype: np.dtype[Any] | None = None,
) -> list[Source]:
    """Opens matrices of 10x Genomics; barcodes are rows, symbols the feature names.

    Barcodes and the ids of features come as metadata.

    Args:
        paths: Directories such as ``filtered_feature_bc_matrix``, or ``.h5`` files,
            of any version of Cell Ranger.
        scratch: Directory for the temporary files of text.
        feature_type: ``"Gene Expression"``, say, for the features of that type
            alone. By default all are read, and a warning tells of several types.
        genome: HDF5: the features of one genome alone. Files of version 2 hold a
            matrix for each, and must be told which, if there are several.
        dtype: That of the store, if it was asked for.

    Raises:
        SourceError: A file is missing, damaged, or another one.
    """
    found, sources = [], []
    for path in paths:
        if path.is_dir():
            made = read_directory(path, scratch, genome, dtype)
        else:
            made = read_hdf5(path, scratch, genome)
        source, kinds = _selected(made, feature_type, genome)
        found.append(made)
        sources.append(replace(source, row_names=made.barcodes))
        if len(kinds) > 1:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
            warnings.warn(
                f"{path} has features of several types, and all are read: {counts}. "
                f"For one type alone pass {argument('feature_type', [*kinds][0])}.",
                stacklevel=4,
            )
    cells = sum(each.shape[0] for each in found)
    if cells > MOST_BARCODES:
        warnings.warn(
            f"the barcodes of these {cells:,} rows are not kept with the store, since "
            f"they are more than {MOST_BARCODES:,}. Rows are in their order; keep the "
            f"file of them.",
            stacklevel=4,
        )
        return sources
    return [
        replace(source, row_metadata={"barcodes": source.row_names()})
        for source in sources
        if source.row_names
    ]


def _selected(
    matrix: Matrix, feature_type: str | None, genome: str | None
) -> tuple[Source, Counter[str]]:
    """Rows of the features that were asked for, and how many of each type these are."""
    features, path = matrix.features, matrix.path
    if len(features.ids) != matrix.shape[1]:
        raise SourceError(
            f"{path} has a matrix of {matrix.shape[1]} features, and names of "
            f"{len(features.ids)}. {_header(len(features.ids), matrix.shape[1])}Copy "
            f"the whole directory again; if it lists cells by genes, convert its "
            f"{MATRIX} alone."
        )
    wanted = np.ones(len(features.ids), bool)
    for name, value, listed in (
        ("feature_type", feature_type, features.types),
        ("genome", genome, matrix.genomes),
    ):
        if value is not None and value not in listed:
            known = ", ".join(dict.fromkeys(filter(None, listed)))
            raise SourceError(
                f"{path} has no features of {argument(name, value)}; it "
                f"{'has ' + known if known else 'does not say. Leave it out'}."
            )
        if value is not None:
            wanted &= np.array(listed) == value
    kept = np.flatnonzero(wanted)
    types = [features.types[place] for place in kept] if features.types else []
    kinds = Counter(types)
    about = {"feature_ids": [features.ids[place] for place in kept]}
    if len(kinds) > 1:
        about["feature_types"] = types
    source = replace(
        matrix.source,
        name=str(path),
        num_features=len(kept),
        blocks=_chosen(matrix, kept),
        feature_names=tuple(features.names[place] for place in kept),
        feature_metadata=about,
    )
    return source, kinds


def _chosen(matrix: Matrix, kept: Integers) -> Callable[[Advance], Generator[Block]]:
    """The blocks of a matrix with some of its columns, as many rows as barcodes."""
    cells, num_features = matrix.shape
    place = np.full(num_features, -1, np.int64)
    place[kept] = np.arange(len(kept))

    def blocks(advance: Advance) -> Generator[Block]:
        rows = 0
        for block in matrix.source.blocks(advance):
            rows += block.num_rows
            if len(kept) < num_features:
                block = Block(_columns(block.rows, place, len(kept), matrix.path))
            yield block
        if rows != cells:
            raise SourceError(
                f"{matrix.path} has {rows} cells in its matrix, and {cells} barcodes. "
                f"{_header(cells, rows)}Copy the whole directory again."
            )

    return blocks


def _header(lines: int, expected: int) -> str:
    """What to do about a table of one line too many, ahead of what else may help."""
    header = "Delete the first line of that table, if it is a header. "
    return header if lines == expected + 1 else ""


def _columns(
    rows: CsrRows, place: Integers, num_features: int, path: Path
) -> CsrRows:
    """Some columns: `place` has the new number of each, or -1."""
    old: Array = rows.indices
    if len(old) and not 0 <= int(old.min()) <= int(old.max()) < len(place):
        raise SourceError(
            f"{path} has a feature out of range in its matrix: they are "
            f"{len(place)}. Copy it again."
        )
    new = place[old]
    keep = new >= 0
    ends = np.concatenate([[0], np.cumsum(keep)])[rows.indptr]
    return CsrRows(ends, new[keep], rows.data[keep], num_features)

"""Stores as a source of rows: to be written again, smaller say, or as one."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sequence_loader.arguments import argument
from sequence_loader.arrays import Integers
from sequence_loader.checks import shown
from sequence_loader.importers.labels import NamesOfStore
from sequence_loader.importers.source import Advance, Block, Source
from sequence_loader.store.blocks import WRITE_PIECE_VALUES
from sequence_loader.store.format import MANIFEST, SIDE_FILES
from sequence_loader.store.opening import open_store
from sequence_loader.store.sparse_store import SparseStore

BLOCK_ROWS = 1 << 12


def is_store(path: Path) -> bool:
    """Whether a directory is a store."""
    return (path / MANIFEST).exists()


def read_stores(
    paths: Sequence[Path], scratch: Path, class_names: tuple[str, ...] | None
) -> list[Source]:
    """Opens stores whose rows follow one another.

    Args:
        paths: Their directories.
        scratch: Not needed.
        class_names: What the caller calls the classes, or `None`.

    Raises:
        StoreError: A store is damaged, or they are not alike.
        ValueError: Their classes are called otherwise.
    """
    with open_store(paths) as store:
        known, has_y = store.class_names, store.y is not None
        if has_y and known is not None and class_names not in (None, known):
            labels = "the labels as y, np.array(store.class_names)[store.y]"
            if isinstance(class_names, NamesOfStore):
                raise ValueError(
                    f"the class names of {paths[0]} must be those of the store in "
                    f"{argument('like')}, {shown(class_names)}; it has {shown(known)}. "
                    f"Pass {labels}, where store is open_store({str(paths[0])!r})."
                )
            raise ValueError(
                f"{argument('class_names')} must be those of the store, "
                f"{shown(known)}; received {shown(class_names)}. Leave it out, or pass "
                f"{labels}."
            )
        return [
            Source(
                str(paths[0]),
                store.num_features,
                store.dtype,
                lambda advance: _blocks(paths, advance),
                store.nbytes,
                store.feature_names,
                known if has_y else None,
                metadata=_metadata(paths),
            )
        ]


def copy_vectorizer(paths: Sequence[Path], directory: Path) -> None:
    """Copies what lies beside the rows of one store into the directory of another."""
    beside = [path for path in paths if (path / SIDE_FILES[0]).exists()]
    if len(paths) == 1:
        for name in SIDE_FILES:
            if beside and (paths[0] / name).exists():
                shutil.copyfile(paths[0] / name, directory / name)
    elif beside:
        warnings.warn(
            f"the vectorizer beside the rows of {beside[0]} is not copied into a store "
            f"made of several. Keep that store.",
            stacklevel=3,
        )


def _blocks(paths: Sequence[Path], advance: Advance) -> Generator[Block]:
    with open_store(paths) as store:
        done = 0
        for rows in _pieces(store):
            y, weights = (
                None if column is None else column[rows[0] : rows[-1] + 1]
                for column in (store.y, store.sample_weight)
            )
            yield Block(store.read(rows), y, weights)
            upto = store.nbytes * (int(rows[-1]) + 1) // store.num_rows
            advance(upto - done)
            done = upto


def _pieces(store: SparseStore) -> Iterator[Integers]:
    """Row ids in runs that hold few values, or in one row."""
    count = store.traits.count_values
    start = 0
    while start < store.num_rows:
        rows = np.arange(start, min(start + BLOCK_ROWS, store.num_rows))
        while count and len(rows) > 1 and count(rows) > WRITE_PIECE_VALUES:
            rows = rows[: len(rows) // 2]
        yield rows
        start += len(rows)


def _metadata(paths: Sequence[Path]) -> dict[str, Any]:
    """What all have; what has an entry for each row is joined."""
    found: list[dict[str, Any]] = []
    rows: list[int] = []
    for path in paths:
        with open_store(path) as store:
            found.append(store.metadata)
            rows.append(store.num_rows)
    kept: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in found for name in each):
        entries = [each.get(name) for each in found]
        if all(entry == entries[0] for entry in entries):
            kept[name] = entries[0]
            continue
        lists = [entry for entry in entries if isinstance(entry, list)]
        if [*map(len, lists)] == rows:
            kept[name] = [item for entry in lists for item in entry]
        else:
            warnings.warn(
                f"the stores differ in metadata[{name!r}], which is left out. Pass "
                f"what it should be as metadata={{...}}.",
                stacklevel=6,
            )
    return kept

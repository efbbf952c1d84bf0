"""Blocks of a source into a store, with their labels and weights."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import scipy.sparse as sp

from sequence_loader.importers.columns import Column
from sequence_loader.importers.label_rule import LabelRule
from sequence_loader.importers.side_files import SideFiles
from sequence_loader.importers.source import Block
from sequence_loader.rows.tables import check_columns
from sequence_loader.store.blocks import DenseTargets
from sequence_loader.store.writer import StoreWriter


def write(
    writer: StoreWriter,
    blocks: Iterator[Block],
    y: Column,
    sample_weight: Column,
    rule: LabelRule,
    looked_up: bool,
    beside: SideFiles,
) -> None:
    """Appends blocks, with their part of `y` and `sample_weight`.

    Args:
        writer: The store.
        blocks: Those of one source.
        y: Targets given for all rows, or none: then the blocks hold them.
        sample_weight: Weights, likewise.
        rule: What labels mean.
        looked_up: Whether they are places in the names of classes already.
        beside: What else of a block is written, and where.
    """
    sparse, columns = DenseTargets(), list[tuple[str, ...]]()
    for block in blocks:
        beside.append(block)
        start, stop = writer.num_rows, writer.num_rows + block.num_rows
        for column in y, sample_weight:
            column.note(block.rows)
        labels = y.part(start, stop, block.y)
        weights = sample_weight.part(start, stop, block.sample_weight)
        sparse.add(labels)
        check_columns(labels, columns, "y")
        if labels is not None:
            if not looked_up and not sp.issparse(labels):
                labels = rule.looked_up(labels)
            labels, weights = rule.known(labels, weights, start, places=not looked_up)
        writer.append(block.rows, labels, weights)


def ahead(blocks: Generator[Block]) -> Generator[Block]:
    """The same, with the next one read by a thread while one is written."""
    with closing(blocks), ThreadPoolExecutor(1, "convert") as pool:
        coming = pool.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = pool.submit(next, blocks, None)
            yield block

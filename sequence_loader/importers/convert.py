"""`convert`: files of other formats, or blocks from Python, into a store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from sequence_loader.arguments import argument
from sequence_loader.checks import absolute_path
from sequence_loader.importers.columns import Column
from sequence_loader.importers.formats import left_out, open_files
from sequence_loader.importers.label_rule import LabelRule
from sequence_loader.importers.labels import NamesOfStore
from sequence_loader.importers.model import Model
from sequence_loader.importers.python_blocks import files_or_blocks, read_blocks
from sequence_loader.importers.side_files import check_free, side_files
from sequence_loader.importers.source import (
    Source,
    SourceError,
    common_dtype,
    first_of_alike,
)
from sequence_loader.importers.stores import copy_vectorizer, is_store
from sequence_loader.importers.writing import ahead, write
from sequence_loader.progress import progress_bar
from sequence_loader.rows.indexes import check_names, check_order
from sequence_loader.store.blocks import checked_dtype, checked_names
from sequence_loader.store.dtypes import SMALLEST
from sequence_loader.store.format import MANIFEST
from sequence_loader.store.opening import open_store
from sequence_loader.store.publishing import PendingDirectory
from sequence_loader.store.sparse_store import SparseStore
from sequence_loader.store.writer import OWNED, StoreWriter

PathLike = str | os.PathLike[str]


def convert(
    source: Any,
    path: PathLike,
    *,
    format: str | None = None,
    y: Any = None,
    sample_weight: Any = None,
    dtype: Any = None,
    overwrite: bool = False,
    progress: bool = True,
    feature_names: Iterable[str] | None = None,
    class_names: Iterable[str] | None = None,
    classes: bool | None = None,
    missing_labels: str = "refuse",
    metadata: dict[str, Any] | None = None,
    layer: str | None = None,
    label_column: str | None = None,
    like: PathLike | None = None,
    num_features: int | None = None,
    zero_based: bool | str | None = None,
    multilabel: bool | None = None,
    label_store: PathLike | None = None,
    query_ids: PathLike | None = None,
    transpose: bool | None = None,
    feature_type: str | None = None,
    genome: str | None = None,
) -> SparseStore:
    """Writes a store from something else, in bounded memory.

    Nothing is at `path` until all of it has been written; an error publishes
    nothing. Matrices that are not stored by row are sorted in temporary files
    beside `path`, which the kernel removes with the process.

    Args:
        source: A file, or a sequence of files whose rows follow one another; of zarr,
            10x Genomics and stores, directories. Or a matrix, or an iterable of blocks:
            matrices of shape (n, features), or (block, y) or (block, y,
            sample_weight). A matrix is scipy sparse, an array, a tensor that NumPy
            can take, or a table of numbers (pandas, polars, pyarrow): its columns must
            be the same in all blocks, and if they are called by texts, those are the
            `feature_names`. The first block decides the dtype: where columns of
            integers may have missing values later on, pass `dtype`.
        path: The store to create.
        format: ``"npz"``, ``"svmlight"``, ``"anndata"``, ``"10x"``,
            ``"matrix-market"`` or ``"store"``; by default what the suffix of the file
            says, or what is in the directory.
        y: Targets for all rows, in place of the labels in the source: array-like, in
            the order of the rows, which the index of a table may not contradict; or
            the path of a ``.npy`` file, of a text with a label on each line (packed
            or not), or ``"table.csv:column"``. Text and categories become integers,
            the places of the labels in `class_names`: by default those that occur,
            sorted; of a pandas Categorical, a polars Enum and an ordered dictionary
            of pyarrow all categories, in their order. In a text file of which most
            entries are numbers, one that is none is refused, unless `classes` or
            `class_names` is given; numbers may be in quotes, and several on a line
            are refused. A column goes by its name, or by its number, from
            0, where the first line is of numbers.
        sample_weight: Numbers of shape (rows,), given as `y` is.
        dtype: Type of the stored values. By default that of the source, where it
            has one; of text, float32 for real, int32 for integer and bool for
            pattern matrices; an integer that it cannot hold is refused.
            ``"smallest"`` keeps them in the fewest bytes that lose
            no bit of any, none where all are 1; they are read as that default.
        overwrite: Whether to replace a store at `path`.
        progress: Whether to show a progress bar, if standard error is a terminal.
        feature_names: One name for each feature; by default those of the source.
        class_names: What the integers in `y` stand for. Labels that are text are
            looked up in it, in which case it may hold more than occur; by default
            it holds those of the source.
        classes: Whether labels that are numbers are classes as well, as -1 and 1 are,
            or 1 to k. They are named by their digits, looked up in `class_names`,
            and become places from 0.
        missing_labels: What is done with a row that has no label (NaN, `None`, NA,
            empty text, a place below 0): ``"refuse"``, or ``"zero-weight"``, which
            gives it the label 0 and the `sample_weight` 0.
        metadata: A dict of anything JSON can hold, kept with the store. Of 10x
            Genomics, ``barcodes`` of the rows and ``feature_ids`` are kept there too.
        layer: anndata: a layer to read instead of `X`; or ``"raw/X"``, the matrix of
            `raw`, with the names of ``raw.var``.
        label_column: anndata: a column of `obs` for `y`.
        like: A store that the new one must fit to, as validation data must to
            training data: it has the same features, the same `class_names`, or more
            behind them, and by default the same dtype; of svmlight, columns count
            from the same number.
        num_features: svmlight: number of columns, where the last ones are unused.
        zero_based: svmlight: whether columns count from 0. By default they count
            from 1 if no file uses column 0; which it was is in
            ``metadata["svmlight"]``. Must be given beside `num_features` where both
            would fit.
        multilabel: svmlight: whether a row has any number of labels; `y` is then
            uint8 of shape (rows, labels), with a column for each of `class_names`.
        label_store: svmlight: a second store to create, for the labels of rows that
            have any number of them, as sparse rows: labels that would be much larger
            than the rows when dense. ``SparseBatchSequence(open_store(path),
            open_store(label_store))`` serves them dense, a batch at a time.
        query_ids: svmlight: a ``.npy`` file to create, for the number after ``qid:``
            of each row.
        transpose: matrix-market: whether columns are the rows wanted.
        feature_type: 10x: the features of one type alone, ``"Gene Expression"``. By
            default all are read, and several types warned of.
        genome: 10x: the features of one genome of an ``.h5`` file alone.

    Returns:
        The store, open.

    Raises:
        FileExistsError: Something is at `path` that may not be replaced.
        ImportError: A package is missing; the message names the extra.
        OSError: A file cannot be read, or the store cannot be written.
        TypeError: An argument is of the wrong type, or not one of the format.
        ValueError: A source is damaged, or does not fit the arguments.

    Example:
        >>> store = convert("cells.h5ad", "cells.store", label_column="cell_type")
        >>> store = convert(["a.npz", "b.npz"], "ab.store", y=labels, dtype="float32")
        >>> store = convert(((x, y) for x, y in blocks), "blocks.store")
        >>> import pandas as pd
        >>> frames = pd.read_csv("table.csv", chunksize=4096)
        >>> parts = ((frame.drop(columns="kind"), frame["kind"]) for frame in frames)
        >>> store = convert(parts, "table.store", class_names=["a", "b"])
    """
    path = absolute_path("path", path)
    if label_store is not None:
        label_store = absolute_path("label_store", label_store, "labels.store")
    if query_ids is not None:
        query_ids = absolute_path("query_ids", query_ids, "query_ids.npy")
    options = {
        "layer": layer,
        "label_column": label_column,
        "num_features": num_features,
        "zero_based": zero_based,
        "multilabel": multilabel,
        "label_store": label_store,
        "query_ids": query_ids,
        "transpose": transpose,
        "feature_type": feature_type,
        "genome": genome,
    }
    options = {name: value for name, value in options.items() if value is not None}
    check_order((("source", source), ("y", y), ("sample_weight", sample_weight)))
    files, blocks = files_or_blocks(source)
    if label_store == path:
        raise ValueError(
            f"{argument('label_store')} must be another path than {argument('path')}; "
            f"received {path} for both. Pass for example {path.stem}.labels.store."
        )
    with warnings.catch_warnings():
        # Ask now whether the store may be written, not after hours of parsing. The
        # writer asks again, and warns of what others left.
        warnings.simplefilter("ignore")
        for target in (path, label_store):
            if target is not None:
                PendingDirectory(target, OWNED, MANIFEST, overwrite).discard()
    if query_ids is not None:
        check_free(query_ids, overwrite)
    model = None if like is None else Model.of(like)
    names = checked_names("class_names", class_names, None)
    if model is not None:
        given, names = names, model.classes(names)
        names = names if given or names is None else NamesOfStore(names)
    rule = LabelRule(names, classes, missing_labels)
    targets = Column("y", y, names, bool(classes))
    weights = Column("sample_weight", sample_weight)
    smallest = isinstance(dtype, str) and dtype == SMALLEST
    wanted = None if dtype is None or smallest else checked_dtype(dtype)
    if wanted is None and model is not None:
        wanted = model.dtype
    shared = {
        "progress": progress,
        "class_names": names if y is None else None,
        "classes": bool(classes) and y is None,
        "missing_labels": missing_labels if y is None else "zero-weight",
        "like": model,
        "dtype": wanted,
    }
    sources = (
        open_files(files, format, path.parent, options, shared)
        if files
        else [_from_python(blocks, format, options)]
    )
    for name, table in ("y", y), ("sample_weight", sample_weight):
        check_names(name, table, lambda: _row_names(sources))
    first = first_of_alike(sources)
    if first.num_features == 0:
        raise SourceError(
            f"{first.name} has no columns, and a store has at least one feature. "
            f"Check that it is the file that was meant."
        )
    if len(sources) == 1 and first.transposed is not None:
        turned = first.num_features, not first.transposed
        targets.turned = weights.turned = turned
    called = checked_names("feature_names", feature_names, None) or first.feature_names
    if model is not None:
        model.check(first, called)
        called = model.feature_names if called is None else called
    read_as = checked_dtype(common_dtype(sources)) if wanted is None else wanted
    found = first.class_names if y is None else targets.class_names
    writer = StoreWriter(
        path,
        first.num_features,
        dtype=SMALLEST if smallest else read_as,
        overwrite=overwrite,
        feature_names=called,
        class_names=found if names is None else names,
        metadata=_metadata(sources, metadata),
    )
    if files or model is not None:  # else, of the first block, which all must be like
        writer.dtype = read_as
    work = [each.work for each in sources]
    total = None if None in work else sum(each or 0 for each in work)
    bar = progress_bar("write", total, "bytes", shown=progress)
    beside = side_files(label_store, first.class_names, query_ids, overwrite)
    with writer, bar as advance, beside as files_beside:
        copy_vectorizer(list(filter(is_store, files)), writer.directory)
        for each in sources:
            made = each.blocks(advance)
            writer.block_name = each.name if files else "block"
            # A user's iterator may be bound to the thread that it was made in.
            with closing(ahead(made) if files else made) as ready:
                looked_up = found is not None
                write(writer, ready, targets, weights, rule, looked_up, files_beside)
        targets.check_length(writer.num_rows)
        weights.check_length(writer.num_rows)
    return open_store(path)


def _from_python(
    blocks: Iterable[Any], format: str | None, options: dict[str, Any]
) -> Source:
    given = [*options, *(["format"] if format is not None else [])]
    if given:
        raise TypeError(
            f"{argument(given[0])} is an option of files; received it with a source of "
            f"blocks. {left_out(given[0])}."
        )
    return read_blocks(blocks)


def _row_names(sources: Sequence[Source]) -> list[str]:
    """What the rows are called, if all sources say it."""
    if not all(each.row_names for each in sources):
        return []
    return [name for each in sources if each.row_names for name in each.row_names()]


def _metadata(sources: Sequence[Source], given: Any) -> Any:
    """What the sources keep with the store, and what the caller gave, which wins."""
    if given is not None and not isinstance(given, dict):
        return given  # for the writer to refuse
    kept: dict[str, Any] = sources[0].metadata | sources[0].feature_metadata
    for name in sources[0].row_metadata:
        kept[name] = [entry for each in sources for entry in each.row_metadata[name]]
    return kept | (given or {})

"""BatchReader: row ids -> features, targets and weights of one batch.

It is picklable, knows no backend, and what it returns is sparse where the rows are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array, Integers
from sequence_loader.batches.batch import Batch
from sequence_loader.batches.dtypes import checked_dtype, whole_numbers
from sequence_loader.batches.fingerprint import fingerprint
from sequence_loader.batches.inputs import InputReader, checked_transforms, make_reader
from sequence_loader.batches.structures import (
    Structure,
    from_list,
    leaves,
    map_structure,
    named_parts,
    names,
)
from sequence_loader.batches.targets import Seen, check_numbers, read_numbers
from sequence_loader.batches.targets import target_sources, weight_sources
from sequence_loader.checks import shown
from sequence_loader.order.plan import BatchPlan, PlannedBatch
from sequence_loader.rows.indexes import check_names, check_order
from sequence_loader.rows.read_counts import ReadCounts
from sequence_loader.rows.sources import (
    RowSource,
    as_row_source,
    count_values,
    traits_of,
)
from sequence_loader.rows.values import DoesNotFit, floating


class BatchReader:
    """Reads batches by row id. Safe to share by threads; picklable.

    Args:
        x: Row source or structure of them, as `SparseBatchSequence` takes it.
        y: Targets, or `None` for those of the store.
        sample_weight: Weights, or `None` for those of the store.
        transform: Callable, structure of callables, or `None`.
        dtype: What each input is served as: see `checked_dtypes`.
        floats: What floats are served as where that is `None`.
        held_as: See `Assembler`.

    Attributes:
        names: What the user calls each input, a structure.
        num_rows: How many rows there are.

    Raises:
        TypeError: An argument is of a kind that cannot be served.
        ValueError: Rows are missing, or arguments do not fit together.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        transform: Structure | None = None,
        dtype: Structure = None,
        floats: Any = "float32",
        held_as: Callable[[np.dtype[Any]], np.dtype[Any]] = np.dtype,
    ) -> None:
        # scipy's dictionary of keys is a dict, but not one of inputs.
        x, y = map(_no_dictionary, (x, y))
        listed = isinstance(x, list)
        x = from_list(x, transform)
        self._listed = listed and isinstance(x, tuple)
        transform = checked_transforms(transform, x)
        self.names = names("x", x)
        whole = whole_numbers(dtype, self.names, checked_dtype(floats), held_as)
        self._features = map_structure(as_row_source, x, self.names, transform, whole)
        if not leaves(self._features):
            raise ValueError(
                f"`x` must hold at least one input; received {shown(x)}. Pass a "
                f"matrix, or a dict or tuple of matrices."
            )
        if isinstance(x, RowSource):  # a store may carry its own labels and weights
            y = getattr(x, "y", None) if y is None else y
            if sample_weight is None:
                sample_weight = getattr(x, "sample_weight", None)
        self.num_rows: int = leaves(self._features)[0].num_rows
        named = named_parts(x, y, sample_weight, transform, self.num_rows)
        check_order(named)
        for store, names_of_rows in _barcodes(named):
            for name, table in named:
                check_names(name, table, lambda: names_of_rows, store)
        self._targets = target_sources(y, self.num_rows)
        self._weights = weight_sources(sample_weight, self._targets, self.num_rows)
        self._check_lengths()
        self.inputs: Structure = map_structure(
            make_reader, self._features, self.names, transform, whole
        )
        self._seen = Seen()
        # By identity: a store may be features and targets as well.
        read = {id(each): each for each in (*self.sources, *leaves(self._targets))}
        traits = [traits_of(source) for source in read.values()]
        self._looking_ahead = [one.look_ahead for one in traits if one.look_ahead]
        self._counting = [one.read_counts for one in traits if one.read_counts]

    @property
    def sources(self) -> list[RowSource]:
        """The row sources of the features."""
        return leaves(self._features)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """A line for each part of the data, by which changed data are known."""
        return {name: fingerprint(source) for name, source in self._named()}

    @property
    def num_columns(self) -> int:
        """The most that sparse rows have which are served without a transform."""
        return max(
            0 if reader.transform else getattr(reader.source, "num_features", 0)
            for reader in leaves(self.inputs)
        )

    def look_ahead(self, plan: BatchPlan, epoch: int, number: int) -> None:
        """Tells sources that can read ahead which batch is about to be read."""
        for hint in self._looking_ahead:
            hint(plan, epoch, number)

    def read_counts(self) -> ReadCounts:
        """What has been read from all sources that count."""
        return ReadCounts.total(counts() for counts in self._counting)

    def check_numbers(self, rows: Integers | None) -> None:
        """Raises ValueError where a row has no target or weight; see `targets`."""
        check_numbers(self._targets, "y", rows)
        check_numbers(self._weights, "sample_weight", rows)

    def read(self, batch: PlannedBatch, features: Structure | None = None) -> Batch:
        """Reads one batch.

        Args:
            batch: Row ids, and the weights that mark padding.
            features: What `read_features` gives for these rows, if it has been
                called already, here or in another process.

        Returns:
            The batch; its arrays belong to nobody else.
        """
        rows = batch.rows
        if features is None:
            features = self.read_features(rows)
        self.check_widths(features)
        if self._targets is None:
            return Batch(features, None, None)
        targets = self._numbers("y", self._targets, rows)
        weights, padding = None, batch.weights
        if self._weights is not None:
            weights = self._numbers("sample_weight", self._weights, rows)
            try:
                weights = map_structure(floating, weights)
            except DoesNotFit as error:
                raise error.of_rows(rows) from None
            if padding is not None:
                weights = map_structure(lambda w: w * _like(padding, w), weights)
        elif padding is not None:
            weights = map_structure(lambda _: padding.copy(), targets)
        return Batch(features, targets, weights)

    def _numbers(self, argument: str, sources: Structure, rows: Integers) -> Structure:
        return map_structure(
            lambda source, name: read_numbers(source, name, rows, self._seen),
            sources,
            names(argument, sources),
        )

    @property
    def reads_together(self) -> bool:
        """Whether `read_together` may be called, and is faster.

        A transform is given one batch. Windows of a store are followed batch by
        batch, and what a source of the user's own costs is not known.
        """
        return not self.has_transform and all(
            traits_of(source).reads_together for _, source in self._named()
        )

    def read_together(
        self, plan: BatchPlan, epoch: int, numbers: range, *, copy: bool = False
    ) -> list[Batch]:
        """What `read` gives for each of several neighbours, from one reading.

        Args:
            plan: Which rows are in which batch.
            epoch: Epoch of the data.
            numbers: Numbers of the batches.
            copy: Whether their sparse features must not be views of common arrays.

        Returns:
            The batches. Features that are views are each in a place of their own.
        """
        for number in numbers:
            self.look_ahead(plan, epoch, number)
        batches = plan.together(epoch, numbers.start, numbers.stop)
        whole, count = self.read(batches), len(batches.rows)
        return [
            whole.cut(start, min(start + plan.batch_size, count), copy=copy)
            for start in range(0, count, plan.batch_size)
        ]

    def read_features(self, rows: Integers) -> Structure:
        """The features of some rows: of a batch, or of a part of one.

        Args:
            rows: int64 array of shape (n,), row ids.

        Returns:
            Structure of canonical `CsrRows` and arrays of shape (n, ...).
        """
        return map_structure(lambda reader: reader.serve(rows), self.inputs)

    def count_values(self, rows: Integers) -> Structure:
        """How many values some rows of the sources hold, at most.

        Args:
            rows: int64 array of shape (n,), row ids.

        Returns:
            Structure of integers; 0 for sources of dense rows.
        """
        return map_structure(lambda source: count_values(source, rows), self._features)

    @property
    def threads_help(self) -> bool:
        """Whether several threads read faster than the one that asks.

        Files that are mapped, and code of the user's, gain from threads. Rows in
        memory, and those of a store, which reads ahead itself, are taken up to four
        times as slowly by several.
        """
        return self.may_be_slow or any(
            traits_of(source).threads_help for source in self.sources
        )

    @property
    def may_be_slow(self) -> bool:
        """Whether a batch comes through code of the user's, of whatever cost."""
        return self.has_transform or not all(
            traits_of(source).fast for source in self.sources
        )

    @property
    def has_transform(self) -> bool:
        """Whether the rows of an input are transformed."""
        return any(reader.transform is not None for reader in leaves(self.inputs))

    def check_widths(self, features: Structure) -> None:
        """Raises ValueError if a transform gives other features than before."""
        map_structure(InputReader.check_width, self.inputs, features)

    def _named(self) -> list[tuple[str, RowSource]]:
        """All row sources, and what the user calls them."""
        parts = {"x": self._features, "y": self._targets}
        parts["sample_weight"] = self._weights
        return [
            (name, source)
            for argument, part in parts.items()
            if part is not None
            for name, source in zip(leaves(names(argument, part)), leaves(part))
        ]

    def _check_lengths(self) -> None:
        for name, source in self._named():
            if source.num_rows != self.num_rows:
                first = leaves(self.names)[0]
                rows = "np.asarray(x), or a transform, if each is a row"
                raise ValueError(
                    f"`{name}` must have as many rows as `{first}`, which has "
                    f"{self.num_rows}; received {source.num_rows} rows. Pass arrays "
                    f"that describe the same rows"
                    f"{f' ({rows})' if self._listed else ''}."
                )


def _no_dictionary(value: Any) -> Any:
    return value.tocsr() if sp.issparse(value) and value.format == "dok" else value


def _barcodes(named: list[tuple[str, Any]]) -> list[tuple[str, list[str]]]:
    """What the rows of stores of 10x Genomics are called."""
    found = []
    for name, source in named:
        metadata = getattr(source, "metadata", None)
        if isinstance(source, RowSource) and isinstance(metadata, dict):
            if isinstance(metadata.get("barcodes"), list):
                found.append((name, metadata["barcodes"]))
    return found


def _like(mask: Array, weights: Array) -> Array:
    """The padding mask, with axes and dtype to multiply `weights` by."""
    shaped = mask.reshape(-1, *[1] * (weights.ndim - 1))
    return shaped.astype(weights.dtype)

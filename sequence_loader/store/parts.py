"""The parts of a store as one matrix: which part holds a row, and reading rows.

Rows are taken from the maps (`StoreParts.gather`), or located (`StoreParts.locate`)
and read into memory of one's own (`StoreParts.fill`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.arrays import Array, Integers, distinct
from sequence_loader.checks import shown
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.memory.page_cache import File
from sequence_loader.rows.csr import CsrRows, canonical, ends_of, joined
from sequence_loader.rows.gather import gather
from sequence_loader.rows.read_counts import ReadCounter
from sequence_loader.store.format import StoreError
from sequence_loader.store.part import StorePart


class Located(NamedTuple):
    """Where the values of ascending rows lie.

    Attributes:
        owners: Integer array of shape (n,): the number of the part of each row.
        starts: int64 array of shape (n,): where it starts among the part's values.
        stops: int64 array of shape (n,): where it stops.
    """

    owners: Integers
    starts: Integers
    stops: Integers


FILL_PIECE_BYTES, FILL_PIECE_ROWS = 1 << 23, 1 << 12
"""Bytes and rows that the kernel is asked for at a time, while those before are
copied: enough reads in flight for any disk. One thread that asks ahead (1.3 GB/s in
blocks of 16 long rows, 0.55 in blocks of short ones) was faster than 1 to 16 threads
that read (0.9 to 1.4, 0.25), and than O_DIRECT (0.9, 0.2)."""


class StoreParts:
    """Store directories whose rows follow one another.

    Args:
        paths: Absolute paths.
        identities: Digests of the manifests, where the parts are reopened and must
            be those they were.

    Raises:
        FileNotFoundError: There is no store at a path.
        StoreError: A part is damaged, or they are not alike.
    """

    def __init__(
        self, paths: Sequence[Path], identities: Sequence[str] | None = None
    ) -> None:
        self.list: list[StorePart] = []
        try:
            for path in paths:
                self.list.append(StorePart(path))
            self._check_identities(identities)
            self._check_alike()
        except BaseException:
            self.close()
            raise
        self.pool = BufferPool(spare=2)  # of batches
        self.counter = ReadCounter()
        self.first_rows = np.cumsum([0, *(part.num_rows for part in self.list)])
        self.num_rows = int(self.first_rows[-1])
        self.num_features = self.list[0].num_features
        self.dtype = self.list[0].dtype
        self.index_dtype = self.list[0].manifest.arrays["indices"].dtype
        # Parts may keep values in several types, which that of the store holds.
        kinds = {part.kept_as for part in self.list}
        self.kept_as = kinds.pop() if len(kinds) == 1 else self.dtype
        self.value_bytes = self.index_dtype.itemsize
        if self.kept_as is not None:
            self.value_bytes += self.kept_as.itemsize
        self.nbytes = sum(part.nbytes for part in self.list)
        self.nnz = sum(part.manifest.nnz for part in self.list)
        more = f" and {len(self.list) - 1} more" if len(self.list) > 1 else ""
        self.name = f"{self.list[0].path}{more}"

    @property
    def files(self) -> list[File]:
        """The open files."""
        return [file for part in self.list for file in part.files()]

    def gather(self, rows: Integers) -> CsrRows:
        """Rows out of the maps, in the order given; see `StorePart.gather`."""
        if len(self.list) == 1:
            return self.list[0].gather(rows)
        owner = np.searchsorted(self.first_rows, rows, side="right") - 1
        order = np.argsort(owner, kind="stable")
        cuts = np.searchsorted(owner[order], np.arange(len(self.list) + 1)).tolist()
        pieces = [
            part.gather(rows[order[start:stop]] - first)
            for part, first, start, stop in zip(
                self.list, self.first_rows.tolist(), cuts, cuts[1:]
            )
            if stop > start
        ]
        if not pieces:
            return self.list[0].gather(rows)
        if len(pieces) == 1:
            return pieces[0]  # a stable sort of rows of one part changes nothing
        places = np.empty(len(rows), np.int64)
        places[order] = np.arange(len(rows))
        return gather(joined(pieces), places)

    def advise(self, rows: Integers) -> None:
        """Asks for rows to be read soon, side by side.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Raises:
            StoreError: An ``indptr.npy`` is damaged.
        """
        located = self.locate(distinct(rows))
        cuts = np.searchsorted(located.owners, np.arange(len(self.list) + 1)).tolist()
        for part, start, stop in zip(self.list, cuts, cuts[1:]):
            part.advise(located.starts[start:stop], located.stops[start:stop])

    def locate(self, rows: Integers) -> Located:
        """Finds rows.

        Args:
            rows: int64 array of shape (n,), ascending, each in ``[0, num_rows)``.

        Raises:
            StoreError: An ``indptr.npy`` is damaged.
        """
        cuts = np.searchsorted(rows, self.first_rows)
        owners = np.repeat(np.arange(len(self.list)), np.diff(cuts))
        starts, stops = np.empty_like(rows), np.empty_like(rows)
        for part, first, start, stop in zip(
            self.list, self.first_rows.tolist(), cuts.tolist(), cuts[1:].tolist()
        ):
            if stop > start:
                own = rows[start:stop] - first
                part.advise_bounds(own)
                starts[start:stop], stops[start:stop] = part.bounds(own)
        return Located(owners, starts, stops)

    def fill(
        self,
        located: Located,
        places: Integers,
        indices: Array,
        data: Array | None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Reads the values of rows, with many reads in flight.

        Args:
            located: The rows.
            places: int64 array of shape (rows,): where the values of each row go.
            indices: Array of shape (nnz,) to fill, of the store's index dtype.
            data: Array of shape (nnz,) to fill, of the type `kept_as`; `None` where
                all values are 1.
            cancelled: Asked now and then whether to stop.

        Raises:
            StoreError: A file is shorter than when the store was opened.
        """
        starts, stops = located.starts, located.stops
        ends = np.cumsum(stops - starts) * self.value_bytes
        total = int(ends[-1]) if len(ends) else 0
        cuts = np.searchsorted(located.owners, np.arange(len(self.list) + 1))
        borders = np.arange(FILL_PIECE_BYTES, total, FILL_PIECE_BYTES)
        long = np.searchsorted(ends, borders)
        many = np.arange(FILL_PIECE_ROWS, len(starts), FILL_PIECE_ROWS)
        bounds = distinct(np.concatenate([cuts, long, many])).tolist()
        pieces = [
            (self.list[located.owners[start]], slice(start, stop))
            for start, stop in zip(bounds, bounds[1:])
        ]
        for part, rows in pieces[:1]:
            part.advise(starts[rows], stops[rows])
        for number, (part, rows) in enumerate(pieces):
            if cancelled():
                return
            for following, ahead in pieces[number + 1 : number + 2]:
                following.advise(starts[ahead], stops[ahead])
            part.fetch(starts[rows], stops[rows], places[rows], indices, data)
            taken = int((stops[rows] - starts[rows]).sum())
            self.counter.add(bytes_read=taken * self.value_bytes)

    def read(self, rows: Integers) -> CsrRows:
        """Rows from the files, in the order given, into memory of their own size.

        Args:
            rows: int64 array of shape (n,), each in ``[0, num_rows)``.

        Returns:
            Canonical rows.

        Raises:
            StoreError: A file is damaged.
            DamagedRows: A column index is out of range, or they do not ascend.
        """
        order = np.argsort(rows, kind="stable")
        located = self.locate(rows[order])
        lengths = np.empty(len(rows), np.int64)
        lengths[order] = located.stops - located.starts
        indptr = ends_of(lengths)
        count = int(indptr[-1])
        indices = np.empty(count, self.index_dtype)
        data = None if self.kept_as is None else np.empty(count, self.kept_as)
        self.fill(located, indptr[:-1][order], indices, data)
        values = np.ones(count, self.dtype) if data is None else data
        values = values.astype(self.dtype, copy=False)
        batch = CsrRows(indptr, indices, values, self.num_features)
        return canonical(batch, self.name, rows, must_ascend=True)

    def column(self, name: str) -> Array | None:
        """`y` or `sample_weight` of all rows, or `None`."""
        found = [part.arrays[name] for part in self.list if name in part.arrays]
        if not found:
            return None
        # Several parts are copied together: some bytes a row, beside kilobytes.
        return found[0] if len(self.list) == 1 else np.concatenate(found)

    def close(self) -> None:
        """Closes the files."""
        for part in self.list:
            part.close()
        self.pool = BufferPool(spare=2)

    def _check_identities(self, identities: Sequence[str] | None) -> None:
        for part, identity in zip(self.list, identities or ()):
            if part.identity != identity:
                raise StoreError(
                    f"{part.path} is not the store it was: it has been replaced since "
                    f"it was opened or pickled. Open it again with open_store."
                )

    def _check_alike(self) -> None:
        first = self.list[0]
        for part in self.list[1:]:
            for what, one, other in (
                ("features", first.num_features, part.num_features),
                ("dtype", *(str(p.dtype) for p in (first, part))),
                (
                    "type of column indices",
                    *(str(p.arrays["indices"].dtype) for p in (first, part)),
                ),
                ("feature_names", *(p.manifest.feature_names for p in (first, part))),
                ("class_names", *(p.manifest.class_names for p in (first, part))),
            ):
                if one != other:
                    raise StoreError(
                        f"parts must be alike; {part.path} differs from {first.path} "
                        f"in its {what}: {shown(other)} and {shown(one)}. Write all "
                        f"parts with the same arguments, and the same release."
                    )
        for name in ("y", "sample_weight"):
            kinds: dict[Any, StorePart] = {
                _kind(part.arrays.get(name)): part
                for part in self.list
                if part.num_rows
            }
            if len(kinds) > 1:
                kind, other_kind, *_ = kinds
                raise StoreError(
                    f"parts must be alike; {kinds[other_kind].path} differs from "
                    f"{kinds[kind].path} in its `{name}`: {_described(other_kind)} "
                    f"and {_described(kind)}. Write all parts with the same kind of "
                    f"`{name}`."
                )


def _described(kind: Any) -> str:
    if kind is None:
        return "none"
    return f"{kind[0]} of shape ({', '.join(['rows', *map(str, kind[1])])})"


def _kind(array: Array | None) -> Any:
    return None if array is None else (array.dtype, array.shape[1:])

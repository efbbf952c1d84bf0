"""The parts of a store as one matrix: which part holds a row, and reading by rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequence_loader.checks import shown
from sequence_loader.csr import Array, CsrRows, gather
from sequence_loader.permutation import Integers
from sequence_loader.store_format import StoreError
from sequence_loader.store_part import StorePart


class Extent(NamedTuple):
    """Ascending rows of one part, and where their values lie.

    Attributes:
        part: The part.
        starts: int64 array of shape (n,): where each row starts among its values.
        stops: int64 array of shape (n,): where each row stops.
    """

    part: StorePart
    starts: Integers
    stops: Integers


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
        self.first_rows = np.cumsum([0, *(part.num_rows for part in self.list)])
        self.num_rows = int(self.first_rows[-1])
        self.num_features = self.list[0].num_features
        arrays = self.list[0].manifest.arrays
        self.dtypes = arrays["indices"].dtype, arrays["data"].dtype
        self.nbytes = sum(part.nbytes for part in self.list)

    @property
    def bytes_per_value(self) -> int:
        """Bytes of a column index and a value."""
        return sum(dtype.itemsize for dtype in self.dtypes)

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
        lengths = np.concatenate([np.diff(piece.indptr) for piece in pieces])
        place = np.empty(len(rows), np.int64)
        place[order] = np.arange(len(rows))
        return gather(
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([piece.indices for piece in pieces]),
            np.concatenate([piece.data for piece in pieces]),
            place,
            self.num_features,
        )

    def extents(self, rows: Integers) -> list[Extent]:
        """Where rows lie.

        Args:
            rows: int64 array of shape (n,), ascending, each in ``[0, num_rows)``.

        Returns:
            An extent for each part that has some of them, in order.
        """
        cuts = np.searchsorted(rows, self.first_rows).tolist()
        return [
            Extent(part, *part.bounds(rows[start:stop] - first))
            for part, first, start, stop in zip(
                self.list, self.first_rows.tolist(), cuts, cuts[1:]
            )
            if stop > start
        ]

    def column(self, name: str) -> Array | None:
        """`y` or `sample_weight` of all rows, or `None`."""
        found = [part.arrays[name] for part in self.list if name in part.arrays]
        if not found:
            return None
        # Several parts are copied together: some bytes a row, beside kilobytes.
        return found[0] if len(self.list) == 1 else np.concatenate(found)

    def damage(self) -> Iterator[tuple[int, str | None]]:
        """Reads everything; see `StorePart.damage`."""
        for part in self.list:
            part.check_sizes()
            yield from part.damage()

    def close(self) -> None:
        """Closes the files."""
        for part in self.list:
            part.close()

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
                ("dtype", *(str(p.arrays["data"].dtype) for p in (first, part))),
                ("feature_names", *(p.manifest.feature_names for p in (first, part))),
                ("class_names", *(p.manifest.class_names for p in (first, part))),
            ):
                if one != other:
                    raise StoreError(
                        f"parts must be alike; {part.path} differs from {first.path} "
                        f"in its {what}: {shown(other)} and {shown(one)}. Write all "
                        f"parts with the same arguments."
                    )
        for name in ("y", "sample_weight"):
            kinds: dict[Any, StorePart] = {
                _kind(part.arrays.get(name)): part
                for part in self.list
                if part.num_rows
            }
            if len(kinds) > 1:
                one, other = (str(part.path) for part in list(kinds.values())[:2])
                raise StoreError(
                    f"parts must be alike; {one} and {other} differ in the presence, "
                    f"dtype or shape of `{name}`. Write all parts with the same kind "
                    f"of `{name}`."
                )


def _kind(array: Array | None) -> Any:
    return None if array is None else (array.dtype, array.shape[1:])

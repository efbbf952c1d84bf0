"""The two shapes that everything is measured on.

TEXT, word n-grams: 20,000 features, 86 nonzeros a row, 688 bytes as CSR.
CELLS, single-cell counts: 30,000 features, 1,500 nonzeros a row, 12 kB as CSR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

CLASSES = 20


@dataclass(frozen=True)
class Shape:
    """What a matrix looks like.

    Attributes:
        name: What it is called.
        features: Number of columns.
        per_row: Nonzeros in each row.
    """

    name: str
    features: int
    per_row: int

    def matrix(self, rows: int) -> tuple[sp.csr_array, npt.NDArray[np.int64]]:
        """Random float32 rows with int32 indices, and a label for each."""
        rng = np.random.default_rng(0)
        # One column in each of `per_row` equal strips: distinct and sorted already.
        strip = self.features // self.per_row
        columns = rng.integers(0, strip, (rows, self.per_row), dtype=np.int32)
        columns += strip * np.arange(self.per_row, dtype=np.int32)
        indptr = np.arange(0, rows * self.per_row + 1, self.per_row, dtype=np.int32)
        x = sp.csr_array(
            (
                rng.random(rows * self.per_row, dtype=np.float32),
                columns.ravel(),
                indptr,
            ),
            shape=(rows, self.features),
        )
        return x, rng.integers(0, CLASSES, rows)


TEXT = Shape("TEXT", 20_000, 86)
CELLS = Shape("CELLS", 30_000, 1_500)
SHAPES = {shape.name: shape for shape in (TEXT, CELLS)}

"""Names of the array types that every room hands on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Integers = npt.NDArray[np.int64]
"""Row ids, positions and counts."""

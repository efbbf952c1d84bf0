"""The header of the ``.npy`` files of a store, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The header of a ``.npy`` file of format 1.0.

    Its length depends on the dtype and on all axes but the first, so that it can
    be written before the number of rows is known; and not on NumPy's release, so
    that a reader can compare it byte for byte.
    """
    kind = f"<V{dtype.itemsize}" if dtype.kind == "V" else dtype.newbyteorder("<").str

    def literal(first: int | str) -> str:
        axes = ", ".join(map(str, (first, *shape[1:])))
        comma = "," if len(shape) == 1 else ""
        return (
            f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': ({axes}{comma}), }}"
        )

    reserved = len(literal("9" * 20)) + 1
    length = -(-(10 + reserved) // 64) * 64  # the values start aligned to 64 bytes
    text = literal(shape[0]).ljust(length - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (length - 10).to_bytes(2, "little") + text.encode()

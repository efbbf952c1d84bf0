"""Batch -> served features: dense arrays in recycled memory, or sparse rows.

The last step that is the same for every backend: dtype, dense memory, and the
user's `augment` with its own random generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sequence_loader.arrays import Array
from sequence_loader.batches.reader import Batch
from sequence_loader.batches.structures import (
    Structure,
    described,
    map_structure,
    names,
    same_shape,
)
from sequence_loader.checks import check_real, one_of, shown
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.order.permutation import derive_key
from sequence_loader.rows.as_csr import from_scipy
from sequence_loader.rows.csr import HALF, CsrRows, canonical

OUTPUTS = ("dense", "sparse", "csr")

Augment = Callable[[Any, np.random.Generator], Any]


class Assembler:
    """Turns what a `BatchReader` read into features of the served dtype.

    Args:
        output: ``"dense"``, ``"sparse"`` or ``"csr"``.
        dtype: dtype of the served features.
        augment: ``(x, rng) -> x`` on the assembled batch, or `None`.
        num_inputs: How many inputs a batch has.

    Raises:
        TypeError: `augment` is not callable, or `dtype` not real.
        ValueError: `output` is not known.
    """

    def __init__(
        self, output: str, dtype: Any, augment: Augment | None, num_inputs: int = 1
    ) -> None:
        self.output: str = one_of("output", output, OUTPUTS)
        self.dtype = _checked_dtype(dtype)
        if output == "csr" and self.dtype.name in HALF:
            raise ValueError(
                f"`dtype` must be one that scipy computes with when output='csr'; "
                f"received {self.dtype.name}. Pass dtype='float32'."
            )
        if augment is not None and not callable(augment):
            raise TypeError(
                f"`augment` must be a callable (x, rng) -> x; received "
                f"{shown(augment)} of type {type(augment).__name__}. Pass a function."
            )
        self.augment = augment
        self.pool = BufferPool(spare=2 * num_inputs)  # indices and values of each

    def assemble(
        self, batch: Batch, seed: int, epoch: int, number: int
    ) -> Batch:
        """Assembles one batch.

        Args:
            batch: What the reader read.
            seed: Seed of the sequence.
            epoch: Epoch of the data.
            number: Number of the batch among those of all processes.

        Returns:
            The batch with features that are `CsrRows` or arrays of the dtype to
            serve.
        """
        dense = self.output == "dense"
        features = map_structure(
            lambda block: self._assemble_input(block, dense), batch.features
        )
        if self.augment is not None:
            key = derive_key("augment", seed, epoch, number)
            rng = np.random.Generator(np.random.Philox(key=key[:2]))
            features = self._augmented(self.augment, features, rng)
        return Batch(features, batch.targets, batch.weights)

    def _assemble_input(self, block: CsrRows | Array, dense: bool) -> CsrRows | Array:
        if dense or not isinstance(block, CsrRows):
            return to_dense(block, self.dtype, self.pool)
        if block.data.dtype == self.dtype:
            return block
        return replace(block, data=block.data.astype(self.dtype))

    def _augmented(
        self, augment: Augment, features: Structure, rng: np.random.Generator
    ) -> Structure:
        given = map_structure(
            lambda f: f.widened().to_scipy() if isinstance(f, CsrRows) else f, features
        )
        result = augment(given, rng)
        if not same_shape(given, result):
            raise ValueError(
                f"`augment` must return what it is given, {described(given)}; it "
                f"returned {described(result)}. Return features of the same structure."
            )
        return map_structure(self._checked_augmented, result, given, names("x", given))

    def _checked_augmented(self, result: Any, given: Any, name: str) -> CsrRows | Array:
        sparse = sp.issparse(given)
        if not (sp.issparse(result) if sparse else isinstance(result, np.ndarray)):
            raise TypeError(
                f"`augment` must return `{name}` as a "
                f"{'scipy sparse matrix' if sparse else 'NumPy array'}, as it is "
                f"given; it returned {type(result).__name__}. Convert the result."
            )
        check_real(f"augment({name})", result.dtype)
        if result.shape != given.shape:
            raise ValueError(
                f"`augment` must keep the shape of `{name}`, {given.shape}; it "
                f"returned shape {result.shape}. Change values, not rows or features."
            )
        if not sparse:
            same: Array = np.asarray(result).astype(self.dtype, copy=False)
            return same
        rows = from_scipy(result, f"augment({name})")
        rows = replace(
            rows,
            indptr=rows.indptr.astype(np.int64),
            data=rows.data.astype(self.dtype, copy=False),
        )
        return canonical(rows, f"augment({name})")


def to_dense(
    block: CsrRows | Array, dtype: npt.DTypeLike, pool: BufferPool
) -> Array:
    """Assembles dense features in recycled memory.

    Args:
        block: Canonical CSR rows, or an array of shape (batch, ...).
        dtype: dtype to serve.
        pool: Where the memory comes from.

    Returns:
        Array of shape (batch, features), or of the shape of `block`.
    """
    if isinstance(block, CsrRows):
        shape = (block.num_rows, block.num_features)
        return block.to_dense(pool.zeros(shape, dtype))
    out = pool.empty(block.shape, dtype)
    np.copyto(out, block, casting="unsafe")
    return out


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
        check_real("dtype", found)
    except TypeError:
        raise TypeError(
            f"`dtype` must name a NumPy dtype of real numbers; received "
            f"{shown(dtype)}. Pass for example dtype='float32'."
        ) from None
    native: np.dtype[Any] = found.newbyteorder("=")  # no backend takes the other
    return native

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
from sequence_loader.batches.batch import Batch
from sequence_loader.batches.dtypes import checked_dtype, checked_dtypes, mend_for
from sequence_loader.batches.structures import (
    Structure,
    described,
    leaves,
    map_structure,
    names,
    same_shape,
)
from sequence_loader.checks import check_real, check_unmasked, one_of, shown
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.order.permutation import derive_key
from sequence_loader.rows.as_csr import from_scipy
from sequence_loader.rows.csr import HALF, CsrRows, canonical
from sequence_loader.rows.values import DoesNotFit, cast, check_fits, wider

OUTPUTS = ("dense", "sparse", "csr")

Augment = Callable[[Any, np.random.Generator], Any]


class Assembler:
    """Turns what a `BatchReader` read into features of the served dtype.

    Sparse rows and floats are served as `floats`, unless a dtype is asked for:
    integers and booleans in arrays, which are ids as often as amounts, as they are.

    Args:
        output: ``"dense"``, ``"sparse"`` or ``"csr"``.
        dtype: dtype of all features, or a structure like `inputs` of dtypes and
            `None`.
        augment: ``(x, rng) -> x`` on the assembled batch, or `None`.
        inputs: What the user calls each input: a structure like a batch's features.
        floats: The default dtype.
        held_as: dtype -> the one whose values are all that the engine keeps of it.

    Raises:
        TypeError: `augment` is not callable, or a dtype not real.
        ValueError: `output` is not known, or `dtype` of another structure.
    """

    def __init__(
        self,
        output: str,
        dtype: Structure,
        augment: Augment | None,
        inputs: Structure = "x",
        floats: Any = "float32",
        held_as: Callable[[np.dtype[Any]], np.dtype[Any]] = np.dtype,
    ) -> None:
        self.output: str = one_of("output", output, OUTPUTS)
        self._inputs = inputs
        self._floats = checked_dtype(floats)
        self._dtypes = checked_dtypes(dtype, inputs)
        self._held_as = held_as
        self._kept: dict[str, np.dtype[Any]] = {}  # of arrays, by name
        for each in leaves(self._dtypes):
            asked = self._floats if each is None else each
            if output == "csr" and asked.name in HALF:
                raise ValueError(
                    f"`dtype` must be one that scipy computes with when output='csr'; "
                    f"received {asked.name}. Pass dtype='float32'."
                )
        if augment is not None and not callable(augment):
            raise TypeError(
                f"`augment` must be a callable (x, rng) -> x; received "
                f"{shown(augment)} of type {type(augment).__name__}. Pass a function."
            )
        self.augment = augment
        # Indices and values of each.
        self.pool = BufferPool(spare=2 * len(leaves(inputs)))

    @property
    def dtypes(self) -> str:
        """The dtype that is asked for of each input, or the one of floats."""
        asked = leaves(self._dtypes)
        return ", ".join(str(self._floats if each is None else each) for each in asked)

    def assemble(self, batch: Batch, seed: int, epoch: int, number: int) -> Batch:
        """Assembles one batch.

        Args:
            batch: What the reader read.
            seed: Seed of the sequence.
            epoch: Epoch of the data.
            number: Number of the batch among those of all processes.

        Returns:
            The batch with features that are `CsrRows` or arrays of the dtype to
            serve.

        Raises:
            DoesNotFit: A dtype cannot hold a value.
            TypeError: `transform` gave another dtype than before.
        """
        dense = self.output == "dense"
        features = map_structure(
            lambda block, name, dtype: self._assemble_input(block, name, dtype, dense),
            batch.features,
            self._inputs,
            self._dtypes,
        )
        if self.augment is not None:
            key = derive_key("augment", seed, epoch, number)
            rng = np.random.Generator(np.random.Philox(key=key[:2]))
            features = self._augmented(self.augment, features, rng)
        map_structure(self._check_held, features, self._inputs)
        for name, given in ("y", batch.targets), ("sample_weight", batch.weights):
            if given is not None:
                map_structure(self._check_held, given, names(name, given))
        return Batch(features, batch.targets, batch.weights)

    def _assemble_input(
        self,
        block: CsrRows | Array,
        name: str,
        asked: np.dtype[Any] | None,
        dense: bool,
    ) -> CsrRows | Array:
        dtype = self._default(block, name) if asked is None else asked
        if dtype.kind == "f":  # integers are looked at before they are floats
            self._check_held(block, name, "iu", dtype)
        try:
            if dense or not isinstance(block, CsrRows):
                return to_dense(block, dtype, self.pool)
            if block.data.dtype == dtype:
                return block
            return replace(block, data=cast(block.data, dtype))
        except DoesNotFit as error:
            mend = mend_for(block, error, self._held_as)
            raise error.named(name, block, mend) from None

    def _default(self, block: CsrRows | Array, name: str) -> np.dtype[Any]:
        """The dtype to serve where none was asked for: that of the first batch."""
        integers = not isinstance(block, CsrRows) and block.dtype.kind in "biu"
        dtype: np.dtype[Any] = self._floats
        if integers and isinstance(block, np.ndarray):
            dtype = block.dtype.newbyteorder("=")  # no backend takes the other
        kept = self._kept.setdefault(name, dtype)
        if dtype != kept:
            both = self._floats
            if dtype.kind in "biu" and kept.kind in "biu":
                both = np.result_type(dtype, kept)
            raise TypeError(
                f"`{name}` must have one dtype in all batches, which models are built "
                f"for; this one has {dtype} after {kept}. Pass dtype={both.name!r} for "
                f"it, or return one dtype from the transform."
            )
        return dtype

    def _check_held(
        self,
        block: CsrRows | Array,
        name: str,
        kinds: str = "iuf",
        served: np.dtype[Any] | None = None,
    ) -> None:
        """Raises DoesNotFit where the engine would keep other values.

        Args:
            block: The values.
            name: What the user calls them.
            kinds: Of which kinds of dtype they are looked at.
            served: Their dtype where the engine gets them, if it is another.
        """
        values = block.data if isinstance(block, CsrRows) else block
        dtype = served or values.dtype
        held = self._held_as(dtype)
        if held == dtype or values.dtype.kind not in kinds:
            return
        try:
            check_fits(values, held)
        except DoesNotFit as error:
            mend = "Scale them down"
            if values.dtype.kind != "f":
                mend = (
                    f"Number what they stand for from 0, as np.unique({name}, "
                    f"return_inverse=True)[1] does, convert them to floats first, "
                    f"where they are amounts"
                )
            mend += ", or set jax_enable_x64 before anything is imported."
            rule = f"and JAX, which makes {held} of {dtype}, cannot hold it"
            raise error.named(name, block, mend, rule) from None

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
        return map_structure(
            self._checked_augmented, result, given, self._inputs, features
        )

    def _checked_augmented(
        self, result: Any, given: Any, name: str, before: CsrRows | Array
    ) -> CsrRows | Array:
        dtype = before.data.dtype if isinstance(before, CsrRows) else before.dtype
        sparse = sp.issparse(given)
        if not (sp.issparse(result) if sparse else isinstance(result, np.ndarray)):
            raise TypeError(
                f"`augment` must return `{name}` as a "
                f"{'scipy sparse matrix' if sparse else 'NumPy array'}, as it is "
                f"given; it returned {type(result).__name__}. Convert the result."
            )
        check_unmasked(f"augment({name})", result)
        check_real(f"augment({name})", result.dtype)
        if result.shape != given.shape:
            raise ValueError(
                f"`augment` must keep the shape of `{name}`, {given.shape}; it "
                f"returned shape {result.shape}. Change values, not rows or features."
            )
        rows: CsrRows | Array = np.asarray(result)
        if sparse:
            found = from_scipy(result, f"augment({name})")
            found = replace(found, indptr=found.indptr.astype(np.int64))
            rows = canonical(found, f"augment({name})")
        try:
            if isinstance(rows, CsrRows):
                return replace(rows, data=cast(rows.data, dtype))
            return cast(rows, dtype)
        except DoesNotFit as error:
            other = wider(np.dtype(result.dtype), dtype, error.value)
            mend = f"Return values of {dtype}, which it is given"
            mend += "." if other is None else f", or pass dtype={other!r} for it."
            raise error.named(f"augment({name})", rows, mend) from None


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

    Raises:
        DoesNotFit: The dtype cannot hold a value.
    """
    dtype = np.dtype(dtype)
    if isinstance(block, CsrRows):
        shape = (block.num_rows, block.num_features)
        if block.data.dtype != dtype:
            block = replace(block, data=cast(block.data, dtype))
        return block.to_dense(pool.zeros(shape, dtype))
    return cast(block, dtype, pool.empty(block.shape, dtype))

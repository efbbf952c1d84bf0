"""Targets and weights: `y` and `sample_weight` -> row sources of numbers -> arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sequence_loader.arrays import Array
from sequence_loader.batches.structures import (
    Structure,
    described,
    leaves,
    map_structure,
    names,
    same_shape,
)
from sequence_loader.checks import shown
from sequence_loader.rows.csr import CsrRows
from sequence_loader.rows.sources import Block, RowSource, as_row_source


def target_sources(y: Any) -> Structure | None:
    """Structure of row sources for `y`; `None` where it is.

    Raises:
        TypeError: It does not hold numbers.
        ValueError: It is empty, or has rows of different shapes.
    """
    return None if y is None else _sources("y", y)


def weight_sources(sample_weight: Any, targets: Structure | None) -> Structure | None:
    """Structure of row sources for `sample_weight`: one, or one for each target.

    Args:
        sample_weight: What the user passed, or `None`.
        targets: What `target_sources` made of `y`, or `None`.

    Raises:
        TypeError: See `target_sources`.
        ValueError: See `target_sources`; or it does not fit the targets.
    """
    if sample_weight is None:
        return None
    if targets is None:
        raise ValueError(
            "`sample_weight` needs `y`: Keras weights the loss of targets; "
            "received sample_weight without y. Pass y as well."
        )
    nested = isinstance(sample_weight, dict | tuple)
    if nested and not same_shape(targets, sample_weight):
        raise ValueError(
            f"`sample_weight` must be one array, or have the structure of `y`, "
            f"{described(targets)}; received {described(sample_weight)}. "
            f"Pass one weight array for each target."
        )
    return _sources("sample_weight", sample_weight)


def numbers(block: Block) -> Array:
    """Rows of targets as an array, in the byte order of the machine."""
    if isinstance(block, CsrRows):
        shape = (block.num_rows, block.num_features)
        block = block.to_dense(np.zeros(shape, block.data.dtype))
    block = np.asarray(block)
    # No backend takes the other byte order.
    return block.astype(block.dtype.newbyteorder("="), copy=False)


def floating(block: Block) -> Array:
    """Rows of weights as a floating array."""
    weights = numbers(block)
    return weights if weights.dtype.kind == "f" else weights.astype(np.float32)


def _sources(argument: str, value: Any) -> Structure:
    """Wraps targets or weights, which must be numbers already."""

    def wrap(leaf: Any, name: str) -> RowSource:
        own = isinstance(leaf, RowSource) and leaf.numeric  # a store, for example
        if not sp.issparse(leaf) and (not own or isinstance(leaf, np.ndarray)):
            leaf = as_array(leaf, name)
            if leaf.dtype.kind in "OUST":
                mend = "Pass one number for each row"
                if argument == "y":
                    mend = (
                        f"Encode labels as integers, for example with "
                        f"np.unique({name}, return_inverse=True)[1]"
                    )
                first = leaf[:3].tolist() if leaf.ndim else leaf.item()
                raise TypeError(
                    f"`{name}` must hold numbers; received dtype {leaf.dtype}: "
                    f"{shown(first)}. {mend}."
                )
            if leaf.ndim == 0:
                # Third in line is where other loaders take the batch size.
                hint = "; batch_size goes by name" * (name == "sample_weight")
                raise ValueError(
                    f"`{name}` must have one entry for each row of `x`; received "
                    f"the scalar {shown(leaf.item())}. Pass an array{hint}."
                )
        return as_row_source(leaf, name)

    if not leaves(value):
        raise ValueError(
            f"`{argument}` must hold at least one array; received {shown(value)}. "
            f"Pass None to leave it out."
        )
    return map_structure(wrap, value, names(argument, value))


def as_array(value: Any, name: str) -> Array:
    """An array of what may be a list; raises ValueError where its rows differ."""
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(
            f"`{name}` must hold rows of one shape; received {shown(value)}, whose "
            f"rows differ. Pad them to one length."
        ) from None

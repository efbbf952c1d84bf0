"""JAX: sparse tensors, of one process or in their place among those of several.

JAX holds a batch of all processes as one array. A dense one is put together from
each process's rows. A sparse one has to be served as if it were whole: of the
global shape, with the process's rows in their place, and with as many entries on
every process: otherwise they compile different programs at different steps, which
JAX does not allow (a CPU happens to train them rightly, JAX 0.10). They agree on that
number without talking, because what each of them serves is a pure function: every
process counts what all of them are about to send.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sequence_loader.backends.coo import fill_coo, padded_nse
from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras
from sequence_loader.batches.structures import Structure, map_structure
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows.csr import CsrRows, index_type


@dataclass(frozen=True, slots=True)
class SparsePart:
    """Where the rows of a process lie in a BCOO that JAX holds as one array.

    Attributes:
        index: Place of the process among those that share the batch.
        count: How many there are.
        entries: How many entries every process serves, padding included.
    """

    index: int
    count: int
    entries: int


def bcoo(block: CsrRows, pool: BufferPool, part: SparsePart | None = None) -> Any:
    """``BCOO`` of shape (batch, features), padded to one of a few sizes."""
    from jax.experimental.sparse import BCOO

    stored, num_rows = len(block.data), block.num_rows
    entries = padded_nse(stored) if part is None else part.entries
    check_columns(block.num_features)
    data = pool.empty((entries,), block.data.dtype)
    indices = pool.empty((entries, 2), index_type(block.num_features))
    fill_coo(block, indices, data)
    if part is not None:
        num_rows = part.count * block.num_rows
        indices[:stored, 0] += part.index * block.num_rows
        indices[stored:, 0] = num_rows
    return BCOO(
        (data, indices),
        shape=(num_rows, block.num_features),
        indices_sorted=part is None,  # they are not in the array of all processes
        unique_indices=True,
    )


def check_columns(num_features: int) -> None:
    """Refuses rows whose columns JAX would count with integers that are too small.

    Raises:
        ValueError: A BCOO of so many columns needs int64, which JAX does not hold.
    """
    if index_type(num_features) == np.int64 and held_as(np.dtype(np.int64)) == np.int32:
        raise ValueError(
            f"`x` must have at most {2**31 - 1} columns where it is served sparse on "
            f"JAX, which counts them in int32; it has {num_features}. Use another "
            f"backend, or set jax_enable_x64 before anything is imported."
        )


def held_as(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What the backend makes of a dtype: JAX knows no numbers of 64 bits."""
    if dtype.itemsize < 8 or dtype.kind not in "iuf" or keras_backend() != "jax":
        return dtype
    import jax

    return dtype if jax.config.jax_enable_x64 else np.dtype(f"{dtype.kind}4")


def sparse_parts(
    features: Structure,
    shard: tuple[int, int],
    count_values: Callable[[int], Structure],
) -> Structure:
    """How each sparse input is to be served in the job that runs.

    Args:
        features: Structure of `CsrRows` and arrays: this process's batch.
        shard: ``(index, count)`` of the sequence.
        count_values: Shard index -> how many values the batch of that process holds
            in each input, at most.

    Returns:
        A `SparsePart` for each input, or `None` where a batch is one process's own.

    Raises:
        ValueError: `shard` does not describe the job.
    """
    shared = distribution()
    if shared is None:
        return map_structure(lambda _: None, features)
    if not joins_processes():
        raise ValueError(
            "`output` must be 'dense' where keras.distribution shares the batches of "
            "one process out, which JAX cannot do with a BCOO; received "
            "output='sparse'. Pass output='dense', or set no distribution."
        )
    own, count = place(shared)
    if shard[1] != count:
        raise not_the_job(shard, own, count)
    counts = map(count_values, range(count))
    return map_structure(
        lambda *values: SparsePart(own, count, padded_nse(max(values))), *counts
    )


def distribution() -> Any:
    """Keras's distribution, if there is one and the backend is JAX."""
    if uses_legacy_keras() or keras_backend() != "jax":
        return None
    import keras

    return keras.distribution.distribution()


def joins_processes() -> bool:
    """Whether JAX runs in a job of several processes."""
    import jax

    return int(jax.process_count()) > 1


def shares_replica() -> bool:
    """Whether processes have one replica between them, and need the same rows."""
    shared = distribution()
    return shared is not None and place(shared)[1] < processes()[1]


def place(distribution: Any) -> tuple[int, int]:
    """(index, count) of the parts that a batch is put together from."""
    import jax
    import keras

    if isinstance(distribution, keras.distribution.DataParallel):
        return jax.process_index(), jax.process_count()
    # Processes that share a replica of the model are given the same rows.
    replicas = min(distribution.num_model_replicas, jax.process_count())
    return distribution.data_shard_id, replicas


def processes() -> tuple[int, int]:
    """(index, count) of this process in a job that keras.distribution joins."""
    if distribution() is None or not joins_processes():
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def gathered(text: str) -> list[str]:
    """What each process of the job says, by index; all call it at the same step."""
    from jax.experimental.multihost_utils import process_allgather

    own = np.frombuffer(text.encode(), np.uint8)
    sizes = np.ravel(process_allgather(np.array(len(own), np.int32)))
    padded = np.zeros(max(1, *sizes.tolist()), np.uint8)
    padded[: len(own)] = own
    rows = process_allgather(padded).reshape(len(sizes), -1)
    return [row[:size].tobytes().decode() for row, size in zip(rows, sizes)]


def not_the_job(shard: tuple[int, int], place: int, count: int) -> ValueError:
    return ValueError(
        f"`shard` must have count {count}, the number of processes that "
        f"keras.distribution joins; received shard={shard}. Pass shard="
        + ("current_shard(), which is " if count == processes()[1] else "")
        + f"({place}, {count}) here."
    )

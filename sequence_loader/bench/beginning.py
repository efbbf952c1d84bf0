"""What is known before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.bench.results import Results
from sequence_loader.bench.space import usable_cpus
from sequence_loader.memory.free_memory import free_memory
from sequence_loader.store.sparse_store import SparseStore

_OF_A_STORE = "rows", "features", "nonzeros", "bytes", "fits_in_memory", "y"


def unopened_results(paths: Sequence[str]) -> Results:
    """What is known of a store that is not open yet: `None` for all there is to know.

    Args:
        paths: Of the store, as the user wrote them.
    """
    return Results(
        list(paths),
        store={"paths": list(paths), **dict.fromkeys(_OF_A_STORE)},
        machine={"cpus": usable_cpus(), "free_memory": free_memory(), "backend": None},
    )


def empty_results(paths: list[str], store: SparseStore, trains: bool) -> Results:
    """What is known of a store that is open.

    Args:
        paths: Of the store, as the user wrote them.
        store: It, open.
        trains: Whether there is a model.
    """
    y, windows = store.y, store.traits.stays_here
    states = ["cold"] if windows else ["warm", "cold"]
    if not hasattr(os, "posix_fadvise"):
        states.remove("cold")
    notes = []
    if windows:
        notes.append(
            "the store is larger than the memory there is: it is read from the disk in "
            "every epoch, and not measured warm."
        )
    if not trains:
        notes.append(
            "`output` is what the model takes: with --model it is found out, and `fit` "
            "is measured."
        )
    results = unopened_results(paths)
    known = (
        *(store.num_rows, store.num_features, store.nnz, store.nbytes, not windows),
        None if y is None else f"{y.dtype.name} {y.shape}",
    )
    results.store.update(zip(_OF_A_STORE, known))
    results.machine["backend"] = keras_backend()
    results.states, results.notes = states, notes
    results.main_state = states[0] if states else "warm"
    return results

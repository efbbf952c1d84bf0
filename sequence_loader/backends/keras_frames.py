"""Who calls a sequence, which Keras does not say.

Keras tells a sequence the number of a batch and nothing else: not which `fit` or
`evaluate` asks, nor whether it only looks at the shapes. The frames of its data
adapters do: one adapter belongs to each `fit`, `evaluate` and `predict`, and each of
its iterators has an `indices` (tf-keras: `order`) of its own. Everything that leans on
such names stands here and in `keras_calls`. `tests/keras_contract/test_frames.py` says
when they move; what is not found then counts as read by a loop of the user's own, see
`EpochTracker`.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from sequence_loader.backends.keras_calls import (
    CALLBACKS,
    FEED,
    GENERATOR,
    GRAPH,
    PROCESS,
    TRAINER,
    adapter_of,
    dataset_call,
    is_of_sequence,
    role_of,
    running_call,
)
from sequence_loader.backends.stacks import locals_of, outwards


@dataclass(frozen=True, eq=False)
class Reader:
    """Who asks for a batch, or calls a hook.

    Attributes:
        consumer: The data adapter of a `fit`, `evaluate` or `predict`; `None` for a
            loop of the user's own, and where nobody is found.
        run: What an iterator of the adapter has of its own: another object, another
            iterator. `None` where they cannot be told apart, as of a generator.
        peeks: Whether the batch is read for its shapes, to be thrown away.
        is_last: Whether it is the last one that this iterator asks for.
        is_enqueuer: Whether this is the enqueuer's thread, which calls
            `on_epoch_end` as well as the thread that trains.
        by_enqueuer: Whether threads or processes of Keras 3 read, which it is told to
            by a dataset of the user's own.
        has_hooks: Whether Keras calls the hooks of its data.
    """

    consumer: Any = None
    run: Any = None
    peeks: bool = False
    is_last: bool = False
    is_enqueuer: bool = False
    by_enqueuer: bool = False
    has_hooks: bool = True


NOBODY = Reader()


def reader() -> Reader:
    """Who calls the method of a sequence that calls this; see `Reader`."""
    in_graph = peeks = False
    run = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:  # asked for every batch: faster than `outwards`
        role = role_of(frame.f_code.co_filename)
        if role == FEED:
            found = _of_feed(frame)
            if found is not None:
                return found
        elif role == CALLBACKS:
            return NOBODY
        elif role == TRAINER:
            consumer = adapter_of(frame)
            if consumer is not None:
                return _of_others([consumer], run, peeks)
            peeks = peeks or frame.f_code.co_name == "_symbolic_build"
        elif role == GENERATOR and "iterator_id" in frame.f_code.co_varnames:
            local = locals_of(frame)
            dataset, iterator = local["generator_state"], local["iterator_id"]
            run = _generator_run(id(dataset), int(iterator))
        elif role == PROCESS and frame.f_code.co_name == "_bootstrap":
            break  # further out are frames of the process that forked this one
        in_graph = in_graph or role == GRAPH
        frame = frame.f_back
    if in_graph:  # a dataset of the user's own, which asks from threads of its own
        call = dataset_call()
        return _of_others(call.around, run, call.peeks)
    return NOBODY


def read_elsewhere(consumer: Any) -> tuple[bool, bool]:
    """Of an `on_epoch_end` for batches that were read in other processes.

    Args:
        consumer: Of the `Reader` that calls the hook.

    Returns:
        Whether processes of Keras read a whole epoch, and whether they read another.
    """
    told = _enqueuer(consumer)
    if hasattr(consumer, "py_dataset"):  # Keras 3 asks the dataset, tf-keras `fit`
        told = told and consumer.py_dataset
    if told is None or not told.use_multiprocessing:
        return False, False
    for frame in outwards(sys._getframe(1)):
        name = frame.f_code.co_name
        if name == "enumerate_epochs":  # tf-keras
            local = locals_of(frame)
            handler = local["self"]
            steps = handler._inferred_steps
            whole = steps is None or steps >= consumer.get_size()
            return whole, whole and local["epoch"] + 1 < handler._epochs
        if name in ("_enumerate_iterator", "enumerate_epoch"):  # Keras 3
            iterator = locals_of(frame)["self"]
            steps = iterator.steps_per_epoch
            whole = steps is None or steps >= consumer.num_batches
            # Keras 3.7 and newer fork before their next begin, older ones behind it.
            forks_before = hasattr(iterator, "_enumerate_iterator")
            if forks_before and name == "enumerate_epoch":
                return False, False  # the input ran out of data
            return whole, whole and forks_before
        if name == "reset":
            return False, False
    return False, False


@dataclass(frozen=True)
class Steps:
    """The steps of an epoch of Keras, which reads ahead of them.

    Attributes:
        count: How many.
        batches: How many the data has.
        begins_anew: Whether the next epoch begins at batch 0, as in tf-keras.
        follows: Whether there is a next one in the same call, of tf-keras.
    """

    count: int
    batches: int
    begins_anew: bool = False
    follows: bool = False


def steps_of(consumer: Any) -> Steps | None:
    """Of an `on_epoch_end` for a sequence: the steps, where they were asked for."""
    if consumer is None or not is_of_sequence(consumer):
        return None
    for frame in outwards(sys._getframe(1)):
        if frame.f_code.co_name == "enumerate_epochs":  # tf-keras
            local = locals_of(frame)
            handler, steps = local["self"], local["self"]._inferred_steps
            if steps is None:
                return None
            follows = local["epoch"] + 1 < handler._epochs
            return Steps(int(steps), consumer.get_size(), True, follows)
        if role_of(frame.f_code.co_filename) == TRAINER:
            if adapter_of(frame) is consumer:
                iterator = locals_of(frame)["epoch_iterator"]
                if iterator.steps_per_epoch is None:
                    return None
                # Of steps that are made at once Keras trains all.
                at_once = int(getattr(iterator, "steps_per_execution", 1))
                steps = -(-iterator.steps_per_epoch // at_once) * at_once
                return Steps(steps, consumer.num_batches)
    return None


def calls_hooks(consumer: Any, sequence: Any) -> bool:
    """Whether Keras calls the hooks of this very sequence for a consumer."""
    held = getattr(consumer, "_keras_sequence", None)
    return getattr(consumer, "py_dataset", held) is sequence


_adapters: weakref.WeakSet[Any] = weakref.WeakSet()  # those seen: enqueuers are found


def _of_feed(frame: FrameType) -> Reader | None:
    """Who reads, by the frame of an adapter or an enqueuer, or of none of them."""
    name, local = frame.f_code.co_name, locals_of(frame)
    if name == "get_index":
        return _of_enqueuer(local.get("uid"))
    owner = local.get("self")  # a closure's too
    if name.startswith("<") or owner is None:
        return None
    if name == "_run":
        return Reader(is_enqueuer=True)
    if not hasattr(owner, "on_epoch_end"):
        return None
    _adapters.add(owner)
    by_enqueuer = getattr(owner, "enqueuer", None) is not None
    if name == "get_tf_dataset" or (name == "__init__" and is_of_sequence(owner)):
        peeks = is_of_sequence(owner)
        return Reader(owner, peeks=peeks, by_enqueuer=by_enqueuer)
    indices = local.get("indices", local.get("order"))
    if indices is None:
        has_hooks = is_of_sequence(owner)
        return Reader(owner, has_hooks=has_hooks, by_enqueuer=by_enqueuer)
    is_last = local.get("i") == indices[-1]
    return Reader(owner, indices, peeks=_builds(frame), is_last=is_last)


@functools.lru_cache(maxsize=256)
def _generator_run(dataset: int, iterator: int) -> object:
    """The same object for one iterator of ``tf.data.Dataset.from_generator``."""
    return object()


def _of_others(adapters: Iterable[Any], run: Any, peeks: bool) -> Reader:
    """Who reads by a generator, a dataset or a DataLoader, which have no frames."""
    for adapter in adapters:
        if not is_of_sequence(adapter):
            return Reader(adapter, run, has_hooks=False, peeks=peeks)
    return NOBODY


def _of_enqueuer(uid: Any) -> Reader:
    """Who reads by threads or processes of Keras; processes have copies of adapters."""
    seen = list(_adapters)
    if all(getattr(_enqueuer(one), "uid", None) != uid for one in seen):
        # Of a dataset that forwards no hook, JAX and torch have shown none.
        seen = [one for one in running_call().around if hasattr(one, "on_epoch_end")]
    for adapter in seen:
        enqueuer = _enqueuer(adapter)
        if enqueuer is not None and enqueuer.uid == uid:
            _adapters.add(adapter)
            # tf-keras has another one for each iterator, Keras 3 one for ever.
            run = enqueuer if hasattr(adapter, "_enqueuer") else None
            return Reader(adapter, run, by_enqueuer=run is None)
    return Reader(by_enqueuer=True)


def _enqueuer(adapter: Any) -> Any:
    found = getattr(adapter, "enqueuer", None)
    return getattr(adapter, "_enqueuer", None) if found is None else found


def _builds(frame: FrameType) -> bool:
    """Whether JAX or torch read one batch to build the model."""
    for outer in outwards(frame):
        if role_of(outer.f_code.co_filename) == TRAINER:
            return outer.f_code.co_name == "_symbolic_build"
    return False

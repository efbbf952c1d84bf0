"""What Keras is doing when it calls a sequence and does not say.

Keras tells a sequence the number of a batch and nothing else: not which `fit` or
`evaluate` asks, nor whether it only looks at the shapes. The frames of its data
adapters do: one adapter belongs to each `fit`, `evaluate` and `predict`, and each of
its iterators has an `indices` (tf-keras: `order`) of its own. Everything that leans on
such names stands here. `tests/keras_contract/test_frames.py` says when they move; what
is not found then counts as read by a loop of the user's own, see `EpochTracker`.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from sequence_loader.backends.stacks import outwards, walking

_FEED, _TRAINER, _CALLBACKS = "feed", "trainer", "callbacks"
_GRAPH, _GENERATOR = "graph", "generator"

_ROLES = {
    "keras/src/trainers/data_adapters/py_dataset_adapter.py": _FEED,
    "keras/src/trainers/data_adapters/generator_data_adapter.py": _FEED,
    "tf_keras/src/engine/data_adapter.py": _FEED,
    "tf_keras/src/utils/data_utils.py": _FEED,
    "keras/src/trainers/trainer.py": _TRAINER,
    "keras/src/backend/tensorflow/trainer.py": _TRAINER,
    "keras/src/backend/jax/trainer.py": _TRAINER,
    "keras/src/backend/torch/trainer.py": _TRAINER,
    "tf_keras/src/engine/training.py": _TRAINER,
    "keras/src/callbacks/callback_list.py": _CALLBACKS,
    "tf_keras/src/callbacks.py": _CALLBACKS,
    "tensorflow/python/ops/script_ops.py": _GRAPH,
    "tensorflow/python/data/ops/from_generator_op.py": _GENERATOR,
}


_OUTERMOST = {"<module>", "_bootstrap", "_run_module_as_main"}
"""What a stack of Python ends with, if TensorFlow has not called it."""

_LOOKS = 20
"""How often the stacks of other threads are looked at, until all are whole."""


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


@dataclass(frozen=True, eq=False)
class Call:
    """The `fit`, `evaluate` or `predict` that is running, if any.

    Attributes:
        consumer: Its data adapter; `None` where a callback of it asks, or nobody.
        around: The adapters of all calls that are running, this one's included.
        peeks: Whether it reads one batch to build the model.
    """

    consumer: Any = None
    around: tuple[Any, ...] = ()
    peeks: bool = False


def reader() -> Reader:
    """Who calls the method of a sequence that calls this; see `Reader`."""
    in_graph = peeks = False
    run = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:  # asked for every batch: faster than `outwards`
        role = _role(frame.f_code.co_filename)
        if role == _FEED:
            found = _of_feed(frame)
            if found is not None:
                return found
        elif role == _CALLBACKS:
            return NOBODY
        elif role == _TRAINER:
            consumer = _of_trainer(frame)
            if consumer is not None:
                return _of_others([consumer], run, peeks)
            peeks = peeks or frame.f_code.co_name == "_symbolic_build"
        elif role == _GENERATOR and "iterator_id" in frame.f_code.co_varnames:
            local = frame.f_locals
            dataset, iterator = local["generator_state"], local["iterator_id"]
            run = _generator_run(id(dataset), int(iterator))
        in_graph = in_graph or role == _GRAPH
        frame = frame.f_back
    if in_graph:  # a dataset of the user's own, which asks from threads of its own
        call = dataset_call()
        return _of_others(call.around, run, call.peeks)
    return NOBODY


def running_call() -> Call:
    """The innermost running call; of another thread, if none runs in this one.

    TensorFlow asks a dataset for its first batch from threads of its own, while the
    one that trains waits for it.
    """
    own = _call(sys._getframe(1))
    if own.around:
        return own
    for _ in range(_LOOKS):
        with walking() as stacks:
            # In this order: a walk is whole if its stack still is.
            looks = [(_call(frame), _is_whole(frame)) for frame in stacks]
        running = [call for call, _ in looks if call.around]
        # A thread that neither Python nor TensorFlow began never looks whole.
        if all(whole for call, whole in looks if call.around or not running):
            break
    return running[0] if len(running) == 1 else Call()


def dataset_call() -> Call:
    """The innermost running call that may be what reads a dataset.

    Data are read ahead of a `fit` while a callback of it has a sequence evaluated,
    which may be at its peek: that is not a peek of the dataset.
    """
    call = running_call()
    if not call.around or not _is_of_sequence(call.around[0]):
        return call
    readers = (one for one in call.around if not _is_of_sequence(one))
    return Call(next(readers, None), call.around)


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
        name, local = frame.f_code.co_name, frame.f_locals
        if name == "enumerate_epochs":  # tf-keras
            handler = local["self"]
            steps = handler._inferred_steps
            whole = steps is None or steps >= consumer.get_size()
            return whole, whole and local["epoch"] + 1 < handler._epochs
        if name in ("_enumerate_iterator", "enumerate_epoch"):  # Keras 3
            iterator = local["self"]
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


def trains() -> bool:
    """Whether the innermost running call is `fit`."""
    for frame in outwards(sys._getframe(1)):
        if _role(frame.f_code.co_filename) == _TRAINER:
            if _of_trainer(frame) is not None:
                return frame.f_code.co_name == "fit"
    return False


def is_of_fit(consumer: Any) -> bool:
    """Whether a running call of this adapter is `fit`, whichever thread asks."""
    with walking() as stacks:
        return any(
            outer.f_code.co_name == "fit" and _of_trainer(outer) is consumer
            for frame in stacks
            for outer in outwards(frame)
            if _role(outer.f_code.co_filename) == _TRAINER
        )


def is_trainer(filename: str) -> bool:
    """Whether a file of code holds `fit`."""
    return _role(filename) == _TRAINER


def replicas_of_caller() -> int:
    """Replicas of the model that reads its first batches, or 1.

    Keras 3 does not enter the strategy's scope to do so; only its frame has it.
    """
    frame = sys._getframe(2)
    for _ in range(8):
        if frame.f_back is None:
            return 1
        frame = frame.f_back
        if "distribute_strategy" in frame.f_code.co_varnames:
            strategy = frame.f_locals.get("distribute_strategy")
            return int(getattr(strategy, "num_replicas_in_sync", 1))
    return 1


_adapters: weakref.WeakSet[Any] = weakref.WeakSet()  # those seen: enqueuers are found


@functools.cache
def _role(filename: str) -> str | None:
    path = filename.replace("\\", "/")
    for end, role in _ROLES.items():
        if path.endswith("/" + end):
            return role
    return None


def _of_feed(frame: FrameType) -> Reader | None:
    """Who reads, by the frame of an adapter or an enqueuer, or of none of them."""
    name, local = frame.f_code.co_name, frame.f_locals
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
    if name == "get_tf_dataset" or (name == "__init__" and _is_of_sequence(owner)):
        peeks = _is_of_sequence(owner)
        return Reader(owner, peeks=peeks, by_enqueuer=by_enqueuer)
    indices = local.get("indices", local.get("order"))
    if indices is None:
        has_hooks = _is_of_sequence(owner)
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
        if not _is_of_sequence(adapter):
            return Reader(adapter, run, has_hooks=False, peeks=peeks)
    return NOBODY


def _of_enqueuer(uid: Any) -> Reader:
    """Who reads by threads or processes of Keras; processes have copies of adapters."""
    for adapter in list(_adapters):
        enqueuer = _enqueuer(adapter)
        if enqueuer is not None and enqueuer.uid == uid:
            # tf-keras has another one for each iterator, Keras 3 one for ever.
            run = enqueuer if hasattr(adapter, "_enqueuer") else None
            return Reader(adapter, run, by_enqueuer=run is None)
    return NOBODY


def _enqueuer(adapter: Any) -> Any:
    found = getattr(adapter, "enqueuer", None)
    return getattr(adapter, "_enqueuer", None) if found is None else found


def _is_of_sequence(adapter: Any) -> bool:
    return hasattr(adapter, "py_dataset") or hasattr(adapter, "_keras_sequence")


def _builds(frame: FrameType) -> bool:
    """Whether JAX or torch read one batch to build the model."""
    for outer in outwards(frame):
        if _role(outer.f_code.co_filename) == _TRAINER:
            return outer.f_code.co_name == "_symbolic_build"
    return False


def _of_trainer(frame: FrameType) -> Any:
    """The adapter of a call by its frame, if it has one by now."""
    names = frame.f_code.co_varnames
    if "epoch_iterator" in names:
        iterator = frame.f_locals.get("epoch_iterator")
        return getattr(iterator, "data_adapter", None)
    if "data_handler" in names:
        return getattr(frame.f_locals.get("data_handler"), "_adapter", None)
    return None


def _is_whole(frame: FrameType) -> bool:
    """Whether no frame of a stack has returned while it was looked at.

    One that has does not tell any more who called it.
    """
    *_, outermost = outwards(frame)
    code = outermost.f_code
    return code.co_name in _OUTERMOST or _role(code.co_filename) == _GRAPH


def _call(frame: FrameType) -> Call:
    around: list[Any] = []
    peeks = in_callback = False
    for outer in outwards(frame):
        role = _role(outer.f_code.co_filename)
        if role == _TRAINER:
            adapter = _of_trainer(outer)
            if adapter is not None:
                around.append(adapter)
            elif not around:
                peeks = peeks or outer.f_code.co_name == "_symbolic_build"
        elif role == _CALLBACKS and not around:
            in_callback = True
    consumer = around[0] if around and not in_callback else None
    return Call(consumer, tuple(around), peeks)

"""Which `fit`, `evaluate` or `predict` of Keras is running, by the frames of its code.

Each has a data adapter, which stands in a frame of Keras's trainer. Whose code a frame
runs is told by the names of files; see `keras_frames`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from sequence_loader.backends.stacks import locals_of, outwards, walking

FEED, TRAINER, CALLBACKS = "feed", "trainer", "callbacks"
GRAPH, GENERATOR, PROCESS = "graph", "generator", "process"

_ROLES = {
    "keras/src/trainers/data_adapters/py_dataset_adapter.py": FEED,
    "keras/src/trainers/data_adapters/generator_data_adapter.py": FEED,
    "tf_keras/src/engine/data_adapter.py": FEED,
    "tf_keras/src/utils/data_utils.py": FEED,
    "keras/src/trainers/trainer.py": TRAINER,
    "keras/src/backend/tensorflow/trainer.py": TRAINER,
    "keras/src/backend/jax/trainer.py": TRAINER,
    "keras/src/backend/torch/trainer.py": TRAINER,
    "tf_keras/src/engine/training.py": TRAINER,
    "keras/src/callbacks/callback_list.py": CALLBACKS,
    "tf_keras/src/callbacks.py": CALLBACKS,
    "tensorflow/python/ops/script_ops.py": GRAPH,
    "tensorflow/python/data/ops/from_generator_op.py": GENERATOR,
    "multiprocessing/process.py": PROCESS,
}


_OUTERMOST = {"<module>", "_bootstrap", "_run_module_as_main"}
"""What a stack of Python ends with, if TensorFlow has not called it."""

_CALLS = {"fit", "evaluate", "predict"}

_LOOKS = 20
"""How often the stacks of other threads are looked at, until all are whole."""


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


def running_call() -> Call:
    """The innermost running call; of another thread, if none runs in this one.

    TensorFlow asks a dataset for its first batch from threads of its own, while the
    one that trains waits for it.
    """
    own = _call(outwards(sys._getframe(1)))
    if own.around:
        return own
    for _ in range(_LOOKS):
        with walking() as stacks:
            # In this order: a walk is whole if its stack still is.
            looks = [(_call(stack), _is_whole(stack)) for stack in stacks]
        running = [call for call, _ in looks if call.around]
        # A thread that neither Python nor TensorFlow began never looks whole.
        if all(whole for call, whole in looks if call.around or not running):
            break
    return running[0] if len(running) == 1 else Call()


def adapters_beside() -> tuple[Any, ...]:
    """Those of the call that runs in another thread, where none runs in this one."""
    own = _call(outwards(sys._getframe(1)))
    return () if own.around else running_call().around


def dataset_call() -> Call:
    """The innermost running call that may be what reads a dataset.

    Data are read ahead of a `fit` while a callback of it has a sequence evaluated,
    which may be at its peek: that is not a peek of the dataset.
    """
    call = running_call()
    if not call.around or not is_of_sequence(call.around[0]):
        return call
    readers = (one for one in call.around if not is_of_sequence(one))
    return Call(next(readers, None), call.around)


def trains() -> bool:
    """Whether the innermost running call is `fit`."""
    for frame in outwards(sys._getframe(1)):
        if role_of(frame.f_code.co_filename) == TRAINER:
            if adapter_of(frame) is not None:
                return frame.f_code.co_name == "fit"
    return False


def is_of_fit(consumer: Any) -> bool:
    """Whether a running call of this adapter is `fit`, whichever thread asks."""
    with walking() as stacks:
        return any(
            outer.f_code.co_name == "fit" and adapter_of(outer) is consumer
            for stack in stacks
            for outer in stack
            if role_of(outer.f_code.co_filename) == TRAINER
        )


def is_made_by_fit(consumer: Any) -> bool:
    """Whether an adapter is one of `fit`, which may still be at making it."""
    for frame in outwards(sys._getframe(1)):
        name = frame.f_code.co_name
        if name in _CALLS and role_of(frame.f_code.co_filename) == TRAINER:
            return name == "fit"
    return is_of_fit(consumer)


def trains_again(consumer: Any) -> bool:
    """Whether a running call of this adapter is a `fit` of several epochs."""
    with walking() as stacks:
        for outer in (each for stack in stacks for each in stack):
            if outer.f_code.co_name == "fit" and adapter_of(outer) is consumer:
                local = locals_of(outer)
                return bool(local["epochs"] - local["initial_epoch"] > 1)
    return False


def is_trainer(filename: str) -> bool:
    """Whether a file of code holds `fit`."""
    return role_of(filename) == TRAINER


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
            strategy = locals_of(frame).get("distribute_strategy")
            return int(getattr(strategy, "num_replicas_in_sync", 1))
    return 1


@functools.cache
def role_of(filename: str) -> str | None:
    """What a file of code is, if it matters here: `FEED` and so on."""
    path = filename.replace("\\", "/")
    for end, role in _ROLES.items():
        if path.endswith("/" + end):
            return role
    return None


def is_of_sequence(adapter: Any) -> bool:
    """Whether an adapter reads ``x[i]``, and no generator or dataset."""
    return hasattr(adapter, "py_dataset") or hasattr(adapter, "_keras_sequence")


def read_in_order(adapter: Any) -> None:
    """Has Keras ask a sequence for 0, 1, 2, ...; `fit` shuffles numbers otherwise."""
    for name in ("shuffle", "_shuffle_sequence"):  # Keras 3, tf-keras
        if is_of_sequence(adapter) and hasattr(adapter, name):
            setattr(adapter, name, False)


def adapter_of(frame: FrameType) -> Any:
    """The adapter of a call by its frame, if it has one by now."""
    names = frame.f_code.co_varnames
    if "epoch_iterator" in names:
        iterator = locals_of(frame).get("epoch_iterator")
        return getattr(iterator, "data_adapter", None)
    if "data_handler" in names:
        return getattr(locals_of(frame).get("data_handler"), "_adapter", None)
    return None


def _is_whole(stack: list[FrameType]) -> bool:
    """Whether no frame of a stack has returned while it was looked at.

    One that has does not tell any more who called it.
    """
    *_, outermost = outwards(stack[0])
    code = outermost.f_code
    return code.co_name in _OUTERMOST or role_of(code.co_filename) == GRAPH


def _call(stack: Iterable[FrameType]) -> Call:
    around: list[Any] = []
    peeks = in_callback = False
    for outer in stack:
        role = role_of(outer.f_code.co_filename)
        if role == TRAINER:
            adapter = adapter_of(outer)
            if adapter is not None:
                around.append(adapter)
            elif not around:
                peeks = peeks or outer.f_code.co_name == "_symbolic_build"
        elif role == CALLBACKS and not around:
            in_callback = True
    consumer = around[0] if around and not in_callback else None
    return Call(consumer, tuple(around), peeks)

"""A `fit` of Keras 3: which batches it trains, and how its first epoch begins later.

Callbacks are not told which batches come, and Keras begins every epoch at its first
batch. The object that enumerates them, its epoch iterator, has one method that yields a
number for each execution; here a generator of our own takes its place, on that object
alone. What it was asked to go on from was trained, whatever was read ahead.

Everything that leans on such names stands here. `tests/keras_contract/test_fits.py`
says when they move.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from sequence_loader.backends.keras_calls import is_trainer, read_in_order
from sequence_loader.backends.stacks import locals_of, outwards, walking

OLDEST_KERAS = 3, 11
"""The first whose `fit` a callback can have begin in the middle of an epoch."""

_NAMES = (
    "_enumerate_iterator", "_get_iterator", "_current_iterator", "_steps_seen",
    "_num_batches", "steps_per_epoch", "steps_per_execution", "data_adapter",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Fit:
    """A `fit` that is about to begin.

    Attributes:
        x: What it was given to train from.
        validation: What it was given as features to validate with, or `None`.
        epochs: Up to which number of epochs it trains.
        initial_epoch: The number of the first.
        callback_list: What calls them.
        iterator: Its epoch iterator.
        settings: What else it was given that training depends on, as plain values.
    """

    x: Any
    validation: Any
    epochs: int
    initial_epoch: int
    callback_list: Any
    iterator: Any
    settings: dict[str, Any]

    @property
    def callbacks(self) -> list[Any]:
        """All its callbacks; one that is appended is called behind them."""
        found: list[Any] = self.callback_list.callbacks
        return found

    def settle(self) -> None:
        """Waits for callbacks that are told of batches in threads (`async_safe`)."""
        for future in list(self.callback_list._futures):
            future.result()

    @property
    def is_running(self) -> bool:
        """Whether it runs still, in any thread, also around another."""
        with walking() as stacks:
            return any(
                _fit_locals(outer).get("epoch_iterator") is self.iterator
                for stack in stacks
                for outer in stack
            )


def check_keras() -> None:
    """Whether a callback can do that in this Keras.

    Raises:
        ValueError: It is too old.
    """
    import keras

    if tuple(map(int, keras.__version__.split(".")[:2])) < OLDEST_KERAS:
        raise ValueError(
            f"SequenceCheckpoint needs Keras {'.'.join(map(str, OLDEST_KERAS))} or "
            f"newer; this is Keras {keras.__version__}, whose `fit` cannot begin in "
            f"the middle of an epoch. Run pip install -U keras, or save "
            f"sequence.state_dict() in a loop of your own."
        )


def running_fit() -> Fit:
    """The innermost `fit` that calls.

    Raises:
        RuntimeError: There is none, or it is of a Keras that is not known.
    """
    found = _fit_around(sys._getframe(1))
    if (
        found is None
        or not all(hasattr(found.iterator, name) for name in _NAMES)
        or not hasattr(found.callback_list, "_futures")
    ):
        import keras

        raise RuntimeError(
            f"SequenceCheckpoint does not find its way in `fit` of Keras "
            f"{keras.__version__}. Pass it to `fit` as one of `callbacks`; if it is, "
            f"this version of Keras is not known to it: use one of those that the "
            f"README names, or save sequence.state_dict() in a loop of your own."
        )
    return found


def _fit_around(frame: Any) -> Fit | None:
    for outer in outwards(frame):
        local = _fit_locals(outer)
        if hasattr(local.get("callbacks"), "callbacks"):
            return Fit(
                local["x"],
                local.get("val_x"),
                local["epochs"],
                local["initial_epoch"],
                local["callbacks"],
                local["epoch_iterator"],
                _settings(local),
            )
    return None


def _settings(local: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name in ("steps_per_epoch", "steps_per_execution"):
        value = getattr(local["epoch_iterator"], name)
        found[name] = None if value is None else int(value)  # of NumPy, it may be
    weights = local.get("class_weight") or {}
    plain = {str(name): float(weights[name]) for name in weights}
    return {**found, "class_weight": plain or None}


def _fit_locals(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame of `fit` that has an epoch iterator by now."""
    code = frame.f_code
    if code.co_name != "fit" or not is_trainer(code.co_filename):
        return {}
    local = locals_of(frame)
    return local if "epoch_iterator" in local else {}


class FitBatches:
    """Counts the batches that a `fit` has trained.

    Args:
        fit: It; nothing has been trained yet.
        num_batches: Batches in an epoch of the data.
        trained: Called after each execution, with how many batches it had, and whether
            more follow in the same epoch of Keras and of the data.

    Attributes:
        step: Steps of Keras's epoch that were trained.
        place: Batches of the epoch of the data that were. ``steps_per_epoch`` makes
            these two differ.
    """

    def __init__(
        self, fit: Fit, num_batches: int, trained: Callable[[int, bool], None]
    ) -> None:
        self._iterator, self._num_batches = fit.iterator, num_batches
        self._trained = trained
        self._original = self._iterator._enumerate_iterator
        self._resumed: Callable[[], None] | None = None
        self._handed_out = 0
        self.step = self.place = self._steps = 0
        self._iterator._enumerate_iterator = self._enumerate

    @property
    def reads_sequence(self) -> bool:
        """Whether Keras reads ``x[i]``, and no dataset."""
        return hasattr(self._iterator.data_adapter, "py_dataset")

    def read_in_order(self) -> None:
        """See `keras_calls.read_in_order`."""
        read_in_order(self._iterator.data_adapter)

    def begin_at(self, step: int, place: int, restore: Callable[[], None]) -> None:
        """Has the first epoch begin in its middle.

        Args:
            step: Steps of Keras's epoch that were trained before.
            place: Batches of the epoch of the data that were.
            restore: Called when the first batch is about to be handed out: Keras has
                reset its metrics by then, and on JAX not yet taken its state.
        """
        self.step, self.place, self._resumed = step, place, restore

    def count(self, *, ends: bool = False) -> None:
        """Counts what was handed out as trained.

        Args:
            ends: Whether the epoch of Keras has ended, be it that a callback stopped
                it in the middle.
        """
        done, self._handed_out = self._handed_out, 0
        if done:
            self.place += done
            self.step += self._iterator.steps_per_execution
            more = self.place < self._num_batches and self.step < self._steps
            self._trained(done, more and not ends)

    def _enumerate(self) -> Iterator[Any]:
        iterator, at_once = self._iterator, self._iterator.steps_per_execution
        restore, self._resumed = self._resumed, None
        whole = iterator._num_batches, iterator.steps_per_epoch
        self._steps = whole[1] or whole[0]
        skipped = self.step if restore else 0
        if restore:
            self._begin_later(skipped)
        else:
            self.step = 0
            if whole[1] is None or iterator._current_iterator is None:
                self.place = 0
            self.place %= self._num_batches
        self._handed_out = 0
        try:
            for begin, end, data in self._original():
                if restore is not None:
                    restore()
                    restore = None
                self._handed_out = min(at_once, self._num_batches - self.place)
                yield begin + skipped, end + skipped, data
                self.count()
        finally:
            iterator._num_batches, iterator.steps_per_epoch = whole
            if self.place >= self._num_batches or whole[1] is None:
                self._read_whole()

    def _begin_later(self, step: int) -> None:
        iterator = self._iterator
        if self.reads_sequence and self.place:
            adapter = iterator.data_adapter
            adapter.py_dataset = _Rest(adapter.py_dataset, self.place)
        if iterator.steps_per_epoch is None:
            iterator._num_batches = self._num_batches - self.place
        else:
            iterator.steps_per_epoch -= step
            if self.place:
                iterator._current_iterator = iter(iterator._get_iterator())
                iterator._steps_seen = self.place

    def _read_whole(self) -> None:
        adapter = self._iterator.data_adapter
        if isinstance(getattr(adapter, "py_dataset", None), _Rest):
            adapter.py_dataset = adapter.py_dataset.sequence


class _Rest:
    """What the adapter reads in the first epoch: a sequence without its beginning."""

    workers, use_multiprocessing, max_queue_size = 1, False, 10

    def __init__(self, sequence: Any, first: int) -> None:
        self.sequence, self._first = sequence, first

    @property
    def num_batches(self) -> int:
        return int(self.sequence.num_batches) - self._first

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, index: int) -> Any:
        return self.sequence[self._first + index]

    def on_epoch_begin(self) -> None:
        self.sequence.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.sequence.on_epoch_end()

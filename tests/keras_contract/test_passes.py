"""Whose pass is this: wrappers, generators and readers inside another's epoch.

The rows that each step trained are compared, in order, with the batches of the epochs
in their order, or with those of a fit that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import (
    BACKEND,
    KERAS,
    LEGACY,
    Trained,
    about,
    counting_model,
    keras,
    one_hot,
)
from watching import HUNG_SECONDS

from sequence_loader import SparseBatchSequence
from sequence_loader.backends import keras_calls

ROWS, BATCH = 30, 6  # five batches
OUTPUTS = ["dense"] if BACKEND == "torch" else ["dense", "sparse"]


def sequence(output: str = "dense", rows: int = ROWS, **options: Any) -> Any:
    options = {"batch_size": BATCH, "shuffle": True, "seed": 3} | options
    return SparseBatchSequence(
        one_hot(rows), np.arange(rows, dtype="float32"), output=output, **options
    )


def steps_of(*epochs: int, rows: int = ROWS, batches: int | None = None) -> list:
    """The sorted rows of each batch of these epochs: what steps train in order."""
    order, found = sequence(rows=rows), []
    for epoch in epochs:
        order.set_epoch(epoch)
        for number in range(len(order) if batches is None else batches):
            found.append(sorted(order.batch_rows(number).tolist()))
    return found


@functools.cache  # compiled once: a fit tells by how much the weights change
def model_of(which: str = "counted", sparse: bool = False) -> Any:
    return counting_model(ROWS, sparse=sparse)


def fitted(data: Any, model: Any = None, callbacks: Any = (), **options: Any) -> list:
    """The rows that each step of a fit trained."""
    trained = Trained()
    model = model_of() if model is None else model
    options = {"epochs": 3, "shuffle": False, "verbose": 0} | options
    model.fit(data, callbacks=[trained, *callbacks], **options)
    return trained.steps


class Wrapper(keras.utils.Sequence):
    """A dataset of the user's own that holds one of ours."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        return self.inner[index]


class Forwards(Wrapper):
    def on_epoch_end(self) -> None:
        self.inner.on_epoch_end()


class ForwardsBoth(Forwards):
    def on_epoch_begin(self) -> None:
        self.inner.on_epoch_begin()


class Twice(Forwards):
    """Every batch comes twice in an epoch."""

    def __len__(self) -> int:
        return 2 * len(self.inner)

    def __getitem__(self, index: int) -> Any:
        return self.inner[index % len(self.inner)]


class Mixed(Forwards):
    """Asks for another batch beside each one."""

    def __getitem__(self, index: int) -> Any:
        self.inner[(3 * index + 1) % len(self.inner)]
        return self.inner[index]


class Short(Forwards):
    """Serves three of the five batches."""

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("wrap", "built"),
    [(Forwards, False), *((w, True) for w in (Wrapper, Forwards, ForwardsBoth, Mixed))],
)
def test_a_wrapped_sequence_moves_on(wrap: Callable, built: bool) -> None:
    inner = sequence()
    model = model_of() if built else counting_model(ROWS, built=False)
    steps = fitted(wrap(inner), model)
    skipped = 0 if built else 1  # no weights to compare with before the first step
    assert steps[skipped:] == steps_of(0, 1, 2)[skipped:]
    assert fitted(wrap(inner), model, epochs=1) == steps_of(3)
    model.evaluate(wrap(inner), verbose=0)
    assert fitted(wrap(inner), model, epochs=1) == steps_of(5)


def test_a_wrapper_of_one_batch() -> None:
    for built in (True, False):
        inner = sequence(rows=BATCH)
        fitted(Forwards(inner), counting_model(BATCH, built=built), epochs=2)
        assert inner.epoch == 1


def test_wrappers_that_serve_other_numbers_of_batches() -> None:
    assert fitted(Twice(sequence())) == steps_of(0, 0, 1, 1, 2, 2)
    assert fitted(Short(sequence())) == steps_of(0, 1, 2, batches=3)


def test_a_wrapper_whose_batches_keras_permutes() -> None:
    steps = fitted(Forwards(sequence()), shuffle=True)
    for epoch in range(3):
        found = steps[epoch * 5 : epoch * 5 + 5]
        assert sorted(found) == sorted(steps_of(epoch))


def looped(inner: Any, *, ends: bool, iterates: bool) -> Iterator[Any]:
    while True:
        if iterates:
            yield from inner
        else:
            for index in range(len(inner)):
                yield inner[index]
        if ends:
            inner.on_epoch_end()


@pytest.mark.parametrize("iterates", [False, True])
@pytest.mark.parametrize("ends", [True, False])
def test_a_generator_moves_on(ends: bool, iterates: bool) -> None:
    inner = sequence()
    batches = looped(inner, ends=ends, iterates=iterates)
    assert fitted(batches, steps_per_epoch=5) == steps_of(0, 1, 2)
    if BACKEND in ("jax", "torch"):  # TensorFlow has read more, ahead of its end
        batches = looped(inner, ends=ends, iterates=iterates)
        assert fitted(batches, steps_per_epoch=5, epochs=1) == steps_of(3)
    batches = looped(sequence(), ends=ends, iterates=iterates)
    assert fitted(batches, steps_per_epoch=3, epochs=4) == steps_of(0, 1, 2)[:12]


@pytest.mark.parametrize("iterates", [False, True])
def test_a_loop_of_ones_own_that_ends_its_epochs(iterates: bool) -> None:
    inner, found = sequence(), []
    for _ in range(3):
        for index in range(len(inner)):
            inner[2]  # looks at another
            if not iterates:
                found.append(sorted(inner[index][1].tolist()))
        if iterates:
            found += [sorted(y.tolist()) for _, y in inner]
        inner.on_epoch_end()
    assert found == steps_of(0, 1, 2)
    assert fitted(inner, epochs=1) == steps_of(3)


@pytest.mark.parametrize("feed", ["sequence", "dataset", "wrapper"])
@pytest.mark.parametrize("begins", ["index", "hooks", "sets", "iterates"])
def test_evaluations_in_a_loop_of_ones_own_do_not_change_it(
    begins: str, feed: str
) -> None:
    inner, found = sequence(), []
    data = {"dataset": inner.to_tf_dataset, "wrapper": lambda: Forwards(inner)}
    data = data.get(feed, lambda: inner)()
    other = model_of("other")
    for epoch in range(2):
        if begins == "hooks":
            inner.on_epoch_begin()
        if begins == "sets":
            inner.set_epoch(epoch)
        numbers = range(len(inner))
        for batch in inner if begins == "iterates" else map(inner.__getitem__, numbers):
            found.append(sorted(batch[1].tolist()))
            if len(found) % 5:
                other.evaluate(data, verbose=0)
                other.predict(data, steps=2, verbose=0)
        assert inner.epoch == epoch
        inner.on_epoch_end()
    assert found == steps_of(0, 1)


def test_an_evaluation_keeps_the_place_of_a_loop() -> None:
    inner, again = sequence(), sequence()
    batches = iter(inner)
    next(batches), next(batches)
    model_of("other").evaluate(inner, verbose=0)
    again.load_state_dict(inner.state_dict())
    assert [sorted(y.tolist()) for _, y in again] == steps_of(0)[2:]


@pytest.mark.parametrize("feed", ["sequence", "dataset", "wrapper"])
def test_a_fit_behind_a_look_at_a_batch_moves_on(feed: str) -> None:
    inner = sequence()
    data = {"dataset": inner.to_tf_dataset, "wrapper": lambda: Forwards(inner)}
    data = data.get(feed, lambda: inner)()
    found = []
    for _ in range(2):
        inner[0]
        found += fitted(data, epochs=2)
    assert found == steps_of(0, 1, 2, 3)


class Ordered(Forwards):
    """Takes the order from a sequence, and rows from elsewhere."""

    def __getitem__(self, index: int) -> Any:
        rows = self.inner.batch_rows(index)
        return np.eye(ROWS, dtype="float32")[rows], rows.astype("float32")


class OrderedSelf(SparseBatchSequence):
    def __getitem__(self, index: int) -> Any:
        rows = self.batch_rows(index)
        return np.eye(ROWS, dtype="float32")[rows], rows.astype("float32")


@pytest.mark.parametrize("feed", ["wrapper", "itself", "generator"])
def test_a_sequence_of_which_batch_rows_alone_are_asked(feed: str) -> None:
    def made(**options: Any) -> tuple[Any, Any]:
        inner = sequence(**options)
        data = Ordered(inner)
        if feed == "itself":
            options = {"shuffle": True, "seed": 3} | options
            inner = data = OrderedSelf(one_hot(ROWS), batch_size=BATCH, **options)
        if feed == "generator":

            def batches(data: Any = data) -> Iterator[Any]:
                while True:
                    yield from (data[index] for index in range(len(inner)))
                    inner.on_epoch_end()

            data = batches()
        return inner, data

    options = {"epochs": 4, "steps_per_epoch": 5 if feed == "generator" else None}
    with pytest.warns(UserWarning, match="or batch_rows alone is asked") as told:
        assert fitted(made()[1], **options) == steps_of(0, 0, 0, 0)
    assert sum("batch_rows" in str(each.message) for each in told) == 1
    if feed != "generator":  # read ahead on TensorFlow
        inner, data = made()
        assert fitted(data, None, [Sets(inner)], **options) == steps_of(0, 1, 2, 3)
        if feed == "wrapper":
            fitted(sequence(), validation_data=Ordered(sequence()))
    fitted(made(shuffle=False)[1], **options)


class Disturbs(keras.callbacks.Callback):
    """Does the next thing after every batch, the last one included."""

    def __init__(self, *disturbances: Callable[[], Any]) -> None:
        super().__init__()
        self.left = list(disturbances)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.left:
            self.left.pop(0)()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("feed", ["sequence", "dataset", "wrapper"])
def test_others_in_an_epoch_do_not_change_it(feed: str, output: str) -> None:
    if feed == "wrapper" and output == "sparse":
        return
    inner = sequence(output)
    data = {
        "sequence": lambda: inner,
        "dataset": inner.to_tf_dataset,
        "wrapper": lambda: Forwards(inner),
    }[feed]()
    sparse = output == "sparse"
    other = model_of("other", sparse)  # the counting one must not be trained by others

    def evaluate() -> None:
        other.evaluate(data, verbose=0)
        other.evaluate(data, verbose=0)

    def predict() -> None:
        other.predict(data, verbose=0)

    def fit() -> None:
        rows = [row for step in fitted(data, other, epochs=2) for row in step]
        assert sorted(rows[:ROWS]) == sorted(rows[ROWS:]) == list(range(ROWS))
        assert rows[:ROWS] != rows[ROWS:]

    def iterate() -> None:
        assert len([None for _ in data]) == 5

    def leave_early() -> None:
        for taken, _ in enumerate(data):
            if taken == 2:
                break

    def ask() -> None:
        for index in (1, 4, 0, 3, 2, 2):
            inner[index]

    disturb = Disturbs(
        *(iterate, evaluate, ask, fit, evaluate),
        *(predict, leave_early, evaluate, iterate, fit),
        *(ask, ask, ask, ask, iterate),
    )
    model = model_of(sparse=sparse)
    assert fitted(data, model, [disturb]) == steps_of(0, 1, 2)
    assert not disturb.left
    assert fitted(data, model, epochs=1) == steps_of(3)


def dataset_over(inner: Any, *, ends: bool) -> Any:
    """A dataset of the user's own."""
    import tensorflow as tf

    def batches() -> Iterator[Any]:
        for index in range(len(inner)):
            yield inner[index]
        if ends:
            inner.on_epoch_end()

    spec = (tf.TensorSpec((None, ROWS)), tf.TensorSpec((None,)))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(inner)))


@pytest.mark.parametrize("ends", [False, True])
def test_a_dataset_of_the_users_own(ends: bool) -> None:
    inner = sequence()
    data = dataset_over(inner, ends=ends)
    evaluate = functools.partial(model_of("other").evaluate, inner, verbose=0)
    assert fitted(data, None, [Disturbs(*[evaluate] * 10)]) == steps_of(0, 1, 2)
    model = counting_model(ROWS, built=False)
    assert fitted(data, model, epochs=2)[1:] == steps_of(3, 4)[1:]
    assert fitted(data.prefetch(2).repeat(), steps_per_epoch=5) == steps_of(5, 6, 7)


def test_fit_goes_on_while_a_dataset_looks_who_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Iterators that `fit` let go ended in the threads that they waited for."""

    def slowly(frame: FrameType) -> Any:
        time.sleep(0 if threading.current_thread() is fits else 0.005)
        return adapter_of(frame)

    fits = threading.current_thread()
    adapter_of = keras_calls.adapter_of
    monkeypatch.setattr(keras_calls, "adapter_of", slowly)
    inner = sequence()
    model = counting_model(ROWS, built=False)
    found = fitted(dataset_over(inner, ends=True), model, epochs=6)
    assert found[1:] == steps_of(*range(6))[1:]


def test_what_is_read_ahead_while_another_peeks_counts() -> None:
    """JAX and torch have a model read a batch, to build it, before it evaluates."""
    import tensorflow as tf

    inner = sequence()
    fitted(inner, epochs=1)  # the model is built, and peeks no more
    inner.set_epoch(0)
    peeking, read = threading.Event(), threading.Event()

    class Peeked(Wrapper):
        def __getitem__(self, index: int) -> Any:
            peeking.set()
            assert read.wait(HUNG_SECONDS)
            return super().__getitem__(index)

    def batches() -> Iterator[Any]:
        for index in range(len(inner)):
            assert index != 1 or peeking.wait(HUNG_SECONDS)
            batch = inner[index]
            if index == 1:
                read.set()
            yield batch

    spec = (tf.TensorSpec((None, ROWS)), tf.TensorSpec((None,)))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    data = data.apply(tf.data.experimental.assert_cardinality(len(inner))).prefetch(2)
    other = counting_model(ROWS)  # which has not peeked yet
    evaluate = functools.partial(other.evaluate, Peeked(inner), verbose=0)
    assert fitted(data, None, [Disturbs(evaluate)]) == steps_of(0, 1, 2)


@about("torch")  # Keras takes it on any, torch has it
def test_a_loader_of_torch() -> None:
    import torch

    loader = torch.utils.data.DataLoader(sequence(), batch_size=None)
    assert fitted(loader) == steps_of(0, 1, 2)


class Sets(keras.callbacks.Callback):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.inner.set_epoch(epoch)


@about("torch")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_of_a_loader_of_torch_say_what_they_cannot_know() -> None:
    import torch

    class Stream(torch.utils.data.IterableDataset):
        def __init__(self, inner: Any, count: int) -> None:
            self.inner, self.count = inner, count

        def __len__(self) -> int:
            return self.count

        def __iter__(self) -> Iterator[Any]:
            return iter(self.inner if self.count > 1 else [self.inner[0]])

    def steps(inner: Any, callbacks: Any = (), workers: int = 2) -> list:
        loader = torch.utils.data.DataLoader(
            inner, batch_size=None, num_workers=workers, multiprocessing_context="fork"
        )
        return fitted(loader, None, callbacks, epochs=2)

    inner = sequence()  # a warning is an error, which a loader hands on
    with pytest.raises(UserWarning, match="processes of your own, as those of a DataL"):
        steps(inner)
    assert steps(inner) == steps_of(0, 0)  # it was said
    assert steps(inner, [Sets(inner)]) == steps_of(0, 1)  # the mend
    inner = sequence()
    assert steps(inner, [Sets(inner)]) == steps_of(0, 1)
    steps(sequence(shuffle=False))
    inner = sequence()
    stream = Stream(inner, len(inner))
    with pytest.raises(UserWarning, match="processes of your own, as those of a DataL"):
        steps(stream, workers=1)
    assert steps(stream, workers=1) == steps_of(0, 0)
    assert steps(stream, [Sets(inner)], workers=1) == steps_of(0, 1)
    inner = sequence()  # one that is looked at, as for the shape of its rows
    steps(Stream(inner, 1), workers=1)


@pytest.mark.parametrize("feeder", ["queue", "pool"])
def test_threads_of_ones_own_say_what_they_cannot_know(feeder: str) -> None:
    def batches(inner: Any, sets: bool) -> Iterator[Any]:
        waiting: queue.Queue[Any] = queue.Queue(1)

        def feed() -> None:
            for epoch in range(2):
                if sets:
                    inner.set_epoch(epoch)
                for batch in inner:
                    waiting.put(batch)
            waiting.put(None)

        if feeder == "queue":
            thread = threading.Thread(target=feed, daemon=True)
            thread.start()
            yield from iter(waiting.get, None)
            thread.join(HUNG_SECONDS)
            return
        with ThreadPoolExecutor(2) as pool:
            for epoch in range(2):
                if sets:
                    inner.set_epoch(epoch)
                yield from pool.map(inner.__getitem__, range(len(inner)))

    options = {"epochs": 2, "steps_per_epoch": 5}
    with pytest.warns(UserWarning, match="a thread of your own .* again") as told:
        assert fitted(batches(sequence(), False), **options) == steps_of(0, 0)
    assert sum("a thread of" in str(each.message) for each in told) == 1
    if feeder == "queue" or BACKEND in ("jax", "torch"):  # others have read ahead
        assert fitted(batches(sequence(), True), **options) == steps_of(0, 1)
    fitted(batches(sequence(shuffle=False), False), **options)


def test_a_second_pass_in_another_order_is_told_of() -> None:
    def batches(inner: Any) -> Iterator[Any]:
        while True:
            for index in (4, 3, 2, 1, 0):
                yield inner[index]

    options = {"epochs": 2, "steps_per_epoch": 5}
    with pytest.warns(UserWarning, match="has read epoch 0 twice, and not in order"):
        fitted(batches(sequence()), **options)
    fitted(batches(sequence(shuffle=False)), **options)
    fitted(batches(sequence()), epochs=1, steps_per_epoch=5)


def test_others_in_an_epoch_of_a_generator_do_not_change_it() -> None:
    inner = sequence()
    evaluate = functools.partial(model_of("other").evaluate, inner, verbose=0)
    disturb = Disturbs(*[evaluate] * 10)
    batches = looped(inner, ends=True, iterates=False)
    steps = fitted(batches, None, [disturb], steps_per_epoch=5, epochs=2)
    assert steps == steps_of(0, 1)


@pytest.mark.parametrize("feed", ["sequence", "dataset", "wrapper"])
def test_validation_on_the_sequence_that_is_trained(feed: str) -> None:
    inner = sequence()
    data = {
        "sequence": lambda: inner,
        "dataset": inner.to_tf_dataset,
        "wrapper": lambda: Forwards(inner),
    }[feed]()
    assert fitted(data, validation_data=data) == steps_of(0, 1, 2)
    assert fitted(data, epochs=1) == steps_of(3)


def test_validation_with_fewer_steps() -> None:
    train, held_out = sequence(), sequence()
    assert fitted(
        train, validation_data=held_out, validation_steps=2, epochs=2
    ) == steps_of(0, 1)


@pytest.mark.parametrize("feed", ["sequence", "wrapper"])
def test_stopped_and_fitted_again(feed: str) -> None:
    inner = sequence()
    data = inner if feed == "sequence" else Forwards(inner)
    evaluate = functools.partial(model_of("other").evaluate, data, verbose=0)
    disturb = Disturbs(*[evaluate] * 8)
    model, stopped = model_of(), Trained(stop_after=8)
    model.fit(
        data, epochs=3, shuffle=False, verbose=0, callbacks=[stopped, disturb]
    )
    assert stopped.steps == steps_of(0, 1)[:8]
    assert fitted(data, model, epochs=2) == steps_of(1, 2)


class Interrupted(Exception):
    """As Ctrl-C would."""


def test_interrupted_and_fitted_again() -> None:
    inner = sequence()
    model = counting_model(ROWS)

    def interrupt() -> None:
        raise Interrupted

    with pytest.raises(Interrupted) as kept:  # with the frames, and their iterators
        fitted(inner, model, [Disturbs(*[lambda: None] * 7, interrupt)])
    assert fitted(inner, model, epochs=2) == steps_of(1, 2)
    del kept


def test_epochs_that_are_set() -> None:
    inner = sequence()

    class Sets(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            inner.set_epoch(10 + 2 * epoch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                inner.set_epoch(40)  # counts when the next epoch begins

    assert fitted(inner, None, [Sets()], epochs=2) == steps_of(10, 12)
    assert fitted(inner, epochs=1) == steps_of(40)
    assert fitted(inner.to_tf_dataset(), epochs=2) == steps_of(41, 42)


@pytest.mark.parametrize("wrapped", [False, True])
def test_predictions_are_of_the_rows_that_batch_rows_tells_after(wrapped: bool) -> None:
    inner = sequence()
    model = counting_model(ROWS)  # but with the row as the weight
    model.set_weights([np.arange(ROWS, dtype="float32").reshape(-1, 1)])
    for _ in range(3):
        found = model.predict(Forwards(inner) if wrapped else inner, verbose=0)
        rows = [row for i in range(len(inner)) for row in inner.batch_rows(i)]
        assert found[:, 0].tolist() == rows


class Overridden(SparseBatchSequence):
    """Says which batch of which epoch it is, in the targets."""

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        assert sorted(self.batch_rows(index)) == sorted(y.astype(int))
        return x, y + 1000 * self.epoch


class Silent(SparseBatchSequence):
    """Does at the end what a `PyDataset` may, which has nothing to do there."""

    def on_epoch_end(self) -> None:
        pass


def test_a_hook_that_is_overridden() -> None:
    data = Silent(
        one_hot(ROWS), np.arange(ROWS, dtype="float32"), batch_size=BATCH,
        shuffle=True, seed=3,
    )
    for epochs in ((0, 1), (2,), (3,)):
        assert fitted(data, epochs=len(epochs)) == steps_of(*epochs)


def test_an_overridden_sequence_knows_its_epoch_in_a_fit() -> None:
    data = Overridden(
        one_hot(ROWS), np.arange(ROWS, dtype="float32"), batch_size=BATCH,
        shuffle=True, seed=3,
    )
    other = model_of("other")
    disturb = Disturbs(lambda: fitted(data, other, epochs=2))
    assert fitted(data, None, [disturb], epochs=2) == steps_of(0, 1)
    dataset = data.to_tf_dataset()
    evaluate = functools.partial(other.evaluate, dataset, verbose=0)
    assert fitted(dataset, None, [Disturbs(*[evaluate] * 10)]) == steps_of(2, 3, 4)


@about("tf_keras")  # arguments of fit in Keras 2 only
def test_keras_2_processes() -> None:
    data = sequence()
    model = model_of()
    options = {"workers": 2, "use_multiprocessing": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fork beside threads
        steps = fitted(data, model, validation_data=data, epochs=2, **options)
        assert steps == steps_of(0, 1)
        model.predict(data, verbose=0, **options)
        assert fitted(data, model, epochs=1, **options) == steps_of(3)


@about("tf_keras")
@pytest.mark.parametrize("processes", [False, True])
def test_keras_2_workers_of_a_wrapper(processes: bool) -> None:
    options = {"workers": 2, "use_multiprocessing": processes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fork beside threads
        steps = fitted(Forwards(sequence()), epochs=2, **options)
    assert steps == steps_of(0, 1)


@about("tf_keras")  # Keras 3 goes on in the same pass
def test_keras_2_says_that_batches_are_never_trained() -> None:
    inner = sequence(rows=ROWS, batch_size=1)  # more than are read ahead
    said = "has steps_per_epoch=2, and an epoch of the data has .* are never trained"
    with pytest.warns(UserWarning, match=said) as told:
        fitted(inner, steps_per_epoch=2, epochs=4)
    assert len(told) == 1
    inner = sequence()  # all of it is read ahead
    with pytest.warns(UserWarning, match="and an epoch of the data has 5 b") as told:
        steps = fitted(inner, steps_per_epoch=3, epochs=3)
    assert len(told) == 1 and len(steps) == 9
    data = sequence().to_tf_dataset().repeat()  # the mend
    assert fitted(data, steps_per_epoch=3, epochs=5) == steps_of(0, 1, 2)
    assert fitted(sequence(), steps_per_epoch=5, epochs=2) == steps_of(0, 1)
    assert len(fitted(sequence(), steps_per_epoch=3, epochs=1)) == 3


class Leaves(keras.callbacks.Callback):
    """Ends a fit in the middle of its first epoch."""

    def __init__(self, error: type[BaseException] | None) -> None:
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 2 and self.error is not None:
            raise self.error
        self.model.stop_training |= batch == 2


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_an_epoch_that_is_broken_off_is_served_again_whatever_was_read_ahead(
    error: type[BaseException] | None,
) -> None:
    inner = sequence()
    with contextlib.suppress(KeyboardInterrupt):
        fitted(inner, callbacks=[Leaves(error)])
    assert fitted(inner, epochs=2) == steps_of(0, 1)
    with contextlib.suppress(KeyboardInterrupt):
        fitted(inner, callbacks=[Leaves(error)])
    assert fitted(inner, epochs=1) == steps_of(2)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_fits_of_fewer_steps_whatever_was_read_ahead() -> None:
    inner = sequence()

    def fits(count: int, **options: Any) -> list:
        options = {"epochs": 1, "steps_per_epoch": 3} | options
        return sum((fitted(inner, **options) for _ in range(count)), [])

    if LEGACY:  # an epoch is over when Keras 2 says so
        assert fits(2) == steps_of(0, 1, batches=3)
        with pytest.warns(UserWarning, match="the last 2 of each are never trained"):
            assert fits(1) == steps_of(2, batches=3)
        return
    assert fits(2) == steps_of(0, 0, batches=3)
    with pytest.warns(UserWarning, match="epoch 0 was begun before and left before"):
        assert fits(1) == steps_of(0, batches=3)
    inner = sequence()
    for epoch in range(4):  # the mend
        inner.set_epoch(epoch)
        assert fits(1) == steps_of(epoch, batches=3)
    inner = sequence()  # of the third epoch, 2 of its batches in the second fit
    assert fits(2, steps_per_epoch=2, epochs=6) == steps_of(0, 1, 2, 3)


@about("tensorflow", "jax")
def test_steps_that_are_made_at_once_are_trained_beyond_those_asked_for() -> None:
    model = counting_model(ROWS)
    model.compile("sgd", model.loss, steps_per_execution=5, jit_compile=False)
    inner = sequence()
    for epoch in range(4):  # 5 of 3 steps: the whole epoch
        model.fit(inner, epochs=1, steps_per_epoch=3, shuffle=False, verbose=0)
        assert inner.epoch == epoch


def test_a_dataset_of_which_fit_takes_a_part() -> None:
    with pytest.warns(UserWarning, match="left before its last batch, by .* take.n"):
        steps = fitted(sequence().to_tf_dataset().take(3))
    assert steps == steps_of(0, 0, 0, batches=3)
    inner = sequence()
    data = inner.to_tf_dataset()
    for _ in range(2):
        assert fitted(data, epochs=1, steps_per_epoch=3) == steps_of(0, batches=3)
    with pytest.warns(UserWarning, match="left before its last batch, by `steps_per_"):
        fitted(data, epochs=1, steps_per_epoch=3)
    data = inner.to_tf_dataset().repeat()  # the mend
    inner.set_epoch(0)
    assert fitted(data, epochs=5, steps_per_epoch=3) == steps_of(0, 1, 2)


@pytest.mark.parametrize("feed", ["sequence", "dataset"])
def test_fits_of_fewer_steps_between_evaluations(feed: str) -> None:
    """All epochs begin with the same batches, if there is no shuffling."""

    def fits(inner: Any, count: int) -> list:
        data, steps = inner.to_tf_dataset() if feed == "dataset" else inner, []
        for _ in range(count):
            steps += fitted(data, epochs=1, steps_per_epoch=2)
            model_of("other").evaluate(data, verbose=0)
        return steps

    inner = sequence(shuffle=False, seed=None)
    first = fits(inner, 2)
    said = "`fit` has steps_per_epoch=2" if LEGACY and feed == "sequence" else (
        "epoch 2, or another in the same order, was begun before and left"
    )
    with pytest.warns(UserWarning, match=said):
        assert first + fits(inner, 1) == 3 * first[:2]
    if LEGACY and feed == "sequence":
        return
    assert fits(sequence(), 4) == [  # the mend
        step for epoch in range(4) for step in steps_of(epoch, batches=2)
    ]


@about("keras_3")  # in Keras 2, threads belong to fit
def test_keras_3_threads_of_a_wrapper_are_said_to_read_wrongly() -> None:
    inner = sequence()
    data = Forwards(inner)
    data.workers = 2
    with pytest.warns(UserWarning, match="train some batches twice"):
        fitted(data, epochs=1)
    assert inner.epoch == 0


@about("keras_3")
def test_keras_3_threads_of_a_wrapper_without_hooks_move_on() -> None:
    data = Wrapper(sequence())
    data.workers = 2
    with pytest.warns(UserWarning, match="train some batches twice"):
        steps = fitted(data, epochs=2)
    assert len(steps) == 10 and steps[:5] != steps[5:]


@about("keras_3")
def test_keras_3_processes_of_a_wrapper_move_on() -> None:
    inner = sequence()
    data = Forwards(inner)
    data.workers, data.use_multiprocessing = 1, True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps = fitted(data, epochs=2)
    if KERAS < (3, 7):  # which forks behind the begin of an epoch
        assert steps == steps_of(0, 1) and inner.epoch == 1
        return
    found = {tuple(step) for step in steps_of(0, 1)}
    # Batches read ahead of the end keep the order before; see the warning.
    assert len(steps) == 10 and {tuple(step) for step in steps} <= found
    assert inner.epoch == 2  # it has begun: processes are forked before

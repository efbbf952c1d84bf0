"""What Keras calls, as FACTS logged it, and which rows that trains.

Each test trains a model that counts how often each row was trained and finds the
(epoch of the data, batch) of every training step from the rows it trained.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import (
    LEGACY,
    ON_TENSORFLOW,
    Recorded,
    Trained,
    about,
    counting_model,
    keras,
    recorded,
    since,
)

ROWS, BATCH = 30, 6  # five batches; no two of any epochs below hold the same rows
BATCHES = ROWS // BATCH


def located(steps: list[list[int]], sequence: Recorded) -> list[tuple[int, int]]:
    """The (epoch, batch) that each training step was."""
    order = recorded(
        sequence.num_rows, sequence.batch_size, shuffle=True, seed=sequence.seed
    )
    places = {}
    for epoch in range(sequence.epoch + 1):
        order.set_epoch(epoch)
        for batch in range(len(order)):
            places[tuple(sorted(order.batch_rows(batch)))] = (epoch, batch)
    assert len(places) == (sequence.epoch + 1) * len(order)
    return [places[tuple(step)] for step in steps]


def whole(epoch: int, batches: int = BATCHES) -> list[tuple[int, int]]:
    """All batches of an epoch, in order."""
    return [(epoch, batch) for batch in range(batches)]


@pytest.mark.parametrize("shuffled_by_keras", [False, True])
@pytest.mark.parametrize(
    ("batches", "built"), [(1, True), (1, False), (2, False), (5, True)]
)
def test_fits_in_a_row_train_every_row_once_an_epoch(
    batches: int, built: bool, shuffled_by_keras: bool
) -> None:
    rows = batches * BATCH - 1
    train = recorded(rows, BATCH, shuffle=True, seed=3)
    model = counting_model(rows, built=built)
    trained = Trained()

    for _ in range(2):
        model.fit(
            train,
            epochs=2,
            shuffle=shuffled_by_keras,
            verbose=0,
            callbacks=[trained],
        )

    assert trained.epochs == [batches, 2 * batches, 3 * batches, 4 * batches]
    for epoch in range(4):
        steps = trained.steps[epoch * batches : (epoch + 1) * batches]
        assert sorted(row for step in steps for row in step) == list(range(rows))
        if batches > 1:
            found = located(steps, train)
            if shuffled_by_keras:
                found = sorted(found)
            assert found == whole(epoch, batches)
    assert train.epoch == 3  # until the next pass begins


@since(3, 7)
def test_traces_of_fit_are_those_logged() -> None:
    train = recorded(8, 2, shuffle=True, seed=3)
    held_out = recorded(8, 4, letter="v")
    held_out.trace = train.trace
    model = counting_model(8)
    model.fit(train, validation_data=held_out, epochs=2, shuffle=False, verbose=0)

    trace = " ".join(train.trace)
    logged = {
        "tensorflow": "t0 t1 E B t0 t1 t2 t3 E v0 v1 E B v0 v1 E "
        "B t0 t1 t2 t3 E E B v0 v1 E",
        # Validation is a part of the epoch there.
        "tf_keras": "t0 t0 t1 t2 t3 v0 v0 v1 E E t0 t1 t2 t3 v0 v1 E E",
        "peek": "B t0 E B t0 t1 t2 t3 E E B v0 v1 E B t0 t1 t2 t3 E E B v0 v1 E",
    }
    kind = ("tf_keras" if LEGACY else "tensorflow") if ON_TENSORFLOW else "peek"
    assert trace == logged[kind], "FACTS.md, `Keras's calls`, no longer holds"
    assert train.epoch == held_out.epoch == 1


@since(3, 7)
def test_traces_of_evaluate_and_predict_are_those_logged() -> None:
    rows = recorded(6, 2)
    model = counting_model(6)
    model.fit(rows, shuffle=False, verbose=0)  # the peek of JAX and torch is over

    rows.trace.clear()
    model.evaluate(rows, verbose=0)
    logged = "t0 t1 E B t0 t1 t2 E" if ON_TENSORFLOW else "E B t0 t1 t2 E"
    assert " ".join(rows.trace) == ("t0 t0 t1 t2 E" if LEGACY else logged)

    rows.trace.clear()
    model.predict(rows, verbose=0)
    logged = "t0 t1 B t0 t1 t2 E" if ON_TENSORFLOW else "B t0 t1 t2 E"
    assert " ".join(rows.trace) == ("t0 t0 t1 t2 E" if LEGACY else logged)
    assert rows.epoch == 2


@pytest.mark.parametrize("before", ["evaluate", "predict"])
@pytest.mark.parametrize("batches", [1, 2, 5])
def test_other_passes_serve_an_epoch_each(before: str, batches: int) -> None:
    rows = batches * BATCH
    train = recorded(rows, BATCH, shuffle=True, seed=3)
    model = counting_model(rows)
    trained = Trained()

    getattr(model, before)(train, verbose=0)
    assert sorted({epoch for epoch, _ in train.served}) == [0]
    model.fit(train, epochs=2, shuffle=False, verbose=0, callbacks=[trained])

    assert sorted(trained.rows[:rows]) == sorted(trained.rows[rows:])
    assert sorted(trained.rows[:rows]) == list(range(rows))
    if batches > 1:
        assert located(trained.steps, train) == [*whole(1, batches), *whole(2, batches)]


def test_fewer_steps_than_batches() -> None:
    train = recorded(ROWS, BATCH, shuffle=True, seed=3)
    trained = Trained()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        counting_model(ROWS).fit(
            train,
            steps_per_epoch=2,
            epochs=6,
            shuffle=False,
            verbose=0,
            callbacks=[trained],
        )
    found = located(trained.steps, train)
    if LEGACY:
        # Keras 2 starts over at batch 0 in each of its epochs. What it read ahead
        # counts as served, so when the epoch of the data moves on is not certain.
        assert [batch for _, batch in found] == [0, 1] * 6
        assert found == sorted(found, key=lambda place: place[0])
        return
    # One pass goes on over epochs of Keras; the third is short, with its warning.
    assert found == [*whole(0), *whole(1)]
    assert trained.epochs == [2, 4, 5, 7, 9, 10]
    assert sum("ran out of data" in str(warning.message) for warning in said) == 2
    # All of epoch 1 is served; TensorFlow read its last batch before the last B.
    assert train.epoch in ((1, 2) if ON_TENSORFLOW else (1,))


@since(3, 7)
@about("keras_3")  # Keras 2 starts over at batch 0 in each epoch
def test_steps_that_divide_the_batches() -> None:
    train = recorded(6 * BATCH, BATCH, shuffle=True, seed=3)
    trained = Trained()
    counting_model(6 * BATCH).fit(
        train,
        steps_per_epoch=3,
        epochs=6,
        shuffle=False,
        verbose=0,
        callbacks=[trained],
    )
    assert located(trained.steps, train) == [
        *whole(0, 6),
        *whole(1, 6),
        *whole(2, 6),
    ]


@pytest.mark.parametrize(
    ("stop_after", "shuffled_by_keras"), [(1, False), (2, True), (4, False), (5, True)]
)
def test_an_epoch_left_early_is_served_again(
    stop_after: int, shuffled_by_keras: bool
) -> None:
    train = recorded(ROWS, BATCH, shuffle=True, seed=3)
    model = counting_model(ROWS)
    stopped, trained = Trained(stop_after=stop_after + BATCHES), Trained()
    options: dict[str, Any] = {"shuffle": shuffled_by_keras, "verbose": 0}

    model.fit(train, epochs=4, callbacks=[stopped], **options)
    assert len(stopped.steps) == stop_after + BATCHES
    assert {epoch for epoch, _ in located(stopped.steps, train)[BATCHES:]} == {1}
    model.fit(train, epochs=2, callbacks=[trained], **options)

    assert sorted(trained.rows[:ROWS]) == list(range(ROWS))
    assert sorted(trained.rows[ROWS:]) == list(range(ROWS))
    found = located(trained.steps, train)
    if shuffled_by_keras:
        found = sorted(found)
    # Also where Keras was stopped at the last batch, after which it calls no E.
    assert found == [*whole(1), *whole(2)]


@about("tensorflow", "jax", "tf_keras")  # Keras refuses it on torch
@pytest.mark.parametrize("batches", [4, 5])
def test_several_steps_at_once(batches: int) -> None:
    rows = batches * BATCH
    train = recorded(rows, BATCH, shuffle=True, seed=3)
    model = counting_model(rows)
    model.compile(
        optimizer=model.optimizer,
        loss=model.loss,
        steps_per_execution=2,
        **({"jit_compile": False} if ON_TENSORFLOW else {}),
    )
    trained = Trained()
    with warnings.catch_warnings():
        # Keras, of the odd batch: "Your input ran out of data".
        warnings.simplefilter("ignore")
        model.fit(train, epochs=3, shuffle=False, verbose=0, callbacks=[trained])
    counts = -np.asarray(model.get_weights()[0])[:, 0]
    assert np.rint(counts).tolist() == [3] * rows
    assert {(e, b) for e, b in train.served} == {
        *whole(0, batches),
        *whole(1, batches),
        *whole(2, batches),
    }


def test_initial_epoch() -> None:
    """`initial_epoch` numbers Keras's epochs, not those of the data."""
    train = recorded(ROWS, BATCH, shuffle=True, seed=3)
    trained = Trained()
    counting_model(ROWS).fit(
        train,
        initial_epoch=3,
        epochs=5,
        shuffle=False,
        verbose=0,
        callbacks=[trained],
    )
    assert located(trained.steps, train) == [*whole(0), *whole(1)]


def test_a_loop_of_ones_own_names_its_epochs() -> None:
    train = recorded(ROWS, BATCH, shuffle=True, seed=3)
    model = counting_model(ROWS)
    for epoch in (0, 1, 7):
        train.set_epoch(epoch)
        for x, y in train:
            model.train_on_batch(x, y)
    counts = -np.asarray(model.get_weights()[0])[:, 0]
    assert np.rint(counts).tolist() == [3] * ROWS
    assert train.served == [(e, b) for e in (0, 1, 7) for b in range(BATCHES)]


@about("tf_keras")  # an argument of fit in Keras 2 only
def test_keras_2_workers() -> None:
    train = recorded(ROWS, BATCH, shuffle=True, seed=3)
    trained = Trained()
    counting_model(ROWS).fit(
        train, epochs=2, shuffle=False, workers=2, verbose=0, callbacks=[trained]
    )
    assert located(trained.steps, train) == [*whole(0), *whole(1)]
    # Its enqueuer calls E as well, when it is not stopped before; see FACTS.md.
    assert train.trace.count("E") >= 2


@about("keras_3")  # Keras 2 does not ask the sequence
def test_keras_is_shown_one_worker() -> None:
    train = recorded(ROWS, BATCH, workers=2)
    assert (train.workers, train.use_multiprocessing) == (1, False)
    assert isinstance(train, keras.utils.Sequence)

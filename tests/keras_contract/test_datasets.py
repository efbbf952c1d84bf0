"""to_tf_dataset in fit, evaluate and predict: every row once an epoch, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import (
    BACKEND,
    Trained,
    about,
    compile_model,
    counting_model,
    input_of,
    keras,
    one_hot,
)

from sequence_loader import SparseBatchSequence

ROWS = 46
OUTPUTS = ["dense"] if BACKEND == "torch" else ["dense", "sparse"]


def sequence_of(output: str = "dense", **options: Any) -> SparseBatchSequence:
    """Ten batches of one-hot rows, the last of them smaller."""
    options = {"batch_size": 5, "shuffle": True, "seed": 4} | options
    return SparseBatchSequence(
        one_hot(ROWS), np.arange(ROWS) % 3, output=output, **options
    )


def expected(sequence: SparseBatchSequence, epochs: int) -> list[list[int]]:
    """The rows of each batch, sorted: a training step does not tell their order."""
    found = []
    for epoch in range(epochs):
        sequence.set_epoch(epoch)
        found += [sorted(sequence.batch_rows(i).tolist()) for i in range(len(sequence))]
    sequence.set_epoch(0)
    return found


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("output", OUTPUTS)
def test_fit_trains_batch_after_batch(output: str, workers: int) -> None:
    sequence = sequence_of(output, workers=workers, max_queue_size=2)
    batches = expected(sequence, 3)
    trained = Trained()
    model = counting_model(ROWS, sparse=output == "sparse")
    model.fit(
        sequence.to_tf_dataset(),
        epochs=3,
        validation_data=sequence_of(output, shuffle=False).to_tf_dataset(),
        callbacks=[trained],
        shuffle=False,
        verbose=0,
    )
    assert trained.steps == batches
    assert trained.epochs == [10, 20, 30]
    assert sequence.epoch == 2  # until the next pass begins


class Planned(SparseBatchSequence):
    planned = [7, 3, 3]

    def on_epoch_begin(self) -> None:
        self.set_epoch(self.planned[0])
        self.planned = self.planned[1:]
        super().on_epoch_begin()


def test_a_hook_sets_the_epoch_that_fit_begins() -> None:
    sequence = Planned(
        one_hot(ROWS), np.arange(ROWS) % 3, batch_size=5, shuffle=True, seed=4
    )
    trained = Trained()
    counting_model(ROWS).fit(
        sequence.to_tf_dataset(),
        epochs=3,
        callbacks=[trained],
        shuffle=False,
        verbose=0,
    )
    batches = expected(sequence_of(), 8)
    assert trained.steps == [*batches[70:], *batches[30:40], *batches[30:40]]


@pytest.mark.parametrize("output", OUTPUTS)
def test_batch_rows_tells_which_rows_were_predicted(output: str) -> None:
    sequence = sequence_of(output)
    model = counting_model(ROWS, sparse=output == "sparse")
    model.set_weights([np.arange(ROWS, dtype="float32").reshape(-1, 1)])
    orders = []
    for given in (sequence, sequence.to_tf_dataset(), sequence.to_tf_dataset()):
        found = model.predict(given, verbose=0).ravel().tolist()
        rows = [sequence.batch_rows(i) for i in range(len(sequence))]
        assert np.concatenate(rows).tolist() == found
        orders.append(found)
    assert orders[0] != orders[1] != orders[2]
    assert sequence.state_dict()["epoch"] == 3


class Reads(keras.callbacks.Callback):
    """Reads a whole epoch before the first batch is asked for."""

    def __init__(self, hook: str, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self.read, self.done = read, False
        setattr(self, hook, self.once)

    def once(self, *_: Any, **__: Any) -> None:
        if not self.done:
            self.done = True
            self.read(self.model)


@pytest.mark.parametrize("reader", ["sequence", "dataset", "evaluate", "loop"])
@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin"]
)
def test_what_a_callback_reads_first_does_not_move_fit(hook: str, reader: str) -> None:
    sequence = sequence_of()
    batches = expected(sequence, 3)
    reads: dict[str, Callable[[Any], Any]] = {
        "sequence": lambda model: model.predict(sequence, verbose=0),
        "dataset": lambda model: model.predict(sequence.to_tf_dataset(), verbose=0),
        "evaluate": lambda model: model.evaluate(sequence, verbose=0),
        "loop": lambda _: list(sequence.to_tf_dataset()),
    }
    trained = Trained()
    model = counting_model(ROWS)
    for epochs in (2, 1):
        model.fit(
            sequence.to_tf_dataset(),
            epochs=epochs,
            callbacks=[Reads(hook, reads[reader]), trained],
            shuffle=False,
            verbose=0,
        )
    assert trained.steps == batches


def test_what_a_callback_sets_before_fit_reads_is_served() -> None:
    sequence = sequence_of()
    batches = expected(sequence, 3)

    def read(model: Any) -> None:
        model.predict(sequence.to_tf_dataset(), verbose=0)
        sequence.set_epoch(2)

    trained = Trained()
    counting_model(ROWS).fit(
        sequence.to_tf_dataset(),
        callbacks=[Reads("on_train_begin", read), trained],
        shuffle=False,
        verbose=0,
    )
    assert trained.steps == batches[20:]


def test_a_model_that_is_built_by_the_first_batch() -> None:
    sequence = sequence_of()
    batches = expected(sequence, 2)
    trained = Trained()
    counting_model(ROWS, built=False).fit(
        sequence.to_tf_dataset(), epochs=2, callbacks=[trained], shuffle=False,
        verbose=0,
    )
    # Before the first step there are no weights to compare with.
    assert trained.steps[1:] == batches[1:]


def test_an_epoch_left_early_is_served_again() -> None:
    sequence = sequence_of()
    batches = expected(sequence, 1)
    dataset = sequence.to_tf_dataset()
    for stop_after, steps in ((3, batches[:3]), (None, batches)):
        trained = Trained(stop_after=stop_after)
        counting_model(ROWS).fit(
            dataset, callbacks=[trained], shuffle=False, verbose=0
        )
        if stop_after:
            assert trained.steps[:stop_after] == steps
            assert sequence.epoch == 0 or len(trained.steps) == len(batches)
            sequence.set_epoch(0)  # tf-keras goes on to the end of the epoch
        else:
            assert trained.steps == steps


@pytest.mark.parametrize("output", OUTPUTS)
def test_evaluate_and_predict_are_those_of_arrays(output: str) -> None:
    model = compile_model(
        keras.Sequential(
            [
                input_of(ROWS, sparse=output == "sparse"),
                keras.layers.Dense(3, activation="softmax"),
            ]
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    x, y = one_hot(ROWS).toarray(), np.arange(ROWS) % 3
    if output == "sparse":
        dense = compile_model(
            keras.Sequential([input_of(ROWS), keras.layers.Dense(3, "softmax")]),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        dense.set_weights(model.get_weights())
    else:
        dense = model
    sequence = sequence_of(output, shuffle=False)
    np.testing.assert_allclose(
        model.evaluate(sequence.to_tf_dataset(), verbose=0),
        dense.evaluate(x, y, batch_size=5, verbose=0),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        model.predict(sequence.to_tf_dataset(), verbose=0),
        dense.predict(x, verbose=0),
        rtol=1e-4,
    )


@pytest.mark.parametrize("output", OUTPUTS)
def test_class_weight_is_honoured(output: str) -> None:
    model = counting_model(ROWS, sparse=output == "sparse")
    model.fit(
        sequence_of(output).to_tf_dataset(),
        class_weight={0: 1.0, 1: 3.0, 2: 0.5},
        shuffle=False,
        verbose=0,
    )
    times = -np.asarray(model.get_weights()[0])[:, 0]
    np.testing.assert_allclose(times, np.array([1, 3, 0.5])[np.arange(ROWS) % 3])


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_dataset_takes_the_sparse_tensors_of_a_subclass(output: str) -> None:
    class Same(SparseBatchSequence):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)

    sequence = Same(one_hot(ROWS), batch_size=5, output=output)
    model = counting_model(ROWS, sparse=output == "sparse")
    model.set_weights([np.arange(ROWS).reshape(-1, 1)])
    answers = model.predict(sequence.to_tf_dataset(), verbose=0)
    np.testing.assert_array_equal(answers[:, 0], np.arange(ROWS))


@about("torch")
def test_torch_is_told_to_take_dense() -> None:
    with pytest.raises(ValueError, match="`output` must be 'dense'"):
        sequence_of("sparse").to_tf_dataset()

"""What a checkpoint holds beside layers: losses, callbacks, optimizers, validation.

Each test breaks a `fit` off, runs it again, and compares all with one that was not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_contract.real_keras import CHECKPOINTS, about, compile_model, keras

from sequence_loader import SequenceCheckpoint, SparseBatchSequence
from sequence_loader.feed.checkpoint_fit import SavedFit

X = np.random.default_rng(1).random((23, 5), np.float32)
Y = (X.sum(axis=1) > 2.5).astype("float32")
BATCHES = 6

pytestmark = [
    CHECKPOINTS, pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Your input ran out of data"),
]  # fmt: skip


class Broken(Exception):
    """Ends a `fit` as a fault of a callback does."""


class Breaks(keras.callbacks.Callback):
    """Raises after so many batches."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if not self.left:
            raise Broken


def wait_for_saves() -> None:
    for thread in threading.enumerate():
        if thread.name == "sequence_loader-checkpoint":
            thread.join()


def small() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((5,)), layers.Dense(3, "relu"), layers.Dense(1, "sigmoid")]
    )


def fitted(
    path: Path,
    compiled: Callable[[], tuple[Any, list[Any]]],
    *,
    every: int = 2,
    after: int = 0,
    delete: bool = True,
    **options: Any,
) -> Any:
    """The model of a script, broken off after so many batches.

    Args:
        path: Of its checkpoints.
        compiled: Makes a model and callbacks, as the script does.
        every: Batches from save to save.
        after: When it breaks off; never, where it is 0.
        delete: Whether the checkpoints are deleted at its end.
        **options: Of `fit`.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    model, callbacks = compiled()
    train = SparseBatchSequence(X, Y, batch_size=4, shuffle=True, seed=5)
    saves = SequenceCheckpoint(path, train, every=every, delete_checkpoint=delete)
    options = {"epochs": 3, "verbose": 0, **options}
    validation = options.pop("validates", None)
    if validation is not None:
        options["validation_data"] = validation()
    try:
        model.fit(train, callbacks=[saves, *callbacks, Breaks(after)], **options)
        assert not after
    except Broken:
        wait_for_saves()
    return model


def result(model: Any, *more: Any) -> list[Any]:
    variables = [*model.variables, *model.optimizer.variables, *more]
    return [
        model.history.history,
        *(keras.ops.convert_to_numpy(each).tolist() for each in variables),
    ]


def same_when_broken_off(
    tmp_path: Path,
    compiled: Callable[[], tuple[Any, list[Any]]],
    *breaks: int,
    held: Callable[[Any], list[Any]] = lambda model: [],
    **options: Any,
) -> None:
    whole = fitted(tmp_path / "whole", compiled, **options)
    for after in breaks:
        fitted(tmp_path / "broken", compiled, after=after, **options)
    again = fitted(tmp_path / "broken", compiled, **options)
    assert result(again, *held(again)) == result(whole, *held(whole))


@about("keras_3")
def test_a_validation_of_a_drawn_seed_goes_on_however_often_it_is_broken_off(
    tmp_path, monkeypatch
):
    """Its order shows in the last bits of its means."""
    seeds = iter([11, 11, 98, 99])  # a script that is run again draws another
    draws = "sequence_loader.order.seeds.draw_seed"
    monkeypatch.setattr(draws, lambda: next(seeds))

    def compiled() -> Any:
        model = small()
        compile_model(model, "adam", "binary_crossentropy")
        return model, []

    def validates() -> Any:
        return SparseBatchSequence(X, Y, batch_size=4, shuffle=True)

    # Broken off after a validation, and again before the next one.
    same_when_broken_off(tmp_path, compiled, 9, 1, validates=validates)


class Drawing(keras.losses.Loss):
    """Draws, counts, and asks a callback."""

    def __init__(self, callback: Any) -> None:
        super().__init__()
        self.seeds = keras.random.SeedGenerator(9)
        self.calls = keras.Variable(0.0, trainable=False)
        self.callback = callback

    def call(self, y_true: Any, y_pred: Any) -> Any:
        self.calls.assign_add(0.1)
        noise = keras.random.normal(keras.ops.shape(y_pred), seed=self.seeds)
        error = keras.ops.mean(keras.ops.square(y_true - y_pred - noise), axis=-1)
        return error * (1 + self.calls) * self.callback.weight


class Anneals(keras.callbacks.Callback):
    """Holds a weight that a loss multiplies with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = keras.Variable(1.0, trainable=False)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.weight.assign(self.weight * 0.9)


@about("tensorflow", "torch")  # where training may change what a model does not hold
def test_what_a_loss_draws_from_and_counts_and_what_a_callback_changes(tmp_path):
    def compiled() -> Any:
        anneals, model = Anneals(), small()
        compile_model(model, "adam", Drawing(anneals))
        return model, [anneals]

    same_when_broken_off(tmp_path, compiled, 3, 6)


BETA: Any = None


def scaled(beta: Any, y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1) * beta * BETA


class Grows(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        BETA.assign(BETA * 1.1)


class Wanes:
    """No callback, but a method of it is called by one."""

    def __init__(self, beta: Any) -> None:
        self.held = [beta]

    def wane(self, batch: int, logs: Any) -> None:
        self.held[0].assign(self.held[0] * 0.8)


@about("tensorflow", "torch")
def test_globals_of_a_script_and_what_is_bound_to_functions(tmp_path):
    def compiled() -> Any:
        global BETA
        model = small()
        BETA, beta = (keras.Variable(1.0, trainable=False) for _ in range(2))

        def loss(y_true: Any, y_pred: Any, call: Any = partial(scaled, beta)) -> Any:
            return call(y_true, y_pred)

        compile_model(model, "adam", loss)
        wanes = keras.callbacks.LambdaCallback(on_train_batch_end=Wanes(beta).wane)
        return model, [Grows(), wanes]

    same_when_broken_off(tmp_path, compiled, 3, 6)


class Annealed:
    """Neither a layer nor a callback, and held by both; in a list of its own kind."""

    def __init__(self, *more: Annealed) -> None:
        self.beta = keras.Variable(1.0, trainable=False)
        self.draws = keras.random.SeedGenerator(4)
        self.more = list(more)


@about("tensorflow", "torch")
def test_what_an_object_of_the_script_holds(tmp_path):
    def compiled() -> Any:
        held = Annealed(Annealed())

        class Noise(keras.layers.Layer):
            def __init__(self) -> None:
                super().__init__()
                self.held = held

            def call(self, inputs: Any, training: Any = None) -> Any:
                shape, (inner,) = keras.ops.shape(inputs), self.held.more
                noise = keras.random.normal(shape, seed=inner.draws)
                return inputs + noise * self.held.beta if training else inputs

        class Wane(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                held.beta.assign(held.beta * 0.9)

        model = keras.Sequential([keras.Input((5,)), Noise(), keras.layers.Dense(1)])
        compile_model(model, "adam", "mse")
        return model, [Wane()]

    same_when_broken_off(tmp_path, compiled, 3, 6)


@about("torch")
def test_buffers_of_torch_modules(tmp_path):
    """A script that is run again begins with other weights, which their config has."""
    seeds = iter([7, 7, 8, 9])

    def compiled() -> Any:
        import torch

        torch.manual_seed(next(seeds))
        modules = torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.3)
        wraps = keras.layers.TorchModuleWrapper(
            torch.nn.Sequential(*modules), output_shape=(None, 4)
        )
        model = keras.Sequential([keras.Input((5,)), wraps, keras.layers.Dense(1)])
        compile_model(model, "adam", "mse")
        return model, []

    def buffers(model: Any) -> list[Any]:
        return list(model.layers[0].module.buffers())

    same_when_broken_off(
        tmp_path, compiled, 3, 6, held=buffers, validation_data=(X, Y)
    )


@about("tensorflow")
def test_variables_and_generators_of_tensorflow(tmp_path):
    import tensorflow as tf

    class Own(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.calls = tf.Variable(0.0, trainable=False)
            self.draws = tf.random.Generator.from_seed(3)

        def call(self, inputs: Any, training: Any = None) -> Any:
            if training:
                self.calls.assign_add(0.01)
                inputs = inputs + self.draws.normal(tf.shape(inputs))
            return inputs * (1 + self.calls)

    def compiled() -> Any:
        model = keras.Sequential([keras.Input((5,)), Own(), keras.layers.Dense(1)])
        compile_model(model, "sgd", "mse")
        return model, []

    same_when_broken_off(tmp_path, compiled, 3, 6)


@about("tensorflow")
def test_optimizers_in_a_list_that_are_built_at_the_first_step(tmp_path):
    import tensorflow as tf

    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = small(), keras.layers.Dense(5)
            self.both = [keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.02)]

        def call(self, inputs: Any) -> Any:
            return self.one(self.other(inputs))

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape(persistent=True) as tape:
                loss = tf.reduce_mean(tf.square(self(x)[:, 0] - y))
            for optimizer, part in zip(self.both, (self.one, self.other)):
                variables = part.trainable_variables
                optimizer.apply(tape.gradient(loss, variables), variables)
            return {"loss": loss}

    def compiled() -> Any:
        model = Two()
        compile_model(model)
        return model, []

    def slots(model: Any) -> list[Any]:
        return [one for each in model.both for one in each.variables]

    same_when_broken_off(tmp_path, compiled, 3, 6, held=slots)


@about("keras_3")
def test_gradients_that_are_accumulated(tmp_path):
    def compiled() -> Any:
        model = small()
        adam = keras.optimizers.Adam(0.02, gradient_accumulation_steps=3)
        compile_model(model, adam, "binary_crossentropy")
        return model, []

    same_when_broken_off(tmp_path, compiled, 3, 5)


@about("keras_3")
def test_weights_that_are_swapped_between_epochs(tmp_path):
    """Saved at the end of an epoch, they are swapped back as the next begins."""

    def compiled() -> Any:
        model = small()
        adam = keras.optimizers.Adam(0.02, use_ema=True)
        compile_model(model, adam, "binary_crossentropy")
        return model, [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]

    same_when_broken_off(tmp_path, compiled, BATCHES + 1)


@about("keras_3")
def test_what_is_stopped_in_the_middle_of_an_epoch_is_saved_once_and_at_its_end(
    tmp_path, monkeypatch
):
    """A save of its middle would train on, behind callbacks that saw its end."""

    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 3

    def compiled() -> Any:
        model = small()
        compile_model(model, "adam", "binary_crossentropy")
        return model, [Stops()]

    saved = []
    own = SavedFit.save
    monkeypatch.setattr(
        SavedFit, "save",
        lambda self, *place: saved.append(place) or own(self, *place),
    )  # fmt: skip
    fitted(tmp_path / "run", compiled)
    assert saved == [(0, 2), (1, 0)]


class Notes(keras.callbacks.Callback):
    """Has its state once training begins, and goes on in what it is given back."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.held: dict[str, Any] = {"seen": [], "place": (0, "b"), "sum": np.zeros(2)}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.held["seen"].append(-epoch)
        self.held["sum"] += 100

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        assert isinstance(self.held["place"], tuple)
        self.held["seen"].append(batch)
        self.held["sum"] += 1

    def state_dict(self) -> Any:
        return self.held

    def load_state_dict(self, state: Any) -> None:
        self.held = state


class Late(Notes):
    """Is told of batches in a thread, and is slow."""

    async_safe = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        time.sleep(0.02)
        super().on_train_batch_end(batch, logs)


@about("keras_3")
@pytest.mark.parametrize("kind", [Notes, Late])
def test_what_a_callback_is_given_back_is_what_was_saved(tmp_path, kind, monkeypatch):
    made = []

    def compiled() -> Any:
        model = small()
        compile_model(model, "adam", "binary_crossentropy")
        made.append((model, kind()))
        return model, [made[-1][1]]

    def held(model: Any) -> list[Any]:
        (notes,) = (notes for one, notes in made if one is model)
        seen = notes.held["seen"]  # by several threads in any order
        return [np.array(sorted(seen) if kind is Late else seen), notes.held["sum"]]

    monkeypatch.setattr(Breaks, "async_safe", kind is Late, raising=False)
    same_when_broken_off(tmp_path, compiled, 3, BATCHES + 1, held=held)


@about("keras_3")
@pytest.mark.parametrize("value", [{1: 2}, 1j, np.datetime64("now"), object()])
def test_a_state_that_cannot_be_saved_is_refused_before_training(tmp_path, value):
    class Holds(keras.callbacks.Callback):
        def state_dict(self) -> Any:
            return {"held": [value]}

        def load_state_dict(self, state: Any) -> None:
            raise AssertionError

    model = small()
    compile_model(model, "adam", "binary_crossentropy")
    with pytest.raises(TypeError, match="state of the callback Holds must be made of"):
        fitted(tmp_path / "run", lambda: (model, [Holds()]))
    assert int(model.optimizer.iterations) == 0


@about("keras_3")
@pytest.mark.filterwarnings("ignore:unclosed file")  # by a `fit` that is broken off
def test_columns_of_a_csv_log_stay_where_they_were(tmp_path):
    """Those of an epoch without validation are in another order."""

    def compiled() -> Any:
        model = small()
        # By its name between those of the validation.
        metric = keras.metrics.MeanSquaredError(name="value")
        compile_model(model, "adam", "binary_crossentropy", metrics=[metric])
        return model, [keras.callbacks.CSVLogger(log, append=True)]

    rows = []
    for path, breaks in (("whole", ()), ("broken", (BATCHES + 3,))):
        log = tmp_path / f"{path}.csv"
        for after in (*breaks, 0):
            fitted(
                tmp_path / path, compiled, after=after, validation_freq=2,
                validation_data=(X, Y),
            )  # fmt: skip
        rows.append(log.read_text())
    assert rows[0] == rows[1]

    def anew() -> Any:
        return compiled()[0], [keras.callbacks.CSVLogger(log)]

    with pytest.warns(UserWarning, match="broken.csv.* is lost. Pass append=True"):
        fitted(tmp_path / "anew", anew, epochs=1)


@about("torch")
def test_torch_draws_once_for_each_iterator(tmp_path):
    """Under ``steps_per_epoch`` it is made before the save that is gone on from."""

    class Drops(keras.layers.Layer):
        def call(self, inputs: Any, training: Any = None) -> Any:
            import torch

            return torch.nn.functional.dropout(inputs, 0.4, bool(training))

    def compiled() -> Any:
        model = keras.Sequential([keras.Input((5,)), Drops(), keras.layers.Dense(1)])
        compile_model(model, "adam", "mse")
        return model, []

    # Where an epoch of the data has ended, and where one goes on.
    for number, after in enumerate((BATCHES + 1, 4)):
        same_when_broken_off(
            tmp_path / str(number), compiled, after, every=9, epochs=5,
            steps_per_epoch=3,
        )  # fmt: skip


@about("keras_3")
def test_steps_of_numpy_are_saved(tmp_path):
    def compiled() -> Any:
        model = small()
        compile_model(model, "adam", "binary_crossentropy")
        return model, []

    fitted(tmp_path / "run", compiled, after=3, steps_per_epoch=np.int64(4))
    assert len(list((tmp_path / "run").glob("*.checkpoint"))) == 1


@about("keras_3")
def test_what_a_script_changed_is_refused(tmp_path):
    class Wraps(keras.Model):
        """A subclass, which does not tell of its layers."""

        def __init__(self, rate: float) -> None:
            super().__init__()
            self.drops, self.last = keras.layers.Dropout(rate), keras.layers.Dense(1)

        def call(self, inputs: Any, training: Any = None) -> Any:
            return self.last(self.drops(inputs, training=training))

    def compiled(rate: float = 0.01, dropout: float = 0.2, trains: bool = True) -> Any:
        model = Wraps(dropout)
        model.last.trainable = trains
        compile_model(model, keras.optimizers.SGD(rate, 0.9), "mse")
        return model, [keras.callbacks.LearningRateScheduler(lambda epoch, x: x / 2)]

    path = tmp_path / "run"
    model = fitted(path, compiled, after=9, delete=False, epochs=3)
    for message, change, options in (
        ('"learning_rate": 0.01', {"rate": 0.02}, {}),
        ("layers: ", {"dropout": 0.3}, {}),
        ("differ", {"trains": False}, {}),
        ("class_weight: None in the ", {}, {"class_weight": {0: 1.0, 1: 2.0}}),
        ("`epochs` must not be fewer than were trained", {}, {"epochs": 1}),
    ):
        with pytest.raises(ValueError) as caught:
            fitted(path, lambda change=change: compiled(**change), **options)
        assert message in str(caught.value)
    # A model that trained in this process goes on with what callbacks made of its rate.
    whole = fitted(tmp_path / "whole", compiled, epochs=3)
    again = fitted(path, lambda: (model, compiled()[1]), epochs=3)
    assert result(again) == result(whole)

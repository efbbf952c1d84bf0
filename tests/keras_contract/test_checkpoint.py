"""`fit` that is interrupted anywhere and run again equals one that never was.

A run is built anew each time, as a script does, and broken off by an exception in a
callback; `tests/test_killed.py` kills processes. What is compared: weights, all
variables of the optimizer, seed generators, History, and which steps were trained.
"""

from __future__ import annotations

import random
import re
import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from keras_contract.real_keras import (
    BACKEND,
    CHECKPOINTS,
    LEGACY,
    about,
    counting_model,
    input_of,
    keras,
    one_hot,
)

from sequence_loader import (
    BlockShuffleSampler,
    SequenceCheckpoint,
    SparseBatchSequence,
    StoreWriter,
    open_store,
)

# Whole batches: another size costs a fit as much again, to compile it.
ROWS, FEATURES, BATCHES = 110, 12, 11
X = sp.random(
    ROWS, FEATURES, density=0.4, format="csr", dtype="float32",
    random_state=np.random.default_rng(1),
)  # fmt: skip
Y = (np.asarray(X.sum(axis=1)).ravel() > 2.4).astype("float32")

pytestmark = [
    CHECKPOINTS, pytest.mark.filterwarnings("ignore:Your input ran out of data")
]  # fmt: skip


class Broken(Exception):
    """Ends a `fit` as a fault of a callback does."""


class Breaks(keras.callbacks.Callback):
    """Writes down what was trained; raises at the n-th call of a hook."""

    def __init__(self, hook: str, after: int, error: type[BaseException]) -> None:
        super().__init__()
        self.steps: list[tuple[int, int]] = []
        self._hook, self._left, self._error = hook, after, error

    def _called(self, hook: str) -> None:
        if hook == self._hook:
            self._left -= 1
            if not self._left:
                raise self._error("broken off")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append((self.epoch, batch))
        self._called("batch")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._called("validation")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._called("epoch")


class Run:
    """One run of a script: all is made anew, and trained with `fit`."""

    def __init__(self, path: Path, **setting: Any) -> None:
        self.path, self.setting = path, {"every": 2, "epochs": 3, **setting}

    def fit(
        self, hook: str = "", after: int = 0, error: type[BaseException] = Broken
    ) -> bool:
        """Returns whether it came to its end."""
        setting = self.setting
        output = setting.get("output", "dense")
        keras.utils.set_random_seed(3)
        random.seed(7)
        layers = keras.layers
        self.model = model = keras.Sequential(
            [input_of(FEATURES, sparse=output == "sparse")] * setting.get("built", True)
            + [layers.Dense(6, "relu"), layers.Dropout(0.3), layers.Dense(1, "sigmoid")]
        )
        rate: Any = 0.02
        if setting.get("schedule", True):
            rate = keras.optimizers.schedules.ExponentialDecay(0.02, 5, 0.9)
        model.compile(
            keras.optimizers.Adam(rate), setting.get("loss", "binary_crossentropy"),
            metrics=["accuracy"], jit_compile=BACKEND == "jax",
            steps_per_execution=setting.get("at_once", 1),
        )  # fmt: skip
        options = {
            "batch_size": 10, "shuffle": True, "seed": 5, "output": output,
            "workers": setting.get("workers", 1), **setting.get("sequence", {}),
        }  # fmt: skip
        if "store" in setting:
            self.store = open_store(self.path.parent / "a.store", **setting["store"])
            self.sequence = SparseBatchSequence(self.store, **options)
        else:
            x, y = setting.get("data", (X, Y))
            rows = setting.get("rows", ROWS)
            self.sequence = SparseBatchSequence(x[:rows], y[:rows], **options)
        names = {"every", "keep", "delete_checkpoint"} & setting.keys()
        kept = {name: setting[name] for name in names}
        self.breaks = Breaks(hook, after, error)
        callbacks = [
            SequenceCheckpoint(self.path, self.sequence, **kept),
            *setting.get("callbacks", list)(),
            self.breaks,
        ]
        fed: Any = self.sequence
        if setting.get("dataset"):
            fed = self.sequence.to_tf_dataset()
        options = {"shuffle": False} if setting.get("dataset") else {}
        if setting.get("steps"):
            options["steps_per_epoch"] = setting["steps"]
        if setting.get("class_weight"):
            options["class_weight"] = setting["class_weight"]
        if setting.get("initial_epoch"):
            options["initial_epoch"] = setting["initial_epoch"]
        if setting.get("validates"):
            options["validation_data"] = SparseBatchSequence(
                X[:42], Y[:42], batch_size=7, shuffle=True, seed=2, output=output
            )
        try:
            model.fit(
                fed, epochs=setting["epochs"], verbose=0, callbacks=callbacks, **options
            )
        except error:
            for thread in threading.enumerate():  # the last save is written
                if thread.name == "sequence_loader-checkpoint":
                    thread.join()
            return False
        return True

    @property
    def result(self) -> dict[str, Any]:
        """What there is to be compared."""
        model = self.model
        variables = [*model.variables, *model.optimizer.variables]
        return {
            "variables": [
                keras.ops.convert_to_numpy(one.value).tolist() for one in variables
            ],
            "history": model.history.history,
            "epochs": model.history.epoch,
        }


def uninterrupted(tmp_path: Path, **setting: Any) -> Run:
    run = Run(tmp_path / "whole", **setting)
    assert run.fit()
    return run


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of the run without any setting."""
    return uninterrupted(tmp_path_factory.mktemp("plain")).result


def interrupted(
    tmp_path: Path, whole: Run, breaks: list[tuple[str, int]], **setting: Any
) -> Run:
    """Broken off as told, each time run again; then to the end."""
    run, steps = Run(tmp_path / "broken", **setting), whole.breaks.steps
    at_once = setting.get("at_once", 1)
    trained = 0  # how many steps of the uninterrupted run
    for hook, after in [*breaks, ("", 0)]:
        assert run.fit(hook, after) is not bool(hook)
        again = run.breaks.steps
        first = steps.index(again[0]) if again else trained
        # What was lost since the last save is trained again, and nothing else is.
        assert again == steps[first : first + len(again)]
        lost = trained - first
        assert 0 <= lost * at_once <= run.setting["every"] + at_once
        trained = first + len(again)
    assert trained == len(steps)
    assert run.result == whole.result
    assert not (tmp_path / "broken").exists()  # it ended by itself
    return run


CHAIN = [
    ("batch", 5),  # in the first epoch
    ("batch", 4),  # the second resume in one epoch
    ("epoch", 1),  # at an epoch's end, before it is saved
    ("validation", 2),  # after it
    ("batch", 1),
    ("batch", 13),  # in the third epoch
]


def rates() -> list[Any]:
    """Callbacks of Keras that hold a state, as strict as can be."""
    callbacks = keras.callbacks
    return [
        callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5, min_delta=0.5),
    ]


@about("keras_3")
@pytest.mark.parametrize(
    "setting",
    [
        {},
        pytest.param(
            {"built": False, "schedule": False, "callbacks": rates, "validates": True},
            marks=pytest.mark.once,
        ),
        {"output": "sparse", "workers": 2, "class_weight": {0: 0.5, 1: 2.0}},
        {"dataset": True},
        {"dataset": True, "output": "sparse", "workers": 2},
        pytest.param(
            {"at_once": 3, "rows": ROWS - 7, "validates": True}, marks=pytest.mark.once
        ),
        {"at_once": 2, "dataset": True, "steps": 4, "epochs": 7},
    ],
    ids=lambda each: re.sub(" at 0x[0-9a-f]+", "", str(each)),  # as in all processes
)
def test_a_run_that_is_broken_off_and_run_again_equals_one_that_was_not(
    tmp_path, setting
):
    sparse_dataset = {"dataset", "output"} <= setting.keys()
    if BACKEND == "torch" and ("at_once" in setting or sparse_dataset):
        pytest.skip("about tensorflow and jax, which have these")
    chain = CHAIN if "callbacks" in setting else CHAIN[:3]
    if "at_once" in setting:  # fewer executions
        chain = [(hook, -(-after // setting["at_once"])) for hook, after in chain]
    whole = uninterrupted(tmp_path, **setting)
    interrupted(tmp_path, whole, chain, **setting)
    # Epochs are whole, in order, and each is another.
    epochs = whole.result["history"]["loss"]
    assert len(epochs) == len(set(epochs)) == whole.setting["epochs"]


@about("keras_3")
@pytest.mark.parametrize(
    ("steps", "dataset"),
    [(9, False), (30, False)]
    # The test above has four of a dataset.
    + [pytest.param(n, feed, marks=pytest.mark.long)
       for n, feed in ((4, True), (4, False), (9, True))],
)
def test_steps_per_epoch(tmp_path, dataset, steps):
    """Fewer than there are batches, many more, and one that does not divide."""
    epochs = 3 if steps > BATCHES else 6
    setting = {"steps": steps, "dataset": dataset, "every": 3, "epochs": epochs}
    whole = uninterrupted(tmp_path, **setting)
    breaks = [("batch", 5), ("batch", 8), ("epoch", 1), ("batch", 7)]
    interrupted(tmp_path, whole, breaks, **setting)


@pytest.mark.once
@about("keras_3")
def test_a_fit_that_goes_on_in_the_middle_is_no_epoch_that_is_never_whole(tmp_path):
    """Resumed in the second epoch of the data, and warnings are errors."""
    setting = {"steps": 5, "dataset": True, "every": 3, "epochs": 6, "rows": 100}
    whole = uninterrupted(tmp_path, **setting)
    interrupted(tmp_path, whole, [("batch", 13)], **setting)


@pytest.mark.once
@about("keras_3")
@pytest.mark.parametrize(
    "dataset", [False, pytest.param(True, marks=pytest.mark.long)]
)
def test_a_store_that_is_read_through_windows(tmp_path, dataset):
    x = sp.random(
        4000, FEATURES, density=0.4, format="csr", dtype="float32",
        random_state=np.random.default_rng(2),
    )  # fmt: skip
    with StoreWriter(tmp_path / "a.store", FEATURES) as writer:
        writer.append(x, y=(np.asarray(x.sum(axis=1)).ravel() > 2.4).astype("float32"))
    setting: dict[str, Any] = {
        "store": {"memory": 40_000},
        "sequence": {
            "batch_size": 400, "shuffle": False, "seed": None,
            "sampler": BlockShuffleSampler(5, 16, 64),
        },
        "dataset": dataset,
    }  # fmt: skip
    whole = uninterrupted(tmp_path, **setting)
    run = interrupted(tmp_path, whole, CHAIN[:2], **setting)
    mapped = uninterrupted(tmp_path, **setting | {"store": {}})
    assert mapped.result == run.result
    readers = [type(each.store._reader()).__name__ for each in (mapped, whole, run)]
    assert readers == ["MapReader", "WindowReader", "WindowReader"]


@about("keras_3")
@pytest.mark.parametrize("output", ["dense", "sparse"])
def test_every_row_is_trained_once_an_epoch(tmp_path, output):
    """Each time a row is trained its weight falls by 1, and 0.5 is lost nowhere."""
    for after in (4, 9, 13, None):
        model = counting_model(ROWS, sparse=output == "sparse")
        sequence = SparseBatchSequence(
            one_hot(ROWS),
            np.zeros(ROWS, "float32"), batch_size=10, shuffle=True, seed=1,
            output=output,
        )  # fmt: skip
        checkpoint = SequenceCheckpoint(tmp_path / "run", sequence, every=3)
        breaks = Breaks("batch", after or 0, Broken)
        try:
            model.fit(
                sequence, epochs=4, verbose=0, callbacks=[checkpoint, breaks]
            )
        except Broken:
            assert after is not None
    assert after is None
    weights = keras.ops.convert_to_numpy(model.layers[-1].kernel).ravel()
    assert weights.tolist() == [-4.0] * ROWS


@pytest.mark.once
@about("keras_3")
def test_ctrl_c_and_a_kept_checkpoint(tmp_path):
    """A run that had ended trains nothing, and goes on where `epochs` is more."""
    setting: dict[str, Any] = {"delete_checkpoint": False, "keep": 2}
    whole = uninterrupted(tmp_path, epochs=4)
    run = Run(tmp_path / "broken", **setting)
    assert not run.fit("batch", 3, KeyboardInterrupt)
    assert not run.fit("batch", 3, KeyboardInterrupt)
    assert run.fit()
    assert len(list(run.path.glob("*.checkpoint"))) == 2
    ended = run.result
    assert run.fit() and run.breaks.steps == [] and run.result == ended
    run.setting["epochs"] = 4
    assert run.fit() and len(run.breaks.steps) == BATCHES
    assert run.result == whole.result


class Stops(keras.callbacks.Callback):
    """Stops training at the end of the second epoch, which it counts itself."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1
        if self.epochs == 2:
            self.model.stop_training = True

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "seen": np.arange(self.epochs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state["seen"].tolist() == list(range(state["epochs"]))
        self.epochs = state["epochs"]


@pytest.mark.once
@about("keras_3")
def test_a_run_that_stopped_early_trains_nothing_again(tmp_path):
    def callbacks() -> list[Any]:
        stopping = keras.callbacks.EarlyStopping(
            "val_loss", patience=9, restore_best_weights=True
        )
        return [Stops(), stopping]

    setting: dict[str, Any] = {
        "callbacks": callbacks, "delete_checkpoint": False, "validates": True
    }  # fmt: skip
    whole = uninterrupted(tmp_path, **setting)
    assert whole.result["epochs"] == [0, 1]
    run = Run(tmp_path / "broken", **setting)
    assert not run.fit("batch", 15)
    assert run.fit() and run.result == whole.result
    run.setting["epochs"] = 9
    assert run.fit() and run.breaks.steps == [] and run.result == whole.result
    # Another `fit` of that model begins where it is told to, as always.
    history = run.model.fit(X.toarray(), Y, epochs=1, verbose=0)
    assert history.epoch == [0]


@pytest.mark.once
@about("keras_3")
def test_initial_epoch_may_be_what_it_was_and_not_beyond(tmp_path):
    setting: dict[str, Any] = {"initial_epoch": 1}
    whole = uninterrupted(tmp_path, **setting)
    run = Run(tmp_path / "broken", **setting)
    assert not run.fit("batch", 5)
    run.setting["initial_epoch"] = 2
    with pytest.raises(ValueError, match="`initial_epoch` must not be beyond"):
        run.fit()
    run.setting["initial_epoch"] = 0
    assert run.fit() and run.result == whole.result
    assert run.result["epochs"] == [1, 2]


# Refusals


def doubled(x: Any, rng: Any) -> Any:
    return 2 * x


def refuses(run: Run, *parts: str, **changed: Any) -> None:
    before = run.setting
    run.setting = {**before, **changed}
    with pytest.raises(ValueError) as caught:
        run.fit()
    run.setting = before
    for part in parts:
        assert part in str(caught.value), caught.value


@pytest.mark.once
@about("keras_3")
def test_a_checkpoint_of_something_else_is_refused(tmp_path, monkeypatch, plain):
    run = Run(tmp_path / "run")
    assert not run.fit("batch", 5)
    refuses(run, "order: ", sequence={"seed": 6})
    refuses(run, "global_batch_size: 10 in the state, 5", sequence={"batch_size": 5})
    refuses(run, "data: ", data=(X, 1 - Y))
    refuses(run, "data: ", data=(X * 2, Y))
    refuses(run, "augment: NoneType in", "doubled here", sequence={"augment": doubled})
    refuses(run, "dtype: float32 in", "float64 here", sequence={"dtype": "float64"})
    refuses(run, "num_rows: 110 in the state, 109 here", data=(X[1:], Y[1:]))
    refuses(run, "in its model:", "loss: ", "mean_squared", loss="mean_squared_error")
    refuses(run, "optimizer 0: ", "ExponentialDecay", schedule=False)
    if BACKEND != "torch":
        refuses(run, "`fit` and its sequence:", "steps_per_epoch: None in", steps=3)
        refuses(run, "steps_per_execution: 1 in the checkpoint, 2 here", at_once=2)
    refuses(
        run, "callbacks that hold a state:", "Stops",
        callbacks=lambda: [Stops()],
    )  # fmt: skip
    refuses(
        run, "received BackupAndRestore beside", "Leave one of them out",
        callbacks=lambda: [keras.callbacks.BackupAndRestore(tmp_path / "other")],
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(keras.layers, "Dropout", lambda rate: keras.layers.Dense(6))
        refuses(run, "in its model:", "layers: ")
    # None of them has hurt it.
    assert run.fit() and run.result == plain


@pytest.mark.once
@about("keras_3")
def test_what_is_not_the_sequence_is_refused(tmp_path):
    model = counting_model(4)
    x, y = np.eye(4, dtype="float32"), np.zeros(4, "float32")
    sequence, other = (SparseBatchSequence(x, y, batch_size=2) for _ in range(2))
    for fed in (other, x, other.to_tf_dataset(), sequence.to_tf_dataset().repeat(2)):
        with pytest.raises(ValueError, match="`fit` must be given the `sequence` of"):
            model.fit(
                fed, y if fed is x else None, shuffle=False, verbose=0,
                callbacks=[SequenceCheckpoint(tmp_path / "run", sequence)],
            )  # fmt: skip


@pytest.mark.once
@about("keras_3")
def test_processes_that_train_models_of_their_own_are_refused(tmp_path):
    sequence = {"shard": (0, 2), "remainder": "pad"}
    run = Run(tmp_path / "run", sequence=sequence)
    refuses(run, "`shard` must have a part for each", "received (0, 2)")


@pytest.mark.once
@about("keras_3")
def test_two_jobs_on_one_path_refuse_each_other(tmp_path):
    run = Run(tmp_path / "run")

    class Second(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                second = Run(tmp_path / "run")
                refuses(second, "must belong to one job")

    run.setting["callbacks"] = lambda: [Second()]
    assert run.fit()
    assert len(run.breaks.steps) == 3 * BATCHES


@pytest.mark.once
@about("keras_3")
def test_a_damaged_checkpoint_is_left_for_the_one_before(tmp_path, plain):
    run = Run(tmp_path / "run", keep=2)
    assert not run.fit("batch", 9)
    newest = sorted(run.path.glob("*.checkpoint"))[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="is damaged .*; the one before it is taken"):
        assert run.fit()
    assert run.breaks.steps[0] == (0, 6) and run.result == plain
    assert not run.fit("batch", 3)
    for path in run.path.glob("*.checkpoint"):
        path.write_bytes(b"\0" * 100)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="Delete them, to"):
        run.fit()


@pytest.mark.once
@about("keras_3")
@pytest.mark.parametrize("raises", [False, True])
def test_a_full_disk_keeps_the_last_good_one(tmp_path, monkeypatch, raises, plain):
    """Files may not grow beyond a limit, from the second save on."""
    run = Run(tmp_path / "run")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fills(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 4:
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    if raises:
        own = SequenceCheckpoint.__init__

        def init(self: Any, *arguments: Any, **options: Any) -> None:
            own(self, *arguments, **options, on_error="raise")

        monkeypatch.setattr(SequenceCheckpoint, "__init__", init)
    run.setting["callbacks"] = lambda: [Fills()]
    try:
        if raises:
            with pytest.raises(OSError, match="could not write a checkpoint"):
                run.fit()
        else:
            with pytest.warns(UserWarning, match="saved before is still there. Tr"):
                assert not run.fit("batch", 9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (kept,) = run.path.glob("*.checkpoint*")
    assert kept.name in ("00000001.checkpoint", "00000002.checkpoint")
    run.setting["callbacks"] = list
    assert run.fit() and run.breaks.steps[0] in ((0, 2), (0, 4))
    assert run.result == plain


def test_arguments_and_other_keras_are_refused(tmp_path, monkeypatch):
    sequence = SparseBatchSequence(X, Y, batch_size=10, seed=1)
    if LEGACY:
        with pytest.raises(ValueError, match="SequenceCheckpoint needs Keras 3; this"):
            SequenceCheckpoint(tmp_path, sequence)
        return
    for error, name, call in (
        (TypeError, "path", lambda: SequenceCheckpoint(3, sequence)),
        (TypeError, "sequence", lambda: SequenceCheckpoint("a", X)),
        (ValueError, "every", lambda: SequenceCheckpoint("a", sequence, every=0)),
        (ValueError, "keep", lambda: SequenceCheckpoint("a", sequence, keep=0)),
        (ValueError, "on_error", lambda: SequenceCheckpoint("a", sequence, on_error=1)),
    ):
        with pytest.raises(error, match=f"`{name}` must be"):
            call()
    with monkeypatch.context() as patch:
        patch.setattr(keras, "__version__", "3.10.9")
        with pytest.raises(ValueError, match="Keras 3.11 or newer; this is Keras 3.10"):
            SequenceCheckpoint("a", sequence)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="which is a file. Pass another path"):
        Run(tmp_path / "file").fit()

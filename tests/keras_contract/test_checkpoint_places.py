"""Where checkpoints lie, and to which `fit` of a script they belong."""

from __future__ import annotations

import os
import resource
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from keras_contract.real_keras import CHECKPOINTS, about, compile_model, keras
from keras_contract.test_checkpoint_state import (
    BATCHES,
    Breaks,
    Broken,
    X,
    Y,
    fitted,
    result,
    small,
    wait_for_saves,
)

from sequence_loader import SequenceCheckpoint, SparseBatchSequence
from sequence_loader.feed import checkpoint_fit
from sequence_loader.feed.checkpoint_files import CheckpointFolder, Options

pytestmark = [CHECKPOINTS, about("keras_3"), pytest.mark.once]


def compiled() -> Any:
    model = small()
    compile_model(model, "adam", "binary_crossentropy")
    return model, []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What comes of a run that nothing breaks off."""
    return result(fitted(tmp_path_factory.mktemp("whole"), compiled))


def begins(path: Path, **options: Any) -> tuple[Any, tuple[int, int]]:
    """The model of a run to the end, and the first step that it trained."""
    steps: list[tuple[int, int]] = []

    class Notes(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append((self.epoch, batch))

    model = fitted(path, lambda: (compiled()[0], [Notes()]), **options)
    return model, steps[0]


def test_a_relative_path_is_of_the_folder_that_was_current(
    tmp_path, monkeypatch, whole
):
    class Moves(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            os.chdir(tmp_path / "other")

    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    fitted(Path("run"), lambda: (compiled()[0], [Moves()]), after=5)
    assert len(list((tmp_path / "run").glob("*.checkpoint"))) == 1
    os.chdir(tmp_path)
    model, first = begins(Path("run"))
    assert first == (0, 4) and result(model) == whole
    assert os.listdir(tmp_path) == ["other"] and not os.listdir("other")


def test_a_link_to_a_folder(tmp_path, whole):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    fitted(tmp_path / "link", compiled, after=5)
    model, first = begins(tmp_path / "folder")
    assert first == (0, 4) and result(model) == whole


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="`path` must be a directory that can be written"):
        fitted(tmp_path / "file" / "run", compiled)


@contextmanager
def files_that_may_not_grow(*, now: bool = True) -> Iterator[Any]:
    """The disk is full: at once, or when what this gives is called."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))

    try:
        if now:
            fill()
        yield fill
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_from_the_start_lets_training_go_on(tmp_path, whole):
    with pytest.warns(UserWarning, match=r"could not write .*File too large"):
        with files_that_may_not_grow():
            model = fitted(tmp_path / "run", compiled)
    assert result(model) == whole and not (tmp_path / "run").exists()


@pytest.mark.parametrize("delete", [False, True])
def test_a_disk_that_is_full_at_the_end_matters_where_checkpoints_are_kept(
    tmp_path, whole, delete
):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with files_that_may_not_grow(now=False) as fill:

            def fills(epoch: int, logs: Any) -> None:
                if epoch == 2:
                    wait_for_saves()  # that of the epoch before is written
                    fill()

            ends = keras.callbacks.LambdaCallback(on_epoch_end=fills)
            model = fitted(
                tmp_path, lambda: (compiled()[0], [ends]), every=99, delete=delete
            )
    assert result(model) == whole
    told = [str(each.message) for each in caught if each.category is UserWarning]
    assert ["could not write" in each for each in told] == [True] * (not delete)


def test_a_folder_that_is_deleted_meanwhile_is_told_of(tmp_path):
    """Nothing that was saved is there any more, and none says that it is."""

    def deletes(batch: int, logs: Any) -> None:
        if batch == 3:
            (tmp_path / "run").rename(tmp_path / "gone")  # it is being written to

    gone = keras.callbacks.LambdaCallback(on_train_batch_end=deletes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted(
            tmp_path / "run", lambda: (compiled()[0], [gone]), epochs=1, every=1
        )
    told = [str(each.message) for each in caught if "could not write" in str(each)]
    assert told and all("None is there to go on from. Tr" in each for each in told)


def test_any_byte_that_has_changed_is_damage(tmp_path):
    """NumPy has many names for it."""
    folder = CheckpointFolder(
        Options(tmp_path, 1, 2, True, True), True, lambda: False
    )  # fmt: skip
    content = np.arange(64, dtype=np.uint8)
    for number in (1, 2):
        folder.publish({"number": number}, content)
    folder.tell_of_error()
    newest = tmp_path / "00000002.checkpoint"
    good = newest.read_bytes()
    for place in (*range(140), -1, -40):  # and of what it is a header of
        for bit in 1, 64, 128:
            damaged = bytearray(good)
            damaged[place] ^= bit
            newest.write_bytes(damaged)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = folder.load()
            assert found is not None
            number, header, read = found
            assert header["number"] == number and read.tolist() == content.tolist()
    folder.release()


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(checkpoint_fit, "FORMAT", 1)
    fitted(tmp_path, compiled, after=5)
    with pytest.raises(ValueError, match="of format 2; .* has one of format 1. Delete"):
        fitted(tmp_path, compiled)
    for old in tmp_path.glob("*.checkpoint"):
        old.unlink()
    assert result(fitted(tmp_path, compiled)) == whole


def test_a_second_fit_of_a_script_wants_a_path_of_its_own(tmp_path):
    """What one fit saved would count as trained by the one before it."""

    def script(paths: list[str], after: int = 0) -> Any:
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        model, train = compiled()[0], SparseBatchSequence(X, Y, batch_size=4, seed=5)
        for path, breaks in zip(paths, (Breaks(0), Breaks(after))):
            saves = SequenceCheckpoint(tmp_path / path, train, every=2)
            try:
                model.fit(train, epochs=2, verbose=0, callbacks=[saves, breaks])
            except Broken:
                wait_for_saves()
        return model

    expected = result(script(["whole", "whole"]))
    script(["one", "one"], after=5)
    with pytest.raises(ValueError, match="whose model had made 12 steps before, that"):
        script(["one", "one"])
    script(["first", "second"], after=5)
    assert result(script(["first", "second"])) == expected


def test_another_seed_of_keras_is_another_fit(tmp_path):
    fitted(tmp_path, compiled, after=5)

    def seeded() -> Any:
        keras.utils.set_random_seed(4)
        return compiled()

    with pytest.raises(ValueError, match=r"after keras.utils.set_random_seed\(3\), th"):
        fitted(tmp_path, seeded)


def test_a_list_of_callbacks_may_be_given_again(tmp_path):
    model, train = compiled()[0], SparseBatchSequence(X, Y, batch_size=4, seed=5)
    saves = SequenceCheckpoint(tmp_path / "run", train, every=2)
    callbacks = keras.callbacks.CallbackList([saves], add_history=True, model=model)
    for _ in range(2):
        history = model.fit(train, epochs=1, verbose=0, callbacks=callbacks)
        assert len(callbacks.callbacks) == 3  # with History, and one of its own
        assert not (tmp_path / "run").exists()
    assert history.epoch == [0]


class Best(keras.callbacks.EarlyStopping.__mro__[1]):  # type: ignore[misc]
    """A monitor of a user's own, which holds what Keras's hold."""

    def __init__(self, held: list[Any]) -> None:
        super().__init__("loss")
        self.held = held

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.best is None:
            self.best = logs["loss"]
        self.held.append(self.best)


def test_what_a_monitor_of_a_users_own_saw_best(tmp_path):
    def held(path: str, *breaks: int) -> Any:
        found: list[Any] = []
        for after in (*breaks, 0):
            fitted(
                tmp_path / path, lambda: (compiled()[0], [Best(found)]), after=after
            )
        return found

    assert held("broken", BATCHES + 3) == held("whole")


@pytest.mark.parametrize("what", ["y", "x", "sparse x", "sample_weight"])
def test_a_single_value_that_differs_is_other_data(what):
    """Also in a row that is not among those that are looked at of larger data."""
    x, y, weight = np.arange(3000.0).reshape(1000, 3), np.arange(1000), np.ones(1000)

    def state() -> Any:
        features = sp.csr_array(x) if what == "sparse x" else x
        return SparseBatchSequence(features, y, weight, seed=1).state_dict()

    before = state()
    {"y": y, "sample_weight": weight}.get(what, x[:, 1])[501] += 1
    assert before == {**state(), "data": before["data"]}
    assert before != state()


def test_indices_of_other_integers_are_the_same_data():
    matrix = sp.csr_array(np.eye(9))
    states = []
    for dtype in np.int32, np.int64:
        matrix.indices = matrix.indices.astype(dtype)
        matrix.indptr = matrix.indptr.astype(dtype)
        states.append(SparseBatchSequence(matrix, batch_size=4, seed=1).state_dict())
    assert states[0] == states[1]

"""A sequence that is saved after any batch goes on with the next one.

Orders are compared as they are served, batch by batch, never sorted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import SEEDS, csr, plain, samplers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from store_data import marked, written

from sequence_loader import (
    BalancedSampler,
    ShuffleSampler,
    SparseBatchSequence,
    WeightedSampler,
    open_store,
)
from sequence_loader.store import window as store_window

ROWS = 60
STORED = marked(ROWS, 7, density=0.6)


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resume") / "a.store"
    written(path, STORED).close()
    return path


class Backwards:
    """A sampler of a user's own, without parameters to be seen."""

    def length(self, num_rows: int) -> int:
        return num_rows

    def rows(self, num_rows: int, epoch: int, start: int, stop: int) -> Any:
        return np.arange(num_rows - start - 1, num_rows - stop - 1, -1)


def drawing() -> st.SearchStrategy[Any]:
    weights = np.arange(ROWS) % 7
    return st.one_of(
        st.builds(WeightedSampler, st.just(weights), SEEDS, st.sampled_from([31, 90])),
        st.builds(BalancedSampler, st.just(weights % 3), SEEDS),
        st.just(Backwards()),
    )


@st.composite
def made(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Options of a sequence, and how many processes share a batch of 12 rows."""
    options: dict[str, Any] = {
        "remainder": draw(st.sampled_from(["keep", "drop", "pad"])),
        "output": draw(st.sampled_from(["dense", "csr", "sparse"])),
        "workers": draw(st.sampled_from([1, 1, 2])),
        "max_queue_size": draw(st.sampled_from([1, 10])),
        "seed": draw(SEEDS),
    }
    options["sampler"] = draw(st.one_of(samplers(), drawing()))
    count = draw(st.sampled_from([1, 1, 2, 3]))
    assume(options["remainder"] != "keep" or count == 1)
    return options, count


def contents(batch: tuple[Any, ...]) -> list[Any]:
    """A batch, so that it can be compared."""
    return [plain(part).tolist() for part in batch]


def shards(source: Any, options: dict[str, Any], count: int) -> list[Any]:
    return [
        SparseBatchSequence(
            source, np.arange(ROWS), batch_size=12 // count, shard=(index, count),
            **options,
        )
        for index in range(count)
    ]  # fmt: skip


@given(made(), st.sampled_from(["memory", "maps", "windows"]), st.data())
@settings(max_examples=settings.default.max_examples // 2)
def test_a_loop_that_is_saved_after_any_batch_goes_on_with_the_next(
    store_path: Path, configuration: Any, kept: str, data: st.DataObject
) -> None:
    options, count = configuration
    source: Any = STORED
    if kept != "memory":
        memory = "auto" if kept == "maps" else 20_000
        source = open_store(store_path, memory=memory)
    epoch = data.draw(st.sampled_from([0, 1, 1000]))
    for sequence in shards(source, options, count):
        sequence.set_epoch(epoch)
        states, whole = [sequence.state_dict()], []
        for batch in sequence:
            whole.append(contents(batch))
            states.append(json.loads(json.dumps(sequence.state_dict())))
        sequence.on_epoch_end()
        states.append(sequence.state_dict())
        following = [contents(batch) for batch in sequence]
        sequence.close()
        for done, state in enumerate(states):
            with SparseBatchSequence(
                source,
                np.arange(ROWS),
                batch_size=sequence._plan.batch_size,
                shard=sequence._plan.shard,
                **options,
            ) as again:
                again.load_state_dict(state)
                assert again.state_dict() == state
                rest = [contents(batch) for batch in again]
                again.on_epoch_end()
                after = [contents(batch) for batch in again]
                if done <= len(whole):
                    assert rest == whole[done:]
                    assert after == following
                else:
                    assert rest == following


@given(st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2, 3, 4]), st.integers(0, 5))
def test_another_number_of_processes_goes_on_with_the_same_global_batch(
    before: int, after: int, done: int
) -> None:
    x, options = csr(ROWS, 3), {"shuffle": True, "seed": 3, "remainder": "pad"}
    sequences = shards(x, options, before)
    rows: list[list[int]] = [[] for _ in range(6)]
    for sequence in shards(x, options, 1):
        for number in range(len(sequence)):
            rows[number] = sequence.batch_rows(number).tolist()
    state = sequences[0].state_dict(batches=done)
    assert state["rows_trained"] == min(12 * done, ROWS)
    served: list[list[int]] = [[] for _ in range(5 - done)]
    for sequence in shards(x, options, after):
        sequence.load_state_dict(state)
        for number, (_, y, _) in enumerate(sequence):
            served[number] += y.tolist()
    assert served == rows[done:5]


@pytest.mark.parametrize(
    ("sampler", "parameters", "order"),
    [
        (Backwards(), {}, "e93d99aa965268a8"),
        (
            WeightedSampler(np.ones(100), 1, 300),
            {"seed": 1, "num_draws": 300},
            "50bc3fcbb0f96815",
        ),
    ],
)
def test_a_state_is_what_it_was(sampler, parameters, order):
    sequence = SparseBatchSequence(
        csr(100, 3), np.arange(100), batch_size=8, sampler=sampler, seed=5
    )
    sequence.set_epoch(4)
    assert sequence.state_dict(batches=2) == {
        "version": 3,
        "order_version": 1,
        "epoch": 4,
        "rows_trained": 16,
        "seed": 5,
        "sampler": type(sampler).__name__,
        "parameters": parameters,
        "num_rows": 100,
        "global_batch_size": 8,
        "remainder": "keep",
        "order": order,
        "data": {
            "x": "100 x 3, 141 values, 354beb3202df1ca5 e19066fe",
            "y": "100, 8dfac74d74de3220 71e7c202",
        },
    }


def test_a_second_save_in_one_epoch_counts_from_the_start_of_the_epoch():
    def loop() -> Any:
        return SparseBatchSequence(csr(40, 3), batch_size=4, shuffle=True, seed=1)

    whole = [contents(batch) for batch in loop()]
    served, state = [], loop().state_dict()
    for stop_after in (3, 1, 4, 2):
        sequence = loop()
        sequence.load_state_dict(state)
        for number, batch in enumerate(sequence, 1):
            served.append(contents(batch))
            state = sequence.state_dict()
            if number == stop_after:
                break
    assert served == whole and state["rows_trained"] == 40


@pytest.mark.parametrize("moves_on", ["set_epoch", "on_epoch_end", "both_hooks"])
def test_loops_however_they_move_on_serve_whole_epochs_after_it(moves_on):
    def sequence() -> Any:
        return SparseBatchSequence(csr(30, 3), batch_size=4, shuffle=True, seed=1)

    def served(sequence: Any) -> list[Any]:
        epochs = []
        for epoch in range(sequence.epoch, 4):
            if moves_on == "set_epoch":
                sequence.set_epoch(epoch)
            elif moves_on == "both_hooks":
                sequence.on_epoch_begin()
            epochs.append([contents(batch) for batch in sequence])
            if moves_on != "set_epoch":
                sequence.on_epoch_end()
        return epochs

    whole, saved = served(sequence()), sequence()
    saved.set_epoch(1)
    for done in range(9):
        again = sequence()
        again.load_state_dict(saved.state_dict(batches=done))
        assert served(again) == [whole[1][done:], *whole[2:]]
    assert len({json.dumps(epoch) for epoch in whole}) == 4


def test_a_look_at_a_batch_or_at_all_by_evaluate_leaves_the_place_alone():
    keras = pytest.importorskip("keras")
    sequence = SparseBatchSequence(csr(20, 3), np.arange(20), batch_size=4, seed=1)
    sequence.load_state_dict(sequence.state_dict(batches=2))
    sequence[0]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse", jit_compile=False)
    model.evaluate(sequence, verbose=0)
    assert sequence.state_dict()["rows_trained"] == 8
    assert [y.tolist() for _, y in sequence] == [
        [8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19],
    ]  # fmt: skip
    # `set_epoch` begins anew once a loop has gone on.
    sequence.set_epoch(0)
    assert sequence.state_dict()["rows_trained"] == 0
    assert len(list(sequence)) == 5


def test_fit_refuses_to_train_the_first_part_of_an_epoch_twice():
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse", jit_compile=False)
    for served in (lambda s: s, lambda s: s.to_tf_dataset()):
        sequence = SparseBatchSequence(csr(20, 3), np.arange(20), batch_size=4, seed=1)
        sequence.load_state_dict(sequence.state_dict(batches=2))
        with pytest.raises(Exception, match="or pass load_state_dict a state whose"):
            model.fit(served(sequence), verbose=0, shuffle=False)
        sequence.load_state_dict({**sequence.state_dict(), "rows_trained": 0})
        model.fit(served(sequence), verbose=0, shuffle=False)  # the mend


@pytest.mark.parametrize("overrides", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_dataset_goes_on_and_then_serves_whole_epochs(overrides, workers):
    class Doubled(SparseBatchSequence):
        if overrides:

            def __getitem__(self, index):
                x, y = super().__getitem__(index)
                return x * 2, y

    def sequence() -> Any:
        return Doubled(
            csr(50, 3), np.arange(50), batch_size=4, shuffle=True, seed=1,
            workers=workers,
        )  # fmt: skip

    whole = sequence()
    dataset = whole.to_tf_dataset()
    assert dataset.cardinality() == 13
    epochs = [[y.numpy().tolist() for _, y in dataset] for _ in range(3)]
    for done in (0, 1, 6, 11, 12, 13):
        again = sequence()
        again.load_state_dict(again.state_dict(batches=done))
        dataset = again.to_tf_dataset()
        assert dataset.cardinality() == 13
        assert [y.numpy().tolist() for _, y in dataset] == epochs[0][done:]
        assert [y.numpy().tolist() for _, y in dataset] == epochs[1]
        assert again.state_dict()["epoch"] == 2
        again.close()


@pytest.mark.parametrize("memory", ["auto", 30_000])
def test_nothing_is_read_of_what_was_trained(tmp_path, monkeypatch, memory):
    """A store's windows begin at the batch that comes next."""
    written(tmp_path / "a.store", marked(2000, 30, density=0.5)).close()
    store = open_store(tmp_path / "a.store", memory=memory)

    def sequence() -> Any:
        return SparseBatchSequence(store, batch_size=8, sampler=ShuffleSampler(1))

    rows = sequence()
    trained = {row for number in range(247) for row in rows.batch_rows(number)}
    read, windows = [], []
    own = type(store._parts).read
    run = store_window.Window.run
    monkeypatch.setattr(
        type(store._parts), "read", lambda self, ids: read.extend(ids) or own(self, ids)
    )
    monkeypatch.setattr(
        store_window.Window, "run",
        lambda self, *a: windows.append(self.first) or run(self, *a),
    )  # fmt: skip
    again = sequence()
    again.load_state_dict(rows.state_dict(batches=247))
    with pytest.warns(UserWarning) if memory != "auto" else _no_warning():
        assert len(list(again)) == 3
    assert not trained & set(map(int, read))
    assert all(first >= 247 for first in windows)
    assert bool(windows) == (memory != "auto")
    store.close()


def test_seeking_in_a_billion_rows_costs_what_the_start_costs():
    class Endless:
        """10^9 rows that are their numbers, which remember what was asked for."""

        numeric, num_rows, asked = True, 10**9, 0
        identity = "endless"

        def read(self, rows: Any) -> Any:
            self.asked += len(rows)
            return rows[:, None].astype(np.float64)

    source = Endless()
    options = {"batch_size": 1000, "shuffle": "block", "seed": 5, "dtype": "float64"}
    sequence = SparseBatchSequence(source, **options)
    state = sequence.state_dict(batches=990_000)
    again = SparseBatchSequence(source, **options)
    again.load_state_dict(state)
    (first,) = next(iter(again))
    assert first[:, 0].tolist() == sequence.batch_rows(990_000).tolist()
    assert source.asked <= 20_000


# Refusals


def refused(state: dict[str, Any], sequence: Any, *parts: str) -> None:
    before = sequence.state_dict()
    with pytest.raises(ValueError) as caught:
        sequence.load_state_dict(state)
    for part in (*parts, "Construct the sequence with the arguments"):
        assert part in str(caught.value)
    assert sequence.state_dict() == before


def test_a_state_of_other_data_is_refused(tmp_path):
    x, y = csr(100, 3), np.arange(100)

    def sequence(x: Any, y: Any = y, *rest: Any) -> Any:
        return SparseBatchSequence(x, y, *rest, batch_size=8, seed=1)

    state = sequence(x).state_dict()
    changed = x.copy()
    changed.data[0] += 1
    refused(state, sequence(changed), "data: ", "'x': '100 x 3, ")
    refused(state, sequence(sp.csr_array(x.toarray()[:, :2])), "100 x 2, ")
    refused(state, sequence(x, y + 1), "'y': '100, ")
    refused(state, sequence(x, None), "in the state, ")
    refused(state, sequence(x, y, np.ones(100)), "'sample_weight': ")
    refused(state, sequence(x.toarray()), "data: ")
    sequence(x.copy()).load_state_dict(state)
    # A store is known by its manifest, wherever it lies.
    written(tmp_path / "a.store", x).close()
    written(tmp_path / "b.store", x).close()
    written(tmp_path / "c.store", changed).close()
    stores = [open_store(tmp_path / f"{name}.store") for name in "abc"]
    state = sequence(stores[0]).state_dict()
    sequence(stores[1]).load_state_dict(state)
    refused(state, sequence(stores[2]), stores[0].identity, stores[2].identity)
    # Items: texts by what they are, others by how they look.
    texts = [f"text {i}" for i in range(100)]
    for items, others in ((texts, texts[::-1]), ([[1]] * 100, [[2]] * 100)):
        def transform(items: Any) -> Any:
            return np.zeros((len(items), 2))

        one, two = (
            SparseBatchSequence(each, transform=transform, seed=1)
            for each in (items, others)
        )
        refused(one.state_dict(), two, "data: ")


def test_a_sampler_whose_parameters_show_late_is_refused():
    x = csr(100, 3)
    samplers = [WeightedSampler(np.ones(100), 1, draws) for draws in (300, 301)]
    one, two = (SparseBatchSequence(x, sampler=each, seed=1) for each in samplers)
    refused(one.state_dict(), two, "'num_draws': 300", "'num_draws': 301")


def test_a_number_of_rows_that_no_batch_ends_at_is_refused():
    sequence = SparseBatchSequence(csr(100, 3), batch_size=8, seed=1)
    state = sequence.state_dict()
    for rows in (1, 97, 99):
        with pytest.raises(ValueError, match="must be a multiple of the global batch"):
            sequence.load_state_dict({**state, "rows_trained": rows})
    for rows in (-1, 101):
        with pytest.raises(ValueError, match=r"`state\['rows_trained'\]` must be in"):
            sequence.load_state_dict({**state, "rows_trained": rows})
    for rows, left in ((0, 13), (96, 1), (100, 0)):
        sequence.load_state_dict({**state, "rows_trained": rows})
        assert len(list(sequence)) == left
    for batches in (-1, 14):
        with pytest.raises(ValueError, match="`batches` must be in"):
            sequence.state_dict(batches=batches)


def _no_warning() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_a_dataset_that_was_made_before_follows_a_drawn_seed():
    x = csr(50, 3)
    one, two = (SparseBatchSequence(x, np.arange(50), shuffle=True) for _ in range(2))
    dataset = two.to_tf_dataset()
    two.load_state_dict(one.state_dict())
    assert [y.numpy().tolist() for _, y in dataset] == [y.tolist() for _, y in one]

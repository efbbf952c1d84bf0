"""A store in `SparseBatchSequence`: the batches of the matrix it was written from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from store_data import marked, same

from sequence_loader import SparseBatchSequence, StoreWriter, open_store

ROWS, FEATURES = 3000, 20
MATRIX = marked(ROWS, FEATURES)
WINDOWS = 50_000
"""Bytes of memory: some thirty batches of 8 rows at a time."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "a.store", FEATURES) as writer:
        writer.append(MATRIX, np.arange(ROWS) % 3, np.linspace(0, 1, ROWS))
    return tmp_path / "a.store"


def model() -> Any:
    layers = [keras.Input((FEATURES,), sparse=True), keras.layers.Dense(3)]
    made = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("sgd", loss, jit_compile=False)
    return made


@pytest.mark.parametrize("memory", ["auto", WINDOWS, 1])
@pytest.mark.parametrize("shuffle", [False, "block", True])
def test_batches_are_those_of_the_matrix(
    path: Path, memory: int | str, shuffle: bool | str
) -> None:
    options: dict[str, Any] = {"batch_size": 37, "shuffle": shuffle, "seed": 1}
    options |= {"output": "csr", "rows": np.arange(0, ROWS, 3)}
    store = open_store(path, memory=memory)
    found = SparseBatchSequence(store, **options)
    weights = np.linspace(0, 1, ROWS)
    expected = SparseBatchSequence(MATRIX, np.arange(ROWS) % 3, weights, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of uniform order, tested below
        for epoch in range(2):
            found.set_epoch(epoch)
            expected.set_epoch(epoch)
            for index in range(len(expected)):
                one, other = found[index], expected[index]
                assert same(one[0], other[0])
                assert np.array_equal(one[1], other[1])
                assert np.array_equal(one[2], other[2])


def test_a_store_without_rows_is_refused_as_a_matrix_is(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "none.store", FEATURES):
        pass
    with pytest.raises(ValueError, match="`x` must have at least one row"):
        SparseBatchSequence(open_store(tmp_path / "none.store"))


def test_labels_of_ones_own_come_before_those_of_the_store(path: Path) -> None:
    store = open_store(path)
    ((_, y, weights),) = SparseBatchSequence(store, np.full(ROWS, 7), batch_size=ROWS)
    assert (y == 7).all() and np.array_equal(weights, store.sample_weight)


@pytest.mark.parametrize("memory", ["auto", WINDOWS])
@pytest.mark.parametrize("same_store", [True, False])
def test_a_store_may_be_the_targets_too(
    path: Path, memory: int | str, same_store: bool
) -> None:
    x = open_store(path, memory=memory)
    y = x if same_store else open_store(path, memory=memory)
    options: dict[str, Any] = {"batch_size": 37, "shuffle": "block", "seed": 1}
    found = SparseBatchSequence(x, y, **options)
    expected = SparseBatchSequence(MATRIX, MATRIX, x.sample_weight, **options)
    for one, other in zip(found, expected, strict=True):
        for part, wanted in zip(one, other, strict=True):
            assert part.dtype == wanted.dtype and np.array_equal(part, wanted)
    if memory == WINDOWS:  # each is told what is coming
        assert all(store._reader()._windows for store in (x, y))
    both = SparseBatchSequence((x, x), {"a": y, "b": y}, batch_size=8)
    assert (both[3][1]["b"] == MATRIX[24:32].toarray()).all()


def test_fit_that_permutes_batches_is_told_how_not_to(path: Path) -> None:
    store = open_store(path, memory=WINDOWS)
    train = SparseBatchSequence(store, batch_size=64, shuffle="block", output="sparse")
    with pytest.warns(UserWarning, match="pass shuffle=False to fit") as caught:
        model().fit(train, epochs=2, verbose=0)
    assert len([w for w in caught if "shuffle=False" in str(w.message)]) == 1


def test_fit_in_order_and_as_a_dataset_is_told_nothing(path: Path) -> None:
    store = open_store(path, memory=WINDOWS)
    options: dict[str, Any] = {"batch_size": 64, "shuffle": "block", "output": "sparse"}
    train = SparseBatchSequence(store, rows=np.arange(2000), **options)
    check = SparseBatchSequence(store, rows=np.arange(2000, ROWS), **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = model()
        made.fit(train, validation_data=check, epochs=2, shuffle=False, verbose=0)
        dataset = SparseBatchSequence(store, workers=4, **options).to_tf_dataset()
        made.fit(dataset, epochs=2, verbose=0)
    assert not [w for w in caught if "larger than the memory" in str(w.message)]


def test_uniform_order_is_told_what_blocks_would_give(path: Path) -> None:
    store = open_store(path, memory=WINDOWS)
    train = SparseBatchSequence(store, batch_size=8, shuffle=True, output="csr")
    with pytest.warns(UserWarning, match='shuffle="block" reads 16') as caught:
        rows = [train.batch_rows(index) for index in range(len(train))]
        batches = [train[index] for index in range(len(train))]
    assert len(caught) == 1
    assert caught[0].filename == __file__
    for ids, (x, _, _) in zip(rows, batches):
        assert same(x, MATRIX[ids].tocsr())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_may_be_transformed_and_augmented(
    tmp_path: Path, dtype: str
) -> None:
    matrix = marked(20, 5)
    with StoreWriter(tmp_path / "half.store", 5, dtype=dtype) as writer:
        writer.append(matrix)
    served = SparseBatchSequence(
        open_store(tmp_path / "half.store"),
        batch_size=20,
        dtype=dtype,
        output="sparse",
        transform=lambda rows: rows * 2,
        augment=lambda rows, rng: rows * 4,
    )
    values = served[0][0].values.numpy()
    assert values.dtype == dtype
    assert values.tolist() == (matrix.data.astype(dtype) * 8).tolist()

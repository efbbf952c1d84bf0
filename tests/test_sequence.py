"""SparseBatchSequence: what is promised of ``seq[i]``, over random configurations."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from encoded import EPOCHS, SEEDS, csr, dense, plain, samplers, sizes
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sequence_loader import (
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
    SparseBatchSequence,
)

FEATURES = 4


def sequence(x, *args, **options):
    options = {"batch_size": 4, "dtype": "float64", **options}
    return SparseBatchSequence(x, *args, **options)


def equal(first, second):
    """Whether two batches are the same, in structure, dtype and every value."""
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            equal(first[name], second[name]) for name in first
        )
    assert type(first) is type(second)
    first, second = plain(first), plain(second)
    return first.dtype == second.dtype and first.tobytes() == second.tobytes()


@st.composite
def configurations(draw, limit=400, outputs=("dense", "csr", "sparse")):
    """(rows of the data, options, number of shards) that go together."""
    num_rows = draw(sizes(limit))
    count = draw(st.sampled_from([1, 1, 1, 2, 3]))
    remainder = draw(st.sampled_from(["keep", "drop", "pad"]))
    assume(remainder != "keep" or count == 1)
    subset = None
    if draw(st.booleans()):
        chosen = draw(st.sets(st.integers(0, num_rows - 1), min_size=1, max_size=60))
        subset = np.array(draw(st.permutations(sorted(chosen))))
    served = num_rows if subset is None else len(subset)
    batch_size = draw(
        st.one_of(
            st.integers(1, 70),
            st.sampled_from([served, served + 1, max(1, served - 1), 128]),
        )
    )
    assume(served / batch_size < 80)
    assume(remainder != "drop" or served >= batch_size * count)
    options = {
        "batch_size": batch_size,
        "remainder": remainder,
        "rows": subset,
        "output": draw(st.sampled_from(outputs)),
        "seed": draw(SEEDS),
    }
    if draw(st.booleans()):
        options["shuffle"] = draw(st.sampled_from([False, True, "block"]))
    else:
        options["sampler"] = draw(samplers())
    return num_rows, options, count


@st.composite
def sources(draw, num_rows):
    """Encoded features in some structure, and how to decode them."""
    kind = draw(st.sampled_from(["csr", "coo", "array", "dict", "tuple", "texts"]))
    values = dense(num_rows, FEATURES)
    if kind == "csr":
        return sp.csr_array(values), None, kind
    if kind == "coo":
        return sp.coo_matrix(values), None, kind
    if kind == "array":
        return values, None, kind
    if kind == "dict":
        return {"a": sp.csr_matrix(values), "b": values * 2}, None, kind
    if kind == "tuple":
        return (values * 3, sp.csc_array(values)), None, kind
    return [str(row) for row in range(num_rows)], _parse(values), kind


def _parse(values):
    def transform(texts):
        return sp.csr_array(values[[int(text) for text in texts]])

    return transform


def check_features(features, kind, num_rows, rows):
    expected = dense(num_rows, FEATURES)[rows]
    if kind == "dict":
        assert list(features) == ["a", "b"]
        assert (plain(features["a"]) == expected).all()
        assert (plain(features["b"]) == expected * 2).all()
    elif kind == "tuple":
        assert type(features) is tuple
        assert (plain(features[0]) == expected * 3).all()
        assert (plain(features[1]) == expected).all()
    else:
        found = plain(features)
        assert found.dtype == np.float64 and (found == expected).all()


@given(configurations(), EPOCHS, st.data())
def test_every_row_once_with_its_own_features_label_and_weight(
    configuration, epoch, data
):
    num_rows, options, count = configuration
    x, transform, kind = data.draw(sources(num_rows))
    labels = np.arange(num_rows) * 7 + 1
    own = data.draw(st.sampled_from([None, np.arange(1.0, num_rows + 1)]))
    seen = np.zeros(num_rows, dtype=int)
    lengths = set()
    for index in range(count):
        seq = sequence(
            x, labels, own, transform=transform, shard=(index, count), **options
        )
        seq.set_epoch(epoch)
        lengths.add(len(seq))
        assert len(seq) == seq.num_batches
        for number, batch in enumerate(seq):
            rows = seq.batch_rows(number)
            real = np.ones(len(rows), dtype=bool)
            if options["remainder"] == "pad":
                first = (number * count + index) * options["batch_size"]
                real = np.arange(first, first + len(rows)) < seq.num_rows
            np.add.at(seen, rows[real], 1)
            check_features(batch[0], kind, num_rows, rows)
            assert batch[1].tolist() == labels[rows].tolist()
            if own is not None or options["remainder"] == "pad":
                weights = np.ones(len(rows)) if own is None else own[rows]
                assert batch[2].tolist() == (weights * real).tolist()
            else:
                assert len(batch) == 2
            if number < len(seq) - 1 or options["remainder"] != "keep":
                assert len(rows) == options["batch_size"]
    assert len(lengths) == 1
    subset = options["rows"]
    chosen = np.ones(num_rows, bool)
    if subset is not None:
        chosen = np.bincount(subset, minlength=num_rows) == 1
    assert (seen[~chosen] == 0).all()
    if options["remainder"] == "drop":
        step = options["batch_size"] * count
        assert seen.max() == 1 and seen.sum() == chosen.sum() // step * step
    else:
        assert (seen[chosen] == 1).all()
    shuffled = options.get("shuffle") or "sampler" in options
    if not shuffled and count == 1 and options["remainder"] == "keep":
        whole = np.concatenate([seq.batch_rows(i) for i in range(len(seq))])
        order = np.arange(num_rows) if subset is None else subset
        assert whole.tolist() == order.tolist()


def augment(features, rng):
    if isinstance(features, dict):
        return {name: augment(leaf, rng) for name, leaf in features.items()}
    if isinstance(features, tuple):
        return tuple(augment(leaf, rng) for leaf in features)
    if sp.issparse(features):
        features.data *= rng.random(features.nnz)
        return features
    features *= rng.random(features.shape)  # in place
    return features


@given(configurations(limit=120), st.booleans(), st.data())
def test_a_batch_depends_on_nothing_that_happened_before(configuration, noisy, data):
    num_rows, options, count = configuration
    x, transform, _ = data.draw(sources(num_rows))
    options |= {"transform": transform, "shard": (count - 1, count)}
    options["augment"] = augment if noisy else None
    labels = np.arange(num_rows)
    used = sequence(x, labels, **options)
    asked = st.tuples(st.integers(0, 2), st.integers(0, len(used) - 1))
    kept = []
    for epoch, number in data.draw(st.lists(asked, min_size=1, max_size=8)):
        fresh = sequence(x, labels, **options)
        used.set_epoch(epoch)
        fresh.set_epoch(epoch)
        batch = used[number]
        assert equal(batch, fresh[number - len(fresh)])
        if kept and data.draw(st.booleans()):
            kept.pop()
        kept.append((batch, fresh[number]))
    for batch, again in kept:  # nothing the user holds has changed meanwhile
        assert equal(batch, again)
    if len(kept) > 1 and options["output"] == "dense":
        for leaf in leaves_of(kept[-1][0][0]):
            leaf[...] = -1  # the user's own: written to, others do not change
        for batch, again in kept[:-1]:
            assert equal(batch, again)


def leaves_of(features):
    if isinstance(features, dict):
        return list(features.values())
    return list(features) if isinstance(features, tuple) else [features]


@pytest.mark.parametrize("output", ["dense", "csr", "sparse"])
@pytest.mark.parametrize("shuffle", [False, True, "block"])
def test_many_threads_are_served_the_same_batches(output, shuffle):
    x, y = csr(3000, 20), np.arange(3000)
    options = {"batch_size": 32, "shuffle": shuffle, "seed": 5, "output": output}
    expected = list(sequence(x, y, augment=augment, **options))
    shared = sequence(x, y, augment=augment, **options)
    asked = np.random.default_rng(0).integers(0, len(shared), 300).tolist()
    asked += list(range(len(shared)))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(shared.__getitem__, asked))
    for number, batch in zip(asked, found):
        assert equal(batch, expected[number])


@given(configurations(limit=100), EPOCHS)
@settings(max_examples=settings.default.max_examples // 2)
def test_a_pickled_copy_serves_the_same(configuration, epoch):
    num_rows, options, count = configuration
    x = csr(num_rows, FEATURES)
    seq = sequence(x, np.arange(num_rows), shard=(0, count), **options)
    seq.set_epoch(epoch)
    for again in (pickle.loads(pickle.dumps(seq)), copy.deepcopy(seq), copy.copy(seq)):
        assert again.epoch == epoch and len(again) == len(seq)
        assert again.state_dict() == seq.state_dict()
        for number in {0, len(seq) - 1}:
            assert equal(again[number], seq[number])


def test_a_copy_of_a_sequence_with_a_drawn_seed_keeps_it():
    seq = sequence(csr(50, 3), shuffle=True)
    again = pickle.loads(pickle.dumps(seq))
    assert again.seed == seq.seed
    assert again.batch_rows(3).tolist() == seq.batch_rows(3).tolist()


# As a sequence


def test_indices_count_from_both_ends():
    seq = sequence(csr(10, 3), np.arange(10))
    assert len(seq) == seq.num_batches == 3
    for index in (np.int64(2), np.uint8(2), -1, np.int32(-1)):
        assert seq[index][1].tolist() == [8, 9]
        assert seq.batch_rows(index).tolist() == [8, 9]
    assert seq[-3][1].tolist() == [0, 1, 2, 3]
    for index in (3, -4, 10**9, -(10**9), 2**70):
        with pytest.raises(IndexError):
            seq[index]
        with pytest.raises(IndexError):
            seq.batch_rows(index)


def test_iteration_is_once_over_the_epoch():
    seq = sequence(csr(10, 3), np.arange(10))
    for _ in range(2):
        batches = list(seq)
        assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert seq.epoch == 0
    legacy = type("Old", (), {"__getitem__": lambda self, i: seq[i]})()
    assert len(list(legacy)) == 3  # plain iteration ends by IndexError
    assert len(list(zip(seq, seq))) == 3


@pytest.mark.parametrize("size", [1, 4])
def test_exactly_one_batch(size):
    seq = sequence(csr(size, 3), np.arange(size), batch_size=4, shuffle=True, seed=1)
    assert len(seq) == 1
    assert sorted(seq[0][1].tolist()) == list(range(size))
    assert sorted(seq[-1][1].tolist()) == list(range(size))


def test_what_is_packed():
    x, y, w = csr(4, 3), np.arange(4), np.ones(4)
    assert len(sequence(x)[0]) == 1
    assert len(sequence(x, y)[0]) == 2
    assert len(sequence(x, y, w)[0]) == 3
    assert len(sequence(x, y, remainder="pad")[0]) == 3
    assert all(type(sequence(x, *more)[0]) is tuple for more in ((), (y,), (y, w)))


def test_defaults():
    seq = SparseBatchSequence(csr(100, 3))
    assert len(seq) == 4 and seq.num_rows == 100
    (features,) = seq[0]
    assert features.dtype == np.float32 and features.shape == (32, 3)
    assert seq.batch_rows(0).tolist() == list(range(32))


def test_features_follow_floatx():
    import keras

    before = keras.config.floatx()
    try:
        keras.config.set_floatx("float16")
        assert SparseBatchSequence(csr(4, 3))[0][0].dtype == np.float16
    finally:
        keras.config.set_floatx(before)


def test_outputs():
    import tensorflow as tf

    x = csr(10, 3)
    dense_batch, sparse_batch, csr_batch = (
        sequence(x, output=output)[1][0] for output in ("dense", "sparse", "csr")
    )
    assert type(dense_batch) is np.ndarray and dense_batch.ctypes.data % 64 == 0
    assert isinstance(sparse_batch, tf.SparseTensor)
    assert tuple(sparse_batch.dense_shape) == (4, 3)
    assert "CPU" in sparse_batch.values.device
    assert type(csr_batch) is sp.csr_array and csr_batch.has_canonical_format
    csr_batch.check_format(full_check=True)
    assert sparse_batch.values.dtype == tf.float64
    assert (plain(sparse_batch) == dense_batch).all()
    assert (plain(csr_batch) == dense_batch).all()
    for output in ("sparse", "csr"):
        assert type(sequence(dense(10, 3), output=output)[0][0]) is np.ndarray


@pytest.mark.parametrize("output", ["dense", "csr", "sparse"])
def test_rows_without_any_value(output):
    x = sp.csr_array((6, 3))
    for batch in sequence(x, output=output):
        assert not plain(batch[0]).any() and plain(batch[0]).shape[1] == 3


def test_sparse_tensors_are_sorted_and_without_duplicates():
    x = sp.csr_array(
        (np.array([1.0, 2, 4, 8]), np.array([2, 0, 2, 1]), np.array([0, 3, 3, 4])),
        shape=(3, 3),
    )
    (tensor,) = sequence(x, output="sparse")[0]
    assert tensor.indices.numpy().tolist() == [[0, 0], [0, 2], [2, 1]]
    assert tensor.values.numpy().tolist() == [2, 5, 8]


def test_batch_rows_are_the_users_own():
    seq = sequence(csr(20, 3), shuffle=True, seed=3)
    first = seq.batch_rows(0)
    first[:] = 0
    assert seq.batch_rows(0).tolist() != first.tolist()
    assert seq.batch_rows(0).dtype == np.int64


def test_the_users_index_array_may_change():
    ids = np.array([5, 3, 1])
    seq = sequence(csr(20, 3), rows=ids)
    ids[:] = 0
    assert seq.batch_rows(0).tolist() == [5, 3, 1]
    assert seq.num_rows == 3


def test_cross_validation_by_splitters():
    pytest.importorskip("sklearn")
    from sklearn.model_selection import KFold

    x, y = csr(53, 3), np.arange(53)
    held_out = []
    for train_rows, test_rows in KFold(4, shuffle=True, random_state=0).split(y):
        train = sequence(x, y, rows=train_rows, shuffle=True)
        test = sequence(x, y, rows=test_rows)
        trained = np.concatenate([b[1] for b in train])
        tested = np.concatenate([b[1] for b in test])
        assert sorted(trained.tolist()) == train_rows.tolist()
        assert tested.tolist() == test_rows.tolist()
        held_out += tested.tolist()
    assert sorted(held_out) == list(range(53))


def test_shuffle_is_short_for_a_sampler():
    x = csr(300, 3)
    for shuffle, sampler in (
        (False, SequentialSampler()),
        (True, ShuffleSampler(9)),
        ("block", BlockShuffleSampler(9)),
    ):
        short, long = sequence(x, shuffle=shuffle, seed=9), sequence(x, sampler=sampler)
        for number in range(len(short)):
            assert (short.batch_rows(number) == long.batch_rows(number)).all()


def test_epochs_have_other_orders_and_come_back():
    seq = sequence(csr(300, 3), shuffle=True, seed=1)
    orders = []
    for epoch in (0, 1, 2, 0):
        seq.set_epoch(epoch)
        assert seq.epoch == epoch
        orders.append(seq.batch_rows(0).tolist())
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3


def test_no_seed_draws_one_and_keeps_it():
    x = csr(300, 3)
    seq = sequence(x, shuffle=True)
    assert seq.seed == seq.state_dict()["seed"]
    again = sequence(x, shuffle=True, seed=seq.seed)
    assert again.batch_rows(0).tolist() == seq.batch_rows(0).tolist()
    assert sequence(x, shuffle=True).seed != seq.seed


def test_other_processes_draw_the_same_augmentation_for_a_global_batch_only():
    """Shards have generators of their own: not the same noise on each."""
    drawn = []

    def note(features, rng):
        drawn.append(float(rng.random()))
        return features

    for index in range(3):
        for _ in sequence(
            csr(30, 3), seed=1, shard=(index, 3), remainder="pad", augment=note
        ):
            pass
    assert len(set(drawn)) == len(drawn) == 9


def test_hooks_move_the_epoch():
    seq = sequence(csr(10, 3), shuffle=True, seed=1)
    for epoch in range(3):
        seq.on_epoch_begin()
        assert seq.epoch == epoch
        for _ in seq:
            pass
        seq.on_epoch_end()
    list(seq)  # plain iteration moves nothing
    assert seq.epoch == 2
    seq.on_epoch_begin()
    assert seq.epoch == 3


def test_keras_is_always_shown_one_worker():
    seq = sequence(csr(10, 3), workers=4, use_multiprocessing=False, max_queue_size=3)
    assert seq.workers == 1 and seq.use_multiprocessing is False
    with seq:
        assert len(list(seq)) == 3


def test_closing_is_harmless():
    with sequence(csr(10, 3)) as seq:
        first = seq[0]
    seq.close()
    assert equal(seq[0], first)


def test_repr_shows_the_live_state():
    seq = sequence(csr(10, 3), shuffle=True, seed=7)
    text = repr(seq)
    for part in ("10 rows", "3 batches", "'dense'", "ShuffleSampler", "7", "epoch 0"):
        assert part in text
    assert "\n" not in text
    seq.set_epoch(4)
    seq.on_epoch_begin()
    seq[0]
    assert "epoch 4" in repr(seq) and "1 of 3" in repr(seq)
    shard = sequence(csr(10, 3), shard=(1, 2), remainder="pad")
    assert "shard=(1, 2)" in repr(shard)


# State


def test_the_state_is_json_and_restores_the_order():
    x = csr(100, 3)
    options = {"shuffle": True, "batch_size": np.int64(8), "shard": (np.int64(0), 1)}
    seq = sequence(x, seed=np.uint64(3), **options)
    seq.set_epoch(5)
    state = json.loads(json.dumps(seq.state_dict()))
    again = sequence(x, seed=3, **options)
    again.load_state_dict(state)
    assert again.epoch == 5
    assert again.batch_rows(2).tolist() == seq.batch_rows(2).tolist()
    assert again.state_dict() == state


@pytest.mark.parametrize("shuffle", [True, "block", False])
def test_a_drawn_seed_is_replaced_by_that_of_the_state(shuffle):
    x = csr(100, 3)
    seq = sequence(x, shuffle=shuffle, augment=augment)
    seq.set_epoch(2)
    again = sequence(x, shuffle=shuffle, augment=augment)
    again.load_state_dict(seq.state_dict())
    assert again.seed == seq.seed
    for number in range(len(seq)):
        assert equal(again[number], seq[number])


def test_the_seed_of_a_state_may_be_any_that_a_sequence_has():
    x = csr(100, 3)
    state = sequence(x, shuffle=True, seed=2**64 - 1).state_dict()
    again = sequence(x, shuffle=True)
    again.load_state_dict(state)
    assert again.seed == 2**64 - 1
    order = ShuffleSampler(2**64 - 1).rows(100, 0, 0, len(again.batch_rows(0)))
    assert again.batch_rows(0).tolist() == order.tolist()
    text = r"`state\['seed'\]` must be in \[0, 18446744073709551615\]; received "
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=f"{text}{seed}"):
            sequence(x, shuffle=True).load_state_dict({**state, "seed": seed})


def test_a_refused_state_changes_nothing():
    seq = sequence(csr(100, 3), shuffle=True)
    seq.set_epoch(3)
    before = seq.state_dict()
    other = sequence(csr(90, 3), shuffle=True).state_dict()
    with pytest.raises(ValueError, match="num_rows: 90 in the state, 100 here"):
        seq.load_state_dict(other)
    assert seq.state_dict() == before


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({"sampler": ShuffleSampler(1)}, {"sampler": ShuffleSampler(2)}),
        ({"sampler": ShuffleSampler(1)}, {"sampler": BlockShuffleSampler(1)}),
        (
            {"sampler": BlockShuffleSampler(1, 4, 8)},
            {"sampler": BlockShuffleSampler(1, 8, 4)},
        ),
        ({"rows": [1, 2, 3]}, {"rows": [1, 3, 2]}),
        ({"rows": range(50)}, {"rows": range(50, 100)}),
        ({"batch_size": 4}, {"batch_size": 8}),
        ({"remainder": "keep"}, {"remainder": "pad"}),
        ({"seed": 1, "shuffle": True}, {"seed": 2, "shuffle": True}),
        ({"shuffle": True}, {"shuffle": "block"}),
        ({"shuffle": True}, {"shuffle": False}),
    ],
    ids=str,
)
def test_a_state_of_another_order_is_refused(here, there):
    x = csr(100, 3)
    seeds = {} if "seed" in here else {"seed": 5}
    seq = sequence(x, **here, **seeds)
    other = sequence(x, **there, **seeds)
    with pytest.raises(ValueError, match="in the state, .* here") as caught:
        seq.load_state_dict(other.state_dict())
    assert "Construct the sequence with the arguments" in str(caught.value)
    again = sequence(x, **here, **seeds)
    seq.load_state_dict(again.state_dict())


def test_a_state_of_another_sampler_is_refused_where_the_seed_was_drawn():
    x = csr(100, 3)
    state = sequence(x, sampler=ShuffleSampler(1)).state_dict()
    with pytest.raises(ValueError, match="order: "):
        sequence(x, sampler=ShuffleSampler(2)).load_state_dict(state)
    sequence(x, sampler=ShuffleSampler(1)).load_state_dict(state)


def test_the_state_fits_other_shards_of_the_same_global_batch():
    x = csr(96, 3)
    one = sequence(x, shuffle=True, seed=1, batch_size=8, remainder="pad")
    for index in range(2):
        half = sequence(
            x, shuffle=True, seed=1, batch_size=4, shard=(index, 2), remainder="pad"
        )
        half.load_state_dict(one.state_dict())

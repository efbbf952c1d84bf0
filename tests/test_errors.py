"""Bad input: each error names the argument, the rule, the value and the mend."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from encoded import csr
from refusals import Y, refused, sequence

from sequence_loader import (
    BalancedSampler,
    BlockShuffleSampler,
    SequentialSampler,
    ShuffleSampler,
    WeightedSampler,
)

# batch_size, seed, shard and other numbers


@pytest.mark.parametrize("value", [True, 2.0, np.float64(3), "3", None, [3], np.True_])
def test_batch_size_of_another_type(value):
    refused(
        TypeError,
        "`batch_size` must be an integer, at least 1; received",
        f"of type {type(value).__name__}",
        "batch_size=1",
        call=lambda: sequence(batch_size=value),
    )


@pytest.mark.parametrize("value", [0, -1, np.int64(-5)])
def test_batch_size_out_of_range(value):
    refused(
        ValueError,
        f"`batch_size` must be at least 1; received {int(value)}",
        call=lambda: sequence(batch_size=value),
    )


@pytest.mark.parametrize("make", [lambda s: sequence(seed=s), ShuffleSampler])
def test_seeds(make):
    for value in (1.5, "a", True):
        refused(TypeError, "`seed` must be an integer", call=lambda: make(value))
    for value in (-1, 2**64):
        refused(
            ValueError,
            f"`seed` must be in [0, {2**64 - 1}]; received {value}",
            call=lambda: make(value),
        )


@pytest.mark.parametrize("name", ["block_size", "window"])
def test_sizes_of_block_shuffle(name):
    for value in ("a", 1.0, False):
        refused(
            TypeError,
            f"`{name}` must be an integer",
            call=lambda: BlockShuffleSampler(1, **{name: value}),
        )
    for value in (0, -1, 2**62 + 1):
        refused(
            ValueError,
            f"`{name}` must be in [1, {2**62}]; received {value}",
            call=lambda: BlockShuffleSampler(1, **{name: value}),
        )


@pytest.mark.parametrize("value", [0, "01", None, (0,), (0, 1, 2), np.array([0, 1])])
def test_shard_that_is_not_a_pair(value):
    refused(
        TypeError,
        "`shard` must be a pair (index, count); received",
        "shard=(0, 1)",
        call=lambda: sequence(shard=value),
    )


@pytest.mark.parametrize(
    ("value", "kind", "part"),
    [
        ((0, 0), ValueError, "`shard[1]` must be at least 1; received 0"),
        ((0, -2), ValueError, "`shard[1]` must be at least 1; received -2"),
        ((1, 1), ValueError, "`shard[0]` must be in [0, 0]; received 1"),
        ((2, 2), ValueError, "`shard[0]` must be in [0, 1]; received 2"),
        ((-1, 2), ValueError, "`shard[0]` must be in [0, 1]; received -1"),
        ((0.0, 1), TypeError, "`shard[0]` must be an integer"),
        ((0, True), TypeError, "`shard[1]` must be an integer"),
    ],
)
def test_shard_out_of_range(value, kind, part):
    refused(kind, part, call=lambda: sequence(shard=value, remainder="pad"))


def test_shards_with_the_remainder_kept():
    refused(
        ValueError,
        "`remainder` must be 'pad' or 'drop' when `shard` has count > 1",
        "remainder='keep' with shard=(0, 2)",
        call=lambda: sequence(shard=(0, 2)),
    )


@pytest.mark.parametrize(
    "order",
    [
        {"shuffle": True},
        {"shuffle": "block"},
        {"sampler": ShuffleSampler()},
        {"sampler": BlockShuffleSampler()},
        {"sampler": WeightedSampler(np.ones(len(Y)))},
        {"sampler": BalancedSampler(Y % 2)},
    ],
)
def test_shards_of_a_seed_that_each_process_would_draw(order):
    """They would be shares of different orders: rows twice, and others never."""
    refused(
        ValueError,
        "`seed` must be given where processes share one order",
        "received seed=None with shard=(1, 2)",
        call=lambda: sequence(remainder="pad", shard=(1, 2), **order),
    )
    if "sampler" in order:
        order = {"sampler": dataclasses.replace(order["sampler"], seed=7)}
    shares = [
        sequence(remainder="pad", shard=(index, 2), seed=7, **order)
        for index in range(2)
    ]
    assert shares[0].state_dict() == shares[1].state_dict()


@pytest.mark.parametrize("shard", [(0, 1), (1, 3)])
def test_no_batch_is_left(shard):
    refused(
        ValueError,
        "`batch_size` must leave at least one batch when remainder='drop'",
        f"batch_size=8 with shard={shard}",
        f"needs {8 * shard[1]} rows of the 7",
        call=lambda: sequence(batch_size=8, remainder="drop", shard=shard),
    )


@pytest.mark.parametrize("name", ["workers", "max_queue_size"])
def test_numbers_for_workers(name):
    for value in (1.5, "2", None, True):
        refused(
            TypeError,
            f"`{name}` must be an integer",
            call=lambda: sequence(**{name: value}),
        )
    refused(
        ValueError,
        f"`{name}` must be at least",
        "received -1",
        call=lambda: sequence(**{name: -1}),
    )


def test_epoch():
    for value in (1.5, "1", None, True):
        refused(
            TypeError,
            "`epoch` must be an integer",
            call=lambda: sequence().set_epoch(value),
        )
    for value in (-1, 2**63):
        refused(
            ValueError,
            "`epoch` must be in",
            f"received {value}",
            call=lambda: sequence().set_epoch(value),
        )


# Choices


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output", "DENSE"),
        ("output", None),
        ("output", ["dense"]),
        ("remainder", "keeps"),
        ("remainder", None),
        ("remainder", True),
        ("shuffle", "blocks"),
        ("shuffle", None),
        ("shuffle", 1),
        ("shuffle", 0),
        ("shuffle", np.array([True, False])),
        ("use_multiprocessing", 1),
        ("use_multiprocessing", "yes"),
    ],
)
def test_choices(name, value):
    refused(
        ValueError,
        f"`{name}` must be one of ",
        f"received {value!r}",
        call=lambda: sequence(**{name: value}),
    )


@pytest.mark.parametrize("shuffle", [True, "block"])
def test_shuffle_and_sampler(shuffle):
    refused(
        ValueError,
        "`sampler` and `shuffle` must not both be given",
        "sampler=SequentialSampler()",
        f"shuffle={shuffle!r}",
        call=lambda: sequence(shuffle=shuffle, sampler=SequentialSampler()),
    )


def test_a_sampler_as_shuffle():
    refused(
        TypeError,
        "`shuffle` must be one of False, True, 'block'",
        "received ShuffleSampler(seed=1)",
        "sampler=...",
        call=lambda: sequence(shuffle=ShuffleSampler(1)),
    )


@pytest.mark.parametrize("value", [3, "shuffle", ShuffleSampler, np.arange(7)])
def test_a_sampler_that_is_none(value):
    refused(
        TypeError,
        "`sampler` must have methods rows(num_rows, epoch, start, stop)",
        "ShuffleSampler(seed)",
        call=lambda: sequence(sampler=value),
    )


class Fixed:
    """A sampler that returns what it was made with."""

    def __init__(self, rows, length=7):
        self._rows, self._length = rows, length

    def rows(self, num_rows, epoch, start, stop):
        return self._rows

    def length(self, num_rows):
        return self._length


@pytest.mark.parametrize(
    "rows",
    [[0, 1], [0, 1, 7], [0, 1, -1], [0.0, 1.0, 2.0], [[0, 1, 2]], None, ["a", "b"]],
    ids=str,
)
def test_a_sampler_that_breaks_its_contract(rows):
    refused(
        ValueError,
        "`sampler` must return ",
        "integers in [0, 7); Fixed.rows() returned",
        call=lambda: sequence(sampler=Fixed(rows))[0],
    )


class Drawing(Fixed):
    """A sampler that draws as it is asked: some rows twice in an epoch, others never.

    Args:
        order: ``(num_rows, epoch) -> rows`` of an epoch.
    """

    def rows(self, num_rows, epoch, start, stop):
        return self._rows(num_rows, epoch)[start:stop]


class Redrawing:
    """Another order whenever the epoch is another than the one before."""

    def __init__(self):
        self.rng, self.last = np.random.default_rng(0), (None, None)

    def __call__(self, num_rows, epoch):
        if self.last[0] != epoch:
            self.last = epoch, self.rng.permutation(num_rows)
        return self.last[1]


class InPlace:
    """Shuffles the array that it gave before, whenever it is asked."""

    def __init__(self):
        self.rng, self.order = np.random.default_rng(0), np.arange(100)

    def __call__(self, num_rows, epoch):
        self.rng.shuffle(self.order)
        return self.order


def later(rng=np.random.default_rng(0)):
    """Draws in every epoch but the first."""
    return lambda num_rows, epoch: (rng.permutation if epoch else np.arange)(num_rows)


def early(rng=np.random.default_rng(0)):
    """Draws the first quarter of its rows alone."""
    return lambda num_rows, epoch: np.r_[rng.permutation(25), 25:num_rows]


def stateful(rng=np.random.default_rng(0)):
    return lambda num_rows, epoch: rng.permutation(num_rows)


@pytest.mark.parametrize(
    "order",
    [
        stateful(),
        Redrawing(),
        InPlace(),
        later(),
        early(),
        lambda num_rows, epoch: np.random.permutation(num_rows),
        lambda num_rows, epoch: np.random.randint(0, num_rows, num_rows),
    ],
    ids=["generator", "kept for an epoch", "in place", "later", "early", "global",
         "with replacement"],
)  # fmt: skip
@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
def test_a_sampler_that_is_asked_twice_and_says_two_things(order, shard):
    refused(
        ValueError,
        "`sampler` must return the same row whenever it is asked for a position",
        "Drawing.rows() returned row",
        "np.random.default_rng((7, epoch)).permutation(num_rows)",
        call=lambda: sequence(
            np.arange(100.0)[:, None],
            sampler=Drawing(order, 100),
            batch_size=10,
            remainder="drop",
            shard=shard,
        ),
    )


class FromTheStart(Fixed):
    """A sampler that does not look at where it is asked."""

    def rows(self, num_rows, epoch, start, stop):
        return np.arange(stop - start)


def test_a_sampler_that_serves_its_first_rows_again_and_again():
    refused(
        ValueError,
        "FromTheStart.rows() returned row 3 for position 3 of epoch 0, and then row 0",
        "Return the slice [start:stop]",
        call=lambda: sequence(sampler=FromTheStart([])),
    )


class OneArray(Fixed):
    """A pure sampler that draws every order into the same array."""

    def rows(self, num_rows, epoch, start, stop):
        order = np.random.default_rng((7, epoch)).permutation(num_rows)
        self._rows[:] = order
        return self._rows[start:stop]


def test_a_sampler_that_gives_the_same_array_again():
    """Batches of an epoch were cut from the order of another, drawn since."""
    made = sequence(np.eye(100), sampler=OneArray(np.arange(100), 100), batch_size=10)
    order = np.random.default_rng((7, 0)).permutation(100)
    served = []
    for batch in range(10):
        served += made._plan.positions(0, 10 * batch, 10 * batch + 10).tolist()
        if batch == 4:
            made._plan.positions(1, 0, 10)
    assert served == order.tolist()


def test_what_a_sampler_that_draws_is_told_to_do():
    served = sequence(
        np.arange(100.0)[:, None],
        sampler=Drawing(
            lambda num_rows, epoch: np.random.default_rng((7, epoch)).permutation(
                num_rows
            ),
            100,
        ),
        batch_size=10,
    )
    orders = []
    for epoch in (0, 1):
        served.set_epoch(epoch)
        orders.append([int(row) for i in range(10) for row in served.batch_rows(i)])
    for epoch, order in enumerate(orders):
        expected = np.random.default_rng((7, epoch)).permutation(100)
        assert order == expected.tolist()


def test_the_length_of_a_sampler():
    for value in (2.5, None):
        refused(
            TypeError,
            "`Fixed.length()` must be an integer",
            call=lambda: sequence(sampler=Fixed([], value)),
        )
    refused(
        ValueError,
        "`Fixed.length()` must be at least 1; received 0",
        call=lambda: sequence(sampler=Fixed([], 0)),
    )


# dtype


@pytest.mark.parametrize("value", ["nonsense", "complex64", object, "U5", "M8[s]", [1]])
def test_dtype(value):
    refused(
        TypeError,
        "`dtype` must name a NumPy dtype of real numbers; received",
        "dtype='float32'",
        call=lambda: sequence(dtype=value),
    )


@pytest.mark.parametrize("value", ["float16", "bfloat16"])
def test_dtype_that_scipy_does_not_take(value):
    import keras  # noqa: F401  (registers bfloat16)

    refused(
        ValueError,
        "`dtype` must be one that scipy computes with when output='csr'",
        f"received {value}",
        call=lambda: sequence(csr(7, 5), output="csr", dtype=value),
    )


# rows


@pytest.mark.parametrize(
    ("value", "kind", "parts"),
    [
        ([], ValueError, ["at least one row; received shape (0,)"]),
        ([[0, 1]], ValueError, ["one-dimensional", "received shape (1, 2)"]),
        ([[0], [1, 2]], ValueError, ["one-dimensional"]),
        (3, ValueError, ["one-dimensional", "received shape ()"]),
        ("ab", ValueError, ["one-dimensional"]),
        ({1, 2}, ValueError, ["one-dimensional", "Pass sorted(rows)."]),
        (slice(1, 3), ValueError, ["slice(1, 3, None). Pass range(num_rows)[rows]."]),
        (np.nonzero([1, 0, 1]), ValueError, ["shape (1, 2). Pass rows[0]."]),
        ([1.0, 2.0], TypeError, ["dtype float64", "(rows).astype('int64')"]),
        ([0.5, 2.0], TypeError, ["dtype float64. Pass row ids or a mask"]),
        ([1.0] * 3 + [0.0] * 4, TypeError, ["dtype float64", "(rows).astype(bool)"]),
        ([1] * 3 + [0] * 4, ValueError, ["row 0 4 times. Convert", "astype(bool)"]),
        (["a"], TypeError, ["received dtype <U1. Pass row ids or a mask"]),
        ([None], TypeError, ["received dtype object. Pass row ids or a mask"]),
        (np.array([1, 3], "O"), TypeError, ["dtype object", "rows.astype('int64')"]),
        (np.array([True, False], "O"), TypeError, ["dtype object", "astype(bool)"]),
        ([True, None], TypeError, ["dtype object. Pass row ids or a mask; leave out"]),
        ([0, 7], ValueError, ["must be in [0, 7); received 7"]),
        ([0, -1], ValueError, ["must be in [0, 7); received -1"]),
        (np.array([2**63], "uint64"), ValueError, [f"received {2**63}"]),
        ([1, 2, 1], ValueError, ["each row once; received row 1 2 times"]),
        ([5, 5, 5, 2, 2], ValueError, ["received row 5 3 times"]),
        ([2, 2, 5, 5, 5], ValueError, ["received row 5 3 times"]),
        ([True] * 6, ValueError, ["as a mask", "each of the 7 rows; received 6"]),
        ([True] * 8, ValueError, ["as a mask", "received 8"]),
        ([False] * 7, ValueError, ["at least one row", "False everywhere"]),
    ],
    ids=str,
)
def test_rows(value, kind, parts):
    refused(kind, "`rows` ", *parts, call=lambda: sequence(rows=value))


# Indexing and state


@pytest.mark.parametrize("index", [1.5, "0", None, slice(0, 2), (0,), [0]], ids=str)
def test_an_index_of_another_type(index):
    for read in (sequence().__getitem__, sequence().batch_rows):
        refused(
            TypeError,
            "a batch number must be an integer; received",
            f"of type {type(index).__name__}",
            call=lambda: read(index),
        )


@pytest.mark.parametrize("index", [3, -4, 10**12])
def test_an_index_out_of_range(index):
    with pytest.raises(IndexError) as caught:
        sequence()[index]
    assert str(caught.value) == (
        f"batch number must be in [-3, 3), there are 3 batches; received {index}."
    )


@pytest.mark.parametrize("value", [None, 3, "{}", [("epoch", 1)]], ids=str)
def test_a_state_that_is_none(value):
    refused(
        TypeError,
        "`state` must be a dict from state_dict(); received",
        call=lambda: sequence().load_state_dict(value),
    )


def test_a_state_with_something_missing():
    for seed in (None, 1):
        seq = sequence(shuffle=True, seed=seed)
        for name in seq.state_dict():
            state = seq.state_dict()
            del state[name]
            with pytest.raises(ValueError, match=f"{name}: missing in the state, "):
                seq.load_state_dict(state)
        with pytest.raises(ValueError, match="epoch: missing in the state"):
            seq.load_state_dict({})


def test_a_state_of_another_version():
    for name in ("version", "order_version"):
        state = sequence(seed=1).state_dict() | {name: 99}
        with pytest.raises(ValueError, match=f"{name}: 99 in the state, . here"):
            sequence(seed=1).load_state_dict(state)


def test_a_state_with_values_of_another_kind():
    seq = sequence(shuffle=True)
    before = seq.state_dict()
    for name, value in (("epoch", 1.5), ("epoch", "1"), ("seed", None), ("seed", "x")):
        refused(
            TypeError,
            f"`state['{name}']` must be an integer",
            call=lambda: seq.load_state_dict(before | {name: value}),
        )
    for name, value in (("epoch", -1), ("epoch", 2**63), ("seed", -1)):
        refused(
            ValueError,
            f"`state['{name}']` must be in",
            call=lambda: seq.load_state_dict(before | {name: value}),
        )
    assert seq.state_dict() == before

"""What a feed adds to a training step, beside the same step without a loader.

A step of a network often costs more than its batch, so rows a second of `fit` say
little of what feeds it. Here all feeds of a kind, dense or sparse, train the guide's
network, and so does one batch that is served again and again: no loader. Feeds take
turns, and in each round a feed is compared with the constant batch of that round.

A feed is timed inside one epoch of `fit`, from the end of its first `WARM_STEPS`
to the end of the last: what starting an epoch takes does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sequence_loader.backends.which_keras import import_keras, keras_backend
from sequence_loader.demo.guide import BATCH_SIZE, Split, dense_batches, mlp
from sequence_loader.feed.constant import constant_feed

CONSTANT = "one batch again and again"
GENERATOR = "generator with .toarray()"
SEQUENCE = "SparseBatchSequence"
DATASET = "to_tf_dataset()"

WARM_STEPS = 4
MIN_ROUNDS, MAX_ROUNDS = 3, 9


@dataclass(frozen=True)
class Figure:
    """Milliseconds a step, over the rounds.

    Attributes:
        median: The middle of the rounds.
        low: A quarter of the rounds at most was below it.
        high: A quarter of the rounds at most was above it.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Any) -> Figure:
        """From milliseconds of shape (rounds,)."""
        low = np.quantile(rounds, 0.25, method="lower")
        high = np.quantile(rounds, 0.75, method="higher")
        return cls(float(np.median(rounds)), float(low), float(high))

    @property
    def is_certain(self) -> bool:
        """Whether it is larger than its own spread."""
        return self.median > self.high - self.low


@dataclass(frozen=True)
class Speeds:
    """What steps cost, in milliseconds.

    Attributes:
        rounds: How many were timed.
        alone: A step without a loader, by kind: ``"dense"``, ``"sparse"``.
        added: What a feed adds to it, by (kind, feed).
    """

    rounds: int
    alone: Mapping[str, Figure]
    added: Mapping[tuple[str, str], Figure]

    def times_less(self, kind: str, feed: str) -> float | None:
        """How many times as much the generator adds; None where it cannot be told.

        A quotient of figures that are not larger than their spread says nothing.
        """
        figures = (self.added["dense", GENERATOR], self.added[kind, feed])
        if feed == GENERATOR or not all(figure.is_certain for figure in figures):
            return None
        return figures[0].median / figures[1].median


def measure_feeds(split: Split, steps: int, budget: float, seed: int) -> Speeds:
    """Times all feeds in rounds that alternate, until the time is up.

    Args:
        split: Where the rows come from; they are repeated if there are too few.
        steps: Steps that are timed in each round of each feed.
        budget: Seconds after which no further round begins, of `MIN_ROUNDS` at least.
        seed: Decides the order of rows and the weights.

    Returns:
        The figures.
    """
    clocks = {}
    for kind in ("dense", "sparse"):
        model = mlp(
            split.x_train.shape[1], split.num_classes, sparse=kind == "sparse"
        )
        for feed, data in _feeds(split, kind, WARM_STEPS + steps, seed).items():
            clocks[kind, feed] = _clock(model, data, steps)
    for clock in clocks.values():
        clock()  # Keras compiles
    taken: list[dict[tuple[str, str], float]] = []
    began = time.perf_counter()
    while len(taken) < MIN_ROUNDS or (
        len(taken) < MAX_ROUNDS and time.perf_counter() - began < budget
    ):
        taken.append({name: clock() for name, clock in clocks.items()})
    spent = {name: np.array([one[name] for one in taken]) for name in clocks}
    return Speeds(
        rounds=len(taken),
        alone={k: Figure.of(ms) for (k, feed), ms in spent.items() if feed == CONSTANT},
        added={
            (kind, feed): Figure.of(ms - spent[kind, CONSTANT])
            for (kind, feed), ms in spent.items()
            if feed != CONSTANT
        },
    )


def _feeds(split: Split, kind: str, steps: int, seed: int) -> dict[str, Any]:
    """Feeds of one kind that serve the same rows, `steps` batches an epoch."""
    from sequence_loader.feed.sequence import SparseBatchSequence

    rows = np.resize(np.arange(len(split.y_train)), steps * BATCH_SIZE)
    x, y = split.x_train[rows], split.y_train[rows]
    made = [
        SparseBatchSequence(
            x, y, batch_size=BATCH_SIZE, shuffle=True, seed=seed, output=kind
        )
        for _ in range(2)
    ]
    feeds = {CONSTANT: constant_feed([made[0][0]], steps)}
    if kind == "dense":
        feeds[GENERATOR] = dense_batches(x, y)
    feeds[SEQUENCE] = made[0]
    if kind == "dense" or keras_backend() != "torch":
        feeds[DATASET] = made[1].to_tf_dataset()
    return feeds


def _clock(model: Any, feed: Any, steps: int) -> Callable[[], float]:
    """A function that trains one epoch and returns milliseconds a step."""
    ends: dict[int, float] = {}
    callback = import_keras().callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.update({batch: time.perf_counter()})
    )
    callback.async_safe = True  # or JAX would have to wait for each step

    def clock() -> float:
        ends.clear()
        model.fit(
            feed,
            steps_per_epoch=WARM_STEPS + steps,
            shuffle=False,
            verbose=0,
            callbacks=[callback],
        )
        return (ends[WARM_STEPS + steps - 1] - ends[WARM_STEPS - 1]) / steps * 1e3

    return clock

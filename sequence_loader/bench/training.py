"""The model: tried on the store, and timed with a feed and without one.

Steps are timed inside one epoch of `fit`, from the end of its first `WARM_STEPS` on:
what starting an epoch takes, and compiling, does not count.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from sequence_loader.backends.which_keras import import_keras, keras_backend
from sequence_loader.bench.interrupts import Interrupt
from sequence_loader.bench.model_file import ModelFile, first_line
from sequence_loader.bench.runs import Feed, Run, Stopwatch
from sequence_loader.bench.settings import Setting
from sequence_loader.bench.source import ReopenedStore
from sequence_loader.feed.constant import constant_feed

WARM_STEPS = 4
"""Steps that do not count, unless they take half of the time there is."""

HELD_BATCHES, HELD_BYTES = 8, 1 << 28
"""Batches that the model alone is given in turn, as many as these bytes hold. A single
one may have longer rows than most, and a model that has learned it by heart takes
another time for a step."""


def fitting_outputs(model: Any, path: str, source: ReopenedStore) -> list[str]:
    """Which outputs the model can be trained from, the one it declares first.

    Args:
        model: A compiled model.
        path: Its file.
        source: The store.

    Raises:
        ValueError: None: the message says why.
    """
    if source.y is None:
        raise ValueError(
            "the store has no y, and a model cannot be trained without targets. Leave "
            "out --model, or convert the data with --y."
        )
    inputs = getattr(model, "inputs", None) or []
    shapes = [tuple(one.shape) for one in inputs]
    width = source.num_features
    if len(shapes) > 1 or (shapes and shapes[0][1:] not in ((width,), (None,))):
        raise ValueError(
            f"`model` must have one input of {width} features, as the store has; it "
            f"has inputs of shape {', '.join(map(str, shapes))}. Pass a model for "
            f"this store."
        )
    declared = "sparse" if any(getattr(one, "sparse", False) for one in inputs) else ""
    outputs, reason = [], None
    for output in ("sparse",) if declared else ("dense", "sparse"):
        road = "dataset" if keras_backend() == "tensorflow" else "sequence"
        source.interrupt.check()
        try:
            feed = Feed(source, Setting("sequential", 1, output, 8, 1, road))
            train(model, feed.data, 0.0, 1, 8, source.interrupt)
            outputs.append(output)
        except Exception as error:  # whatever a model, or its loss, says of a batch
            reason = reason or error
    if not outputs:
        mend = ModelFile.of(path).mend or "Pass a model for this store."
        raise ValueError(
            f"`model` cannot be trained on a batch of the store, of {width} features "
            f"and y of {source.y.dtype.name} {source.y.shape}: {first_line(reason)}. "
            f"{mend}"
        ) from reason
    return outputs


def train(
    model: Any, data: Any, seconds: float, epoch: int, batch_size: int, stop: Interrupt
) -> Run | None:
    """Trains for a while, of an epoch at most.

    Args:
        model: A compiled model.
        data: What `fit` takes.
        seconds: How long, about: a step is always timed.
        epoch: Batches to train on, at most.
        batch_size: Rows in a batch.
        stop: What ends it early.

    Returns:
        What was timed; `None` if it was ended before anything was.
    """
    warm = min(WARM_STEPS, epoch // 2)
    whole = watch = Stopwatch()
    began: float | None = None  # when the first step, which may compile, was done
    before: int | None = None if warm else 0  # batches before those that are timed
    found: list[Run] = []

    def ended(batch: int, logs: Any) -> None:
        nonlocal watch, began, before
        # Steps that are made at once may be more than are left.
        done, now = min(batch + 1, epoch), time.perf_counter()
        if found:
            return
        if before is None:
            began = began or now
            if done >= epoch:  # all of them at once
                found.append(whole.run(done * batch_size))
            elif done >= warm or now - began > seconds / 2:
                before, watch = done, Stopwatch()
        # On JAX threads call this, perhaps not quite in order.
        elif done > before and (watch.seconds >= seconds or done >= epoch):
            found.append(watch.run((done - before) * batch_size))
        if found or stop.noted:
            model.stop_training = True

    callback = import_keras().callbacks.LambdaCallback(on_train_batch_end=ended)
    callback.async_safe = True  # or JAX would have to wait for each step
    model.fit(
        data, steps_per_epoch=epoch, shuffle=False, verbose=0, callbacks=[callback]
    )
    return found[0] if found else None


def train_for(model: Any, feed: Feed, seconds: float, stop: Interrupt) -> Run | None:
    """Trains from a feed.

    Args:
        model: A compiled model.
        feed: The feed.
        seconds: About how long.
        stop: What ends it early.
    """
    before = feed.sequence.stats()
    # What the last run left of its epoch is not to be trained any more.
    feed.sequence.set_epoch(feed.sequence.epoch + 1)
    epoch, size = len(feed.sequence), feed.setting.batch_size
    run = train(model, feed.data, seconds, epoch, size, stop)
    run = run and replace(run, stats=feed.sequence.stats() - before)
    feed.settle()
    return run


def train_alone(model: Any, feed: Feed, seconds: float, stop: Interrupt) -> Run | None:
    """Trains on a few batches of a feed that are held: a model without a loader."""
    sequence, size = feed.sequence, feed.setting.batch_size
    width = 4 * size * feed.num_features if feed.setting.output == "dense" else 0
    whole = max(1, sequence.num_rows // size)  # the last batch may be smaller
    count = min(HELD_BATCHES, whole, max(1, HELD_BYTES // max(width, 1)))
    places = np.linspace(0, whole - 1, count).astype(int).tolist()
    held, epoch = [sequence[place] for place in places], len(sequence)
    return train(model, constant_feed(held, epoch), seconds, epoch, size, stop)

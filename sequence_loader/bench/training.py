"""The model: loaded, tried on the store, and timed with a feed and without one.

Steps are timed inside one epoch of `fit`, from the end of its first
`WARM_STEPS` to the end of the last: what starting an epoch takes does not count.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from sequence_loader.backends.which_keras import import_keras, keras_backend
from sequence_loader.bench.runs import Feed, Run, Stopwatch
from sequence_loader.bench.settings import Setting
from sequence_loader.bench.source import ReopenedStore
from sequence_loader.feed.constant import constant_feed

WARM_STEPS = 4


def load_model(path: str) -> Any:
    """A compiled model.

    Args:
        path: What ``model.save`` has written.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It cannot be loaded, or was saved before it was compiled.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"`model` must be a file that model.save wrote; there is none at {path!r}."
        )
    import sequence_loader.layers  # noqa: F401  registers them

    try:
        with warnings.catch_warnings():
            # Of a model that was saved before its optimizer had its variables.
            warnings.filterwarnings("ignore", "Skipping variable loading for optim")
            model = import_keras().saving.load_model(path)
    except Exception as error:
        raise ValueError(
            f"`model` must be a model that Keras can load; of {path!r} it says: "
            f"{_first_line(error)}. Save it with model.save('model.keras'), and import "
            f"what it registers."
        ) from error
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"`model` must be compiled, so that it can be trained; {path!r} was saved "
            f"before. Call model.compile(...), and save it again."
        )
    return model


def fitting_outputs(model: Any, source: ReopenedStore) -> list[str]:
    """Which outputs the model can be trained from, the one it declares first.

    Args:
        model: A compiled model.
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
        try:
            feed = Feed(source, Setting("sequential", 1, output, 8, 1, road))
            train(model, feed.data, 1, len(feed.sequence), 8)
            outputs.append(output)
        except Exception as error:  # whatever a model, or its loss, says of a batch
            reason = reason or error
    if not outputs:
        raise ValueError(
            f"`model` cannot be trained on a batch of the store, of {width} features "
            f"and y of {source.y.dtype.name} {source.y.shape}: {_first_line(reason)}. "
            f"Pass a model for this store."
        ) from reason
    return outputs


def train(model: Any, data: Any, steps: int, epoch: int, batch_size: int) -> Run:
    """Trains for a while.

    Args:
        model: A compiled model.
        data: What `fit` takes.
        steps: Steps that are timed, at most as many as an epoch leaves.
        epoch: Batches of an epoch.
        batch_size: Rows in a batch.
    """
    warm = min(WARM_STEPS, epoch // 2)
    steps = max(1, min(steps, epoch - warm))
    watch, found = Stopwatch(), []

    def ended(batch: int, logs: Any) -> None:
        nonlocal watch
        if batch == warm + steps - 1:
            found.append(watch.run(steps * batch_size))
        elif batch == warm - 1:
            watch = Stopwatch()

    callback = import_keras().callbacks.LambdaCallback(on_train_batch_end=ended)
    callback.async_safe = True  # or JAX would have to wait for each step
    model.fit(
        data, steps_per_epoch=warm + steps, shuffle=False, verbose=0,
        callbacks=[callback],
    )
    return found[0]


def train_for(model: Any, feed: Feed, seconds: float, step_seconds: float) -> Run:
    """Trains from a feed.

    Args:
        model: A compiled model.
        feed: The feed.
        seconds: About how long.
        step_seconds: What a step should take.
    """
    before = feed.sequence.stats()
    steps = max(1, int(seconds / step_seconds))
    run = train(model, feed.data, steps, len(feed.sequence), feed.setting.batch_size)
    run = replace(run, stats=feed.sequence.stats() - before)
    feed.settle()
    return run


def train_alone(model: Any, feed: Feed, seconds: float) -> Run:
    """Trains on one batch of a feed, again and again: a model without a loader."""
    batch = feed.sequence[0]
    size, steps = feed.setting.batch_size, 8
    began = time.perf_counter()
    epoch = 2 * WARM_STEPS + steps
    train(model, constant_feed(batch, epoch), steps, epoch, size)
    took = (time.perf_counter() - began) / (WARM_STEPS + steps)
    steps = max(4, int(seconds / took))
    epoch = WARM_STEPS + steps
    return train(model, constant_feed(batch, epoch), steps, epoch, size)


def _first_line(error: BaseException | None) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:300]

"""Bench: which settings are measured, in which order, and for how long.

1. `label_entropy` of each order and batch size: no row is read
2. one axis at a time from a sensible base, the feed alone: orders, outputs, batch
   sizes, workers, roads
3. the settings that are expected to be fastest, and whose batches are mixed nearly as
   well as those of a uniform order, take turns: the feed, or `fit` where there is a
   model, which is timed without a loader as well
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sequence_loader.arguments import argument
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.bench.entropy import classes_of, label_entropy
from sequence_loader.bench.results import Figure, empty_results
from sequence_loader.bench.runs import Feed, Run
from sequence_loader.bench.settings import Setting
from sequence_loader.bench.source import ReopenedStore, read_pages
from sequence_loader.bench.space import Space
from sequence_loader.bench.training import (
    fitting_outputs,
    load_model,
    train_alone,
    train_for,
)
from sequence_loader.checks import integer
from sequence_loader.order.plan import BatchPlan

ENTROPY_TOLERANCE = 0.02
"""A setting is advised if its batches have this part less entropy than those of a
uniform order, at most."""

AXIS_RUNS, FINALISTS, ROUNDS, FEWEST_ROUNDS = 2, 6, 7, 3
"""Runs of each value of an axis, of which the fastest counts; settings that take turns,
and how often; and how often at least, when time is up."""

AXIS_SHARE = 0.5
"""When this part of the time has passed, values of axes get no second run."""

LEAST_SHARE = 0.25
"""What part of the planned length a run has at least, when time is short."""

WARMING_SHARE = 0.2
"""What part of the time reading all files into memory may take, and 5 s at least."""


class Bench:
    """Measures a store.

    Args:
        paths: Of the store.
        model: Path of a compiled model, or `None`.
        seconds: How long measuring may take, about.
        batch_size: The only batch size to try, or `None`.

    Attributes:
        results: What has been found up to now.
        steps: How many runs there are, at most.

    Raises:
        ValueError: The store is empty, or the model is not for it.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        model: str | None = None,
        seconds: float = 80.0,
        batch_size: int | None = None,
    ) -> None:
        self._source = ReopenedStore(paths)
        rows = self._source.num_rows
        self._interrupted = False
        if not rows:
            raise ValueError("the store has no rows: there is nothing to measure.")
        self._model = None if model is None else load_model(model)
        self._seconds = _checked_seconds(seconds)
        self._feeds: dict[Setting, Feed] = {}
        if batch_size is not None:
            batch_size = integer("batch_size", batch_size, minimum=1)
        outputs = ["sparse", "dense"]
        if self._model is not None:
            outputs = fitting_outputs(self._model, self._source)
        self._space = Space.of(
            self._source.store.shape,
            outputs,
            batch_size,
            in_graph=keras_backend() == "tensorflow",
            trains=self._model is not None,
        )
        self.results = empty_results(list(paths), self._source.store, model is not None)
        values = len(self._space.on_axes())
        states = len(self.results.states)
        each = FINALISTS * ROUNDS
        # With a model: the finalists' feeds as well, and the model alone.
        extra = FINALISTS * (2 * states + 1) if self._model is not None else 0
        self.steps = states * (values * AXIS_RUNS + each) + extra
        self._planned = self._slice = seconds / self.steps

    def run(self, advance: Callable[[int], None] = lambda count: None) -> None:
        """Measures everything; `results` has what there is at any time.

        Args:
            advance: Called after each run with 1, `steps` times at most.
        """
        self._advance = advance
        began = time.perf_counter()
        results = self.results
        try:
            with self._interrupts():
                self._mixing()
                for state in list(results.states):
                    self._axes(state, began)
                for state in list(results.states):
                    self._rounds(state, began)
            results.complete = True
        finally:
            results.seconds = time.perf_counter() - began
            self._feeds.clear()
            self._source.close()

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Ctrl-C ends the bench after the run under way; a second one, at once.

        Python would raise it wherever it is, and lose it where an iterator of
        TensorFlow is let go, which is what a bench does much of the time.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def note(number: int, frame: object) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _done(self) -> None:
        """A run is done."""
        self._advance(1)
        if self._interrupted:
            raise KeyboardInterrupt

    def _mixing(self) -> None:
        results, rows = self.results, self._source.num_rows
        classes = classes_of(self._source.y, rows)
        results.mixing, results.tolerance = classes.source, ENTROPY_TOLERANCE
        for (order, block), size in itertools.product(
            self._space.orders, self._space.sizes
        ):
            setting = Setting(order, block, "sparse", size, 1, "sequence")
            plan = BatchPlan(rows, setting.sampler(), size)
            key = setting.order_name, size
            results.entropy[key] = label_entropy(plan, classes)

    def _axes(self, state: str, began: float) -> None:
        """One axis at a time, from the base; the fastest of some runs counts."""
        if not self._prepare(state):
            return
        found = self.results.axes.setdefault(state, {})
        for number in range(AXIS_RUNS):
            if number and time.perf_counter() - began > self._seconds * AXIS_SHARE:
                break
            for setting in self._space.on_axes():
                run = self._read(state, setting)
                if run is None:
                    return
                found.setdefault(setting, []).append(run)
                self._done()

    def candidates(self) -> list[Setting]:
        """All settings that may be advised."""
        return [one for one in self._space.combined() if self.results.mixes(one)]

    def _rounds(self, state: str, began: float) -> None:
        if not self._prepare(state):
            return
        results, trains = self.results, self._model is not None
        finalists = self._space.promising(
            self.candidates(), results.axes.get(state, {}), FINALISTS, trains=trains
        )
        found = results.rounds.setdefault(state, {one: [] for one in finalists})
        places = [one for one in results.states if one in results.axes]
        states = len(places) - places.index(state)  # that are to come
        left = (self._seconds - (time.perf_counter() - began)) / states
        # With a model: thrice without a loader, twice the feed, and once to compile.
        fewest = (FEWEST_ROUNDS + 6 * trains) * max(len(finalists), 1)
        self._slice = min(self._slice, max(left / fewest, LEAST_SHARE * self._planned))
        # The memory of the others' dense batches is not needed any more.
        self._feeds = {one: f for one, f in self._feeds.items() if one in finalists}
        if trains:
            self._alone(finalists)
            feeds = results.feeds.setdefault(state, {})
            for setting in finalists * 2:
                run = self._read(state, setting)
                if run is not None:
                    feeds.setdefault(setting, []).append(run)
                self._done()
            for setting in finalists:  # compiles
                self._fit("warm", setting)
        now = time.perf_counter()
        until = now + (self._seconds - (now - began)) / states
        for number in range(ROUNDS):
            if number >= FEWEST_ROUNDS and time.perf_counter() > until:
                break
            for setting in finalists:
                measure = self._read if self._model is None else self._fit
                run = measure(state, setting)
                if run is not None:
                    found[setting].append(run)
                self._done()

    def _alone(self, finalists: Sequence[Setting]) -> None:
        for setting in finalists:
            key = setting.output, setting.batch_size
            if key not in self.results.models:
                feed = self._feed(setting)
                runs = [train_alone(self._model, feed, self._slice) for _ in range(3)]
                self.results.models[key] = runs
            self._done()

    def _feed(self, setting: Setting) -> Feed:
        if setting not in self._feeds:
            self._feeds[setting] = Feed(self._source, setting)
        return self._feeds[setting]

    def _prepare(self, state: str) -> bool:
        """Has the store in the state; whether that came about."""
        if state not in self.results.states:
            return False
        self._source.reopen(cold=False)
        warm = state != "warm" or read_pages(
            self._source.store.paths, max(self._seconds * WARMING_SHARE, 5.0)
        )
        if not warm:
            self._drop_state(state, "is too large to be read into memory meanwhile")
        return warm

    def _drop_state(self, state: str, why: str) -> None:
        self.results.states.remove(state)
        self.results.notes.append(f"not measured {state}: the store {why}.")
        if self.results.states:
            self.results.main_state = self.results.states[0]

    def _read(self, state: str, setting: Setting) -> Run | None:
        feed = self._feed(setting)
        if self._is_cold(state):
            return feed.run(self._slice, once=True)
        return feed.run(self._slice) if state in self.results.states else None

    def _fit(self, state: str, setting: Setting) -> Run | None:
        feed = self._feed(setting)
        self._is_cold(state)
        alone = self.results.models[setting.output, setting.batch_size]
        feeds = self.results.feeds.get(state, {}).get(setting) or alone
        rate = min(Figure.of(alone).median, Figure.of(feeds).median)
        step = setting.batch_size / rate
        return train_for(self._model, feed, self._slice, step)

    def _is_cold(self, state: str) -> bool:
        """Makes the store cold, if it is to be."""
        if state != "cold":
            return False
        if not self._source.reopen(cold=True) and "cold" in self.results.states:
            self._drop_state("cold", "stays in memory, whoever asks (tmpfs does so)")
        return "cold" in self.results.states


def _checked_seconds(seconds: float) -> float:
    if not 0 < seconds < float("inf"):
        raise ValueError(
            f"{argument('seconds')} must be more than 0; received {seconds}. Pass "
            f"for example {argument('seconds', 30)}."
        )
    return seconds

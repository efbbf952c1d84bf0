"""Bench: which settings are measured, in which order, and for how long.

1. `label_entropy` of each order and batch size: no row is read
2. one axis at a time from a sensible base, the feed alone: orders, outputs, batch
   sizes, workers, roads
3. the settings that are expected to be fastest, and whose batches are mixed nearly as
   well as those of a uniform order, take turns: the feed, or `fit` where there is a
   model, each time beside the model without a loader

What else a machine does changes from second to second: what took turns is compared.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from sequence_loader.arguments import argument
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.bench.beginning import empty_results
from sequence_loader.bench.entropy import classes_of, label_entropy
from sequence_loader.bench.interrupts import Interrupt
from sequence_loader.bench.model_file import load_model
from sequence_loader.bench.runner import Runner
from sequence_loader.bench.settings import Setting
from sequence_loader.bench.source import ReopenedStore
from sequence_loader.bench.space import Space
from sequence_loader.bench.training import WARM_STEPS, fitting_outputs
from sequence_loader.checks import integer
from sequence_loader.order.plan import BatchPlan

ENTROPY_TOLERANCE = 0.02
"""A setting is advised if its batches have this part less entropy than those of a
uniform order, at most."""

AXIS_RUNS, FINALISTS, FEWEST_ROUNDS = 2, 6, 3
"""Runs of each value of an axis, of which the fastest counts; settings that take turns;
and how often they do at least, when time is up."""

ROUNDS, TRAINED_ROUNDS = 7, 5
"""How often settings take turns; with a model each turn is of `fit` and of the model
alone."""

AXIS_SHARE = 0.5
"""When this part of the time has passed, values of axes get no second run, and soon
none at all."""

LEAST_SHARE = 0.25
"""What part of the planned length a run has at least, when time is short."""

WARMING_SHARE = 0.2
"""What part of the time reading all files into memory may take, and 5 s at least."""

LEAST_SECONDS = 10.0
"""Before, nothing is left out: graphs of TensorFlow take as long, however short runs
are."""


class Bench:
    """Measures a store.

    Args:
        paths: Of the store.
        model: Path of a compiled model, or `None`.
        seconds: How long it may take, about, from now on.
        batch_size: The only batch size to try, or `None`.

    Attributes:
        results: What has been found up to now.
        steps: How many runs there are, at most.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
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
        self._began, self._interrupt = time.perf_counter(), Interrupt()
        self._source = source = ReopenedStore(paths, self._interrupt)
        if not source.num_rows:
            raise ValueError("the store has no rows: there is nothing to measure.")
        self._seconds, self._trains = _checked_seconds(seconds), model is not None
        if batch_size is not None:
            batch_size = integer("batch_size", batch_size, minimum=1)
        loaded, outputs = None, ["sparse", "dense"]
        if model is not None:
            with self._interrupt.noting():
                loaded = load_model(model)
                outputs = fitting_outputs(loaded, model, source)
                self._interrupt.check()
        self._space = Space.of(
            source.store.shape,
            outputs,
            batch_size,
            in_graph=keras_backend() == "tensorflow",
            trains=self._trains,
        )
        self.results = empty_results(list(paths), source.store, self._trains)
        self._rounds_planned = TRAINED_ROUNDS if self._trains else ROUNDS
        # With a model: fit and the model alone, before that to compile, and the feed.
        turns = self._rounds_planned + self._trains * (self._rounds_planned + 1 + 2)
        runs = len(self._space.on_axes()) * AXIS_RUNS + FINALISTS * turns
        self.steps = len(self.results.states) * runs
        self._planned = seconds / max(self.steps, 1)
        self._runner = Runner(
            source, loaded, self.results, self._planned, self._interrupt
        )

    def run(self, advance: Callable[[int], None] = lambda count: None) -> None:
        """Measures everything; `results` has what there is at any time.

        Args:
            advance: Called after each run with 1, `steps` times at most.
        """
        self._advance = advance
        results = self.results
        try:
            with self._interrupt.noting():
                self._mixing()
                states = list(results.states)
                for number, state in enumerate(states, 1):
                    self._axes(state, AXIS_SHARE * number / len(states))
                for state in list(results.states):
                    self._rounds(state)
            results.complete = True
        finally:
            results.seconds = self._passed()
            self._runner.close()

    def _passed(self) -> float:
        return time.perf_counter() - self._began

    def _late(self, share: float = 1.0) -> bool:
        """Whether that part of the time is over, so that something is left out."""
        return self._passed() > share * max(self._seconds, LEAST_SECONDS)

    def _cut(self, what: str) -> None:
        """Says, once, what time was too short for."""
        note = f"time was too short for {what}; give it more with --seconds."
        if note not in self.results.notes:
            self.results.notes.append(note)

    def _done(self) -> None:
        """A run is done."""
        self._advance(1)
        self._interrupt.check()

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
            self._interrupt.check()

    def _prepare(self, state: str) -> bool:
        return self._runner.prepare(state, max(self._seconds * WARMING_SHARE, 5.0))

    def _axes(self, state: str, share: float) -> None:
        """One axis at a time, from the base; the fastest of some runs counts."""
        if not self._prepare(state):
            return
        found = self.results.axes.setdefault(state, {})
        for number in range(AXIS_RUNS):
            if number and self._passed() > self._seconds * AXIS_SHARE:
                break
            for setting in self._space.on_axes():
                if found and self._late(share):
                    if not number:
                        self._cut("all values of the axes")
                    break
                run = self._runner.read(state, setting)
                if run is None:
                    return
                found.setdefault(setting, []).append(run)
                self._done()

    def candidates(self) -> list[Setting]:
        """All settings that may be advised."""
        return [one for one in self._space.combined() if self.results.mixes(one)]

    def _rounds(self, state: str) -> None:
        """Finalists take turns."""
        results, runner = self.results, self._runner
        places = [one for one in results.states if one in results.axes]
        if places and state != places[0] and self._late():
            self._cut(f"turns with the store {state}")
            return
        if not self._prepare(state):
            return
        finalists = self._space.promising(
            self.candidates(), results.axes.get(state, {}), FINALISTS,
            trains=self._trains,
        )
        to_come = len(places) - places.index(state)
        end = self._passed() + (self._seconds - self._passed()) / to_come
        turns = FEWEST_ROUNDS + self._trains * (FEWEST_ROUNDS + 4)
        each = (end - self._passed()) / (turns * max(len(finalists), 1))
        runner.seconds = min(runner.seconds, max(each, LEAST_SHARE * self._planned))
        runner.keep(finalists)
        if self._trains:
            finalists = self._affordable(finalists, to_come)
            feeds = results.feeds.setdefault(state, {})
            for setting in finalists * 2:
                run = runner.read(state, setting)
                if run is not None:
                    feeds.setdefault(setting, []).append(run)
                self._done()
        self._turns(state, finalists, end, to_come)

    def _share(self, to_come: int) -> float:
        """The part of the time at which the next of the states to come begins."""
        return AXIS_SHARE + (1 - AXIS_SHARE) / to_come

    def _affordable(self, finalists: list[Setting], to_come: int) -> list[Setting]:
        """Those whose steps are short enough for the time there is, at least one."""
        whole = max(self._seconds, LEAST_SECONDS) * self._share(to_come)
        kept: list[Setting] = []
        cost = 0.0
        for setting in finalists:
            if kept and self._passed() + FEWEST_ROUNDS * cost > whole:
                break
            step = self._runner.first_step(setting)
            # A turn: the time of a run, and before it steps that do not count.
            warm = min(WARM_STEPS * step, self._runner.seconds + step)
            cost += 2 * self._runner.seconds + warm + step
            if kept and self._passed() + FEWEST_ROUNDS * cost > whole:
                break
            kept.append(setting)
            self._done()
        if len(kept) < len(finalists):
            self._cut(
                f"{len(finalists)} settings to take turns beside this model: "
                f"{len(kept)} did"
            )
        return kept

    def _turns(
        self, state: str, finalists: Sequence[Setting], end: float, to_come: int
    ) -> None:
        results, runner = self.results, self._runner
        found = results.rounds.setdefault(state, {one: [] for one in finalists})
        for number in range(self._rounds_planned):
            if number >= FEWEST_ROUNDS and self._passed() > end:
                break
            if number and self._late(self._share(to_come)):
                self._cut(f"{FEWEST_ROUNDS} rounds of turns (made: {number})")
                break
            beside = set()
            for setting in finalists:
                run = (runner.fit if self._trains else runner.read)(state, setting)
                if run is not None:
                    found[setting].append(run)
                self._done()
                key = setting.output, setting.batch_size
                if self._trains and key not in beside:
                    beside.add(key)
                    run = runner.alone(setting)
                    models = results.models.setdefault(state, {})
                    if run is not None:
                        models.setdefault(key, []).append(run)
                    self._done()


def _checked_seconds(seconds: float) -> float:
    if not 0 < seconds < float("inf"):
        raise ValueError(
            f"{argument('seconds')} must be more than 0; received {seconds}. Pass "
            f"for example {argument('seconds', 30)}."
        )
    return seconds

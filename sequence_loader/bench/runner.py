"""Runner: one run of one setting, of the feed, of `fit` or of the model alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sequence_loader.bench.interrupts import Interrupt
from sequence_loader.bench.results import Results
from sequence_loader.bench.runs import Feed, Run
from sequence_loader.bench.settings import Setting
from sequence_loader.bench.source import ReopenedStore, read_pages
from sequence_loader.bench.training import train_alone, train_for


class Runner:
    """What is measured with.

    Args:
        source: The store.
        model: A compiled model, or `None`.
        results: Whose states are dropped if they do not come about.
        seconds: How long a run is.
        interrupt: What ends it early.

    Attributes:
        seconds: How long a run is, from now on.
    """

    def __init__(
        self,
        source: ReopenedStore,
        model: Any,
        results: Results,
        seconds: float,
        interrupt: Interrupt,
    ) -> None:
        self._source, self._model, self._results = source, model, results
        self._interrupt, self.seconds = interrupt, seconds
        self._feeds: dict[Setting, Feed] = {}

    def keep(self, settings: Collection[Setting]) -> None:
        """Lets the feeds of all others go, and the memory of their dense batches."""
        self._feeds = {one: f for one, f in self._feeds.items() if one in settings}

    def prepare(self, state: str, warming: float) -> bool:
        """Has the store in the state; whether that came about.

        Args:
            state: ``"warm"`` or ``"cold"``.
            warming: How long reading all of it into memory may take.
        """
        if state not in self._results.states:
            return False
        self._source.reopen(cold=False)
        folders = self._source.store.paths
        warm = state != "warm" or read_pages(folders, warming, self._interrupt)
        self._interrupt.check()
        if not warm:
            self._drop(state, "is too large to be read into memory meanwhile")
        return warm

    def read(self, state: str, setting: Setting) -> Run | None:
        """A run of the feed; `None` if the state did not come about."""
        feed = self._feed(setting)
        if self._is_cold(state):
            return feed.run(self.seconds, once=True)
        return feed.run(self.seconds) if state in self._results.states else None

    def fit(self, state: str, setting: Setting) -> Run | None:
        """A run of `fit`; `None` if it was interrupted before a step was timed."""
        feed = self._feed(setting)
        self._is_cold(state)
        return train_for(self._model, feed, self.seconds, self._interrupt)

    def alone(self, setting: Setting) -> Run | None:
        """A run of the model without a loader; `None` as for `fit`."""
        feed = self._feed(setting)
        return train_alone(self._model, feed, self.seconds, self._interrupt)

    def first_step(self, setting: Setting) -> float:
        """Has `fit` and the model alone compiled; seconds of a step of both."""
        steps = [self.fit("warm", setting), self.alone(setting)]
        self._interrupt.check()
        return sum(setting.batch_size / run.rate for run in steps if run)

    def close(self) -> None:
        """Closes the store."""
        self._feeds.clear()
        self._source.close()

    def _feed(self, setting: Setting) -> Feed:
        if setting not in self._feeds:
            self._feeds[setting] = Feed(self._source, setting)
        return self._feeds[setting]

    def _drop(self, state: str, why: str) -> None:
        results = self._results
        results.states.remove(state)
        results.notes.append(f"not measured {state}: the store {why}.")
        if results.states:
            results.main_state = results.states[0]

    def _is_cold(self, state: str) -> bool:
        """Makes the store cold, if it is to be."""
        if state != "cold":
            return False
        if not self._source.reopen(cold=True) and "cold" in self._results.states:
            self._drop("cold", "stays in memory, whoever asks (tmpfs does so)")
        return "cold" in self._results.states

"""Space: the settings there are for a store, on axes and combined."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sequence_loader.bench.runs import Run
from sequence_loader.bench.settings import DEFAULT_BLOCK, Setting

BLOCK_SIZES = 4, DEFAULT_BLOCK, 64, 256
BATCH_SIZES = 64, 256, 1024
MOST_WORKERS = 4

DENSE_BATCH_BYTES = 1 << 28
"""Larger dense batches are not tried, unless nothing else is left."""

PROMISING = 0.7
"""Settings that are expected to be slower than this part of the fastest take no
turns. With a model they do: it may be what limits."""


def usable_cpus() -> int:
    """Processors that this process may use."""
    found = getattr(os, "sched_getaffinity", None)
    return len(found(0)) if found else os.cpu_count() or 1


@dataclass(frozen=True)
class Space:
    """The values of each axis.

    Attributes:
        orders: Pairs (order, block size).
        outputs: The first is that of the base.
        sizes: Batch sizes, ascending.
        workers: Numbers of workers.
        roads: The first is that of the base.
        num_features: Columns of the store.
    """

    orders: Sequence[tuple[str, int]]
    outputs: Sequence[str]
    sizes: Sequence[int]
    workers: Sequence[int]
    roads: Sequence[str]
    num_features: int

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        outputs: Sequence[str],
        batch_size: int | None,
        *,
        in_graph: bool,
        trains: bool,
    ) -> Space:
        """The space for a store.

        Args:
            shape: (rows, features).
            outputs: Those that may be served.
            batch_size: The only one, or `None`.
            in_graph: Whether Keras takes datasets of TensorFlow's here.
            trains: Whether there is a model.
        """
        rows, features = shape
        blocks = [("block", size) for size in BLOCK_SIZES if 4 * size <= rows]
        sizes = BATCH_SIZES if batch_size is None else (batch_size,)
        more = [n for n in (2, MOST_WORKERS) if in_graph and n <= usable_cpus()]
        found = cls(
            orders=[("sequential", 1), ("uniform", 1), *blocks],
            outputs=outputs,
            sizes=sorted({min(size, rows) for size in sizes}),
            workers=[1, *more],
            roads=["dataset", "sequence"][: 1 + trains] if in_graph else ["sequence"],
            num_features=features,
        )
        small = [one for one in outputs if found._is_small(one, found.sizes[0])]
        return replace(found, outputs=small or outputs)

    @property
    def base(self) -> Setting:
        """What one axis at a time is changed of."""
        order = "block", DEFAULT_BLOCK
        if order not in self.orders:
            order = "uniform", 1
        output = self.outputs[0]
        middle = self.sizes[: len(self.sizes) // 2 + 1]
        small = [size for size in middle if self._is_small(output, size)]
        size = small[-1] if small else self.sizes[0]
        return Setting(*order, output, size, 1, self.roads[0])

    def on_axes(self) -> list[Setting]:
        """The base, and each setting that differs from it in one thing."""
        base = self.base
        settings = [base]
        settings += [replace(base, order=o, block_size=b) for o, b in self.orders]
        settings += [replace(base, output=output) for output in self.outputs]
        settings += [replace(base, batch_size=size) for size in self.sizes]
        settings += [replace(base, workers=count) for count in self.workers]
        settings += [replace(base, road=road) for road in self.roads]
        return [one for one in dict.fromkeys(settings) if self._is_possible(one)]

    def combined(self) -> list[Setting]:
        """All settings there are."""
        made = itertools.product(
            self.orders, self.outputs, self.sizes, self.workers, self.roads
        )
        settings = [
            Setting(*order, output, size, workers, road)
            for order, output, size, workers, road in made
            if workers == 1 or road == "dataset"
        ]
        return [one for one in settings if self._is_possible(one)]

    def promising(
        self,
        candidates: Sequence[Setting],
        measured: Mapping[Setting, Sequence[Run]],
        most: int,
        *,
        trains: bool,
    ) -> list[Setting]:
        """Those expected to be fastest, if what each axis brings multiplies.

        Args:
            candidates: To choose from.
            measured: Runs of `on_axes`.
            most: How many.
            trains: Whether there is a model. Then the best of each batch size, output
                and road come first: what a feed takes says little of what a step does.
        """
        if self.base not in measured:
            return []
        expected = self._expectation(measured)
        ranked = sorted(candidates, key=expected, reverse=True)
        least = PROMISING * expected(ranked[0]) if ranked else 0.0
        ranked = [one for one in ranked if trains or expected(one) >= least]
        first: dict[object, Setting] = {}
        for one in ranked:
            key = (one.batch_size, one.output, one.road) if trains else one.output
            first.setdefault(key, one)
        return list(dict.fromkeys([*first.values(), *ranked]))[:most]

    def _expectation(
        self, measured: Mapping[Setting, Sequence[Run]]
    ) -> Callable[[Setting], float]:
        base = self.base
        rates = {one: max(run.rate for run in runs) for one, runs in measured.items()}

        def expected(setting: Setting) -> float:
            ratio = 1.0
            for one in (
                replace(base, order=setting.order, block_size=setting.block_size),
                replace(base, output=setting.output),
                replace(base, batch_size=setting.batch_size),
                replace(base, workers=setting.workers),
                replace(base, road=setting.road),
            ):
                ratio *= rates.get(one, 0.0) / rates[base]
            return ratio

        return expected

    def _is_small(self, output: str, size: int) -> bool:
        return output != "dense" or 4 * size * self.num_features <= DENSE_BATCH_BYTES

    def _is_possible(self, setting: Setting) -> bool:
        size = setting.batch_size
        return size == self.sizes[0] or self._is_small(setting.output, size)

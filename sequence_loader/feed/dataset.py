"""to_tf_dataset: the batches of a sequence as a ``tf.data.Dataset``.

Python builds flat arrays, of one batch or of several small ones in one call;
everything else happens in the graph:

    range(1) -> two parts: epoch, numbers   when an iteration starts
    of each part:
    -> first, first + `at_once`, ...        one step for each call
    -> arrays of these batches              the pipeline's `parallel_calls` at once
    -> structure, SparseTensors
    -> prefetch                             `prefetch` batches of this part; the second
                                            one is the last batch alone

The epoch an iteration serves is fixed when it starts and is over when its last
batch is made, which nothing does ahead: an iterator that is dropped before, as
Keras drops the ones it peeks with, changes nothing. A step of its own behind the
prefetching that marks the epoch costs a sixth of the time of a sparse batch.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from sequence_loader.arrays import Array
from sequence_loader.backends.jax import check_columns
from sequence_loader.backends.which_keras import keras_backend
from sequence_loader.feed.dataset_functions import flat_mapped, mapped
from sequence_loader.feed.dataset_layout import Layout
from sequence_loader.feed.pipeline import Pipeline
from sequence_loader.feed.stats import FeedCounters
from sequence_loader.rows.csr import CsrRows
from sequence_loader.workers.pool import ended, visits


READY_BYTES, READY_BATCHES = 1 << 28, 2
"""Bytes of the batches that are kept ready, and how many may be whatever they take.
While a dataset exists, the memory of as many is kept from one iteration to the next:
to get it anew took 3 ms of CPU time for each dense batch of 10 MB, thrice what making
the batch takes."""


def make_dataset(
    current: Callable[[], Pipeline],
    epoch: int,
    begin: Callable[[], tuple[int, int, int]],
    served: Callable[[int, int], None],
    prefetch: int,
) -> tf.data.Dataset:
    """Builds the dataset.

    Args:
        current: () -> what makes the batches, of the order of now; called from
            several threads at once.
        epoch: Of the batch that shows what all are like.
        begin: () -> the epoch of an iteration that starts now, its number, and its
            first batch.
        served: Called with that number and that epoch once the last batch has been
            handed out.
        prefetch: How many batches are kept ready, 1 or more, at most `READY_BYTES` of
            them.

    Returns:
        A dataset of ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)`` whose specs are
        known: the batch axis is static where `remainder` fixes it.
    """
    pipeline = current()
    plan, parallel_calls = pipeline.plan, pipeline.parallel_calls
    (example,) = replace(pipeline, counters=FeedCounters()).batches(epoch, range(1))
    for leaf in example.leaves():
        if isinstance(leaf, CsrRows) and pipeline.assembler.output == "sparse":
            check_columns(leaf.num_features)
    layout = Layout(example, plan, pipeline.assembler)
    most = max(READY_BYTES // max(layout.nbytes, 1), READY_BATCHES)
    prefetch = min(prefetch, most)
    del example

    last = plan.num_batches - 1
    at_once = 1 if pipeline.one_by_one else layout.at_once

    def parts() -> Array:
        """An iteration starts: what is made ahead, and the last batch.

        Returns:
            int64 array of shape (2, 5): epoch, iteration, the first batch, one past the
            last, and how many rows each has.
        """
        epoch, iteration, first = begin()
        ahead = min(first, last), last, plan.batch_size
        final = max(first, last), last + 1, plan.rows_in(last, last + 1)
        return np.array([(epoch, iteration, *part) for part in (ahead, final)])

    def arrays(epoch: Any, iteration: Any, first: Any, stop: Any) -> list[Array]:
        """The flat arrays of `at_once` batches.

        Where fewer are left of a part, the last of them stands in for those that are
        missing, which are cut off.
        """
        wanted = range(int(first), min(int(first) + at_once, int(stop)))
        flat: list[Array] = []
        asked = time.perf_counter()
        with visits:
            batches = current().batches(int(epoch), wanted)
            for _ in wanted:
                if ended.is_set():
                    raise RuntimeError("the interpreter ends: no more batches are made")
                one = layout.flatten(next(batches))
                flat += one
            if last in wanted:
                served(int(iteration), int(epoch))
        rows = plan.rows_in(wanted.start, wanted.stop)
        pipeline.counters.served(len(wanted), rows, asked, time.perf_counter())
        return flat + one * (at_once - len(wanted))

    def fetch(first: Any, epoch: Any, iteration: Any, stop: Any, rows: Any) -> Any:
        """In the graph: `at_once` batches, dense ones as they cross."""
        asked = epoch, iteration, first, stop
        flat = tf.numpy_function(arrays, asked, layout.dtypes * at_once)
        size = len(layout.dtypes)
        each = [flat[first : first + size] for first in range(0, len(flat), size)]
        return layout.restore(each, rows)

    def one(*asked: Any) -> Any:
        return fetch(*asked)[0]

    def group(first: Any, epoch: Any, iteration: Any, stop: Any, rows: Any) -> Any:
        fetched = fetch(first, epoch, iteration, stop, rows)
        each = map(tf.data.Dataset.from_tensors, fetched)
        joined = functools.reduce(lambda one, other: one.concatenate(other), each)
        return joined.take(stop - first)

    if at_once > 1:
        batches_of = flat_mapped(group, 5, layout.spec)
    else:  # even one parallel call has a queue and a thread
        calls = parallel_calls if parallel_calls > 1 else 0
        batches_of = mapped(one, 5, layout.spec, calls)

    def part(epoch: Any, iteration: Any, start: Any, stop: Any, rows: Any) -> Any:
        numbers = tf.data.Dataset.range(start, stop, at_once)
        batches = batches_of(numbers, (epoch, iteration, stop, rows))
        return batches.prefetch(prefetch)

    def begun(_: Any) -> Any:
        both = tf.numpy_function(parts, [], tf.int64)
        both.set_shape((2, 5))
        return tf.unstack(both, axis=1)

    # Two steps: of an iterator that is saved within a flat_map, TensorFlow calls the
    # function again to restore it, and that must not begin an iteration.
    spec = (tf.TensorSpec((2,), tf.int64),) * 5
    numbers = mapped(begun, 1, spec, calls=1)(tf.data.Dataset.range(1), ()).unbatch()
    dataset = flat_mapped(part, 5, layout.spec)(numbers, ())
    dataset = as_served(dataset, plan.num_batches)
    # Ready, made now, and with who reads. Not kept by a function above: TensorFlow
    # lets go of none that crosses into Python.
    dataset.memory = layout.reserve(min(prefetch + at_once + 2, most))
    return dataset


def as_served(dataset: tf.data.Dataset, num_batches: int) -> tf.data.Dataset:
    """States how many batches there are, and that nothing is to be changed.

    An iteration that is resumed ends before: what comes behind it has, by what
    TensorFlow knows, no end, of which `num_batches` are taken, and in truth no batch.
    """
    dataset = dataset.concatenate(dataset.take(0).repeat())
    # Made when it is asked for a batch: Keras makes a second iterator in each epoch,
    # which it lets go of.
    dataset = dataset.take(0).concatenate(dataset).take(num_batches)
    options = tf.data.Options()
    # The plan has sharded the rows already; a second time would lose some.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    # TensorFlow would fetch ahead of the last step, or in it, and batches that were
    # only fetched ahead would count as handed out: a user who turns on its default
    # optimizations does not turn on these.
    options.experimental_optimization.inject_prefetch = False
    options.experimental_optimization.map_parallelization = False
    # There is nothing here to rewrite or to tune: looking for it at every batch
    # takes a tenth of the time of a sparse one (benchmarks/compare.py).
    options.experimental_optimization.apply_default_optimizations = False
    # A rewriting that finds nothing to do: of a dataset it has not rewritten,
    # TensorFlow 2.21 reads freed memory when an iterator of tf.distribute is let go.
    options.experimental_optimization.noop_elimination = True
    options.autotune.enabled = False
    return dataset.with_options(options)


def check_output(output: str) -> None:
    """Refuses what TensorFlow's pipelines, or Keras's use of them, cannot carry.

    Args:
        output: What the sequence serves.

    Raises:
        ValueError: It is ``"csr"``, or sparse on torch.
    """
    if output == "csr":
        raise ValueError(
            "`output` must be 'dense' or 'sparse' for to_tf_dataset(); received "
            "output='csr'. TensorFlow carries no scipy matrices: construct the "
            "sequence with output='sparse'."
        )
    if output == "sparse" and keras_backend() == "torch":
        raise ValueError(
            "`output` must be 'dense' for to_tf_dataset() on the torch backend; "
            "received output='sparse'. Keras does not convert a SparseTensor for "
            "torch: pass the sequence itself to fit, or output='dense'."
        )

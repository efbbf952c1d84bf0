"""Maps of tf.data whose functions start, and are called, at once.

For the functions of `Dataset.map` and `flat_map` TensorFlow optimizes a graph again
whenever an iterator is made, 3 to 5 ms for each, and hands each call to a pool of
threads and back. Functions over scalars that call Python have nothing to optimize: of
one that is said to be for one device, the graph is run as it is, and a map can run it
in the thread that asks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

Mapped = Callable[[tf.data.Dataset, Sequence[Any]], tf.data.Dataset]
"""(dataset of int64 scalars, further scalars) -> what the function makes of each."""


def mapped(
    function: Callable[..., Any], arguments: int, spec: Any, calls: int = 0
) -> Mapped:
    """As ``dataset.map(function)``.

    Args:
        function: In the graph: int64 scalars -> what `spec` says.
        arguments: How many scalars: those of the dataset, and those given beside it.
        spec: Structure of specs.
        calls: How many of TensorFlow's threads call it at once, in order. 0: the one
            that asks. That must be none of the user's, but that of a `prefetch` behind
            it: in theirs, Ctrl-C would become an error of TensorFlow's.
    """

    def tensors(*scalars: Any) -> list[Any]:
        return list(map(_as_it_crosses, tf.nest.flatten(function(*scalars))))

    options: dict[str, Any] = {"preserve_cardinality": True}
    operation = tf.raw_ops.MapDataset
    if calls > 1:
        operation = tf.raw_ops.ParallelMapDatasetV2
        options.update(num_parallel_calls=calls, deterministic="true")
    elif not calls:
        options.update(use_inter_op_parallelism=False)
    return _mapped(functools.partial(operation, **options), tensors, arguments, spec)


def flat_mapped(
    function: Callable[..., tf.data.Dataset], arguments: int, spec: Any
) -> Mapped:
    """As ``dataset.flat_map(function)``; see `mapped`.

    Args:
        function: In the graph: int64 scalars -> a dataset.
        arguments: How many scalars.
        spec: Structure of the specs of its elements.
    """

    def variant(*scalars: Any) -> Any:
        return tf.data.experimental.to_variant(function(*scalars))

    return _mapped(tf.raw_ops.FlatMapDataset, variant, arguments, spec)


def _mapped(
    operation: Any, function: Callable[..., Any], arguments: int, spec: Any
) -> Mapped:
    """A function of the graph, which a raw operation calls for each element."""
    traced = tf.function(
        function,
        input_signature=[tf.TensorSpec((), tf.int64)] * arguments,
        autograph=False,  # it would find no `if` or `for` over tensors
        experimental_attributes={"experimental_ints_on_device": True},
    )
    with _on_cpu():
        concrete = traced.get_concrete_function()
    types, shapes = zip(*map(_crossing, tf.nest.flatten(spec)))

    def of(dataset: tf.data.Dataset, beside: Sequence[Any]) -> tf.data.Dataset:
        with _on_cpu():
            variant = operation(
                input_dataset=tf.data.experimental.to_variant(dataset),
                other_arguments=[*beside, *concrete.captured_inputs],
                f=concrete,
                output_types=types,
                output_shapes=shapes,
            )
            made = tf.data.experimental.from_variant(variant, spec)
        made.function = concrete  # which it needs for as long as it is
        return made

    return of


def _crossing(spec: Any) -> tuple[Any, Any]:
    """The dtype and the shape in which a tensor crosses from step to step."""
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.variant, None  # of any shape
    return spec.dtype, spec.shape


def _as_it_crosses(tensor: Any) -> Any:
    if isinstance(tensor, tf.SparseTensor):
        return tf.io.serialize_sparse(tensor, tf.variant)
    return tensor


def _on_cpu() -> Any:
    """Where Python runs, whichever device the user works on at present."""
    return tf.device("CPU:0")

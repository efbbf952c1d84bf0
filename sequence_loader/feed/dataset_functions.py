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


def mapped(function: Callable[..., Any], arguments: int, spec: Any) -> Mapped:
    """As ``dataset.map(function)``, in the thread that asks.

    That must be none of the user's, but that of a `prefetch` behind it: in theirs,
    Ctrl-C would become an error of TensorFlow's.

    Args:
        function: In the graph: int64 scalars -> what `spec` says.
        arguments: How many scalars: one of the dataset, and those given beside it.
        spec: Structure of ``tf.TensorSpec``.
    """

    def tensors(*scalars: Any) -> list[Any]:
        flat: list[Any] = tf.nest.flatten(function(*scalars))
        return flat

    operation = functools.partial(
        tf.raw_ops.MapDataset, use_inter_op_parallelism=False, preserve_cardinality=True
    )
    return _mapped(operation, tensors, arguments, spec)


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


def mapped_in_parallel(function: Callable[..., Any], calls: int) -> Mapped:
    """As `mapped`, by so many threads, in order; TensorFlow's own."""
    as_it_is: Callable[[Any], Any] = tf.autograph.experimental.do_not_convert
    return lambda dataset, beside: dataset.map(
        as_it_is(lambda scalar: function(scalar, *beside)),
        num_parallel_calls=calls,
        deterministic=True,
    )


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


def _on_cpu() -> Any:
    """Where Python runs, whichever device the user works on at present."""
    return tf.device("CPU:0")

"""Layers for models that are fed sparse batches: `SparseDropout` and `Densify`.

`Dense` takes a sparse batch, most other layers do not. `SparseDropout` is the
`Dropout` that a model may begin with; after `Densify` any layer may follow, and the
batch has still crossed to the device as its values alone.

They are layers of the Keras that `SparseBatchSequence` feeds: of Keras 3 on TensorFlow,
JAX or torch, or of tf-keras under ``TF_USE_LEGACY_KERAS=1``. A program that loads a
saved model with them imports this module first; that registers them.

On TensorFlow both tell Keras not to compile the model with XLA, which has no kernel
for a sparse matrix times a dense one and compiles `Densify` anew for every number of
values. A model without them needs ``compile(jit_compile=False)`` for sparse batches.

Example:
    >>> model = keras.Sequential([
    ...     keras.Input((20_000,), sparse=True),  # on torch without `sparse`
    ...     SparseDropout(0.2),
    ...     keras.layers.Dense(64, activation="relu"),
    ... ])
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

from sequence_loader.backends.which_keras import keras_backend, uses_legacy_keras
from sequence_loader.checks import shown

if uses_legacy_keras():
    import tf_keras as keras
else:
    import keras

__all__ = ["Densify", "SparseDropout"]

_register = keras.saving.register_keras_serializable(package="sequence_loader")


@_register
class SparseDropout(keras.layers.Dropout):  # type: ignore[misc]
    """What `Dropout` does, on the stored values of a sparse batch.

    While training, a share `rate` of the values becomes 0 and the others are divided
    by ``1 - rate``. An entry that is not stored is 0 and stays 0, as in `Dropout`. The
    mask has one number for each stored value, not for each entry of the dense batch.
    In inference the batch passes unchanged. A dense batch is treated as by `Dropout`.

    The output has the shape and the indices of the input. Its values have the layer's
    `compute_dtype`; integers and booleans are converted.

    Args:
        rate: Share of the values to drop, a number in [0, 1).
        seed: Integer, for the same masks in every run; `None` draws it at random, or
            from `keras.utils.set_random_seed`. On tf-keras both decide together.
        **kwargs: `name`, `dtype`, `trainable`, as in every layer.

    Call arguments:
        inputs: ``tf.SparseTensor``, ``BCOO`` or torch CSR tensor of shape
            (batch, features), or a dense tensor of any shape.
        training: Whether to drop.

    Raises:
        ValueError: `rate` is not a number in [0, 1).

    Example:
        >>> model = keras.Sequential([
        ...     keras.Input((20_000,), sparse=True),  # on torch without `sparse`
        ...     SparseDropout(0.2),
        ...     keras.layers.Dense(64, "relu"),
        ... ])
        >>> model.output_shape
        (None, 64)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        # Keras casts no inputs for us: tf-keras would lose the shape of a sparse one.
        options = {"autocast": False, **kwargs}
        super().__init__(_checked_rate(rate), seed=seed, **options)
        _forbid_xla(self)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """See the class."""
        values, put_back = _values_of(inputs)
        values = _cast(values, self.compute_dtype)
        return put_back(super().call(values, training=training))

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """For Keras 3: sparse if the input is, of the dtype computed in."""
        return keras.KerasTensor(
            inputs.shape, dtype=self.compute_dtype, sparse=inputs.sparse
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same layer."""
        config: dict[str, Any] = super().get_config()
        del config["noise_shape"]
        return config


@_register
class Densify(keras.layers.Layer):  # type: ignore[misc]
    """Makes a sparse batch dense inside the model, so that any layer may follow.

    Drop first and densify then: the mask of a `Dropout` after `Densify` has a number
    for each entry of the dense batch, which took longer than the rest of a step of
    a small network on JAX and torch (50 ms for 128 rows of 20,000 features, where
    `SparseDropout` takes 0.1 to 0.5 ms).

    On JAX, on a CPU, a step behind it takes 1.0 to 1.2 times what one from dense
    batches does: a third of what `Dense` takes on sparse rows of 1,500 values, and
    twice what it takes on rows of 86 (`benchmarks/densify.py`).

    The output is dense, of the shape of the input and the layer's `compute_dtype`. A
    dense batch is only converted to that dtype.

    Args:
        **kwargs: `name`, `dtype`, `trainable`, as in every layer.

    Call arguments:
        inputs: ``tf.SparseTensor``, ``BCOO`` or torch CSR tensor of shape
            (batch, features), or a dense tensor of any shape.

    Example:
        >>> model = keras.Sequential([
        ...     keras.Input((20_000,), sparse=True),  # on torch without `sparse`
        ...     Densify(),
        ...     keras.layers.LayerNormalization(),
        ... ])
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.supports_masking = True
        _forbid_xla(self)

    def call(self, inputs: Any) -> Any:
        """See the class."""
        values, put_back = _values_of(inputs)
        return _dense(put_back(_cast(values, self.compute_dtype)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def compute_output_spec(self, inputs: Any) -> Any:
        """For Keras 3: dense, of the dtype computed in."""
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)


def _checked_rate(rate: object) -> float:
    share = float(rate) if isinstance(rate, Real) else -1.0
    if not 0 <= share < 1:
        raise ValueError(
            f"`rate` must be a number in [0, 1); received {shown(rate)}. Pass the "
            f"share of the values to drop, for example rate=0.2."
        )
    return share


def _forbid_xla(layer: Any) -> None:
    # On JAX the same word would turn its jit off, without which it is slow.
    if keras_backend() == "tensorflow":
        layer.supports_jit = False


def _cast(values: Any, dtype: str) -> Any:
    if uses_legacy_keras():
        import tensorflow as tf

        return tf.cast(values, dtype)
    return keras.ops.cast(values, dtype)


def _values_of(tensor: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The values of a tensor, and what puts others in their place.

    Args:
        tensor: A sparse tensor of the backend, or a dense one.

    Returns:
        The stored values, of shape (entries,), and a function from values of that
        shape to a tensor like `tensor`. A dense tensor is its own values.
    """
    kind = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras_backend()]
    return kind(tensor) or (tensor, lambda values: values)


Opened = tuple[Any, Callable[[Any], Any]]


def _tensorflow(tensor: Any) -> Opened | None:
    import tensorflow as tf

    if not isinstance(tensor, tf.SparseTensor):
        return None

    def put_back(values: Any) -> Any:
        made = tf.SparseTensor(tensor.indices, values, tensor.dense_shape)
        # In a graph `dense_shape` is a tensor, of which Dense cannot be built.
        made.set_shape(tensor.shape)
        return made

    return tensor.values, put_back


def _jax(tensor: Any) -> Opened | None:
    from jax.experimental.sparse import BCOO

    if not isinstance(tensor, BCOO):
        return None
    return tensor.data, lambda values: BCOO(
        (values, tensor.indices),
        shape=tensor.shape,
        indices_sorted=tensor.indices_sorted,
        unique_indices=tensor.unique_indices,
    )


def _torch(tensor: Any) -> Opened | None:
    import torch

    if tensor.layout == torch.strided:
        return None
    rows = tensor if tensor.layout == torch.sparse_csr else tensor.to_sparse_csr()
    return rows.values(), lambda values: torch.sparse_csr_tensor(
        rows.crow_indices(),
        rows.col_indices(),
        values,
        size=rows.shape,
        check_invariants=False,
    )


def _dense(tensor: Any) -> Any:
    """A sparse or dense tensor of the backend -> a dense one."""
    if keras_backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(tensor, tf.SparseTensor):
            made = tf.sparse.to_dense(tensor)
            made.set_shape(tensor.shape)
            return made
    elif keras_backend() == "jax":
        return tensor.todense() if hasattr(tensor, "todense") else tensor
    else:
        return tensor.to_dense()
    return tensor

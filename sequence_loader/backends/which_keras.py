"""Which Keras this process uses, and what it runs on."""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

from sequence_loader.forks import renew_after_fork


@functools.cache  # as TensorFlow does: it is decided once, when it is imported
def uses_legacy_keras() -> bool:
    """Whether ``tf.keras`` is Keras 2 (tf-keras), decided as TensorFlow decides."""
    return os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("true", "1")


@functools.cache  # asked for every batch; a process has one for all its life
def keras_backend() -> str:
    """``"tensorflow"``, ``"jax"`` or ``"torch"``: what Keras runs on here."""
    if uses_legacy_keras():
        return "tensorflow"
    import keras

    return str(keras.config.backend())


def check_not_forked(what: str) -> None:
    """Raises where a backend would be used whose threads a fork has left behind.

    Args:
        what: What the user asked for.

    Raises:
        RuntimeError: This process was forked after this module was imported.
    """
    if _process.forked and keras_backend() in ("tensorflow", "jax"):
        raise RuntimeError(
            f"{what} needs TensorFlow or JAX, which do not survive a fork; received a "
            f"call in a forked process. Use seq[i] with output='dense' or 'csr' there, "
            f"or start the process with multiprocessing's 'spawn' method."
        )


def import_keras() -> Any:
    """The Keras that `SparseBatchSequence` feeds here: Keras 3, or 2 (tf-keras)."""
    return importlib.import_module("tf_keras" if uses_legacy_keras() else "keras")


def floatx() -> str:
    """Keras's default float dtype."""
    return str(import_keras().backend.floatx())


class _Process:
    """Whether this process was forked after this module was imported."""

    forked = False

    def after_fork(self) -> None:
        """See `Forkable`."""
        self.forked = True


_process = _Process()
renew_after_fork(_process)

"""The file of a model: loaded, or what it is that this Keras cannot load."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from sequence_loader.backends.which_keras import (
    import_keras,
    keras_backend,
    uses_legacy_keras,
)


class ModelFile(NamedTuple):
    """What a file says of itself.

    Attributes:
        version: Of the Keras that wrote it; ``""`` where it does not say.
        sparse: Whether one of its inputs was declared with ``sparse=True``.
    """

    version: str
    sparse: bool

    @classmethod
    def of(cls, path: str) -> ModelFile:
        """Reads a ``.keras`` or ``.h5`` file; of another it knows nothing.

        Args:
            path: Of the file.
        """
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as file:
                    version = json.loads(file.read("metadata.json"))["keras_version"]
                    config = json.loads(file.read("config.json"))
            else:
                import h5py

                with h5py.File(path) as file:
                    version = file.attrs["keras_version"]
                    config = json.loads(file.attrs["model_config"])
        except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
            return cls("", False)
        return cls(str(version), _has_sparse_input(config))

    @property
    def mend(self) -> str:
        """What it is, and how it is read, if that is not done here; or ``""``."""
        major = self.version.split(".")[0]
        if major == "2" and not uses_legacy_keras():
            return (
                f"The file is of Keras 2 (tf-keras {self.version}), and this is Keras "
                f"3: set the environment variable TF_USE_LEGACY_KERAS=1."
            )
        if major == "3" and uses_legacy_keras():
            return (
                f"The file is of Keras 3 ({self.version}), and this is Keras 2 "
                f"(tf-keras): unset the environment variable TF_USE_LEGACY_KERAS."
            )
        if self.sparse and keras_backend() == "torch":
            return (
                "Keras has no sparse Input on torch: make the model there with "
                "keras.Input((features,)), without sparse=True, which takes sparse "
                "batches as well; or set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax."
            )
        return ""


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
        mend = ModelFile.of(path).mend
        if mend:
            raise ValueError(
                f"`model` must be a model that this Keras can load; received {path!r}. "
                f"{mend}"
            ) from error
        raise ValueError(
            f"`model` must be a model that Keras can load; of {path!r} it says: "
            f"{first_line(error)}. Save it with model.save('model.keras'), and import "
            f"what it registers."
        ) from error
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"`model` must be compiled, so that it can be trained; {path!r} was saved "
            f"before. Call model.compile(...), and save it again."
        )
    return model


def first_line(error: BaseException | None) -> str:
    """What an error says, in short and without its full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:300]


def _has_sparse_input(config: Any) -> bool:
    if isinstance(config, dict):
        if config.get("class_name") == "InputLayer":
            return bool(config.get("config", {}).get("sparse"))
        return any(map(_has_sparse_input, config.values()))
    return isinstance(config, list) and any(map(_has_sparse_input, config))

"""What a vectorizer has learned: kept in files, and sent to other processes."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from sequence_loader.arrays import Array
from sequence_loader.text import vectorizer_files as files

PathLike = str | os.PathLike[str]
Self = TypeVar("Self", bound="LearnedColumns")


class LearnedColumns(ABC):
    """Names and arrays that fitting sets, and files hold."""

    KIND: ClassVar[str]

    _learned: Mapping[str, Any]
    _arrays: Mapping[str, Array]
    _saved: tuple[Path, str] | None = None
    """Where the arrays lie, so that a pickle need not hold them; and their digest."""

    def save(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """Writes the fitted vectorizer into a directory: JSON and ``.npy`` files.

        Args:
            path: The directory to create.
            overwrite: Whether to replace a vectorizer at `path`.

        Returns:
            Its path.

        Raises:
            FileExistsError: Something is at `path` that may not be replaced.
            OSError: It cannot be written.
            ValueError: The vectorizer was not fitted.
        """
        self._check_fitted()
        return files.publish(path, self._content(), self._arrays, overwrite)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of the texts that it was fitted with."""
        names = self._learned.get("class_names")
        return None if names is None else tuple(names)

    @property
    @abstractmethod
    def num_features(self) -> int:
        """How many columns there are."""

    @abstractmethod
    def _made_with(self) -> dict[str, Any]:
        """The options, as JSON."""

    def _check_fitted(self) -> None:
        if not self._arrays:
            raise ValueError(
                f"this {type(self).__name__} was not fitted. Call fit, fit_write or "
                f"merge first, or load one that was."
            )

    def _content(self) -> dict[str, Any]:
        return {"kind": self.KIND, "options": self._made_with(), **self._learned}

    def _opened(self: Self, found: files.Found) -> Self:
        """Takes what was learned from files."""
        known = ("format", "version", "hash_version", "kind", "options", "arrays")
        self._learned = {k: v for k, v in found.content.items() if k not in known}
        self._arrays = found.arrays
        self._saved = found.path, found.digest
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self).copy()
        if self._saved is None:
            state["_arrays"] = {k: np.array(v) for k, v in self._arrays.items()}
        else:
            state["_arrays"] = state["_learned"] = {}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._saved is not None:
            path, digest = self._saved
            found = files.read(path, self.KIND)
            if found.digest == digest:
                self._opened(found)
            else:
                raise files.VectorizerError(
                    f"{path} holds another vectorizer than when this one was pickled. "
                    f"Pickle it again."
                )

"""A part: the counted texts of one file, on disk, for another process to merge."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from sequence_loader.checks import absolute_path, shown
from sequence_loader.store.publishing import PendingDirectory, remove_leftovers
from sequence_loader.text.spill import Block, Spill
from sequence_loader.text.vectorizer_files import VectorizerError
from sequence_loader.text.vectorizer_inputs import Labels
from sequence_loader.text.words import HASH_VERSION

FORMAT, VERSION = "sequence_loader.part", 1
MANIFEST, COUNTS, LABELS = "part.json", "counts.bin", "y.npy"


class PartWriter:
    """A part under construction: a spill in a directory, published at the end."""

    def __init__(self, path: str | os.PathLike[str], overwrite: bool) -> None:
        self.path = absolute_path("path", path)
        owned = frozenset([MANIFEST, COUNTS, LABELS])
        remove_leftovers(self.path, lambda left: set(os.listdir(left)) <= owned)
        self._pending = PendingDirectory(self.path, owned, MANIFEST, overwrite)
        name = self._pending.directory / COUNTS
        self.spill = Spill(open(name, "w+b", buffering=0), [])

    def publish(self, made_with: dict[str, Any], labels: Labels) -> None:
        """Puts it in place.

        Args:
            made_with: The options; parts of others do not merge.
            labels: Of the texts.
        """
        if labels.y is not None:
            np.save(self._pending.directory / LABELS, labels.y, allow_pickle=False)
        content = {
            "format": FORMAT,
            "version": [VERSION, HASH_VERSION],
            "made_with": made_with,
            "labelled": labels.y is not None,
            "class_names": labels.class_names,
            "nbytes": self.spill.nbytes,
            "blocks": [
                [block.rows, block.span, dict(block.places)]
                for block in self.spill.blocks
            ],
        }
        text = json.dumps(content)
        (self._pending.directory / MANIFEST).write_text(text, encoding="ascii")
        self._pending.publish()

    def discard(self) -> None:
        """Removes it."""
        self._pending.discard()


class Part:
    """A part that is there.

    Args:
        path: Its directory.
        made_with: The options that it must have been counted with.

    Raises:
        FileNotFoundError: There is none.
        VectorizerError: It is damaged, or was counted otherwise.
    """

    def __init__(self, path: str | os.PathLike[str], made_with: dict[str, Any]) -> None:
        self.path = absolute_path("path", path)
        try:
            content = json.loads((self.path / MANIFEST).read_bytes())
            found = content["format"], content["version"]
            if found != (FORMAT, [VERSION, HASH_VERSION]):
                raise ValueError(f"it is of format {found}")
            size = (self.path / COUNTS).stat().st_size
            if size < content["nbytes"]:
                raise ValueError(f"{COUNTS} has {size} of {content['nbytes']} bytes")
            blocks = [
                Block(rows, span, {name: tuple(at) for name, at in places.items()})
                for rows, span, places in content["blocks"]
            ]
            y = None
            if content["labelled"]:
                y = np.load(self.path / LABELS, allow_pickle=False)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(
                f"there is no part at {self.path}. Pass what `fit_part` wrote, or "
                f"open_texts(path) for a file of texts."
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise VectorizerError(
                f"{self.path} is no whole part: {error}. Write it again with "
                f"`fit_part`."
            ) from None
        if content["made_with"] != json.loads(json.dumps(made_with)):
            raise VectorizerError(
                f"{self.path} was counted with other options, "
                f"{shown(content['made_with'], 300)}, than those of this vectorizer. "
                f"Use one vectorizer for all parts."
            )
        names = content["class_names"]
        self.labels = Labels(y, None if names is None else tuple(names))
        self.spill = Spill(open(self.path / COUNTS, "rb", buffering=0), blocks)


def joined_labels(parts: Sequence[Labels]) -> Labels:
    """The labels of all parts, one behind the other.

    Names of classes are brought together: sorted, as numbers or else as text, if those
    of each part are, or else in the order in which parts bring them.

    Raises:
        VectorizerError: Some parts have labels, or names of classes, and some not.
    """
    named = {each.class_names is not None for each in parts}
    labelled = {each.y is not None for each in parts}
    if len(named) > 1 or len(labelled) > 1:
        raise VectorizerError(
            "some parts have labels or names of classes, and others have not. Pass y= "
            "and class names with all of them, or with none."
        )
    names: tuple[str, ...] | None = None
    if named == {True}:
        lists = [each.class_names or () for each in parts]
        names = tuple(dict.fromkeys(name for listed in lists for name in listed))
        keys: list[Any] = [int] * all(map(str.isdecimal, names)) + [str]
        for key in keys:
            if all(list(listed) == sorted(listed, key=key) for listed in lists):
                names = tuple(sorted(names, key=key))
                break
    ys = [each.like(names).y for each in parts]
    known = [y for y in ys if y is not None]
    return Labels(np.concatenate(known) if known else None, names)

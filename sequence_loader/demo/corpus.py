"""A labelled text corpus that every installation carries: docstrings.

The sources of installed packages are read and parsed, never imported: reading has no
side effects, cannot be slowed by a package's start-up, and needs no backend. What
comes out depends on the installed files alone: the same installation gives the same
texts in the same order.
"""

from __future__ import annotations

import ast
import importlib.util
import multiprocessing
import os
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

STANDARD_LIBRARY = "stdlib"
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "sklearn", STANDARD_LIBRARY)

# Shorter docstrings ("See base class.", "Returns a string.") say nothing of where
# they come from. At ten words the packages above give about 25,000 texts.
MIN_WORDS = 10
# With fewer, a class has too few rows to be in both the training and the validation
# split with any weight.
MIN_TEXTS_PER_PACKAGE = 50

# Docstrings of tests are names of cases, and site-packages inside the standard
# library's folder are other packages.
_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages"}
)
# What a package is called when it is imported would tell its label at once.
_ALIASES = {"tensorflow": ("tf",), "numpy": ("np",), "sklearn": ("scikit-learn",)}

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Corpus:
    """Texts and the package each comes from.

    Attributes:
        texts: One docstring each, whitespace normalised, no two alike.
        labels: For each text, the index of its package in `class_names`.
        class_names: The packages that gave texts.
        left_out: The packages that did not, and why.
    """

    texts: list[str]
    labels: list[int]
    class_names: tuple[str, ...]
    left_out: Mapping[str, str]


def collect_docstrings(
    packages: Sequence[str] = PACKAGES,
    *,
    every: int = 1,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Collects the docstrings of installed packages as a classification corpus.

    Texts shorter than `MIN_WORDS` are dropped, and so is every further copy of a
    text; a text found in two packages has no one right label and is dropped from
    both. The names of the packages are removed from the texts.

    Args:
        packages: Names of top-level packages; "stdlib" is the standard library.
        every: Read only every n-th source file, for a smaller corpus.
        processes: How many processes parse; by default one per CPU, at most 4.
        on_progress: Called with (files read, files in all) after each file.

    Returns:
        The corpus, in the order of `packages`, files and lines. A package that is
        not installed, or gives fewer than `MIN_TEXTS_PER_PACKAGE` texts, is left out.
    """
    left_out: dict[str, str] = {}
    files: list[tuple[str, Path]] = []
    for package in dict.fromkeys(packages):
        root = find_sources(package)
        if root is None:
            left_out[package] = "not installed as a package of Python sources"
        else:
            files += [(package, path) for path in _source_files(root)[::every]]

    found: dict[str, dict[str, None]] = {package: {} for package, _ in files}
    read = partial(texts_in, names=_names_of(packages))
    all_texts = _map([path for _, path in files], read, processes)
    for done, texts in enumerate(all_texts, start=1):
        package, _ = files[done - 1]
        found[package].update(dict.fromkeys(texts))
        if on_progress is not None:
            on_progress(done, len(files))

    owners = Counter(text for texts in found.values() for text in texts)
    corpus: dict[str, list[str]] = {}
    for package, unique in found.items():
        own = [text for text in unique if owners[text] == 1]
        if len(own) < MIN_TEXTS_PER_PACKAGE:
            left_out[package] = (
                f"{len(own)} docstrings of {MIN_WORDS} words or more, "
                f"fewer than {MIN_TEXTS_PER_PACKAGE}"
            )
        else:
            corpus[package] = own
    return Corpus(
        texts=[text for texts in corpus.values() for text in texts],
        labels=[label for label, own in enumerate(corpus.values()) for _ in own],
        class_names=tuple(corpus),
        left_out=left_out,
    )


def find_sources(package: str) -> Path | None:
    """The folder of a package's Python files, found without importing it."""
    if package == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    if "." in package:
        return None  # to find a subpackage, Python imports the package around it
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # a half-removed package, a module without spec
        return None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


def texts_in(path: Path, names: re.Pattern[str]) -> list[str]:
    """The texts of one source file, in order.

    Args:
        path: A Python source file. One that does not parse gives no texts.
        names: What to remove from the texts.

    Returns:
        The docstrings of the module, its classes and functions, whitespace
        normalised, that have `MIN_WORDS` words.
    """
    try:
        source = path.read_bytes()
        if b'"""' not in source and b"'''" not in source:
            return []  # parsing is nearly all of the time
        with warnings.catch_warnings():
            # Invalid escapes in other people's sources are not this user's concern.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []  # templates, deliberate errors, other encodings
    words = (names.sub(" ", docstring).split() for docstring in _docstrings(tree))
    return [" ".join(text) for text in words if len(text) >= MIN_WORDS]


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """Walks statements only: docstrings are not in expressions, most nodes are."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, _DOCUMENTED):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring
        for block in ("finalbody", "orelse", "handlers", "body"):
            pending.extend(reversed(getattr(node, block, ())))


def _source_files(root: Path) -> list[Path]:
    """All Python files below `root` that are not tests, in an order of their own."""
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(files)


def _names_of(packages: Sequence[str]) -> re.Pattern[str]:
    """Matches what the packages are called in text and code, in any case."""
    names = {*packages, *(alias for p in packages for alias in _ALIASES.get(p, ()))}
    listed = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    # Bounded by non-letters, not \b: `np` goes from `np_array` too and `npm` stays.
    return re.compile(rf"(?<![a-z])(?:{listed})(?![a-z])", re.IGNORECASE)


def _map(
    paths: Sequence[Path], read: Callable[[Path], list[str]], processes: int | None
) -> Iterator[list[str]]:
    """Yields `read` of each path, in order, from one or several processes."""
    if processes is None:
        processes = min(4, _cpu_count())
    if processes == 1:
        yield from map(read, paths)
        return
    # Spawned, not forked: the caller may have threads, TensorFlow's for one.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as executor:
        yield from executor.map(read, paths, chunksize=16)


def _cpu_count() -> int:
    """The CPUs this process may use, where the system can say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

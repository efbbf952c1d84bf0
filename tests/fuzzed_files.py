"""Reads files whose bytes were changed at random; each is refused or read, and soon.

    python fuzzed_files.py KIND|all COUNT SEED

A refusal is a ValueError or OSError that names the file. Memory and time of each file
are limited, and nothing may be left beside it. What breaks a rule is printed with its
bytes, and the exit code is 1. A crash of the process prints its stacks.
"""

from __future__ import annotations

import faulthandler
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from store_data import marked, seal

from sequence_loader import StoreWriter, convert, open_store, open_texts

MEMORY_BYTES, SECONDS = 2**30, 20
ROWS, FEATURES = 12, 7

PIECES = [
    *(b"\x00", b"\n", b"\r\n", b"\r", b" ", b"\t", b",", b";", b":", b'"', b"'", b"\\"),
    *(b"%", b"#", b"-", b"+", b".", b"e", b"nan", b"inf", b"-inf", b"1e309", b"1e-400"),
    *(b"0", b"-1", b"1", b"2147483648", b"18446744073709551616", b"9" * 400, b"0x1"),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xe2\x80\xa8", b"qid:3", b"{", b"}"),
    *(b"[", b"]", b"null", b"true", b"1_000", "١٢".encode(), b"complex", b"symmetric"),
    b"[" * 100_000,
]


def changed(whole: bytes, rng: random.Random) -> bytes:
    """The bytes with a few changes of some kinds."""
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        start = rng.randrange(len(content) + 1)
        stop = min(len(content), start + rng.choice((0, 1, 1, 2, 5, 40)))
        kind = rng.randrange(6)
        if kind == 0:
            content[start:stop] = rng.randbytes(stop - start)
        elif kind == 1:
            del content[start:stop]
        elif kind == 2:
            content[start:start] = rng.choice(PIECES)
        elif kind == 3:
            content[start:stop] = rng.choice(PIECES)
        elif kind == 4:
            content[start:start] = content[start:stop] * rng.choice((1, 2, 50))
        else:
            where = rng.randrange(len(content) + 1)
            content[where:where] = content[start:stop]
    return bytes(content)


def changed_json(value: Any, rng: random.Random) -> Any:
    """A value of JSON with one part of it changed."""
    others: list[Any] = [
        *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 0.5, float("nan")),
        *("", "a" * 99, "../x", "<f4", "|O", "float99", [], {}, [[]], {"a": 1}),
    ]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        if rng.random() < 0.1:
            return {key: each for key, each in value.items() if key != name}
        return value | {name: changed_json(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], changed_json(value[place], rng), *value[place + 1 :]]
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 2**32, -(2**40)))
    return rng.choice(others)


def svm_file() -> bytes:
    lines = [
        f"{r % 3} qid:{r // 4} {r % 5 + 1}:{r + 1}.5 {r % 5 + 3}:1e-3 # {r}\n"
        for r in range(ROWS)
    ]
    return "".join(lines).encode()


def matrix_market_file() -> bytes:
    found = sp.coo_array(marked(ROWS, FEATURES))
    head = "%%MatrixMarket matrix coordinate real general\n% made by a test\n"
    lines = [f"{r + 1} {c + 1} {v}\n" for r, c, v in zip(*found.coords, found.data)]
    return f"{head}{ROWS} {FEATURES} {found.nnz}\n{''.join(lines)}".encode()


def npz_file() -> bytes:
    file = io.BytesIO()
    sp.save_npz(file, marked(ROWS, FEATURES), compressed=False)
    return file.getvalue()


def csv_file() -> bytes:
    lines = [f'"{1 + r % 3}","Title ""{r}""","a text,\nof {r}"\n' for r in range(ROWS)]
    return "".join(lines).encode()


def json_lines_file() -> bytes:
    rows = [{"label": f"c{r % 3}", "text": f"snow \u2028 {r}"} for r in range(ROWS)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def converted(path: Path) -> None:
    target = path.with_name("out.store")
    with convert(path, target) as store:
        store.verify()
        assert len(store) == store.shape[0] and store[:].shape == store.shape
    shutil.rmtree(target)


def texts_read(path: Path) -> None:
    texts = open_texts(path)
    assert len(texts.y) == len(texts)
    assert all(isinstance(text, str) for text in texts[:])


def store_read(path: Path) -> None:
    with open_store(path) as store:
        store.verify()
        assert store[:].shape == store.shape


FILES: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], None]]] = {
    "svm": ("a.svm", svm_file, converted),
    "mtx": ("a.mtx", matrix_market_file, converted),
    "npz": ("a.npz", npz_file, converted),
    "csv": ("a.csv", csv_file, texts_read),
    "jsonl": ("a.jsonl", json_lines_file, texts_read),
}


def store_in(folder: Path) -> Path:
    path = folder / "a.store"
    with StoreWriter(
        path, FEATURES, class_names=["a", "b"], metadata={"a": [1]}, dtype="smallest"
    ) as writer:
        writer.append(marked(ROWS, FEATURES), y=np.arange(ROWS) % 2)
    return path


def change_manifest(path: Path, rng: random.Random) -> None:
    """Such that its digest fits: as one would who means harm."""
    content = json.loads((path / "manifest.json").read_text())
    for _ in range(rng.choice((1, 1, 2))):
        content = changed_json(content, rng)
    if isinstance(content, dict) and rng.random() < 0.95:
        seal(path, content)
    else:
        whole = (path / "manifest.json").read_bytes()
        (path / "manifest.json").write_bytes(changed(whole, rng))


def change_header(path: Path, rng: random.Random) -> None:
    file = rng.choice(sorted(path.glob("*.npy")))
    whole = file.read_bytes()
    file.write_bytes(changed(whole[:128], rng) + whole[128:])


STORES = {"manifest": change_manifest, "npy": change_header}


def out_of_time(*_: Any) -> None:
    raise TimeoutError("it took too long")


outcomes = Counter[str]()


def broken(read: Callable[[Path], None], path: Path) -> str:
    """Which rule reading a file breaks; nothing, if it is read or refused."""
    signal.alarm(SECONDS)
    try:
        read(path)
        outcomes["read"] += 1
    except TimeoutError:
        return traceback.format_exc()
    except (ValueError, OSError) as error:
        # Labels may come from anywhere: the message names the row.
        if path.name not in str(error) and not str(error).startswith("`y` "):
            return f"the file is not named: {traceback.format_exc()}"
        outcomes["refused"] += 1
    except Exception:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    left = [each.name for each in path.parent.iterdir() if each != path]
    return f"left behind: {left}" if left else ""


def fuzz(kind: str, count: int, seed: int) -> str:
    """What was wrong with one of so many changed files, if anything was."""
    rng = random.Random(seed)
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    for number in range(count):
        with tempfile.TemporaryDirectory(dir=shared) as name:
            if kind in FILES:
                file_name, make, read = FILES[kind]
                path = Path(name) / file_name
                path.write_bytes(changed(make(), rng))
                content = repr(path.read_bytes())
            else:
                path, read = store_in(Path(name)), store_read
                STORES[kind](path, rng)
                content = "\n".join(
                    f"{file.name}: {file.read_bytes()[:2000]!r}"
                    for file in path.iterdir()
                )
            said = broken(read, path)
            if said:
                return f"{kind} {number} of seed {seed}:\n{said}\n{content[:8000]}"
    return ""


def main(kinds: list[str], count: int, seed: int) -> int:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)
    signal.signal(signal.SIGALRM, out_of_time)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, -1))
    found = [fuzz(kind, count, seed) for kind in kinds]
    print("\n".join(filter(None, found)), dict(outcomes))
    return int(any(found))


if __name__ == "__main__":
    kinds = list({**FILES, **STORES}) if sys.argv[1] == "all" else [sys.argv[1]]
    sys.exit(main(kinds, int(sys.argv[2]), int(sys.argv[3])))

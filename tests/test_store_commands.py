"""convert, info and verify, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file
from store_data import marked, run_python, same, start_python
from watching import HUNG_SECONDS

from sequence_loader.store.opening import open_store
from sequence_loader.store.writer import StoreWriter

ROOT = Path(__file__).parent.parent
BACKENDS = {"tensorflow", "keras", "tf_keras", "jax", "torch"}

# Runs command lines, each in a child that begins with what takes long to import; the
# last line that one prints tells what it has imported.
SERVER = """
import json, os, sys, traceback, warnings
import anndata, sklearn.datasets
from sequence_loader.cli.main import main

for line in sys.stdin:
    folder, out, err, arguments = json.loads(line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads and fork
        child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.chdir(folder)
    for number, path in enumerate(("/dev/null", out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 70
    print(json.dumps(sorted(sys.modules)))
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)
"""


class Command(NamedTuple):
    """What a command has written."""

    stdout: str
    stderr: str


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)},
    ) as process:
        SERVERS.append(process)
        yield
        SERVERS.remove(process)


SERVERS: list[subprocess.Popen[str]] = []
"""The one of this module, while its tests run."""


def command(folder: Path, *arguments: str, code: int = 0) -> Command:
    """Runs a command in `folder`; no backend is imported, and nothing is traced."""
    (server,) = SERVERS
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as logs:
        written = Path(logs, "out"), Path(logs, "err")
        asked = [*map(str, (folder, *written)), arguments]
        print(json.dumps(asked), file=server.stdin)
        server.stdin.flush()
        ended = int(server.stdout.readline())
        out, err = (path.read_text("utf-8") for path in written)
    assert ended == code, err
    out, _, modules = out.rstrip("\n").rpartition("\n")
    assert not BACKENDS & set(json.loads(modules))
    if code == 1:
        assert err.startswith(f"sequence_loader {arguments[0]}: error: ")
        assert err.count("\n") == 1
    return Command(out, err)


def cell(out: str, name: str) -> str:
    """The last cell of the row `name` of a table."""
    row = rf"^│ {re.escape(name)} +│.*?([^│ ][^│]*?) +│$"
    found = re.search(row, out, re.MULTILINE)
    assert found, out
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A matrix in each format, with labels."""
    matrix = marked(40, 6)
    sp.save_npz(tmp_path / "a.npz", matrix)
    sp.save_npz(tmp_path / "b.npz", matrix[:10].tocsc())
    scipy.io.mmwrite(tmp_path / "a.mtx", matrix.T)
    dump_svmlight_file(
        sp.csr_matrix(matrix), np.arange(40) % 2, str(tmp_path / "a.svm")
    )
    kinds = pd.Categorical(["T [cell]", "B"] * 20)
    obs = pd.DataFrame({"kind": kinds}, index=[f"cell{i}" for i in range(40)])
    data = anndata.AnnData(sp.csr_matrix((40, 6), dtype="f4"), obs=obs)
    data.layers["counts"] = sp.csr_matrix(matrix)
    data.write_h5ad(tmp_path / "a.h5ad")
    np.save(tmp_path / "y.npy", np.array(["no", "yes", "yes", "yes"] * 10))
    np.save(tmp_path / "w.npy", np.arange(40) / 2)
    return tmp_path


def test_convert_each_format(folder: Path) -> None:
    for arguments in (
        ["a.npz"],
        ["a.mtx", "--transpose"],
        ["a.svm", "--num-features", "6", "--zero-based"],
        ["a.h5ad", "--layer", "counts"],
    ):
        done = command(
            folder, "convert", *arguments, "a.store", "--dtype=float32", "--overwrite"
        )
        assert done.stderr == ""
        assert done.stdout.startswith("a.store: 40 rows, 6 features, ")
        assert same(open_store(folder / "a.store")[:], marked(40, 6))


def test_convert_info_verify(folder: Path) -> None:
    (folder / "names.txt").write_text("a\nb\nc\nd\né\nf\n", "utf-8")
    command(
        folder, "convert", "a.npz", "a.store", "--y", "y.npy", "--dtype", "uint8",
        "--sample-weight", "w.npy", "--feature-names", "names.txt",
    )  # fmt: skip
    store = open_store(folder / "a.store")
    assert store.class_names == ("no", "yes")
    assert store.y.tolist() == [0, 1, 1, 1] * 10
    assert store.feature_names == tuple("abcdéf") and store.dtype == np.uint8
    assert store.sample_weight.tolist() == (np.arange(40) / 2).tolist()
    out = command(folder, "info", "a.store").stdout
    assert cell(out, "rows") == "40" and cell(out, "features") == "6 (named)"
    assert cell(out, "nonzeros") == str(store.nnz) == str(marked(40, 6).nnz)
    assert cell(out, "density") == f"{store.nnz / 240:.4%}"
    assert cell(out, "as a dense array") == "240 bytes"
    assert cell(out, "on disk") == f"{store.nbytes / 1000:.3g} kB"
    assert cell(out, "no") == "22.5%" and cell(out, "yes") == "75.0%"
    assert cell(out, "of weight 0") == "2.5%"
    assert "a.store: whole" in command(folder, "verify", "a.store").stdout
    with open(folder / "a.store" / "data.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    wrong = command(folder, "verify", "a.store", code=1)
    assert "data.npy" in wrong.stderr and "not what was written" in wrong.stderr


def test_several_sources_and_several_stores(folder: Path) -> None:
    command(folder, "convert", "a.npz", "b.npz", "part0.store")
    command(folder, "convert", "a.npz", "part1.store")
    matrix = marked(40, 6)
    expected = sp.vstack([matrix, matrix[:10], matrix], format="csr")
    assert same(open_store(str(folder / "part*.store"))[:], sp.csr_array(expected))
    for stores in (["part*.store"], ["part0.store", "part1.store"]):
        assert cell(command(folder, "info", *stores).stdout, "rows") == "90"
        assert "whole" in command(folder, "verify", *stores).stdout
    values = folder / "part1.store" / "data.npy"
    whole = values.read_bytes()
    values.write_bytes(whole[:-1] + b"\xff")
    wrong = command(folder, "verify", "part*.store", code=1).stderr
    assert "part1.store/data.npy" in wrong and "not what was written" in wrong
    values.write_bytes(whole)
    command(folder, "convert", "a.mtx", "other.store", "--transpose")
    (folder / "part0.store" / "data.npy").write_bytes(b"")
    done = command(
        folder, "verify", "part0.store", "other.store", "part1.store", code=1
    )
    assert re.findall("^.*: whole", done.stdout, re.M) == [
        "other.store: whole", "part1.store: whole"
    ]  # fmt: skip
    assert "part0.store" in done.stderr and done.stderr.count("\n") == 1


def test_names_that_the_terminal_does_not_know(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sequence_loader", "convert", "a.npz", "ü.store"],
        capture_output=True,
        timeout=HUNG_SECONDS,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(rb"\xfc.store: 40 rows")


def test_info_of_every_kind_of_target(folder: Path) -> None:
    command(folder, "convert", "a.h5ad", "a.store", "--label-column", "kind")
    out = command(folder, "info", "a.store").stdout
    assert cell(out, "T [cell]") == cell(out, "B") == "50.0%"  # rich reads no markup
    rows = marked(100, 3)
    for y, parts in (
        (np.arange(100) // 2, ["30 more"]),
        (np.minimum(np.arange(100), 29), ["│ 29 ", "71.0%", "│ 0 ", "10 more"]),
        (np.linspace(-1, 2, 100), ["least -1", "mean 0.5", "largest 2"]),
        (np.tile(np.array([[1, 0, 1]], np.uint8), (100, 1)), ["100.0%", "0.0%"]),
        (np.zeros((100, 2, 2)), ["mean 0"]),
        (np.zeros((100, 0)), ["float64 (100, 0)"]),
    ):
        with StoreWriter(folder / "b.store", 3, overwrite=True) as writer:
            writer.append(rows, y=y)
        out = command(folder, "info", "b.store").stdout
        for part in parts:  # in this order
            assert part in out
            out = out[out.index(part) :]
    with StoreWriter(folder / "b.store", 3, overwrite=True, metadata={"[b]": "[/x]"}):
        pass
    out = command(folder, "info", "b.store").stdout
    assert cell(out, "density") == "-" and cell(out, "metadata: [b]") == "[/x]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "no.npz", "x.store"], "there is no no.npz"),
        (["convert", "a.npz", "a.svm", "x.store"], "SRC must hold files of one"),
        (["convert", "a.npz", "no/x.store"], "cannot write beside"),
        (["convert", "a.npz", "y.npy"], "or --overwrite to replace"),
        (["convert", "a.npz", "x.store", "--y", "no.npy"], "there is no no.npy"),
        (["convert", "a.npz", "x.store", "--y", "a.svm"], "it looks like rows of svm"),
        (["convert", "a.npz", "x.store", "--y", "a.npz"], ": --y must be one array"),
        (["convert", "a.npz", "x.store", "--dtype", "text"], "--dtype must be one of"),
        (["convert", "a.npz", "x.store", "--multilabel"], "option of svmlight files"),
        (["convert", "a.svm", "x.store", "--one-based"], "Pass --zero-based"),
        (["convert", "a.h5ad", "x.store", "--layer", "no"], "it has counts"),
        (["info", "no.store"], "is missing"),
        (["info", "a.npz"], "not the directory of a store"),
        (["verify", "."], "so it is not a store"),
        (["verify", "no*.store"], "nothing matches"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], message: str, folder: Path
) -> None:
    before = sorted(os.listdir(folder))
    assert message in command(folder, *arguments, code=1).stderr
    assert sorted(os.listdir(folder)) == before


def test_a_command_written_wrongly_exits_with_2(folder: Path) -> None:
    for arguments in (["convert", "a.npz"], ["info"], ["verify", "--loud", "a.store"]):
        assert "usage:" in command(folder, *arguments, code=2).stderr
    help_text = command(folder, "convert", "--help").stdout
    assert "examples:\n  python -m sequence_loader convert train.npz" in help_text


def test_what_a_killed_run_left_is_a_line(folder: Path) -> None:
    code = """
        import os, signal, sys
        from sequence_loader.store.writer import StoreWriter
        writer = StoreWriter(sys.argv[1], 3)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    start_python(code, folder / "a.store").communicate(timeout=HUNG_SECONDS)
    (left,) = folder.glob(".a.store.writing-*")
    done = command(folder, "convert", "a.npz", "a.store")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("sequence_loader convert: warning: ")
    assert f"rm -r '{left}'" in done.stderr
    shutil.rmtree(left)


def test_class_names_for_labels_that_are_numbers(folder: Path) -> None:
    np.save(folder / "ints.npy", np.array([0, 2, 2, 2] * 10))
    (folder / "names.txt").write_text("cold\nunused\nhéiß\n", "utf-8")
    command(
        folder, "convert", "a.npz", "a.store", "--y", "ints.npy",
        "--class-names", "names.txt",
    )  # fmt: skip
    assert open_store(folder / "a.store").class_names == ("cold", "unused", "héiß")
    out = command(folder, "info", "a.store").stdout
    assert cell(out, "cold") == "25.0%" and cell(out, "héiß") == "75.0%"


def on_a_terminal(folder: Path, *arguments: str) -> bytes:
    """What a command in `folder` writes to standard error where that is a terminal."""
    main, other = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sequence_loader", *arguments],
            stdout=subprocess.PIPE,
            stderr=other,
            cwd=folder,
            timeout=HUNG_SECONDS,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0
        os.set_blocking(main, False)
        with suppress(BlockingIOError):  # nothing
            return os.read(main, 1 << 16)
        return b""
    finally:
        os.close(main)
        os.close(other)


def test_a_progress_bar_is_shown_on_a_terminal(folder: Path) -> None:
    assert b"write" in on_a_terminal(folder, "convert", "a.npz", "a.store")
    assert b"verify" in on_a_terminal(folder, "verify", "a.store")
    for arguments in (["convert", "a.npz", "b.store"], ["verify", "a.store"]):
        assert on_a_terminal(folder, *arguments, "--no-progress") == b""


def test_a_command_imports_no_backend(folder: Path) -> None:
    code = """
        import sys
        from sequence_loader.cli.main import main
        code = main(["convert", *sys.argv[1:]])
        print(code, {"tensorflow", "keras", "jax", "torch"} & set(sys.modules))
    """
    said = run_python(code, folder / "a.npz", folder / "a.store")
    assert said.endswith("\n0 set()\n")


def test_the_script_is_the_module() -> None:
    script = Path(sys.executable).with_name("sequence-loader")
    shown = [
        subprocess.run(
            [*start, "info", "--help"],
            capture_output=True,
            text=True,
            timeout=HUNG_SECONDS,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ).stdout
        for start in ([str(script)], [sys.executable, "-m", "sequence_loader"])
    ]
    assert shown[0] == shown[1] and "examples:" in shown[0]


def test_options_are_not_abbreviated(tmp_path: Path) -> None:
    done = command(tmp_path, "convert", "a.npz", "a.store", "--overw", code=2)
    assert "loader convert: error: unrecognized arguments: --overw" in done.stderr

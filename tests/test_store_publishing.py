"""A store is published whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_data import marked, same, start_python, written
from watching import HUNG_SECONDS

import sequence_loader.store.publishing as publishing
from sequence_loader.store.array_file import ArrayFile
from sequence_loader.store.opening import open_store
from sequence_loader.store.part import StorePart
from sequence_loader.store.writer import StoreWriter

WRITER = """
    import sys
    sys.path.insert(0, "tests")
    from store_data import marked, rows_of
    from sequence_loader.store.writer import StoreWriter
    matrix = marked(2000, 300)
    with StoreWriter(sys.argv[1], 300, overwrite=sys.argv[2] == "True") as writer:
        for start in range(0, 2000, 100):
            writer.append(rows_of(matrix, start, start + 100))
"""


FORKING_WRITER = """
    import os, sys
    sys.path.insert(0, "tests")
    from store_data import marked, rows_of
    from sequence_loader.store.writer import StoreWriter
    matrix = marked(2000, 300)
    for line in sys.stdin:
        path, overwrite = line.split()
        child = os.fork()
        if child == 0:
            with StoreWriter(path, 300, overwrite=overwrite == "True") as writer:
                for start in range(0, 2000, 100):
                    writer.append(rows_of(matrix, start, start + 100))
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
"""


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_at_many_moments(overwrite: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    before, after = marked(20, 300), marked(2000, 300)
    moments = np.random.default_rng(0).uniform(0, 0.05, 40)
    outcomes = set()
    process = start_python(FORKING_WRITER)
    assert process.stdout is not None and process.stdin is not None
    for moment in moments:
        shutil.rmtree(path, ignore_errors=True)
        if overwrite:
            written(path, before).close()
        process.stdin.write(f"{path} {overwrite}\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        time.sleep(moment)
        with contextlib.suppress(ProcessLookupError):  # it may be done
            os.kill(child, signal.SIGKILL)
        assert process.stdout.readline() == "gone\n"
        if path.exists():
            with open_store(path) as store:
                store.verify()
                outcomes.add(len(store))
                assert same(store[:], before if len(store) == 20 else after)
        else:
            assert not overwrite, "an existing store must never be gone"
            outcomes.add(0)
        for left in publishing.leftovers(path):
            shutil.rmtree(left)
        assert set(os.listdir(tmp_path)) <= {"a.store"}
    process.communicate(timeout=HUNG_SECONDS)
    assert outcomes & {0, 20}  # some were killed before they were done


def test_what_a_killed_writer_left_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    code = """
        import os, signal, sys
        from sequence_loader.store.writer import StoreWriter
        writer = StoreWriter(sys.argv[1], 3)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    start_python(code, path).communicate(timeout=HUNG_SECONDS)
    (left,) = tmp_path.iterdir()
    with pytest.raises(FileNotFoundError, match=f"killed.*rm -r '{left}'"):
        open_store(path)
    with pytest.warns(UserWarning, match=f"rm -r '{re.escape(str(left))}'") as caught:
        written(path, marked(3, 3))
    assert caught[0].filename.endswith("store_data.py")  # where the writer was made
    shutil.rmtree(left)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(path, marked(3, 3), overwrite=True)


@pytest.mark.parametrize("published", [False, True])
def test_a_writer_is_no_leftover_at_any_moment(
    published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.store"
    if published:
        written(path, marked(3, 3)).close()
    lock, remove = fcntl.flock, shutil.rmtree
    asked = []

    def locked(handle: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX:  # the directory is there, and not locked yet
            asked.append(pool.submit(publishing.leftovers, path))
            time.sleep(0.01)
        lock(handle, operation)

    def removed(folder: Path, **options: bool) -> None:
        asked.append(pool.submit(publishing.leftovers, path))
        asked[-1].result()
        remove(folder, **options)

    monkeypatch.setattr(fcntl, "flock", locked)
    monkeypatch.setattr(shutil, "rmtree", removed)
    with ThreadPoolExecutor(1) as pool:
        written(path, marked(5, 3), overwrite=True)
    assert [each.result() for each in asked] == [[]] * (2 if published else 1)


@pytest.mark.parametrize("number", range(6))
def test_a_store_that_is_replaced_while_it_is_opened_is_not_mixed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "a.store", StorePart._open_array
    opened = []

    def put(value: int) -> None:
        with StoreWriter(path, 4, overwrite=True) as writer:
            rows = np.full((3, 4), value)
            writer.append(rows, y=rows[:, 0], sample_weight=rows[:, 0])

    def slow(self: StorePart, *arguments: Any) -> None:
        opened.append(arguments[0])
        if len(opened) == number:
            put(2)  # as another process might
        real(self, *arguments)

    put(1)
    monkeypatch.setattr(StorePart, "_open_array", slow)
    store = open_store(path)
    found = {*store[:].data.tolist(), *store.y, *store.sample_weight}
    assert found == {2 if number else 1}
    store.verify()


def test_what_holds_no_manifest_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "project"
    path.mkdir()
    with StoreWriter(path, 4, overwrite=True):
        pass  # an empty directory may be
    shutil.rmtree(path)
    path.mkdir()
    np.save(path / "y.npy", np.arange(5))
    with pytest.raises(FileExistsError, match="holds no manifest.json, so it is not"):
        StoreWriter(path, 4, overwrite=True)
    assert os.listdir(path) == ["y.npy"]


def test_a_store_that_is_being_replaced_may_be_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "a.store", os.listdir
    written(path, marked(3, 3)).close()
    asked = []

    def listdir(what: Any) -> list[str]:
        if isinstance(what, int):
            asked.append(what)
            if len(asked) == 1:  # another process is faster, and removes the old one
                written(path, marked(4, 3), overwrite=True).close()
                return ["y.npy"]
        return real(what)

    monkeypatch.setattr(os, "listdir", listdir)
    assert len(written(path, marked(5, 3), overwrite=True)) == 5
    assert len(asked) > 2


def test_a_writer_that_failed_is_not_closed_in_silence(mounted: Path) -> None:
    with pytest.raises(ValueError, match="is failed, and takes no more rows"):
        with StoreWriter(mounted / "a.store", 1000) as writer:
            with pytest.raises(OSError, match="Nothing was published"):
                for _ in range(100):
                    writer.append(np.ones((100, 1000)))
    assert os.listdir(mounted) == []


def test_an_interrupt_after_publishing_closes_nobody_elses_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publishing.PendingDirectory.publish

    def interrupted(self: publishing.PendingDirectory) -> None:
        real(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing.PendingDirectory, "publish", interrupted)
    writer = StoreWriter(tmp_path / "a.store", 3)
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    with open(tmp_path / "other", "w") as file:  # has the number of the lock now
        writer.discard()
        file.write("kept")
    assert (tmp_path / "other").read_text() == "kept"
    assert len(open_store(tmp_path / "a.store")) == 0


def test_a_quote_in_a_path_is_quoted(tmp_path: Path) -> None:
    left = tmp_path / ".it's.store.writing-0123"
    left.mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        open_store(tmp_path / "it's.store")
    command = str(caught.value).partition("with: ")[2].rstrip(".")
    subprocess.run(command, shell=True, check=True)
    assert not left.exists()


def test_a_store_that_was_moved_aside_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    left = tmp_path / ".a.store.old-x"
    left.mkdir()
    assert publishing.leftovers(path) == [left]
    with pytest.raises(FileNotFoundError, match=f"killed.*mv '{left}' '{path}'"):
        open_store(path)
    told = f"with what was there before.*rm -r '{re.escape(str(left))}'"
    with pytest.warns(UserWarning, match=told):
        written(path, marked(3, 3))


def test_a_live_writer_is_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    with StoreWriter(path, 3) as writer:  # a warning would be an error
        written(tmp_path / "b.store", marked(3, 3))
        assert publishing.leftovers(path) == []
        writer.append(np.ones((2, 3)))
    assert len(open_store(path)) == 2


def test_of_two_writers_the_second_to_publish_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    first, second = StoreWriter(path, 3), StoreWriter(path, 3)
    second.append(np.ones((2, 3)))
    second.close()
    first.append(np.ones((9, 3)))
    with first, pytest.raises(FileExistsError, match="exists.*overwrite=True"):
        first.close()
    assert len(open_store(path)) == 2
    assert os.listdir(tmp_path) == ["a.store"]
    with pytest.raises(FileExistsError, match="exists"):
        StoreWriter(path, 3)


def test_racing_processes_publish_one_whole_store(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    results = []
    processes = [start_python(WRITER, path, False) for _ in range(3)]
    for process in processes:
        results.append((process.communicate(timeout=HUNG_SECONDS), process.returncode))
    assert sorted(code for _, code in results) == [0, 1, 1]
    assert all("FileExistsError" in err for (_, err), code in results if code)
    assert same(open_store(path)[:], marked(2000, 300))
    assert os.listdir(tmp_path) == ["a.store"]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_publishes_nothing_and_leaves_nothing(
    kind: type[BaseException], tmp_path: Path
) -> None:
    with pytest.raises(kind, match="mine"):
        with StoreWriter(tmp_path / "a.store", 3) as writer:
            writer.append(np.ones((2, 3)))
            raise kind("mine")
    assert os.listdir(tmp_path) == []


def test_what_was_interrupted_in_append_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = StoreWriter(tmp_path / "a.store", 3)
    real, calls = ArrayFile.write, []

    def interrupted(file: ArrayFile, values: np.ndarray) -> None:
        calls.append(file)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(file, values)

    monkeypatch.setattr(ArrayFile, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.append(np.ones((2, 3)))
    for action in (writer.close, lambda: writer.append(np.ones((2, 3)))):
        with pytest.raises(ValueError, match="is broken"):
            action()
    assert not (tmp_path / "a.store").exists()
    writer.discard()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("exchange", [True, False])
def test_what_is_published_is_on_the_disk(
    replaced: bool, exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.store"
    if replaced:
        written(path, marked(5, 3)).close()
    if not exchange:
        monkeypatch.setattr(publishing, "_renameat2", lambda *_: None)
    sync, log = os.fsync, []

    def synced(handle: int) -> None:
        log.append(os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    def noting(rename: Any) -> Any:
        def renamed(*arguments: Any) -> Any:
            done = rename(*arguments)
            if done is not False:
                log.append("renamed")
            return done

        return renamed

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", noting(os.rename))
    monkeypatch.setattr(publishing, "_rename", noting(publishing._rename))
    written(path, marked(3, 3), overwrite=replaced).close()
    first = log.index("renamed")
    *files, directory = log[:first]
    *renames, parent = log[first:]
    assert sorted(map(os.path.basename, files)) == sorted(os.listdir(path))
    assert {os.path.dirname(file) for file in files} == {directory}
    assert os.path.basename(directory).startswith(".a.store.writing-")
    assert set(renames) == {"renamed"}
    assert parent == os.path.dirname(directory) == os.path.realpath(tmp_path)


def test_a_store_is_replaced_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a.store", tmp_path / "b.store"
    for each in (path, other):
        written(each, marked(3, 3)).close()
    if publishing._renameat2(path, other, publishing._EXCHANGE) != 0:
        pytest.skip("the file system does not exchange directories")

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", fails)
    assert len(written(path, marked(5, 3), overwrite=True)) == 5
    assert sorted(os.listdir(tmp_path)) == ["a.store", "b.store"]


@pytest.mark.parametrize(
    "code", [0, None, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP], ids=str
)
def test_replacing_a_store(
    code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code != 0:  # a file system without renameat2's flags
        monkeypatch.setattr(publishing, "_renameat2", lambda *_: code)
    path = tmp_path / "a.store"
    written(path, marked(3, 3)).close()
    assert len(written(path, marked(5, 3), overwrite=True)) == 5
    assert os.listdir(tmp_path) == ["a.store"]
    with pytest.raises(FileExistsError):
        StoreWriter(path, 3)


def test_a_failed_second_rename_brings_the_old_store_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.store"
    written(path, marked(3, 3)).close()
    monkeypatch.setattr(publishing, "_renameat2", lambda *_: None)
    real = os.rename

    def fails(source: Path, target: Path) -> None:
        if "writing" in str(source) and not os.path.exists(target):
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="Nothing was published"):
        written(path, marked(5, 3), overwrite=True)
    assert len(open_store(path)) == 3
    assert os.listdir(tmp_path) == ["a.store"]


def test_overwrite_replaces_stores_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds 'thesis.tex', so it is not"):
        StoreWriter(home, 3, overwrite=True)
    (tmp_path / "link").symlink_to(home)
    for path in (home / "thesis.tex", tmp_path / "link"):
        with pytest.raises(FileExistsError, match="is not a directory"):
            StoreWriter(path, 3, overwrite=True)
    assert (home / "thesis.tex").read_text() == "years of work"


def test_a_file_that_appears_while_writing_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    with pytest.raises(FileExistsError, match="is not a store"):
        with StoreWriter(path, 3, overwrite=True):
            path.mkdir()
            (path / "thesis.tex").write_text("years of work")
    assert (path / "thesis.tex").exists()


def test_a_forked_child_removes_nothing(tmp_path: Path) -> None:
    code = """
        import os, sys
        from sequence_loader.store.writer import StoreWriter
        with StoreWriter(sys.argv[1], 3) as writer:
            child = os.fork()
            if child == 0:
                writer.discard()
                os._exit(0)
            os.waitpid(child, 0)
    """
    process = start_python(code, tmp_path / "a.store")
    assert process.communicate(timeout=HUNG_SECONDS)[1] == ""
    assert len(open_store(tmp_path / "a.store")) == 0


def test_a_parent_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Pass a path in an existing directory"):
        StoreWriter(tmp_path / "missing" / "a.store", 3)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A file system of two megabytes."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(mounted: Path) -> None:
    written(mounted / "small.store", marked(3, 1000))
    with pytest.raises(OSError, match="No space left.*Nothing was published"):
        with StoreWriter(mounted / "a.store", 1000) as writer:
            for _ in range(100):
                writer.append(marked(100, 1000))
    assert os.listdir(mounted) == ["small.store"]
    open_store(mounted / "small.store").verify()


def test_a_full_disk_keeps_the_store_that_was_there(mounted: Path) -> None:
    written(mounted / "a.store", marked(3, 1000)).close()
    with pytest.raises(OSError, match="No space left"):
        with StoreWriter(mounted / "a.store", 1000, overwrite=True) as writer:
            for _ in range(100):
                writer.append(marked(100, 1000))
    assert len(open_store(mounted / "a.store")) == 3


def test_a_disk_that_is_full_to_the_last_byte(mounted: Path) -> None:
    """At every size around the limit: a whole store, or an error and nothing."""
    outcomes = set()
    for rows in range(60, 110, 5):
        path = mounted / f"{rows}.store"
        try:
            with StoreWriter(path, 5000, "float64") as writer:
                writer.append(marked(rows, 5000, density=0.4))
        except OSError:
            outcomes.add("error")
            assert os.listdir(mounted) == []
        else:
            outcomes.add("whole")
            open_store(path).verify()
            shutil.rmtree(path)
    assert outcomes <= {"error", "whole"} and "error" in outcomes


def test_a_read_only_directory(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(OSError, match="Read-only file system.*can be written to"):
        StoreWriter(mounted / "a.store", 3)

"""Workers: the same bytes, prepared beside the training, by real processes."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from types import ModuleType

import numpy as np
import psutil
import pytest
import scipy.sparse as sp
import tensorflow
from encoded import csr, dense, plain
from hypothesis import given
from hypothesis import strategies as st
from watching import HUNG_SECONDS, once, running, shared_memory, until

import sequence_loader
from sequence_loader import SparseBatchSequence, StoreWriter, WorkerError, open_store
from sequence_loader.rows.sources import Traits
from sequence_loader.workers import pickling as sending
from sequence_loader.workers import prefetch as workers
from sequence_loader.workers.channel import loads, receive, send
from sequence_loader.workers.process import WorkerProcess
from sequence_loader.workers.readahead import ReadAhead

ROWS = 61


def footprint() -> tuple[list[str], ...]:
    """Child processes, threads, descriptors and shared memory of this process."""
    gc.collect()
    me = psutil.Process()
    children = [str(child.pid) for child in me.children(recursive=True)]
    threads = [t.name for t in threading.enumerate() if "timeout" not in t.name]
    return children, threads, descriptors(), sorted(shared_memory())


def descriptors() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # that of listdir itself
            continue
    return sorted(found)


@pytest.fixture
def nothing_left():
    """Fails if the test leaves more behind than it found."""
    before = footprint()
    yield

    def is_left() -> bool:
        # Of the tests before, something may have come to its end meanwhile.
        now = zip(footprint(), before, strict=True)
        return any(Counter(found) - Counter(known) for found, known in now)

    until(lambda: not is_left())


def double(block):
    return block * 2


def make(x=None, transform=double, **options):
    x = csr(ROWS, 7) if x is None else x
    given = {"batch_size": 8, "output": "csr", "workers": 2}
    given.update({"use_multiprocessing": True, **options})
    return SparseBatchSequence(x, np.arange(x.shape[0]), transform=transform, **given)


def worker_pids(sequence):
    return [process.pid for process in sequence._pipeline.workers._crew.processes]


def assert_same(batch, other):
    assert len(batch) == len(other)
    for left, right in zip(batch, other):
        assert type(left) is type(right)
        if sp.issparse(left):
            assert left.dtype == right.dtype and left.shape == right.shape
            for name in ("indptr", "indices", "data"):
                one, two = getattr(left, name), getattr(right, name)
                assert one.dtype == two.dtype and one.tobytes() == two.tobytes()
        else:
            assert left.dtype == right.dtype and left.shape == right.shape
            assert left.tobytes() == right.tobytes()


# The same bytes


def shake(features, rng):
    if sp.issparse(features):
        features.data = features.data * rng.uniform(0.5, 2, len(features.data))
        return features
    return features * rng.uniform(0.5, 2, features.shape).astype(features.dtype)


def words(texts):
    """Rows of letter counts; slow enough to matter and sparse."""
    counts = [[text.count(letter) for letter in "abcdefg"] for text in texts]
    return sp.csr_array(np.array(counts, dtype=np.float32))


WEIGHTS = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


def project(block):
    """A dense product: its last bits depend on how many rows it has."""
    return block.astype(np.float32) @ WEIGHTS


TEXTS = [f"{'a' * (i % 5)}b{'cdefg' * (i % 3)}" for i in range(ROWS)]
DENSE = np.random.default_rng(1).standard_normal((ROWS, 7)).astype(np.float32)


def mapped():
    """The same rows in a file, which several threads read."""
    with tempfile.TemporaryFile() as file:
        file.write(DENSE.tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r", shape=DENSE.shape)


KINDS = {
    "sparse": (csr(ROWS, 7), double),
    "texts": (TEXTS, words),
    "dense product": (DENSE, project),
    "two inputs": ({"a": csr(ROWS, 7), "b": TEXTS}, {"a": None, "b": words}),
    "no transform": (csr(ROWS, 7), None),
    "mapped": (mapped(), None),
}


def family(kind, **options):
    x, transform = KINDS[kind]
    shared = dict(
        batch_size=8,
        shuffle=True,
        seed=3,
        transform=transform,
        augment=None if kind == "two inputs" else shake,
        output="csr",
    )
    return SparseBatchSequence(x, np.arange(ROWS), **shared, **options)


@pytest.fixture(scope="module")
def families():
    """Few pools for all examples: without, on threads, and on 1, 2 and 3 processes."""
    made = {
        kind: [
            family(kind, workers=0),
            family(kind, workers=3, max_queue_size=2),
            family(kind, workers=2, use_multiprocessing=True),
        ]
        for kind in KINDS
    }
    for count, limit in ((1, 1), (3, 10)):
        one = family("texts", workers=count, use_multiprocessing=True,
                     max_queue_size=limit)
        made["texts"].append(one)
    yield made
    for sequence in sum(made.values(), []):
        sequence.close()


asked = st.one_of(
    st.just(list(range(8))),
    st.permutations(range(8)),
    st.lists(st.integers(0, 7), max_size=12),
    st.just([0, 1, *range(8), 7, 7, 0]),
)


@given(st.sampled_from(list(KINDS)), st.lists(st.tuples(st.integers(0, 2), asked),
                                              min_size=1, max_size=3))
def test_batches_are_the_same_bytes_for_any_workers_and_order(families, kind, passes):
    for epoch, order in passes:
        for sequence in families[kind]:
            sequence.set_epoch(epoch)
        for index in order:
            expected, *others = [sequence[index] for sequence in families[kind]]
            for batch in others:
                assert_same(batch, expected) if kind != "two inputs" else None
                if kind == "two inputs":
                    for name in "ab":
                        assert_same((batch[0][name],), (expected[0][name],))


def test_a_batch_out_of_order_is_split_only_where_that_changes_no_byte(families):
    for kind, splits in {"texts": True, "sparse": True, "dense product": False}.items():
        sequence = families[kind][2]
        sequence.set_epoch(7)
        sequence[3], sequence[6]
        found = sequence._pipeline.workers
        assert found._splits == splits
        tasks = found._tasks(sequence._plan, sequence._plan.batch(7, 1))
        assert len(tasks) == (2 if splits else 1)
        rows = np.concatenate([task.job.rows for task in tasks])
        assert rows.tolist() == sequence.batch_rows(1).tolist()
        for task in tasks:
            task.future.result()


def test_batches_are_prepared_ahead_while_they_are_asked_for_in_order():
    with make(max_queue_size=4, batch_size=2) as sequence:
        for index in range(6):
            sequence[index]
        ahead = list(sequence._pipeline.workers._cache)
        assert ahead == [(0, index) for index in range(6, 10)]
        sequence[20]
        assert not sequence._pipeline.workers._cache


@given(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 39)), max_size=30),
)
def test_read_ahead_stays_in_its_bounds(callers, limit, num_batches, reads):
    guess = ReadAhead(callers, limit)
    for epoch, batch in reads:
        batch %= num_batches
        ahead = guess.asked(epoch, batch, num_batches) or range(0)
        assert all(batch < number < num_batches for number in ahead)
        assert len(ahead) <= limit
        assert not ahead or ahead[-1] <= batch + limit


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 40), st.randoms())
def test_read_ahead_prepares_every_batch_once_in_order(callers, limit, length, random):
    """Also where `callers` threads ask, each of which may be late."""
    guess = ReadAhead(callers, limit)
    prepared, waiting, upcoming = [], [], list(range(length))
    while upcoming or waiting:
        while upcoming and upcoming[0] < min(waiting + upcoming) + callers:
            waiting.append(upcoming.pop(0))
        batch = waiting.pop(random.randrange(len(waiting)) if 0 not in waiting else 0)
        prepared += guess.asked(0, batch, length)
    assert prepared == sorted(set(prepared))
    if limit >= callers:
        assert prepared == list(range(1, length))


def test_the_cache_is_not_trusted_after_the_order_changed():
    with make(shuffle=True, batch_size=4) as sequence:
        sequence[0], sequence[1]
        other = make(shuffle=True, batch_size=4, seed=99, workers=0)
        sequence.load_state_dict(other.state_dict())
        for index in range(4):
            assert_same(sequence[index], other[index])


# What is sent


def test_workers_get_no_data_and_import_no_backend(nothing_left):
    def look(block):
        found = {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
        assert not found, found
        assert "numpy" in sys.modules
        return block

    x = np.zeros((200, 5000), dtype=np.float32)
    with make(x, look) as sequence:
        size = len(sending.description(list(sequence._pipeline.workers._sent.values())))
        assert size < 5_000
        sequence[0], sequence[1]


def test_modules_are_looked_into_however_many_they_are(tmp_path, monkeypatch):
    """Packages of another environment are installed ones; one's own may be many."""
    own = [ModuleType(f"own{i}") for i in range(5_000)]
    for i, module in enumerate(own):
        module.__file__ = str(tmp_path / f"{module.__name__}.py")
        module.others = [own[i - 1]], own[i - 1]
        module.other, module.next = own[i - 1], own[(i + 1) % len(own)]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    assert not sending._imports_backend(own[0])
    installed = ModuleType("installed")
    installed.__file__ = str(tmp_path / "lib/site-packages/installed/__init__.py")
    installed.tf = own[9].installed = tensorflow
    assert not sending._imports_backend(installed)
    assert sending._imports_backend(own[0])


def test_a_source_that_pickles_small_is_read_in_the_worker():
    class Numbers:
        num_rows, numeric = 64, True

        def read(self, rows):
            return np.stack([rows, np.full(len(rows), os.getpid())], axis=1)

    class Here(Numbers):
        traits = Traits(stays_here=True)

    for source, transform, here in [
        (Numbers(), None, False), (Here(), double, True)
    ]:
        with SparseBatchSequence(
            source, transform=transform, batch_size=8, dtype="int64",
            workers=2, use_multiprocessing=True,
        ) as sequence:
            (features,) = sequence[1]
            factor = 1 if transform is None else 2
            assert (features[:, 0] == factor * np.arange(8, 16)).all()
            pids = {os.getpid()} if here else set(worker_pids(sequence))
            assert set(features[:, 1] // factor) <= pids


@pytest.mark.parametrize("sparse", [False, True])
def test_without_a_transform_only_threads_read_a_map(sparse, nothing_left):
    x = mapped()
    if sparse:  # scipy makes plain views of maps
        columns, starts = np.arange(x.size) % 7, np.arange(0, x.size + 1, 7)
        x = sp.csr_array((x.ravel(), columns, starts))
    with make(x, transform=None) as sequence:
        assert (plain(sequence[1][0]) == DENSE[8:16]).all()
        assert not worker_pids(sequence)
        assert "2 worker threads, running" in repr(sequence)


def crew_threads():
    return [t.name for t in threading.enumerate() if "sequence-worker" in t.name]


def test_rows_in_memory_or_in_a_store_are_read_by_who_asks(tmp_path, nothing_left):
    with StoreWriter(tmp_path / "rows.store", 7) as writer:
        writer.append(csr(ROWS, 7))
    stores = [open_store(tmp_path / "rows.store", memory=m) for m in (2**30, 1000)]
    before = crew_threads()  # of other sequences
    for x in (csr(ROWS, 7), DENSE, *stores):
        for processes in (False, True):
            with make(x, transform=None, use_multiprocessing=processes) as sequence:
                (features, _) = sequence[1]
                expected = x[8:16] if x is DENSE else csr(ROWS, 7)[8:16].toarray()
                assert (plain(features) == expected).all()
                assert "no worker threads" in repr(sequence)
                assert crew_threads() == before
    for store in stores:
        store.close()


class Unsendable:
    """What people close over by mistake."""

    def __init__(self, held):
        self.held = held

    def __call__(self, block):
        return block


def unsendables(tmp_path):
    import keras
    import tensorflow as tf

    path = tmp_path / "words.txt"
    path.write_text("a b")
    yield path.open(), "open file"
    yield keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "of keras"
    yield tf.constant([1.0]), "of tensorflow"
    yield tf, "of tensorflow"
    yield threading.Lock(), "lock"
    yield (number for number in range(3)), "generator"


def test_what_cannot_be_sent_is_refused_at_construction(tmp_path, nothing_left):
    for held, named in unsendables(tmp_path):
        for transform in (Unsendable(held), lambda block, held=held: block):
            with pytest.raises(TypeError) as caught:
                make(transform=transform)
            text = str(caught.value)
            assert "`transform` of `x` must be a callable that can be sent" in text
            assert named in text and text.endswith(".")
            assert "or pass use_multiprocessing=False for threads." in text
            make(transform=transform, use_multiprocessing=False)  # takes anything
        if hasattr(held, "close"):
            held.close()


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(sending.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install ".\[workers\]"'):
        make()
    make(use_multiprocessing=False), make(transform=None)


def test_items_that_cannot_be_sent_are_an_error_of_their_batch(nothing_left):
    x = ["a"] * 8 + [threading.Lock()] * 8 + ["b"] * 8
    with SparseBatchSequence(
        x, transform=lambda items: np.ones((len(items), 1)), batch_size=8,
        workers=2, use_multiprocessing=True,
    ) as sequence:
        sequence[0]
        with pytest.raises(WorkerError, match="batch 1 of epoch 0 .*lock"):
            sequence[1]
        assert sequence[2][0].shape == (8, 1)


def test_a_message_arrives_whole():
    import socket

    ours, theirs = socket.socketpair()
    message = {"a": np.arange(300_000), "b": np.zeros((0, 3)), "c": b"x" * 70_000}
    sender = threading.Thread(target=send, args=(ours, message))
    sender.start()
    answer = loads(receive(theirs))
    sender.join()
    for name in "ab":
        np.testing.assert_array_equal(answer[name], message[name], strict=True)
        assert answer[name].flags.writeable
    assert answer["c"] == message["c"]
    ours.sendall(b"\x02\0\0")
    ours.close()
    with pytest.raises(EOFError):
        receive(theirs)
    theirs.close()


def test_a_sequence_pickles_small_and_works_elsewhere(tmp_path):
    from sequence_loader.store.opening import open_store
    from sequence_loader.store.writer import StoreWriter

    with StoreWriter(tmp_path / "a.store", num_features=7) as writer:
        writer.append(csr(ROWS, 7), y=np.arange(ROWS))
    with SparseBatchSequence(
        open_store(tmp_path / "a.store"), transform=double, batch_size=8,
        output="csr", workers=2, use_multiprocessing=True,
    ) as sequence:
        expected = sequence[5]
        pickled = pickle.dumps(sequence)
        assert len(pickled) < 4_000
        pids = worker_pids(sequence)
        with pickle.loads(pickled) as other:
            assert_same(other[5], expected)
            assert not set(pids) & set(worker_pids(other))


# Failures


def numbered(failing_row, action):
    def transform(block):
        if (block[:, 0] == failing_row).any():
            action()
        return block

    return transform


IDS = np.arange(64, dtype=np.float64).reshape(-1, 1)


def ids(action, row=20, **options):
    options = {"workers": 2, "use_multiprocessing": True, **options}
    return SparseBatchSequence(
        IDS, batch_size=8, transform=numbered(row, action), **options
    )


def fail():
    raise KeyError("no such word")


@pytest.mark.parametrize("processes", [False, True])
def test_an_exception_tells_where_it_was_raised(processes, nothing_left):
    with ids(fail, use_multiprocessing=processes) as sequence:
        sequence[0], sequence[1]
        with pytest.raises(WorkerError) as caught:
            sequence[2]
        error = caught.value
        assert (error.epoch, error.batch) == (0, 2)
        assert error.rows.tolist() == list(range(16, 24))
        text = str(error)
        assert "batch 2 of epoch 0 (8 rows: 16, 17, 18, 19, 20" in text
        assert "KeyError: 'no such word'" in text
        if processes:
            assert error.pid in worker_pids(sequence)
            assert str(error.pid) in text and "Traceback in the worker" in text
            assert "in fail" in text
        else:
            assert isinstance(error.__cause__, KeyError) and error.pid is None
        assert sequence[3][0].shape == (8, 1)  # and goes on
        assert sequence[1][0].shape == (8, 1)
        with pytest.raises(WorkerError):
            sequence[2]
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == text and copy.batch == 2 and copy.rows.shape == (8,)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def crash():
    import ctypes

    ctypes.string_at(0)


DEATHS = [
    (kill, "was killed by SIGKILL, which is also how"),
    (crash, "was killed by SIGSEGV"),
    (lambda: os._exit(3), "exited with code 3"),
    (lambda: os._exit(0), "exited with code 0"),
    (lambda: sys.exit(4), "SystemExit: 4"),
    (lambda: os.kill(os.getpid(), signal.SIGINT), "was killed by SIGINT"),
]


@pytest.mark.parametrize("action, told", DEATHS)
def test_a_worker_that_dies_at_work_is_an_error(
    action, told, nothing_left, capfd
):
    with ids(action) as sequence:
        sequence[0]
        with pytest.raises(WorkerError, match=told) as caught:
            sequence[1], sequence[2]
        assert caught.value.batch == 2 and 20 in caught.value.rows
        assert caught.value.pid and str(caught.value.pid) in str(caught.value)
        died = "SystemExit" not in told
        mend = "21, 22, 23). The next batch starts a new one."
        assert str(caught.value).endswith(mend) is died
        for index in (0, 1, 3, 4, 5, 6, 7):
            assert (sequence[index][0][:, 0] == IDS[index * 8 : index * 8 + 8, 0]).all()
    if action is crash:
        assert "Segmentation fault" in capfd.readouterr().err  # its stack is left


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_worker_that_dies_idle_is_an_error_of_the_next_batch(
    number, nothing_left, capfd
):
    with ids(fail, row=-1) as sequence:
        sequence[0]
        wait_until_idle(sequence)
        victim = worker_pids(sequence)[0]
        os.kill(victim, number)
        with pytest.raises(WorkerError, match=f"{victim} was killed by {number.name}"):
            for index in range(8):
                time.sleep(0.1)  # a death takes a moment
                sequence[index]
        for index in range(8):
            sequence[index]
        assert victim not in worker_pids(sequence) and len(worker_pids(sequence)) == 2


def test_a_worker_that_dies_of_a_job_while_it_is_looked_at_did_not_die_idle(
    monkeypatch, nothing_left
):
    process = WorkerProcess(b"")
    poll = process._process.poll

    def given_a_job():  # by its thread, meanwhile
        process.idle = False
        os.kill(process.pid, signal.SIGKILL)
        process._process.wait()
        return poll()

    with monkeypatch.context() as patch:
        patch.setattr(process._process, "poll", given_a_job)
        found = process.found_dead()
    process.dispose()
    assert found is None


def wait_until_idle(sequence):
    tasks = list(sequence._pipeline.workers._cache.values())
    until(lambda: all(task.future.done() for task in tasks))


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 6))]
)
def test_a_worker_killed_in_the_middle_of_a_large_answer(seed, nothing_left):
    """What loky 3.7 and concurrent.futures wait for without an end."""

    def large(block):
        return np.ones((len(block), 400_000), dtype=np.float32)

    with SparseBatchSequence(
        IDS, batch_size=8, transform=large, workers=1, use_multiprocessing=True,
        max_queue_size=1,
    ) as sequence:
        sequence[0]
        delay = np.random.default_rng(seed).uniform(0, 0.05)
        timer = threading.Timer(delay, os.kill, (worker_pids(sequence)[0], 9))
        timer.start()
        with pytest.raises(WorkerError, match="SIGKILL"):
            for number in range(10_000):
                sequence[number % 8]
        timer.join()
        sequence[3]


@pytest.mark.parametrize("processes", [False, True])
def test_a_stuck_worker_is_reported(processes, monkeypatch, nothing_left, tmp_path):
    told = tmp_path / "told"

    def stuck():
        while not told.exists():
            time.sleep(0.01)

    with ids(stuck, use_multiprocessing=processes) as sequence:
        sequence[0], sequence[1]
        monkeypatch.setattr(workers, "STUCK_SECONDS", 0.3)
        with pytest.warns(RuntimeWarning) as caught:
            teller = once(lambda: len(caught) > 0, told.touch)
            sequence[2]  # it is waited for
        teller.join()
        (warning,) = [w for w in caught if "busy" in str(w.message)]
        text = str(warning.message)
        assert "seconds with batch 2 of epoch 0 (8 rows: 16, 17" in text
        if processes:
            pids = worker_pids(sequence)
            assert any(f"worker process {pid} has been" in text for pid in pids)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sequence[3]


@pytest.mark.parametrize("processes", [False, True])
def test_close_ends_a_run_that_is_stuck(processes, nothing_left):
    release = threading.Event()
    action = (lambda: time.sleep(1000)) if processes else release.wait
    sequence = ids(action, use_multiprocessing=processes)
    sequence[0], sequence[1]
    closing = once(lambda: running(workers.Workers._late_result), sequence.close)
    with pytest.raises(WorkerError, match="the sequence was closed"):
        sequence[2]
    release.set()
    closing.join()
    assert sequence[5][0].shape == (8, 1)  # it can be used again
    sequence.close()


def test_ctrl_c_in_the_main_thread_ends_the_workers(nothing_left):
    with ids(lambda: time.sleep(1000)) as sequence:
        sequence[0], sequence[1]
        pids = worker_pids(sequence)
        waiting = workers.Workers._late_result
        ctrl_c = once(lambda: running(waiting), lambda: os.kill(os.getpid(), 2))
        with pytest.raises(KeyboardInterrupt):
            sequence[2]
        ctrl_c.join()
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert sequence[3][0].shape == (8, 1)


def test_ctrl_c_at_the_terminal_spoils_no_batch_that_is_asked_for_later(nothing_left):
    """It ends the workers that are busy ahead; a notebook goes on all the same."""
    with ids(lambda: time.sleep(0.5), row=8) as sequence:
        sequence[0]
        for pid in worker_pids(sequence):
            os.kill(pid, signal.SIGINT)
        time.sleep(0.7)
        assert (sequence[1][0][:, 0] == np.arange(8, 16)).all()


# Lifetimes


def test_workers_last_over_epochs_and_are_started_again_after_close(nothing_left):
    with make() as sequence:
        assert sequence._pipeline.workers._crew is None  # first use starts them
        list(sequence)
        pids = worker_pids(sequence)
        assert len(pids) == 2 and "2 worker processes, running" in repr(sequence)
        for epoch in range(1, 4):
            sequence.set_epoch(epoch)
            list(sequence)
        assert worker_pids(sequence) == pids
        sequence.close()
        sequence.close()
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert_same(sequence[2], make(workers=0)[2])
        assert not set(worker_pids(sequence)) & set(pids)


@pytest.mark.parametrize("processes", [False, True])
def test_garbage_collection_ends_the_workers(processes):
    before = footprint()
    sequence = make(use_multiprocessing=processes, workers=2)
    sequence.itself = sequence  # only the collector finds it
    list(sequence)
    del sequence
    until(lambda: footprint() == before)


def test_an_exception_in_the_block_ends_the_workers(nothing_left):
    with pytest.raises(ZeroDivisionError), make() as sequence:
        sequence[0]
        raise ZeroDivisionError


def in_a_fork(function):
    """Runs it in a forked child, and returns how that ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and JAX warn of any fork
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(HUNG_SECONDS)
            function()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("output, processes", [("csr", False), ("dense", True)])
def test_a_forked_child_serves_itself(output, processes, nothing_left):
    with make(output=output, use_multiprocessing=processes, workers=2) as sequence:
        expected = [plain(sequence[index][0]) for index in range(4)]
        pids = worker_pids(sequence)

        def child():
            for index, features in enumerate(expected):
                assert (plain(sequence[index][0]) == features).all()
            sequence.close()
            clone = pickle.loads(pickle.dumps(sequence))
            assert clone[1]
            clone.close()

        assert in_a_fork(child) == 0
        assert worker_pids(sequence) == pids
        assert all(psutil.pid_exists(pid) for pid in pids)
        assert (plain(sequence[5][0]) == dense(ROWS, 7)[40:48] * 2).all()


def test_a_fork_is_kept_from_tensorflow():
    with make(output="sparse", transform=None, workers=0) as sequence:
        def child():
            for call in (lambda: sequence[0], sequence.to_tf_dataset):
                with pytest.raises(RuntimeError, match="do not survive a fork.* Use "):
                    call()

        assert in_a_fork(child) == 0
        sequence[0]


def test_a_dataset_keeps_batches_in_flight_and_leaves_nothing_running():
    seen = []

    def slow(block):
        time.sleep(0.02)
        return block

    with make(transform=slow, batch_size=2, output="dense") as sequence:
        plain_batches = [plain(batch[0]) for batch in make(
            transform=None, batch_size=2, output="dense", workers=0)]
        for batch in sequence.to_tf_dataset().take(5):
            seen.append(batch[0].numpy())
        wait_until_idle(sequence)
        assert len(sequence._pipeline.workers._cache) <= 10
        for found, expected in zip(seen, plain_batches):
            assert (found == expected).all()
        pids = worker_pids(sequence)
        whole = [batch[0].numpy() for batch in sequence.to_tf_dataset()]
        assert all((a == b).all() for a, b in zip(whole, plain_batches, strict=True))
        assert worker_pids(sequence) == pids


@pytest.mark.parametrize("processes", [False, True])
def test_a_dataset_tells_of_a_worker_that_failed(processes):
    import tensorflow as tf

    with ids(fail, use_multiprocessing=processes) as sequence:
        dataset = sequence.to_tf_dataset()
        with pytest.raises(tf.errors.OpError, match="batch 2 of epoch 0.*no such word"):
            for _ in dataset:
                pass


def test_worker_error_is_public():
    assert sequence_loader.WorkerError is WorkerError
    assert issubclass(WorkerError, RuntimeError)

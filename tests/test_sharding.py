"""current_shard: who answers, who is believed, and what is never imported.

And what each process would draw by itself, where all are to have the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from refusals import refused
from running_jobs import free_ports, job
from watching import HUNG_SECONDS

from sequence_loader import (
    SequenceVectorizer,
    ShuffleSampler,
    SparseBatchSequence,
    StoreWriter,
    convert,
    current_shard,
    open_store,
    open_texts,
)
from sequence_loader.backends.current_shard import ALONE, VARIABLES

NAMES = {name for pair in VARIABLES for name in pair}
NAMES |= {"TF_CONFIG", "SLURM_JOB_ID", "PMIX_RANK"}
WORKERS = {"worker": ["a:1", "b:1", "c:1"]}


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def tf_config(cluster, kind, index):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_without_a_job_there_is_one_shard():
    assert current_shard() == (0, 1)


@pytest.mark.parametrize(("index", "count"), VARIABLES)
def test_variables_of_launchers(index, count, monkeypatch):
    monkeypatch.setenv(index, "1")
    if index not in ALONE:
        assert current_shard() == (0, 1)  # half of a pair says nothing
    monkeypatch.setenv(count, "3")
    assert current_shard() == (1, 3)
    for wrong in ("3", "-1", "x", ""):
        monkeypatch.setenv(index, wrong)
        refused(ValueError, f"`{index}` must be an integer in [0, {count})",
                f"{count}='3'", call=current_shard)


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "expected"),
    [
        (WORKERS, "worker", 2, (2, 3)),
        ({"worker": ["a:1"]}, "worker", 0, (0, 1)),
        ({"chief": ["z:1"], **WORKERS}, "chief", 0, (0, 4)),
        ({"chief": ["z:1"], **WORKERS}, "worker", 2, (3, 4)),
        ({"evaluator": ["e:1"], **WORKERS}, "evaluator", 0, (0, 1)),
        ({"ps": ["p:1"], **WORKERS}, "worker", 2, (0, 1)),
        ({}, None, 0, (0, 1)),
    ],
)
def test_tf_config(cluster, kind, index, expected, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(cluster, kind, index))
    assert current_shard() == expected


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "3", '{"task": 5}', tf_config(WORKERS, "worker", 3),
     tf_config(WORKERS, "worker", "x"), tf_config(WORKERS, "worker", None)],
)
def test_a_tf_config_that_makes_no_sense(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    refused(ValueError, "`TF_CONFIG` must be JSON with a cluster and a task",
            call=current_shard)


def test_two_that_disagree_are_both_named(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(WORKERS, "worker", 1))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert current_shard() == (1, 3)  # they agree
    monkeypatch.setenv("WORLD_SIZE", "4")
    text = r"TF_CONFIG says .* shard \(1, 3\), RANK with WORLD_SIZE says \(1, 4\)"
    with pytest.warns(UserWarning, match=text) as caught:
        assert current_shard() == (1, 3)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_a_rank_alone_is_of_a_job_that_is_not_known(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    assert current_shard() == (0, 1)
    monkeypatch.setenv("RANK", "1")
    refused(ValueError, "`WORLD_SIZE` must be set where RANK is", call=current_shard)
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "2")
    assert current_shard() == (1, 2)


def test_pmix_names_a_rank_and_no_count(monkeypatch):
    monkeypatch.setenv("PMIX_RANK", "2")
    refused(ValueError, "`WORLD_SIZE` must be set where PMIX_RANK is",
            "set RANK and WORLD_SIZE", call=current_shard)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "2")  # as Open MPI's mpirun does
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    assert current_shard() == (2, 4)


def test_a_process_of_keras_without_a_count(monkeypatch):
    """Its engine may find the count out, once it is initialised."""
    monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", "1")
    refused(ValueError, "`WORLD_SIZE` must be set where KERAS_DISTRIBUTION_PROCESS_ID",
            "set RANK and WORLD_SIZE", call=current_shard)


@pytest.mark.parametrize(
    "variables",
    [
        {"HOROVOD_RANK": "1", "HOROVOD_SIZE": "4"},  # horovodrun --gloo
        {"KERAS_DISTRIBUTION_PROCESS_ID": "1",
         "KERAS_DISTRIBUTION_NUM_PROCESSES": "4"},
        {"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "4"},
        {"FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "4"},
    ],
)
def test_processes_of_a_launcher_do_not_train_the_same_rows(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_shard() == (1, 4)


def test_the_batch_script_of_a_slurm_job_is_not_one_of_its_tasks(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert current_shard() == (0, 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")  # what srun sets
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_shard() == (0, 2)


def test_nothing_is_imported_to_find_out():
    code = (
        "import sys\n"
        "from sequence_loader import current_shard\n"
        "assert current_shard() == (1, 2)\n"
        "heavy = {'jax', 'torch', 'tensorflow', 'keras'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "RANK": "1", "WORLD_SIZE": "2"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True,
                   timeout=HUNG_SECONDS)


@pytest.mark.torch
def test_torch_distributed(tmp_path):
    (port,) = free_ports(1)
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "import torch.distributed as distributed\n"
        "from sequence_loader import current_shard\n"
        "assert current_shard() == (0, 1)  # imported, not initialised\n"
        f"distributed.init_process_group('gloo', 'tcp://127.0.0.1:{port}',\n"
        "    rank=int(os.environ['MINE']), world_size=2)\n"
        "print('shard', current_shard())\n"
        "distributed.destroy_process_group()\n"
    )
    with job(script, [], [{"MINE": "0"}, {"MINE": "1"}], tmp_path) as running:
        said = running.finish()
    assert "shard (0, 2)" in said[0] and "shard (1, 2)" in said[1]


# What each process would draw by itself


def share(index=0, **options):
    return SparseBatchSequence(
        np.arange(32.0).reshape(32, 1),
        np.arange(32.0),
        **{"batch_size": 2, "remainder": "pad", "shard": (index, 2), **options},
    )


class Held:
    """An order of a user's own: that of a sampler it holds."""

    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner

    def at(self, epoch):
        return self.inner

    def rows(self, num_rows, epoch, start, stop):
        return self.at(epoch).rows(num_rows, epoch, start, stop)

    def length(self, num_rows):
        return num_rows


class InTurn(Held):
    """Of several samplers, one an epoch."""

    def at(self, epoch):
        return self.inner[epoch % len(self.inner)]


class OwnNumbers(ShuffleSampler):
    """Of the seed, and nothing else, of a sampler of ours."""

    def rows(self, num_rows, epoch, start, stop):
        draw = np.random.default_rng([self.seed, epoch])
        return draw.permutation(num_rows)[start:stop]


def enclosed(inner):
    return SimpleNamespace(rows=lambda *args: inner.rows(*args), length=inner.length)


HOLDERS = {
    "slot": Held,
    "list": lambda inner: InTurn([inner]),
    "twice": lambda inner: Held(InTurn({0: inner})),
    "closure": enclosed,
    "method": lambda inner: SimpleNamespace(rows=inner.rows, length=inner.length),
    "seed": lambda inner: OwnNumbers(inner.seed),
}


@pytest.mark.parametrize("way", HOLDERS)
def test_an_order_of_the_users_own_that_draws_from_a_drawn_seed(way):
    said = "`seed` must be given where processes share one order"
    refused(ValueError, said, "received seed=None with shard=(0, 2)",
            call=lambda: share(sampler=HOLDERS[way](ShuffleSampler())))
    given = HOLDERS[way](ShuffleSampler(7))
    parts = [share(index, sampler=given) for index in range(2)]
    rows = [part.batch_rows(i) for i in range(len(parts[0])) for part in parts]
    assert (np.concatenate(rows) == given.rows(32, 0, 0, 32)).all()


def test_a_drawn_seed_of_a_later_epoch_is_refused_there():
    drawn = [ShuffleSampler(7), ShuffleSampler(8), ShuffleSampler()]
    later = share(sampler=InTurn(drawn))
    assert len(list(later)) == 8
    later.set_epoch(2)
    refused(ValueError, "ShuffleSampler has drawn", call=lambda: later[0])


def noisy(x, rng):
    return x * rng.random(x.shape)


@pytest.mark.parametrize("sampler", [None, ShuffleSampler(7)])
def test_an_augmentation_of_a_drawn_seed(sampler):
    """On JAX all count the values of all; and a checkpoint keeps the first's seed."""
    options = {"sampler": sampler, "augment": noisy}
    refused(ValueError, "`seed` must be given for `augment`", "with shard=(1, 2)",
            call=lambda: share(1, **options))
    share(1, sampler=sampler)  # nothing is drawn
    first, second = (share(index, seed=7, **options) for index in (0, 1))
    for number in range(len(first)):
        there = second._pipeline.batch(0, number)
        read = first._pipeline.reader.read(first._plan.batch(0, number, 1))
        here = first._pipeline._assembled(read, 0, number, 1)
        assert (here.features == there.features).all()


NAMED = {"a", "b", "c"}
ROWS = sp.csr_array(np.eye(3))


@pytest.mark.parametrize(
    ("name", "take"),
    [
        ("class_names", lambda path: open_texts(path, class_names=NAMED)),
        ("paths", lambda path: open_texts({path})),
        ("paths", lambda path: open_store(frozenset([path]))),
        ("source", lambda path: convert({path}, f"{path}.store")),
        ("class_names", lambda path: convert(ROWS, path + "s", class_names=NAMED)),
        ("feature_names", lambda path: StoreWriter(path + "s", 3, feature_names=NAMED)),
        ("source", lambda path: SequenceVectorizer().fit(NAMED)),
        ("texts", lambda path: SequenceVectorizer().fit(["a"]).transform(NAMED)),
    ],
)
def test_a_set_has_an_order_of_its_own_in_each_process(name, take, tmp_path):
    """Classes would be numbered, and rows follow one another, otherwise in each."""
    texts = tmp_path / "texts.csv"
    texts.write_text("label,text\na,one of a\nb,one of b\n")
    refused(TypeError, f"`{name}` must have an order", f"such as sorted({name})",
            call=lambda: take(str(texts)))


def test_rows_that_are_sets_are_known_again_in_another_process():
    code = (
        "from sequence_loader.batches.fingerprint import fingerprint\n"
        "from sequence_loader.rows.sources import as_row_source\n"
        "print(fingerprint(as_row_source([{'a', 'b', 'c'}, {'d', 'e', 'f'}], 'x')))\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed},
            check=True, capture_output=True, timeout=HUNG_SECONDS,
        ).stdout
        for seed in "123"
    }
    assert len(told) == 1

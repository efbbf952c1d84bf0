"""Training jobs of real processes, on the engines that run them.

What was trained, and not only read, is in the weights of the counting tasks: one
weight a row, which falls by exactly 1 each time the row is trained.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from job_tasks import GLOBAL_BATCH, ROWS
from keras_contract.real_keras import KERAS, since
from running_jobs import (
    TESTS,
    alive_in_session,
    free_ports,
    jax_environments,
    job,
    tf_keras_environments,
)
from watching import HUNG_SECONDS

from sequence_loader import ShuffleSampler, SparseBatchSequence
from sequence_loader.backends import current_shard
from sequence_loader.order.plan import BatchPlan

STEPS, EPOCHS = -(-ROWS // GLOBAL_BATCH), 2
COUNTING = ["dense", "sparse"]
NETWORKS = ["dense_network", "sparse_network"]
ENVIRONMENTS = {"jax": jax_environments, "tf_keras": tf_keras_environments}


def needs(engine):
    """Skips where the engine is not installed, or has no such jobs."""
    pytest.importorskip(engine)
    if engine == "jax" and KERAS < (3, 11):
        pytest.skip("about Keras 3.11 and newer")


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def engine(request):
    needs(request.param)
    return request.param


def results(engine, count, names, folder):
    """Runs a job to its end; what each process has written."""
    script = TESTS / f"job_{engine}.py"
    with job(script, [str(folder), *names], ENVIRONMENTS[engine](count), folder) as it:
        it.finish()
    return [dict(np.load(folder / f"rank{rank}.npz")) for rank in range(count)]


@pytest.fixture(scope="module")
def two(engine, tmp_path_factory, pytestconfig):
    names = list(COUNTING)
    if engine == "jax" or pytestconfig.option.combinations == "all":
        names += NETWORKS
    if engine == "jax":
        names.append("transformed")
    return results(engine, 2, names, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def one(engine, tmp_path_factory):
    return results(engine, 1, NETWORKS, tmp_path_factory.mktemp("one"))[0]


@pytest.mark.parametrize("name", COUNTING)
def test_every_row_is_trained_once_an_epoch(two, name):
    for found in two:
        assert (found[f"{name}_weights"] == -EPOCHS).all()
        assert found[f"{name}_steps"] == EPOCHS * STEPS


@pytest.mark.parametrize("name", COUNTING)
def test_processes_read_the_parts_of_the_global_batches(two, name):
    plan = BatchPlan(ROWS, ShuffleSampler(5), GLOBAL_BATCH, "pad")
    # On JAX the first batch is read once more, to build the model.
    read = [found[f"{name}_rows"][-EPOCHS * STEPS :] for found in two]
    weights = [found[f"{name}_row_weights"][-len(read[0]) :] for found in two]
    for number, rows in enumerate(np.concatenate(read, axis=1)):
        expected = plan.batch(*divmod(number, STEPS))
        assert rows.tolist() == expected.rows.tolist()
        together = np.concatenate([part[number] for part in weights])
        assert together.tolist() == expected.weights.tolist()


# Of tf-keras the tests of what was counted are the quick ones: its jobs take long.
ONE_OF_TF_KERAS = pytest.param("tf_keras", marks=pytest.mark.long)


@pytest.mark.parametrize("engine", ["jax", ONE_OF_TF_KERAS], indirect=True)
@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_train_what_one_does(one, two, name):
    weights = [found[f"{name}_weights"] for found in two]
    assert (weights[0] == weights[1]).all()
    assert np.isfinite(weights[0]).all()
    np.testing.assert_allclose(weights[0], one[f"{name}_weights"], rtol=0, atol=2e-6)
    for found in two:  # the padding counts for nothing in the loss either
        loss = found[f"{name}_loss"]
        np.testing.assert_allclose(loss, one[f"{name}_loss"], rtol=1e-5)
        assert loss[1] < loss[0]
    assert one["detected"].tolist() == [0, 1]


def test_the_job_is_detected(two):
    assert [found["detected"].tolist() for found in two] == [[0, 2], [1, 2]]


@pytest.mark.parametrize("engine", ["jax"], indirect=True)
def test_jax_processes_compile_the_same_shapes(two):
    """Batches of unequal numbers of values, also where only a transform knows."""
    for name in ("sparse", "sparse_network", "transformed"):
        shapes = [found[f"{name}_shapes"] for found in two]
        assert (shapes[0] == shapes[1]).all()
        assert (shapes[0][:, 0] == GLOBAL_BATCH).all()
    for name in ("sparse_network", "transformed"):
        assert len(two[0][f"{name}_shapes"]) > 1
        assert (two[0][f"{name}_weights"] == two[1][f"{name}_weights"]).all()


@pytest.mark.parametrize("engine", ["jax"], indirect=True)
def test_a_dataset_trains_every_row_once_on_jax_too(two):
    for found in two:
        assert (found["dataset"] == -2).all()


@pytest.mark.parametrize("engine", ["jax"], indirect=True)
def test_what_does_not_fit_a_job_on_jax_is_refused(one, two):
    assert "set no distribution" in str(one["sparse_alone"])
    for rank, found in enumerate(two):
        assert found["before"].tolist() == [rank, 2]
        for name in ("shard_of_sparse", "shard_of_epoch"):
            assert f"which is ({rank}, 2) here" in str(found[name])
        assert "every row is used 2 times" in str(found["unsharded"])
        for name in ("drawn", "drawn_dataset"):  # each would have rows of its own
            assert "seed=None with processes that share a replica" in str(found[name])
        assert "(0, 2). Pass shard=(0, 1) here" in str(
            found["parts_of_replica"]
        ).replace("(1, 2)", "(0, 2)")
        assert "Pass the sequence itself to fit" in str(found["sparse_dataset"])
        text = str(found["auto_shard_dataset"])
        assert "DataParallel(auto_shard_dataset=False)" in text
        assert "auto_shard_dataset = False" in str(found["auto_shard_fit"])  # Keras


@pytest.mark.parametrize("engine", ["tf_keras"], indirect=True)
def test_a_sequence_that_every_worker_would_read_is_refused(two):
    for found in two:
        assert "distribute_datasets_from_function" in str(found["sequence"])


@since(3, 7)
def test_padding_can_be_left_out_of_the_mean_loss():
    keras = pytest.importorskip("keras")
    x, y = np.arange(10, dtype="float32").reshape(5, 2), np.arange(5.0)
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")]
    )
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    model.compile(loss=loss)
    whole, padded = (
        model.evaluate(
            SparseBatchSequence(x, y, batch_size=8, remainder=remainder), verbose=0
        )
        for remainder in ("keep", "pad")
    )
    assert whole == pytest.approx(padded, rel=1e-6) and whole > 1


def test_sparse_batches_are_refused_for_several_replicas():
    """What they make of dense ones takes a process with as many devices; see below."""
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")

    class Two(tf.distribute.OneDeviceStrategy):
        num_replicas_in_sync = 2

    x = np.eye(8, 3, dtype="float32")
    sequence = SparseBatchSequence(sp.csr_array(x), np.ones(8), output="sparse")
    said = "received output='sparse' for 2 replicas"
    with Two("CPU:0").scope():
        assert current_shard.current_shard() == (0, 1)
        with pytest.raises(ValueError, match=said):
            sequence.to_tf_dataset()
        inputs = keras.Input((3,), sparse=True)
        model = keras.Sequential([inputs, keras.layers.Dense(1)])
    model.compile(loss="mse", jit_compile=False)
    with pytest.raises(ValueError, match=said):
        model.fit(sequence, verbose=0)


@pytest.mark.long
def test_keras_3_on_several_devices_of_one_process(tmp_path):
    environment = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    script = TESTS / "job_mirrored.py"
    with job(script, [str(tmp_path)], [environment], tmp_path) as running:
        running.finish()
    found = np.load(tmp_path / "rank0.npz")
    assert found["detected"].tolist() == [0, 1]
    for name in ("sequence", "dataset"):
        assert (found[name] == -2).all()
    np.testing.assert_allclose(
        found["network"], found["network_alone"], rtol=0, atol=2e-6
    )
    for name in ("sparse", "sparse_dataset"):
        assert "received output='sparse' for 2 replicas" in str(found[name])
    plan = BatchPlan(ROWS, ShuffleSampler(5), GLOBAL_BATCH, "drop")
    expected = [plan.batch(0, number).rows.tolist() for number in range(STEPS - 1)]
    assert found["distributed"].tolist() == expected  # each row once, not sharded again


@pytest.mark.parametrize("engine", [ONE_OF_TF_KERAS], indirect=True)
def test_iterators_are_let_go_while_they_are_read_ahead(one):
    """TensorFlow would crash, were our options to leave it nothing to rewrite."""
    assert one["iterators_let_go"] == 30


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("engine_name", ENVIRONMENTS)
def test_a_killed_process_ends_the_others_with_an_error(engine_name, victim, tmp_path):
    """JAX and TensorFlow notice within the 10 s of their heartbeats."""
    needs(engine_name)
    script = TESTS / f"job_{engine_name}.py"
    environments = ENVIRONMENTS[engine_name](2)
    with job(script, [str(tmp_path)], environments, tmp_path) as running:
        for rank in range(2):
            running.wait_until_said(rank, "under way")
        os.kill(running.processes[victim].pid, signal.SIGKILL)
        other = running.processes[1 - victim]
        assert other.wait(HUNG_SECONDS) != 0
        said = running.said(1 - victim)
        assert re.search("heartbeat|Collective ops is aborted|UNAVAILABLE", said), said
        time.sleep(0.2)
        assert [alive_in_session(p.pid) for p in running.processes] == [[], []]


@pytest.mark.long
def test_a_job_that_fails_goes_on_as_two_processes_and_as_one(tmp_path):
    """To the same weights, metrics and random numbers, bit by bit."""
    pytest.importorskip("jax")
    script = TESTS / "job_resumed.py"
    two_devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    for environments in jax_environments(2), jax_environments(1):
        count = len(environments)
        environment = [
            {**each, **(two_devices if count == 1 else {})} for each in environments
        ]
        with job(script, [str(tmp_path)], environment, tmp_path) as running:
            running.finish()
    first, second = (np.load(tmp_path / f"rank{rank} of 2.npz") for rank in (0, 1))
    alone = np.load(tmp_path / "rank0 of 1.npz")
    for found, resumed, whole in (
        (first, "resumed ", "sparse "),
        (second, "resumed ", "sparse "),
        (alone, "", "dense "),
    ):
        names = [name for name in found if name.startswith(resumed)]
        assert len(names) > 15 and f"{resumed}val_loss" in names
        for name in names:
            expected = (found if found is not alone else first)[
                name.replace(resumed, whole, 1)
            ]
            assert np.isfinite(expected).all()
            if name.endswith("drawn"):  # from where it was saved
                assert len(found[name]) < len(expected)
                expected = expected[-len(found[name]) :]
            assert found[name].tobytes() == expected.tobytes(), name
    assert first["sparse drawn"][0, 0] != second["sparse drawn"][0, 0]
    assert "received [4, 5]" in str(first["every"])
    assert first["every"] == second["every"]
    assert "one directory for all processes of a job" in str(second["elsewhere"])
    assert "process 1 of the job does not train" in str(first["elsewhere"])
    assert not (tmp_path / "sparse").exists()
    # A save that raises in the one which writes ends both.
    assert "File too large" in str(first["full"])
    assert "process 0 of the job does not train, nor does this" in str(second["full"])
    # So does a callback of that one whose state cannot be saved, from when on it is so.
    for after, saved in (0, 0), (5, 1):
        name = f"held {after}"
        assert str(first[name]).startswith("the state of the callback Holds must be")
        assert f"does this one, 1: {first[name]}" in str(second[name])
        assert first[f"{name} saved"] == saved


README = Path(__file__).parent.parent / "README.md"
DOCUMENTED = README.read_text() + str(current_shard.__doc__)


@pytest.mark.long
@pytest.mark.parametrize("engine_name", ENVIRONMENTS)
def test_the_documented_jobs_run_as_two_processes(engine_name, tmp_path):
    needs(engine_name)
    name = f"train_{engine_name}.py"
    found = re.findall(r"```(py|sh)\n(.*?)```", DOCUMENTED, flags=re.DOTALL)
    code, launch = [text for _, text in found if name in text]
    (tmp_path / name).write_text(code)
    for port, free in zip(("8476", "8477"), free_ports(2)):
        launch = launch.replace(port, str(free))
    script = tmp_path / "launch.sh"
    script.write_text(launch)
    # Both write to one log: each all it says at its end, not word by word.
    environment = {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONUNBUFFERED": ""}
    with job(script, [], [environment], tmp_path) as running:
        (said,) = running.finish()
    losses = [float(text) for text in re.findall(r"final loss (\S+)", said)]
    assert len(losses) == 2 and losses[0] == losses[1] < 0.6, said

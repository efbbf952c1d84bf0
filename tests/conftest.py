"""How long a run of the tests is, and what it needs.

    python -m pytest                       40 examples of each property
    python -m pytest --combinations=all    60, and what else there is to be combined
    python -m pytest --long                that, and 10,000 examples

By default tests marked `long` are left out: others try something like them, and they
take a process or more. So is a part of `keras_contract`: of each test's parameters each
value is tried, but not every combination; what is marked `once`, on one Keras.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, settings
from watching import HUNG_SECONDS

settings.register_profile(
    "some",
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("all", settings.get_profile("some"), max_examples=60)
settings.register_profile("long", settings.get_profile("some"), max_examples=10_000)
settings.load_profile("some")

LONGEST = (
    *("test_every_keras", "test_jobs", "test_workers_scripts", "test_checkpoint"),
    *("test_demo", "test_workers", "test_bench", "test_datasets", "test_killed"),
    *("test_importers_refuse", "test_readme", "test_passes", "test_checkpoint_state"),
)
"""Files that begin first, in this order, so that two cores end together."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="10,000 examples and --combinations=all"
    )
    parser.addoption(
        "--combinations",
        choices=("all", "some"),
        default="some",
        help="of parameters: all; or (the default) those not marked `long`, and of the "
        "contract's some, which hold each value of each parameter",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what goes on in the background with Ctrl-C ignored: tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for mark in (
        "torch: is skipped where torch is not installed",
        "long: is left out unless --combinations=all",
        "contract: is about what holds on every Keras",
        "once: is about it on one Keras, unless --combinations=all",
    ):
        config.addinivalue_line("markers", mark)
    if config.option.long:
        config.option.combinations = "all"
    settings.load_profile("long" if config.option.long else config.option.combinations)


def pytest_itemcollected(item: pytest.Item) -> None:
    if "keras_contract" in item.path.parts or item.path.stem == "test_every_keras":
        item.add_marker(pytest.mark.contract)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    kept = set(items)
    if config.option.combinations != "all":
        kept = {item for item in items if not item.get_closest_marker("long")}
        groups: dict[str, list[pytest.Item]] = {}
        for item in items:
            contract = item.get_closest_marker("contract")
            if item in kept and contract and hasattr(item, "callspec"):
                groups.setdefault(item.nodeid.split("[")[0], []).append(item)
        for group in groups.values():
            kept = kept.difference(group).union(covering(group))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.stem, len(LONGEST)))


def covering(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Some of the items, which together hold each value of each parameter."""
    values = {item: set(values_of(item.callspec.params)) for item in items}
    wanted = set().union(*values.values())
    while wanted:
        best = max(items, key=lambda item: len(wanted & values[item]))
        wanted -= values[best]
        yield best


def values_of(parameters: Mapping[str, object]) -> Iterator[str]:
    """Each name with its value; a mapping of settings counts as parameters itself."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from values_of(value)
        else:
            yield f"{name}={value!r}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("torch") and not importlib.util.find_spec("torch"):
        pytest.skip("torch is not installed")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for all tests; some tests are done before a second has begun."""
    every = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not every or (os.cpu_count() or 1) < 2:
        return 0
    if config.option.combinations == "some" and not config.option.long:
        # Beside one another, several threads in each wait for a processor, and spin.
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
        for library in ("TF_NUM_INTRAOP", "OMP_NUM", "OPENBLAS_NUM"):
            os.environ.setdefault(f"{library}_THREADS", "1")
    return 2


@pytest.fixture(autouse=True, scope="module")
def garbage_is_of_this_file() -> None:
    """Tests collect it often: not among all that was imported and made before."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def nothing_is_stuck() -> Iterator[None]:
    """A machine may be so busy that workers take longer than the package expects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sequence_loader.workers.prefetch.STUCK_SECONDS", HUNG_SECONDS)
        yield

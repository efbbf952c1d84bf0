"""What importing the package costs, what it offers, and which way data flows."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from watching import HUNG_SECONDS

import sequence_loader

PACKAGE = Path(sequence_loader.__file__).parent
HEAVY = {"tensorflow", "keras", "tf_keras", "jax", "torch", "sklearn", "pandas"}
HEAVY |= {"anndata", "h5py", "matplotlib", "rich", "ml_dtypes"}

NEED_KERAS = {
    "feed.sequence", "feed.epoch_sequence", "feed.stateful_sequence",
    "feed.dataset_layout", "feed.dataset", "feed.dataset_functions", "feed.overridden",
}  # fmt: skip
NEED_KERAS |= {"feed.checkpoint", "feed.checkpoint_state", "layers"}
NEED_KERAS |= {"feed.checkpoint_variables", "feed.checkpoint_fit"}
NEED_KERAS |= {"feed.checkpoint_walk"}
NEED_KERAS |= {"feed.checkpoint_refusals", "feed.checkpoint_sequences"}

FLOORS = """
    arguments arrays checks forks progress _version
    memory order
    rows
    store batches
    workers backends importers
    feed text layers
    demo bench
    cli
"""
FLOOR = {
    room: number
    for number, line in enumerate(FLOORS.strip().splitlines())
    for room in line.split()
}
"""A room imports rooms of lower floors; those of one floor do not know each other."""

GROUND = {room for room, floor in FLOOR.items() if floor == 0}
NOT_FOR_FEED = {"store", "importers"}

PATHS = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
}
MODULES = {
    name.removesuffix(".__init__"): ast.parse(path.read_text())
    for name, path in PATHS.items()
    if name not in ("__init__", "__main__")
}
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
CORE = {name for name in MODULES if FLOOR[name.partition(".")[0]] < FLOOR["demo"]}


def imported(node: ast.AST) -> set[str]:
    """The full names of the modules that statements under `node` import."""
    found = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        elif isinstance(child, ast.ImportFrom):
            found.add("." * child.level + (child.module or ""))
            if child.module == "sequence_loader":
                found |= {f"sequence_loader.{alias.name}" for alias in child.names}
    return found


def at_import(module: ast.Module) -> set[str]:
    """What is imported when the module is: not in functions, nor for type checkers."""
    found = set()
    statements = list(module.body)
    while statements:
        statement = statements.pop()
        if isinstance(statement, ast.Import | ast.ImportFrom):
            found |= imported(statement)
        elif isinstance(statement, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(statement.test):
                statements += statement.body
            statements += statement.orelse
        elif isinstance(statement, ast.Try):
            statements += [*statement.body, *statement.orelse, *statement.finalbody]
            statements += [s for handler in statement.handlers for s in handler.body]
    return found


def siblings(names: set[str]) -> set[str]:
    prefix = "sequence_loader."
    found = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    return {
        name if name in MODULES else name.rpartition(".")[0]
        for name in found
        if name in MODULES or name.rpartition(".")[0] in MODULES
    }


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_is_light():
    loaded = json.loads(
        run(
            "import json, sys, sequence_loader\n"
            "dir(sequence_loader), sequence_loader.__version__\n"
            "sequence_loader.ShuffleSampler(1).rows(10**9, 0, 0, 9)\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
    )
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_stores_need_no_backend(tmp_path):
    """What the command line and the tasks of a job that writes parts do."""
    loaded = json.loads(
        run(
            "import json, sys, pickle, numpy as np\n"
            "from sequence_loader import StoreWriter, open_store\n"
            f"path = {str(tmp_path / 'a.store')!r}\n"
            "with StoreWriter(path, 3) as writer:\n"
            "    writer.append(np.eye(3), y=[0, 1, 2])\n"
            "store = pickle.loads(pickle.dumps(open_store(path)))\n"
            "store.verify(progress=False)\n"
            "assert store[1:].shape == (2, 3)\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
    )
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_reading_batches_needs_no_backend():
    """What a worker does."""
    loaded = json.loads(
        run(
            "import json, sys, pickle, numpy as np, scipy.sparse as sp\n"
            "from sequence_loader.batches.reader import BatchReader\n"
            "from sequence_loader.order.plan import BatchPlan\n"
            "from sequence_loader.order.samplers import BlockShuffleSampler\n"
            "reader = BatchReader(sp.csr_array(np.eye(9)), np.arange(9))\n"
            "plan = BatchPlan(9, BlockShuffleSampler(1), 4)\n"
            "pickle.loads(pickle.dumps(reader)).read(plan.batch(0, 1))\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
    )
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_the_sequence_is_there_when_it_is_asked_for():
    run(
        "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from sequence_loader import *\n"
        "assert SparseBatchSequence.__module__ == 'sequence_loader.feed.sequence'\n"
    )


def test_the_public_surface_is_all():
    public = sequence_loader.__all__
    assert len(public) == len(set(public))
    assert set(dir(sequence_loader)) == set(public)
    for name in public:
        value = getattr(sequence_loader, name)
        if name != "__version__":
            assert value.__doc__, name
    expected = {"SparseBatchSequence", "Sampler", "SequentialSampler"}
    expected |= {"ShuffleSampler", "BlockShuffleSampler", "WorkerError", "__version__"}
    expected |= {"WeightedSampler", "BalancedSampler", "current_shard"}
    expected |= {"open_store", "FeedStats", "SparseStore", "StoreError", "StoreWriter"}
    assert expected <= set(public)
    # Everything else that can be seen is a module of the package or private.
    visible = {name for name in vars(sequence_loader) if not name.startswith("_")}
    assert visible <= set(public) | set(FLOOR) | {"annotations"} | {
        "Any",
        "TYPE_CHECKING",
        "import_module",
    }


def test_what_is_not_there_is_missed_as_usual():
    with pytest.raises(AttributeError, match="has no attribute 'SparseSequence'"):
        sequence_loader.SparseSequence
    with pytest.raises(ImportError):
        from sequence_loader import SparseSequence  # noqa: F401


def test_public_objects_and_their_methods_have_docstrings():
    for name in sequence_loader.__all__:
        value = getattr(sequence_loader, name)
        if isinstance(value, type) and not getattr(value, "_is_protocol", False):
            for attribute, member in vars(value).items():
                if callable(member) and not attribute.startswith("_"):
                    assert member.__doc__, f"{name}.{attribute}"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_rooms_below_it(room):
    for name, tree in MODULES.items():
        if name.partition(".")[0] == room:
            others = {found.partition(".")[0] for found in siblings(imported(tree))}
            for other in others - {room}:
                assert FLOOR[other] < FLOOR[room], f"{name} imports {other}"
            assert room != "feed" or not others & NOT_FOR_FEED, name


def test_every_module_is_in_a_room_and_every_room_says_what_it_is_for():
    flat = {name for name in MODULES if "." not in name}
    assert flat - ROOMS <= GROUND | {"layers"}
    assert ROOMS <= FLOOR.keys()
    for room in ROOMS:
        tree = MODULES[room]
        assert ast.get_docstring(tree) and len(tree.body) == 1, room


def test_the_ground_imports_nothing_of_the_package():
    for name in GROUND & MODULES.keys():
        assert not siblings(imported(MODULES[name])) - GROUND, name


def test_no_import_goes_round_in_a_circle():
    graph = {name: siblings(at_import(tree)) for name, tree in MODULES.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_imports_are_absolute_and_not_of_everything():
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}.py, line {node.lineno}"
                assert node.names[0].name != "*", f"{name}.py, line {node.lineno}"


@pytest.mark.parametrize("name", sorted(CORE - NEED_KERAS))
def test_few_modules_import_a_backend_when_they_are_imported(name):
    found = {full.partition(".")[0] for full in at_import(MODULES[name])}
    assert not found & HEAVY


def test_order_and_batches_use_no_global_random_state():
    for name, tree in MODULES.items():
        if name in CORE - {"feed.checkpoint_state"}:  # which saves it
            names = {full.partition(".")[0] for full in imported(tree)}
            assert "random" not in names
            source = ast.unparse(tree)
            assert "np.random.seed" not in source
            assert "np.random.rand" not in source and "RandomState" not in source


def test_there_are_no_assertions_that_check_input():
    for name, tree in MODULES.items():
        if name in CORE:
            assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()


BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda p: p.stem)
def test_benchmarks_import_what_there_is(path: Path) -> None:
    """They take too long to be run here, and break where a name is moved."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        place = Path(*node.module.split(".")).with_suffix(".py")
        home = BENCHMARKS / place
        if node.module.startswith("sequence_loader."):
            home = PACKAGE.parent / place
            if home.with_suffix("").is_dir():
                continue  # a module of a room
            assert home.exists(), node.module
        if home.exists():
            text = home.read_text()
            names = {each.id for each in ast.walk(ast.parse(text))
                     if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
            names |= {each.name for each in ast.parse(text).body
                      if isinstance(each, (ast.FunctionDef, ast.ClassDef))}
            assert {alias.name for alias in node.names} <= names

"""Every public name is documented, and the examples of its docstring run."""

from __future__ import annotations

import doctest
import inspect

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from keras_contract.real_keras import CHECKPOINTS

import sequence_loader
from sequence_loader import StoreWriter, layers
from sequence_loader.layers import keras

NAMES = [
    *((sequence_loader, name) for name in sequence_loader.__all__ if name[0] != "_"),
    *((layers, name) for name in layers.__all__),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the examples take to be there."""
    folder = tmp_path_factory.mktemp("examples")
    lines = [f'"{2 - i % 2}","A title","and a text, {i}"' for i in range(100)]
    lines[0] = '"2","A title","and a text"'
    folder.joinpath("train.csv").write_text("\n".join(lines))
    folder.joinpath("test.csv").write_text("\n".join(lines[:9]))
    x, y = matrix(), np.arange(100) % 2
    for name in ("train", "parts/0", "parts/1"):
        folder.joinpath("parts").mkdir(exist_ok=True)
        with StoreWriter(folder / f"{name}.store", num_features=x.shape[1]) as writer:
            writer.append(x, y=y)
    for name in "ab":
        sp.save_npz(folder / f"{name}.npz", x[:50])
    cells = anndata.AnnData(x)
    cells.obs["cell_type"] = list("ab" * 50)
    cells.write_h5ad(folder / "cells.h5ad")
    (folder / "table.csv").write_text("kind,n,m\na,1,2\nb,3,4\n")
    return folder


def matrix() -> sp.csr_array:
    return sp.csr_array(sp.random(100, 50, density=0.2, format="csr", dtype="float32"))


@pytest.mark.parametrize(
    ("home", "name"),
    [
        pytest.param(*each, marks=[CHECKPOINTS] * (each[1] == "SequenceCheckpoint"))
        for each in NAMES
    ],
    ids=[name for _, name in NAMES],
)
def test_the_examples_of_a_public_name_run(home, name, folder, tmp_path, monkeypatch):
    for each in folder.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    x, labels = matrix(), np.arange(100) % 2
    known = {each: getattr(sequence_loader, each) for each in sequence_loader.__all__}
    known |= {each: getattr(layers, each) for each in layers.__all__}
    known |= dict(np=np, sp=sp, keras=keras, x=x, y=labels, labels=labels)
    known |= dict(blocks=[(x[:50], labels[:50]), (x[50:], labels[50:])])
    public = getattr(home, name)
    docstring = inspect.getdoc(public)
    examples = doctest.DocTestParser().get_doctest(docstring, known, name, None, None)
    assert examples.examples, "there is no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    assert runner.run(examples, out=said.append).failed == 0, "".join(said)


def members():
    for home, name in NAMES:
        public = getattr(home, name)
        yield name, public
        if inspect.isclass(public):
            for own, member in vars(public).items():
                if own[0] != "_" and (callable(member) or isinstance(member, property)):
                    yield f"{name}.{own}", member


def test_every_public_member_has_a_docstring():
    assert [name for name, member in members() if not inspect.getdoc(member)] == []

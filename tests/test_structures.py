"""One value, or a dict or tuple of values."""

from __future__ import annotations

import pytest

from sequence_loader.batches.structures import (
    described,
    leaves,
    map_structure,
    names,
    same_shape,
)

STRUCTURES = [1, {"a": 1, "b": 2}, (1, 2), (1,), {"only": 1}, {}, (), [1, 2], None]


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_mapping_keeps_the_shape(structure):
    assert map_structure(lambda leaf: leaf, structure) == structure
    assert same_shape(structure, map_structure(lambda leaf: "x", structure))
    doubled = map_structure(lambda a, b: [a, b], structure, structure)
    assert leaves(doubled) == [[leaf, leaf] for leaf in leaves(structure)]


def test_a_list_is_one_value():
    assert leaves([1, 2]) == [[1, 2]]


def test_leaves_of_dicts_meet_by_name_and_not_by_place():
    found = map_structure(lambda a, b: a + b, {"p": 1, "q": 2}, {"q": 20, "p": 10})
    assert found == {"p": 11, "q": 22}
    assert list(found) == ["p", "q"]


def test_shapes_differ():
    for index, first in enumerate([1, (1,), (1, 2), {"a": 1}, {"b": 1}, {}, ()]):
        for other, second in enumerate([1, (1,), (1, 2), {"a": 1}, {"b": 1}, {}, ()]):
            assert same_shape(first, second) == (index == other)


def test_names_are_what_a_user_writes():
    assert names("x", 1) == "x"
    assert names("x", {"a": 1}) == {"a": "x['a']"}
    assert names("y", (1, 2)) == ("y[0]", "y[1]")


def test_descriptions():
    assert described({"a": 1}) == "a dict with keys ['a']"
    assert described((1, 2)) == "a tuple of 2"
    assert "int" in described(1)

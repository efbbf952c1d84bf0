"""One value, or a dict or tuple of values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sequence_loader.batches.structures import (
    described,
    from_list,
    from_list_of_targets,
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


ONE, TWO = np.arange(3), np.eye(3)[:, :2]


@pytest.mark.parametrize(
    "value",
    [
        [ONE, TWO],
        [ONE, ONE],
        [ONE, sp.csr_array(TWO)],
        [pd.Series(ONE), pd.DataFrame(TWO)],
        [ONE, [1, 2, 3]],
        [TWO, [1, 2, 3]],
    ],
    ids=str,
)
def test_a_list_of_arrays_is_one_for_each_of_several(value):
    for found in (from_list(value, None), from_list_of_targets("y", value, 3)):
        assert isinstance(found, tuple)
        assert all(one is other for one, other in zip(found, value, strict=True))


@pytest.mark.parametrize(
    "value",
    [
        *([], [1, 2], ["a", "b"], [[1], [2]], [np.int64(1)], [None], ONE, (1,)),
        [np.ndarray, sp.csr_array],  # kinds, which have a `shape` and no rows
    ],
)
def test_a_list_of_anything_else_is_one_value(value):
    assert from_list(value, None) is value
    assert from_list_of_targets("y", value, 2) is value


def test_lists_of_x_beside_transforms():
    items = [ONE, ONE]
    assert from_list(items, len) is items
    assert from_list(["a", "b"], (len, len)) == ("a", "b")
    assert from_list(["a", "b"], [len]) == ["a", "b"]
    assert isinstance(from_list([TWO, ["a", "b", "c"]], len), tuple)


def test_lists_of_y_are_told_by_the_number_of_rows():
    rows = [np.array([1, 2]), np.array([3, 4]), np.array([5, 6])]
    assert from_list_of_targets("y", rows, 3) is rows
    assert from_list_of_targets("y", rows, 2) == tuple(rows)
    square = [[1, 0], [0, 1]]
    assert from_list_of_targets("y", square, 2) is square  # one-hot rows
    two = [[1, 2, 3], [4, 5, 6]]
    assert from_list_of_targets("y", two, 3) == tuple(two)
    for alone in (ONE, [1, 2, 3]):
        assert from_list_of_targets("y", [alone], 3) is alone
    with pytest.raises(ValueError) as caught:
        from_list_of_targets("y", [ONE, ONE, ONE], 3)
    assert str(caught.value) == (
        "`y` must not be a list that can be read in two ways; received 3 arrays of 3 "
        "entries for 3 rows. Pass a tuple of arrays, one for each of several, or "
        "np.asarray(y), of an entry for each row."
    )

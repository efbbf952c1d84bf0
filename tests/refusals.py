"""What the tests of bad input share: small sound inputs, and what an error says."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy
import scipy.sparse as sp
from encoded import dense

from sequence_loader import SparseBatchSequence

X, Y = dense(7, 5), np.arange(7)
SCIPY = tuple(map(int, scipy.__version__.split(".")[:2]))


def sequence(x=X, *args, **options):
    return SparseBatchSequence(x, *args, **{"batch_size": 3, **options})


def damaged(fmt="csr", **arrays):
    """A sound matrix with an array replaced behind scipy's back."""
    matrix = sp.csr_array(X).asformat(fmt)
    for name, change in arrays.items():
        setattr(matrix, name, change(getattr(matrix, name).copy()))
    return matrix


def put(place, value):
    def change(array):
        array[place] = value
        return array

    return change


def refused(kind, *parts, call):
    """Asserts what an error says, and that it is one well-made line."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"
    assert text.endswith(".") and "  " not in text and "\n" not in text
    assert re.search("received|returned|holds|has|gave", text), text
    assert len(text) < 500
    # The mend: a sentence of its own that says what to do.
    mends = "Pass|Use|Build|Correct|Check|Convert|Encode|Number|Reshape|Wrap|Leave"
    mends += "|Lower|Return|Transform|Change|Pad"
    assert re.search(rf"\. ({mends}) ", text), text
    return text

"""What is not public in scipy, TensorFlow and Keras, and still used: is it there?

Each message says what users lose meanwhile, and where to mend it. Nothing here says
that results are wrong: other tests do.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from sequence_loader.backends import tensorflow as tensors
from sequence_loader.backends.keras_calls import replicas_of_caller
from sequence_loader.memory.buffers import BufferPool
from sequence_loader.rows import gather as gathering
from sequence_loader.rows.csr import CsrRows

ROWS = CsrRows(np.array([0, 1, 1, 3]), np.array([2, 0, 1], np.int32), np.ones(3), 4)


def test_scipy_has_the_loop_that_copies_rows():
    assert gathering._copy_rows is not None, (
        "scipy has no scipy.sparse._sparsetools.csr_row_index: rows are copied by "
        "NumPy, in three times the time. See what `_major_index_fancy` of scipy's "
        "_compressed.py calls, and import that in rows/gather.py; `_copy` there "
        "says what it is given."
    )
    indices, data = np.zeros(3, np.int32), np.zeros(3)
    found = gathering._locate(ROWS, np.array([2, 0]), "x")
    assert gathering._copy(ROWS, found, indices, data), "it takes no such arrays"
    assert indices.tolist() == [0, 1, 2] and data.tolist() == [1, 1, 1], (
        "scipy's csr_row_index copies something else: see what its arguments are now, "
        "and give `_copy` in rows/gather.py another call, or None instead of it."
    )


@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix])
def test_scipy_keeps_all_of_a_matrix_in_its_dict(container):
    made = ROWS.to_scipy(container)
    usual = container((ROWS.data, ROWS.indices, ROWS.indptr), shape=(3, 4))
    usual.has_canonical_format = True
    usual.has_sorted_indices = True
    mend = (
        "scipy keeps more of a matrix, or keeps it elsewhere: compare `vars` of both, "
        "and mend CsrRows.to_scipy in rows/csr.py. Its constructor, as for many rows, "
        "is always right and slower."
    )
    assert vars(made).keys() == vars(usual).keys(), mend
    assert not any(vars(kind).get("__slots__") for kind in container.__mro__), mend
    assert made.shape == (3, 4) and (made != usual).nnz == 0, mend


def test_tensorflow_calls_the_parts_of_a_sparse_tensor_so():
    made = tensors.sparse_tensor(ROWS, BufferPool(spare=1))
    usual = tf.SparseTensor([[0, 2], [2, 0], [2, 1]], np.ones(3), (3, 4))
    mend = (
        "tf.SparseTensor keeps its parts under other names: each is made by its "
        "constructor, which takes as long as 40 rows. Mend _PARTS and sparse_tensor "
        "in backends/tensorflow.py."
    )
    assert tensors._PARTS <= vars(usual).keys(), mend
    assert vars(made).keys() == vars(usual).keys(), mend
    dense = [tf.sparse.to_dense(each).numpy() for each in (made, usual)]
    assert (dense[0] == dense[1]).all(), mend


def test_keras_has_the_strategy_in_a_frame_where_it_reads_the_first_batch():
    class Two(tf.distribute.OneDeviceStrategy):
        num_replicas_in_sync = 2

    class First(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int):
            raise InterruptedError(replicas_of_caller())

    with Two("CPU:0").scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", jit_compile=False)
    with pytest.raises(InterruptedError) as stopped:
        model.fit(First(), verbose=0)
    assert stopped.value.args == (2,), (
        "Keras has the strategy under another name: what a strategy of several "
        "replicas would cut wrongly is no longer refused before fit begins. See which "
        "frame of TFEpochIterator.__init__ has it, and mend replicas_of_caller in "
        "backends/keras_calls.py."
    )

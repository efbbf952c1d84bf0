"""to_tf_dataset of subclasses that change what `seq[i]` serves."""

from __future__ import annotations

import types

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_contract.real_keras import as_array

from sequence_loader import SparseBatchSequence

ROWS, FEATURES = 14, 6


def data():
    x = sp.random(ROWS, FEATURES, density=0.4, format="csr", random_state=1)
    return x.astype("float32"), np.arange(ROWS, dtype="float32")


def made(kind, **options):
    options = {"batch_size": 4, "shuffle": True, "seed": 2} | options
    return kind(*data(), **options)


class Doubled(SparseBatchSequence):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x * 2, y


class Scales:
    """A mixin."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return (x, np.ones(len(y), "float32")), {"row": y, "place": self.epoch + y}


class Mixin(Scales, SparseBatchSequence):
    pass


class Below(Doubled):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return [x + 1, y.astype("int64")], [y, y[:, None]], np.full(len(y), 0.5)


class Reversed(SparseBatchSequence):
    def __getitem__(self, index):
        return super().__getitem__(len(self) - 1 - index)


class Words(SparseBatchSequence):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return {"words": np.array([f"row {row:.0f}" for row in y]), "x": x}


class Wide(SparseBatchSequence):
    """Batches of other widths."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x[:, : 2 + index % 3], y


class Scipy(SparseBatchSequence):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return sp.csc_matrix(x), y


def flat(batch):
    batch = batch if isinstance(batch, dict) else tuple(batch)
    found = []

    def note(leaf):
        if isinstance(leaf, (list, tuple)):
            for one in leaf:
                note(one)
        elif isinstance(leaf, dict):
            for name in sorted(leaf):
                note(leaf[name])
        elif sp.issparse(leaf):
            found.append(leaf.toarray())
        elif isinstance(leaf, tf.SparseTensor):
            found.append(tf.sparse.to_dense(leaf).numpy())
        elif isinstance(leaf, tf.Tensor):
            found.append(leaf.numpy())
        else:
            found.append(as_array(leaf))

    note(batch)
    return [one.astype(str) if one.dtype.kind in "OSU" else one for one in found]


def assert_serves(dataset, sequence):
    """An epoch of the dataset, against `seq[i]` of that epoch."""
    expected = [flat(sequence[index]) for index in range(len(sequence))]
    found = [flat(batch) for batch in dataset]
    assert len(found) == len(expected) == int(dataset.cardinality())
    for one, other in zip(found, expected):
        assert len(one) == len(other)
        for leaf, wanted in zip(one, other):
            assert leaf.dtype == wanted.dtype
            assert leaf.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    "kind", [Doubled, Mixin, Below, Reversed, Words, Wide, Scipy]
)
def test_a_dataset_serves_what_the_subclass_serves(kind):
    sequence = made(kind)
    dataset = sequence.to_tf_dataset()
    for epoch in range(3):
        assert sequence.epoch == epoch
        assert_serves(dataset, sequence)
    assert sequence.epoch == 3


@given(
    rows=st.integers(1, ROWS),
    remainder=st.sampled_from(["keep", "pad"]),
    workers=st.integers(0, 3),
    output=st.sampled_from(["dense", "sparse"]),
    left=st.integers(0, 5),
)
@settings(max_examples=settings.default.max_examples // 10)
def test_of_any_options(rows, remainder, workers, output, left):
    class Plain(SparseBatchSequence):
        def __getitem__(self, index):
            return super().__getitem__(index)

    options = {"rows": np.arange(rows), "remainder": remainder, "output": output}
    with made(Plain, workers=workers, **options) as sequence:
        dataset = sequence.to_tf_dataset()
        for _ in dataset.take(min(left, len(sequence) - 1)):
            pass  # left early: served again
        for epoch in range(2):
            assert sequence.epoch == epoch
            assert_serves(dataset, sequence)
        sequence.set_epoch(0)
        plain = made(SparseBatchSequence, **options).to_tf_dataset()
        for one, other in zip(plain, dataset):
            same = [a.tolist() == b.tolist() for a, b in zip(flat(one), flat(other))]
            assert all(same)


class Limited(SparseBatchSequence):
    limit = 2

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.limit = 2

    def __len__(self):
        return self.limit


class Longer(SparseBatchSequence):
    def __len__(self):
        return 2 * super().__len__()

    def __getitem__(self, index):
        return super().__getitem__(index % super().__len__())


@pytest.mark.parametrize("kind", [Limited, Longer])
def test_a_subclass_of_another_length(kind):
    sequence = made(kind)
    assert sequence.num_batches == len(sequence) == {Limited: 2, Longer: 8}[kind]
    assert len(list(sequence)) == len(sequence)
    dataset = sequence.to_tf_dataset()
    for _ in range(2):
        assert_serves(dataset, sequence)
    assert sequence.epoch == 2


def test_a_class_that_is_patched(monkeypatch):
    sequence = made(SparseBatchSequence)
    plain = made(SparseBatchSequence).to_tf_dataset()
    own = SparseBatchSequence.__getitem__

    def patched(self, index):
        x, y = own(self, index)
        return x - 3, y

    monkeypatch.setattr(SparseBatchSequence, "__getitem__", patched)
    assert_serves(sequence.to_tf_dataset(), sequence)
    monkeypatch.undo()
    sequence.set_epoch(0)
    assert_serves(plain, sequence)


def test_an_attribute_changes_neither():
    """Python looks `seq[i]` up in the class, as Keras's reads are."""
    sequence = made(SparseBatchSequence)
    sequence.__getitem__ = types.MethodType(lambda self, index: None, sequence)
    assert sequence[0][0].shape == (4, FEATURES)
    assert_serves(sequence.to_tf_dataset(), sequence)


class Counting(SparseBatchSequence):
    """Other batches in each epoch, by hooks that call `super` or do not."""

    passes = begun = 0

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + 100 * self.passes + 10_000 * self.begun, y

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.passes += 1
        super().on_epoch_end()


class Jumping(SparseBatchSequence):
    """Every second epoch."""

    def on_epoch_end(self):
        super().on_epoch_end()
        self.set_epoch(self.epoch // 2 * 2 + 2)


def test_hooks_of_a_subclass_are_called():
    """Keras calls those of a sequence, and knows of none of a dataset."""
    plain, counting = made(SparseBatchSequence), made(Counting)
    dataset = counting.to_tf_dataset()
    expected = []
    for epoch in range(3):
        plain.set_epoch(epoch)
        expected.append([x + 100 * epoch + 10_000 * (epoch + 1) for x, _ in plain])
        for (x, _), right in zip(dataset, expected[-1], strict=True):
            np.testing.assert_array_equal(x, right)
    again = made(Counting)
    repeated = iter(again.to_tf_dataset().repeat())
    for right in sum(expected, []):
        np.testing.assert_array_equal(next(repeated)[0], right)
    for _ in zip(range(2), dataset):  # left before its end
        pass
    assert (counting.begun, counting.passes) == (4, 3)
    jumping, served = made(Jumping), []
    dataset = jumping.to_tf_dataset()
    for epoch in (0, 2, 4):
        plain.set_epoch(epoch)
        served = [y.numpy().tolist() for _, y in dataset]
        assert served == [y.tolist() for _, y in plain]


class Planned(SparseBatchSequence):
    """Epochs of its own, or as many as `planned` has."""

    planned = ()

    def on_epoch_begin(self):
        if self.planned:
            self.set_epoch(self.planned[0])
            self.planned = self.planned[1:]
        super().on_epoch_begin()


def test_a_hook_that_sets_the_epoch_that_begins():
    plain, sequence = made(SparseBatchSequence), made(Planned)
    dataset = sequence.to_tf_dataset()
    sequence.planned = (7, 7, 3)
    for epoch in (7, 7, 3, 4):
        plain.set_epoch(epoch)
        served = [y.numpy().tolist() for _, y in dataset]
        assert served == [y.tolist() for _, y in plain]


def test_a_hook_that_sets_the_epoch_that_is_resumed():
    """It goes on where that was, as without a hook."""
    plain, sequence = made(SparseBatchSequence), made(Planned)
    plain.set_epoch(5)
    sequence.load_state_dict(plain.state_dict(batches=2))
    dataset = sequence.to_tf_dataset()
    sequence.planned = (5,)
    rest = [y.tolist() for _, y in plain][2:]
    assert [y.numpy().tolist() for _, y in dataset] == rest


def test_one_pass_keeps_its_order():
    sequence = made(Doubled)
    expected = [y.tolist() for _, y in sequence]
    found = []
    for number, (_, y) in enumerate(sequence.to_tf_dataset()):
        found.append(y.numpy().tolist())
        sequence.set_epoch(number + 5)
    assert found == expected
    found = []
    for number, (_, y) in enumerate(sequence):  # of epoch 8, to its end
        found.append(y.tolist())
        sequence.set_epoch(number + 20)
    sequence.set_epoch(8)
    assert found == [y.tolist() for _, y in sequence]


def test_what_is_no_batch_is_refused():
    def serving(make):
        class Serving(SparseBatchSequence):
            def __getitem__(self, index):
                return make(index, *super().__getitem__(index))

        return made(Serving)

    with pytest.raises(TypeError, match="seq.i. must serve .* 4 parts"):
        serving(lambda index, x, y: (x, y, y, y)).to_tf_dataset()
    with pytest.raises(TypeError, match="arrays, sparse tensors"):
        serving(lambda index, x, y: (x, {1, 2})).to_tf_dataset()
    with pytest.raises(ValueError, match="batch 1 .* must be like"):
        serving(lambda index, x, y: (x, y) if index else (x,)).to_tf_dataset()
    with pytest.raises(ValueError, match="batch 1 .* must be like"):
        serving(lambda i, x, y: (x, y.astype("f8" if i else "f4"))).to_tf_dataset()
    # TensorFlow would make 1.5 an integer without a word.
    late = serving(lambda i, x, y: (x, y if i == 2 else y.astype("int64")))
    batches = iter(late.to_tf_dataset())
    next(batches), next(batches)
    with pytest.raises(tf.errors.OpError, match="batch 2 .* must be like"):
        next(batches)
    with pytest.raises(ValueError, match="output='csr'"):
        made(Doubled, output="csr").to_tf_dataset()


def test_nones_are_left_away():
    class Nones(SparseBatchSequence):
        def __getitem__(self, index):
            return (*super().__getitem__(index), None)

    x, y = next(iter(made(Nones).to_tf_dataset()))
    assert x.shape == (4, FEATURES) and y.shape == (4,)

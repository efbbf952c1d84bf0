"""When the epoch moves on: replays of what Keras calls, and a model of the rule.

Words of a trace: ``B`` begin, ``E`` end, ``R`` reset (the `on_epoch_end` of a new
fit or evaluate), ``tN`` batch N read by a thread of the backend, ``pN`` batch N
read by the thread that drives training.
"""

from __future__ import annotations

import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sequence_loader.feed.epochs import EpochTracker


def replay(tracker: EpochTracker, trace: str) -> list[int]:
    """Feeds a trace to a tracker; returns the epoch of each read."""
    epochs = []
    for word in trace.replace("|", " ").replace("/", " ").split():
        if word == "B":
            tracker.begin()
        elif word == "E":
            tracker.end()
        elif word == "R":
            tracker.reset()
        else:
            epochs.append(tracker.epoch)
            tracker.read(int(word[1:]), by_driver=word[0] == "p")
    return epochs


def replay_legacy(tracker: EpochTracker, trace: str) -> list[int]:
    """The same for tf-keras: ``E`` and reads, no begin."""
    epochs = []
    for word in trace.replace("|", " ").split():
        if word == "E":
            tracker.end_legacy()
        else:
            epochs.append(tracker.epoch)
            tracker.read_legacy(int(word[1:]))
    return epochs


TENSORFLOW = "p0 p1 R | B t0 t1 t2 t3 E | B t0 t1 t2 t3 E"


def test_tensorflow_two_epochs():
    tracker = EpochTracker(4)
    assert replay(tracker, TENSORFLOW) == [0, 0] + [0] * 4 + [1] * 4
    assert tracker.epoch == 1 and tracker.served == 4


def test_tensorflow_a_second_fit_goes_on_with_the_next_epoch():
    tracker = EpochTracker(4)
    replay(tracker, TENSORFLOW)
    # The peeks of the second fit still see the epoch that has ended.
    assert replay(tracker, TENSORFLOW) == [1, 1] + [2] * 4 + [3] * 4


def test_tensorflow_shuffled_batches():
    tracker = EpochTracker(4)
    trace = "p0 p1 R | B t2 t0 t3 t1 E | B t1 t0 t2 t3 E"
    assert replay(tracker, trace) == [0, 0] + [0] * 4 + [1] * 4


def test_tensorflow_the_validation_sequence_is_read_once_per_epoch():
    tracker = EpochTracker(2)
    trace = "p0 p1 R | B t0 t1 E | R B t0 t1 E"
    assert replay(tracker, trace) == [0, 0, 0, 0, 1, 1]


def test_tensorflow_evaluate_and_predict():
    tracker = EpochTracker(3)
    assert replay(tracker, "p0 p1 R B t0 t1 t2 E") == [0] * 5
    assert replay(tracker, "p0 p1 B t0 t1 t2 E") == [0, 0, 1, 1, 1]
    tracker = EpochTracker(2)
    assert replay(tracker, "p0 p1 B t0 t1 E") == [0] * 4


def test_jax_and_torch_peek_once():
    tracker = EpochTracker(4)
    trace = "B p0 R | B p0 p1 p2 p3 E | B p0 p1 p2 p3 E"
    assert replay(tracker, trace) == [0] + [0] * 4 + [1] * 4
    assert replay(tracker, "R B p0 p1 p2 p3 E") == [2] * 4


def test_steps_per_epoch_go_on_in_the_same_pass():
    tracker = EpochTracker(5)
    trace = "p0 p1 R | B t0 t1 t2 E / B t3 t4 E | B t0 t1 E / B t2 t3 t4 E | B t0"
    assert replay(tracker, trace) == [0, 0] + [0] * 5 + [1] * 5 + [2]


def test_steps_per_epoch_read_ahead_between_the_epochs_of_keras():
    tracker = EpochTracker(5)
    trace = "p0 p1 R | B t0 t1 E t2 t3 / B t4 E | B t0"
    assert replay(tracker, trace) == [0, 0] + [0] * 5 + [1]


def test_an_epoch_left_early_is_served_again():
    tracker = EpochTracker(4)
    # stop_training: no E; then another fit
    trace = "p0 p1 R | B t0 t1 | p0 p1 R | B t0 t1 t2 t3 E | B t0"
    assert replay(tracker, trace) == [0] * 2 + [0] * 2 + [0] * 2 + [0] * 4 + [1]
    # JAX: a built model is not peeked at
    tracker = EpochTracker(4)
    assert replay(tracker, "B p0 p1 | B p0 p1 p2 p3 E | B p0") == [0] * 6 + [1]


def test_the_rest_of_an_epoch_left_early_does_not_complete_another():
    tracker = EpochTracker(4)
    trace = "p0 p1 R B t0 t1 t2 | p0 p1 R B t3 | p0 p1 R B t0 t1 t2 t3 E B t0"
    assert replay(tracker, trace)[-5:] == [0, 0, 0, 0, 1]


def test_a_stop_after_the_last_batch_completes_the_epoch():
    """E never comes, but every batch was served."""
    tracker = EpochTracker(3)
    assert replay(tracker, "p0 p1 R B t0 t1 t2 | B t0 t1 t2 E")[-3:] == [1] * 3


@pytest.mark.parametrize(
    ("batches", "trace", "epochs"),
    [
        (1, "p0 R | B t0 E | B t0 E", [0, 0, 1]),
        (1, "B p0 R | B p0 E | B p0 E", [0, 0, 1]),  # the peek is no epoch
        (1, "R B p0 E | R B p0 E", [0, 1]),
        (2, "p0 p1 R | B t0 t1 E | B t0 t1 E", [0, 0, 0, 0, 1, 1]),
        (2, "B p0 R | B p0 p1 E | B p0 p1 E", [0, 0, 0, 1, 1]),
        (2, "p0 p1 R | B t0 E / B t1 E / B t0 E / B t1 E", [0, 0, 0, 0, 1, 1]),
    ],
)
def test_sequences_of_one_and_two_batches(batches, trace, epochs):
    assert replay(EpochTracker(batches), trace) == epochs


def test_a_batch_read_twice_counts_once():
    tracker = EpochTracker(3)
    assert replay(tracker, "B t0 t0 t1 t1 E B t1 t2 E B t0")[-1] == 1
    tracker = EpochTracker(2)
    assert replay(tracker, "B t0 t0 E B t0 E B t1 E B t1")[-1] == 1


def test_peeks_count_for_nothing_ever():
    tracker = EpochTracker(3)
    replay(tracker, "p0 p1 p2 p0 p1 p2 R p0 p1 p2")
    assert tracker.served == 0
    replay(tracker, "B")
    assert tracker.epoch == 0


def test_plain_indexing_never_moves_the_epoch():
    tracker = EpochTracker(3, epoch=7)
    replay(tracker, "t0 t1 t2 p0 p1 p2 t2 t1 t0")
    assert tracker.epoch == 7 and tracker.served == 0


def test_the_epoch_can_be_set():
    tracker = EpochTracker(2)
    replay(tracker, "B t0 t1")
    tracker.set(40)
    assert tracker.epoch == 40 and tracker.served == 0
    assert replay(tracker, "E B t0 t1 E B t0") == [40, 40, 41]


def test_an_epoch_handed_out_by_other_means():
    tracker = EpochTracker(2)
    tracker.advance_from(0)
    assert tracker.epoch == 1 and tracker.served == 0
    tracker.advance_from(0)
    assert tracker.epoch == 1


def test_tf_keras():
    tracker = EpochTracker(3)
    trace = "t0 | t0 t1 t2 E | t0 t1 t2 E | t0"
    assert replay_legacy(tracker, trace) == [0] + [0] * 3 + [1] * 3 + [2]


def test_tf_keras_ends_that_come_twice_or_too_early():
    tracker = EpochTracker(3)
    assert replay_legacy(tracker, "t0 t1 E t2 E E t0 t1 t2 E t0")[-1] == 2
    assert tracker.epoch == 2


def test_any_thread_may_read():
    tracker = EpochTracker(400)
    tracker.begin()

    def work(first):
        for batch in range(first, 400, 4):
            tracker.read(batch, by_driver=False)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.served == 400
    tracker.end()
    tracker.begin()
    assert tracker.epoch == 1 and tracker.served == 0


class Epochs(RuleBasedStateMachine):
    """The tracker against the rule as prose says it, kept as a log of passes.

    `log` holds what has happened since the epoch was last begun afresh: the batches
    that were served, of which a peek is none.
    """

    num_batches = 3

    def __init__(self):
        super().__init__()
        self.tracker = EpochTracker(self.num_batches)
        self.epoch = 0
        self.log = []
        self.in_pass = False
        self.read_since_move = set()

    @property
    def whole_epoch_served(self):
        return set(self.log) == set(range(self.num_batches))

    @rule(data=st.data(), by_driver=st.booleans())
    def read(self, data, by_driver):
        batch = data.draw(st.integers(0, self.num_batches - 1))
        self.tracker.read(batch, by_driver=by_driver)
        self.read_since_move.add(batch)
        ahead = not self.in_pass and self.log and not by_driver
        if self.in_pass or ahead:
            self.log.append(batch)

    @rule(by_driver=st.booleans())
    def read_all(self, by_driver):
        for batch in range(self.num_batches):
            self.tracker.read(batch, by_driver=by_driver)
            self.read_since_move.add(batch)
            if self.in_pass or (self.log and not by_driver):
                self.log.append(batch)

    @rule()
    def begin(self):
        before = self.tracker.epoch
        self.tracker.begin()
        if self.whole_epoch_served:
            self.epoch += 1
            self.log = []
        elif self.in_pass:
            self.log = []
        self.in_pass = True
        if self.tracker.epoch != before:
            # Promise: it moves on when, and only when, all its batches were read.
            assert self.tracker.epoch == before + 1
            assert self.read_since_move == set(range(self.num_batches))
            self.read_since_move = set()

    @rule()
    def end(self):
        before = self.tracker.epoch
        self.tracker.end()
        self.in_pass = False
        assert self.tracker.epoch == before

    @rule()
    def reset(self):
        before = self.tracker.epoch
        self.tracker.reset()
        if self.in_pass or not self.whole_epoch_served:
            self.log = []
        self.in_pass = False
        assert self.tracker.epoch == before

    @rule(epoch=st.integers(0, 10))
    def set(self, epoch):
        self.tracker.set(epoch)
        self.epoch, self.log, self.read_since_move = epoch, [], set()

    @precondition(lambda self: self.in_pass)
    @rule()
    def a_whole_keras_epoch(self):
        """From wherever it is, a pass that reads all ends in a complete epoch."""
        self.read_all(by_driver=False)
        self.end()
        before = self.tracker.epoch
        self.begin()
        assert self.tracker.epoch == before + 1

    @invariant()
    def they_agree(self):
        assert self.tracker.epoch == self.epoch
        assert self.tracker.served == len(set(self.log))


class OneBatch(Epochs):
    num_batches = 1


class TwoBatches(Epochs):
    num_batches = 2


TestEpochs = Epochs.TestCase
TestOneBatch = OneBatch.TestCase
TestTwoBatches = TwoBatches.TestCase

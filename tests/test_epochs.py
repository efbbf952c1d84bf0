"""When the epoch moves on: replays of what Keras calls, and a model of the rule.

Words of a trace: ``B`` begin, ``E`` end (of an epoch, or of a fit that starts over),
``pN`` a peek at batch N, ``tN`` batch N. ``|`` is another iterator of the same fit,
``||`` another fit, evaluate or predict.
"""

from __future__ import annotations

import functools
import random
import threading
import warnings

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sequence_loader.backends.keras_calls import Call
from sequence_loader.backends.keras_frames import NOBODY, Reader
from sequence_loader.feed.epochs import EpochTracker


class Adapter:
    """Stands for the data adapter of a fit, of which only the identity counts."""


def met(
    tracker: EpochTracker, reader: Reader, *around: object, trains: bool = True
) -> Reader:
    """As the sequence does before it says what a reader does."""
    if not tracker.knows(reader.consumer):
        tracker.meet(reader.consumer, around, trains=trains)
    return reader


KEPT = []  # adapters live as long as their fit


def replay(tracker: EpochTracker, trace: str, *around: object) -> list[int]:
    """Feeds a trace to a tracker; returns the epoch of each read."""
    epochs = []
    for fit in trace.split("||"):
        adapter = Adapter()
        KEPT.append(adapter)
        for iterator in fit.replace("/", " ").split("|"):
            run = object()
            for word in iterator.split():
                if word == "B":
                    tracker.begin(met(tracker, Reader(adapter), *around))
                elif word == "E":
                    tracker.end(met(tracker, Reader(adapter), *around))
                else:
                    peeks = word[0] == "p"
                    reader = Reader(adapter, None if peeks else run, peeks)
                    met(tracker, reader, *around)
                    entered = tracker.entered(reader)
                    epochs.append(tracker.read(reader, int(word[1:])))
                    assert epochs[-1] == entered
    return epochs


def by_hand(tracker: EpochTracker, trace: str) -> list[int]:
    """The same for a loop of the user's own."""
    epochs = []
    for word in trace.split():
        if word == "B":
            tracker.begin(NOBODY)
        elif word == "E":
            tracker.end(NOBODY)
        else:
            epochs.append(tracker.read(NOBODY, int(word[1:])))
    return epochs


TENSORFLOW = "p0 p1 E | B t0 t1 t2 t3 E | B t0 t1 t2 t3 E"


def test_tensorflow_two_epochs():
    tracker = EpochTracker(4)
    assert replay(tracker, TENSORFLOW) == [0, 0] + [0] * 4 + [1] * 4
    assert tracker.epoch == 1 and tracker.served == 4
    assert tracker.upcoming() == 2


def test_tensorflow_a_second_fit_goes_on_with_the_next_epoch():
    tracker = EpochTracker(4)
    replay(tracker, TENSORFLOW)
    # The peeks of the second fit still see the epoch that has ended.
    assert replay(tracker, TENSORFLOW) == [1, 1] + [2] * 4 + [3] * 4


def test_shuffled_batches():
    tracker = EpochTracker(4)
    trace = "p0 p1 E | B t2 t0 t3 t1 E | B t1 t0 t2 t3 E"
    assert replay(tracker, trace) == [0, 0] + [0] * 4 + [1] * 4


def test_evaluate_and_predict():
    tracker = EpochTracker(3)
    trace = "p0 p1 E | B t0 t1 t2 E || p0 p1 | B t0 t1 t2 E"
    assert replay(tracker, trace) == [0] * 5 + [0, 0, 1, 1, 1]
    tracker = EpochTracker(2)
    assert replay(tracker, "p0 p1 | B t0 t1 E") == [0] * 4


def test_jax_and_torch_peek_once():
    tracker = EpochTracker(4)
    trace = "B p0 E | B t0 t1 t2 t3 E | B t0 t1 t2 t3 E || E | B t0 t1 t2 t3 E"
    assert replay(tracker, trace) == [0] + [0] * 4 + [1] * 4 + [2] * 4


def test_validation_that_keras_starts_over():
    tracker = EpochTracker(2)
    trace = "p0 p1 E | B t0 t1 E | E B t0 t1 E | E B t0 t1 E"
    assert replay(tracker, trace) == [0, 0, 0, 0, 1, 1, 2, 2]
    # ... in its middle, of another number of steps than there are batches.
    tracker = EpochTracker(3)
    trace = "p0 p1 E | B t0 t1 E | E B t0 t1 E | E B t0 t1 E"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert replay(tracker, trace) == [0] * 8


def test_steps_per_epoch_go_on_in_the_same_pass():
    tracker = EpochTracker(5)
    trace = "p0 p1 E | B t0 t1 t2 E / B t3 t4 E | B t0 t1 E / B t2 t3 t4 E | B t0"
    assert replay(tracker, trace) == [0, 0] + [0] * 5 + [1] * 5 + [2]


def test_steps_per_epoch_read_ahead_between_the_epochs_of_keras():
    tracker = EpochTracker(5)
    trace = "p0 p1 E | B t0 t1 E t2 t3 / B t4 E | B t0"
    assert replay(tracker, trace) == [0, 0] + [0] * 5 + [1]


def test_an_epoch_left_early_is_served_again():
    tracker = EpochTracker(4)
    # stop_training: no E; then another fit
    trace = "p0 p1 E | B t0 t1 || p0 p1 E | B t0 t1 t2 t3 E | B t0"
    assert replay(tracker, trace) == [0] * 2 + [0] * 2 + [0] * 2 + [0] * 4 + [1]
    # ... and where all of it was read ahead, when training stopped.
    tracker = EpochTracker(4)
    trace = "E | B t0 t1 t2 t3 || E | B t0 t1 t2 t3 E | B t0"
    assert replay(tracker, trace) == [0] * 4 + [0] * 4 + [1]


def test_the_rest_of_an_epoch_left_early_does_not_complete_another():
    tracker = EpochTracker(4)
    trace = "p0 p1 E | B t0 t1 t2 || p0 p1 E | B t3 || p0 p1 E | B t0 t1 t2 t3 E | B t0"
    assert replay(tracker, trace)[-5:] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("batches", "trace", "epochs"),
    [
        (1, "p0 E | B t0 E | B t0 E", [0, 0, 1]),
        (1, "B p0 E | B t0 E | B t0 E", [0, 0, 1]),  # the peek is no epoch
        (1, "E | B t0 E || E | B t0 E", [0, 1]),
        (2, "p0 p1 E | B t0 t1 E | B t0 t1 E", [0, 0, 0, 0, 1, 1]),
        (2, "p0 p1 E | B t0 E / B t1 E | B t0 E / B t1 E", [0, 0, 0, 0, 1, 1]),
    ],
)
def test_sequences_of_one_and_two_batches(batches, trace, epochs):
    assert replay(EpochTracker(batches), trace) == epochs


@pytest.mark.parametrize(
    "trace",
    [
        "p0 p1 | t0 t1 t2 | t0 t1 t2 | t2 t0 t1 || p0 p1 | t0 t1 t2",  # no hooks
        "p0 p1 E | t0 t1 t2 E | t0 t1 t2 E | t2 t0 t1 E || p0 p1 E | t0 t1 t2 E",
        "p0 | t0 t1 t2 E | t0 t1 t2 E | t0 t1 t2 E || p0 | t0 t1 t2 E",  # tf-keras
        "p0 | B t0 t1 t2 | B t0 t1 t2 | B t0 t1 t2 || p0 | B t0 t1 t2",
    ],
)
def test_wrappers_that_do_not_tell_of_every_hook(trace):
    found = [
        epoch
        for epoch, word in zip(
            replay(EpochTracker(3), trace),
            [word for word in trace.split() if word[0] in "pt"],
        )
        if word[0] == "t"
    ]
    assert found == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_an_iterator_keeps_its_order_whatever_it_asks_for():
    tracker = EpochTracker(2)
    trace = "t0 t1 t0 t1 E | t1 t1 t0 t0 t1 E | t0"
    assert replay(tracker, trace) == [0] * 4 + [1] * 5 + [2]


def test_an_iterator_that_was_dropped_still_reads_ahead():
    tracker, adapter = EpochTracker(3), Adapter()
    old, new = Reader(adapter, object()), Reader(adapter, object())
    met(tracker, old)
    assert [tracker.read(old, i) for i in range(3)] == [0] * 3
    assert tracker.read(new, 0) == 1
    assert tracker.read(old, 0) == 0
    assert [tracker.read(new, i) for i in (1, 2)] == [1, 1]
    assert tracker.read(Reader(adapter, object()), 0) == 2


def test_peeks_count_for_nothing_ever():
    tracker = EpochTracker(3)
    replay(tracker, "p0 p1 p2 p0 p1 p2 E p0 p1 p2")
    assert tracker.served == 0
    replay(tracker, "B")
    assert tracker.epoch == 0


def test_plain_indexing_never_moves_the_epoch():
    tracker = EpochTracker(3, epoch=7)
    assert by_hand(tracker, "t0 t1 t2 t0 t1 t2 t2 t1 t0") == [7] * 9
    assert tracker.epoch == 7 and tracker.served == 0
    assert replay(tracker, "B t0 t1 t2 E | B t0")[-2:] == [7, 8]


def test_a_loop_of_ones_own():
    tracker = EpochTracker(3)
    assert by_hand(tracker, "t0 t1 E t2 E t0 t1 t2 E t0") == [0] * 3 + [1] * 3 + [2]
    tracker = EpochTracker(3)
    trace = "B t0 t1 t2 E B t2 t1 t0 E t0 t1 t2 B t0"
    assert by_hand(tracker, trace) == [0] * 3 + [1] * 3 + [1] * 3 + [2]
    # Left without an end; and after the last batch.
    tracker = EpochTracker(2)
    assert by_hand(tracker, "B t0 B t1 E B t0 t1 B t0") == [0, 0, 0, 0, 1]


def test_a_generator_goes_on_for_ever():
    for trace in (
        "t0 t1 t2 t0 t1 t2 t0",
        "t0 t1 t2 E t0 t1 t2 E t0",
        "t1 t0 t2 E t0 t2 t1 E t2",
    ):
        tracker, reader = EpochTracker(3), Reader(Adapter())
        met(tracker, reader)
        found = []
        for word in trace.split():
            if word == "E":
                tracker.end(reader)
            else:
                found.append(tracker.read(reader, int(word[1:])))
        assert found == [0] * 3 + [1] * 3 + [2]


def test_a_generator_that_is_not_asked_to_end_its_last_epoch():
    tracker = EpochTracker(2)
    for fit in range(2):
        reader = met(tracker, Reader(Adapter(), has_hooks=False))
        assert [tracker.read(reader, i) for i in (0, 1)] == [2 * fit] * 2
        tracker.end(reader)
        assert [tracker.read(reader, i) for i in (0, 1)] == [2 * fit + 1] * 2


def test_a_generator_of_which_the_first_batches_are_read_twice():
    tracker, reader = EpochTracker(3), Reader(Adapter(), has_hooks=False)
    met(tracker, reader)
    order = (1, 0, 0, 1, 0, 1, 2, 0, 1, 2, 0)
    found = [tracker.read(reader, batch) for batch in order]
    assert found == [0] * 7 + [1] * 3 + [2]


def test_the_epoch_can_be_set():
    tracker = EpochTracker(2)
    assert by_hand(tracker, "B t0 t1") == [0, 0]
    tracker.set(40)
    assert tracker.epoch == 40 and tracker.served == 0
    assert by_hand(tracker, "E B t0 t1 E B t0") == [40, 40, 41]


def test_an_epoch_that_is_set_does_not_change_a_pass():
    tracker, adapter = EpochTracker(2), Adapter()
    first, second = Reader(adapter, object()), Reader(adapter, object())
    met(tracker, first)
    tracker.begin(first)
    assert tracker.read(first, 0) == 0
    tracker.set(9)
    assert tracker.read(first, 1) == 0 and tracker.epoch == 9
    tracker.end(first)
    tracker.begin(second)
    assert tracker.read(second, 0) == 9


def test_datasets_hand_out_their_epochs():
    tracker = EpochTracker(2)
    assert [tracker.begin_iteration(Call())[0] for _ in range(3)] == [0] * 3
    tracker.iterated(2)
    assert tracker.epoch == 1 and tracker.served == 0
    tracker.iterated(2)
    tracker.iterated(3)
    tracker.iterated(-1)
    assert tracker.epoch == 1
    for _ in range(200):  # dropped, all of them
        epoch, iteration, _ = tracker.begin_iteration(Call())
        assert epoch == 1
    tracker.iterated(iteration)
    replay(tracker, "B t0 t1 E")
    assert tracker.epoch == 2
    assert tracker.begin_iteration(Call())[0] == 3


def test_processes_of_tf_keras_read_what_this_one_does_not_see():
    tracker, adapter = EpochTracker(3), Adapter()
    peek = met(tracker, Reader(adapter, peeks=True))
    ends = Reader(adapter)
    assert tracker.read(peek, 0) == 0
    tracker.end(Reader(is_enqueuer=True))
    tracker.end(ends, elsewhere=(True, True))
    assert tracker.epoch == 1
    tracker.end(ends, elsewhere=(True, False))
    assert tracker.epoch == 1 and tracker.upcoming() == 2
    assert replay(tracker, "p0 | t0 t1 t2 E") == [1, 2, 2, 2]


def test_what_cannot_be_known_is_said_once():
    tracker = EpochTracker(3)
    by_hand(tracker, "E t0 E")
    with pytest.warns(UserWarning, match=r"no batch was read.*set_epoch\(epoch\)"):
        by_hand(tracker, "E")
    by_hand(tracker, "E E")

    tracker, adapter = EpochTracker(3), Adapter()
    met(tracker, Reader(adapter))

    quiet = EpochTracker(3)
    met(quiet, Reader(adapter))
    for batch in (1, 0, 2, 0, 1, 2):
        assert quiet.read(Reader(adapter), batch) == 0
    with pytest.warns(UserWarning, match="has read epoch 0 twice, and not in order"):
        quiet.read(Reader(adapter), 1)
    quiet.end(Reader(adapter))
    assert quiet.read(Reader(adapter), 1) == 1

    def two_of_three():
        run = object()
        for batch in range(2):
            assert tracker.read(Reader(adapter, run), batch) == 0
        tracker.end(Reader(adapter), trains=True)

    two_of_three()
    with pytest.warns(UserWarning, match="epoch 0 was begun before and left"):
        two_of_three()
    two_of_three()


def left_and_evaluated(tracker, batches, evaluates=(0, 1, 2)):
    """A fit that is left behind these batches, and an evaluation."""
    for trains, asked in ((True, batches), (False, evaluates)):
        adapter, run = Adapter(), object()
        KEPT.append(adapter)
        for batch in asked:
            tracker.read(met(tracker, Reader(adapter, run)), batch)
        tracker.end(Reader(adapter), trains=trains)


@pytest.mark.parametrize(
    "between",
    [
        lambda tracker: left_and_evaluated(tracker, (0, 1, 2)),
        lambda tracker: tracker.set(9),
        lambda tracker: by_hand(tracker, "t0 t1 t2 E"),
        None,
    ],
    ids=["a whole fit", "set_epoch", "a loop", "nothing"],
)
@pytest.mark.filterwarnings("error")
def test_fits_that_train_one_part_of_epochs_that_others_end(between):
    tracker = EpochTracker(3, repeats=True)
    left_and_evaluated(tracker, (0, 1))
    left_and_evaluated(tracker, (0, 1))
    if between is None:
        with pytest.warns(UserWarning, match="2, or another in .* shuffle=True"):
            left_and_evaluated(tracker, (0, 1))
    else:
        between(tracker)
    left_and_evaluated(tracker, (0, 1))
    left_and_evaluated(tracker, (0, 1))


@pytest.mark.filterwarnings("error")
def test_fits_of_parts_of_epochs_that_differ():
    for repeats, batches in ((False, (0, 1)), (True, (2, 0))):
        tracker = EpochTracker(3, repeats=repeats)
        for _ in range(5):
            left_and_evaluated(tracker, batches)
        assert tracker.epoch == 4


@pytest.mark.filterwarnings("error")
def test_fits_that_leave_only_their_last_epochs():
    tracker = EpochTracker(3)
    for fit in range(5):
        adapter = Adapter()
        for batches in ((0, 1, 2), (0, 1)):
            run = object()
            for batch in batches:
                tracker.read(met(tracker, Reader(adapter, run)), batch)
            tracker.end(Reader(adapter), trains=True)
        assert tracker.epoch == fit + 1


def test_any_thread_may_read():
    tracker = EpochTracker(400)
    adapter, run = Adapter(), object()
    tracker.begin(met(tracker, Reader(adapter)))

    def work(first):
        for batch in range(first, 400, 4):
            assert tracker.read(Reader(adapter, run), batch) == 0

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.served == 400
    tracker.end(Reader(adapter))
    tracker.begin(Reader(adapter))
    assert tracker.epoch == 1 and tracker.served == 0


class Fit:
    """One running call of Keras in the model."""

    def __init__(self, begins: bool, ends: bool, is_inside: bool) -> None:
        self.adapter = Adapter()
        self.begins, self.ends, self.is_inside = begins, ends, is_inside
        self.epoch: int | None = None  # of its passes; none yet, or set anew
        self.serves: int | None = None  # what its iterator is served
        self.run: object = None
        self.left: list[int] = []  # what its iterator will ask for
        self.dropped: tuple[object, int] | None = None
        self.whole = False

    def reader(self, *, peeks: bool = False, is_last: bool = False) -> Reader:
        return Reader(self.adapter, None if peeks else self.run, peeks, is_last)


class Epochs(RuleBasedStateMachine):
    """The tracker against the rule as prose says it, of calls inside calls.

    `calls` is the stack of Keras: what is inside the first reads while that waits.
    `epoch` is the sequence's, and `over` whether what moved it last was whole.
    """

    num_batches = 3

    def __init__(self):
        super().__init__()
        self.tracker = EpochTracker(self.num_batches)
        self.epoch, self.over, self.mover = 0, False, None
        self.calls: list[Fit] = []
        self.gone: list[Fit] = []
        self.by_user: set[int] = set()
        self.by_user_epoch = 0

    def around(self):
        return [call.adapter for call in self.calls]

    def is_guest(self, trains):
        """Whether a call that comes is inside another, or amid a loop of the user's."""
        amid = self.by_user_epoch == self.epoch
        amid = amid and 0 < len(self.by_user) < self.num_batches
        return bool(self.calls) or (amid and not trains)

    def is_over(self):
        mover = self.mover
        quiet = mover is not None and not mover.ends
        return self.over or (quiet and mover.whole)

    def moved(self, epoch, mover=None):
        self.epoch, self.over, self.mover = epoch, False, mover

    @precondition(lambda self: len(self.calls) < 4)
    @rule(
        begins=st.booleans(), ends=st.booleans(), peeks=st.integers(0, 2),
        trains=st.booleans(),
    )
    def call(self, begins, ends, peeks, trains=True):
        fit = Fit(begins, ends, self.is_guest(trains))
        self.calls.append(fit)
        told = functools.partial(met, self.tracker, trains=trains)
        for batch in range(min(peeks, self.num_batches)):
            reader = told(fit.reader(peeks=True), *self.around())
            assert self.tracker.read(reader, batch) == self.epoch
        told(fit.reader(), *self.around())
        if fit.ends:
            self.tracker.end(fit.reader())

    @precondition(lambda self: self.calls and not self.calls[-1].left)
    @rule(seed=st.integers(0, 99))
    def iterate(self, seed):
        """The innermost call makes another iterator, and reads its first batch."""
        fit = self.calls[-1]
        if fit.epoch is None:
            epoch = self.epoch + (not fit.is_inside and self.is_over())
        else:
            epoch = fit.epoch + fit.whole
        if fit.run is not None:
            fit.dropped = (fit.run, fit.serves)
        fit.epoch = fit.serves = epoch
        fit.run, fit.whole = object(), False
        fit.left = random.Random(seed).sample(range(self.num_batches), self.num_batches)
        if not fit.is_inside:
            self.moved(epoch, fit)
        if fit.begins:
            self.tracker.begin(fit.reader())
        self.read_next(fit)

    def read_next(self, fit):
        batch = fit.left.pop(0)
        reader = fit.reader(is_last=not fit.left)
        assert self.tracker.entered(reader) == fit.serves
        assert self.tracker.read(reader, batch) == fit.serves
        if not fit.left:
            fit.whole = True

    @precondition(lambda self: any(call.left for call in self.calls))
    @rule(data=st.data())
    def read(self, data):
        """The innermost reads, or one that waits reads ahead."""
        fit = data.draw(st.sampled_from([call for call in self.calls if call.left]))
        self.read_next(fit)
        if not fit.left and fit is self.calls[-1]:
            self.end(fit)

    def end(self, fit):
        if fit.ends:
            self.tracker.end(fit.reader())
            if self.mover is fit:
                self.over = True

    @precondition(lambda self: self.calls and self.calls[-1].run is not None)
    @rule()
    def read_all(self):
        fit = self.calls[-1]
        while fit.left:
            self.read_next(fit)
        self.end(fit)

    @precondition(lambda self: any(call.dropped for call in self.calls))
    @rule(data=st.data(), batch=st.integers(0, 99))
    def read_late(self, data, batch):
        """An iterator that was dropped is still read ahead from."""
        fit = data.draw(st.sampled_from([call for call in self.calls if call.dropped]))
        run, serves = fit.dropped
        reader = Reader(fit.adapter, run)
        assert self.tracker.read(reader, batch % self.num_batches) == serves

    @precondition(lambda self: self.calls)
    @rule()
    def leave(self):
        """It returns, or is stopped or interrupted where it is."""
        self.gone.append(self.calls.pop())

    @rule(batch=st.integers(0, 99))
    def ask(self, batch):
        """The user, a callback, or another thread."""
        batch %= self.num_batches
        assert self.tracker.entered(NOBODY) == self.epoch
        assert self.tracker.read(NOBODY, batch) == self.epoch
        self.note(batch)

    def note(self, batch):
        self.follow()
        self.by_user.add(batch)

    def follow(self):
        """The user's loop is one of the sequence's epoch from now on."""
        if self.by_user_epoch != self.epoch:
            self.by_user, self.by_user_epoch = set(), self.epoch

    @rule(ends=st.booleans())
    def loop(self, ends):
        for batch in range(self.num_batches):
            self.ask(batch)
        if ends:
            self.end_by_hand()

    @rule()
    def end_by_hand(self):
        self.follow()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tracker.end(NOBODY)
        if len(self.by_user) == self.num_batches:
            self.moved(self.epoch + 1)

    @rule(to_the_end=st.booleans(), by_keras=st.booleans(), trains=st.booleans())
    def iterate_a_dataset(self, to_the_end, by_keras, trains):
        adapter = Adapter()
        KEPT.append(adapter)
        around = self.around() + [adapter] * by_keras
        call = Call(adapter if by_keras else None, tuple(around))
        is_inside = self.is_guest(trains or not by_keras)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that leave the same epoch
            epoch, iteration, _ = self.tracker.begin_iteration(
                call, trains=trains and by_keras
            )
        if is_inside:
            assert epoch == self.epoch
        else:
            assert epoch == self.epoch + self.is_over()
            self.moved(epoch, Fit(True, True, False))
        if to_the_end:
            self.tracker.iterated(iteration)
            if by_keras:
                self.over = self.over or not is_inside  # the next pass moves it on
            elif not is_inside:
                self.moved(epoch + 1)

    @rule(epoch=st.integers(0, 10))
    def set(self, epoch):
        self.tracker.set(epoch)
        self.moved(epoch)
        self.by_user = set()
        for call in self.calls:
            call.epoch = None

    @precondition(lambda self: not self.calls)
    @rule(begins=st.booleans(), ends=st.booleans())
    def a_whole_fit(self, begins, ends):
        """Whatever came before: two epochs, one after the other, each in one order."""
        first = self.epoch + self.is_over()
        self.call(begins, ends, 1)
        for epoch in (first, first + 1):
            self.iterate(epoch)
            self.read_all()
            assert self.calls[-1].serves == epoch
        self.leave()

    @invariant()
    def they_agree(self):
        assert self.tracker.epoch == self.epoch
        assert self.tracker.upcoming() == self.epoch + self.is_over()


class OneBatch(Epochs):
    num_batches = 1


class TwoBatches(Epochs):
    num_batches = 2


TestEpochs = Epochs.TestCase
TestOneBatch = OneBatch.TestCase
TestTwoBatches = TwoBatches.TestCase

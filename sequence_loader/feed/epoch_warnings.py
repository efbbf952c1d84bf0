"""What is said where nobody can know when an epoch ends, and what helps."""

from __future__ import annotations

from sequence_loader.backends.keras_frames import Steps

READ_AHEAD = (
    "a dataset of your own that holds this sequence has `workers` or "
    "`use_multiprocessing`: threads of Keras 3 read ahead of an epoch that ends, and "
    "train some batches twice and others never. Pass them to SparseBatchSequence, and "
    "workers=1 to your dataset."
)
ENDED_TWICE = (
    "`on_epoch_end` was called twice, and no batch was read in this process in "
    "between: where other processes read, or batch_rows alone is asked, a sequence "
    "cannot know that its epoch is over, and serves it again. Call set_epoch(epoch) "
    "before each epoch."
)

READ_BESIDE = (
    "a thread of your own reads an epoch of this sequence again, beside a `fit` that "
    "does not read it: that an epoch is over cannot be known there, and each pass has "
    "the same order. Call set_epoch(epoch) before each pass."
)
READ_IN_COPIES = (
    "processes of your own, as those of a DataLoader, read copies of this sequence: "
    "that an epoch is over cannot be known there, and each has the same order. Pass "
    "`fit` the sequence itself, made with workers=N, or call set_epoch(epoch) before "
    "the processes of each epoch are started."
)


def read_twice(epoch: int) -> str:
    """Of an epoch whose batches were all read twice, in no order."""
    return (
        f"a generator or dataset over this sequence has read epoch {epoch} "
        f"twice, and not in order: where it ends cannot be known. Have it call "
        f"on_epoch_end() after all batches, or set_epoch(epoch) before them."
    )


def begins_anew(steps: Steps) -> str:
    """Of a `fit` of tf-keras whose epochs end before those of the data."""
    return (
        f"`fit` has steps_per_epoch={steps.count}, and an epoch of the data has "
        f"{steps.batches} batches: Keras 2 begins each at its first batch, so the last "
        f"{steps.batches - steps.count} of each are never trained. Leave "
        f"`steps_per_epoch` away, or pass sequence.to_tf_dataset().repeat(), which "
        f"goes on."
    )


def never_whole(epoch: int, repeats: bool) -> str:
    """Of an epoch that `fit` begins again and again, and never reads as a whole.

    Args:
        epoch: Its number.
        repeats: Whether others are in the same order.
    """
    others, why = "", "an epoch is served again until all of it was read"
    mend = "call set_epoch(epoch) before each `fit`"
    if repeats:
        others, why = ", or another in the same order,", "all epochs have one order"
        mend = f"construct the sequence with shuffle=True and {mend}"
    return (
        f"epoch {epoch}{others} was begun before and left before its last batch, by "
        f"`steps_per_epoch` or take(n), not for the first time: {why}, so its last "
        f"batches are never trained. Train whole epochs, {mend}, or pass it "
        f"to_tf_dataset().repeat() and all `epochs` at once."
    )

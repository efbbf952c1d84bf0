"""What is said where nobody can know when an epoch ends, and what helps."""

from __future__ import annotations

from sequence_loader.feed.passes import Pass

READ_AHEAD = (
    "a dataset of your own that holds this sequence has `workers` or "
    "`use_multiprocessing`: threads of Keras 3 read ahead of an epoch that ends, and "
    "train some batches twice and others never. Pass them to SparseBatchSequence, and "
    "workers=1 to your dataset."
)
ENDED_TWICE = (
    "`on_epoch_end` was called twice, and no batch was read in this process in "
    "between: where other processes read, a sequence cannot know that its epoch is "
    "over, and serves it again. Call set_epoch(epoch) before each epoch."
)


def read_twice(found: Pass) -> str:
    """Of a pass whose batches were all read twice, in no order."""
    return (
        f"a generator or dataset over this sequence has read epoch {found.epoch} "
        f"twice, and not in order: where it ends cannot be known. Have it call "
        f"on_epoch_end() after all batches, or set_epoch(epoch) before them."
    )


def begins_anew(steps: int, num_batches: int) -> str:
    """Of a `fit` of tf-keras whose epochs end before those of the data."""
    return (
        f"`fit` has steps_per_epoch={steps}, and an epoch of the data has "
        f"{num_batches} batches: Keras 2 begins each at its first batch, so the last "
        f"{num_batches - steps} are never trained. Leave `steps_per_epoch` away, or "
        f"pass sequence.to_tf_dataset().repeat(), which goes on."
    )


def never_whole(found: Pass, num_batches: int) -> str:
    """Of a pass of `fit` that ends before it is whole, again and again."""
    return (
        f"only {found.served} of {num_batches} batches of epoch {found.epoch} were "
        f"read before `on_epoch_end`, not for the first time: an epoch is served again "
        f"until all of it was read, so the other batches are never trained. Leave "
        f"`steps_per_epoch` away, or call set_epoch(epoch) before each epoch."
    )

"""The sequences of a `fit`: where they are saved, and where they go on."""

from __future__ import annotations

from typing import Any

from sequence_loader.backends.keras_epochs import Fit
from sequence_loader.feed.sequence import SparseBatchSequence


def epoch_of_fit(sequence: SparseBatchSequence, consumer: Any) -> int:
    """The epoch that the running pass of a `fit` is served.

    Args:
        sequence: What it trains from.
        consumer: Its data adapter.
    """
    epoch = sequence._epochs.pass_epoch(consumer)
    if epoch is None:
        raise RuntimeError(
            "`fit` has not read this sequence: what it trained is not known, and "
            "SequenceCheckpoint cannot save it. Pass it the sequence itself."
        )
    return epoch


def resume_in_fit(
    sequence: SparseBatchSequence,
    consumer: Any,
    state: dict[str, Any],
    *,
    is_dataset: bool,
) -> int:
    """Has the pass of a `fit` go on; returns how many batches it leaves out."""
    found = sequence._take_order(state)
    epoch, batches = found.epoch, found.batches
    if batches == len(sequence):
        epoch, batches = epoch + 1, 0
    if not sequence._epochs.knows(consumer):
        sequence._epochs.meet(consumer, ())
    sequence._epochs.resume(epoch, batches, consumer, leaves_out=is_dataset)
    return batches


def validation_of(fit: Fit) -> SparseBatchSequence | None:
    """The sequence that validates, if it is another one than trains."""
    found = getattr(fit.validation, "made_by", fit.validation)
    trained = getattr(fit.x, "made_by", fit.x)
    is_another = isinstance(found, SparseBatchSequence) and found is not trained
    return found if is_another else None


def epoch_of_validation(fit: Fit, model: Any) -> int | None:
    """The epoch that its next pass serves; `None`, if it has begun none."""
    sequence = validation_of(fit)
    iterator = getattr(model, "_eval_epoch_iterator", None)
    if sequence is None or iterator is None:
        return None
    return sequence._epochs.next_epoch(iterator.data_adapter)

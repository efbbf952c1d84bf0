"""The sequences of a `fit`: where they are saved, and where they go on."""

from __future__ import annotations

from typing import Any

from sequence_loader.backends.keras_epochs import Fit
from sequence_loader.batches.structures import leaves
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


def served_as(sequence: SparseBatchSequence) -> dict[str, str]:
    """How its rows are served; functions by name, for what they do cannot be told."""
    pipeline = sequence._pipeline
    transforms = [each.transform for each in leaves(pipeline.reader.inputs)]
    functions = {"transform": transforms, "augment": [pipeline.assembler.augment]}
    found = {"output": sequence._output, "dtype": pipeline.assembler.dtypes}
    for argument, some in functions.items():
        names = (getattr(each, "__qualname__", type(each).__name__) for each in some)
        found[argument] = ", ".join(names)
    return found


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


def state_of_validation(fit: Fit, model: Any) -> dict[str, Any] | None:
    """Where its next pass begins; `None`, if no sequence validates."""
    sequence = validation_of(fit)
    if sequence is None:
        return None
    iterator = getattr(model, "_eval_epoch_iterator", None)  # made by the first pass
    epoch = sequence._epochs.next_epoch(getattr(iterator, "data_adapter", None))
    return sequence._position(epoch, 0).described()


def resume_validation(sequence: SparseBatchSequence, state: dict[str, Any]) -> None:
    """Has the next pass begin where it was saved, in the order of a drawn seed."""
    sequence.set_epoch(sequence._take_order(state).epoch)

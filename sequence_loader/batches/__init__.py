"""Row ids -> a `Batch`; picklable, and without a backend.

Enters: planned batches (row ids, padding weights) and the user's sources, `transform`
and `augment`. Leaves: features, targets and weights of the served dtype. It imports the
ground, `memory`, `order` and `rows`; it does not know `store`.
"""

"""(seed, epoch, position) -> the row ids of batch i.

Enters: samplers, numbers of rows, `rows=`, batch sizes, shards. Leaves: int64 row ids
and padding weights, from integer arithmetic of our own that is the same in every
release. It imports the ground alone.
"""

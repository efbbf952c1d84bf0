"""What Keras is handed.

Enters: the arguments of `SparseBatchSequence`, and Keras's calls. Leaves: batches as
``(x, y, sample_weight)``, or a `tf.data.Dataset` of them. It imports the rooms up to
`workers` and `backends`, but neither `store` nor `importers`.
"""

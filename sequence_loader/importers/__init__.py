"""Files of other formats, and blocks from Python -> a store.

Enters: paths, blocks, labels and names. Leaves: a store, published whole. Each format
is one module that gives blocks in row order, in bounded memory. It imports the ground,
`rows` and `store`.
"""

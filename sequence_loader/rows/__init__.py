"""Some rows of a source, as canonical CSR or as an array.

Enters: what a user passes as `x` or `y`, and row ids. Leaves: `CsrRows` that are
bounds-checked, sorted and free of duplicates; arrays; or items for a transform. It
imports the ground, `memory` and `order`.
"""

"""The whole way on real text: corpus -> n-grams -> a model that learns.

Enters: names of packages. Leaves: what a user sees on the terminal, and whether the
network learned. It imports any room but `cli`.
"""

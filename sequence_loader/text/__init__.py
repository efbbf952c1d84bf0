"""Labelled texts -> rows of n-grams or word numbers.

In come csv, tsv and JSON lines files; `open_texts` serves their texts by row, with
labels, to a transform or to a vectorizer, which makes rows of numbers of them and
writes those to a store. The room may import every other but `feed`, `demo`, `bench`
and `cli`.
"""

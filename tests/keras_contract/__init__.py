"""Tests that run under whichever Keras the environment selects."""

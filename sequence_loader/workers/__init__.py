"""The features of batches, prepared beside the training.

Enters: planned batches. Leaves: their features, or a `WorkerError`. Threads and
processes are ours alone, and no process imports a backend. It imports the ground and
the rooms up to `batches`.
"""

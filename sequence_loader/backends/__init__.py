"""A batch -> what each engine takes, or a refusal.

Enters: features as `CsrRows` and arrays. Leaves: tensors of TensorFlow, JAX and torch,
which are imported where they are used. All knowledge of Keras's frames and private
names, and of running jobs, is here. It imports the ground and the rooms up to
`batches`.
"""

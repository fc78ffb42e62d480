"""Pure functions from tensors to scalars, weighed once in objective.py."""

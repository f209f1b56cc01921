"""A user's own examples and episodes, read as inputs of a run."""

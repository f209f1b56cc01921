"""Published results: the papers' protocols line by line, the runs that repeat them, and the verdicts."""

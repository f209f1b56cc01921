"""How a long operation reports its progress to its caller."""

from collections.abc import Callable

OnProgress = Callable[[int, int], None]  # called with how many tasks, files or examples are done, and of how many


def ignore_progress(done: int, of: int) -> None:
    """Do nothing."""

"""Whether tasks are looped over: torch has faster operations for that, which are wrong under vmap."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_looping: ContextVar[bool] = ContextVar("looping", default=False)


@contextmanager
def looping_over_tasks() -> Iterator[None]:
    """Declare that no operation in the block is vectorised over tasks."""
    token = _looping.set(True)
    try:
        yield
    finally:
        _looping.reset(token)


def is_looping_over_tasks() -> bool:
    """Whether tasks are certainly looped over; False if unknown."""
    return _looping.get()

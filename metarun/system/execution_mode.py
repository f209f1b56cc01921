"""Whether tasks are run one by one at the moment: for that torch has faster operations, which go wrong vectorised."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_one_by_one: ContextVar[bool] = ContextVar("one_by_one", default=False)


@contextmanager
def running_one_by_one() -> Iterator[None]:
    """Within the block no operation is vectorised over tasks."""
    token = _one_by_one.set(True)
    try:
        yield
    finally:
        _one_by_one.reset(token)


def is_one_by_one() -> bool:
    """Whether that is certain; False where nobody said so."""
    return _one_by_one.get()

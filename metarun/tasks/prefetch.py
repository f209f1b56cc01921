"""Read the next tasks in the background."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

# One thread for all streams: several would not make a disk faster.
_thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")


class ReadAhead(Generic[T]):
    """Calls `read(first, count)`, then reads the next `count` in another thread.

    If a different range is requested next, it is read on request; only the time differs.

    Args:
        read: a pure function.
    """

    def __init__(self, read: Callable[[int, int], T]) -> None:
        self._read = read
        self._ahead: tuple[tuple[int, int], Future[T]] | None = None

    def __call__(self, first: int, count: int) -> T:
        """Return `read(first, count)`."""
        ahead, self._ahead = self._ahead, None
        if ahead and ahead[0] == (first, count):
            result = ahead[1].result()
        else:
            if ahead:
                ahead[1].cancel()
            result = self._read(first, count)
        self._ahead = (first + count, count), _thread.submit(self._read, first + count, count)
        return result

"""Reading what comes next while what came last is worked on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

# One thread for all streams: a disk is no faster for being asked by several at once.
_thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")


class ReadAhead(Generic[T]):
    """Calls `read(first, count)`, and then, in a thread of its own, for the `count` that follow: these are asked next.

    Where others are asked for, they are read when they are: nothing depends on the guess but time.

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
            found = ahead[1].result()
        else:
            if ahead:
                ahead[1].cancel()
            found = self._read(first, count)
        self._ahead = (first + count, count), _thread.submit(self._read, first + count, count)
        return found

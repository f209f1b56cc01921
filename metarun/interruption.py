"""Ctrl-C and SIGTERM as a request: the work at hand is brought to a point where it can be saved, then it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from metarun.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Remembers the signal that came, if one did."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come; called wherever stopping loses nothing."""
        if self.signal is not None:
            raise Interrupted(self.signal)

    def _remember(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002, the signature of a handler
        if self.signal is not None:  # asked twice: do not wait for a good moment
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def deferred_signals() -> Iterator[Interruption]:
    """Within the block, signals are remembered; a second one ends the work at once. Only a main thread gets them."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption._remember) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

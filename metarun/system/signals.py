"""Ctrl-C and other signals as a request: the work at hand is brought to a point where it can be saved, then it ends."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from metarun.errors import Interrupted, UserError

# The last two are what clusters send before a time limit.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
PATIENCE = 0.4  # seconds that the work at hand has to come to a good point by itself


def _nothing() -> None:
    """Nothing needs to be done."""


class Interruption:
    """Remembers the signal that came, if one did."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._heeded = threading.Event()
        self._save = _nothing
        self._saving = threading.Lock()

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come; called wherever stopping loses nothing."""
        if self.signal is not None:
            self._heeded.set()
            raise Interrupted(self.signal)

    @contextmanager
    def keeping(self, save: Callable[[], None]) -> Iterator[None]:
        """Within the block, a signal does not end the work before `save` was called.

        Args:
            save: called from another thread where work that takes seconds has to be cut off. It may raise a UserError,
                which is then told beside the signal.
        """
        self._save = save
        try:
            yield
        except Interrupted as stop:
            raise _saved(save, stop) from None
        finally:
            with self._saving:
                self._save = _nothing

    def _remember(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002, the signature of a handler
        if self.signal is not None:  # asked twice: do not wait for a good moment
            raise KeyboardInterrupt
        self.signal = number

    def _watch(self, signals: int, close: Callable[[], None]) -> None:
        """Wait for a signal; if the work does not heed it soon, save what there is and end the process.

        Python runs a signal's handler between two of its own instructions, and a backward pass through a large
        network is a single one that takes seconds.
        """
        while (number := os.read(signals, 1)[0]) not in SIGNALS:
            if number == 0:  # written by `deferred_signals` when the work is over
                return
        if self._heeded.wait(PATIENCE):
            return
        with self._saving:  # and never let go of it
            stop = _saved(self._save, Interrupted(number))
            close()
            print(f"metarun: {stop}", file=sys.stderr, flush=True)
            os._exit(128 + number)


def _saved(save: Callable[[], None], stop: Interrupted) -> Interrupted:
    """Save, and return how the work was ended: with what kept it from being saved, if something did."""
    try:
        save()
    except UserError as error:
        return Interrupted(stop.signal_number, f"stopped, but {error}")
    return stop


@contextmanager
def deferred_signals(close: Callable[[], None] = _nothing) -> Iterator[Interruption]:
    """Within the block, signals are remembered; a second one ends the work at once. Only a main thread gets them.

    Args:
        close: called before the process ends because the work at hand did not heed a signal: restores the terminal.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {number: signal.signal(number, interruption._remember) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watch = threading.Thread(target=interruption._watch, args=(reading, close), daemon=True)
    watch.start()
    try:
        yield interruption
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        interruption._heeded.set()
        os.write(writing, bytes([0]))
        watch.join()
        os.close(reading)
        os.close(writing)


PARENT = "METARUN_PARENT"  # the environment variable that holds the process id of the sweep


_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


def die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the sweep that started this process, if one did, is gone; elsewhere do nothing."""
    parent = os.environ.get(PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it is gone already
        raise SystemExit(128 + signal.SIGTERM)

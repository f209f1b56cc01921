"""Ctrl-C and other signals: finish the current step, save, then stop."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from metarun.errors import Interrupted, UserError

# Clusters send the last two before a time limit.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
GRACE_SECONDS = 0.4  # for the work to reach a point where it can be stopped


def _do_nothing() -> None:
    """Do nothing."""


class Interruption:
    """The signal that was received, if any."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._handled = threading.Event()
        self._save = _do_nothing
        self._saving = threading.Lock()

    def check(self) -> None:
        """Raise `Interrupted` if a signal was received; called wherever stopping loses nothing."""
        if self.signal is not None:
            self._handled.set()
            raise Interrupted(self.signal)

    @contextmanager
    def saving(self, save: Callable[[], None]) -> Iterator[None]:
        """Call `save` before a signal ends the work in the block.

        Args:
            save: called from another thread if the current operation takes seconds. A UserError that it raises is
                reported together with the signal.
        """
        self._save = save
        try:
            yield
        except Interrupted as stop:
            raise _saved(save, stop) from None
        finally:
            with self._saving:
                self._save = _do_nothing

    def _remember(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002, the signature of a handler
        if self.signal is not None:  # the second signal: stop at once
            raise KeyboardInterrupt
        self.signal = number

    def _watch(self, signals: int, close: Callable[[], None]) -> None:
        """Wait for a signal; if the work does not react soon, save and end the process.

        Python runs signal handlers between two of its instructions, and a backward pass through a large network is a
        single instruction that takes seconds.
        """
        while (number := os.read(signals, 1)[0]) not in SIGNALS:
            if number == 0:  # written by `deferred_signals` when the work is over
                return
        if self._handled.wait(GRACE_SECONDS):
            return
        with self._saving:  # never released
            stop = _saved(self._save, Interrupted(number))
            close()
            print(f"metarun: {stop}", file=sys.stderr, flush=True)
            os._exit(128 + number)


def _saved(save: Callable[[], None], stop: Interrupted) -> Interrupted:
    """Save and return the exception to raise, which reports why saving failed, if it did."""
    try:
        save()
    except UserError as error:
        return Interrupted(stop.signal_number, f"stopped, but {error}")
    return stop


@contextmanager
def deferred_signals(close: Callable[[], None] = _do_nothing) -> Iterator[Interruption]:
    """Record signals within the block; a second one stops at once. Only the main thread receives signals.

    Args:
        close: restores the terminal; called if the process is ended because the work did not react to a signal.
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
        interruption._handled.set()
        os.write(writing, bytes([0]))
        watch.join()
        os.close(reading)
        os.close(writing)


PARENT = "METARUN_PARENT"  # the environment variable with the process id of the sweep
_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def die_with_parent() -> None:
    """Ask Linux to send SIGTERM when the sweep that started this process ends; do nothing on other platforms."""
    parent = os.environ.get(PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it has already ended
        raise SystemExit(128 + signal.SIGTERM)

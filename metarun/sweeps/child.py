"""One run of a sweep in a process of its own, which tells by events how it goes."""

import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from metarun.system.events import DESCRIPTOR, Event, read_events
from metarun.system.signals import PARENT

COMPLAINTS = 40  # last lines of stderr that are kept


class Child:
    """A process that ends when this one does, see `die_with_parent`.

    Args:
        words: the whole command.
        environment: all of its variables but the two by which it knows its parent.
        folder: where it is run; None: here.
        own_session: let a terminal's Ctrl-C come to this process only, which passes it on.

    Attributes:
        complaints: the last lines that it wrote to stderr.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path | None = None,
        own_session: bool = False,
    ) -> None:
        self.complaints: deque[str] = deque(maxlen=COMPLAINTS)
        reading, writing = os.pipe()
        self._events = os.fdopen(reading, "rb")
        try:
            self._process = subprocess.Popen(
                list(words),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**environment, DESCRIPTOR: str(writing), PARENT: str(os.getpid())},
                pass_fds=[writing],
                start_new_session=own_session,
            )
        except BaseException:
            self._events.close()
            raise
        finally:
            os.close(writing)
        self._complaining = threading.Thread(target=self._hear_complaints)
        self._complaining.start()

    def events(self) -> Iterator[Event]:
        """Yield what it tells, until it ends."""
        with self._events:
            yield from read_events(self._events)

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its exit code, or minus the number of the signal that killed it."""
        self._complaining.join()
        return self._process.wait()

    def _hear_complaints(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr:
            for line in self._process.stderr:
                self.complaints.append(line.rstrip())

"""A child process that runs one run of a sweep and reports its progress as events."""

import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from metarun.system.events import DESCRIPTOR, Event, read_events
from metarun.system.signals import PARENT

STDERR_LINES = 40  # the last lines of stderr that are kept


class Child:
    """A process that ends when this one does, see `die_with_parent`.

    Args:
        command: the command with its arguments.
        environment: its variables, without the two that identify its parent.
        folder: its working directory; None: the current one.
        own_session: a terminal's Ctrl-C reaches only this process, which forwards it.

    Attributes:
        stderr: the last lines that it wrote to stderr.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path | None = None,
        own_session: bool = False,
    ) -> None:
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)
        reading, writing = os.pipe()
        self._events = os.fdopen(reading, "rb")
        try:
            self._process = subprocess.Popen(
                list(command),
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
        self._stderr_reader = threading.Thread(target=self._read_stderr)
        self._stderr_reader.start()

    def events(self) -> Iterator[Event]:
        """Yield its events until it ends."""
        with self._events:
            yield from read_events(self._events)

    def send_signal(self, number: int) -> None:
        """Send it a signal; does nothing if it has ended."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it ends; return its exit code, or the negative number of the signal that killed it."""
        self._stderr_reader.join()
        return self._process.wait()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr:
            for line in self._process.stderr:
                self.stderr.append(line.rstrip())

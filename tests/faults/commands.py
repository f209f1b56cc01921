"""`metarun` commands as processes that can be killed, starved and lied to.

Each is a process of its own, forked from one that has imported what metarun needs: all that a start from nothing has
besides is three seconds of imports, of which dozens of kills would see little else.
"""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from metarun.cli import main as cli
from scripts.soaking.processes import PROC

PRELOADED = (
    *("metarun.runner.train", "metarun.algorithms", "metarun.backbones", "metarun.cli.hydra_app", "hydra", "pandas"),
    "torch._dynamo",  # torch's optimisers import it when the first one is made
    *("metarun.cli.plot", "metarun.cli.report", "metarun.reporting.html", "matplotlib.pyplot", "scipy.stats"),
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(PRELOADED))


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: its exit code; of one that a signal took, minus the signal's number, as `subprocess` has it.
        out: what it printed.
        err: what it complained of.
    """

    code: int
    out: str
    err: str


class Command:
    """A `metarun` command at work.

    Args:
        words: of the command line.
        folder: where it is run.
        before: is called in the process before the command begins, to bend what the system tells it.
    """

    def __init__(self, words: Sequence[str], folder: Path, before: Callable[[], None] | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name.startswith("METARUN")}
        self._streams = [_Stream(), _Stream()]
        ends = [stream.inner for stream in self._streams]
        self._process = _server.Process(target=_live, args=(list(words), folder, environment, ends, before))
        self._process.start()
        for stream in self._streams:
            stream.begin()
        self._worked = 0.0

    @property
    def alive(self) -> bool:
        """Whether it is still at work."""
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def worked(self) -> float:
        """Seconds of a core that it has had: how far it is, however busy the machine is."""
        try:
            user, system = (PROC / str(self.pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:
            return self._worked
        self._worked = max(self._worked, (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"))
        return self._worked

    def wait(self, worked: float = math.inf, patience: float = 300) -> bool:
        """Wait until it has ended, or has worked for some seconds; return whether it has ended."""
        until = time.monotonic() + patience
        while self.alive and self.worked < worked and time.monotonic() < until:
            time.sleep(0.01)
        return not self.alive

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self._streams[0].text

    def kill(self, number: int) -> None:
        """Send it a signal; if it is gone already, none."""
        if self.alive:
            os.kill(self.pid, number)

    def end(self, patience: float = 300) -> Ended:
        """Wait for its end.

        Raises:
            AssertionError: it does not end.
        """
        if hangs := not self.wait(patience=patience):
            self.kill(signal.SIGKILL)
            self._process.join()
        out, err = (stream.end() for stream in self._streams)
        assert not hangs, f"it did not end within {patience} s: {out}\n{err}"
        code = self._process.exitcode
        self._process.close()
        assert code is not None
        return Ended(code, out, err)


class _Stream:
    """What a process writes into a pipe."""

    def __init__(self) -> None:
        self._outer, self.inner = _server.Pipe(duplex=False)
        self._content = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def begin(self) -> None:
        self.inner.close()  # the process has it
        self._reader.start()

    def _read(self) -> None:
        while piece := os.read(self._outer.fileno(), 1 << 16):
            self._content += piece

    @property
    def text(self) -> str:
        return self._content.decode()

    def end(self) -> str:
        self._reader.join()
        self._outer.close()
        return self.text


def metarun(*words: str, folder: Path, before: Callable[[], None] | None = None) -> Ended:
    """Run a command to its end."""
    return Command(words, folder, before).end()


def _live(
    words: list[str],
    folder: Path,
    environment: dict[str, str],
    streams: Sequence[Connection],
    before: Callable[[], None] | None,
) -> None:
    """Be the command."""
    os.chdir(folder)
    os.environ.update(environment)
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.argv = ["metarun", *words]
    if before is not None:
        before()
    cli.entry()

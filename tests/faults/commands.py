"""Run `metarun` commands as processes that can be killed and given faults.

Each process is forked from one that has imported everything, since most kills would otherwise hit the three seconds of
imports.
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
    *("metarun.cli.plot", "metarun.cli.report", "metarun.reporting.html", "matplotlib.pyplot", "scipy.stats"),
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(PRELOADED))


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: its exit code; minus the signal's number if it was killed, as in `subprocess`.
        out: its stdout.
        err: its stderr.
    """

    code: int
    out: str
    err: str


class Command:
    """A running `metarun` command.

    Args:
        words: of the command line.
        folder: the current folder.
        before: called in the process before the command starts, to inject faults.
    """

    def __init__(self, words: Sequence[str], folder: Path, before: Callable[[], None] | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name.startswith("METARUN")}
        self._streams = [_Stream(), _Stream()]
        ends = [stream.inner for stream in self._streams]
        self._process = _server.Process(target=_run_command, args=(list(words), folder, environment, ends, before))
        self._process.start()
        for stream in self._streams:
            stream.start_reading()
        self._cpu_seconds = 0.0

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds so far, a measure of progress on a busy machine."""
        try:
            user, system = (PROC / str(self.pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:
            return self._cpu_seconds
        self._cpu_seconds = max(self._cpu_seconds, (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"))
        return self._cpu_seconds

    def wait(self, cpu_seconds: float = math.inf, patience: float = 300) -> bool:
        """Wait until it has ended or used some CPU seconds; return whether it has ended."""
        until = time.monotonic() + patience
        while self.alive and self.cpu_seconds < cpu_seconds and time.monotonic() < until:
            time.sleep(0.01)
        return not self.alive

    @property
    def output(self) -> str:
        """The output so far."""
        return self._streams[0].text

    def kill(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.alive:
            os.kill(self.pid, number)

    def end(self, patience: float = 300) -> Ended:
        """Wait until it ends.

        Raises:
            AssertionError: it does not end in time.
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
    """The output that a process writes to a pipe."""

    def __init__(self) -> None:
        self._outer, self.inner = _server.Pipe(duplex=False)
        self._content = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def start_reading(self) -> None:
        self.inner.close()  # only the process needs it
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
    """Run a command until it ends."""
    return Command(words, folder, before).end()


def _run_command(
    words: list[str],
    folder: Path,
    environment: dict[str, str],
    streams: Sequence[Connection],
    before: Callable[[], None] | None,
) -> None:
    """Run the command in this process."""
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

"""A sandbox for bad input: writes outside it are errors, and every answer must be one sentence."""

import io
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from metarun.cli import main as cli
from metarun.errors import RunFailed, UserError

SECONDS = 60.0  # limit per input; none takes one second on an idle machine, but a network may be large
MAX_LENGTH = 3_000  # characters of a message

tried: Counter[str] = Counter()  # number of inputs by kind of answer, over all tests

# Events of Python's audit hooks (sys.audit), and which of their arguments are paths that change.
CHANGES = {
    **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), (0,)),
    **dict.fromkeys(("os.rename", "os.link"), (0, 1)),
    "os.symlink": (1,),
}
NEVER = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "pickle.find_class"),
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TookTooLong(BaseException):
    """Not an `Exception`, so that metarun does not catch it."""


@dataclass(frozen=True)
class Answer:
    """The exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


class Watch:
    """Record what is done outside `allowed` while it is on. There is one, as audit hooks cannot be removed."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False  # the calls below also cause events
        try:
            self._record(event, arguments)
        finally:
            self.on = True

    def _record(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in NEVER:
            self.seen.append(f"{event} {arguments!r:.200}")
        paths = [arguments[i] for i in CHANGES.get(event, ())]
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
            paths = [arguments[0]]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike) and not self._allows(os.fsdecode(path)):
                self.seen.append(f"{event} {os.fsdecode(path)!r}")

    def _allows(self, path: str) -> bool:
        folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100, Path may raise
        where = os.path.join(os.path.realpath(folder), name, "")  # noqa: PTH118
        return path == os.devnull or any(where.startswith(f"{allowed}/") for allowed in self.allowed)


WATCH = Watch()


@contextmanager
def watched() -> Iterator[None]:
    """Fail if the block writes outside the sandbox, starts a process, connects, or takes too long."""
    WATCH.seen.clear()
    started = time.perf_counter()
    WATCH.on = True
    try:
        with at_most(SECONDS):
            yield
    except TookTooLong:
        raise AssertionError(f"it took more than {SECONDS:g} s") from None
    finally:
        WATCH.on = False
    assert not WATCH.seen, f"outside the sandbox: {'; '.join(WATCH.seen)}"
    assert time.perf_counter() - started < SECONDS


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TookTooLong after so many seconds; pytest-timeout's alarm is restored afterwards."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, too_long)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def accepted_or_refused(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or None if it refuses with a message; any other exception is a bug."""
    with watched():
        try:
            returned = call()
        except (UserError, RunFailed) as error:
            check_sentence(str(error))
            tried["refused"] += 1
            return None
    tried["accepted"] += 1
    return returned


def command(*words: str) -> Answer:
    """Run `metarun` in this process and check that it succeeds or ends with an error message."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="replace", write_through=True) for _ in range(2))
    before = sys.argv, list(sys.path)
    sys.argv = ["metarun", *words]
    try:
        with watched(), redirect_stdout(out), redirect_stderr(err):
            code = cli.main()
    finally:
        sys.argv, sys.path[:] = before
    printed, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    answer = Answer(code, printed, said)
    _check(answer)
    tried["refused" if code else "accepted"] += 1
    return answer


def _check(answer: Answer) -> None:
    assert "Traceback" not in answer.err, answer.err
    assert "Warning" not in answer.err, answer.err
    assert answer.code in (0, 1, 2), answer
    if answer.code:
        last = answer.err.splitlines()[-1]
        assert last.startswith(("metarun: error: ", "package '")), answer  # the second is from Hydra
        check_sentence(last)
        assert len(last) <= MAX_LENGTH or last.startswith("package"), (
            f"a message of {len(last):,} characters: {last[:200]}"
        )


def check_sentence(text: str) -> None:
    """Check that a message says something, to people."""
    assert text.strip(), "an empty message"
    assert not re.search(r"<[\w.]+ object at 0x", text), text


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Return each file below a folder with its size and mtime; links are not followed."""
    found = (Path(here, name) for here, folders, names in os.walk(folder) for name in (*folders, *names))
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}

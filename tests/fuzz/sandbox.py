"""A folder that metarun may write in while it is fed bad input, and whether it answered with a sentence."""

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

SECONDS = 60.0  # that one input may take; none in these tests takes one on an idle machine, but a network may be large
LONGEST = 3_000  # characters of a sentence

tried: Counter[str] = Counter()  # how many inputs were answered how, over all tests

# What Python tells its audit hooks of (sys.audit), and which of the arguments are paths that change.
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
    """No `Exception`: nothing that metarun catches."""


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code, what it printed, what it said on stderr, how long it took."""

    code: int
    out: str
    err: str


class Watch:
    """Notes what is done outside `allowed` while it is on. There is one: Python's audit hooks stay for good."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False  # what is asked below is heard too
        try:
            self._judge(event, arguments)
        finally:
            self.on = True

    def _judge(self, event: str, arguments: tuple[Any, ...]) -> None:
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
    """Within the block, fail on what is written outside the sandbox, started or connected to, and on what hangs."""
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
    """Raise TookTooLong after so many seconds; pytest-timeout's own alarm goes on afterwards."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, too_long)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def taken_or_told(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or None where it refuses with a sentence; anything else it raises is a bug."""
    with watched():
        try:
            returned = call()
        except (UserError, RunFailed) as error:
            _check_sentence(str(error))
            tried["told"] += 1
            return None
    tried["taken"] += 1
    return returned


def command(*words: str) -> Answer:
    """Run `metarun` with these words in this process and check how it ends: with a sentence, if not well."""
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
    tried["told" if code else "taken"] += 1
    return answer


def _check(answer: Answer) -> None:
    assert "Traceback" not in answer.err, answer.err
    assert "Warning" not in answer.err, answer.err
    assert answer.code in (0, 1, 2), answer
    if answer.code:
        last = answer.err.splitlines()[-1]
        assert last.startswith(("metarun: error: ", "package '")), answer  # the second is Hydra's own
        _check_sentence(last)
        assert len(last) <= LONGEST or last.startswith("package"), (
            f"a sentence of {len(last):,} characters: {last[:200]}"
        )


def _check_sentence(text: str) -> None:
    assert text.strip(), "an empty sentence"
    assert not re.search(r"<[\w.]+ object at 0x", text), text


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Return each file below a folder with its size and time, links not followed."""
    found = (Path(here, name) for here, folders, names in os.walk(folder) for name in (*folders, *names))
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}

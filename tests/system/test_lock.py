"""One process at a time, with the kernel's locks and without."""

import errno
import fcntl
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from metarun.system.lock import NO_LOCKS, alone

HOLD = """
import sys, time
from pathlib import Path
from metarun.system import lock as alone
if sys.argv[2]:
    def refuse(*_):
        raise OSError(int(sys.argv[2]), "no locks")
    alone.fcntl.flock = refuse
with alone.alone(Path(sys.argv[1]), print):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["kernel", *sorted(NO_LOCKS)], ids=lambda each: errno.errorcode.get(each, each))
def flock(request, monkeypatch):
    """The file system has the kernel's locks, or refuses them in its own way; yields what tells another process."""
    if request.param == "kernel":
        return ""

    def refuse(*_):
        raise OSError(request.param, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    return str(request.param)


def holding(path, flock):
    command = [sys.executable, "-c", HOLD, str(path), flock]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    return process


def in_vain(more):
    raise TimeoutError(more)


@pytest.mark.slow
def test_who_comes_second_waits_and_is_told_once(flock, tmp_path):
    path, told = tmp_path / "new" / ".lock", []
    process = holding(path, flock)
    threading.Timer(1, lambda: (process.kill(), process.wait())).start()
    began = time.monotonic()
    with process, alone(path, told.append):
        assert time.monotonic() - began > 0.5
    assert process.returncode == -signal.SIGKILL, "what a killed process held is free"
    (more,) = told
    if flock:
        marker = re.escape(f"{path}.held")
        assert re.fullmatch(
            rf" There are no locks on this file system: if no process is at work, delete {marker}\.", more
        )
    else:
        assert more == ""
    assert [file.name for file in path.parent.iterdir()] == [".lock"]


def test_who_will_not_wait_is_let_go(flock, tmp_path):
    with holding(tmp_path / ".lock", flock) as process:
        with (
            pytest.raises(TimeoutError, match="There are no locks" if flock else "^$"),
            alone(tmp_path / ".lock", in_vain),
        ):
            pass
        process.kill()


def test_what_is_let_go_can_be_had_again(flock, tmp_path):
    for _ in range(2):
        with alone(tmp_path / ".lock", in_vain):
            pass
    with pytest.raises(ZeroDivisionError, match="by zero"), alone(tmp_path / ".lock", in_vain):
        1 // 0  # noqa: B018
    with alone(tmp_path / ".lock", in_vain):
        pass


def test_a_lock_file_that_was_removed_meanwhile_keeps_nobody_out_and_lets_nobody_in(tmp_path):
    path, entered = tmp_path / "run" / ".lock", []

    def enter(name):
        with alone(path, lambda _: None):
            entered.append(name)
            time.sleep(0.3)
            entered.append(name)

    with alone(path, in_vain):
        waiting = [threading.Thread(target=enter, args=(name,)) for name in "ab"]
        waiting[0].start()
        time.sleep(0.3)  # it waits for the file that is now taken away
        path.unlink()
        path.parent.rmdir()
    waiting[1].start()
    for thread in waiting:
        thread.join()
    assert entered in (["a", "a", "b", "b"], ["b", "b", "a", "a"])


def test_other_errors_of_the_file_system_are_told(monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), alone(tmp_path / ".lock", in_vain):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"File exists|Not a directory"), alone(tmp_path / "file" / ".lock", in_vain):
        pass

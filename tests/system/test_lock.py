"""Exclusive locks, with kernel locks and without."""

import errno
import fcntl
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from metarun.system.lock import NO_LOCK_ERRNOS, exclusive_lock

HOLD = """
import sys, time
from pathlib import Path
from metarun.system import lock
if sys.argv[2]:
    def refuse(*_):
        raise OSError(int(sys.argv[2]), "no locks")
    lock.fcntl.flock = refuse
with lock.exclusive_lock(Path(sys.argv[1]), print):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["kernel", *sorted(NO_LOCK_ERRNOS)], ids=lambda each: errno.errorcode.get(each, each))
def flock(request, monkeypatch):
    """Kernel locks work, or fail with this errno; return the errno for another process."""
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


def give_up(hint):
    raise TimeoutError(hint)


@pytest.mark.slow
def test_a_second_process_waits_and_reports_it_once(flock, tmp_path):
    path, hints = tmp_path / "new" / ".lock", []
    process = holding(path, flock)
    threading.Timer(1, lambda: (process.kill(), process.wait())).start()
    began = time.monotonic()
    with process, exclusive_lock(path, hints.append):
        assert time.monotonic() - began > 0.5
    assert process.returncode == -signal.SIGKILL, "the lock of a killed process is released"
    (hint,) = hints
    if flock:
        marker = re.escape(f"{path}.held")
        assert re.fullmatch(rf" This file system has no locks; if no other process is running, delete {marker}\.", hint)
    else:
        assert hint == ""
    assert [file.name for file in path.parent.iterdir()] == [".lock"]


def test_a_process_can_refuse_to_wait(flock, tmp_path):
    with holding(tmp_path / ".lock", flock) as process:
        with (
            pytest.raises(TimeoutError, match="has no locks" if flock else "^$"),
            exclusive_lock(tmp_path / ".lock", give_up),
        ):
            pass
        process.kill()


def test_a_released_lock_can_be_acquired_again(flock, tmp_path):
    for _ in range(2):
        with exclusive_lock(tmp_path / ".lock", give_up):
            pass
    with pytest.raises(ZeroDivisionError, match="by zero"), exclusive_lock(tmp_path / ".lock", give_up):
        1 // 0  # noqa: B018
    with exclusive_lock(tmp_path / ".lock", give_up):
        pass


def test_removing_the_lock_file_neither_blocks_nor_admits_a_process(tmp_path):
    path, entered = tmp_path / "run" / ".lock", []

    def enter(name):
        with exclusive_lock(path, lambda _: None):
            entered.append(name)
            time.sleep(0.3)
            entered.append(name)

    with exclusive_lock(path, give_up):
        waiting = [threading.Thread(target=enter, args=(name,)) for name in "ab"]
        waiting[0].start()
        time.sleep(0.3)  # it waits for the file that is now removed
        path.unlink()
        path.parent.rmdir()
    waiting[1].start()
    for thread in waiting:
        thread.join()
    assert entered in (["a", "a", "b", "b"], ["b", "b", "a", "a"])


def test_other_file_system_errors_are_raised(monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), exclusive_lock(tmp_path / ".lock", give_up):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"File exists|Not a directory"),
        exclusive_lock(tmp_path / "file" / ".lock", give_up),
    ):
        pass

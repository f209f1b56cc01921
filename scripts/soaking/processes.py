"""Process information from /proc: parents, memory and open files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
KIB_PER_MIB = 1024
PROC = Path("/proc")
RUN = b"hydra.mode=RUN"  # in the command line of a sweep's run


@dataclass(frozen=True)
class ProcessState:
    """The resources of one process at one moment.

    Args:
        pid: process id.
        began: start time in clock ticks; with `pid` it identifies a process uniquely.
        own: MiB of anonymous memory, in RAM or swapped out.
        resident: MiB in RAM, including shared libraries and files.
        files: number of open file descriptors.
        threads: number of threads.
    """

    pid: int
    began: int
    own: float
    resident: float
    files: int
    threads: int


def read_state(pid: int) -> ProcessState | None:
    """Return the current state of a process, or None if it has ended."""
    try:
        stat = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
        files = len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208, names only: a file may be closed meanwhile
    except OSError:
        return None
    kib = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", rollup, re.MULTILINE)}
    if stat[0] == "Z" or "Anonymous" not in kib:
        return None
    own = (kib["Anonymous"] + kib["Swap"]) / KIB_PER_MIB
    return ProcessState(pid, int(stat[19]), own, kib["Rss"] / KIB_PER_MIB, files, int(stat[17]))


def runs_of(sweep: int) -> list[int]:
    """Return the pids of a sweep's active runs."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == sweep and state != "Z" and RUN in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def processes_with(variable: str, value: str) -> list[int]:
    """Return the pids of processes with this environment variable, which child processes inherit."""
    found = []
    for path in PROC.glob("[0-9]*/environ"):
        try:
            if f"{variable}={value}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found

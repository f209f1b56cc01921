"""What the system tells of processes: who started whom, and the memory and open files that each holds."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
KIB_PER_MIB = 1024
PROC = Path("/proc")
RUN = b"hydra.mode=RUN"  # stands in the command line of a sweep's run


@dataclass(frozen=True)
class Look:
    """What one process held when it was looked at.

    Args:
        pid: of the process.
        began: when it was started, in the system's clock ticks; with `pid` it names one process for good.
        own: MiB that nobody else can hold: anonymous memory, in RAM or swapped out.
        resident: MiB in RAM, libraries and files that others read too included.
        files: open file descriptors.
        threads: how many.
    """

    pid: int
    began: int
    own: float
    resident: float
    files: int
    threads: int


def look_at(pid: int) -> Look | None:
    """Return what a process holds now, or None where it is gone."""
    try:
        stat = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
        files = len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208, names alone: a file may be closed meanwhile
    except OSError:
        return None
    kib = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", rollup, re.MULTILINE)}
    if stat[0] == "Z" or "Anonymous" not in kib:
        return None
    own = (kib["Anonymous"] + kib["Swap"]) / KIB_PER_MIB
    return Look(pid, int(stat[19]), own, kib["Rss"] / KIB_PER_MIB, files, int(stat[17]))


def runs_of(sweep: int) -> list[int]:
    """Return the processes in which a sweep's runs are at work."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == sweep and state != "Z" and RUN in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it is gone
            continue
    return found


def processes_with(variable: str, value: str) -> list[int]:
    """Return the processes that have an environment variable of this value: whoever started them handed it on."""
    found = []
    for path in PROC.glob("[0-9]*/environ"):
        try:
            if f"{variable}={value}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found

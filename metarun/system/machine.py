"""The cores, threads and memory that this process may use."""

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def asked_threads() -> int | None:
    """Return the number of threads that OMP_NUM_THREADS asks for; None: it does not."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) or None if given.isdecimal() else None


def threads_of_each(runs: int) -> int:
    """Return how many threads each of some runs at a time has: as many as asked for, or its share of the cores."""
    return asked_threads() or max(1, cores() // runs)


def available_memory() -> int | None:
    """Return the bytes of memory that programs can take without swapping; None if the system does not tell."""
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return 1024 * int(amount.split()[0])
    return None

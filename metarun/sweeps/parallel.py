"""How many runs of a sweep to execute at a time: as many as the cores, the memory and the GPUs allow.

Small networks gain little from a second thread, so each run has one thread while there are more runs than cores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from metarun.errors import UserError, counted
from metarun.results.records import read_result
from metarun.system.machine import asked_threads, available_memory, cores, threads_of_each

ASSUMED_MEMORY = 1.5e9  # bytes of a run that no earlier one tells of: MAML on glyphs takes 1.4 GB, most of it torch
RECENT = 5  # earlier runs of a method on a data set that are read


@dataclass(frozen=True)
class Parallel:
    """How a sweep uses the machine.

    Args:
        runs: at a time.
        threads: of each.
        why: in words.
    """

    runs: int
    threads: int
    why: str

    def __str__(self) -> str:
        each = f"{counted(self.threads, 'thread')} each" if self.runs > 1 else counted(self.threads, "thread")
        return f"{counted(self.runs, 'run')} at a time, {each} ({self.why}); hydra.launcher.n_jobs=N overrides this"


def choose_parallel(jobs: int, gpus: int, memory_of_run: float | None) -> Parallel:
    """Choose how many runs to execute at a time, without using more cores or memory than there are.

    Args:
        jobs: number of runs.
        gpus: visible ones; if there are any, each run has one.
        memory_of_run: bytes that a run is known to need; None: unknown.
    """
    if gpus:
        runs = min(jobs, gpus)
        return Parallel(runs, threads_of_each(runs), counted(gpus, "GPU"))
    by_cores = max(1, cores() // (asked_threads() or 1))
    free, each = available_memory(), memory_of_run or ASSUMED_MEMORY
    by_memory = max(1, int(free / each)) if free else by_cores
    runs = max(1, min(jobs, by_cores, by_memory))
    about = "about" if memory_of_run else "assuming"
    memory = f", {free / 1e9:.1f} GB free, {about} {each / 1e9:.1f} GB a run" if free else ""
    return Parallel(runs, threads_of_each(runs), f"{counted(cores(), 'core')}{memory}")


def known_memory(runs: Path, methods_and_data: Sequence[tuple[str, str]]) -> float | None:
    """Return the bytes that the largest of these runs needed before; None if one of them has never been run.

    Args:
        runs: the folder of finished runs.
        methods_and_data: of each run, as in the names of their folders.
    """
    peaks = []
    for algo, data in dict.fromkeys(methods_and_data):
        found = sorted(runs.glob(f"{escape(algo)}-{escape(data)}-*/result.json"), key=_modified, reverse=True)[:RECENT]
        known = [peak for path in found if (peak := _peak(path)) is not None]
        if not known:
            return None
        peaks.append(max(known))
    return max(peaks, default=None)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _peak(path: Path) -> float | None:
    try:
        record = read_result(path) or {}
    except UserError:
        return None
    peak = record.get("peak_memory_mb", 0)
    return 2.0**20 * peak if peak > 0 and record.get("device") == "cpu" else None

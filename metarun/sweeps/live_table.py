"""The live table of a sweep on a terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from metarun.sweeps.job import Job
from metarun.system.durations import format_duration

RUNNING = ("starting", "waiting", "training", "testing")
OTHER_LINES = 4  # lines of a terminal that do not show runs: head, foot, and earlier output


def live_table(jobs: Sequence[Job], total: int, n_jobs: int, height: int, seconds: float = 0) -> Group:
    """Return a table of runs, followed by a line that counts the runs in each state.

    Args:
        jobs: the started jobs, in order.
        total: number of jobs in the sweep.
        n_jobs: number of jobs that run in parallel.
        height: of the terminal; jobs that do not fit are hidden, those done first, running ones never.
        seconds: since the sweep started, from which the time left is estimated.
    """
    table = Table("run", "state", box=None, pad_edge=False)
    for name in ("step", "meta-val", "meta-test", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for job in _by_relevance(jobs)[: max(n_jobs, height - OTHER_LINES)]:
        left = job.left if job.state in RUNNING else ""
        reason = job.reason if job.state == "failed" else ""
        styles = {"failed": "red", "done": "green"}
        state = Text(job.state, styles.get(job.state, ""))
        table.add_row(Text(job.label), state, job.step, job.figure, job.result, left, Text(reason))
    return Group(table, Text(_counts(jobs, total, n_jobs) + _left(jobs, total, seconds), style="dim"))


def _left(jobs: Sequence[Job], total: int, seconds: float) -> str:
    """Estimate the time left from the runs that have ended, a running one counted as half done."""
    ended = sum(job.state not in RUNNING for job in jobs)
    if not ended or ended == total or not seconds:
        return ""
    done = ended + (len(jobs) - ended) / 2
    return f"; about {format_duration(seconds * (total - done) / done)} left"


def _by_relevance(jobs: Sequence[Job]) -> list[Job]:
    """Running jobs first, then failed ones, then the others; the latest failed and the latest others first."""
    running = [job for job in jobs if job.state in RUNNING]
    failed = [job for job in reversed(jobs) if job.state == "failed"]
    return running + failed + [job for job in reversed(jobs) if job.state not in (*RUNNING, "failed")]


def _counts(jobs: Sequence[Job], total: int, n_jobs: int) -> str:
    states = Counter(job.state for job in jobs)
    ended = [f"{states[state]} {state}" for state in ("done", "failed", "pruned") if states[state]]
    running = sum(states[state] for state in RUNNING)
    counts = [*ended, f"{running} running", f"{total - len(jobs)} pending"]
    return f"{', '.join(counts)}, of {total}; {n_jobs} in parallel"

"""What a sweep shows on a terminal while it goes on."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from metarun.sweeps.job import Job

AT_WORK = ("starting", "waiting", "training", "testing")
BESIDE = 4  # lines of a terminal that are not runs: the head, the foot, and what stood there before


def live_table(jobs: Sequence[Job], total: int, at_a_time: int, height: int) -> Group:
    """Return a table of runs, with how many of all are in which state below it.

    Args:
        jobs: that were begun, in order.
        total: how many there will be.
        at_a_time: how many are at work at once.
        height: of the terminal; what does not fit is left away: first what has long been done, never what is at work.
    """
    table = Table("run", "state", box=None, pad_edge=False)
    for name in ("step", "meta-val", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for job in _most_telling(jobs)[: max(at_a_time, height - BESIDE)]:
        left = job.left if job.state in AT_WORK else ""
        reason = job.reason if job.state == "failed" else ""
        styles = {"failed": "red", "done": "green"}
        state = Text(job.state, styles.get(job.state, ""))
        table.add_row(Text(job.label), state, job.step, job.figure, left, Text(reason))
    return Group(table, Text(_counts(jobs, total, at_a_time), style="dim"))


def _most_telling(jobs: Sequence[Job]) -> list[Job]:
    """What is at work first, then what failed, then the others, the last first."""
    working = [job for job in jobs if job.state in AT_WORK]
    failed = [job for job in reversed(jobs) if job.state == "failed"]
    return working + failed + [job for job in reversed(jobs) if job.state not in (*AT_WORK, "failed")]


def _counts(jobs: Sequence[Job], total: int, at_a_time: int) -> str:
    states = Counter(job.state for job in jobs)
    ended = [f"{states[state]} {state}" for state in ("done", "failed", "pruned") if states[state]]
    working = sum(states[state] for state in AT_WORK)
    told = [*ended, f"{working} at work", f"{total - len(jobs)} to come"]
    return f"{', '.join(told)}, of {total}; {at_a_time} at a time"

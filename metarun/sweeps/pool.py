"""Sweeps that survive: every run is the command that a user could type, in a process of its own.

What a run tells of itself by events makes the table of all of them. Killing this process ends the others: each asks the
system for a signal when its parent is gone (`die_with_parent`), saves, and leaves; the same sweep resumes from there.
"""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console, Group
from rich.live import Live

from metarun.errors import FULL_TRACE, Interrupted, UserError
from metarun.sweeps.child import Child
from metarun.sweeps.job import Job, jobs_of
from metarun.sweeps.live_table import live_table

CORES_PER_RUN = 4


def run_pool(
    config: DictConfig, task_function: Any, job_overrides: Sequence[Sequence[str]], first: int, n_jobs: int | None
) -> list[JobReturn]:
    """Run the jobs of a sweep, `n_jobs` at a time; tell how they go; write the sweep's tables.

    Args:
        config: of the sweep, with Hydra's own part.
        task_function: the verb's, whose `failures` take the exit codes of runs that failed.
        job_overrides: the words of each job.
        first: number of the first job.
        n_jobs: at a time; None: `room_for`.

    Raises:
        Interrupted: a signal came; the runs at work have saved what they need to go on.
        UserError: torchrun started this process.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError(
            "torchrun splits one run, and a sweep starts processes of its own", "leave out torchrun, or -m."
        )
    jobs = jobs_of(job_overrides, first)
    Pool(config, min(len(jobs), n_jobs or room_for()), lambda: len(jobs)).run(jobs)
    return conclude(config, task_function, jobs)


def conclude(config: DictConfig, task_function: Any, jobs: Sequence[Job]) -> list[JobReturn]:
    """Write the tables of a sweep of which all runs have ended, and say which of them failed."""
    from metarun.sweeps.tables import write_tables  # pandas, which no run need wait for

    write_tables(Path(config.hydra.sweep.dir), [job.path for job in jobs if job.state == "done" and job.path])
    failed = [job for job in jobs if job.state == "failed"]
    for job in failed:
        print(f"metarun: error: [{job.label}] {job.reason}", file=sys.stderr)
    if failed:
        how = "retry_failed=true tries them again, the other runs are there"
        print(f"metarun: {len(failed)} of {len(jobs)} runs failed; {how}.", file=sys.stderr)
        task_function.failures.append(1)
    return [JobReturn(overrides=job.words, status=JobStatus.COMPLETED, _return_value=job.code) for job in jobs]


def room_for() -> int:
    """How many runs at a time this machine has room for."""
    return len(gpus()) or max(1, (os.cpu_count() or 1) // CORES_PER_RUN)


def gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs that may be used, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


class Pool:
    """Runs jobs, several at a time, each in a process of its own, and shows how they go.

    Args:
        config: of the sweep, with Hydra's own part.
        at_a_time: how many.
        total: says how many jobs there will be.
        looked: told the step and the score when a run looked at meta-val; returns whether to end it, pruned.
        ended: told when a run has ended.
    """

    def __init__(
        self,
        config: DictConfig,
        at_a_time: int,
        total: Callable[[], int],
        looked: Callable[[Job, int, float], bool] = lambda *_: False,
        ended: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.command = command_of_one(config)
        self.jobs: list[Job] = []
        self.at_a_time = max(1, at_a_time)
        self.total = total
        self.looked = looked
        self.ended = ended
        self.console = Console()
        self.lock = threading.RLock()
        self.children: set[Child] = set()
        self.stopped_by: int | None = None
        self.free_gpus = deque(gpus())
        self.live: Live | None = None

    def run(self, jobs: Iterable[Job]) -> None:
        """Run all jobs, each taken when there is room for it; on a signal let those at work save, raise `Interrupted`.

        `jobs`, `looked` and `ended` are called by one thread at a time.
        """
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if self.console.is_terminal:
                with Live(console=self.console, get_renderable=self._table, refresh_per_second=2) as self.live:
                    self._run_all(iter(jobs))
            else:
                self._run_all(iter(jobs))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stopped_by is not None:
            raise Interrupted(self.stopped_by)

    def _run_all(self, jobs: Iterator[Job]) -> None:
        with ThreadPoolExecutor(self.at_a_time) as workers:
            working = [workers.submit(self._work, jobs) for _ in range(self.at_a_time)]
        for done in working:
            done.result()

    def _work(self, jobs: Iterator[Job]) -> None:
        """Run one job after another for as long as there are some."""
        while True:
            with self.lock:
                job = None if self.stopped_by is not None else next(jobs, None)
                if job is None:
                    return
                self.jobs.append(job)
            self._run_one(job)

    def _run_one(self, job: Job) -> None:
        with self.lock:
            if self.stopped_by is not None:
                return
            gpu = self.free_gpus.popleft() if self.free_gpus else None
            child = Child([*self.command, *job.words], self._environment(gpu), own_session=True)
            self.children.add(child)
        for event in child.events():
            look = job.update(event)
            self._tell(job, event.get("said", ""))
            with self.lock:
                if look is not None and not job.pruned and self.looked(job, *look):
                    job.pruned = True
                    child.send_signal(signal.SIGTERM)
        job.code, job.complaints = child.wait(), child.complaints
        with self.lock:
            self.children.remove(child)
            if gpu is not None:
                self.free_gpus.append(gpu)
            job.state = self._end_of(job)
            if job.state != "stopped":
                self.ended(job)
        self._tell(job, f"{job.state}{'' if job.state != 'failed' else f': {job.reason}'}")

    def _end_of(self, job: Job) -> str:
        if job.code == 0:
            return "done"
        if job.pruned and job.code == 128 + signal.SIGTERM:
            return "pruned"
        return "stopped" if self.stopped_by is not None else "failed"

    def _stop(self, number: int, frame: object) -> None:  # noqa: ARG002, the signature of a handler
        self.stopped_by = number
        for child in list(self.children):
            child.send_signal(signal.SIGTERM)

    def _environment(self, gpu: str | None) -> dict[str, str]:
        threads = max(1, (os.cpu_count() or 1) // self.at_a_time)
        own = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        return {"OMP_NUM_THREADS": str(threads), **environment_of_one(FULL_TRACE), **own}

    def _tell(self, job: Job, line: str) -> None:
        """Where there is no live table, pass on what a run says for people."""
        if self.live is None and line:
            print(f"[{job.number}: {job.label}] {line}", flush=True)

    def _table(self) -> Group:
        return live_table(self.jobs, self.total(), self.at_a_time, self.console.height)


def command_of_one(config: DictConfig) -> list[str]:
    """Return the command that makes one run of a sweep, but for the words that tell which."""
    # One run, although its words name the sweep's YAML file again where there is one.
    return [sys.executable, "-m", "metarun", config.hydra.job.name, "hydra.mode=RUN", *_flags(config)]


def environment_of_one(full_trace: bool) -> dict[str, str]:
    """Return the environment variables of a run; a sweep sets one for itself, unless the user wants full traces."""
    return {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR" or full_trace}


def _flags(config: DictConfig) -> list[str]:
    """The flags that made Hydra find this sweep's configs."""
    sources = {source.provider: source.path for source in config.hydra.runtime.config_sources}
    flags = ["--config-name", config.hydra.job.config_name]
    flags += ["--config-path", sources["main"]] if "main" in sources else []
    return flags + (["--config-dir", sources["command-line"]] if "command-line" in sources else [])

"""Run a sweep in a pool of processes: each run is a `metarun` command in a process of its own.

The runs report events, from which the live table is made. If this process is killed, each run receives a signal
(`die_with_parent`), saves a checkpoint and exits; the same sweep resumes from there.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import takewhile
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
from metarun.sweeps.parallel import choose_parallel, known_memory
from metarun.system.machine import threads_of_each


def run_pool(
    config: DictConfig, task_function: Any, job_overrides: Sequence[Sequence[str]], first: int, n_jobs: int | None
) -> list[JobReturn]:
    """Run the jobs of a sweep, `n_jobs` in parallel, show their progress, and write the sweep's tables.

    Args:
        config: of the sweep, including Hydra's part.
        task_function: of the command; the exit codes of failed runs are added to its `failures`.
        job_overrides: of each job.
        first: number of the first job.
        n_jobs: number of parallel runs; None: as many as pay off on this machine, which a line says.

    Raises:
        Interrupted: a signal arrived; the running jobs have saved a checkpoint.
        UserError: torchrun started this process.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError("a sweep cannot run under torchrun, which splits a single run", "omit torchrun, or -m.")
    jobs = jobs_of(job_overrides, first)
    if n_jobs is None:
        n_jobs = _choose_n_jobs(config, jobs)
    Pool(config, min(len(jobs), n_jobs), lambda: len(jobs)).run(jobs)
    return finish_sweep(config, task_function, jobs)


def finish_sweep(config: DictConfig, task_function: Any, jobs: Sequence[Job]) -> list[JobReturn]:
    """Write the tables of a finished sweep and report its failed runs."""
    from metarun.sweeps.tables import write_tables  # pandas: imported when all runs have ended

    write_tables(Path(config.hydra.sweep.dir), [job.path for job in jobs if job.state == "done" and job.path])
    failed = [job for job in jobs if job.state == "failed"]
    for job in failed:
        print(f"metarun: error: [{job.label}] {job.reason}", file=sys.stderr)
    if failed:
        remedy = "add retry_failed=true to repeat only these"
        print(f"metarun: {len(failed)} of {len(jobs)} runs failed; {remedy}.", file=sys.stderr)
        task_function.failures.append(1)
    return [JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED, _return_value=job.code) for job in jobs]


def _choose_n_jobs(config: DictConfig, jobs: Sequence[Job]) -> int:
    """Choose how many jobs to run in parallel, and say so."""
    known = known_memory(Path(config.results_dir) / "runs", [_method_and_data(config, job) for job in jobs])
    chosen = choose_parallel(len(jobs), len(gpus()), known)
    if len(jobs) > 1:
        print(chosen, flush=True)
    return chosen.runs


def _method_and_data(config: DictConfig, job: Job) -> tuple[str, str]:
    given = dict(override.split("=", 1) for override in job.overrides if "=" in override)
    algo, data = (given.get(key) or config.hydra.runtime.choices.get(key) or "" for key in ("algo", "data"))
    return algo, data


def gpus() -> list[str]:
    """Return the visible NVIDIA GPUs, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = (name.strip() for name in visible.split(","))
        return list(takewhile(lambda name: name and not name.startswith("-"), names))  # CUDA ignores what follows a -1
    return [str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


class Pool:
    """Runs jobs in parallel, each in a process of its own, and shows their progress.

    Args:
        config: of the sweep, including Hydra's part.
        n_jobs: number of parallel jobs.
        total: returns the number of jobs.
        on_validation: called with the job, step and score after each validation; returns whether to prune the job.
        on_end: called when a job has ended.
    """

    def __init__(
        self,
        config: DictConfig,
        n_jobs: int,
        total: Callable[[], int],
        on_validation: Callable[[Job, int, float], bool] = lambda *_: False,
        on_end: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.command = run_command(config)
        self.jobs: list[Job] = []
        self.n_jobs = max(1, n_jobs)
        self.total = total
        self.on_validation = on_validation
        self.on_end = on_end
        self.console = Console()
        self.lock = threading.RLock()
        self.children: set[Child] = set()
        self.stopped_by: int | None = None
        self.jobs_on = dict.fromkeys(gpus(), 0)  # GPU → its running jobs
        self.live: Live | None = None
        self.started = time.monotonic()

    def run(self, jobs: Iterable[Job]) -> None:
        """Run all jobs. On a signal, let the running ones save a checkpoint and raise `Interrupted`.

        `jobs`, `on_validation` and `on_end` are called by one thread at a time.
        """
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            shown = Live(console=self.console, get_renderable=self._table, refresh_per_second=2)
            with shown if self.console.is_terminal else nullcontext() as self.live:
                waiting = iter(jobs)
                with ThreadPoolExecutor(self.n_jobs) as executor:
                    workers = [executor.submit(self._work, waiting) for _ in range(self.n_jobs)]
                for worker in workers:
                    worker.result()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stopped_by is not None:
            raise Interrupted(self.stopped_by)

    def _work(self, jobs: Iterator[Job]) -> None:
        """Run one job after another until none is left."""
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
            gpu = min(self.jobs_on, key=self.jobs_on.__getitem__, default=None)
            if gpu is not None:
                self.jobs_on[gpu] += 1
            child = Child([*self.command, *job.overrides], self._environment(gpu), own_session=True)
            self.children.add(child)
            if self.stopped_by is not None:  # the signal arrived meanwhile, and its handler did not see this child
                child.send_signal(signal.SIGTERM)
        for event in child.events():
            validation = job.update(event)
            self._print(job, event.get("said", ""))
            with self.lock:
                if validation is not None and not job.pruned and self.on_validation(job, *validation):
                    job.pruned = True
                    child.send_signal(signal.SIGTERM)
        job.code, job.stderr = child.wait(), child.stderr
        with self.lock:
            self.children.remove(child)
            if gpu is not None:
                self.jobs_on[gpu] -= 1
            job.state = self._end_state(job)
            if job.state != "stopped":
                self.on_end(job)
        self._print(job, f"{job.state}{'' if job.state != 'failed' else f': {job.reason}'}")

    def _end_state(self, job: Job) -> str:
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
        own = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        return {"OMP_NUM_THREADS": str(threads_of_each(self.n_jobs)), **run_environment(FULL_TRACE), **own}

    def _print(self, job: Job, line: str) -> None:
        """Print a message of a run, unless there is a live table."""
        if self.live is None and line:
            print(f"[{job.number}: {job.label}] {line}", flush=True)

    def _table(self) -> Group:
        seconds = time.monotonic() - self.started
        return live_table(self.jobs, self.total(), self.n_jobs, self.console.height, seconds)


def run_command(config: DictConfig) -> list[str]:
    """Return the command of one run of a sweep, without the overrides of the job."""
    # hydra.mode=RUN, because the job's overrides may include +sweep=NAME, which would start another sweep.
    return [sys.executable, "-m", "metarun", config.hydra.job.name, "hydra.mode=RUN", *_flags(config)]


def run_environment(full_trace: bool) -> dict[str, str]:
    """Return the environment of a run, without the HYDRA_FULL_ERROR that the sweep sets for itself."""
    return {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR" or full_trace}


def _flags(config: DictConfig) -> list[str]:
    """The flags that locate this sweep's configs."""
    sources = {source.provider: source.path for source in config.hydra.runtime.config_sources}
    flags = ["--config-name", config.hydra.job.config_name]
    flags += ["--config-path", sources["main"]] if "main" in sources else []
    return flags + (["--config-dir", sources["command-line"]] if "command-line" in sources else [])

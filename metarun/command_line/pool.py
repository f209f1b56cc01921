"""Sweeps that survive: every run is the command that a user could type, in a process of its own.

What one run prints is parsed for the table of all of them. Killing this process ends the others: each asks the system
for a signal when its parent is gone (`die_with_parent`), saves, and leaves; the same sweep goes on from there.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from metarun.command_line.orphan import PARENT
from metarun.errors import Interrupted, UserError

CORES_PER_RUN = 4
SHOWN = 20  # runs in the live table


@dataclass
class Job:
    """One run of a sweep: its words, and what it last said of itself.

    Args:
        number: in the sweep.
        words: the overrides that the user would type.
        state: waiting, training, testing, done, failed, or stopped.
        said: its last line.
        path: its run directory, once it said so.
        code: its exit code.
    """

    number: int
    words: list[str]
    state: str = "waiting"
    said: str = ""
    path: Path | None = None
    code: int | None = None
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=40))

    def hear(self, line: str) -> None:
        """Take note of a line that the run printed."""
        if line.startswith("→ "):
            self.path = Path(line[2:])
        elif line.startswith("meta-training "):
            self.state = "training"
        elif line.startswith("meta-testing "):
            self.state = "testing"
        elif re.match(r"step |\d[\d,]* of |This run is there|going on", line):
            self.said = line

    @property
    def reason(self) -> str:
        """Why it failed, one line."""
        told = [line for line in self.complaints if line.startswith("metarun: error: ")]
        if told:
            return told[-1].removeprefix("metarun: error: ")
        if self.code is not None and self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}, perhaps for want of memory"
        return self.complaints[-1] if self.complaints else f"exit code {self.code}"


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
        raise UserError("torchrun splits one run, and a sweep starts processes of its own; leave out torchrun, or -m.")
    jobs = [Job(first + i, list(words)) for i, words in enumerate(job_overrides)]
    at_a_time = max(1, min(len(jobs), n_jobs or room_for()))
    pool = _Pool(config, jobs, at_a_time, Console())
    pool.run()
    failed = [job for job in jobs if job.state == "failed"]
    from metarun.command_line.sweep_tables import write_tables  # pandas, which no run need wait for

    write_tables(Path(config.hydra.sweep.dir), [job.path for job in jobs if job.state == "done" and job.path])
    for job in failed:
        print(f"metarun: error: [{' '.join(job.words)}] {job.reason}", file=sys.stderr)
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


class _Pool:
    def __init__(self, config: DictConfig, jobs: list[Job], at_a_time: int, console: Console) -> None:
        # One run, although its words name the sweep's YAML file again where there is one.
        self.command = [sys.executable, "-m", "metarun", config.hydra.job.name, "hydra.mode=RUN", *_flags(config)]
        self.jobs = jobs
        self.at_a_time = at_a_time
        self.console = console
        self.lock = threading.Lock()
        self.children: set[subprocess.Popen[str]] = set()
        self.stopped_by: int | None = None
        self.free_gpus = deque(gpus())
        self.live: Live | None = None

    def run(self) -> None:
        """Run all jobs; on a signal let those at work save, and raise `Interrupted`."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if self.console.is_terminal:
                with Live(console=self.console, get_renderable=self._table, refresh_per_second=2) as self.live:
                    self._run_all()
            else:
                self._run_all()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stopped_by is not None:
            raise Interrupted(self.stopped_by)

    def _run_all(self) -> None:
        with ThreadPoolExecutor(self.at_a_time) as workers:
            waiting = [workers.submit(self._run_one, job) for job in self.jobs]
        for done in waiting:
            done.result()

    def _run_one(self, job: Job) -> None:
        with self.lock:
            if self.stopped_by is not None:
                return
            gpu = self.free_gpus.popleft() if self.free_gpus else None
            child = subprocess.Popen(
                [*self.command, *job.words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=self._environment(gpu),
                start_new_session=True,  # a terminal's Ctrl-C comes to this process, which passes it on
            )
            self.children.add(child)
        complaining = threading.Thread(target=self._hear_complaints, args=(job, child))
        complaining.start()
        assert child.stdout is not None
        for line in child.stdout:
            job.hear(line.rstrip())
            self._tell(job, line.rstrip())
        complaining.join()
        job.code = child.wait()
        child.stdout.close()
        with self.lock:
            self.children.remove(child)
            if gpu is not None:
                self.free_gpus.append(gpu)
            job.state = "done" if job.code == 0 else "stopped" if self.stopped_by is not None else "failed"
        self._tell(job, f"{job.state}{'' if job.state != 'failed' else f': {job.reason}'}")

    def _hear_complaints(self, job: Job, child: subprocess.Popen[str]) -> None:
        assert child.stderr is not None
        with child.stderr:
            for line in child.stderr:
                job.complaints.append(line.rstrip())

    def _stop(self, number: int, frame: object) -> None:  # noqa: ARG002, the signature of a handler
        self.stopped_by = number
        for child in list(self.children):
            child.send_signal(signal.SIGTERM)

    def _environment(self, gpu: str | None) -> dict[str, str]:
        threads = max(1, (os.cpu_count() or 1) // self.at_a_time)
        own = {PARENT: str(os.getpid()), **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}
        return {"OMP_NUM_THREADS": str(threads), **os.environ, **own}

    def _tell(self, job: Job, line: str) -> None:
        """Where there is no live table, pass on what matters."""
        if self.live is None and re.match(r"step .*meta-val|meta-|done|failed|stopped|This run|going on", line):
            print(f"[{job.number}: {' '.join(job.words)}] {line}", flush=True)

    def _table(self) -> Group:
        table = Table("run", "state", "last heard", box=None, pad_edge=False)
        working = [job for job in self.jobs if job.state in ("training", "testing")]
        others = [job for job in self.jobs if job not in working]
        styles = {"failed": "red", "done": "green", "waiting": "dim"}
        for job in (working + others)[:SHOWN]:
            said = job.reason if job.state == "failed" else job.said
            table.add_row(" ".join(job.words), Text(job.state, styles.get(job.state, "")), said)
        counts = [f"{sum(job.state == state for job in self.jobs)} {state}" for state in ("done", "failed", "waiting")]
        return Group(table, Text(f"{', '.join(counts)} of {len(self.jobs)}; {self.at_a_time} at a time", style="dim"))


def _flags(config: DictConfig) -> list[str]:
    """The flags that made Hydra find this sweep's configs."""
    sources = {source.provider: source.path for source in config.hydra.runtime.config_sources}
    flags = ["--config-name", config.hydra.job.config_name]
    flags += ["--config-path", sources["main"]] if "main" in sources else []
    return flags + (["--config-dir", sources["command-line"]] if "command-line" in sources else [])

"""Sweeps on engines that others made: joblib, submitit on this machine, Slurm through submitit, Ray.

As in a pool, every run is the command that a user could type, in a process of its own; the engine says when and where.
"""

import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from metarun.command_line.job import Job, jobs_of
from metarun.command_line.mistakes import FULL_TRACE
from metarun.command_line.pool import command_of_one, conclude, environment_of_one
from metarun.errors import UserError
from metarun.orphan import PARENT

WORTH_TELLING = r"step .*meta-val|meta-|This run|going on|→ "
COMPLAINTS = 40  # last lines of stderr that come back


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its number among the others, its exit code, its run directory, what it complained of."""

    number: int
    code: int
    path: str | None
    complaints: tuple[str, ...]


_at_work: list[subprocess.Popen[str]] = []  # of this process


@dataclass(frozen=True)
class Command:
    """One run as the engine's worker sees it; can be pickled.

    Args:
        number: of the job.
        label: that tells it from the others, for the log.
        words: the whole command.
        folder: where it is run.
        full_trace: whether the user wants to see tracebacks.
        variables: metarun's own of the environment, which a worker on another machine may not have.
    """

    number: int
    label: str
    words: list[str]
    folder: str
    full_trace: bool
    variables: dict[str, str]

    def __call__(self) -> Outcome:
        """Run it to its end, passing on what matters of what it says."""
        path = None
        complaints: deque[str] = deque(maxlen=COMPLAINTS)
        with subprocess.Popen(
            self.words,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**environment_of_one(self.full_trace), **self.variables, PARENT: str(os.getpid())},
        ) as process:
            _at_work.append(process)
            assert process.stdout is not None
            assert process.stderr is not None
            hearing = threading.Thread(target=complaints.extend, args=(map(str.rstrip, process.stderr),))
            hearing.start()
            for line in process.stdout:
                if re.match(WORTH_TELLING, line):
                    print(f"[{self.number}: {self.label}] {line.rstrip()}", flush=True)
                if line.startswith("→ "):
                    path = line[2:].strip()
            hearing.join()
            code = process.wait()
            _at_work.remove(process)
        return Outcome(self.number, code, path, tuple(complaints))

    def checkpoint(self) -> Any:
        """Let the run save itself and be submitted again: called by submitit before a time limit or a preemption."""
        import submitit

        for process in _at_work:
            process.send_signal(signal.SIGTERM)
            process.wait()
        return submitit.helpers.DelayedSubmission(self)


Engine = Callable[[Sequence[Command], dict[str, Any]], Iterator[Outcome]]


def run_on_engine(
    config: DictConfig,
    task_function: Any,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    engine: str,
    settings: dict[str, Any],
) -> list[JobReturn]:
    """Run the jobs of a sweep on an engine; write the sweep's tables and say which failed.

    Args:
        config: of the sweep, with Hydra's own part.
        task_function: the verb's, whose `failures` take the exit codes of runs that failed.
        job_overrides: the words of each job.
        first: number of the first job.
        engine: a key of `ENGINES`.
        settings: of the engine, by its own names.

    Raises:
        UserError: the engine is not installed, or is not to be had here.
    """
    jobs = jobs_of(job_overrides, first)
    by_number = {job.number: job for job in jobs}
    one, folder = command_of_one(config), str(Path.cwd())
    own = {name: value for name, value in os.environ.items() if name.startswith("METARUN_") and name != PARENT}
    commands = [Command(job.number, job.label, [*one, *job.words], folder, FULL_TRACE, own) for job in jobs]
    extra, start = ENGINES[engine]
    try:
        for outcome in start(commands, settings):
            _take(by_number[outcome.number], outcome)
    except ImportError as error:
        raise UserError(f"hydra/launcher={engine} needs {error.name}: pip install 'metarun[{extra}]'.") from error
    return conclude(config, task_function, jobs)


def _take(job: Job, outcome: Outcome) -> None:
    job.code, job.path = outcome.code, Path(outcome.path) if outcome.path else None
    job.complaints.extend(outcome.complaints)
    job.state = "done" if outcome.code == 0 else "failed"
    print(f"[{job.number}: {job.label}] {job.state}{'' if job.state == 'done' else f': {job.reason}'}", flush=True)


def _on_joblib(commands: Sequence[Command], settings: dict[str, Any]) -> Iterator[Outcome]:
    import joblib

    calls = (joblib.delayed(command)() for command in commands)
    return iter(joblib.Parallel(return_as="generator_unordered", **settings)(calls))


def _on_submitit(cluster: str) -> Engine:
    def run(commands: Sequence[Command], settings: dict[str, Any]) -> Iterator[Outcome]:
        import submitit

        folder, at_a_time = settings.pop("folder"), settings.pop("at_a_time", None) or len(commands)
        again = settings.pop("max_num_timeout", None)
        try:
            own = {} if again is None else {f"{cluster}_max_num_timeout": again}
            executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **own)
        except RuntimeError as error:
            raise UserError(f"hydra/launcher=submitit_{cluster}: {error}.") from error
        executor.update_parameters(**settings)
        for begin in range(0, len(commands), at_a_time):
            some = commands[begin : begin + at_a_time]
            try:
                with executor.batch():
                    submitted = [executor.submit(command) for command in some]
            except submitit.core.utils.FailedJobError as error:
                raise UserError(f"hydra/launcher=submitit_{cluster}: {error}") from error
            numbers = dict(zip(map(id, submitted), some, strict=True))
            for job in submitit.helpers.as_completed(submitted):
                yield _outcome(job, numbers[id(job)])

    return run


def _outcome(job: Any, command: Command) -> Outcome:
    """What a job of submitit came to; one whose process is gone has left no result."""
    try:
        found: Outcome = job.result()
    except Exception as error:  # submitit has several kinds, and hands on whatever a worker raised
        sentence = " ".join(str(error).split())
        return Outcome(command.number, 1, None, (f"metarun: error: {sentence or type(error).__name__}",))
    return found


def _on_ray(commands: Sequence[Command], settings: dict[str, Any]) -> Iterator[Outcome]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere that nobody asked for
    import ray

    address = settings.pop("address")
    ray.init(address=address, log_to_driver=True, include_dashboard=None if address else False)
    try:
        call = ray.remote(**settings)(_call)
        waiting = {call.remote(command): command for command in commands}
        while waiting:
            (ended,), _ = ray.wait(list(waiting), num_returns=1)
            command = waiting.pop(ended)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as error:
                sentence = " ".join(str(error).split())
                yield Outcome(command.number, 1, None, (f"metarun: error: {sentence}",))
    finally:
        ray.shutdown()


def _call(command: Command) -> Outcome:
    return command()


# By the name of the launcher: the extra that brings it, and what runs commands on it.
ENGINES: dict[str, tuple[str, Engine]] = {
    "joblib": ("joblib", _on_joblib),
    "submitit_local": ("slurm", _on_submitit("local")),
    "submitit_slurm": ("slurm", _on_submitit("slurm")),
    "ray": ("ray", _on_ray),
}

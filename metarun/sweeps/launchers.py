"""Sweeps on engines that others made: joblib, submitit on this machine, Slurm through submitit, Ray.

As in a pool, every run is the command that a user could type, in a process of its own; the engine says when and where.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from metarun.errors import FULL_TRACE, UserError
from metarun.sweeps.child import Child
from metarun.sweeps.job import Job, jobs_of
from metarun.sweeps.pool import command_of_one, conclude, environment_of_one
from metarun.system.signals import PARENT


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its number among the others, its exit code, its run directory, why it failed."""

    number: int
    code: int
    path: str | None
    reason: str


_at_work: list[Child] = []  # of this process


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
        """Run it to its end, passing on what it says for people."""
        job = Job(self.number, self.words, self.label)
        child = Child(self.words, {**environment_of_one(self.full_trace), **self.variables}, Path(self.folder))
        _at_work.append(child)
        for event in child.events():
            job.update(event)
            if said := event.get("said"):
                print(f"[{self.number}: {self.label}] {said}", flush=True)
        job.code, job.complaints = child.wait(), child.complaints
        _at_work.remove(child)
        return Outcome(self.number, job.code, str(job.path) if job.path else None, job.reason)

    def checkpoint(self) -> Any:
        """Let the run save itself and be submitted again: called by submitit before a time limit or a preemption."""
        import submitit

        for child in _at_work:
            child.send_signal(signal.SIGTERM)
            child.wait()
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
    job.failure = outcome.reason
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
        return Outcome(command.number, 1, None, sentence or type(error).__name__)
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
                yield Outcome(command.number, 1, None, sentence)
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

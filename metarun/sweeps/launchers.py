"""Sweeps on other engines: joblib, submitit on this machine, Slurm through submitit, Ray.

As in a pool, each run is a `metarun` command in a process of its own; the engine decides when and where it runs.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from metarun.errors import FULL_TRACE, UserError, reason_of
from metarun.sweeps.child import Child
from metarun.sweeps.job import Job, jobs_of
from metarun.sweeps.pool import finish_sweep, run_command, run_environment
from metarun.system.signals import PARENT

_children: list[Child] = []  # the running children of this process


@dataclass(frozen=True)
class Command:
    """One run as the engine's worker receives it; can be pickled.

    Args:
        number: of the job.
        label: of the job, for the log.
        command: the command with its arguments.
        folder: its working directory.
        full_trace: whether to show tracebacks.
        variables: metarun's environment variables, which a worker on another machine may not have.
    """

    number: int
    label: str
    command: list[str]
    folder: str
    full_trace: bool
    variables: dict[str, str]

    def __call__(self) -> Job:
        """Run it until it ends, printing its messages; return how it ended."""
        job = Job(self.number, self.command, self.label)
        child = Child(self.command, {**run_environment(self.full_trace), **self.variables}, Path(self.folder))
        _children.append(child)
        for event in child.events():
            job.update(event)
            if said := event.get("said"):
                print(f"[{self.number}: {self.label}] {said}", flush=True)
        job.code, job.stderr = child.wait(), child.stderr
        _children.remove(child)
        return job

    def without_result(self, error: Exception) -> Job:
        """Return how it ended if its worker was killed, or failed otherwise."""
        return Job(self.number, self.command, self.label, code=1, failure=reason_of(error))

    def checkpoint(self) -> Any:
        """Make the run save a checkpoint and resubmit it; submitit calls this before a time limit or a preemption."""
        import submitit

        for child in _children:
            child.send_signal(signal.SIGTERM)
            child.wait()
        return submitit.helpers.DelayedSubmission(self)


Engine = Callable[[Sequence[Command], dict[str, Any]], Iterator[Job]]


def run_on_engine(
    config: DictConfig,
    task_function: Any,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    engine: str,
    settings: dict[str, Any],
) -> list[JobReturn]:
    """Run the jobs of a sweep on an engine, as `run_pool` does; write the sweep's tables and report failed runs.

    Args:
        config: like the next three, see `run_pool`.
        engine: a key of `ENGINES`.
        settings: arguments of the engine.

    Raises:
        UserError: the engine is not installed or not available.
    """
    jobs = jobs_of(job_overrides, first)
    by_number = {job.number: job for job in jobs}
    command, folder = run_command(config), str(Path.cwd())
    own = {name: value for name, value in os.environ.items() if name.startswith("METARUN_") and name != PARENT}
    commands = [Command(job.number, job.label, [*command, *job.overrides], folder, FULL_TRACE, own) for job in jobs]
    extra, start = ENGINES[engine]
    try:
        for ended in start(commands, settings):
            _record(by_number[ended.number], ended)
    except ImportError as error:
        raise UserError(f"hydra/launcher={engine} needs {error.name}: pip install 'metarun[{extra}]'.") from error
    return finish_sweep(config, task_function, jobs)


def _record(job: Job, ended: Job) -> None:
    job.code, job.path, job.failure = ended.code, ended.path, ended.reason
    job.state = "done" if ended.code == 0 else "failed"
    print(f"[{job.number}: {job.label}] {job.state}{'' if job.state == 'done' else f': {job.reason}'}", flush=True)


def _on_joblib(commands: Sequence[Command], settings: dict[str, Any]) -> Iterator[Job]:
    import joblib

    calls = (joblib.delayed(command)() for command in commands)
    return iter(joblib.Parallel(return_as="generator_unordered", **settings)(calls))


def _on_submitit(cluster: str) -> Engine:
    def run(commands: Sequence[Command], settings: dict[str, Any]) -> Iterator[Job]:
        import submitit

        folder, at_a_time = settings.pop("folder"), settings.pop("at_a_time", None) or len(commands)
        resubmissions = settings.pop("max_num_timeout", None)
        try:
            own = {} if resubmissions is None else {f"{cluster}_max_num_timeout": resubmissions}
            executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **own)
        except RuntimeError as error:
            raise UserError(f"hydra/launcher=submitit_{cluster}: {error}.") from error
        executor.update_parameters(**settings)
        for start in range(0, len(commands), at_a_time):
            batch = commands[start : start + at_a_time]
            try:
                with executor.batch():
                    submitted = [executor.submit(command) for command in batch]
            except submitit.core.utils.FailedJobError as error:
                raise UserError(f"hydra/launcher=submitit_{cluster}: {error}") from error
            by_job = dict(zip(map(id, submitted), batch, strict=True))
            for job in submitit.helpers.as_completed(submitted):
                try:
                    yield job.result()
                except Exception as error:  # submitit raises several kinds, and whatever the worker raised
                    yield by_job[id(job)].without_result(error)

    return run


def _on_ray(commands: Sequence[Command], settings: dict[str, Any]) -> Iterator[Job]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry unless the user asks for it
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
                yield command.without_result(error)
    finally:
        ray.shutdown()


def _call(command: Command) -> Job:
    return command()


# Launcher → the extra that installs it, and the function that runs commands on it.
ENGINES: dict[str, tuple[str, Engine]] = {
    "joblib": ("joblib", _on_joblib),
    "submitit_local": ("slurm", _on_submitit("local")),
    "submitit_slurm": ("slurm", _on_submitit("slurm")),
    "ray": ("ray", _on_ray),
}

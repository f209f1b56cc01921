"""Hydra's launcher plugin for sweeps of `metarun test`: all runs share what the first one loads."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OneProcessLauncher(Launcher):
    """`hydra/launcher=one_process`: Hydra's basic launcher, followed by the sweep's tables."""

    def __init__(self) -> None:
        self.basic = BasicLauncher()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See `Launcher.setup`."""
        self.basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.task_function: Any = task_function
        self.folder = Path(config.hydra.sweep.dir)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """See `Launcher.launch`; a failed run has reported its error, and the others continue."""
        from metarun.sweeps.tables import write_tables
        from metarun.system.secrets import mask_file

        mask_file(self.folder / "multirun.yaml")
        self.basic.task_function = partial(self.task_function, shared={})
        jobs = [self._launch_one(overrides, initial_job_idx + i) for i, overrides in enumerate(job_overrides)]
        write_tables(
            self.folder, [job.return_value for job in jobs if job.status == JobStatus.COMPLETED and job.return_value]
        )
        with suppress(OSError):  # not empty; an empty folder, made by the basic launcher, is removed
            self.folder.rmdir()
        return jobs

    def _launch_one(self, overrides: Sequence[str], number: int) -> JobReturn:
        (job,) = self.basic.launch([overrides], number)
        job.cfg = job.hydra_cfg = None  # 0.1 MB that Hydra's sweeper would keep for each run until the sweep ends
        return job

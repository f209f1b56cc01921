"""Hydra's launcher plugin for the process pool, which is imported only when a sweep uses it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PoolLauncher(Launcher):
    """`hydra/launcher=pool`: each run of a sweep in a process of its own, several in parallel.

    Args:
        n_jobs: number of parallel runs; None: as many as pay off, by cores, memory and GPUs.
    """

    def __init__(self, n_jobs: int | None) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """See `Launcher.setup`."""
        self.task_function: Any = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """See `Launcher.launch`; a failed run is reported and does not stop the others."""
        from metarun.sweeps.pool import run_pool
        from metarun.system.secrets import mask_file

        mask_file(Path(self.config.hydra.sweep.dir) / "multirun.yaml")
        return run_pool(self.config, self.task_function, job_overrides, initial_job_idx, self.n_jobs)

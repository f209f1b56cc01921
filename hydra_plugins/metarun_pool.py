"""Where Hydra looks for launchers; the launcher itself is imported when a sweep asks for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PoolLauncher(Launcher):
    """`hydra/launcher=pool`: every run of a sweep in a process of its own, several at a time.

    Args:
        n_jobs: runs at a time; None: as many as the machine has room for.
    """

    def __init__(self, n_jobs: int | None) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """See `Launcher.setup`."""
        self.task_function: Any = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """See `Launcher.launch`; a run that failed is told of, and ends nothing but itself."""
        from metarun.sweeps.pool import run_pool
        from metarun.system.secrets import mask_file

        mask_file(Path(self.config.hydra.sweep.dir) / "multirun.yaml")
        return run_pool(self.config, self.task_function, job_overrides, initial_job_idx, self.n_jobs)

"""Hydra's launcher plugin for other engines; an engine is imported only when a sweep uses it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class EngineLauncher(Launcher):
    """`hydra/launcher=joblib`, `submitit_local`, `submitit_slurm` or `ray`.

    Args:
        engine: its name.
        settings: arguments of the engine.
    """

    def __init__(self, engine: str, **settings: Any) -> None:
        self.engine = engine
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """See `Launcher.setup`."""
        self.task_function: Any = task_function
        self.own_config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """See `Launcher.launch`; a failed run is reported and does not stop the others."""
        from metarun.sweeps.launchers import run_on_engine
        from metarun.system.secrets import mask_file

        mask_file(Path(self.own_config.hydra.sweep.dir) / "multirun.yaml")
        plain = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in self.settings.items()
        }
        return run_on_engine(self.own_config, self.task_function, job_overrides, initial_job_idx, self.engine, plain)

"""Hydra's sweeper plugin for Optuna, which is imported only when a search starts."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """`hydra/sweeper=optuna`: search for the settings that do best on meta-val.

    Args:
        n_trials: in total, including those of earlier calls.
        study: name of the search; None: a name derived from the search space.
        seed: of the sampler.
        prune: whether to end trials that are worse than the median.
        params: further overrides, by key.
    """

    def __init__(self, n_trials: int, study: str | None, seed: int, prune: bool, params: dict[str, Any]) -> None:
        self.n_trials = n_trials
        self.study = study
        self.seed = seed
        self.prune = prune
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See `Sweeper.setup`."""
        self.config_loader = hydra_context.config_loader
        self.task_function: Any = task_function
        self.own_config = config

    def sweep(self, arguments: list[str]) -> None:
        """See `Sweeper.sweep`."""
        from metarun.sweeps.search import search

        overrides = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        args = (overrides, self.n_trials, self.study, self.seed, self.prune)
        if not search(self.own_config, self.config_loader, *args):
            self.task_function.failures.append(1)

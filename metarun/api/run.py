"""Train, load and list runs."""

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from metarun.algorithms import Algorithm
from metarun.api.config import compose_config
from metarun.api.learner import Learner
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.results.find_run import find_run
from metarun.results.records import Record, read_records
from metarun.results.run_directory import RunDirectory
from metarun.runner.components import Parts
from metarun.runner.stored_config import stored_config
from metarun.runner.train import train as run_training
from metarun.training.resume import best_weights, load_weights

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """A finished run of `metarun train`.

    Args:
        path: its directory.
        trust: your code in its config that may be executed, such as "my_methods.NearestExample".

    Raises:
        UserError: the run is not finished, or its files are damaged.
    """

    def __init__(self, path: str | Path, trust: Collection[str] = ()) -> None:
        self._directory = RunDirectory(Path(path))
        self._trust = trust
        record = self._directory.read_result()
        if record is not None and "trained_by" in record:
            raise UserError(
                f"{path} was made by `metarun test` and has no weights of its own",
                f"use the run that it tested: run={record['trained_by']}.",
            )
        if record is None or record["status"] != "done" or not self._directory.best.is_file():
            raise UserError(
                f"{path} is not a finished training run",
                "pass the directory of one; `metarun compare` lists them.",
            )
        self.result: Record = record

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self._directory.path

    @property
    def id(self) -> str:
        """The run's id of eight digits."""
        return self._directory.id

    @cached_property
    def config(self) -> Config:
        """The resolved config, as nested dictionaries."""
        return stored_config(self._directory, self._trust)

    @property
    def curve(self) -> "pd.DataFrame":
        """The loss and metric of meta-training and meta-validation by step."""
        import pandas as pd

        return pd.read_csv(self._directory.curve)

    @property
    def tasks(self) -> "pd.DataFrame":
        """The metric of every meta-test task, before adaptation and after each step."""
        import pandas as pd

        return pd.read_parquet(self._directory.tasks)

    @cached_property
    def algorithm(self) -> Algorithm:
        """The method with the best weights on meta-val, in eval mode."""
        parts = self._parts
        load_weights(parts.algorithm, best_weights(self._directory, self.result), self._directory.best)
        return parts.algorithm.eval()

    def adapt(self, support_x: Any, support_y: Sequence[Any], steps: int | None = None) -> Learner:
        """Adapt to your own examples.

        Args:
            support_x: (n, *shape) an array or tensor; uint8 is scaled to [0, 1] as in training, floats are unchanged.
            support_y: n labels of any type, whose distinct values are the classes; numbers (n,) or (n, outputs) in
                regression.
            steps: of adaptation, for methods with an inner loop; None: `test.steps` of the run.

        Raises:
            UserError: the shapes do not match the run, or the method cannot have this number of classes.
        """
        steps = self.config["test"]["steps"] if steps is None else steps
        return Learner.adapted(self, np.asarray(support_x), list(support_y), steps)

    def publish(self, path: str | Path) -> Path:
        """Pack the run into one file for another machine; see `metarun.api.publishing.publish`.

        Raises:
            UserError: a file of the run is damaged, or the pack cannot be written.
        """
        from metarun.api.publishing import publish

        return publish(self, path)

    @cached_property
    def _parts(self) -> Parts:
        parts = Parts(self.config)
        parts.is_trained = True
        return parts


def train(config_dir: str | Path | None = None, **settings: Any) -> Run:
    """Meta-train, select the best weights on meta-val and meta-test, like `metarun train`; reuse a finished run.

    Args:
        config_dir: a folder with your own YAML files.
        settings: keys of the config: `train(algo="maml", data="glyphs", **{"task.shot": 5})`.

    Raises:
        UserError: the settings are invalid.
        RunFailed: the training diverged.
    """
    return Run(run_training(OmegaConf.create(compose_config(settings, config_dir))))


def load(run: str | Path, results_dir: str | Path = "results", trust: Collection[str] = ()) -> Run:
    """Load a finished run.

    Args:
        run: its directory, the start of its id, "last": the run that finished last, or "best": the best on meta-val
            among the runs of the same data and task as the last.
        results_dir: the directory of results.
        trust: see `Run`.

    Raises:
        UserError: no run or several runs match.
    """
    return Run(find_run(Path(results_dir), str(run)).path, trust)


def load_results(*folders: str | Path) -> "pd.DataFrame":
    """Return the results of all finished runs below some folders: one row per run, one column per result key.

    Args:
        folders: to search; none: "results".
    """
    import pandas as pd

    records, _ = read_records([Path(folder) for folder in folders or ("results",)])
    return pd.DataFrame([record for record in records if record["status"] == "done"])

"""Runs from Python: made as by `metarun train`, or found again."""

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from metarun.algorithms import Algorithm
from metarun.api.config import composed
from metarun.api.learner import Learner
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.results.records import Record, read_records
from metarun.results.run_directory import RunDirectory, find_run
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
        trust: code of yours that its config names and that may be run, such as "my_methods.NearestExample".

    Raises:
        UserError: the run is not finished, or its files are damaged.
    """

    def __init__(self, path: str | Path, trust: Collection[str] = ()) -> None:
        self._directory = RunDirectory(Path(path))
        self._trust = trust
        record = self._directory.read_result()
        if record is None or record["status"] != "done" or not self._directory.best.is_file():
            raise UserError(
                f"{path} is not a finished training",
                "name one that `metarun train` finished; `metarun compare` lists them.",
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
        """The eight digits that the run is known by."""
        return self._directory.id

    @cached_property
    def config(self) -> Config:
        """The resolved config, as nested dictionaries."""
        return stored_config(self._directory, self._trust)

    @property
    def curve(self) -> "pd.DataFrame":
        """Loss and metric of meta-training and meta-validation by step."""
        import pandas as pd

        return pd.read_csv(self._directory.curve)

    @property
    def tasks(self) -> "pd.DataFrame":
        """The metric of every meta-test task, before adaptation and after each step."""
        import pandas as pd

        return pd.read_parquet(self._directory.tasks)

    @cached_property
    def algorithm(self) -> Algorithm:
        """The method with the weights that meta-val chose, in eval mode."""
        parts = self._parts
        load_weights(parts.algorithm, best_weights(self._directory, self.result), self._directory.best)
        return parts.algorithm.eval()

    def adapt(self, support_x: Any, support_y: Sequence[Any], steps: int | None = None) -> Learner:
        """Adapt to a few examples of your own.

        Args:
            support_x: (n, *shape) an array or tensor; uint8 is scaled to [0, 1] as in training, floats are taken as
                they are.
            support_y: n labels of any kind, of which the different ones are the classes; numbers (n,) or (n, outputs)
                in regression.
            steps: of adaptation, for methods that take them; None: as many as at meta-test.

        Raises:
            UserError: the shapes do not fit the run, or the method cannot have so many classes.
        """
        taken = self.config["test"]["steps"] if steps is None else steps
        return Learner.adapted(self, np.asarray(support_x), list(support_y), taken)

    @cached_property
    def _parts(self) -> Parts:
        parts = Parts(self.config)
        parts.is_trained = True
        return parts


def train(config_dir: str | Path | None = None, **settings: Any) -> Run:
    """Meta-train, choose on meta-val and meta-test, as `metarun train` does; a finished run is returned at once.

    Args:
        config_dir: a folder with YAML files of your own.
        settings: keys of the config: `train(algo="maml", data="glyphs", **{"task.shot": 5})`.

    Raises:
        UserError: the settings ask for something that is not possible.
        RunFailed: the training diverged.
    """
    return Run(run_training(OmegaConf.create(composed(settings, config_dir))))


def load(run: str | Path, results_dir: str | Path = "results", trust: Collection[str] = ()) -> Run:
    """Return a finished run.

    Args:
        run: its directory, the first characters of its id, or "last": the one that finished last.
        results_dir: where runs are.
        trust: see `Run`.

    Raises:
        UserError: there is no such run, or more than one.
    """
    if str(run) == "last":
        finished = sorted((Path(results_dir) / "runs").glob("*/best.pt"), key=lambda path: path.stat().st_mtime_ns)
        if not finished:
            raise UserError(f"there is no finished run in {results_dir}/runs", "train one.")
        return Run(finished[-1].parent, trust)
    return Run(find_run(Path(results_dir), str(run)).path, trust)


def load_results(*folders: str | Path) -> "pd.DataFrame":
    """Return the rows of all finished runs below some folders, one a run, every key of `result.json` a column.

    Args:
        folders: where to look; none: "results".
    """
    import pandas as pd

    records, _ = read_records([Path(folder) for folder in folders or ("results",)])
    return pd.DataFrame([record for record in records if record["status"] == "done"])

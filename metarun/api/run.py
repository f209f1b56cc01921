"""Train, load and list runs."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.api.config import composed
from metarun.api.learner import Learner
from metarun.api.model import Model
from metarun.api.publishing import publish, unpack
from metarun.data.own.examples import read_examples
from metarun.data.own.found import Examples
from metarun.errors import UserError
from metarun.reporting.tables.rows import finished_rows
from metarun.results.find_run import find_run
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.retest import retest as run_test
from metarun.runner.train import train as run_training
from metarun.system.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    import pandas as pd


class Run(Model):
    """A finished run of `metarun train`; see `Model` for its arguments and attributes."""

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __fspath__(self) -> str:
        """Return the run's directory, so that a run can be given where a path is expected."""
        return str(self.path)

    @property
    def curve(self) -> "pd.DataFrame":
        """The loss and metric of meta-training and meta-validation by step."""
        import pandas as pd

        return pd.read_csv(self.directory.curve)

    @property
    def tasks(self) -> "pd.DataFrame":
        """The metric of every meta-test task, before adaptation and after each step."""
        import pandas as pd

        return pd.read_parquet(self.directory.tasks)

    def read(self, path: str | Path, invert: bool = False, on_progress: OnProgress = ignore_progress) -> Examples:
        """Read pictures, recordings, texts or table rows as inputs of this run: decoded and scaled as in training.

        Args:
            path: a folder or zip with one folder per class, a file, or a table; see `metarun.data.own.examples`.
            invert: swap light and dark of pictures, in addition to the settings of the run's data.
            on_progress: called with the number of files read, and of how many.

        Raises:
            UserError: there is no such file, or nothing in it that the run takes.
        """
        return read_examples(self.encoder, Path(path), invert, on_progress)

    def adapt(self, support_x: Any, support_y: Sequence[Any], steps: int | None = None) -> Learner:
        """Adapt to your own examples.

        Args:
            support_x: (n, *shape) an array or tensor; uint8 is scaled to [0, 1] as in training, floats are unchanged;
                examples of several fields are a dict of such, or a structured array.
            support_y: n labels of any type, whose distinct values are the classes; numbers (n,) or (n, outputs) in
                regression.
            steps: of adaptation, for methods with an inner loop; None: `test.steps` of the run.

        Raises:
            UserError: the shapes do not match the run, the method cannot have this number of classes, or the number of
                steps is negative.
        """
        steps = self.config["test"]["steps"] if steps is None else steps
        if steps < 0:
            raise UserError(f"steps={steps} but it cannot be negative", "raise it.")
        return Learner.adapted(self, support_x, list(support_y), steps)

    def test(self, config_dir: str | Path | None = None, **settings: Any) -> Record:
        """Meta-test on other tasks or data, or with another head, like `metarun test`; reuse a finished test.

        Args:
            config_dir: a folder with your own YAML files.
            settings: keys of the config: `run.test(**{"task.way": 20})`, `run.test(episodes="my_episodes")`. All others
                are as in the run; `results_dir` is where it is.

        Returns:
            The new row, with its `path`.

        Raises:
            UserError: the settings are invalid, or do not fit the run.
        """
        where = {"run": self.path.resolve(), "trust": self.trust, "results_dir": self.path.resolve().parents[1]}
        with composed({**where, **settings}, config_dir, "test") as config:
            return RunDirectory(run_test(config)).read_finished()

    def publish(self, path: str | Path) -> Path:
        """Pack the run into one file for another machine; see `metarun.api.publishing.publish`.

        Raises:
            UserError: a file of the run is damaged, or the pack cannot be written.
        """
        return publish(self.directory, self.result, lambda: self.config, path)


def train(config_dir: str | Path | None = None, **settings: Any) -> Run:
    """Meta-train, select the best weights on meta-val and meta-test, like `metarun train`; reuse a finished run.

    Args:
        config_dir: a folder with your own YAML files.
        settings: keys of the config: `train(algo="maml", data="glyphs", **{"task.shot": 5})`.

    Raises:
        UserError: the settings are invalid.
        RunFailed: the training diverged.
    """
    with composed(settings, config_dir) as config:
        return Run(run_training(config))


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
    """Return the results of all finished runs below some folders, as `metarun compare` does.

    One row per run, or per data set of a run that was tested on several; one column per result key. Runs that are
    skipped, since they failed or are damaged, are named on stderr.

    Args:
        folders: to search; none: "results".

    Raises:
        UserError: a folder does not exist, or there is no finished run.
    """
    import pandas as pd

    return pd.DataFrame(finished_rows([Path(folder) for folder in folders or ("results",)]))


def import_run(path: str | Path, results_dir: str | Path = "results") -> Run:
    """Import a file of `publish` as a run; the same run again changes nothing.

    The file is untrusted: it is verified before anything is written, and nothing in it is executed. Code that its
    config names is treated as that of any run, see `Run`.

    Args:
        path: of the file.
        results_dir: the directory of results.

    Returns:
        The run.

    Raises:
        UserError: the file is damaged, of another version or not a run, or another run with this id exists.
    """
    directory, _ = unpack(Path(path), Path(results_dir))
    return Run(directory.path)

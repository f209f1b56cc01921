"""Log to MLflow."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.loggers.logger import LoggedRun, Outcome, import_for
from metarun.system.lock import exclusive_lock

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
MAX_PARAMS = 100  # per request
MAX_PARAM_LENGTH = 500  # characters that every store accepts


class MLflow:
    """A run of MLflow, tagged `metarun_id`; an unfinished run is resumed.

    All runs of a results folder share one SQLite file, `<results_dir>/mlflow.db`, so that one `mlflow ui` shows them
    all. MLflow no longer maintains its plain-file store.

    Args:
        tracking_uri: of a store or server; None: MLFLOW_TRACKING_URI if it is set, else the SQLite file.
        experiment: name of the MLflow experiment.
    """

    def __init__(self, tracking_uri: str | None, experiment: str) -> None:
        # Read at import: disables telemetry and messages about database tables.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        self._library = import_for("mlflow", "mlflow")
        import_for("mlflow", "sqlalchemy")  # not installed by mlflow-skinny
        self._tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._experiment = experiment
        self._client: Any = None
        self._id = ""
        self._logged: dict[str, int] = {}  # metric → last step that an earlier process logged

    def begin(self, run: LoggedRun) -> None:
        """Create a run, or resume the unfinished one."""
        experiment = self._connect(run.results_dir.resolve())
        unfinished = f"tags.metarun_id = '{run.id}' and attributes.status != 'FINISHED'"
        found = self._client.search_runs([experiment], unfinished, max_results=1) if run.step else []
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            for name in found[0].data.metrics:
                self._logged[name] = max(metric.step for metric in self._client.get_metric_history(self._id, name))
        else:
            created = self._client.create_run(experiment, run_name=run.path.name, tags={"metarun_id": run.id})
            self._id = created.info.run_id
            param = self._library.entities.Param
            params = [param(key, str(value)[:MAX_PARAM_LENGTH]) for key, value in run.hyperparameters.items()]
            for first in range(0, len(params), MAX_PARAMS):
                self._client.log_batch(self._id, params=params[first : first + MAX_PARAMS])

    def _connect(self, results: Path) -> str:
        """Connect to the store and return the id of the experiment; under a lock, because sweeps run in parallel."""
        uri = self._tracking_uri or f"sqlite:///{results / 'mlflow.db'}"
        artifacts = None if self._tracking_uri else (results / "mlartifacts").as_uri()
        with exclusive_lock(results / ".mlflow.lock", lambda _: None):
            self._client = self._library.MlflowClient(uri)
            found = self._client.get_experiment_by_name(self._experiment)
            if found is not None:
                return str(found.experiment_id)
            return str(self._client.create_experiment(self._experiment, artifact_location=artifacts))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add metrics, except those that an earlier process of this run has logged: MLflow would keep both."""
        new = {name: value for name, value in figures.items() if step > self._logged.get(name, -1)}
        self._add([(name, value, step) for name, value in new.items()])

    def conclude(self, step: int, figures: Mapping[str, float], by_step: Mapping[str, Sequence[float]]) -> None:
        """Add the metrics of the meta-test; the steps of the curves are adaptation steps."""
        self.log(step, figures)
        self._add([(name, value, i) for name, values in by_step.items() for i, value in enumerate(values)])

    def _add(self, metrics: Sequence[tuple[str, float, int]]) -> None:
        metric, now = self._library.entities.Metric, int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[metric(name, value, now, step) for name, value, step in metrics])

    def close(self, outcome: Outcome) -> None:
        """Set the final status of the run."""
        if self._id:
            self._client.set_terminated(self._id, STATUS[outcome])

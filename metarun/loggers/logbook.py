"""Forward the progress of a run to its loggers; a logger that fails does not stop the run."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from metarun.config.values import dotted
from metarun.errors import Interrupted
from metarun.loggers.logger import LoggedRun, Logger, Outcome
from metarun.loggers.observer import TrainingProgress, Validation
from metarun.results.metrics import METRICS, Metric
from metarun.results.records import Record
from metarun.system.secrets import masked

log = logging.getLogger(__name__)

# Keys of the row that are logged after the meta-test.
TEST_METRICS = (
    *(key for metric in METRICS for key in (metric.key, metric.ci95, metric.median, metric.floor)),
    *("diverged", "adapt_ms"),
)
TEST_CURVES = (*(metric.by_step for metric in METRICS), "loss_by_step")

NOT_HYPERPARAMETERS = {"logger", "results_dir", "force", "retry_failed"}
CLOSE_TIMEOUT = 1.0  # seconds that a busy logger has to finish its call after a signal


class Logbook:
    """All loggers of one run, by their names in the config, as one observer of its training; meta-val has `metric`."""

    def __init__(self, loggers: Mapping[str, Logger], metric: Metric) -> None:
        self._loggers = dict(loggers)
        self._metric = metric
        self._lock = threading.RLock()

    @contextmanager
    def open_for(self, run: LoggedRun) -> Iterator[None]:
        """Log this run within the block."""
        outcome: Outcome = "failed"
        self._for_each(lambda logger: logger.begin(run))
        try:
            yield
            outcome = "finished"
        except Interrupted:
            outcome = "interrupted"
            raise
        finally:
            self._close(outcome)

    def on_progress(self, progress: TrainingProgress) -> None:
        """Log the training loss, learning rate and speed, at steps that do not depend on the speed."""
        if progress.between:
            return
        self._log(
            progress.iteration,
            {
                "train/loss": progress.loss,
                "train/learning_rate": progress.learning_rate,
                "train/steps_per_second": progress.iteration / progress.seconds,
            },
        )

    def on_validation(self, validation: Validation) -> None:
        """Log the metrics on meta-val."""
        metric = self._metric
        values = {
            "val/loss": validation.loss,
            f"val/{metric.key}": validation.value,
            f"val/{metric.ci95}": validation.ci95,
            f"val/{metric.median}": validation.median,
            "val/diverged": validation.diverged or None,
        }
        self._log(validation.iteration, values)

    def on_test(self, record: Record) -> None:
        """Log the metrics on meta-test."""
        values = {f"test/{key}": float(record[key]) for key in TEST_METRICS if record.get(key) is not None}
        by_step = {f"test/{key}": record[key] for key in TEST_CURVES if key in record}
        self._for_each(lambda logger: logger.conclude(record["iterations"], values, by_step))

    def interrupt(self) -> None:
        """Close the loggers from another thread because the process is about to end; a busy logger stays open."""
        if self._lock.acquire(timeout=CLOSE_TIMEOUT):
            self._close("interrupted")
            self._lock.release()

    def _log(self, step: int, values: Mapping[str, float | None]) -> None:
        known = {name: value for name, value in values.items() if value is not None}
        self._for_each(lambda logger: logger.log(step, known))

    def _close(self, outcome: Outcome) -> None:
        with self._lock:
            self._for_each(lambda logger: logger.close(outcome))
            self._loggers.clear()

    def _for_each(self, call: Callable[[Logger], None]) -> None:
        with self._lock:
            for name, logger in list(self._loggers.items()):
                try:
                    call(logger)
                except Exception as error:
                    del self._loggers[name]
                    reason = " ".join(f"{type(error).__name__}: {error}".split())
                    log.warning("logger=%s failed and is now disabled; the run continues: %s", name, reason)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return a resolved config by dotted key, without secrets and keys that do not affect results."""
    flat = dict(dotted(masked({key: value for key, value in config.items() if key not in NOT_HYPERPARAMETERS})))
    plain = {key: "null" if value is None else value for key, value in flat.items()}
    return {key: value if isinstance(value, str | int | float | bool) else str(value) for key, value in plain.items()}

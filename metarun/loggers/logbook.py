"""Tells every logger of a run how it goes, and lets none of them take the run down."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from metarun.errors import Interrupted
from metarun.loggers.logger import LoggedRun, Logger, Outcome
from metarun.loggers.observer import Look, Pace
from metarun.results.metrics import METRICS, Metric
from metarun.results.records import Record
from metarun.system.secrets import masked

log = logging.getLogger(__name__)

# What is logged of the row in the end.
FIGURES = (
    *(key for metric in METRICS for key in (metric.key, metric.ci95, metric.median, metric.floor)),
    *("diverged", "adapt_ms"),
)
CURVES = (*(metric.by_step for metric in METRICS), "loss_by_step")

NOT_HYPERPARAMETERS = {"logger", "results_dir", "force", "retry_failed"}
PATIENCE = 1.0  # seconds that a signal lets a logger finish what it is about


class Logbook:
    """All loggers of one run, as one observer of its training; without any it does nothing.

    Args:
        loggers: by the name under which they were chosen.
        metric: what meta-val is judged by.
    """

    def __init__(self, loggers: Mapping[str, Logger], metric: Metric) -> None:
        self._loggers = dict(loggers)
        self._metric = metric
        self._telling = threading.RLock()

    @contextmanager
    def open_for(self, run: LoggedRun) -> Iterator[None]:
        """Within the block the loggers are told of this run."""
        outcome: Outcome = "failed"
        self._tell(lambda logger: logger.begin(run))
        try:
            yield
            outcome = "finished"
        except Interrupted:
            outcome = "interrupted"
            raise
        finally:
            self._close(outcome)

    def trained(self, pace: Pace) -> None:
        """Log the pace of meta-training."""
        self._log(
            pace.iteration,
            {
                "train/loss": pace.loss,
                "train/learning_rate": pace.learning_rate,
                "train/steps_per_second": pace.iteration / pace.seconds,
            },
        )

    def validated(self, look: Look) -> None:
        """Log the figures on meta-val."""
        metric = self._metric
        figures = {"val/loss": look.loss, f"val/{metric.key}": look.value, f"val/{metric.ci95}": look.ci95}
        more = {f"val/{metric.median}": look.median, "val/diverged": look.diverged or None}
        self._log(look.iteration, {**figures, **more})

    def tested(self, record: Record) -> None:
        """Log the figures on meta-test."""
        figures = {f"test/{key}": float(record[key]) for key in FIGURES if record.get(key) is not None}
        by_step = {f"test/{key}": record[key] for key in CURVES if key in record}
        self._tell(lambda logger: logger.conclude(record["iterations"], figures, by_step))

    def interrupt(self) -> None:
        """Close the loggers from another thread because the process is about to end; one that is busy stays open."""
        if self._telling.acquire(timeout=PATIENCE):
            self._close("interrupted")
            self._telling.release()

    def _log(self, step: int, figures: Mapping[str, float | None]) -> None:
        known = {name: value for name, value in figures.items() if value is not None}
        self._tell(lambda logger: logger.log(step, known))

    def _close(self, outcome: Outcome) -> None:
        with self._telling:
            self._tell(lambda logger: logger.close(outcome))
            self._loggers.clear()

    def _tell(self, what: Callable[[Logger], None]) -> None:
        with self._telling:
            for name, logger in list(self._loggers.items()):
                try:
                    what(logger)
                except Exception as error:
                    del self._loggers[name]
                    reason = " ".join(f"{type(error).__name__}: {error}".split())
                    log.warning("logger=%s is off from here on, the run goes on: %s", name, reason)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return a resolved config by dotted key, without secrets and what is no number's business."""
    return dict(_flat(masked({key: value for key, value in config.items() if key not in NOT_HYPERPARAMETERS})))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is None:
            yield f"{prefix}{key}", "null"
        else:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float | bool) else str(value)

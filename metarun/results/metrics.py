"""The metrics of runs: their keys in `result.json`, their direction and their format."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

A_MILLION = 1e6


@dataclass(frozen=True)
class Metric:
    """A number per meta-test task; its mean is the result of a run.

    Args:
        key: of the mean in `result.json`; the other keys are derived from it.
        higher_is_better: the direction.
        column: in `tasks.parquet` and `curve.csv`.
        digits: after the decimal point.
        brief_digits: after the decimal point, in compact tables.
        prefix: distinguishes a value from other metrics in the same column.
        title: short title of an axis or column.
        axis: long title of an axis.
        floor_is: how the value of the key `floor` is computed, a template filled by `floor_text`.
        setting: template that describes a task, filled from a record.
        queries: what `test_query` counts.
        max_value: the largest possible value.
        min_value: the smallest possible value.
        counts_diverged: whether a task that diverged has a value, so that the mean is over all tasks.
        scale: values are multiplied by this for display: 100 for percent.
        unit: follows a value in a sentence.
    """

    key: str
    higher_is_better: bool
    column: str
    digits: int
    brief_digits: int
    prefix: str
    title: str
    axis: str
    floor_is: str
    setting: str
    queries: str
    max_value: float = math.inf
    min_value: float = 0.0
    counts_diverged: bool = False
    scale: int = 1
    unit: str = ""

    @property
    def ci95(self) -> str:
        """The key of the half-width of the 95 % interval."""
        return f"{self.key}_ci95"

    @property
    def by_step(self) -> str:
        """The key of the means before adaptation and after each step."""
        return f"{self.key}_by_step"

    @property
    def median(self) -> str:
        """The key of the median over all tasks; tasks that diverged count as worst."""
        return f"{self.key}_median"

    @property
    def floor(self) -> str:
        """The key of the floor, the result without any training."""
        return f"floor_{self.key}"

    @property
    def val(self) -> str:
        """The key of the meta-val mean, by which the checkpoint was chosen."""
        return f"val_{self.key}"

    def score(self, value: float) -> float:
        """Return a value or difference, signed so that higher is better."""
        return value if self.higher_is_better else -value

    def fixed(self, value: float | None, digits: int | None = None) -> str:
        """Format a value with `digits` decimals (default: the metric's), without unit; None is "–"."""
        return "–" if value is None else f"{self.scale * value:.{self.digits if digits is None else digits}f}"

    def text(self, value: float | None, digits: int | None = None) -> str:
        """Format a value like `fixed`, but in scientific notation from a million on, for tasks that almost diverged."""
        return f"{value:.3g}" if value is not None and value >= A_MILLION else self.fixed(value, digits)

    def difference_text(self, difference: float, half: float) -> str:
        """Format a difference with its 95 % interval, for fractions in percentage points."""
        return f"{self.scale * difference:+.{self.digits}f} ± {self.fixed(half)}"


ACCURACY = Metric(
    key="accuracy",
    higher_is_better=True,
    max_value=1.0,
    column="accuracy",
    counts_diverged=True,  # a query without a finite prediction is wrong
    scale=100,
    digits=2,
    brief_digits=1,
    unit="%",
    prefix="",
    title="accuracy %",
    axis="accuracy, %",
    floor_is="the nearest centroid of {floor_inputs}",
    setting="{test_way}-way {test_shot}-shot",
    queries="queries a class",
)
MSE = Metric(
    key="mse",
    higher_is_better=False,
    column="loss",
    digits=4,
    brief_digits=3,
    prefix="mse ",
    title="mse",
    axis="mean squared error",
    floor_is="the mean of the support targets",
    setting="{test_shot} support points",
    queries="query points",
)
RETURN = Metric(
    key="return",
    higher_is_better=True,
    column="return",
    digits=2,
    brief_digits=1,
    prefix="return ",
    title="return",
    axis="return",
    floor_is="the same method before any training",
    setting="{test_shot} trajectories a step",
    queries="trajectories to judge",
    min_value=-math.inf,
)
METRICS = (ACCURACY, MSE, RETURN)
RIDGE_FLOOR = "floor_ridge_mse"  # the key of a second floor of regression
RIDGE_IS = "ridge regression of each task's support set"


def metric_of(record: Mapping[str, Any]) -> Metric:
    """Return the metric of a finished run."""
    # Not `next` of a generator, which is three times as slow: a table of thousands of runs asks ten times for each.
    return MSE if MSE.key in record else RETURN if RETURN.key in record else ACCURACY


def floor_text(record: Mapping[str, Any]) -> str:
    """Return what the value of the key `floor` is: "the nearest centroid of TF-IDF"."""
    return metric_of(record).floor_is.format(floor_inputs=record.get("floor_inputs") or "raw inputs")


def best_floor(record: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return the best of what a row says is reached without any training, and what it is; None: it says nothing."""
    metric = metric_of(record)
    floors = {floor_text(record): record.get(metric.floor), RIDGE_IS: record.get(RIDGE_FLOOR)}
    found = [(value, what) for what, value in floors.items() if value is not None]
    return max(found, key=lambda floor: metric.score(floor[0]), default=None)


def figure(record: Mapping[str, Any]) -> str:
    """Format a run's result with its 95 % interval: "98.12 ± 0.21" in percent, or "mse 0.3512 ± 0.0120"."""
    metric = metric_of(record)
    half = record.get(metric.ci95)
    interval = "" if half is None else f" ± {metric.text(half)}"
    return f"{metric.prefix}{metric.text(record.get(metric.key))}{interval}"

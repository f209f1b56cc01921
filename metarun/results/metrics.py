"""What runs are judged by: the keys of a metric in `result.json`, its direction, and how its values are written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

A_MILLION = 1e6


@dataclass(frozen=True)
class Metric:
    """One number per meta-test task, by the mean of which a run is judged.

    Args:
        key: of the mean in `result.json`; the other keys are made from it.
        higher_is_better: whether more of it is better.
        most: the largest value there can be; the smallest is 0.
        column: of `tasks.parquet` and `curve.csv`, where the values of single tasks and of meta-val stand.
        counts_diverged: whether a task that diverged has a value, so that the mean is over all tasks.
        scale: a value is written as this many times itself: 100 for percent.
        digits: after the point.
        brief_digits: after the point, where there is little room.
        unit: that follows a value in a sentence.
        prefix: that tells a value from those of other metrics in one column.
        title: of an axis or a column of values, short.
        axis: the same at length.
        floor_is: what makes the figure under the key `floor`.
        setting: what a task of it is, as a template that a record fills.
        queries: what there are `test_query` of.
    """

    key: str
    higher_is_better: bool
    most: float
    column: str
    counts_diverged: bool
    scale: int
    digits: int
    brief_digits: int
    unit: str
    prefix: str
    title: str
    axis: str
    floor_is: str
    setting: str
    queries: str

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
        """The key of the median over all tasks, those that diverged at the worse end."""
        return f"{self.key}_median"

    @property
    def floor(self) -> str:
        """The key of what is reached without any training."""
        return f"floor_{self.key}"

    @property
    def val(self) -> str:
        """The key of the mean on meta-val, by which the checkpoint was chosen."""
        return f"val_{self.key}"

    def score(self, value: float) -> float:
        """Return a value, or a difference of two, signed so that more is better."""
        return value if self.higher_is_better else -value

    def fixed(self, value: float | None, digits: int | None = None) -> str:
        """Write a value with `digits` after the point (default: the metric's own), without its unit; None is "–"."""
        return "–" if value is None else f"{self.scale * value:.{self.digits if digits is None else digits}f}"

    def text(self, value: float | None, digits: int | None = None) -> str:
        """Write a value as `fixed` does, but in powers of ten from a million on: of tasks that all but diverged."""
        return f"{value:.3g}" if value is not None and value >= A_MILLION else self.fixed(value, digits)

    def difference_text(self, difference: float, half: float) -> str:
        """Write a difference of two values, of fractions in percentage points, with its 95 % interval."""
        return f"{self.scale * difference:+.{self.digits}f} ± {self.fixed(half)}"


ACCURACY = Metric(
    key="accuracy",
    higher_is_better=True,
    most=1.0,
    column="accuracy",
    counts_diverged=True,  # a query without a finite prediction is wrong
    scale=100,
    digits=2,
    brief_digits=1,
    unit="%",
    prefix="",
    title="accuracy %",
    axis="accuracy, %",
    floor_is="the nearest centroid of raw inputs",
    setting="{test_way}-way {test_shot}-shot",
    queries="queries a class",
)
MSE = Metric(
    key="mse",
    higher_is_better=False,
    most=math.inf,
    column="loss",
    counts_diverged=False,
    scale=1,
    digits=4,
    brief_digits=3,
    unit="",
    prefix="mse ",
    title="mse",
    axis="mean squared error",
    floor_is="the mean of the support targets",
    setting="{test_shot} support points",
    queries="query points",
)
METRICS = (ACCURACY, MSE)


def metric_of(record: Mapping[str, Any]) -> Metric:
    """Return what a finished run is judged by."""
    return MSE if MSE.key in record else ACCURACY


def figure(record: Mapping[str, Any]) -> str:
    """Write what a run is judged by, with its 95 % interval: "98.12 ± 0.21" in percent, or "mse 0.3512 ± 0.0120"."""
    metric = metric_of(record)
    half = record.get(metric.ci95)
    interval = "" if half is None else f" ± {metric.text(half)}"
    return f"{metric.prefix}{metric.text(record.get(metric.key))}{interval}"

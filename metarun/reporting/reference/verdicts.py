"""Whether a result agrees with a published one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metarun.errors import UserError
from metarun.reporting.reference.experiments import Experiment
from metarun.reporting.significance import one_over_seeds
from metarun.results.metrics import Metric, metric_of
from metarun.results.records import Record, figures_by_step

Word = Literal["within", "better", "worse", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """A figure of ours beside a published one.

    Args:
        metric: of both.
        step: inner steps after which both were measured; None if the method takes none.
        published: the paper's.
        published_half: half-width of its interval; None if the paper gives none.
        ours: the mean over tasks and seeds.
        half: half-width of its 95 % interval, over tasks, and over trainings if there are several seeds.
        seeds: number of trainings.
    """

    metric: Metric
    step: int | None
    published: float
    published_half: float | None
    ours: float
    half: float | None
    seeds: int

    @property
    def gap(self) -> float:
        """Ours minus the paper's, positive if ours is better."""
        return self.metric.score(self.ours - self.published)

    @property
    def margin(self) -> float:
        """The half-width of the interval of the difference of two independent figures; what is unknown counts as 0."""
        return math.hypot(self.published_half or 0.0, self.half or 0.0)

    @property
    def word(self) -> Word:
        """Whether the difference is larger than chance explains, and in which direction.

        An interval whose half-width exceeds the published figure decides nothing. A few tasks that almost diverged
        make it so wide.
        """
        if self.margin > abs(self.published):
            return "undecided"
        if abs(self.gap) <= self.margin:
            return "within"
        return "better" if self.gap > 0 else "worse"

    @property
    def text(self) -> str:
        """The verdict for a table: "within", "undecided", or by how much ours is better or worse."""
        by = self.metric.text(abs(self.gap))
        return f"{self.word} by {by}" if self.word in ("better", "worse") else self.word

    @property
    def ours_text(self) -> str:
        """Our figure with its interval."""
        return _with_half(self.metric, self.ours, self.half)

    @property
    def published_text(self) -> str:
        """The paper's figure with its interval."""
        return _with_half(self.metric, self.published, self.published_half)


def verdicts(experiment: Experiment, records: Sequence[Record]) -> list[Verdict]:
    """Compare finished runs of an experiment, which differ only in the seed, with what is published, by step.

    Args:
        experiment: with a published figure, or the list is empty.
        records: at least one, with `path`.
    """
    if experiment.published is None or experiment.figure is None:
        return []
    last = records[0].get("steps") or None
    half = experiment.published["ci95"]
    published: list[tuple[int | None, float, float | None]] = [
        *((step, figure, None) for step, figure in experiment.by_step.items()),
        (last, experiment.figure, half),
    ]
    return [_verdict(records, *each) for each in published]


def _verdict(records: Sequence[Record], step: int | None, published: float, published_half: float | None) -> Verdict:
    metric = metric_of(records[0])
    figures = [record[metric.by_step][-1 if step is None else step] for record in records]
    ours = float(np.mean(figures))
    return Verdict(metric, step, published, published_half, ours, _half(records, step), len(records))


def ours_text(records: Sequence[Record]) -> str:
    """Return the mean after the last step over tasks and seeds with its 95 % interval, where nothing is published."""
    metric = metric_of(records[0])
    return _with_half(metric, float(np.mean([record[metric.key] for record in records])), _half(records, None))


def published_text(experiment: Experiment, metric: Metric) -> str:
    """Return the figure of the paper with its interval, or "–" where nothing is published."""
    if experiment.published is None or experiment.figure is None:
        return "–"
    return _with_half(metric, experiment.figure, experiment.published["ci95"])


def _half(records: Sequence[Record], step: int | None) -> float | None:
    """Return the half-width of the interval, or None if the figures of the tasks are missing."""
    try:
        values = np.stack(
            [figures_by_step(record, keep_diverged=True)[-1 if step is None else step] for record in records]
        )
    except UserError:
        metric = metric_of(records[0])
        return records[0].get(metric.ci95) if len(records) == 1 and step in (None, records[0]["steps"]) else None
    of_tasks, of_trainings = one_over_seeds(values[:, np.isfinite(values).all(0)])
    return of_tasks if of_trainings is None else of_trainings


def _with_half(metric: Metric, value: float, half: float | None) -> str:
    return metric.text(value) + ("" if half is None else f" ± {metric.text(half)}")

"""Configurations over their seeds, for plots and the report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.reporting.tables.differing_settings import differing_settings
from metarun.reporting.tables.flags import FLAGS, same_tasks, without_figures
from metarun.reporting.tables.render import LONG
from metarun.reporting.tables.rows import KEYS_WITH_COLUMNS, UNEQUAL, by_configuration
from metarun.reporting.tables.run_labels import distinguishing_labels
from metarun.results.metrics import Metric, metric_of
from metarun.results.records import Record, excludes_diverged, figures_by_step
from metarun.results.settings import DRAWN, drawn_how, long_setting

SETTING = ("test_data", "test_way", "test_shot", "test_query", *DRAWN)
COSTS = {
    "train_seconds": "seconds of meta-training",
    "adapt_ms": "ms to adapt to a task",
    "parameters": "learned parameters",
}


@dataclass(frozen=True)
class Configuration:
    """Runs that differ only in their seed.

    Args:
        name: the method and the settings in which it differs from others.
        row: its place in the table of `by_configuration`.
        runs: at least one, by seed.
        unequal: whether a command gave runs of its test setting another training budget or network.
    """

    name: str
    row: int
    runs: Sequence[Record]
    unequal: bool

    @property
    def metric(self) -> Metric:
        """That of its runs."""
        return metric_of(self.runs[0])

    @property
    def mean(self) -> float:
        """The result, averaged over seeds."""
        return fmean(record[self.metric.key] for record in self.runs)

    @property
    def is_complete(self) -> bool:
        """Whether its results are over all tasks: none diverged and has no value."""
        return not any(map(excludes_diverged, self.runs))

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The result on each task.

        Returns:
            (seeds, tasks) after the last step.

        Raises:
            UserError: a file is unreadable, tasks diverged and have no value, or the seeds have different tasks.
        """
        for record in filter(excludes_diverged, self.runs):
            raise UserError(without_figures(record))
        if len(self.runs) > 1 and same_tasks(self.runs) is None:
            raise UserError(f"the seeds of {self.name} were not tested on the same tasks")
        return np.stack([figures_by_step(record)[-1] for record in self.runs])

    @property
    def halves(self) -> tuple[float | None, float | None]:
        """Half-widths of the 95 % intervals for new tasks, and for new tasks and trainings; None: unknown."""
        from metarun.reporting.significance import one_over_seeds  # scipy.special: see metarun.results.statistics

        try:
            return one_over_seeds(self.values)
        except UserError:
            return (self.runs[0].get(self.metric.ci95), None) if len(self.runs) == 1 else (None, None)

    def cost(self, key: str) -> float | None:
        """Its cost by one of `COSTS`: the mean over seeds, of `adapt_ms` the minimum; None in older rows."""
        costs = [record[key] for record in self.runs if key in record]
        return None if not costs else min(costs) if key == "adapt_ms" else fmean(costs)


def configurations(records: Sequence[Record]) -> list[list[Configuration]]:
    """Group runs by test setting, and within it by configuration, the best first.

    Between settings, configurations of one method have equal names if they differ from others in the same settings.
    """
    groups = by_configuration(records)
    first = [group[0] for group in groups]
    shared = ["algo", *SETTING]
    if len(groups) > LONG:  # each means reading a file
        texts, unequal, others = [""] * len(groups), [False] * len(groups), [record["id"] for record in first]
    else:
        texts, _, unequal = differing_settings(first, KEYS_WITH_COLUMNS)
        averaged = ["seed"] if any(len(group) > 1 for group in groups) else []
        others = distinguishing_labels(first, shared, averaged, with_ids=True)
    keys = [(*(str(record.get(key)) for key in shared), text) for record, text in zip(first, texts, strict=True)]
    count = Counter(keys)
    found: dict[tuple[object, ...], list[Configuration]] = {}
    for row, (group, key, text, other, apart) in enumerate(zip(groups, keys, texts, others, unequal, strict=True)):
        name = ", ".join(filter(None, [group[0]["algo"], other if count[key] > 1 else text]))
        found.setdefault(setting_of(group[0]), []).append(Configuration(name, row, group, apart))
    return list(found.values())


def setting_of(record: Record) -> tuple[object, ...]:
    """Return what a run was tested on; only runs that share it are drawn together."""
    sizes = (record[key] for key in SETTING if key not in DRAWN)
    return *sizes, drawn_how(record), metric_of(record)


def setting_title(found: Sequence[Configuration]) -> str:
    """Name a test setting."""
    record = found[0].runs[0]
    return f"{record['test_data']}, {long_setting(record)}"


def marked_name(each: Configuration) -> str:
    """Return the name of a configuration with the marks that concern its comparison with others."""
    marks = [FLAGS["transductive"][0]] * each.runs[0]["transductive"] + [UNEQUAL[0]] * each.unequal
    return "\N{NO-BREAK SPACE}".join([each.name, *marks])


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which of the (cost, score) points no other one dominates: as cheap and as good, and better in one."""
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front


def on_the_front(costs: Sequence[tuple[Configuration, float]]) -> list[int]:
    """Return the places of the configurations on the Pareto front, each given with its cost.

    A configuration with diverged tasks is not on it, because its result is that of the other tasks.
    """
    places = [i for i, (each, _) in enumerate(costs) if each.is_complete]
    points = [(cost, each.metric.score(each.mean)) for each, cost in (costs[i] for i in places)]
    return [places[i] for i in pareto_front(points)]


def in_every_setting(found: Sequence[Sequence[Configuration]]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the configurations that were tested in every setting, on all tasks without one that diverged.

    Returns:
        Their names, and (settings, methods) the mean results, signed so that higher is better.
    """
    by_name = [{each.name: each.metric.score(each.mean) for each in setting if each.is_complete} for setting in found]
    names = [name for name in by_name[0] if all(name in scores for scores in by_name)]
    return names, np.array([[scores[name] for name in names] for scores in by_name])

"""Methods against each other over their seeds: what `metarun compare --against RUN` says beside single runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarun.reporting.significance import OverSeeds, Verdict, comparisons_each, holm, over_seeds, verdict
from metarun.reporting.tables.render import counted, p_text
from metarun.reporting.tables.run_labels import names
from metarun.results.metrics import metric_of
from metarun.results.records import Record

ByTask = Mapping[str, NDArray[np.float64]]  # (tasks,) the figures of each run, by its id


@dataclass(frozen=True)
class MethodComparison:
    """A method and others, each the runs that differ in nothing but their seed.

    Args:
        base: the runs of the method that the others are compared with.
        rows: of each other method its runs, what was found, its p-value, corrected, and about how many seeds each would
            tell, if any number would.
    """

    base: list[Record]
    rows: list[tuple[list[Record], OverSeeds, float, int | None]]

    def table(self) -> tuple[list[str], list[list[str]], list[str]]:
        """Return head, rows and notes for people."""
        told = names([self.base[0], *(runs[0] for runs, *_ in self.rows)], averaged=["seed"])
        first = [told[0], *_figures(self.base), *["–"] * 3, "compared with"]
        body = [first, *(self._row(name, *row) for row, name in zip(self.rows, told[1:], strict=True))]
        return ["method", "seeds", "figure", "sd", "difference", "± tasks", "p", "against it"], body, self._notes()

    def _row(self, name: str, runs: list[Record], found: OverSeeds, corrected: float, to_tell: int | None) -> list[str]:
        mark = " †" if runs[0]["transductive"] != self.base[0]["transductive"] else ""
        metric = metric_of(runs[0])
        difference = metric.difference_text(found.difference, found.ci95)
        says = _words(found, verdict(metric.score(found.difference), corrected), to_tell)
        return [name + mark, *_figures(runs), difference, metric.fixed(found.ci95_tasks), p_text(corrected), says]

    def _notes(self) -> list[str]:
        return [
            "Methods over their seeds. Figure: the mean over them; sd: their standard deviation. Difference: of the "
            "means, ± its 95 % interval for other tasks from these classes and for other trainings (Student t; the "
            "variances over tasks and over the seeds of both add up); ± tasks: for other tasks, these trainings alone.",
            f"p: of the difference for other tasks and trainings, corrected for {counted(len(self.rows))} (Holm); "
            "below 0.05 the verdict is better or worse.",
        ]

    def plain(self) -> list[Record]:
        """Return rows for programs; ids are those of all runs of a method."""
        against = _ids(self.base)
        return [
            {
                "id": _ids(runs),
                "against": against,
                "algo": runs[0]["algo"],
                "seeds": found.seeds[0],
                "against_seeds": found.seeds[1],
                "tasks": found.tasks,
                "difference": found.difference,
                "difference_ci95": found.ci95,
                "difference_ci95_tasks": found.ci95_tasks,
                "p_t": found.p,
                "p_holm": corrected,
                "verdict": verdict(metric_of(runs[0]).score(found.difference), corrected),
                "seeds_to_tell": to_tell,
            }
            for runs, found, corrected, to_tell in self.rows
        ]


def methods_over_seeds(base: Record, others: Sequence[Record], by_task: ByTask) -> MethodComparison:
    """Compare the method of a run with the methods of others, all judged on the same tasks.

    A method is the runs that have their `seedless_id` in common; one of a single run is not compared.
    """
    groups: dict[str, list[Record]] = {}
    for record in [base, *others]:
        if "seedless_id" in record:
            groups.setdefault(record["seedless_id"], []).append(record)
    own = groups.pop(base.get("seedless_id", ""), [base])
    several = [runs for runs in groups.values() if len(runs) > 1] if len(own) > 1 else []
    found = [over_seeds(_stacked(runs, by_task), _stacked(own, by_task)) for runs in several]
    p_values = [each.p for each in found]
    to_tell = [each.seeds_to_tell(count) for each, count in zip(found, comparisons_each(p_values), strict=True)]
    return MethodComparison(own, list(zip(several, found, holm(p_values), to_tell, strict=True)))


def _stacked(runs: Sequence[Record], by_task: ByTask) -> NDArray[np.float64]:
    return np.stack([by_task[record["id"]] for record in runs])


def _ids(runs: Sequence[Record]) -> str:
    return " ".join(record["id"] for record in sorted(runs, key=lambda record: record["seed"]))


def _figures(runs: Sequence[Record]) -> list[str]:
    """How many runs, their mean, and their standard deviation."""
    metric = metric_of(runs[0])
    values = [record[metric.key] for record in runs]
    return [str(len(runs)), *(metric.fixed(float(each)) for each in (np.mean(values), np.std(values, ddof=1)))]


def _words(found: OverSeeds, says: Verdict, to_tell: int | None) -> str:
    if says != "cannot tell" or not found.difference:
        return says
    if to_tell is None:
        return f"cannot tell with {found.tasks:,} tasks, however many seeds"
    return f"cannot tell with these seeds; about {max(to_tell, min(found.seeds) + 1)} each would"

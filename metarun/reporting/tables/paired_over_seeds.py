"""Compare methods over their seeds, for `metarun compare --against RUN`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarun.errors import counted
from metarun.reporting.significance import OverSeeds, Verdict, comparisons_each, holm, over_seeds, verdict
from metarun.reporting.tables.render import p_text
from metarun.reporting.tables.run_labels import run_names
from metarun.results.metrics import metric_of
from metarun.results.records import Record

ByTask = Mapping[str, NDArray[np.float64]]  # run id → (tasks,) its values


@dataclass(frozen=True)
class MethodComparison:
    """The comparison of methods with a base method; a method is the runs that differ only in their seed.

    Args:
        base: the runs of the base method.
        rows: for each other method its runs, the comparison, the corrected p-value, and Holm's factor of it.
    """

    base: list[Record]
    rows: list[tuple[list[Record], OverSeeds, float, int]]

    def table(self) -> tuple[list[str], list[list[str]], list[str]]:
        """Return head, rows and notes as text."""
        names = run_names([self.base[0], *(runs[0] for runs, *_ in self.rows)], averaged=["seed"])
        first = [names[0] + _mark(self.base), *_seeds_mean_sd(self.base), *["–"] * 3, "baseline"]
        body = [first, *(self._row(name, *row) for row, name in zip(self.rows, names[1:], strict=True))]
        return ["method", "seeds", "result", "sd", "difference", "± tasks", "p", "verdict"], body, self._notes()

    def _row(self, name: str, runs: list[Record], found: OverSeeds, corrected: float, comparisons: int) -> list[str]:
        metric = metric_of(runs[0])
        difference = metric.difference_text(found.difference, found.half_width(comparisons))
        result = verdict(metric.score(found.difference), corrected)
        text = _verdict_text(found, result, found.seeds_to_tell(comparisons))
        return [
            name + _mark(runs),
            *_seeds_mean_sd(runs),
            difference,
            metric.fixed(found.ci95_tasks),
            p_text(corrected),
            text,
        ]

    def _notes(self) -> list[str]:
        return [
            "Methods over their seeds. Result: the mean over seeds; sd: the standard deviation over seeds. Difference: "
            "between the means, ± its interval for new tasks from these classes and new trainings (Student t; the "
            "variances over tasks and over the seeds of both add up); p: of that difference. Both are corrected for "
            f"{counted(len(self.rows), 'comparison')} (Holm, 0.05). ± tasks: 95 %, for new tasks and these trainings."
        ]

    def plain(self) -> list[Record]:
        """Return rows for JSON and CSV; ids are those of all runs of a method."""
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
                "difference_ci_adjusted": found.half_width(comparisons),
                "difference_ci95_tasks": found.ci95_tasks,
                "p_t": found.p,
                "p_holm": corrected,
                "verdict": verdict(metric_of(runs[0]).score(found.difference), corrected),
                "seeds_to_tell": found.seeds_to_tell(comparisons),
            }
            for runs, found, corrected, comparisons in self.rows
        ]


def methods_over_seeds(base: Record, others: Sequence[Record], by_task: ByTask) -> MethodComparison:
    """Compare the method of a run with other methods, all tested on the same tasks.

    A method is the runs with the same `seedless_id`; methods with a single run are not compared.
    """
    groups: dict[str, list[Record]] = {}
    for record in [base, *others]:
        if "seedless_id" in record:
            groups.setdefault(record["seedless_id"], []).append(record)
    own = groups.pop(base.get("seedless_id", ""), [base])
    several = [runs for runs in groups.values() if len(runs) > 1] if len(own) > 1 else []
    found = [over_seeds(_stacked(runs, by_task), _stacked(own, by_task)) for runs in several]
    p_values = [each.p for each in found]
    return MethodComparison(own, list(zip(several, found, holm(p_values), comparisons_each(p_values), strict=True)))


def _mark(runs: Sequence[Record]) -> str:
    return " †" if runs[0]["transductive"] else ""


def _stacked(runs: Sequence[Record], by_task: ByTask) -> NDArray[np.float64]:
    return np.stack([by_task[record["id"]] for record in runs])


def _ids(runs: Sequence[Record]) -> str:
    return " ".join(record["id"] for record in sorted(runs, key=lambda record: record["seed"]))


def _seeds_mean_sd(runs: Sequence[Record]) -> list[str]:
    metric = metric_of(runs[0])
    values = [record[metric.key] for record in runs]
    return [str(len(runs)), *(metric.fixed(float(each)) for each in (np.mean(values), np.std(values, ddof=1)))]


def _verdict_text(found: OverSeeds, verdict: Verdict, to_tell: int | None) -> str:
    if verdict != "cannot tell" or not found.difference:
        return verdict
    if to_tell is None:
        return f"cannot tell with {found.tasks:,} tasks and any number of seeds"
    return f"cannot tell with these seeds; needs about {max(to_tell, min(found.seeds) + 1)} each"

"""Flag runs that must not be compared, and find the best run on the same tasks and its ties."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.reporting.shortfall import shortfall
from metarun.results.metrics import metric_of
from metarun.results.records import Record, excludes_diverged, figures_by_step
from metarun.results.settings import drawn_how
from metarun.results.statistics import FEW_TASKS
from metarun.results.test_uses import SETTING

Rank = Literal["", "best", "tie"]

MAX_TESTED = 500  # runs in a table that are tested for ties; each test reads a file

# Flag → mark, and why the row must not be compared with others of its data and task size, or not be trusted.
FLAGS = {
    "transductive": ("†", "† transductive: predictions depend on the other queries."),
    "queries": ("‡", "‡ the number of queries per class differs from that of other rows of its data and task size."),
    "data": ("§", "§ tested on other examples, or another split, than other rows with data of this name."),
    "few_tasks": ("¶", f"¶ tested on fewer than {FEW_TASKS} tasks: the interval is unreliable."),
    "duplicates": ("‖", "‖ some examples are in more than one split: meta-test may have been seen in training."),
    "classes": ("⁂", "⁂ some examples are in several classes of a split: no method can tell which class is meant."),
    "looks": ("※", "※ its checkpoint was meta-tested several times in this setting; picking the best is biased."),
    "audit": ("¿", "¿ an audit of this checkpoint contradicts the column `transductive`."),
    "diverged": ("∞", "∞ some meta-test tasks diverged: the mse is the mean over the others and never counts as best."),
    "training": ("×", "× its training diverged; the best checkpoint before that was tested."),
    "floor": ("↓", "↓ below its floor, which needs no training."),
    "chance": ("∅", "∅ not significantly better than chance."),
}
TRANSDUCTIVE = FLAGS["transductive"][1]
BEST = "Bold: the best on the same tasks, separately for transductive and other runs"
TIES = f"{BEST}; ≈: not significantly different from the best (paired t-test{{}}, Holm, 0.05)."


def flags(records: Sequence[Record]) -> list[list[str]]:
    """Return which of `FLAGS` each record has, by itself or compared with others of its data and task size."""
    groups: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[_setting(record)].append(record)
    usual = {setting: _usual(group) for setting, group in groups.items()}
    audits = {_checkpoint(record): record["audit"]["changed"] > 0 for record in records if "audit" in record}
    results: dict[tuple[object, ...], int] = defaultdict(int)
    tests = [_test_setting(record) for record in records]
    for record, test in zip(records, tests, strict=True):
        results[test] = max(results[test], record.get("figures_seen", 1))
    found = [
        {
            **_compared(record, *usual[_setting(record)]),
            **_by_itself(record, results[test], audits.get(_checkpoint(record))),
        }
        for record, test in zip(records, tests, strict=True)
    ]
    return [[name for name, flagged in each.items() if flagged] for each in found]


def marks_of_cells(cells: Sequence[Sequence[Record]]) -> tuple[list[str], list[str]]:
    """Return the marks of each cell, given its runs, and what they mean; all transductive cells are marked."""
    found = flags_of_cells(cells)
    marks = ["".join(f" {FLAGS[flag][0]}" for flag in each) for each in found]
    return marks, [meaning for flag, (_, meaning) in FLAGS.items() if any(flag in each for each in found)]


def flags_of_cells(cells: Sequence[Sequence[Record]]) -> list[list[str]]:
    """Return which of `FLAGS` any run of each cell has; all transductive cells are flagged."""
    own = iter(flags([record for cell in cells for record in cell]))
    found = [{flag for record in cell for flag in (*next(own), *_kind(record))} for cell in cells]
    return [[flag for flag in FLAGS if flag in each] for each in found]


def _kind(record: Record) -> list[str]:
    return ["transductive"] if record["transductive"] else []


def _setting(record: Record) -> tuple[object, ...]:
    return record["test_data"], record["test_way"], record["test_shot"], drawn_how(record)


def _checkpoint(record: Record) -> tuple[object, ...]:
    """What was tested: the trained weights and the head."""
    return record.get("trained_by", record["id"]), record["algo"]


def _test_setting(record: Record) -> tuple[object, ...]:
    """The checkpoint and setting of a test; rows that share them offer several results to pick from."""
    return _checkpoint(record), *(record.get(key) for key in SETTING)


def _usual(group: Sequence[Record]) -> tuple[bool, object, object]:
    """Whether any row is not transductive, and the most frequent number of queries and hash of the data."""
    queries, data = (Counter(record.get(key) for record in group) for key in ("test_query", "data_hash"))
    return not all(record["transductive"] for record in group), queries.most_common(1)[0][0], data.most_common(1)[0][0]


def _compared(record: Record, inductive_rows: bool, queries: object, data: object) -> dict[str, bool]:
    return {
        "transductive": inductive_rows and record["transductive"],
        "queries": record.get("test_query") != queries,
        "data": record.get("data_hash") != data,
    }


def _by_itself(record: Record, results: int, audited: bool | None) -> dict[str, bool]:
    """Return the flags that do not depend on other rows.

    Args:
        record: the row; keys that its version did not have yet are missing.
        results: number of different results of its checkpoint in its setting.
        audited: whether an audit found its checkpoint to be transductive; None: no audit.
    """
    short = shortfall(record)
    return {
        "few_tasks": record["test_tasks"] < FEW_TASKS,
        "duplicates": record.get("duplicates_across_splits", 0) > 0,
        "classes": record.get("duplicates_across_classes", 0) > 0,
        "looks": results > 1,
        "audit": audited is not None and audited != record["transductive"],
        "diverged": record.get("diverged", 0) > 0,
        "training": "training_diverged_at" in record,
        "floor": short == "floor",
        "chance": short == "chance",
    }


def rank_cells(cells: Sequence[Sequence[Record]]) -> tuple[list[Rank], str | None]:
    """Find the best of the cells that were tested on the same tasks, and its ties.

    Args:
        cells: the runs of each cell: one run, or several that differ only in their seed.

    Returns:
        The rank of each cell, and a sentence that explains the ranks; None if no cells are comparable.
    """
    groups: dict[tuple[object, bool, bool], list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        if (tasks := same_tasks(cell)) is not None and not any(map(excludes_diverged, cell)):
            groups[tasks, cell[0]["transductive"], "external_data" in cell[0]].append(i)
    ranks: list[Rank] = [""] * len(cells)
    comparable = [members for members in groups.values() if len(members) > 1]
    test = sum(len(cells[i]) for members in comparable for i in members) <= MAX_TESTED
    sentences = {_rank_group(ranks, cells, members, test) for members in comparable}
    return ranks, min(sentences, default=None)


def same_tasks(cell: Sequence[Record]) -> object:
    """Return the hash of the tasks that all runs of a cell were tested on; None if they differ."""
    hashes = {record.get("stream_hash") for record in cell}
    return hashes.pop() if len(hashes) == 1 else None


def share_all_tasks(cell: Sequence[Record]) -> bool:
    """Whether all runs of a cell were tested on the same tasks and have a value for each of them."""
    return same_tasks(cell) is not None and not any(map(excludes_diverged, cell))


def _p_value(cell: Sequence[Record], best: Sequence[Record]) -> float:
    """Compare two cells over their seeds if both have several, else for these trainings only."""
    from metarun.reporting.significance import over_seeds, paired_t

    if min(len(cell), len(best)) > 1 and best[0]["test_tasks"] > 1:
        one, other = ([figures_by_step(record)[-1] for record in each] for each in (cell, best))
        return over_seeds(one, other).p
    return paired_t(by_task(cell) - by_task(best))


def by_task(cell: Sequence[Record]) -> NDArray[np.float64]:
    """Return (tasks,) the value of a cell on each task after the last step, averaged over its runs.

    Raises:
        UserError: a run's `tasks.parquet` does not match its row, or some tasks diverged and have no value.
    """
    for record in filter(excludes_diverged, cell):
        raise UserError(without_figures(record))
    figures: NDArray[np.float64] = np.mean([figures_by_step(record)[-1] for record in cell], axis=0)
    return figures


def without_figures(record: Record) -> str:
    """Explain that a run with diverged tasks cannot be compared task by task."""
    tasks = f"{record['diverged']:,} of {record['test_tasks']:,} tasks"
    return f"{record['id']} ({record['algo']}) diverged on {tasks} and cannot be compared task by task"


def _rank_group(ranks: list[Rank], cells: Sequence[Sequence[Record]], members: list[int], test: bool) -> str:
    """Set the rank of the best of some cells and, if `test`, of its ties; return what the marks mean."""

    def score(i: int) -> float:
        metric = metric_of(cells[i][0])
        return metric.score(float(np.mean([record[metric.key] for record in cells[i]])))

    best, *others = sorted(members, key=score, reverse=True)
    ranks[best] = "best"
    if not test:
        return f"{BEST}; ties are not tested among more than {MAX_TESTED} runs: select fewer."
    from metarun.reporting.significance import LEVEL, holm  # scipy.special: see metarun.results.statistics

    try:
        p_values = holm([_p_value(cells[i], cells[best]) for i in others])
    except UserError as error:
        return f"{BEST}; ties are unknown: {error}"
    for i, p in zip(others, p_values, strict=True):
        if p >= LEVEL:
            ranks[i] = "tie"
    several = any(len(cells[i]) > 1 for i in members)
    return TIES.format(", over seeds where both have several" if several else "")

"""How runs stand to each other: which must not be compared, which is the best on the same tasks, what ties with it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.reporting.shortfall import shortfall
from metarun.results.metrics import metric_of
from metarun.results.records import Record, excludes_diverged, figures_by_step
from metarun.results.statistics import FEW_TASKS
from metarun.results.test_uses import SETTING

Standing = Literal["", "best", "tie"]

TESTED = 500  # runs in a table, among which ties are looked for: each means reading a file

# What makes a row one that must not be compared with others of its data and task size, or not be trusted as it is: how
# it is marked, and why.
FLAGS = {
    "transductive": ("†", "† transductive beside rows that are not: queries see each other."),
    "queries": ("‡", "‡ judged by another number of queries a class than others of its data and task size."),
    "data": ("§", "§ other examples, or another split, than others on data of this name."),
    "few_tasks": ("¶", f"¶ an interval over fewer than {FEW_TASKS} tasks, which says little."),
    "duplicates": ("‖", "‖ some examples stand in more than one split: meta-test may have been seen in training."),
    "classes": ("⁂", "⁂ some examples stand in several classes of a split: no method can tell of which they are."),
    "looks": ("※", "※ its checkpoint was judged more than once in this setting, with several figures to choose from."),
    "audit": ("¿", "¿ an audit of this checkpoint found the opposite of its column `transductive`."),
    "diverged": ("∞", "∞ some meta-test tasks diverged: an mse is over the others and never the best."),
    "training": ("×", "× its training diverged; judged is the best checkpoint before that."),
    "floor": ("↓", "↓ below its floor: something that nobody trained does better."),
    "chance": ("∅", "∅ no better than chance, as far as its tasks tell."),
}
TRANSDUCTIVE = "† transductive: queries see each other."
BEST = "Bold: the best of its kind, transductive or not, on the same tasks"
TIES = f"{BEST}; ≈: the paired t-test cannot tell it from the best (Holm, 0.05)."


def flags(records: Sequence[Record]) -> list[list[str]]:
    """Return which of `FLAGS` each record has, by itself and beside the others of its data and task size."""
    groups: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[_setting(record)].append(record)
    usual = {setting: _usual(group) for setting, group in groups.items()}
    audits = {_checkpoint(record): record["audit"]["changed"] > 0 for record in records if "audit" in record}
    seen: dict[tuple[object, ...], int] = defaultdict(int)
    looks = [_looked_at(record) for record in records]
    for record, look in zip(records, looks, strict=True):
        seen[look] = max(seen[look], record.get("figures_seen", 1))
    found = [
        {
            **_beside_others(record, *usual[_setting(record)]),
            **_by_itself(record, seen[look], audits.get(_checkpoint(record))),
        }
        for record, look in zip(records, looks, strict=True)
    ]
    return [[name for name, flagged in each.items() if flagged] for each in found]


def marks_of_cells(cells: Sequence[Sequence[Record]]) -> tuple[list[str], list[str]]:
    """Return the signs of `FLAGS` that each cell gets from its runs, and what they mean; † wherever queries see others.

    Args:
        cells: each the runs of one figure.
    """
    found = flags_of_cells(cells)
    signs = ["".join(f" {FLAGS[flag][0]}" for flag in each) for each in found]
    told = {**{flag: sentence for flag, (_, sentence) in FLAGS.items()}, "transductive": TRANSDUCTIVE}
    return signs, [sentence for flag, sentence in told.items() if any(flag in each for each in found)]


def flags_of_cells(cells: Sequence[Sequence[Record]]) -> list[list[str]]:
    """Return which of `FLAGS` each cell has from any of its runs; "transductive" wherever queries see others."""
    own = iter(flags([record for cell in cells for record in cell]))
    found = [{flag for record in cell for flag in (*next(own), *_kind(record))} for cell in cells]
    return [[flag for flag in FLAGS if flag in each] for each in found]


def _kind(record: Record) -> list[str]:
    return ["transductive"] if record["transductive"] else []


def _setting(record: Record) -> tuple[object, ...]:
    return record["test_data"], record["test_way"], record["test_shot"]


def _checkpoint(record: Record) -> tuple[object, ...]:
    """What was judged: the weights of which training, under which head."""
    return record.get("trained_by", record["id"]), record["algo"]


def _looked_at(record: Record) -> tuple[object, ...]:
    """What rows have in common of which the figures may be chosen from."""
    return _checkpoint(record), *(record.get(key) for key in SETTING)


def _usual(group: Sequence[Record]) -> tuple[bool, object, object]:
    """Whether there are rows that are not transductive; the most frequent number of queries and hash of the data."""
    queries, data = (Counter(record.get(key) for record in group) for key in ("test_query", "data_hash"))
    return not all(record["transductive"] for record in group), queries.most_common(1)[0][0], data.most_common(1)[0][0]


def _beside_others(record: Record, others: bool, queries: object, data: object) -> dict[str, bool]:
    return {
        "transductive": others and record["transductive"],
        "queries": record.get("test_query") != queries,
        "data": record.get("data_hash") != data,
    }


def _by_itself(record: Record, seen: int, audited: bool | None) -> dict[str, bool]:
    """Return the flags that a row has, or not, whatever methods stand beside it.

    Args:
        record: the row; those that were made before there was a key are without it.
        seen: how many figures its checkpoint has shown in its setting.
        audited: whether an audit of its checkpoint found it to be transductive; None: there was none.
    """
    short = shortfall(record)
    return {
        "few_tasks": record["test_tasks"] < FEW_TASKS,
        "duplicates": record.get("duplicates_across_splits", 0) > 0,
        "classes": record.get("duplicates_across_classes", 0) > 0,
        "looks": seen > 1,
        "audit": audited is not None and audited != record["transductive"],
        "diverged": record.get("diverged", 0) > 0,
        "training": "training_diverged_at" in record,
        "floor": short == "floor",
        "chance": short == "chance",
    }


def standings(cells: Sequence[Sequence[Record]]) -> tuple[list[Standing], str | None]:
    """Find the best of the cells that were judged on the same tasks, and those that tie with it.

    Args:
        cells: each the runs of one figure: a run, or several that differ in their seed.

    Returns:
        For each cell how it stands, and a sentence on what that means; None where nothing is compared.
    """
    groups: dict[tuple[object, bool], list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        if (tasks := same_tasks(cell)) is not None and not any(map(excludes_diverged, cell)):
            groups[tasks, cell[0]["transductive"]].append(i)
    found: list[Standing] = [""] * len(cells)
    several = [members for members in groups.values() if len(members) > 1]
    few = sum(len(cells[i]) for members in several for i in members) <= TESTED
    sentences = {_place(found, cells, members, few) for members in several}
    return found, min(sentences, default=None)


def same_tasks(cell: Sequence[Record]) -> object:
    """Return what stands for the tasks that all runs of a cell were judged on; None: they were not the same."""
    hashes = {record.get("stream_hash") for record in cell}
    return hashes.pop() if len(hashes) == 1 else None


def by_task(cell: Sequence[Record]) -> NDArray[np.float64]:
    """Return (tasks,) the figures of a cell on each task after the last step, the mean over its runs.

    Raises:
        UserError: a run's `tasks.parquet` is not what its row says, or some tasks diverged and have no figure.
    """
    for record in filter(excludes_diverged, cell):
        raise UserError(without_figures(record))
    figures: NDArray[np.float64] = np.mean([figures_by_step(record)[-1] for record in cell], axis=0)
    return figures


def without_figures(record: Record) -> str:
    """Say why a run cannot be compared task by task."""
    tasks = f"{record['diverged']:,} of {record['test_tasks']:,} tasks"
    return f"{record['id']} ({record['algo']}) diverged on {tasks} and cannot be compared task by task"


def _place(found: list[Standing], cells: Sequence[Sequence[Record]], members: list[int], test: bool) -> str:
    """Note the best of some cells and, if they are to be tested, its ties; return what the marks mean."""

    def score(i: int) -> float:
        metric = metric_of(cells[i][0])
        return metric.score(float(np.mean([record[metric.key] for record in cells[i]])))

    best, *others = sorted(members, key=score, reverse=True)
    found[best] = "best"
    if not test:
        return f"{BEST}; ties are not looked for among more than {TESTED} runs: name fewer."
    from metarun.reporting.significance import LEVEL, holm, paired_t  # scipy.special: see metarun.results.statistics

    try:
        of_best = by_task(cells[best])
        p_values = holm([paired_t(by_task(cells[i]) - of_best) for i in others])
    except UserError as error:
        return f"{BEST}; ties are unknown: {error}"
    for i, p in zip(others, p_values, strict=True):
        if p >= LEVEL:
            found[i] = "tie"
    return TIES

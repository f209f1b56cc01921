"""Whether a run learned nothing, by its own row, and what to look at then."""

from collections.abc import Mapping
from typing import Any, Literal

from metarun.results.metrics import metric_of

FELL = 0.98  # of the training loss at first: what is above did not fall
POINTS = 0.1  # of accuracy, and
AT_CHANCE = 0.02  # of accuracy; and
TWICE = 2  # times the squared error: between meta-val and meta-test no chance

Shortfall = Literal["chance", "floor"]


def shortfall(record: Mapping[str, Any]) -> Shortfall | None:
    """Return what a row does not clear with its 95 % interval: chance, or what is better without any training.

    None for a row that does, or that cannot say so, and for what nobody trained: that is no failure to learn.
    """
    if not record["iterations"]:
        return None
    metric = metric_of(record)
    half, floor, chance = (record.get(key) for key in (metric.ci95, metric.floor, "chance"))
    if half is None:
        return None
    score = metric.score(record[metric.key])
    if chance is not None and score - half <= chance:
        return "chance"
    if floor is None or score >= metric.score(floor):
        return None
    return "floor" if score + half < metric.score(floor) or _made_by_a_few(record) else None


def remark(record: Mapping[str, Any]) -> str | None:
    """Say in a sentence that nothing was learned and what to look at; None where something was."""
    found = shortfall(record)
    if found is None:
        return None
    if found == "chance":
        said = f"no better than chance, as far as {record['test_tasks']:,} tasks tell: nothing was learned"
    elif _made_by_a_few(record):
        metric = metric_of(record)
        median = f", the median is {metric.text(record[metric.median])}" if record.get(metric.median) else ""
        return f"below the floor because of a few tasks{median}; lower `test.steps`{_inner_rate(record)}."
    else:
        said = f"below the floor: {metric_of(record).floor_is}, which needs no training, does better"
    return f"{said}; {_what_to_look_at(record)}."


def _what_to_look_at(record: Mapping[str, Any]) -> str:
    first, last = record.get("train_loss_first"), record.get("train_loss_last")
    inner = _inner_rate(record)
    if record["order"] and record.get("steps_asked") == 0:
        return "this method has to adapt, and no steps were asked for: raise `test.steps`"
    if other := _other_data(record):
        return f"see how {other}: polarity (`data.invert`), contrast, size"
    if "training_diverged_at" in record:
        return f"its training diverged: try lower rates (`train.outer_lr`{inner}), or `train.clip_grad=10`"
    if _tells_nothing(record):
        return "raw inputs are at chance too, so look at the labels and the examples first: `metarun report`"
    if first is None or last is None or first == last:
        return f"take more steps (`train.iterations`), or try other rates (`train.outer_lr`{inner})"
    losses = f"{first:.3g} → {last:.3g}"
    if last > FELL * first:
        return f"the training loss did not fall ({losses}): try other rates (`train.outer_lr`{inner}) and more steps"
    fell = f"the training loss fell ({losses})"
    if _better_on_meta_val(record):
        return f"{fell} and meta-val did better, so see how meta-test differs from it: classes, task size, steps"
    if record.get("best_iteration") == record["iterations"]:
        return f"{fell} and meta-val was at its best in the end: take more steps (`train.iterations`)"
    return f"{fell} and meta-val did not follow: more training classes, fewer steps, or another norm"


def _made_by_a_few(record: Mapping[str, Any]) -> bool:
    """Whether the interval of a mean that cannot be below 0 reaches there: a few tasks are far from the others."""
    metric = metric_of(record)
    return not metric.higher_is_better and record[metric.ci95] > record[metric.key]


def _other_data(record: Mapping[str, Any]) -> str | None:
    """Say that a row is of other data than its training's, which may have the same name; None: it is not."""
    if record["test_data"] != record["data"]:
        return f"{record['test_data']} differs from {record['data']}"
    other = record.get("trained_data_hash", record.get("data_hash")) != record.get("data_hash")
    return f"these examples of {record['data']} differ from those of training" if other else None


def _tells_nothing(record: Mapping[str, Any]) -> bool:
    """Whether even the nearest centroid of raw inputs is at chance."""
    floor, chance = record.get("floor_accuracy"), record.get("chance")
    return floor is not None and chance is not None and abs(floor - chance) < AT_CHANCE


def _inner_rate(record: Mapping[str, Any]) -> str:
    return ", `algo.inner_lr`" if record["order"] else ""


def _better_on_meta_val(record: Mapping[str, Any]) -> bool:
    """Whether the checkpoint did much better there than at meta-test."""
    metric = metric_of(record)
    val, test = record.get(metric.val), record[metric.key]
    return val is not None and (val - test > POINTS if metric.higher_is_better else test > TWICE * val)

"""Whether a run learned nothing, by its own row, and what to look at then."""

from collections.abc import Mapping
from typing import Any, Literal

from metarun.results.metrics import metric_of

FELL = 0.98  # of the training loss at first: what is above did not fall
POINTS = 0.1  # of accuracy, and
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
    return "floor" if floor is not None and score + half < metric.score(floor) else None


def remark(record: Mapping[str, Any]) -> str | None:
    """Say in a sentence that nothing was learned and what to look at; None where something was."""
    found = shortfall(record)
    if found is None:
        return None
    if found == "chance":
        said = f"no better than chance, as far as {record['test_tasks']:,} tasks tell: nothing was learned"
    else:
        said = f"below the floor: {metric_of(record).floor_is}, which needs no training, does better"
    return f"{said}; {_what_to_look_at(record)}."


def _what_to_look_at(record: Mapping[str, Any]) -> str:
    first, last = record.get("train_loss_first"), record.get("train_loss_last")
    inner = ", `algo.inner_lr`" if record["order"] else ""
    if "training_diverged_at" in record:
        return f"its training diverged: try lower rates (`train.outer_lr`{inner}), or `train.clip_grad=10`"
    if first is None or last is None or first == last:
        return f"take more steps (`train.iterations`), or try other rates (`train.outer_lr`{inner})"
    losses = f"{first:.3g} → {last:.3g}"
    if last > FELL * first:
        return f"the training loss did not fall ({losses}): try other rates (`train.outer_lr`{inner}) and more steps"
    fell = f"the training loss fell ({losses})"
    if record["test_data"] != record["data"]:
        return f"{fell}, so see how {record['test_data']} differs from {record['data']}: polarity, contrast, size"
    if _better_on_meta_val(record):
        return f"{fell} and meta-val did better, so see how meta-test differs from it: classes, task size, steps"
    if record.get("best_iteration") == record["iterations"]:
        return f"{fell} and meta-val was at its best in the end: take more steps (`train.iterations`)"
    return f"{fell} and meta-val did not follow: more training classes, fewer steps, or another norm"


def _better_on_meta_val(record: Mapping[str, Any]) -> bool:
    """Whether the checkpoint did much better there than at meta-test."""
    metric = metric_of(record)
    val, test = record.get(metric.val), record[metric.key]
    return val is not None and (val - test > POINTS if metric.higher_is_better else test > TWICE * val)

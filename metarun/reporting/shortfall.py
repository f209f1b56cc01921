"""Detect from a run's row that it learned nothing, and suggest what to check."""

from collections.abc import Mapping
from typing import Any, Literal

from metarun.results.metrics import best_floor, metric_of

FELL = 0.98  # the training loss fell if it ended below this fraction of its first value
AT_CHANCE = 0.02  # accuracy; the floor is at chance if it is this close
# A gap between meta-val and meta-test that is not chance:
POINTS = 0.1  # of accuracy
TWICE = 2  # times the squared error

Shortfall = Literal["chance", "floor"]


def shortfall(record: Mapping[str, Any]) -> Shortfall | None:
    """Return what a row does not exceed with its 95 % interval: chance, or the floor, which needs no training.

    None if it exceeds both, if its row lacks the numbers to tell, or if the run was not trained.
    """
    if not record["iterations"]:
        return None
    metric = metric_of(record)
    half, chance = (record.get(key) for key in (metric.ci95, "chance"))
    if half is None:
        return None
    score = metric.score(record[metric.key])
    if chance is not None and score - half <= chance:
        return "chance"
    floor = best_floor(record)
    if floor is None or score >= metric.score(floor[0]):
        return None
    return "floor" if score + half < metric.score(floor[0]) or _has_outlier_tasks(record) else None


def shortfall_message(record: Mapping[str, Any]) -> str | None:
    """Return a sentence on what the run does not exceed and what to check; None if there is no shortfall."""
    found = shortfall(record)
    if found is None:
        return None
    if found == "chance":
        message = f"not significantly better than chance over {record['test_tasks']:,} tasks: nothing was learned"
    elif _has_outlier_tasks(record):
        metric = metric_of(record)
        median = f" (median {metric.text(record[metric.median])})" if record.get(metric.median) else ""
        return f"below the floor because of a few tasks{median}; lower `test.steps`{_inner_rate(record)}."
    else:
        floor = best_floor(record)
        assert floor is not None, "the run is below it"
        message = f"below the floor: {floor[1]}, which needs no training, is better"
    return f"{message}; {_what_to_check(record)}."


def _what_to_check(record: Mapping[str, Any]) -> str:
    first, last = record.get("train_loss_first"), record.get("train_loss_last")
    inner = _inner_rate(record)
    if record["order"] and record.get("steps_asked") == 0:
        return "this method must adapt, but `test.steps` is 0: raise it"
    if difference := _different_data(record):
        return f"check how {difference}: polarity (`data.invert`), contrast, size"
    if "training_diverged_at" in record:
        return f"its training diverged: try lower learning rates (`train.outer_lr`{inner}), or `train.clip_grad=10`"
    if _floor_is_at_chance(record):
        return "raw inputs are at chance too, so check the labels and the examples first (`metarun report`)"
    if first is None or last is None or first == last:
        return f"train longer (`train.iterations`), or try other learning rates (`train.outer_lr`{inner})"
    losses = f"{first:.3g} → {last:.3g}"
    if last > FELL * first:
        rates = f"`train.outer_lr`{inner}"
        return f"the training loss did not fall ({losses}): try other learning rates ({rates}) and more steps"
    fell = f"the training loss fell ({losses})"
    if _better_on_meta_val(record):
        return f"{fell} and meta-val is better, so check how meta-test differs from it: classes, task size, steps"
    if record.get("best_iteration") == record["iterations"]:
        return f"{fell} and meta-val was best at the last step: train longer (`train.iterations`)"
    return f"{fell} but meta-val did not improve: try more training classes, fewer steps, or another norm"


def _has_outlier_tasks(record: Mapping[str, Any]) -> bool:
    """Whether the 95 % interval of a squared error includes 0, which a few tasks with a very large error cause."""
    metric = metric_of(record)
    return not metric.higher_is_better and record[metric.ci95] > record[metric.key]


def _different_data(record: Mapping[str, Any]) -> str | None:
    """Describe how the test data differ from the training data, possibly under the same name; None if they do not."""
    if record["test_data"] != record["data"]:
        return f"{record['test_data']} differs from {record['data']}"
    other = record.get("trained_data_hash", record.get("data_hash")) != record.get("data_hash")
    return f"these examples of {record['data']} differ from those of training" if other else None


def _floor_is_at_chance(record: Mapping[str, Any]) -> bool:
    """Whether the nearest centroid of raw inputs is at chance."""
    floor, chance = record.get("floor_accuracy"), record.get("chance")
    return floor is not None and chance is not None and abs(floor - chance) < AT_CHANCE


def _inner_rate(record: Mapping[str, Any]) -> str:
    return ", `algo.inner_lr`" if record["order"] else ""


def _better_on_meta_val(record: Mapping[str, Any]) -> bool:
    """Whether meta-val is much better than meta-test."""
    metric = metric_of(record)
    val, test = record.get(metric.val), record[metric.key]
    return val is not None and (val - test > POINTS if metric.higher_is_better else test > TWICE * val)

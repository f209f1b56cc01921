"""Whether a run learned nothing, by its own row, and what to look at then."""

from collections.abc import Mapping
from typing import Any, Literal

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
    if "mse" in record:
        half, floor = record.get("mse_ci95"), record.get("floor_mse")
        return "floor" if half is not None and floor is not None and record["mse"] - half > floor else None
    half, floor, chance = (record.get(key) for key in ("accuracy_ci95", "floor_accuracy", "chance"))
    if half is None:
        return None
    if chance is not None and record["accuracy"] - half <= chance:
        return "chance"
    return "floor" if floor is not None and record["accuracy"] + half < floor else None


def remark(record: Mapping[str, Any]) -> str | None:
    """Say in a sentence that nothing was learned and what to look at; None where something was."""
    found = shortfall(record)
    if found is None:
        return None
    if found == "chance":
        said = f"no better than chance, as far as {record['test_tasks']:,} tasks tell: nothing was learned"
    elif "mse" in record:
        said = "below the floor: the mean of the support targets, which needs no training, is nearer"
    else:
        said = "below the floor: a nearest centroid of raw inputs, which needs no training, does better"
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
    if "mse" in record:
        return record.get("val_mse") is not None and record["mse"] > TWICE * record["val_mse"]
    return record.get("val_accuracy") is not None and record["val_accuracy"] - record["accuracy"] > POINTS

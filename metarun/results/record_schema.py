"""What may stand in a `result.json`, key by key, so that nobody who reads a row has to ask."""

from collections.abc import Callable, Mapping
from typing import Any

from metarun.results.metrics import metric_of

Kind = Callable[[Any], bool]
MOST = 10**9  # of what is counted
LARGEST = 1e100  # of what is measured: differences and squares of such numbers are numbers still
_NUMBERS = (int, float)  # exactly: a bool is an int too


def number(value: Any) -> bool:
    """A finite number."""
    return type(value) in _NUMBERS and -LARGEST < value < LARGEST


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


def _at_least_one(value: Any) -> bool:
    return _count(value) and value > 0


def _seed(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**64


def _size(value: Any) -> bool:
    return number(value) and value >= 0


def _fraction(value: Any) -> bool:
    return number(value) and 0 <= value <= 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _list_of(kind: Kind) -> Kind:
    return lambda value: isinstance(value, list) and bool(value) and all(map(kind, value))


def _or_null(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


def _with(**kinds: Kind) -> Kind:
    return lambda value: isinstance(value, dict) and all(kind(value.get(key)) for key, kind in kinds.items())


# Without these a finished run's record cannot be shown or compared.
NEEDED: Mapping[str, Kind] = {
    **dict.fromkeys(("id", "algo", "data", "test_data", "device"), _text),
    **dict.fromkeys(("way", "shot", "test_way", "test_shot", "test_query", "test_tasks"), _at_least_one),
    **dict.fromkeys(("steps", "iterations"), _count),
    **dict.fromkeys(("adapt_ms", "train_seconds"), _size),
    "seed": _seed,
    "norm": _or_null(_text),
    "order": _or_null(_count),
    "transductive": _flag,
}
# What a failed run must tell of its training, where it left a checkpoint that can be judged.
TRAINED = (
    *("id", "algo", "data", "way", "shot", "seed", "norm", "order", "iterations", "train_seconds", "example_shape"),
    *("training_diverged_at", "best_iteration"),
)
JUDGED: Mapping[str, Kind] = {"accuracy": _fraction, "mse": _size}  # by one of them
_FIGURES = dict.fromkeys(("accuracy", "mse", "ci95"), _or_null(number))
MAY: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("accuracy_ci95", "mse_ci95", "val_accuracy", "val_mse", "floor_mse", "mse_median"), _or_null(_size)
    ),
    **dict.fromkeys(("diverged", "val_diverged", "training_diverged_at"), _count),
    **dict.fromkeys(("train_loss_first", "train_loss_last"), _or_null(number)),
    "training_status": _text,
    "accuracy_by_step": _list_of(_fraction),
    **dict.fromkeys(("mse_by_step", "loss_by_step"), _list_of(number)),
    **dict.fromkeys(("backbone", "precision", "interval", "trained_by", "trained_algo", "version"), _text),
    **dict.fromkeys(("stream_hash", "data_hash", "seedless_id", "checkpoint_hash", "trained_data_hash"), _text),
    **dict.fromkeys(("query", "train_way", "train_shot", "train_query", "parameters", "best_iteration"), _count),
    **dict.fromkeys(("looks", "figures_seen", "steps_asked"), _count),
    **{f"duplicates_{where}": _count for where in ("across_splits", "within_splits", "across_classes")},
    "test_seed": _seed,
    **dict.fromkeys(("floor_accuracy", "chance"), _or_null(_fraction)),
    "example_shape": _list_of(_count),
    **dict.fromkeys(("example_mean", "example_sd"), _fraction),
    "commit": _or_null(_text),
    "reason": lambda value: isinstance(value, str),
    "published": _or_null(_with(**_FIGURES, source=_text, of=_with())),
    "audit": _with(tasks=_count, queries=_count, changed=_count, flipped=_or_null(_count), together=_size, alone=_size),
    **dict.fromkeys(("tf32", "deterministic"), _flag),
}
KINDS: Mapping[str, Kind] = {**MAY, **NEEDED, **JUDGED}


def what_is_wrong(record: object) -> str | None:
    """Return what keeps a record from being one of metarun, None if nothing does."""
    if not isinstance(record, dict) or record.get("status") not in ("done", "failed"):
        return "its status is neither done nor failed"
    if record["status"] == "failed":
        needed: tuple[str, ...] = ("reason", *(TRAINED if "training_status" in record else ()))
    else:
        needed = (*NEEDED, metric_of(record).key)
    if missing := [key for key in needed if key not in record]:
        return f"it has no {missing[0]}"
    wrong = [key for key, value in record.items() if key in KINDS and not KINDS[key](value)]
    if not wrong and record["status"] == "done" and record.get("diverged", 0) >= record["test_tasks"]:
        wrong = ["diverged"]
    return f"its {wrong[0]} is none" if wrong else None

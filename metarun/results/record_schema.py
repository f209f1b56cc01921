"""The schema of `result.json`, checked when a record is read."""

import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from metarun.results.metrics import metric_of
from metarun.system.ranges import is_range

Kind = Callable[[Any], bool]
MAX_COUNT = 10**9
LARGEST = 1e100  # differences and squares of such numbers are still finite
_NUMBERS = (int, float)  # exactly these; a bool is also an int


def number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return type(value) in _NUMBERS and -LARGEST < value < LARGEST


def _text(value: Any) -> bool:
    return type(value) is str and value.isprintable()


def _integer(low: int, high: int) -> Kind:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Kind:
    below = math.nextafter(high, math.inf) if high < LARGEST else LARGEST
    return lambda value: type(value) in _NUMBERS and low <= value < below


_count, _at_least_one, _seed = _integer(0, MAX_COUNT), _integer(1, MAX_COUNT), _integer(1 - 2**64, 2**64 - 1)
_size, _fraction = _number(0, LARGEST), _number(0, 1)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _list_of(kind: Kind) -> Kind:
    return lambda value: isinstance(value, list) and bool(value) and all(map(kind, value))


def _or_null(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


def _with(**kinds: Kind) -> Kind:
    return lambda value: isinstance(value, dict) and all(kind(value.get(key)) for key, kind in kinds.items())


def _mapping_of(kind: Kind) -> Kind:
    return lambda value: (
        isinstance(value, dict) and bool(value) and all(_text(name) and kind(item) for name, item in value.items())
    )


# A finished run's record cannot be shown or compared without these.
REQUIRED: Mapping[str, Kind] = {
    **dict.fromkeys(("id", "algo", "data", "test_data", "device"), _text),
    **dict.fromkeys(("test_query", "test_tasks"), _at_least_one),
    **dict.fromkeys(("way", "shot", "test_way", "test_shot"), lambda value: _at_least_one(value) or is_range(value)),
    **dict.fromkeys(("steps", "iterations"), _count),
    **dict.fromkeys(("adapt_ms", "train_seconds"), _size),
    "seed": _seed,
    "norm": _or_null(_text),
    "order": _or_null(_count),
    "transductive": _flag,
}
# Required for a failed run whose checkpoint can be evaluated.
TRAINED = (
    *("id", "algo", "data", "way", "shot", "seed", "norm", "order", "iterations", "train_seconds", "example_shape"),
    *("training_diverged_at", "best_iteration"),
)
METRIC_KEYS: Mapping[str, Kind] = {"accuracy": _fraction, "mse": _size, "return": number}  # one of them is required
_FIGURES = dict.fromkeys(("accuracy", "mse", "return", "ci95"), _or_null(number))
_OF_UNKNOWN: Mapping[str, Kind] = {
    f"{key}{kind}{more}": check
    for kind in ("unknown", "out_of_scope")
    for key, more, check in (
        *(("test_", "", _at_least_one), ("auroc_", "", _fraction), ("auroc_", "_ci95", _or_null(_size))),
        ("floor_auroc_", "", _fraction),
    )
}
_OF_A_SET: Mapping[str, Kind] = {  # of each data set of a mixture
    **{"accuracy": _fraction, "accuracy_ci95": _or_null(_size), "floor_accuracy": _or_null(_fraction)},
    **{"test_tasks": _at_least_one, "stream_hash": _text, "data_hash": _text},
    **{key: _or_null(kind) for key, kind in _OF_UNKNOWN.items()},
}
OPTIONAL: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("accuracy_ci95", "mse_ci95", "val_accuracy", "val_mse", "floor_mse", "mse_median"), _or_null(_size)
    ),
    **dict.fromkeys(("adapt_cpu_ms", "load"), _size),
    **dict.fromkeys(("brier", "ece"), _size),
    **dict.fromkeys(("brier_ci95", "ece_ci95"), _or_null(_size)),
    **dict.fromkeys(("floor_ridge_mse", "floor_ridge_rate"), _or_null(_size)),
    **dict.fromkeys(("diverged", "val_diverged", "training_diverged_at"), _count),
    **dict.fromkeys(("train_loss_first", "train_loss_last"), _or_null(number)),
    **dict.fromkeys(("val_return", "floor_return", "return_median", "oracle_return"), _or_null(number)),
    "return_while_adapting": _or_null(number),
    "return_ci95": _or_null(_size),
    "return_by_step": _list_of(number),
    "trajectories_by_step": _list_of(_count),
    "success_by_step": _list_of(_fraction),
    "environment_steps_per_second": _size,
    "rollout_share": _fraction,
    **dict.fromkeys(("training_status", "train_labels", "tested_weights"), _text),
    "accuracy_by_step": _list_of(_fraction),
    **dict.fromkeys(("mse_by_step", "loss_by_step"), _list_of(number)),
    **dict.fromkeys(("backbone", "precision", "interval", "trained_by", "trained_algo", "version"), _text),
    **dict.fromkeys(
        ("stream_hash", "data_hash", "seedless_id", "checkpoint_hash", "trained_data_hash", "floor_inputs"), _text
    ),
    **dict.fromkeys(("external_data", "encoder_hash"), _text),
    **dict.fromkeys(("query", "train_query", "parameters", "best_iteration"), _count),
    **dict.fromkeys(("train_way", "train_shot"), lambda value: _count(value) or is_range(value)),
    **dict.fromkeys(("looks", "figures_seen", "steps_asked"), _count),
    **{f"duplicates_{where}": _count for where in ("across_splits", "within_splits", "across_classes")},
    "test_seed": _seed,
    "overrides": lambda value: isinstance(value, list) and all(map(_text, value)),
    "nll": number,
    "nll_ci95": _or_null(_size),
    "coverage_90": _fraction,
    **dict.fromkeys(("floor_accuracy", "chance"), _or_null(_fraction)),
    "example_shape": _list_of(_count),
    **dict.fromkeys(("example_mean", "example_sd"), _fraction),
    **{f"{of}{key}": _or_null(_text) for of in ("", "train_", "test_") for key in ("within", "across", "imbalance")},
    "commit": _or_null(_text),
    "reason": lambda value: isinstance(value, str),
    "published": _or_null(_with(**_FIGURES, source=_text, of=_with())),
    "audit": _with(tasks=_count, queries=_count, changed=_count, flipped=_or_null(_count), together=_size, alone=_size),
    **dict.fromkeys(("tf32", "deterministic"), _flag),
    **_OF_UNKNOWN,
    "sets": _mapping_of(_with(**_OF_A_SET)),
}
KINDS: Mapping[str, Kind] = {**OPTIONAL, **REQUIRED, **METRIC_KEYS}


@lru_cache(64)
def _kinds_of(keys: tuple[object, ...]) -> list[Kind]:
    """Return the kind of each key of a record; runs of one version have the same keys."""
    return [KINDS.get(str(key), lambda _: True) for key in keys]


def schema_error(record: object) -> str | None:
    """Return why a record is invalid; None if it is valid."""
    if not isinstance(record, dict) or record.get("status") not in ("done", "failed"):
        return "`status` is neither done nor failed"
    if record["status"] == "failed":
        required: tuple[str, ...] = ("reason", *(TRAINED if "training_status" in record else ()))
    else:
        required = (*REQUIRED, metric_of(record).key)
    if missing := [key for key in required if key not in record]:
        return f"`{missing[0]}` is missing"
    invalid: list[str] = []
    kinds = _kinds_of(tuple(record))
    if not all(map(operator.call, kinds, record.values())):  # in C: a table of thousands of runs has a million values
        invalid = [key for (key, value), kind in zip(record.items(), kinds, strict=True) if not kind(value)]
    if not invalid and record["status"] == "done" and record.get("diverged", 0) >= record["test_tasks"]:
        invalid = ["diverged"]
    return f"`{invalid[0]}` is invalid" if invalid else None

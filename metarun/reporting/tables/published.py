"""Published results of papers: the `published` section of the files in conf/experiment/."""

from functools import cache
from typing import Any

import yaml

from metarun.config.folder import config_dir
from metarun.results.metrics import ACCURACY, MSE, Metric
from metarun.results.records import Record

_UNLESS_SAID = {"train_labels": None, "test_within": None, "test_across": None}  # with labels, and of any classes


def published(record: Record) -> dict[str, Any] | None:
    """Return the result that a paper reports for a run's setting: `accuracy` or `mse`, `ci95` (or None) and `source`.

    Only the keys under `of` are matched, whether labels were used, and the groups that tasks are from; the paper's
    tasks, splits and code differ. None if no paper matches, or if the run was trained on other data or task sizes than
    it was tested on.
    """
    trained, tested = ([record[prefix + key] for key in ("data", "way", "shot")] for prefix in ("", "test_"))
    if trained != tested:
        return None
    for each in [*filter(None, [record.get("published")]), *_of_method(record["algo"])]:
        of = {**_UNLESS_SAID, **each["of"]}
        if all(record.get(key) == value for key, value in of.items()) and figure_of(each) is not None:
            return dict(each)
    return None


def figure_of(found: dict[str, Any]) -> float | None:
    """Return the accuracy, or else the squared error."""
    figure = found.get(_metric(found).key)
    return None if figure is None else float(figure)


def published_text(record: Record) -> str:
    """Format that result for a table: in percent, or as a squared error."""
    found = published(record)
    if found is None:
        return "–"
    metric = _metric(found)
    values = [value for value in (found[metric.key], found["ci95"]) if value is not None]
    return metric.prefix + " ± ".join(f"{value:.4g}" if metric is MSE else metric.text(value, 1) for value in values)


def _metric(found: dict[str, Any]) -> Metric:
    return MSE if found.get(ACCURACY.key) is None else ACCURACY


@cache
def _of_method(algo: str) -> list[dict[str, Any]]:
    """Return those that may match the runs of a method: thousands of rows share them."""
    return [each for each in _in_experiments() if each["of"].get("algo", algo) == algo]


@cache
def _in_experiments() -> list[dict[str, Any]]:
    files = sorted((config_dir() / "experiment").glob("*.yaml"))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML was built with it: ten times as fast
    configs = [yaml.load(file.read_text(encoding="utf-8"), loader) for file in files]  # noqa: S506, both are safe
    return [config["published"] for config in configs if config.get("published")]

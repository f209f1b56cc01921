"""The model card of a run: a README for whoever gets it."""

from collections.abc import Callable

from metarun.config.instantiate import build
from metarun.config.schema import Config
from metarun.errors import printable
from metarun.reporting.shortfall import shortfall
from metarun.results.metrics import best_floor, figure, metric_of
from metarun.results.records import Record


def model_card(record: Record, config: Callable[[], Config]) -> str:
    """Return Markdown: what was trained on what, its figures, the data's licence, intended use, how to call it.

    Args:
        record: the row of a run.
        config: returns its resolved config; the data are "of the author's own" if it cannot.
    """
    metric = metric_of(record)
    setting = metric.setting.format(**record)
    what = "regression" if metric.key == "mse" else "classification"
    summary, licence = _about_data(config)
    rows = {
        "method": record["algo"],
        "network": f"{record.get('backbone', 'unknown')}, {record.get('parameters', 0):,} parameters",
        "data": f"{record['data']}: {summary}",
        "licence of the data": licence,
        "example": " x ".join(map(str, record.get("example_shape", []))),
        metric.axis: f"{figure(record)}, {setting}, {record['test_query']} {metric.queries}, "
        f"{record['test_tasks']:,} meta-test tasks; ± is the 95 % interval",
        "floor": _floor(record),
        "transductive": "yes: a prediction depends on the other queries" if record["transductive"] else "no",
        "meta-training": f"{record['iterations']:,} steps",
        "run": f"{record['id']}, metarun {record.get('version', 'unknown')}",
    }
    table = "\n".join(f"| {key} | {printable(str(value)).replace('|', '/')} |" for key, value in rows.items())
    title = printable(f"{record['algo']} on {record['data']}")
    return f"""# {title}

A model for few-shot {what}, meta-trained with [metarun](https://github.com/metarun/metarun).

| | |
|---|---|
{table}

## Intended use

{_intended_use(record)} The figure above holds for tasks drawn like its meta-test tasks;
test it on data of your own before you rely on it. The licence of the data may limit what the weights can be used for.

## How to use it

```console
$ pip install metarun
$ metarun import FILE.zip
{_calls(record)}
```

From Python: `run = metarun.import_run("FILE.zip")`, then `run.adapt(support_x, support_y).predict(query_x)`.
"""


def _about_data(config: Callable[[], Config]) -> tuple[str, str]:
    """Return what the data are and their licence, as `metarun data list` shows them."""
    unknown = "not known to metarun"
    try:
        source = build("data", config()["data"])
    except Exception:  # code that is not trusted, files that are gone, or what a user's class raises
        return "of the author's own", unknown
    return getattr(source, "summary", "of the author's own"), getattr(source, "licence", unknown)


def _floor(record: Record) -> str:
    found = best_floor(record)
    if found is None:
        return "unknown"
    note = "; **the model does not exceed it**" if shortfall(record) == "floor" else ""
    return f"{metric_of(record).text(found[0])} ({found[1]}, same tasks){note}"


def _intended_use(record: Record) -> str:
    if "mse" in record:
        return f"Predicts values of a new function or entity like those of {record['data']}, from a few of its points."
    return f"Tells apart classes that it has never seen, like those of {record['data']}, from a few examples of each."


def _calls(record: Record) -> str:
    calls = [f"$ metarun test run={record['id']} task.shot=5"]
    if len(record.get("example_shape", [])) == 3:
        calls.append(f"$ metarun adapt run={record['id']} support=FOLDER   # a folder of pictures per class")
    return "\n".join([*calls, f"$ metarun rerun {record['id']}"])

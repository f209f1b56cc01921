"""A run's row for a person: the table in which it ends."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from metarun.reporting.shortfall import remark
from metarun.results.metrics import figure, metric_of
from metarun.results.records import excludes_diverged
from metarun.results.statistics import FEW_TASKS
from metarun.system.durations import format_duration

SHOWN_STEPS = 12  # of a curve over more steps than that, evenly, from the first to the last


def summary(record: dict[str, Any]) -> Table:
    """Return one run's result as a table of two columns."""
    table = Table(title=escape(f"{record['algo']} on {record['data']}"), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("meta-test", _setting(record))
    _add_figures(table, record)
    _add_warnings(table, record)
    table.add_row("transductive", "yes: queries see each other" if record["transductive"] else "no")
    if "audit" in record:
        table.add_row("audit", _audit(record))
    table.add_row("adapting", f"{record['adapt_ms']:.1f} ms a task on {record['device']}")
    numbers = "" if record.get("precision", "float32") == "float32" else f", in {record['precision']}"
    trained = f"{record['iterations']:,} steps, {format_duration(record['train_seconds'])}"
    table.add_row("meta-training", trained + numbers)
    return table


def _setting(record: dict[str, Any]) -> str:
    metric = metric_of(record)
    setting = f"{metric.setting.format_map(record)}, {record['test_query']} {metric.queries}"
    other = record.get("test_data", record["data"]) != record["data"]
    return f"{setting}, on {record['test_data']}" if other else setting


def _add_figures(table: Table, record: dict[str, Any]) -> None:
    """Add what the run is judged by, over what, by step, and beside what no training has."""
    metric = metric_of(record)
    left = record["test_tasks"] - record.get("diverged", 0)
    over = f"{left:,} of " if excludes_diverged(record) else ""
    interval = f"over {over}{record['test_tasks']:,} tasks, ± is the 95 % interval (Student t)"
    if record["test_tasks"] < FEW_TASKS:
        interval += f"; fewer than {FEW_TASKS} tasks say little"
    table.add_row(metric.axis, f"{figure(record).removeprefix(metric.prefix)}  {interval}")
    if record.get(metric.median) is not None:
        table.add_row("median", metric.text(record[metric.median]))
    by_step = [metric.text(value, metric.brief_digits) for value in record.get(metric.by_step, [])]
    table.add_row("by step", _curve(by_step, record.get("steps_asked")))
    if record.get(metric.floor) is not None:
        table.add_row("floor", f"{metric.text(record[metric.floor])} ({metric.floor_is}, same tasks)")
    if record.get("chance") is not None:
        table.add_row("chance", metric.text(record["chance"]))


def _add_warnings(table: Table, record: dict[str, Any]) -> None:
    """Add what keeps the figures from being taken as they are."""
    if record.get("diverged"):
        table.add_row("diverged", _diverged(record), style="yellow")
    if "training_diverged_at" in record:
        at, chosen = record["training_diverged_at"], record.get("best_iteration", 0)
        told = f"by step {at:,}; what is judged is the checkpoint of step {chosen:,}"
        table.add_row("training diverged", told, style="yellow")
    if short := remark(record):
        table.add_row("remark", escape(short), style="yellow")
    if seen := record.get("duplicates_across_splits"):
        table.add_row("seen before", f"examples in more than one split: {seen:,}; meta-test is not all new")
    if shared := record.get("duplicates_across_classes"):
        table.add_row("ambiguous", f"examples in several classes: {shared:,}; no method can tell of which they are")
    if record.get("figures_seen", 1) > 1:
        told = f"meta-test looked at {record['looks']} times, with {record['figures_seen']} figures in this setting"
        table.add_row("looks", told)


def _diverged(record: dict[str, Any]) -> str:
    """Say what the tasks that diverged mean for the figures."""
    told = f"{record['diverged']:,} of {record['test_tasks']:,} tasks by step {record['steps']}"
    if metric_of(record).counts_diverged:
        return f"{told}: a query without a finite prediction counts as wrong"
    return f"{told}: the mean is over the others, the median over all of them"


def _audit(record: dict[str, Any]) -> str:
    """Say what predicting every query by itself changed."""
    audit, metric = record["audit"], metric_of(record)
    asked = f"{audit['queries']:,} queries of {audit['tasks']} tasks, each predicted by itself"
    flipped = "" if audit["flipped"] is None else f", {audit['flipped']:,} of them to another class"
    figures = " → ".join(metric.text(audit[key]) for key in ("together", "alone"))
    return f"{audit['changed']:,} of {asked}, change{flipped}; {metric.key} {figures}"


def _curve(values: list[str], asked: int | None) -> str:
    """Write figures by step; `asked` is how many steps there might have been, None in rows that do not say so."""
    if len(values) == 1:
        why = {None: "no steps", 0: "no steps were asked for, test.steps=0"}.get(asked, "this method takes no steps")
        return f"{values[0]} ({why})"
    if len(values) > SHOWN_STEPS:  # result.json has them all
        apart = (len(values) - 1) / (SHOWN_STEPS - 1)
        values = [values[round(i * apart)] for i in range(SHOWN_STEPS)]
    return " → ".join(values)

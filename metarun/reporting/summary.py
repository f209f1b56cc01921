"""The summary table that a finished run prints."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from metarun.reporting.shortfall import shortfall_message
from metarun.results.metrics import RIDGE_FLOOR, RIDGE_IS, figure, floor_text, metric_of
from metarun.results.records import excludes_diverged
from metarun.results.set_rows import set_count, with_set_rows
from metarun.results.settings import long_setting
from metarun.results.statistics import FEW_TASKS
from metarun.results.unknown_figures import QUERIES, auroc_text
from metarun.system.durations import format_duration
from metarun.system.load import BUSY

SHOWN_STEPS = 12  # at most, evenly spaced from the first step to the last


def summary(record: dict[str, Any]) -> Table:
    """Return the result of a run as a table of two columns."""
    table = Table(title=escape(f"{record['algo']} on {record['data']}"), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("meta-test", _setting(record))
    _add_figures(table, record)
    _add_warnings(table, record)
    transductive = "yes: predictions depend on the other queries" if record["transductive"] else "no"
    table.add_row("transductive", transductive)
    if "audit" in record:
        table.add_row("audit", _audit(record))
    table.add_row("adaptation", _adaptation(record))
    numbers = "" if record.get("precision", "float32") == "float32" else f", in {record['precision']}"
    trained = f"{record['iterations']:,} steps, {format_duration(record['train_seconds'])}"
    table.add_row("meta-training", trained + numbers)
    if record.get("tested_weights") == "last":
        best = f"{record.get('best_iteration', 0):,}"
        table.add_row("weights", f"of the last step; those of step {best} are the best on meta-val")
    if "environment_steps_per_second" in record:
        table.add_row("environment", _environment(record))
    return table


def _environment(record: dict[str, Any]) -> str:
    """Describe how fast policies act, and how much of a training that takes."""
    text = f"{record['environment_steps_per_second']:,} steps a second"
    if "rollout_share" not in record:  # of methods that learn nothing, and in rows of earlier versions
        return text
    return f"{text}; roll-outs took {record['rollout_share']:.0%} of meta-training"


def _setting(record: dict[str, Any]) -> str:
    metric = metric_of(record)
    setting = f"{long_setting(record)}, {record['test_query']} {metric.queries}"
    other = record.get("test_data", record["data"]) != record["data"]
    return f"{setting}, on {record['test_data']}" if other else setting


def _add_figures(table: Table, record: dict[str, Any]) -> None:
    """Add the result, with its interval and its value by step, the floor and chance."""
    metric = metric_of(record)
    left = record["test_tasks"] - record.get("diverged", 0)
    over = f"{left:,} of " if excludes_diverged(record) else ""
    sets = set_count(record)
    mean = f"mean of {sets} data sets, " if sets > 1 else ""
    interval = f"{mean}over {over}{record['test_tasks']:,} tasks, ± is the 95 % interval (Student t)"
    if record["test_tasks"] < FEW_TASKS:
        interval += f"; unreliable with fewer than {FEW_TASKS} tasks"
    table.add_row(metric.axis, f"{figure(record).removeprefix(metric.prefix)}  {interval}")
    if record.get(metric.median) is not None:
        table.add_row("median", metric.text(record[metric.median]))
    by_step = [metric.text(value, metric.brief_digits) for value in record.get(metric.by_step, [])]
    table.add_row("by step", _curve(by_step, record.get("steps_asked")))
    if record.get(metric.floor) is not None:
        table.add_row("floor", f"{metric.text(record[metric.floor])} ({floor_text(record)}, same tasks)")
    _add_returns(table, record)
    if record.get(RIDGE_FLOOR) is not None:
        table.add_row("ridge floor", f"{metric.text(record[RIDGE_FLOOR])} ({RIDGE_IS}, same tasks)")
    for kind, queries in QUERIES.items():
        if f"auroc_{kind}" in record:
            against = f"{record[f'test_{kind}']} {queries}"
            table.add_row("AUROC, %", f"{auroc_text([record], kind)}  against {against}; its floor in brackets")
    for row in with_set_rows([record])[1:]:
        floor = metric.text(row[metric.floor])
        table.add_row(escape(row["test_data"]), f"{figure(row)}  over {row['test_tasks']:,} tasks (floor {floor})")
    if "brier" in record:  # missing in older rows and over several data sets
        nll, brier, ece = (
            f"{scale * record[key]:.{digits}f}{f' ± {scale * half:.{digits}f}' if half is not None else ''}"
            for key, scale, digits in (("nll", 1, 3), ("brier", 1, 3), ("ece", 100, 1))
            for half in [record.get(f"{key}_ci95")]
        )
        table.add_row("probabilities", f"NLL {nll}, Brier score {brier}, ECE {ece} points (15 bins)")
    if record.get("coverage_90") is not None:
        table.add_row("NLL", f"{record['nll']:.3f} nats a number (of the predicted Gaussians; lower is better)")
        table.add_row("calibration", f"{record['coverage_90']:.1%} of the targets are in the central 90 % interval")
    if record.get("chance") is not None:
        table.add_row("chance", metric.text(record["chance"]))


def _add_returns(table: Table, record: dict[str, Any]) -> None:
    """Add what only reinforcement learning has."""
    metric = metric_of(record)
    if record.get("return_while_adapting") is not None:
        learned = f"{metric.text(record['return_while_adapting'])} (mean return of the trajectories it learned from)"
        table.add_row("while adapting", learned)
    if record.get("oracle_return") is not None:
        table.add_row("oracle", f"{metric.text(record['oracle_return'])} (a policy that knows the task, same tasks)")
    if record.get("success_by_step"):
        shares = [f"{share:.0%}" for share in record["success_by_step"]]
        table.add_row("success", f"{_curve(shares, None)} (trajectories that solved the task)")
    if record.get("trajectories_by_step"):
        table.add_row("trajectories", _curve([f"{count:,}" for count in record["trajectories_by_step"]], None))


def _add_warnings(table: Table, record: dict[str, Any]) -> None:
    """Add what limits the trust in the result."""
    if record.get("diverged"):
        table.add_row("diverged", _diverged(record), style="yellow")
    if "training_diverged_at" in record:
        at, best = record["training_diverged_at"], record.get("best_iteration", 0)
        table.add_row("training diverged", f"by step {at:,}; tested the checkpoint of step {best:,}", style="yellow")
    if message := shortfall_message(record):
        table.add_row("warning", escape(message), style="yellow")
    if leaked := record.get("duplicates_across_splits"):
        table.add_row("duplicates", f"examples in more than one split: {leaked:,}; meta-test is not entirely new")
    if shared := record.get("duplicates_across_classes"):
        table.add_row("ambiguous", f"examples in several classes: {shared:,}; no method can tell which class is meant")
    if record.get("figures_seen", 1) > 1:
        times = f"{record['looks']} times with {record['figures_seen']} results in this setting"
        table.add_row("meta-tested", f"{times}; picking the best is biased")


def _adaptation(record: dict[str, Any]) -> str:
    """Describe how long adapting to a task takes, and whether other processes may have slowed it down."""
    text = f"{record['adapt_ms']:.1f} ms per task on {record['device']}"
    if record.get("load", 0) < BUSY:  # missing in older rows
        return text
    return f"{text} ({record['adapt_cpu_ms']:.1f} ms of CPU time; the machine was busy)"


def _diverged(record: dict[str, Any]) -> str:
    """Describe how the tasks that diverged affect the result."""
    tasks = f"{record['diverged']:,} of {record['test_tasks']:,} tasks by step {record['steps']}"
    if metric_of(record).counts_diverged:
        return f"{tasks}: a query without a finite prediction counts as wrong"
    return f"{tasks}: the mean is over the others, the median over all tasks"


def _audit(record: dict[str, Any]) -> str:
    """Describe what changes when each query is predicted alone."""
    audit, metric = record["audit"], metric_of(record)
    queries = f"{audit['changed']:,} of {audit['queries']:,} queries of {audit['tasks']} tasks"
    flipped = "" if audit["flipped"] is None else f", {audit['flipped']:,} of them to another class"
    values = " → ".join(metric.text(audit[key]) for key in ("together", "alone"))
    return f"{queries} change when predicted alone{flipped}; {metric.key} {values}"


def _curve(values: list[str], steps_asked: int | None) -> str:
    """Write the values by step; `steps_asked` is the configured number of steps, None in older rows."""
    if len(values) == 1:
        why = {None: "no steps", 0: "test.steps=0"}.get(steps_asked, "this method takes no steps")
        return f"{values[0]} ({why})"
    if len(values) > SHOWN_STEPS:  # result.json has all of them
        stride = (len(values) - 1) / (SHOWN_STEPS - 1)
        values = [values[round(i * stride)] for i in range(SHOWN_STEPS)]
    return " → ".join(values)

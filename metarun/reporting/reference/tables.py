"""The tables of published results: what agrees, what is left to do, and protocols line by line."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from metarun.errors import counted
from metarun.reporting.reference.experiments import Experiment, StoredRun
from metarun.reporting.reference.protocols import Protocol
from metarun.reporting.reference.verdicts import Verdict, ours_text, published_text, verdicts
from metarun.results.metrics import ACCURACY, MSE, RETURN, Metric, metric_of
from metarun.results.records import Record
from metarun.system.durations import short_duration

RESULTS = ["experiment", "after", "published", "ours", "verdict", "floor", "seeds", "steps", "training", "machine"]
PROTOCOL = ["setting", "paper", "released code", "ours", "why ours differs"]
Stored = Mapping[str, Sequence[StoredRun]]


def finished(runs: Sequence[StoredRun]) -> list[Record]:
    """Return the records of the finished runs."""
    return [run.record for run in runs if run.is_done and run.record is not None]


def result_rows(experiments: Sequence[Experiment], stored: Stored) -> list[list[str]]:
    """Return the cells of a row per experiment and figure that has been run; see `RESULTS`."""
    rows: list[list[str]] = []
    for experiment in experiments:
        runs = stored.get(experiment.seedless, ())
        if records := finished(runs):
            rows += _finished_rows(experiment, records, runs)
        elif runs:
            rows.append(_unfinished_row(experiment, runs[0]))
    return rows


def _finished_rows(experiment: Experiment, records: Sequence[Record], runs: Sequence[StoredRun]) -> list[list[str]]:
    metric, first = metric_of(records[0]), records[0]
    floor = metric.fixed(first.get(metric.floor))
    seconds = fmean(record["train_seconds"] for record in records)
    end = [floor, str(len(records)), f"{first['iterations']:,}", short_duration(seconds), _machine(runs[0])]
    found = verdicts(experiment, records)
    if not found:
        return [[experiment.name, "", "–", ours_text(records), "–", *end]]
    rows = [[experiment.name, _after(each), each.published_text, each.ours_text, each.text, *end] for each in found]
    return [rows[0], *(["", *row[1:5], *[""] * len(end)] for row in rows[1:])]


def _unfinished_row(experiment: Experiment, run: StoredRun) -> list[str]:
    so_far = curve(run)
    step, seconds = (so_far.steps[-1], so_far.seconds[-1]) if so_far.steps else (0, 0.0)
    ours, verdict = "–", "failed"
    if run.record is None:
        ours = _on_meta_val(so_far)
        verdict = f"not to the end: {step / run.config['train']['iterations']:.1%}"
    return [
        experiment.name,
        "",
        published_text(experiment, so_far.metric),
        ours,
        verdict,
        "–",
        "1",
        f"{step:,}",
        short_duration(seconds),
        _machine(run),
    ]


@dataclass(frozen=True)
class TrainingCurve:
    """The validations of a run: after how many steps and seconds of training, and with which result.

    The result is NaN where all tasks diverged.
    """

    metric: Metric
    steps: list[int]
    seconds: list[float]
    values: list[float]


def _on_meta_val(so_far: TrainingCurve) -> str:
    if not so_far.steps:
        return "–"
    value = so_far.values[-1]
    return "meta-val diverged" if math.isnan(value) else f"meta-val {so_far.metric.fixed(value)}"


def curve(run: StoredRun) -> TrainingCurve:
    """Read the validations of a run; none if there are not any yet."""
    rows: list[dict[str, str]] = []
    if run.directory.curve.is_file():
        with run.directory.curve.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    metric = next((each for each in (ACCURACY, RETURN) if any(row.get(each.column) for row in rows)), MSE)
    values = [float(row[metric.column] or math.nan) for row in rows]
    return TrainingCurve(
        metric, [int(row["iteration"]) for row in rows], [float(row["seconds"]) for row in rows], values
    )


def protocol_rows(protocol: Protocol) -> list[list[str]]:
    """Return the cells of a protocol's table; see `PROTOCOL`."""
    return [[setting, line.paper, line.code, line.ours_text, line.why] for setting, line in protocol.lines.items()]


def _after(verdict: Verdict) -> str:
    return "" if verdict.step is None else f"{verdict.step} step{'s' * (verdict.step != 1)}"


def _machine(run: StoredRun) -> str:
    environment = run.directory.read_environment() or {}
    threads = counted(environment.get("threads", 1), "thread")
    versions = environment.get("versions", {})
    torch = str(versions.get("torch", "unknown")).partition("+")[0]
    where = environment.get("processor") if environment.get("device") == "cpu" else environment.get("gpu")
    return f"{where or environment.get('device', 'unknown')}, {threads}, torch {torch}"

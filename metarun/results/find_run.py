"""Find the run that a command names: a directory, the start of an id, `last` or `best`."""

from pathlib import Path

from metarun.errors import UserError
from metarun.results.metrics import metric_of
from metarun.results.records import Record, read_records
from metarun.results.run_directory import RunDirectory
from metarun.results.settings import short_setting
from metarun.system.paths import is_file


def find_run(results_dir: Path, run: str) -> RunDirectory:
    """Return the run that `run` names.

    Args:
        results_dir: the directory of results.
        run: a run's directory, the first characters of its id, "last": the training that finished last, or "best": the
            one with the best meta-val result among those of the same data and task as the last.
    """
    if is_file(Path(run) / "config.yaml"):
        return RunDirectory(Path(run))
    if run in ("last", "best"):
        return _last(results_dir) if run == "last" else _best(results_dir)
    runs = sorted((results_dir / "runs").glob("*-*"))
    found = [path for path in runs if path.name == run or path.name.rpartition("-")[2].startswith(run)]
    if len(found) == 1:
        return RunDirectory(found[0])
    if found:
        raise UserError(
            f"run={run} matches {' and '.join(path.name for path in found)}", "give more characters of the id."
        )
    newest = sorted(runs, key=lambda path: path.lstat().st_mtime_ns)[-5:]  # a link may lead nowhere
    names = ", ".join(path.name for path in newest)
    raise UserError(
        f"run={run} is neither a run's directory nor the start of an id in {results_dir}/runs",
        f"use `last`, `best`, or a run such as {names}." if runs else "there are no runs yet.",
    )


def _last(results_dir: Path) -> RunDirectory:
    trained = [path for path in (results_dir / "runs").glob("*/result.json") if is_file(path.with_name("best.pt"))]
    if not trained:
        raise UserError(f"there is no finished run in {results_dir}/runs", "run `metarun train` first.")
    return RunDirectory(max(trained, key=lambda path: path.stat().st_mtime_ns).parent)


def _written(record: Record) -> int:
    """Return when the row of a run was written, in nanoseconds."""
    return (Path(record["path"]) / "result.json").stat().st_mtime_ns


def _best(results_dir: Path) -> RunDirectory:
    _last(results_dir)  # raises if there is no finished run
    records, _ = read_records([results_dir / "runs"])
    trained = [record for record in records if _trained_on(record) is not None]
    if not trained:
        raise UserError(
            f"the runs in {results_dir}/runs have no meta-val result", "name a run by its id; see `metarun compare`."
        )
    last = max(trained, key=_written)
    alike = [record for record in trained if _trained_on(record) == _trained_on(last)]
    metric = metric_of(last)
    best = max(alike, key=lambda record: metric.score(record[metric.val]))
    print(
        f"run=best is {Path(best['path']).name}: meta-val {metric.prefix}{metric.text(best[metric.val])}{metric.unit}, "
        f"the best of {len(alike)} on {best['data']} {short_setting(best, '')}"
    )
    return RunDirectory(Path(best["path"]))


def _trained_on(record: Record) -> tuple[object, ...] | None:
    """Return the data and task of a finished training; None for other runs and those without a meta-val result."""
    if record["status"] != "done" or "trained_by" in record or record.get(metric_of(record).val) is None:
        return None
    return tuple(record.get(key) for key in ("data", "way", "shot", "query", "within"))

"""Read the records and tables of finished runs."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.results import checksums
from metarun.results.metrics import metric_of
from metarun.results.record_schema import LARGEST, schema_error
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file

Record = dict[str, Any]
KEPT = "reference"  # the folder of kept rows, below that of the results

MAX_BYTES = 1 << 26  # of a JSON file in a run's directory
_MAX_ROWS = 10**8  # of a tasks.parquet, which takes gigabytes

# Keys that may differ when a run is repeated: time and memory, in result.json and curve.csv; the code and machine, and
# earlier meta-tests.
TIMINGS = frozenset(
    {
        *("train_seconds", "test_seconds", "tasks_per_second", "adapt_ms", "adapt_cpu_ms", "load", "peak_memory_mb"),
        *("seconds", "environment_steps_per_second", "rollout_share"),
    }
)
CIRCUMSTANCES = frozenset({"overrides", "device", "version", "commit", "looks", "figures_seen", "steps_asked"})


def read_result(path: Path | str) -> Record | None:
    """Return the record in a `result.json`; None if there is no such file.

    Raises:
        UserError: the file is not a valid record.
    """
    try:
        content = checksums.read(path, MAX_BYTES)
        if content is None:
            return None
        record = parse_json(content)
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error})", "delete it and run the same command again.") from None
    if invalid := schema_error(record):
        raise UserError(
            f"{path} is not a valid metarun result ({invalid})", "delete it and run the same command again."
        )
    assert isinstance(record, dict)
    return record


def figures_by_step(record: Record, column: str | None = None, *, keep_diverged: bool = False) -> NDArray[np.float64]:
    """Read the metric of each meta-test task of a run.

    Args:
        record: as `read_records` returns it, with its `path`; or a row of `with_set_rows`.
        column: of `tasks.parquet`; default: that of the run's metric.
        keep_diverged: keep losses of tasks that diverged, as NaN at every step.

    Returns:
        (steps + 1, tasks), before adaptation and after each step; for losses only tasks that did not diverge.

    Raises:
        UserError: the file is missing or does not match the record.
    """
    path = Path(record["path"]) / "tasks.parquet"
    metric = metric_of(record)
    column = column or metric.column
    with checksums.reading(path, "run it again with force=true."):
        steps, tasks, figures = _read_columns(path, ["step", "task", column])
        place, sets = record.get("set_place", (0, 1))  # of several data sets, tested in turn
        count = record["test_tasks"] * sets
        if len(figures) % count or not len(figures):
            raise ValueError(f"{len(figures):,} rows do not match the {count:,} tasks of result.json")
        in_order = np.lexsort((tasks, steps))
        steps, tasks, figures = (each[in_order].reshape(-1, count) for each in (steps, tasks, figures))
        if (steps.T - np.arange(len(steps))).any() or (tasks - np.arange(count)).any():
            raise ValueError("a task has no value or two values for a step")
        figures = figures[:, place::sets]
        missing = np.isnan(figures).any(0) & (not metric.counts_diverged)
        diverged = 0 if metric.counts_diverged else record.get("diverged", 0)
        if missing.sum() != diverged or missing.all():
            raise ValueError(f"tasks without a value: {missing.sum():,}, but {diverged:,} diverged in result.json")
        low, high = max(metric.min_value, -LARGEST), min(metric.max_value, LARGEST)
        if not ((figures >= low) & (figures <= high))[:, ~missing].all():  # False for NaN
            raise ValueError(f"column {column} has an invalid value")
    return np.where(missing, np.nan, figures) if keep_diverged else figures[:, ~missing]


def excludes_diverged(record: Record) -> bool:
    """Whether the result is not over all tasks because some diverged and have no value."""
    return not metric_of(record).counts_diverged and record.get("diverged", 0) > 0


def _read_columns(path: Path, names: list[str]) -> list[NDArray[np.float64]]:
    """Return columns of numbers, each (rows,)."""
    from pyarrow import parquet  # takes a fifth of a second, and most commands do not need it

    if not is_file(path):
        raise FileNotFoundError("it does not exist")
    with parquet.ParquetFile(path) as file:
        if file.metadata.num_rows > _MAX_ROWS:
            raise ValueError(f"{file.metadata.num_rows:,} rows are too many")
        table = file.read(names)
    return [_as_float64(table.column(name)) for name in names]


def _as_float64(column: Any) -> NDArray[np.float64]:
    """Return a column of Arrow as an array; missing values are NaN."""
    from pyarrow import types

    if not column.null_count and (types.is_floating(column.type) or types.is_integer(column.type)):
        return np.concatenate([np.empty(0), *map(np.from_dlpack, column.chunks)], dtype=np.float64)
    numbers: NDArray[np.float64] = column.to_numpy().astype(np.float64)  # imports pandas: a third of a second
    return numbers


def _rows_below(folder: Path) -> Iterator[str]:
    """Yield the paths of all records as text; several times as fast as `Path.rglob` and a `Path` for each.

    The rows that `metarun reproduce --keep` keeps are skipped unless `folder` is theirs.
    """
    folders = [str(folder)]
    here = len("./") if str(folder) == "." else 0  # a `Path` would not have it
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name == "result.json":
                    yield entry.path[here:]
                elif entry.name.startswith(".") or entry.name == KEPT:  # such as a bin
                    continue
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable Python's garbage collector, which would scan all records repeatedly while more are read."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_records(paths: Sequence[Path]) -> tuple[list[Record], list[str]]:
    """Read the records below some folders.

    Returns:
        The records, and an error message for each one that was skipped.
    """
    records, skipped = [], []
    with _without_garbage_collection():
        for path in sorted({file for root in paths for file in _rows_below(root)}):
            try:
                record = read_result(path)
            except UserError as error:
                skipped.append(str(error))
            else:
                if record is not None:  # None if it is a folder
                    record["path"] = os.path.dirname(path) or "."  # noqa: PTH120
                    records.append(record)
    return records, skipped

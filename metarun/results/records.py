"""Run directories, records and tables: what a run leaves behind, and how it is found again."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.results import checksums as sums
from metarun.results.metrics import metric_of
from metarun.results.record_schema import LARGEST, what_is_wrong
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file, read_file

Record = dict[str, Any]

_LARGEST = 1 << 26  # bytes of a result.json
_MOST_ROWS = 10**8  # of a tasks.parquet, which takes gigabytes

# What a run that is had again may have otherwise. How long the machine took, and how much memory, in result.json and
# curve.csv; and by what code and where the run was made, and which looks at its meta-test there were before.
TIMINGS = frozenset({"train_seconds", "test_seconds", "tasks_per_second", "adapt_ms", "peak_memory_mb", "seconds"})
CIRCUMSTANCES = frozenset({"device", "version", "commit", "looks", "figures_seen", "steps_asked"})


def read_result(path: Path) -> Record | None:
    """Return the record in a `result.json`, or None where there is no such file.

    Raises:
        UserError: the file is there and is no record.
    """
    try:
        content = read_file(path, _LARGEST)
        if content is None:
            return None
        sums.check(path, content)
        record = parse_json(content)
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error})", "delete it and run the same command again.") from None
    if wrong := what_is_wrong(record):
        raise UserError(f"{path} is no whole result of metarun ({wrong})", "delete it and run the same command again.")
    assert isinstance(record, dict)
    return record


def figures_by_step(record: Record, column: str | None = None) -> NDArray[np.float64]:
    """Read what each meta-test task says of a run, by its metric.

    Args:
        record: as `read_records` returns it, with its `path`.
        column: of `tasks.parquet`, another than the metric's.

    Returns:
        (steps + 1, tasks), before adaptation and after each step; of losses only the tasks that did not diverge.

    Raises:
        UserError: the file is not there or is not what the record says.
    """
    path = Path(record["path"]) / "tasks.parquet"
    metric = metric_of(record)
    column = column or metric.column
    try:
        sums.check(path)
        steps, tasks, figures = _read_columns(path, ["step", "task", column])
        if len(figures) % record["test_tasks"] or not len(figures):
            raise ValueError(f"{len(figures):,} rows are not of {record['test_tasks']:,} tasks, as the row says")
        in_order = np.lexsort((tasks, steps))
        steps, tasks, figures = (each[in_order].reshape(-1, record["test_tasks"]) for each in (steps, tasks, figures))
        if (steps.T - np.arange(len(steps))).any() or (tasks - np.arange(record["test_tasks"])).any():
            raise ValueError("some task has no figure for some step, or two")
        if not metric.counts_diverged:
            figures = _of_those_that_did_not_diverge(figures, record.get("diverged", 0))
        if not ((figures >= 0) & (figures <= min(metric.most, LARGEST))).all():  # a NaN is neither
            raise ValueError(f"a figure in column {column} is none")
    except UserError:
        raise
    except Exception as error:  # pyarrow raises many kinds on foreign bytes
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({reason})", "make the run again with force=true.") from error
    return figures


def _of_those_that_did_not_diverge(figures: NDArray[np.float64], diverged: int) -> NDArray[np.float64]:
    missing = np.isnan(figures).any(0)
    if missing.sum() != diverged or missing.all():
        raise ValueError(f"tasks without a figure: {missing.sum():,}, not {diverged:,}, as the row says")
    return figures[:, ~missing]


def lacks_tasks(record: Record) -> bool:
    """Whether a row's figure is not over all its tasks: some of them diverged and have none."""
    return not metric_of(record).counts_diverged and record.get("diverged", 0) > 0


def _read_columns(path: Path, names: list[str]) -> list[NDArray[np.float64]]:
    """Return columns of numbers, each (rows,)."""
    from pyarrow import parquet  # a fifth of a second that most commands do without

    if not is_file(path):
        raise FileNotFoundError("it is not there")
    with parquet.ParquetFile(path) as file:
        if file.metadata.num_rows > _MOST_ROWS:
            raise ValueError(f"{file.metadata.num_rows:,} rows are more than is read")
        table = file.read(names)
    return [table.column(name).to_numpy().astype(np.float64) for name in names]


def _rows_below(folder: Path) -> Iterator[str]:
    """The paths of all rows; several times as fast as `Path.rglob`, which takes a fifth of the time of a table."""
    folders = [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name == "result.json":
                    yield entry.path
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)


@contextmanager
def _not_looking_for_cycles() -> Iterator[None]:
    """Without Python's collector, which looks through all rows again and again while more are read."""
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looking:
            gc.enable()


def read_records(paths: Sequence[Path]) -> tuple[list[Record], list[str]]:
    """Read the records below some folders.

    Returns:
        The records, and a sentence for each that was left out because it cannot be read.
    """
    records, left_out = [], []
    with _not_looking_for_cycles():
        for path in map(Path, sorted({file for root in paths for file in _rows_below(root)})):
            try:
                record = read_result(path)
            except UserError as error:
                left_out.append(str(error))
            else:
                if record is not None:  # None: a folder of that name
                    record["path"] = str(path.parent)
                    records.append(record)
    return records, left_out

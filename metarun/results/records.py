"""Run directories, records and tables: what a run leaves behind, and how it is found again."""

import gc
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError, printable
from metarun.results import checksums as sums
from metarun.results.record_schema import LARGEST, what_is_wrong
from metarun.system.atomic_write import replacing
from metarun.system.events import emit
from metarun.system.lock import alone
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file, read_file

Record = dict[str, Any]

_LARGEST = 1 << 26  # bytes of a result.json
_MOST_ROWS = 10**8  # of a tasks.parquet, which takes gigabytes

# What a run that is had again may have otherwise. How long the machine took, and how much memory, in result.json and
# curve.csv; and by what code and where the run was made, and which looks at its meta-test there were before.
TIMINGS = frozenset({"train_seconds", "test_seconds", "tasks_per_second", "adapt_ms", "peak_memory_mb", "seconds"})
CIRCUMSTANCES = frozenset({"device", "version", "commit", "looks", "figures_seen", "steps_asked"})


class RunDirectory:
    """The files of one run. `result.json` is written last: with "status": "done" in it the run is finished.

    Args:
        path: `<results_dir>/runs/<algo>-<data>-<way>w<shot>s-<id>`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name.rpartition("-")[2]
        self.config = path / "config.yaml"
        self.result = path / "result.json"
        self.curve = path / "curve.csv"
        self.tasks = path / "tasks.parquet"
        self.examples = path / "examples.npz"
        self.best = path / "best.pt"
        self.last = path / "last.pt"
        self.previous = path / "previous.pt"
        self.environment = path / "environment.json"
        self.looks = path / "looks.jsonl"
        self.log = path / "run.log"
        self.sums = path / sums.NAME

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; a second process waits."""
        with ExitStack() as held:
            try:
                held.enter_context(alone(self.path / ".lock", self._wait))
            except OSError as error:
                reason = error.strerror or error
                raise UserError(
                    f"{self.path} cannot be written ({reason}); set `results_dir` to a folder of yours."
                ) from None
            yield

    def _wait(self, more: str) -> None:
        said = f"another process is running {self.path}; waiting for it.{more}"
        print(f"metarun: {said}", flush=True)
        emit("waiting", said=said)

    def read_result(self) -> Record | None:
        """Return the record, or None where the run is not finished.

        Raises:
            UserError: the file is there and is no record.
        """
        return read_result(self.result)

    def read_environment(self) -> dict[str, Any] | None:
        """Return what `environment.json` holds; None where it is missing or damaged."""
        try:
            sums.check(self.environment)
            found = parse_json(self.environment.read_bytes()) if is_file(self.environment) else None
        except (OSError, ValueError):
            return None
        resumed = found.get("resumed", []) if isinstance(found, dict) else None
        whole = isinstance(resumed, list) and all(isinstance(each, dict) for each in resumed)
        return found if isinstance(found, dict) and whole else None

    def finish(self, record: Record) -> None:
        """Write the row, which makes this a finished run, and the sums of its files, by which damage is found.

        Raises:
            UserError: they cannot be written.
        """
        row = _as_json(record).encode()
        others = (self.config, self.environment, self.curve, self.tasks, self.examples)
        held = {path.name: path.read_bytes() for path in others if path.is_file()}
        sums.write(self.path, {**held, self.result.name: row})
        write_bytes(self.result, row)

    def discard_if_unused(self) -> None:
        """Remove the directory of a run that was refused before it began: it holds a log and a lock at most."""
        with suppress(OSError):  # something else is in it, or it is gone
            if not self.config.exists():
                for path in (self.log, self.path / ".lock"):
                    path.unlink(missing_ok=True)
                self.path.rmdir()

    def forget(self) -> None:
        """Remove what would let a run be found finished or gone on with, the record first."""
        files = (self.result, self.last, self.previous, self.best, self.curve, self.tasks, self.examples)
        for path in (*files, self.sums):
            path.unlink(missing_ok=True)


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
        raise UserError(f"{path} cannot be read ({error}); delete it and run the same command again.") from None
    if wrong := what_is_wrong(record):
        raise UserError(f"{path} is no whole result of metarun ({wrong}); delete it and run the same command again.")
    assert isinstance(record, dict)
    return record


def write_text(path: Path, text: str) -> None:
    """Write a file so that at every instant it is the old or the new one, whole."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as `write_text` does."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object, atomically; a NaN in it is a bug and raises ValueError."""
    write_text(path, _as_json(record))


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a table, atomically."""
    import pandas as pd  # here and below: half a second that most commands do without

    # As objects, so that a whole number stays one in a column that has gaps.
    write_text(path, pd.DataFrame(rows, columns=list(columns), dtype=object).to_csv(index=False))


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """Write a table by columns, atomically."""
    import pandas as pd

    write_bytes(path, pd.DataFrame(columns).to_parquet(index=False))


def run_path(results_dir: Path, algo: str, data: str, way: int, shot: int, run_id: str) -> Path:
    """Where the run with this id lies; a slash in a name, as of an option in a folder of its group, leads nowhere."""
    name = printable(f"{algo}-{data}-{way}w{shot}s-{run_id}").replace("/", "-")
    return results_dir / "runs" / name


def find_run(results_dir: Path, run: str) -> RunDirectory:
    """Return the run that `run` names: a directory, or the first characters of an id.

    Raises:
        UserError: there is none, or more than one.
    """
    if is_file(Path(run) / "config.yaml"):
        return RunDirectory(Path(run))
    runs = sorted((results_dir / "runs").glob("*-*"))
    found = [path for path in runs if path.name == run or path.name.rpartition("-")[2].startswith(run)]
    if len(found) == 1:
        return RunDirectory(found[0])
    if found:
        raise UserError(
            f"run={run} could be {' or '.join(path.name for path in found)}; give more characters of the id."
        )
    known = f"there are {', '.join(path.name for path in runs[-5:])}" if runs else "there is none yet"
    raise UserError(f"run={run} is neither a run's directory nor the start of an id in {results_dir}/runs; {known}.")


def figures_by_step(record: Record, column: str | None = None) -> NDArray[np.float64]:
    """Read what each meta-test task says of a run: its accuracies, or in regression its squared errors.

    Args:
        record: as `read_records` returns it, with its `path`.
        column: of `tasks.parquet`, another than these.

    Returns:
        (steps + 1, tasks), before adaptation and after each step; of losses only the tasks that did not diverge.

    Raises:
        UserError: the file is not there or is not what the record says.
    """
    path = Path(record["path"]) / "tasks.parquet"
    column = column or ("loss" if "mse" in record else "accuracy")
    try:
        sums.check(path)
        steps, tasks, figures = _read_columns(path, ["step", "task", column])
        if len(figures) % record["test_tasks"] or not len(figures):
            raise ValueError(f"{len(figures):,} rows are not of {record['test_tasks']:,} tasks, as the row says")
        in_order = np.lexsort((tasks, steps))
        steps, tasks, figures = (each[in_order].reshape(-1, record["test_tasks"]) for each in (steps, tasks, figures))
        if (steps.T - np.arange(len(steps))).any() or (tasks - np.arange(record["test_tasks"])).any():
            raise ValueError("some task has no figure for some step, or two")
        if column == "loss":
            figures = _of_those_that_did_not_diverge(figures, record.get("diverged", 0))
        if not ((figures >= 0) & (figures <= (LARGEST if column == "loss" else 1))).all():  # a NaN is neither
            raise ValueError(f"a figure in column {column} is none")
    except UserError:
        raise
    except Exception as error:  # pyarrow raises many kinds on foreign bytes
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({reason}); make the run again with force=true.") from error
    return figures


def _of_those_that_did_not_diverge(figures: NDArray[np.float64], diverged: int) -> NDArray[np.float64]:
    missing = np.isnan(figures).any(0)
    if missing.sum() != diverged or missing.all():
        raise ValueError(f"tasks without a figure: {missing.sum():,}, not {diverged:,}, as the row says")
    return figures[:, ~missing]


def lacks_tasks(record: Record) -> bool:
    """Whether a row's figure is not over all its tasks: a squared error, where some of them diverged."""
    return "mse" in record and record.get("diverged", 0) > 0


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

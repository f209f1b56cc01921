"""The directory of a run: its files, its lock, and how it is found."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from metarun.errors import UserError, printable
from metarun.results import checksums as sums
from metarun.results.records import Record, read_result
from metarun.system.atomic_write import _as_json, write_bytes
from metarun.system.events import emit
from metarun.system.lock import alone
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file


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

"""The directory of a run: its files, its lock, and how it is found."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from metarun.errors import UserError, printable
from metarun.results import checksums, example_tasks, plane_paths, provenance, robot_poses
from metarun.results.example_tasks import ExampleTask
from metarun.results.plane_paths import PlanePaths
from metarun.results.records import MAX_BYTES, Record, read_result
from metarun.results.robot_poses import RobotPoses
from metarun.results.test_uses import record_test_use
from metarun.system.atomic_write import _as_json, write_bytes, write_csv, write_json, write_parquet, write_text
from metarun.system.events import emit
from metarun.system.lock import exclusive_lock, is_locked
from metarun.system.parsing import parse_json

log = logging.getLogger(__name__)

CURVE = ["iteration", "split", "loss", "accuracy", "seconds", "median", "diverged"]
MORE = ["return"]  # columns of curve.csv that only some kinds of task have


class RunDirectory:
    """The files of one run. `result.json` is written last; the run is finished if its "status" is "done".

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
        self.classes = path / "classes.json"
        self.paths = path / "paths.npz"
        self.poses = path / "poses.npz"
        self.inputs = path / "inputs.npz"
        self.best = path / "best.pt"
        self.last = path / "last.pt"
        self.previous = path / "previous.pt"
        self.environment = path / "environment.json"
        self.test_uses = path / "looks.jsonl"
        self.log = path / "run.log"
        self.checksums = path / checksums.NAME
        drawn = (self.examples, self.paths, self.poses)
        self._measured = (self.curve, self.tasks, self.classes, *drawn, self.inputs)
        self.recorded = (self.config, self.environment, *self._measured)  # with stored checksums, as `result.json` has

    @property
    def is_locked(self) -> bool:
        """Whether a process is running it."""
        return is_locked(self.path / ".lock")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process; other processes wait."""
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive_lock(self.path / ".lock", self._wait))
            except OSError as error:
                reason = error.strerror or error
                raise UserError(
                    f"{self.path} cannot be written ({reason})", "set `results_dir` to a writable folder."
                ) from None
            yield

    def _wait(self, hint: str) -> None:
        message = f"another process is running {self.path}; waiting for it.{hint}"
        print(f"metarun: {message}", flush=True)
        emit("waiting", said=message)

    def read_result(self) -> Record | None:
        """Return the record; None if the run is not finished.

        Raises:
            UserError: the file is not a valid record.
        """
        return read_result(self.result)

    def read_finished(self) -> Record:
        """Return the record of a finished run with its `path`, as `read_records` does.

        Raises:
            UserError: the run is not finished, or the file is not a valid record.
        """
        record = self.read_result()
        if record is None or record["status"] != "done":
            raise UserError(f"{self.path} is not a finished run", "`metarun runs` shows the state of each.")
        return {**record, "path": str(self.path)}

    def read_environment(self) -> dict[str, Any] | None:
        """Return the content of `environment.json`; None if it is missing or damaged."""
        try:
            content = checksums.read(self.environment, MAX_BYTES)
            found = None if content is None else parse_json(content)
        except (OSError, ValueError):
            return None
        resumed = found.get("resumed", []) if isinstance(found, dict) else None
        valid = isinstance(resumed, list) and all(isinstance(each, dict) for each in resumed)
        return found if isinstance(found, dict) and valid else None

    def start(self, config_yaml: str, overwrite: bool) -> None:
        """Write the config, after all checks have passed; `overwrite` removes the files of an earlier run of it."""
        if overwrite:
            self.clear()
        self.checksums.unlink(missing_ok=True)  # left if the run was killed while it finished
        write_text(self.config, config_yaml)

    def record_environment(self, now: Mapping[str, Any], resumed: bool = False) -> None:
        """Write the environment of the run; when resuming, keep the one in which it started.

        Raises:
            UserError: the run started with different data.
        """
        began = self._environment_at_start(now) if resumed else None
        if began is None:
            write_json(self.environment, now)
            return
        if began.get("data_hash", now["data_hash"]) != now["data_hash"]:
            raise UserError(
                f"{self.path} was started with different data", "use force=true to start over with the current data."
            )
        write_json(self.environment, {**began, "resumed": [*began.get("resumed", []), now]})

    def record_continuation(self, now: Mapping[str, Any], shorter: "RunDirectory", step: int) -> None:
        """Write the environment of a run that continues a shorter one from a step, with that run's environment."""
        continued = {"run": shorter.id, "step": step, "environment": shorter._environment_at_start(now)}
        write_json(self.environment, {**now, "continued_from": continued})

    def _environment_at_start(self, now: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the environment in which the run started; warn if it is unknown or has changed since."""
        began = self.read_environment()
        if began is None:
            log.warning("%s cannot be read; the environment in which this run started is unknown", self.environment)
        elif changed := provenance.compare_environments(began, now):
            changes = ", ".join(f"{key} {how}" for key, how in changed.items())
            log.warning("the environment has changed since this run started (%s); its numbers may differ", changes)
        return began

    def write_curve(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the training and validation curve so far."""
        columns = [*CURVE, *(column for column in MORE if any(column in row for row in rows))]
        write_csv(self.curve, rows, columns)

    def finish(
        self,
        record: Record,
        training: "RunDirectory",
        tasks: Mapping[str, Any],
        examples: Sequence[ExampleTask] = (),
        classes: Record | None = None,
        paths: Sequence[PlanePaths] = (),
        poses: Sequence[RobotPoses] = (),
    ) -> Record:
        """Write all results of a meta-test, the record last; return the record.

        Args:
            record: the record without the number of meta-tests.
            training: the run whose weights were tested; it counts the meta-tests.
            tasks: the columns of `tasks.parquet`.
            examples: tasks to display, may be empty.
            classes: the figures of single classes, may be empty.
            paths: trajectories in the plane, may be empty.
            poses: of a robot, may be empty.
        """
        write_parquet(self.tasks, tasks)
        if examples:
            example_tasks.save(self.examples, examples)
        if classes:
            write_json(self.classes, classes)
        if paths:
            plane_paths.save(self.paths, paths)
        if poses:
            robot_poses.save(self.poses, poses)
        row = {**record, **record_test_use(training.test_uses, record)}
        self.write_result(row)
        self.previous.unlink(missing_ok=True)  # last.pt is enough from now on
        return row

    def write_result(self, record: Record) -> None:
        """Write the record, which ends the run, and the checksums of its files.

        Raises:
            UserError: they cannot be written.
        """
        row = _as_json(record).encode()
        contents = {path.name: path.read_bytes() for path in self.recorded if path.is_file()}
        checksums.write(self.path, {**contents, self.result.name: row})
        write_bytes(self.result, row)

    def discard_if_unused(self) -> None:
        """Remove the directory of a run that was refused before it started; it has a log and a lock at most."""
        with suppress(OSError):  # it has other files, or is already removed
            if not self.config.exists():
                for path in (self.log, self.path / ".lock"):
                    path.unlink(missing_ok=True)
                self.path.rmdir()

    def clear(self) -> None:
        """Remove the results and checkpoints, the record first."""
        for path in (self.result, self.last, self.previous, self.best, *self._measured, self.checksums):
            path.unlink(missing_ok=True)


def run_path(results_dir: Path, algo: str, data: str, way: int, shot: int, run_id: str) -> Path:
    """Return the directory of the run with this id; slashes in names are replaced."""
    name = printable(f"{algo}-{data}-{way}w{shot}s-{run_id}").replace("/", "-")
    return results_dir / "runs" / name

"""The directory of a run: its files, its lock, and how it is found."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from metarun.errors import UserError, printable
from metarun.results import checksums as sums
from metarun.results import example_tasks, provenance
from metarun.results.example_tasks import ExampleTask
from metarun.results.records import Record, read_result
from metarun.results.test_uses import note_look
from metarun.system.atomic_write import _as_json, write_bytes, write_csv, write_json, write_parquet, write_text
from metarun.system.events import emit
from metarun.system.lock import alone
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file

log = logging.getLogger(__name__)

CURVE = ["iteration", "split", "loss", "accuracy", "seconds", "median", "diverged"]


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
                    f"{self.path} cannot be written ({reason})", "set `results_dir` to a folder of yours."
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

    def start(self, config_yaml: str, anew: bool) -> None:
        """Write the config of a run that nothing was refused of; only now may an earlier run of it be given up.

        Args:
            config_yaml: from which the same command makes the same run.
            anew: whether what an earlier run of this config left is given up.
        """
        if anew:
            self.forget()
        self.sums.unlink(missing_ok=True)  # of a run that was killed amid its finish: its files change again
        write_text(self.config, config_yaml)

    def record_environment(self, now: Mapping[str, Any], resumed: bool = False) -> None:
        """Write where and with what the run is made; of one that is resumed, beside where it began.

        Raises:
            UserError: it began on other data.
        """
        began = self.read_environment() if resumed else None
        if resumed and began is None:
            log.warning("%s cannot be read: where this run began is not known", self.environment)
        if began is None:
            write_json(self.environment, now)
            return
        if began.get("data_hash", now["data_hash"]) != now["data_hash"]:
            raise UserError(
                f"{self.path} was begun on other data than are here now", "force=true begins it again on these."
            )
        _tell_changes(began, now)
        write_json(self.environment, {**began, "resumed": [*began.get("resumed", []), now]})

    def record_continuation(self, now: Mapping[str, Any], shorter: "RunDirectory", step: int) -> None:
        """Write where and with what a run is made that continues a shorter one from a step, and where that began."""
        began = shorter.read_environment()
        if began is None:
            log.warning("%s cannot be read: where this run began is not known", shorter.environment)
        else:
            _tell_changes(began, now)
        continued = {"run": shorter.id, "step": step, "environment": began}
        write_json(self.environment, {**now, "continued_from": continued})

    def write_curve(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what meta-training and meta-val came to so far."""
        write_csv(self.curve, rows, CURVE)

    def finish(
        self, record: Record, tasks: Mapping[str, Any], examples: Sequence[ExampleTask], training: "RunDirectory"
    ) -> Record:
        """Write all that a meta-test came to, the row last; return the row.

        Args:
            record: the row, but for how often these weights were tested.
            tasks: the columns of `tasks.parquet`.
            examples: tasks to be looked at, if there are any.
            training: the run whose weights were tested, which keeps count of that.
        """
        write_parquet(self.tasks, tasks)
        if examples:
            example_tasks.save(self.examples, examples)
        row = {**record, **note_look(training.looks, record)}
        self.write_result(row)
        self.previous.unlink(missing_ok=True)  # one will do from now on
        return row

    def write_result(self, record: Record) -> None:
        """Write the row, with which the run is over, and the sums of its files, by which damage is found.

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


def _tell_changes(began: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if changed := provenance.differences(began, now):
        told = ", ".join(f"{key} {how}" for key, how in changed.items())
        log.warning("not all is as it was when this run began (%s): its numbers may be others than undisturbed", told)


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
            f"run={run} could be {' or '.join(path.name for path in found)}", "give more characters of the id."
        )
    known = f"there are {', '.join(path.name for path in runs[-5:])}" if runs else "there is none yet"
    raise UserError(f"run={run} is neither a run's directory nor the start of an id in {results_dir}/runs", f"{known}.")

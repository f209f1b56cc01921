"""Run sweeps for hours under random kills and watch their memory and open files, for docs/reliability.md.

    python -m scripts.soak                             two hours
    python -m scripts.soak --minutes 1                 a short trial

Three sweeps of small runs on built-in pictures run in parallel, at the lowest priority:

- The killed sweep, or one of its runs, is killed and restarted until it is finished, round after round. Some rows are
  compared bit for bit with undisturbed runs.
- The lasting sweep survives the whole soak while its runs are killed.
- The third sweep executes all its runs in its own process.

Writes figures.json and samples.csv. The exit code is 1 if a problem was found.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from subprocess import Popen
from typing import Any

from rich.console import Console
from rich.table import Table

from metarun.results import provenance as environment
from metarun.results.bitwise_diff import compare_numbers, read_numbers
from metarun.results.run_directory import RunDirectory
from scripts.soaking.killer import Killer
from scripts.soaking.processes import MIB, processes_with, runs_of
from scripts.soaking.sweeps import (
    MARK,
    METHODS,
    ONE_AT_A_TIME,
    ROOT,
    Workspace,
    lasting_words,
    run_words,
    stop,
    sweep_words,
)
from scripts.soaking.watcher import Sample, Watcher, peak_samples, trend_of

LONG = 30  # minutes after which a soak is meaningful for memory
GROWTH = 0.1  # share of its own memory that a process may gain between the first and the last quarter
MAX_SAMPLES = 720  # written for a process that lasts throughout
SHORT_LIVED = ("killed sweep", "run of the killed sweep", "run of the lasting sweep")
EXPECTED = {0: "finished", 1: "a run was killed", -9: "SIGKILL", -15: "SIGTERM amid nothing", 143: "SIGTERM"}
STOPPED = (143, -15)  # by SIGTERM; the second between two runs, or before there was anything to save


class Soak:
    """Rounds of the killed sweep, in parallel with the lasting sweeps.

    Args:
        workspace: its folder.
        killer: kills its processes.
        seconds: time until the last kill.
        compared: number of rows per round that are compared with undisturbed runs.
        methods: of a round, one run each.
        batch: number of runs of a lasting sweep that Hydra composes at once.
    """

    def __init__(
        self, workspace: Workspace, killer: Killer, seconds: float, compared: int, methods: Sequence[str], batch: int
    ) -> None:
        self.workspace = workspace
        self.killer = killer
        self.until = time.monotonic() + seconds
        self.compared = compared
        self.methods = methods
        self.lasting = {
            "lasting sweep": workspace.start("lasting", lasting_words(ONE_AT_A_TIME, batch)),
            "many runs in one process": workspace.start(
                "one_process", lasting_words(["hydra/launcher=one_process"], batch)
            ),
        }
        self.sweep: Popen[bytes] | None = None
        self.ends: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.changed: dict[str, list[str]] = {}

    def roles(self) -> dict[int, str]:
        """Return the role of each current process."""
        lasting, one_process = self.lasting.values()
        roles = {lasting.pid: "lasting sweep", one_process.pid: "many runs in one process"}
        roles |= dict.fromkeys(runs_of(lasting.pid), "run of the lasting sweep")
        if sweep := self.sweep:
            roles |= {sweep.pid: "killed sweep", **dict.fromkeys(runs_of(sweep.pid), "run of the killed sweep")}
        return roles

    def run(self) -> None:
        """Run one round after another until the time is over; finish the last one undisturbed."""
        number = 0
        while number == 0 or time.monotonic() < self.until:
            results = f"round{number}"
            self._round(number, results)
            self._check_rows(number, results)
            shutil.rmtree(self.workspace.folder / results)
            number += 1
            print(self.progress(), flush=True)

    def _round(self, number: int, results: str) -> None:
        """Restart a sweep until it finishes."""
        end = ""
        while end != "finished":
            self.sweep = self.workspace.start(results, sweep_words(number, self.methods))
            self._disturb(self.sweep)
            code = self.sweep.wait()
            self.sweep = None
            end = EXPECTED.get(code, f"unexpected exit code {code}")
            self.ends[end] += 1
            if end.startswith("unexpected"):
                raise SystemExit(f"the sweep exited with code {code}; see {self.workspace.logs[-1]}")

    def _disturb(self, sweep: Popen[bytes]) -> None:
        strike = time.monotonic() + self.killer.draw_interval()
        while sweep.poll() is None:
            time.sleep(0.05)
            if strike <= time.monotonic() < self.until:
                self.killer.strike(sweep.pid, self.lasting["lasting sweep"].pid)
                strike = time.monotonic() + self.killer.draw_interval()
            self.killer.count_orphans()

    def _check_rows(self, number: int, results: str) -> None:
        """Count a round's rows and compare those resumed most often with undisturbed runs."""
        runs = {run.name.partition("-")[0]: run for run in self.workspace.finished(results)}
        self.figures["rounds"] += 1
        self.figures["runs of the killed sweep"] += len(runs)
        self.figures["rows missing"] += len(self.methods) - len(runs)
        self.figures["bytes of runs"] += sum(file.stat().st_size for run in runs.values() for file in run.iterdir())
        resumed = {name: (run / "run.log").read_text().count("resuming from step") for name, run in runs.items()}
        self.figures["times a run went on"] += sum(resumed.values())
        for name in sorted(runs, key=lambda name: -resumed[name])[: self.compared]:
            self._compare(runs[name], run_words(number, name))

    def _compare(self, run: Path, words: list[str]) -> None:
        again = self.workspace.start("undisturbed", words)
        if again.wait() != 0:
            raise SystemExit(f"an undisturbed run failed; see {self.workspace.logs[-1]}")
        (undisturbed,) = self.workspace.finished("undisturbed")
        self.figures["rows compared"] += 1
        if changed := compare_numbers(read_numbers(RunDirectory(undisturbed)), read_numbers(RunDirectory(run))):
            self.changed[run.name] = [difference.what for difference in changed]
            shutil.copytree(run, self.workspace.folder / "changed" / run.name)
            shutil.copytree(undisturbed, self.workspace.folder / "changed" / f"{run.name}-undisturbed")
        shutil.rmtree(self.workspace.folder / "undisturbed")

    def progress(self) -> str:
        """Return the progress in one line."""
        kills, figures = sum(self.killer.kills.values()), self.figures
        work = f"{figures['rounds']} rounds, {figures['runs of the killed sweep']} runs, {kills} kills"
        compared = f"{figures['rows compared']} rows compared, {len(self.changed)} changed"
        return f"{work}, {compared}, {max(0, self.until - time.monotonic()) / 60:.0f} minutes left"

    def end(self) -> dict[str, Any]:
        """Stop the lasting sweeps and return the results."""
        codes = {name: process.poll() or stop(process) for name, process in self.lasting.items()}
        time.sleep(1)
        figures = dict(self.figures)
        size = figures.pop("bytes of runs")
        return {
            **figures,
            "runs of the lasting sweep": len(self.workspace.finished("lasting")),
            "runs in one process": len(self.workspace.finished("one_process")),
            "MiB on disk per run": round(size / max(1, figures["runs of the killed sweep"]) / MIB, 3),
            "kills": dict(sorted(self.killer.kills.items())),
            "ends of the killed sweep": dict(self.ends),
            "exit codes of the lasting sweeps": codes,
            "rows changed": self.changed,
            "tracebacks": [str(path) for path in self.workspace.tracebacks()],
            "temporary files left": [str(path) for path in self.workspace.leftovers()],
            "runs that outlived their sweep": self.killer.outlived,
            "processes left": len(processes_with(MARK, self.workspace.mark)),
        }


def trends(samples: list[Sample]) -> dict[str, dict[str, Any]]:
    """Return the trend of memory and open files for every role."""
    found = {}
    for role in dict.fromkeys(sample.role for sample in samples):
        of_role = [sample for sample in samples if sample.role == role]
        short_lived = role in SHORT_LIVED
        if trend := trend_of(peak_samples(of_role) if short_lived else of_role, short_lived):
            found[role] = asdict(trend)
    return found


def problems(found: dict[str, Any], minutes: float) -> list[str]:
    """Return a sentence for each problem."""
    must_be_empty = ["rows missing", "rows changed", "tracebacks", "temporary files left", "processes left"]
    wrong = [f"{name}: {found[name]}" for name in [*must_be_empty, "runs that outlived their sweep"] if found[name]]
    codes = found["exit codes of the lasting sweeps"]
    wrong += [
        f"{name} exited with {code} instead of stopping on SIGTERM"
        for name, code in codes.items()
        if code not in STOPPED
    ]
    for role, trend in found["memory"].items():
        if minutes >= LONG and trend["last"] > trend["first"] * (1 + GROWTH):
            wrong.append(f"{role} grew from {trend['first']} to {trend['last']} MiB")
        if minutes >= LONG and trend["files_last"] > trend["files_first"]:
            wrong.append(f"{role} had {trend['files_first']} open files at first and {trend['files_last']} at the end")
    return wrong


def show(found: dict[str, Any], console: Console) -> None:
    """Print the results."""
    figures = Table("", "", box=None, show_header=False)
    for name, value in found.items():
        if name not in ("memory", "made on"):
            text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            figures.add_row(name, str(text or 0))
    console.print(figures)
    columns = ("processes", "MiB, first quarter", "last quarter", "MiB an hour", "open files, first", "last")
    table = Table("own memory", *columns, box=None)
    for role, trend in found["memory"].items():
        table.add_row(role, *(str(value) for key, value in trend.items() if key != "looks"))
    console.print(table)


def write(found: dict[str, Any], samples: list[Sample], folder: Path) -> None:
    """Write figures.json and samples.csv, with one sample of each short-lived process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(found, indent=2) + "\n")
    rows = peak_samples([sample for sample in samples if sample.role in SHORT_LIVED])
    for role in {sample.role for sample in samples}.difference(SHORT_LIVED):
        of_role = [sample for sample in samples if sample.role == role]
        rows += of_role[:: max(1, len(of_role) // MAX_SAMPLES)]
    with (folder / "samples.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seconds", "role", "pid", "own_mib", "resident_mib", "files", "threads"])
        for sample in sorted(rows, key=lambda sample: sample.seconds):
            state, second = sample.state, round(sample.seconds, 1)
            memory = (round(state.own, 1), round(state.resident, 1))
            writer.writerow([second, sample.role, state.pid, *memory, state.files, state.threads])


def soak(args: argparse.Namespace, folder: Path) -> int:
    """Run the soak in `folder` and return the exit code."""
    workspace = Workspace(folder, uuid.uuid4().hex)
    began = time.monotonic()
    short = args.minutes < LONG
    methods, batch = (METHODS[:2], 4) if short else (METHODS, 10)
    work = Soak(workspace, Killer(args.seed, args.between), args.minutes * 60, args.compare, methods, batch)
    watcher = Watcher(work.roles, every=0.5 if short else 2)
    watcher.start()
    try:
        work.run()
    finally:
        samples = watcher.end()
        found = work.end()
    found = {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "seed": args.seed,
        **found,
        "memory": trends(samples),
    }
    wrong = problems(found, args.minutes)
    made_on = {"versions": environment.versions(), "processor": environment.processor(), "cpus": os.cpu_count()}
    write({**found, "amiss": wrong, "made on": made_on}, samples, args.output)
    show(found, Console(width=120))
    print(*(f"problem: {sentence}" for sentence in wrong), *([] if wrong else ["No problems found."]), sep="\n")
    print(f"→ {args.output}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120, help="time until the last kill")
    parser.add_argument("--between", type=float, default=20, help="mean seconds between two kills")
    parser.add_argument("--compare", type=int, default=2, help="rows per round that are compared with undisturbed runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the targets, times and signals")
    parser.add_argument("--output", type=Path, help="folder for figures.json and samples.csv")
    parser.add_argument("--keep", type=Path, help="use this new folder and keep it; default: a temporary folder")
    args = parser.parse_args()
    args.output = args.output or ROOT / "results" / "bench" / ("soak" if args.minutes >= LONG else "soak-short")
    os.nice(19)
    if args.keep:
        return soak(args, args.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="metarun-soak-", ignore_cleanup_errors=True) as folder:
        return soak(args, Path(folder))


if __name__ == "__main__":
    sys.exit(main())

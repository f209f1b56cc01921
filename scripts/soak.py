"""Runs sweeps for hours under random kills and watches what they hold: the figures of docs/reliability.md.

    python -m scripts.soak                             two hours
    python -m scripts.soak --minutes 1                 to try it

Three sweeps of small runs on built-in pictures go on side by side, as politely as the system allows: one that is
killed, itself or a run of it, and started again until each of its rows is there, round after round, a sample of the
rows compared bit for bit with undisturbed runs; one whose runs are killed while it lives through the whole soak; and
one that makes all its runs in its own process. Writes figures.json and samples.csv; exits with 1 where something is
amiss.
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
from metarun.results.bitwise_diff import differences, numbers
from metarun.results.run_directory import RunDirectory
from scripts.soaking.killer import Killer
from scripts.soaking.processes import MIB, processes_with, runs_of
from scripts.soaking.sweeps import (
    MARK,
    METHODS,
    ONE_AT_A_TIME,
    ROOT,
    Place,
    lasting_words,
    run_words,
    stop,
    sweep_words,
)
from scripts.soaking.watcher import Seen, Watcher, at_their_most, trend_of

LONG = 30  # minutes from which on a soak says something about memory
GROWTH = 0.1  # of its own memory, that a process may gain between the first and the last quarter
LOOKS = 720  # at a process that lives through the soak
SHORT_LIVED = ("killed sweep", "run of the killed sweep", "run of the lasting sweep")
EXPECTED = {0: "finished", 1: "a run was killed", -9: "SIGKILL", -15: "SIGTERM amid nothing", 143: "SIGTERM"}
STOPPED = (143, -15)  # by SIGTERM; the latter between two runs, or before there was anything to save


class Soak:
    """The rounds of a sweep under kills, with the lasting sweeps beside it.

    Args:
        place: where it works.
        killer: of processes.
        seconds: until the last kill.
        compared: rows of each round that are compared with undisturbed runs.
        methods: of a round, one run each.
        batch: runs of a lasting sweep that Hydra composes at once.
    """

    def __init__(
        self, place: Place, killer: Killer, seconds: float, compared: int, methods: Sequence[str], batch: int
    ) -> None:
        self.place = place
        self.killer = killer
        self.until = time.monotonic() + seconds
        self.compared = compared
        self.methods = methods
        self.lasting = {
            "lasting sweep": place.start("lasting", lasting_words(ONE_AT_A_TIME, batch)),
            "many runs in one process": place.start(
                "one_process", lasting_words(["hydra/launcher=one_process"], batch)
            ),
        }
        self.sweep: Popen[bytes] | None = None
        self.ends: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.changed: dict[str, list[str]] = {}

    def who(self) -> dict[int, str]:
        """Return which process plays which role at this moment."""
        lasting, alone = self.lasting.values()
        roles = {lasting.pid: "lasting sweep", alone.pid: "many runs in one process"}
        roles |= dict.fromkeys(runs_of(lasting.pid), "run of the lasting sweep")
        if sweep := self.sweep:
            roles |= {sweep.pid: "killed sweep", **dict.fromkeys(runs_of(sweep.pid), "run of the killed sweep")}
        return roles

    def run(self) -> None:
        """Do one round after another until the time is over; the last one is brought to its end undisturbed."""
        number = 0
        while number == 0 or time.monotonic() < self.until:
            results = f"round{number}"
            self._round(number, results)
            self._take_figures(number, results)
            shutil.rmtree(self.place.folder / results)
            number += 1
            print(self.progress(), flush=True)

    def _round(self, number: int, results: str) -> None:
        """Start a sweep again and again until it ends well."""
        end = ""
        while end != "finished":
            self.sweep = self.place.start(results, sweep_words(number, self.methods))
            self._disturb(self.sweep)
            code = self.sweep.wait()
            self.sweep = None
            end = EXPECTED.get(code, f"unexpected exit code {code}")
            self.ends[end] += 1
            if end.startswith("unexpected"):
                raise SystemExit(f"the sweep ended with {code}; see {self.place.logs[-1]}")

    def _disturb(self, sweep: Popen[bytes]) -> None:
        strike = time.monotonic() + self.killer.pause()
        while sweep.poll() is None:
            time.sleep(0.05)
            if strike <= time.monotonic() < self.until:
                self.killer.strike(sweep.pid, self.lasting["lasting sweep"].pid)
                strike = time.monotonic() + self.killer.pause()
            self.killer.look_for_orphans()

    def _take_figures(self, number: int, results: str) -> None:
        """Compare some of a round's rows with undisturbed runs, those that went on most often first."""
        runs = {run.name.partition("-")[0]: run for run in self.place.finished(results)}
        self.figures["rounds"] += 1
        self.figures["runs of the killed sweep"] += len(runs)
        self.figures["rows missing"] += len(self.methods) - len(runs)
        self.figures["bytes of runs"] += sum(file.stat().st_size for run in runs.values() for file in run.iterdir())
        gone_on = {name: (run / "run.log").read_text().count("resuming from step") for name, run in runs.items()}
        self.figures["times a run went on"] += sum(gone_on.values())
        for name in sorted(runs, key=lambda name: -gone_on[name])[: self.compared]:
            self._compare(runs[name], run_words(number, name))

    def _compare(self, run: Path, words: list[str]) -> None:
        again = self.place.start("undisturbed", words)
        if again.wait() != 0:
            raise SystemExit(f"an undisturbed run failed; see {self.place.logs[-1]}")
        (undisturbed,) = self.place.finished("undisturbed")
        self.figures["rows compared"] += 1
        if changed := differences(numbers(RunDirectory(undisturbed)), numbers(RunDirectory(run))):
            self.changed[run.name] = [difference.what for difference in changed]
            shutil.copytree(run, self.place.folder / "changed" / run.name)
            shutil.copytree(undisturbed, self.place.folder / "changed" / f"{run.name}-undisturbed")
        shutil.rmtree(self.place.folder / "undisturbed")

    def progress(self) -> str:
        """Return what happened so far, one line."""
        kills, figures = sum(self.killer.kills.values()), self.figures
        told = f"{figures['rounds']} rounds, {figures['runs of the killed sweep']} runs, {kills} kills"
        compared = f"{figures['rows compared']} rows compared, {len(self.changed)} changed"
        return f"{told}, {compared}, {max(0, self.until - time.monotonic()) / 60:.0f} minutes left"

    def end(self) -> dict[str, Any]:
        """Stop the lasting sweeps and return what the soak found."""
        codes = {name: process.poll() or stop(process) for name, process in self.lasting.items()}
        time.sleep(1)
        figures = dict(self.figures)
        room = figures.pop("bytes of runs")
        return {
            **figures,
            "runs of the lasting sweep": len(self.place.finished("lasting")),
            "runs in one process": len(self.place.finished("one_process")),
            "MiB on disk per run": round(room / max(1, figures["runs of the killed sweep"]) / MIB, 3),
            "kills": dict(sorted(self.killer.kills.items())),
            "ends of the killed sweep": dict(self.ends),
            "exit codes of the lasting sweeps": codes,
            "rows changed": self.changed,
            "tracebacks": [str(path) for path in self.place.tracebacks()],
            "temporary files left": [str(path) for path in self.place.leftovers()],
            "runs that outlived their sweep": self.killer.outlived,
            "processes left": len(processes_with(MARK, self.place.mark)),
        }


def trends(seen: list[Seen]) -> dict[str, dict[str, Any]]:
    """Return how memory and open files of every role developed."""
    found = {}
    for role in dict.fromkeys(one.role for one in seen):
        of_role = [one for one in seen if one.role == role]
        short_lived = role in SHORT_LIVED
        if trend := trend_of(at_their_most(of_role) if short_lived else of_role, short_lived):
            found[role] = asdict(trend)
    return found


def amiss(found: dict[str, Any], minutes: float) -> list[str]:
    """Return a sentence for all that should not be."""
    wanted_empty = ["rows missing", "rows changed", "tracebacks", "temporary files left", "processes left"]
    wrong = [f"{name}: {found[name]}" for name in [*wanted_empty, "runs that outlived their sweep"] if found[name]]
    codes = found["exit codes of the lasting sweeps"]
    wrong += [f"{name} ended with {code}, not by SIGTERM" for name, code in codes.items() if code not in STOPPED]
    for role, trend in found["memory"].items():
        if minutes >= LONG and trend["last"] > trend["first"] * (1 + GROWTH):
            wrong.append(f"{role} grew from {trend['first']} to {trend['last']} MiB")
        if minutes >= LONG and trend["files_last"] > trend["files_first"]:
            wrong.append(f"{role} held {trend['files_first']} open files at first and {trend['files_last']} in the end")
    return wrong


def show(found: dict[str, Any], console: Console) -> None:
    """Print the figures."""
    figures = Table("", "", box=None, show_header=False)
    for name, value in found.items():
        if name not in ("memory", "made on"):
            told = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            figures.add_row(name, str(told or 0))
    console.print(figures)
    columns = ("processes", "MiB, first quarter", "last quarter", "MiB an hour", "open files, first", "last")
    table = Table("own memory", *columns, box=None)
    for role, trend in found["memory"].items():
        table.add_row(role, *(str(value) for key, value in trend.items() if key != "looks"))
    console.print(table)


def write(found: dict[str, Any], seen: list[Seen], folder: Path) -> None:
    """Write figures.json, and samples.csv: looks at processes that last, and one at each that does not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(found, indent=2) + "\n")
    rows = at_their_most([one for one in seen if one.role in SHORT_LIVED])
    for role in {one.role for one in seen}.difference(SHORT_LIVED):
        looks = [one for one in seen if one.role == role]
        rows += looks[:: max(1, len(looks) // LOOKS)]
    with (folder / "samples.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seconds", "role", "pid", "own_mib", "resident_mib", "files", "threads"])
        for one in sorted(rows, key=lambda one: one.seconds):
            look, second = one.look, round(one.seconds, 1)
            memory = (round(look.own, 1), round(look.resident, 1))
            writer.writerow([second, one.role, look.pid, *memory, look.files, look.threads])


def soak(args: argparse.Namespace, folder: Path) -> int:
    """Soak in `folder` and return the exit code."""
    place = Place(folder, uuid.uuid4().hex)
    began = time.monotonic()
    short = args.minutes < LONG
    methods, batch = (METHODS[:2], 4) if short else (METHODS, 10)
    work = Soak(place, Killer(args.seed, args.between), args.minutes * 60, args.compare, methods, batch)
    watcher = Watcher(work.who, every=0.5 if short else 2)
    watcher.start()
    try:
        work.run()
    finally:
        seen = watcher.end()
        found = work.end()
    found = {"minutes": round((time.monotonic() - began) / 60, 1), "seed": args.seed, **found, "memory": trends(seen)}
    wrong = amiss(found, args.minutes)
    made_on = {"versions": environment.versions(), "processor": environment.processor(), "cpus": os.cpu_count()}
    write({**found, "amiss": wrong, "made on": made_on}, seen, args.output)
    show(found, Console(width=120))
    print(*(f"amiss: {sentence}" for sentence in wrong or ["nothing"]), f"→ {args.output}", sep="\n")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120, help="until the last kill")
    parser.add_argument("--between", type=float, default=20, help="mean seconds between two kills")
    parser.add_argument("--compare", type=int, default=2, help="rows of each round compared with undisturbed runs")
    parser.add_argument("--seed", type=int, default=0, help="of the choice whom to kill, when and how")
    parser.add_argument("--output", type=Path, help="folder of figures.json and samples.csv")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it; else in a temporary one")
    args = parser.parse_args()
    args.output = args.output or ROOT / "results" / "bench" / ("soak" if args.minutes >= LONG else "soak-short")
    os.nice(19)
    if args.keep:
        return soak(args, args.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="metarun-soak-", ignore_cleanup_errors=True) as folder:
        return soak(args, Path(folder))


if __name__ == "__main__":
    sys.exit(main())

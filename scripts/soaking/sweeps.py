"""The sweeps of a soak: one that is killed and started again until its rows are there, and two that live through it."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metarun.system.signals import PARENT

ROOT = Path(__file__).parents[2]
MARK = "METARUN_SOAK"  # the environment variable by which every process of one soak is known

SMALL = (
    *("backbone.filters=8", "train.iterations=20", "train.validate_every=10", "train.validate_tasks=10"),
    *("test.tasks=40", "test.steps=2"),
)
ONE_AT_A_TIME = ("hydra/launcher=pool", "hydra.launcher.n_jobs=1")
METHODS = ("maml", "protonet", "reptile", "anil")
SCHEDULES = ("step", "linear", "cosine")
PRECISIONS = ("float32", "float32", "bf16")


def run_words(number: int, methods: str) -> list[str]:
    """Return the words of a run of a round, or of several: its seed, schedule and precision are the round's."""
    schedule = SCHEDULES[number % len(SCHEDULES)]
    precision = PRECISIONS[number // len(SCHEDULES) % len(PRECISIONS)]
    own = [f"algo={methods}", f"seed={number}", f"train.lr_schedule={schedule}", f"precision={precision}"]
    return [*own, *SMALL, "train.iterations=80"]


def sweep_words(number: int, methods: Sequence[str]) -> list[str]:
    """Return the words of a round's sweep."""
    return ["-m", *run_words(number, ",".join(methods)), *ONE_AT_A_TIME]


def lasting_words(launcher: Sequence[str], batch: int) -> list[str]:
    """Return the words of a sweep that no soak sees the end of; Hydra composes `batch` runs at once."""
    words = ["-m", "algo=protonet,fomaml", "seed=range(1000000,1010000)", f"hydra.sweeper.max_batch_size={batch}"]
    return [*words, *SMALL, *launcher]


@dataclass
class Place:
    """Where a soak works: results, cached data and temporary files of its own.

    Args:
        folder: holds all of them.
        mark: tells this soak's processes from all others.
    """

    folder: Path
    mark: str
    logs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("tmp", "logs"):
            (self.folder / name).mkdir(parents=True)

    def start(self, results: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `metarun train`; what it prints goes to a file of `logs`."""
        log = self.folder / "logs" / f"{len(self.logs):05}.log"
        self.logs.append(log)
        own = {MARK: self.mark, "METARUN_DATA": str(self.folder / "data"), "TMPDIR": str(self.folder / "tmp")}
        own |= {PARENT: str(os.getpid())}  # so that it ends with the soak, however that ends
        threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "metarun", "train", *words, f"results_dir={self.folder / results}"]
        with log.open("wb") as file:
            return subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=self.folder, env={**os.environ, **own, **threads}
            )

    def finished(self, results: str) -> list[Path]:
        """Return the runs below a results folder that have their row."""
        return sorted(path.parent for path in (self.folder / results).glob("runs/*/result.json"))

    def tracebacks(self) -> list[Path]:
        """Return the logs in which some process showed one."""
        return [log for log in self.logs if b"Traceback (most recent call last)" in log.read_bytes()]

    def leftovers(self) -> list[Path]:
        """Return temporary files that nobody took away; a killed run's are there until it is taken up again."""
        of_runs = [path for path in self.folder.glob("*/runs/*/*") if "tmp" in path.name]
        of_results = [path for path in of_runs if (path.parent / "result.json").exists()]
        return sorted([*of_results, *(path for path in (self.folder / "tmp").rglob("*") if path.is_file())])


def stop(process: subprocess.Popen[bytes], patience: float = 60) -> int:
    """Ask a process to end, as a cluster would, and return its exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

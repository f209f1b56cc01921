"""The sweeps of a soak test: one that is killed and restarted until it is finished, and two that last throughout."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metarun.system.signals import PARENT

ROOT = Path(__file__).parents[2]
MARK = "METARUN_SOAK"  # environment variable that identifies the processes of one soak

SMALL = (
    *("backbone.filters=8", "train.iterations=20", "train.validate_every=10", "train.validate_tasks=10"),
    *("test.tasks=40", "test.steps=2"),
)
ONE_AT_A_TIME = ("hydra/launcher=pool", "hydra.launcher.n_jobs=1")
METHODS = ("maml", "protonet", "reptile", "anil")
SCHEDULES = ("step", "linear", "cosine")
PRECISIONS = ("float32", "float32", "bf16")


def run_words(number: int, methods: str) -> list[str]:
    """Return the arguments of one or more runs of a round, which sets their seed, schedule and precision."""
    schedule = SCHEDULES[number % len(SCHEDULES)]
    precision = PRECISIONS[number // len(SCHEDULES) % len(PRECISIONS)]
    own = [f"algo={methods}", f"seed={number}", f"train.lr_schedule={schedule}", f"precision={precision}"]
    return [*own, *SMALL, "train.iterations=80"]


def sweep_words(number: int, methods: Sequence[str]) -> list[str]:
    """Return the arguments of a round's sweep."""
    return ["-m", *run_words(number, ",".join(methods)), *ONE_AT_A_TIME]


def lasting_words(launcher: Sequence[str], batch: int) -> list[str]:
    """Return the arguments of a sweep longer than any soak; Hydra composes `batch` runs at once."""
    words = ["-m", "algo=protonet,fomaml", "seed=range(1000000,1010000)", f"hydra.sweeper.max_batch_size={batch}"]
    return [*words, *SMALL, *launcher]


@dataclass
class Workspace:
    """The folder of a soak: its results, cached data, temporary files and logs.

    Args:
        folder: contains all of them.
        mark: value of `MARK` that identifies this soak's processes.
    """

    folder: Path
    mark: str
    logs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("tmp", "logs"):
            (self.folder / name).mkdir(parents=True)

    def start(self, results: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `metarun train`, with its output in a file of `logs`."""
        log = self.folder / "logs" / f"{len(self.logs):05}.log"
        self.logs.append(log)
        own = {MARK: self.mark, "METARUN_DATA": str(self.folder / "data"), "TMPDIR": str(self.folder / "tmp")}
        own |= {PARENT: str(os.getpid())}  # it ends with the soak, even if that is killed
        threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "metarun", "train", *words, f"results_dir={self.folder / results}"]
        with log.open("wb") as file:
            return subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=self.folder, env={**os.environ, **own, **threads}
            )

    def finished(self, results: str) -> list[Path]:
        """Return the finished runs below a results folder."""
        return sorted(path.parent for path in (self.folder / results).glob("runs/*/result.json"))

    def tracebacks(self) -> list[Path]:
        """Return the logs that contain a traceback."""
        return [log for log in self.logs if b"Traceback (most recent call last)" in log.read_bytes()]

    def leftovers(self) -> list[Path]:
        """Return leftover temporary files, except those of killed runs, which remain until the run is resumed."""
        of_runs = [path for path in self.folder.glob("*/runs/*/*") if "tmp" in path.name]
        of_results = [path for path in of_runs if (path.parent / "result.json").exists()]
        return sorted([*of_results, *(path for path in (self.folder / "tmp").rglob("*") if path.is_file())])


def stop(process: subprocess.Popen[bytes], timeout: float = 60) -> int:
    """Stop a process with SIGTERM, as a cluster would, and return its exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

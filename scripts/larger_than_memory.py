"""Measure data.storage=disk: the memory of a training with larger data, and the cost in time.

    python scripts/larger_than_memory.py --gigabytes 20 --limit 4 backbone.filters=16  see docs/evaluation.md
    python scripts/larger_than_memory.py --gigabytes 0.5 --storage memory backbone.filters=16  for comparison

Writes a file of random 84x84 pictures, trains ProtoNet on it and deletes it. With --limit, the training runs in a
memory cgroup of that many gigabytes, page cache included, if one can be created (cgroup v1, as root).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SHAPE = (3, 84, 84)
EXAMPLES = 100  # per class
HELD_OUT_CLASSES = 20  # in meta-val and in meta-test


class Noise:
    """A data set of random pictures of a given size, cached like metarun's own."""

    name = "noise"

    def __init__(self, gigabytes: float, storage: str) -> None:
        self.classes = max(HELD_OUT_CLASSES, int(gigabytes * 1e9 / (EXAMPLES * np.prod(SHAPE))))
        self.storage = storage

    def load(self):
        from metarun.data import SPLITS, ClassDataset

        return ClassDataset(self.name, {split: self._split(split) for split in SPLITS})

    def _split(self, split: str):
        from metarun.data.files.cache import load_or_build
        from metarun.data.files.cache_file import ExampleStream
        from metarun.system.paths import data_root

        classes = self.classes if split == "train" else HELD_OUT_CLASSES
        names = tuple(f"{split} {c}" for c in range(classes))
        made = ExampleStream(self._blocks(classes), SHAPE, np.dtype(np.uint8), EXAMPLES * np.arange(classes + 1), names)
        return load_or_build(data_root() / f"noise-{classes}-{split}.npz", "noise", lambda: made, self.storage)

    @staticmethod
    def _blocks(classes: int) -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for _ in range(classes):
            yield np.frombuffer(random.bytes(EXAMPLES * int(np.prod(SHAPE))), np.uint8).reshape(EXAMPLES, *SHAPE)


def memory_of(pid: int) -> dict[str, float]:
    """Return the anonymous and resident memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return {"anonymous": fields["Anonymous"], "resident": fields["Rss"]}


def watch(process: subprocess.Popen, peak: dict[str, float]) -> None:
    """Update the peak memory of a process until it ends."""
    while process.poll() is None:
        try:
            for key, value in memory_of(process.pid).items():
                peak[key] = max(peak.get(key, 0.0), value)
        except (OSError, KeyError, IndexError):
            pass  # it has just ended
        time.sleep(0.1)


def limited(gigabytes: float) -> Path | None:
    """Create a memory cgroup; return None if that is not possible."""
    group = Path("/sys/fs/cgroup/memory") / f"metarun-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(int(gigabytes * 1e9)))
    except OSError as error:
        print(f"no cgroup ({error}): memory is measured but not limited")
        return None
    return group


def train(asked: argparse.Namespace, folder: str) -> None:
    group = limited(asked.limit) if asked.limit else None
    words = [sys.executable, "-m", "metarun", "train", "algo=protonet", "data._target_=larger_than_memory.Noise"]
    words += ["~data.split", "~data.invert", f"+data.gigabytes={asked.gigabytes}", f"data.storage={asked.storage}"]
    words += ["train.way=5", "train.query=5", "task.query=5", "train.meta_batch=4", f"train.iterations={asked.steps}"]
    words += [f"train.validate_every={asked.steps}", "train.validate_tasks=20", "test.tasks=20", *asked.words]
    search = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = {**os.environ, "METARUN_DATA": folder, "PYTHONPATH": search}
    for repeat in range(1 + asked.again):  # the first one writes the file
        begun = time.perf_counter()

        process = subprocess.Popen([*words, "force=true"], cwd=folder, env=environment)
        if group:  # while Python starts
            (group / "cgroup.procs").write_text(str(process.pid))
        peak: dict[str, float] = {}
        watcher = threading.Thread(target=watch, args=(process, peak))
        watcher.start()
        code = process.wait()
        watcher.join()
        result = next(Path(folder).glob("results/runs/*/result.json"), None)
        row = json.loads(result.read_text()) if result else {}
        files = sum(path.stat().st_size for path in Path(folder).glob("noise-*.npz")) / 1e9
        print(
            f"{asked.storage}, run {repeat + 1}: exit code {code}, {files:.1f} GB of examples, "
            f"at most {peak['anonymous']:,.0f} MB anonymous and {peak['resident']:,.0f} MB resident, "
            f"{1000 * row.get('train_seconds', 0) / asked.steps:.0f} ms a step, "
            f"{time.perf_counter() - begun:.0f} s in all, {row.get('data_hash', '')[:12]} {row.get('accuracy')}",
            flush=True,
        )
    if group:
        group.rmdir()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--limit", type=float, default=0)
    parser.add_argument("--storage", choices=["disk", "memory"], default="disk")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--again", type=int, default=1, help="number of further trainings on the same file")
    parser.add_argument("words", nargs="*", help="additional overrides for `metarun train`")
    with tempfile.TemporaryDirectory() as folder:
        train(parser.parse_args(), folder)

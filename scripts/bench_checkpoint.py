"""Measure what checkpoints cost a meta-training and how long a resume takes, for docs/reliability.md.

    python -m scripts.bench_checkpoint                 a few minutes on one core

For each network, prints how long the outer loop waits for a checkpoint, how much processor time its writing takes in
parallel, the share of both in a minute (the default of `train.checkpoint_every`), the slowdown of a training with
checkpoints against one without, and how long it takes to read and restore a checkpoint.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from metarun.algorithms import MAML, Algorithm, ProtoNet, to_channels_last
from metarun.backbones import Conv4, ResNet12
from metarun.system.memory import keep_freed_memory
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import StreamSpec
from metarun.training import checkpoint
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from scripts.benchmark.networks import omniglot
from scripts.benchmark.timing import cpu_seconds, ratio_of, time_alternating

INTERVAL = 60.0  # seconds, the default of train.checkpoint_every
PAIRS = 5
CPU = torch.device("cpu")
NETWORKS: dict[str, Callable[[], Algorithm]] = {
    "MAML, conv4 of 64 filters": lambda: MAML(Conv4((1, 28, 28), 64, "stride", "batch"), 5, 0.4, 1),
    "ProtoNet, resnet12": lambda: ProtoNet(ResNet12((1, 28, 28))),
}


@dataclass(frozen=True)
class Cost:
    """The cost of one checkpoint: MB on disk, seconds of waiting, of processor time for writing, and to resume."""

    megabytes: float
    waited: float
    written: float
    restored: float

    @property
    def share(self) -> float:
        """The share of a minute of training, as if there were one core."""
        return (self.waited + self.written) / INTERVAL


def training(make: Callable[[], Algorithm], iterations: int, checkpoint_every: float | None) -> Training:
    """Return a real training on random data of Omniglot's size."""
    schedule = Schedule(
        iterations=iterations,
        time_budget=None,
        meta_batch=8,
        outer_lr=0.001,
        lr_decay=1.0,
        lr_decay_every=1000,
        clip_grad=None,
        validate_every=10**6,
        validate_tasks=1,
        validate_steps=1,
        checkpoint_every=checkpoint_every,
    )
    data, shape = omniglot(real=False), TaskShape(5, 1, 1)
    streams = (ClassTaskStream(data, StreamSpec(split, shape, 0, CPU, torch.float32)) for split in ("train", "val"))
    return Training(to_channels_last(make()), schedule, *streams)


def run(of: Training, folder: Path) -> None:
    """Meta-train as a run does, with checkpoints in the background."""
    writer = checkpoint.BackgroundWriter(
        lambda state: checkpoint.save(folder / "last.pt", state, backup=folder / "previous.pt")
    )
    of.run(lambda: writer.submit({"run": "bench", **checkpoint.snapshot(of.state())}), [], lambda: None)
    writer.finish()


def cost(of: Training, folder: Path) -> Cost:
    """Measure one checkpoint, the median of several."""
    path = folder / "last.pt"
    waited, written, restored = [], [], []
    for _ in range(PAIRS):
        begin = time.perf_counter()
        state = {"run": "bench", **checkpoint.snapshot(of.state())}
        waited.append(time.perf_counter() - begin)
        begin = cpu_seconds()
        checkpoint.save(path, state, backup=folder / "previous.pt")
        written.append(cpu_seconds() - begin)
        begin = time.perf_counter()
        of.restore(checkpoint.load(path, "bench"))
        restored.append(time.perf_counter() - begin)
    middle = PAIRS // 2
    return Cost(path.stat().st_size / 1e6, *(sorted(times)[middle] for times in (waited, written, restored)))


def slowed_down(make: Callable[[], Algorithm], folder: Path) -> tuple[float, float]:
    """Return the relative slowdown of a five-second training by a checkpoint every second, and its seconds without."""
    iterations = iterations_in(5.0, make)

    def side(checkpoint_every: float | None) -> Callable[[], None]:
        return lambda: run(training(make, iterations, checkpoint_every), folder)

    without, saved = time_alternating([side(None), side(1.0)], PAIRS, CPU, clock=cpu_seconds)
    return ratio_of(saved, without).median - 1, without.median


def iterations_in(seconds: float, make: Callable[[], Algorithm]) -> int:
    """Return how many steps take this long."""
    of = training(make, 10**9, None)
    of._step()
    begin = time.perf_counter()
    for _ in range(5):
        of._step()
    return max(5, round(seconds / ((time.perf_counter() - begin) / 5)))


def main() -> None:
    """Measure every network and print the table."""
    keep_freed_memory()
    torch.set_num_threads(1)
    table = Table("network", "checkpoint", "loop waits", "writing", "of a minute", "saved every second", "to restore")
    for name, make in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            of = training(make, 1, None)
            run(of, Path(folder))
            found = cost(of, Path(folder))
            more, _ = slowed_down(make, Path(folder))
        table.add_row(
            name,
            f"{found.megabytes:.1f} MB",
            f"{1000 * found.waited:.1f} ms",
            f"{found.written:.3f} s",
            f"{found.share:.2%}",
            f"{more:+.1%} processor time",
            f"{found.restored:.2f} s",
        )
        Console(width=120).print(table)


if __name__ == "__main__":
    main()

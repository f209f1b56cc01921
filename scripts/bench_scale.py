"""Measure how time and memory grow: one curve per dimension, with a fresh process per point.

    python -m scripts.bench_scale                      every curve, about ten minutes on two cores
    python -m scripts.bench_scale --curve way --device cuda

Writes a CSV and a PNG per curve to results/bench/scale/ and prints the growth exponents: time ~ size ** exponent.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from metarun.data import SPLITS, ClassDataset, Examples
from metarun.system.memory import keep_freed_memory
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import StreamSpec
from scripts.benchmark.networks import Protocol, random_tasks
from scripts.benchmark.timing import Work, time_alternating
from scripts.benchmark.training import make_method, outer_step

ROOT = Path(__file__).parents[1]
REPEATS = 5
MIB = 2**20
NOISE = 20.0  # MiB; variation of the peak between processes with equal work
STEP = Protocol(way=5, shot=1, query=1, steps=1, meta_batch=4)
DRAWN_TASKS = 1000


@dataclass(frozen=True)
class Curve:
    """One dimension that grows, and the work that is measured.

    Args:
        sizes: from small to large.
        work: returns the prepared work for a size and a device.
        what: description of the work.
    """

    sizes: tuple[int, ...]
    work: Callable[[int, torch.device], Work]
    what: str


@dataclass(frozen=True)
class Point:
    """The measurement of one size."""

    size: int
    seconds: float  # minimum over the repeats
    mebibytes: float  # peak memory of the work, without data and weights


def curves() -> dict[str, Curve]:
    """Return every curve, by its dimension."""
    what = f"MAML step, {STEP.meta_batch} tasks of Omniglot's size, else {STEP.shape} and {STEP.steps} inner step"

    def stepping(grown: Callable[[int], Protocol]) -> Callable[[int, torch.device], Work]:
        return lambda size, device: maml_step(grown(size), device)

    def drawing(classes: Callable[[int], int], per_class: Callable[[int], int]) -> Callable[[int, torch.device], Work]:
        return lambda size, device: draw(classes(size), per_class(size), device)

    drawn = f"sampling {DRAWN_TASKS:,} tasks of 8x8 pictures, 5w1s"
    return {
        "way": Curve((5, 10, 20, 50, 100, 200), stepping(lambda n: replace(STEP, way=n)), what),
        "shot": Curve((1, 2, 5, 10, 20, 50), stepping(lambda n: replace(STEP, shot=n)), what),
        "inner_steps": Curve((1, 2, 5, 10, 20, 50), stepping(lambda n: replace(STEP, steps=n)), what),
        "meta_batch": Curve((1, 2, 4, 8, 16, 32, 64), stepping(lambda n: replace(STEP, meta_batch=n)), what),
        "classes": Curve((1_000, 3_000, 10_000, 30_000, 100_000), drawing(lambda n: n, lambda _: 20), drawn),
        "images": Curve((10_000, 100_000, 1_000_000, 5_000_000), drawing(lambda _: 1000, lambda n: n // 1000), drawn),
    }


def maml_step(protocol: Protocol, device: torch.device) -> Work:
    """Prepare one step of MAML."""
    return outer_step(make_method("maml", protocol).to(device), random_tasks(protocol, device))


def draw(classes: int, per_class: int, device: torch.device) -> Work:
    """Prepare sampling tasks from a synthetic split."""
    values = np.random.default_rng(0).integers(0, 256, (classes * per_class, 1, 8, 8), dtype=np.uint8)
    examples = Examples(values, np.arange(classes + 1) * per_class, tuple(map(str, range(classes))))
    few = {split: Examples(values[:4], np.array([0, 4]), (f"{split} 0",)) for split in SPLITS}
    stream = ClassTaskStream(
        ClassDataset("synthetic", {**few, "train": examples}),
        StreamSpec("train", TaskShape(5, 1, 1), 0, device, torch.float32),
    )
    return lambda: stream.draw(0, DRAWN_TASKS)


def measure(work: Work, size: int, device: torch.device, repeats: int = REPEATS) -> Point:
    """Measure one point in this process, which must be fresh."""
    before = peak_memory(device)
    (seconds,) = time_alternating([work], repeats, device)
    return Point(size, seconds.least, (peak_memory(device) - before) / MIB)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of the GPU if one is used, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure_in_fresh_process(curve: str, size: int, device: str) -> Point:
    """Measure one point in a new process, so that the peak is its own."""
    command = [sys.executable, "-m", "scripts.bench_scale", "--curve", curve, "--size", str(size), "--device", device]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Point(**json.loads(out.splitlines()[-1]))


def growth(sizes: Sequence[float], figures: Sequence[float]) -> float:
    """Return the exponent p of figures ~ size ** p that fits best on a log-log scale; zeros are ignored."""
    known = [(size, figure) for size, figure in zip(sizes, figures, strict=True) if figure > 0]
    if len(known) < 2:
        return float("nan")
    x, y = np.log(np.array(known)).T
    return float(np.polyfit(x, y, 1)[0])


def describe_growth(knob: str, points: Sequence[Point]) -> tuple[str, str]:
    """Describe how time and memory grow with a knob; memory below the noise does not grow."""
    sizes = [point.size for point in points]
    seconds, mebibytes = [point.seconds for point in points], [point.mebibytes for point in points]
    if max(mebibytes) < NOISE:
        memory = f"below {NOISE:.0f} MiB throughout"
    else:
        memory = f"grows as {knob}^{growth(sizes, mebibytes):.2f}"
    return f"grows as {knob}^{growth(sizes, seconds):.2f}", memory


def write_csv(path: Path, knob: str, points: Sequence[Point]) -> None:
    """Write the points."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([knob, "seconds", "peak_mib"])
        writer.writerows([point.size, f"{point.seconds:.6g}", f"{point.mebibytes:.1f}"] for point in points)


def draw_png(path: Path, knob: str, what: str, points: Sequence[Point]) -> None:
    """Plot time and memory against the size, on log-log scales."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    sizes = [point.size for point in points]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    in_time, in_memory = describe_growth(knob, points)
    for axis, label, growing, values in (
        (axes[0], "seconds", in_time, [point.seconds for point in points]),
        (axes[1], "peak memory, MiB", in_memory, [point.mebibytes for point in points]),
    ):
        axis.plot(sizes, values, "o-")
        axis.set(xscale="log", yscale="log", xlabel=knob, ylabel=label, title=growing)
        axis.title.set_fontsize(9)
        if min(values) <= 0:
            axis.set(yscale="linear", ylim=(0, max(*values, NOISE)))
        axis.grid(alpha=0.3, which="both")
    figure.suptitle(what, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    """Measure the requested curves or, with --size, one point in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curve", nargs="+", choices=curves(), default=list(curves()))
    parser.add_argument("--size", type=int, help="measure only this size, in this process, and print it as JSON")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results/bench/scale"))
    asked = parser.parse_args()
    if asked.size is not None:
        keep_freed_memory()
        device = torch.device(asked.device)
        point = measure(curves()[asked.curve[0]].work(asked.size, device), asked.size, device)
        print(json.dumps(point.__dict__))
        return 0
    asked.out.mkdir(parents=True, exist_ok=True)
    for knob in asked.curve:
        curve = curves()[knob]
        points = [measure_in_fresh_process(knob, size, asked.device) for size in curve.sizes]
        write_csv(asked.out / f"{knob}.csv", knob, points)
        draw_png(asked.out / f"{knob}.png", knob, curve.what, points)
        in_time, in_memory = describe_growth(knob, points)
        print(f"{knob:12} {points[0].size:,} to {points[-1].size:,}: time {in_time}, memory {in_memory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure how large tables, texts and sounds are read, cached and drawn from; pictures for comparison.

    python -m scripts.bench_data                       a million rows, 100,000 texts, ten hours of sound: ten minutes
    python -m scripts.bench_data --case text --share 0.1

The data are generated in a temporary folder (3 GB), which is removed. Each figure is of a fresh process; times are
seconds of the processor, which other processes on the machine do not change. Exits with 1 if a first reading takes
more than `SECONDS` or `GIGABYTES` beyond the data, see `misses`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data import SPLITS, Audio, ClassDataset, Examples, RegressionTable, Table, Text
from scripts.bench_scale import MIB, ROOT, peak_memory

SECONDS, GIGABYTES = 120, 2.0  # of a first reading
SLOWER = 2.0  # than pictures: a start, for as much data and beyond `NOISE_S`, and drawing
NOISE_S = 1.0
TASKS = 1_000
REPEATS = 5


@dataclass(frozen=True)
class Case:
    """A kind of data.

    Args:
        size: of the whole: rows, texts or recordings.
        write: writes so many to a path.
        source: returns the data set of what was written.
        what: description.
    """

    size: int
    write: Callable[[Path, int], None]
    source: Callable[[Path], Any]
    what: str


@dataclass(frozen=True)
class Reading:
    """One start on a data set: it is loaded, hashed and searched for duplicates, as a run does.

    Args:
        seconds: of the processor, without the first imports.
        mebibytes: peak memory beyond the imports.
        data_mebibytes: of the examples in memory.
        draw_ms: for 1,000 tasks of 5 classes, one support and one query example each.
    """

    seconds: float
    mebibytes: float
    data_mebibytes: float
    draw_ms: float


class Pictures:
    """Pictures that are cached like those of a folder; reading them first is not measured."""

    def __init__(self, path: Path) -> None:
        self.size = int(path.read_text())

    def load(self) -> ClassDataset:
        """Return random pictures, from the cache."""
        from metarun.data.files.cache import load_or_build
        from metarun.system.paths import data_root

        def made(share: float) -> Examples:
            count = max(20, round(share * self.size / 100))
            values = np.random.default_rng(round(100 * share)).integers(0, 256, (100 * count, 3, 48, 48), np.uint8)
            return Examples(values, 100 * np.arange(count + 1), tuple(f"{share} {c}" for c in range(count)))

        shares = dict(zip(SPLITS, (0.64, 0.16, 0.2), strict=True))
        splits = {
            split: load_or_build(data_root() / f"{split}.npz", "bench", lambda share=share: made(share))  # type: ignore[misc]
            for split, share in shares.items()
        }
        return ClassDataset("pictures", splits)


def _write_table(path: Path, rows: int) -> None:
    """18 columns of numbers and two of categories; a class has 1,000 rows."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % max(20, rows // 1_000)
    colours = np.array(["red", "green", "blue", "white"])
    with path.open("w") as file:
        file.write(",".join(["label", *(f"x{i}" for i in range(18)), "colour", "shade"]) + "\n")
        for first in range(0, rows, 10_000):
            numbers = np.round(random.normal(size=(10_000, 18)), 4).astype(str)
            words = colours[random.integers(0, 4, (10_000, 2))]
            lines = np.concatenate([labels[first : first + 10_000, None].astype(str), numbers, words], 1).tolist()
            file.writelines(f"{','.join(line)}\n" for line in lines)


def _write_texts(path: Path, texts: int) -> None:
    """Twelve words each, of 20,000; a class has 500 texts."""
    random = np.random.default_rng(0)
    letters = np.array([*"abcdefghijklmnopqrstuvwxyz"])
    words = np.array(["".join(letters[random.integers(0, 26, size)]) for size in random.integers(2, 10, 20_000)])
    labels = np.arange(texts) % max(20, texts // 500)
    chosen = words[random.zipf(1.3, (texts, 12)) % len(words)].tolist()
    lines = (f"{' '.join(text)},intent {label}\n" for text, label in zip(chosen, labels.tolist(), strict=True))
    path.write_text("text,label\n" + "".join(lines))


def _write_sounds(path: Path, recordings: int) -> None:
    """A second of a tone and of noise each; a class has 300 recordings."""
    random, at = np.random.default_rng(0), np.arange(16_000) / 16_000
    noise = random.normal(scale=0.02, size=32_000)
    classes = max(20, recordings // 300)
    for i in range(recordings):
        start = int(random.integers(0, 16_000))
        tone = 0.5 * np.sin(2 * np.pi * (100 + 20 * (i % classes)) * at) + noise[start : start + 16_000]
        file = path / f"class {i % classes}" / f"{i}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_wav(file, np.rint(tone * 20_000).astype("<i2"))


def _write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())


def _write_count(path: Path, size: int) -> None:
    path.write_text(str(size))


CASES = {
    "pictures": Case(100_000, _write_count, Pictures, "48x48 colour"),
    "table": Case(1_000_000, _write_table, lambda path: Table(str(path), "label"), "20 columns, CSV"),
    "regression_table": Case(
        1_000_000,
        _write_table,
        lambda path: RegressionTable(str(path), "label", ["x0"], order="x1"),
        "20 columns, CSV",
    ),
    "text": Case(100_000, _write_texts, lambda path: Text(str(path)), "12 words, TF-IDF"),
    "audio": Case(36_000, _write_sounds, lambda path: Audio(str(path)), "1 s of 16 kHz, WAV"),
}


def start(source: Any) -> Reading:
    """Load a data set as a run does, in this process, which must be fresh."""
    import torch

    from metarun.data.duplicates import find_duplicates
    from metarun.tasks.batch import TaskShape
    from metarun.tasks.source import task_source

    before, started = peak_memory(torch.device("cpu")), time.process_time()
    tasks = task_source(source.load())
    identity = tasks.hash
    if tasks.splits is not None:
        find_duplicates(tasks.name, identity, lambda: tasks.splits)
    seconds, peak = time.process_time() - started, peak_memory(torch.device("cpu"))
    rows = getattr(tasks.data, "rows", tasks.data)
    stream = tasks.stream("train", TaskShape(5 if tasks.splits else 1, 1, 1), 0, torch.device("cpu"), torch.float32)
    stream.draw(0, TASKS)
    drawing = []
    for i in range(1, REPEATS + 1):
        began = time.process_time()
        stream.draw(i * TASKS, TASKS)
        drawing.append(time.process_time() - began)
    data = sum(rows.splits[split].values.nbytes for split in SPLITS)
    return Reading(seconds, (peak - before) / MIB, data / MIB, 1_000 * min(drawing))


def start_in_fresh_process(case: str, path: Path) -> Reading:
    """Measure one start in a new process, so that the peak is its own."""
    command = [sys.executable, "-m", "scripts.bench_data", "--case", case, "--path", str(path)]
    environment = {**os.environ, "METARUN_DATA": str(path.parent / f"cache of {case}")}
    out = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Reading(**json.loads(out.splitlines()[-1]))


def misses(case: str, first: Reading, later: Reading, pictures: Reading | None) -> list[str]:
    """Return what is above a limit, each a clause."""
    found = []
    if first.seconds > SECONDS:
        found.append(f"{case}: the first reading took {first.seconds:.0f} s, more than {SECONDS}")
    if (beyond := (first.mebibytes - first.data_mebibytes) / 1024) > GIGABYTES:
        found.append(f"{case}: the first reading took {beyond:.1f} GiB beyond the data, more than {GIGABYTES:g}")
    more = later.data_mebibytes / pictures.data_mebibytes if pictures else 1.0
    if pictures and later.seconds > NOISE_S + SLOWER * pictures.seconds * max(1.0, more):
        found.append(f"{case}: a start takes {later.seconds:.1f} s, but {pictures.seconds:.1f} s on pictures")
    if pictures and later.draw_ms > SLOWER * pictures.draw_ms:
        found.append(f"{case}: tasks are drawn in {later.draw_ms:.1f} ms, but in {pictures.draw_ms:.1f} ms of pictures")
    return found


def measure(cases: Sequence[str], share: float, folder: Path) -> list[str]:
    """Measure some cases, print a row each, and return what is above a limit."""
    print("| data | first reading | beyond the data | data | later start | drawing 1,000 tasks |")
    print("|---|---|---|---|---|---|")
    found, pictures = [], None
    for name in cases:
        case, path = CASES[name], folder / name / "data.csv"
        path.parent.mkdir()
        size = round(share * case.size)
        case.write(path, size)
        first, later = (start_in_fresh_process(name, path) for _ in range(2))
        beyond = max(0.0, first.mebibytes - first.data_mebibytes)
        print(
            f"| {name}, {size:,} ({case.what}) | {first.seconds:.1f} s | {beyond:,.0f} MiB | "
            f"{first.data_mebibytes:,.0f} MiB | {later.seconds:.2f} s | {later.draw_ms:.1f} ms |",
            flush=True,
        )
        if name == "pictures":
            pictures = later
        else:
            found += misses(name, first, later, pictures)
    return found


def main() -> int:
    """Measure the requested cases or, with --path, one start in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes")
    parser.add_argument("--path", type=Path, help="start once on the data in this path, and print the figures as JSON")
    asked = parser.parse_args()
    if asked.path is not None:
        print(json.dumps(vars(start(CASES[asked.case[0]].source(asked.path)))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.case, asked.share, Path(folder))
    print("\n".join(found) or "\nAll within the limits.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

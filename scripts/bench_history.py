"""Draw how the speed of metarun, as a ratio to its peers, changed: every measurement in results/bench/, by date.

python -m scripts.bench_history      writes results/bench/history.png
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metarun.errors import counted

FOLDER = Path("results/bench")
COLUMNS = 4  # of small plots


class Point(NamedTuple):
    """One ratio of a case to its peer.

    Args:
        when: date and first digits of the commit, such as "2026-11-24 702fbbd".
        ratio: the peer's time divided by ours.
        place: of `when` among the dates and commits.
    """

    when: str
    ratio: float
    place: int


def read(files: Sequence[Path]) -> dict[str, list[Point]]:
    """Return the points of each case, peer, number of threads and clock, in order of date.

    Args:
        files: measurements that `scripts.bench` wrote, named by their date; those of one day are in order of name.
    """
    found: dict[str, list[Point]] = defaultdict(list)
    places: dict[str, int] = {}
    for path in sorted(files, key=lambda path: path.stem):
        content: dict[str, Any] = json.loads(path.read_text())
        machine = content["machine"]
        when = f"{path.stem[:10]} {machine['commit'][:7]}"
        how = f"{counted(machine['threads'], 'thread')}, {machine['clock']}"
        for record in content["records"]:
            if "ratio" in record:
                found[f"{record['case']}, {record['peer']} ({how})"].append(
                    Point(when, record["ratio"], places.setdefault(when, len(places)))
                )
    return found


def draw(points: dict[str, list[Point]], path: Path) -> None:
    """Draw a small plot for each case, with a line for each peer and way of measuring."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    times = {point.place: point.when for each in points.values() for point in each}
    cases = list(dict.fromkeys(case.partition(", ")[0] for case in sorted(points)))
    lines = sorted({case.partition(", ")[2] for case in points})
    rows = -(-len(cases) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(12, 2.3 * rows + 1), squeeze=False, layout="constrained")
    for axis, case in zip(axes.flat, cases, strict=False):
        for number, line in enumerate(lines):
            each = points.get(f"{case}, {line}", [])
            axis.plot(
                [point.place for point in each], [point.ratio for point in each], "o-", color=f"C{number}", markersize=4
            )
        axis.axhline(1, color="grey", linewidth=0.8)
        axis.set_title(case, fontsize=9)
        axis.set(xlim=(-0.5, len(times) - 0.5), ylim=(0, None))
        axis.set_xticks(list(times), times.values(), rotation=45, ha="right", rotation_mode="anchor")
        axis.tick_params(labelsize=6)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(cases) :]:
        axis.set_axis_off()
    handles = [plt.Line2D([], [], marker="o", color=f"C{number}", label=line) for number, line in enumerate(lines)]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8)
    figure.supylabel("times as fast as the peer", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(words: list[str] | None = None) -> int:
    """Draw the history of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"of the measurements; default: {FOLDER}")
    folder = parser.parse_args(words).folder
    points = read([path for path in folder.glob("*-cpu*.json") if not path.stem.endswith("-short")])
    draw(points, folder / "history.png")
    print(f"→ {folder / 'history.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`metarun plot curve | heatmap | forest | pareto | ranks | tasks`: figures for papers, drawn from finished runs."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.cli.parser import CommandParser
from metarun.errors import UserError
from metarun.reporting.configurations import COSTS
from metarun.reporting.plots.curve import SERIES, draw_curves
from metarun.reporting.plots.from_configurations import write_forest, write_pareto, write_ranks
from metarun.reporting.plots.from_records import (
    MILLISECONDS,
    common_metric,
    curve_names,
    curve_of,
    mean_note,
    mean_score,
    tasks_text,
    transductive_note,
    write_heatmap,
)
from metarun.reporting.plots.paths import NOTE as PATHS_NOTE
from metarun.reporting.plots.paths import draw_paths
from metarun.reporting.plots.poses import draw_poses
from metarun.reporting.plots.style import write_figure
from metarun.reporting.plots.tasks import draw_tasks
from metarun.reporting.tables.render import print_skipped
from metarun.reporting.tables.rows import by_configuration, finished_rows
from metarun.results import example_tasks, plane_paths, robot_poses
from metarun.results.find_run import find_run
from metarun.results.records import Record, excludes_diverged, figures_by_step
from metarun.results.settings import long_setting

KINDS = "curve | heatmap | forest | pareto | ranks | tasks"
EXAMPLES = """examples:
  metarun plot curve                                   the runs under results/, a line per configuration
  metarun plot curve results/runs/*omniglot* -o fig2.pdf
  metarun plot curve --against milliseconds            accuracy against the time of adaptation
  metarun plot heatmap --width 6.8 -o sizes.svg        way x shot, one panel per method, two columns wide
  metarun plot forest                                  results with their intervals over tasks and over seeds
  metarun plot pareto --cost adapt_ms                  results against the time of adaptation
  metarun plot ranks                                   average ranks over several data sets or task sizes
  metarun plot tasks RUN -o tasks.pdf                  the first meta-test tasks of a run, with its predictions"""


def main(args: Sequence[str]) -> int:
    """Draw the figure, print its path, and return the exit code."""
    options = _parser().parse_args(args)
    options.draw(options)
    print(f"→ {options.output}")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser.with_examples(
        "metarun plot", "Draw figures for papers as png, svg or pdf; the same runs give the same bytes.", EXAMPLES
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar=KINDS)
    curve = _add(kinds, "curve", _draw_curve, "accuracy or mse after each adaptation step")
    curve.add_paths()
    against = "inner steps, or milliseconds: adapt_ms of result.json, spread evenly over the steps"
    curve.add_argument("--against", choices=("steps", MILLISECONDS), default="steps", help=against)
    sizes = "accuracy or mse by test_way and test_shot, one panel per method, averaged over seeds"
    _add(kinds, "heatmap", _of_records(write_heatmap), sizes).add_paths()
    forest = "mean, interval over tasks and interval over tasks and seeds of each configuration, sorted"
    _add(kinds, "forest", _of_records(write_forest), forest).add_paths()
    pareto = _add(kinds, "pareto", _draw_pareto, "accuracy or mse against cost, with the Pareto front")
    pareto.add_paths()
    costs = ", ".join(f"{key}: {meaning}" for key, meaning in COSTS.items())
    pareto.add_argument("--cost", choices=COSTS, default="train_seconds", help=f"{costs} (default: train_seconds)")
    over = "average rank, win rate and critical difference over at least two data sets or task sizes"
    _add(kinds, "ranks", _of_records(write_ranks), over).add_paths()
    tasks = _add(kinds, "tasks", _draw_tasks, "a run's first meta-test tasks: queries and predictions, or trajectories")
    tasks.add_argument("run", metavar="RUN", help="a run's directory or the first characters of its id")
    return parser


def _add(
    kinds: "argparse._SubParsersAction[CommandParser]",
    kind: str,
    draw: Callable[[argparse.Namespace], None],
    description: str,
) -> CommandParser:
    parser = kinds.add_parser(kind, help=description, description=description)
    parser.set_defaults(draw=draw)
    output = Path(f"{kind}.png")
    parser.add_argument("-o", "--output", type=Path, default=output, help=f"png, svg or pdf (default: {output})")
    parser.add_argument("--width", type=_inches, help="in inches (default: 3.3, one column, or wider if needed)")
    return parser


def _inches(word: str) -> float:
    try:
        inches = float(word)
    except ValueError:
        inches = math.nan
    if not 1.5 <= inches <= 40:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of inches from 1.5 to 40")
    return inches


def _draw_curve(options: argparse.Namespace) -> None:
    records = finished_rows(options.paths)
    if not any(record["steps"] for record in records):
        raise UserError(
            "none of these runs adapts in steps, so there is no curve", "use `metarun plot heatmap` instead."
        )
    metric = common_metric(records)
    groups = by_configuration(records)
    found = len(groups)
    groups = sorted(sorted(groups, key=lambda group: -mean_score(group))[:SERIES], key=groups.index)
    records = [record for group in groups for record in group]
    in_steps = options.against != MILLISECONDS
    curves = []
    for group, name in zip(groups, curve_names(groups), strict=True):
        if readable := _readable(group):
            curves.append(curve_of(readable, name, in_steps))
    if not curves:
        raise UserError("nothing to draw: no tasks.parquet can be read", "repeat a run with force=true.")
    devices = {record["device"] for record in records}
    on = f"on {devices.pop()}" if len(devices) == 1 else "on several devices"
    x_name = "inner steps" if in_steps else f"milliseconds per task, {on}"
    notes = [f"Bands: 95 % intervals over {tasks_text(records)} meta-test tasks (Student t)."]
    notes += mean_note(groups)
    if found > len(groups):
        notes.append(f"The best {len(groups)} of {found} configurations.")
    if in_steps and not all(record["steps"] for record in records):
        notes.append("Horizontal lines: methods without inner steps.")
    if diverged := sum(record["diverged"] for record in records if excludes_diverged(record)):
        notes.append(f"{diverged:,} tasks diverged: the {metric.key} is the mean over the other tasks.")
    notes += transductive_note(records)
    write_figure(options.output, lambda: draw_curves(curves, x_name, metric.title, notes, in_steps, options.width))


def _readable(group: Sequence[Record]) -> list[tuple[Record, NDArray[np.float64]]]:
    """Return the runs whose `tasks.parquet` can be read, each with its figures; print which others are skipped."""
    found = []
    for record in group:
        try:
            found.append((record, figures_by_step(record)))
        except UserError as error:
            print_skipped(str(error))
    return found


def _of_records(write: Callable[[Sequence[Record], Path, float | None], None]) -> Callable[[argparse.Namespace], None]:
    """Return what draws a figure of all runs."""
    return lambda options: write(finished_rows(options.paths), options.output, options.width)


def _draw_pareto(options: argparse.Namespace) -> None:
    write_pareto(finished_rows(options.paths), options.cost, options.output, options.width)


def _draw_tasks(options: argparse.Namespace) -> None:
    run = find_run(Path("results"), options.run)
    record = run.read_result()
    if record is None or record["status"] != "done":
        raise UserError(f"{run.path} is not finished", "finish the run, or choose another one; see `metarun runs`.")
    settings = f"{record['algo']} on {record['test_data']}, {long_setting(record)}"
    if run.paths.is_file():
        paths = plane_paths.load(run.paths)
        notes = [f"{settings}: the first meta-test tasks.", PATHS_NOTE]
        write_figure(options.output, lambda: draw_paths(paths, notes, options.width))
        return
    if run.poses.is_file():
        poses = robot_poses.load(run.poses)
        notes = [f"{settings}: the first meta-test tasks.", f"{poses[0].note[0].upper()}{poses[0].note[1:]}."]
        write_figure(options.output, lambda: draw_poses(poses, notes, options.width))
        return
    if not run.examples.is_file():
        raise UserError(
            f"{run.path} has no examples.npz: it is from an older version, or its data cannot be drawn",
            "repeat the run with force=true.",
        )
    tasks = example_tasks.load(run.examples)
    if tasks[0].of_texts:
        raise UserError(f"the examples of {run.path} are texts, which cannot be drawn", "`metarun report` shows them.")
    pictures = "Below each query: correct ✓, or wrong ✗ with the predicted class, and the confidence in percent."
    functions = "● support, ○ queries, × predictions."
    notes = [
        f"{settings}: the first meta-test tasks, after the last step.",
        functions if tasks[0].regression else pictures,
    ]
    write_figure(options.output, lambda: draw_tasks(tasks, notes, options.width))

"""`metarun plot curve | heatmap | tasks`: figures for papers, from what finished runs left behind."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from metarun.cli.parser import WordParser
from metarun.errors import UserError
from metarun.reporting.plots.curve import draw_curves
from metarun.reporting.plots.from_records import MILLISECONDS, _curve, _marked, _tasks, common_metric, write_heatmap
from metarun.reporting.plots.style import write_figure
from metarun.reporting.plots.tasks import draw_tasks
from metarun.reporting.tables.render import leave_out
from metarun.reporting.tables.rows import finished_rows
from metarun.reporting.tables.run_labels import differences
from metarun.results import example_tasks
from metarun.results.records import Record, excludes_diverged
from metarun.results.run_directory import find_run

EXAMPLES = """examples:
  metarun plot curve                                   every run under results/, a line each
  metarun plot curve results/runs/*omniglot* -o fig2.pdf
  metarun plot curve --against milliseconds            what the time of an adaptation buys
  metarun plot heatmap --width 6.8 -o sizes.svg        way x shot, a panel per method, over two columns
  metarun plot tasks RUN -o tasks.pdf                  what one run said to its first meta-test tasks"""


def main(words: Sequence[str]) -> int:
    """Draw the figure that is asked for, say where it lies, and return the exit code.

    Raises:
        UserError: a path is not there, or there is nothing to draw.
    """
    options = _parser().parse_args(words)
    options.draw(options)
    print(f"→ {options.output}")
    return 0


def _parser() -> WordParser:
    parser = WordParser.with_examples(
        "metarun plot", "Figures for papers: png, svg or pdf; the same runs give the same bytes.", EXAMPLES
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="curve | heatmap | tasks")
    curve = _add_for_runs(
        kinds, "curve", _draw_curve, "how good runs are while they adapt: accuracy or mse after each step"
    )
    against = "inner steps, or the milliseconds that they take: adapt_ms of result.json, evenly over the steps"
    curve.add_argument("--against", choices=("steps", MILLISECONDS), default="steps", help=against)
    _add_for_runs(
        kinds, "heatmap", _draw_heatmap, "figures by test_way and test_shot, a panel per method; seeds are averaged"
    )
    tasks = _add(kinds, "tasks", _draw_tasks, "a run's first meta-test tasks: support, queries, and what was predicted")
    tasks.add_argument("run", metavar="RUN", help="a run's directory, or the first characters of its id")
    return parser


def _add_for_runs(
    kinds: "argparse._SubParsersAction[WordParser]",
    kind: str,
    draw: Callable[[list[Record], argparse.Namespace], None],
    what: str,
) -> WordParser:
    def draw_runs(options: argparse.Namespace) -> None:
        draw(finished_rows(options.paths), options)

    parser = _add(kinds, kind, draw_runs, what)
    parser.add_paths()
    return parser


def _add(
    kinds: "argparse._SubParsersAction[WordParser]", kind: str, draw: Callable[[argparse.Namespace], None], what: str
) -> WordParser:
    parser = kinds.add_parser(kind, help=what, description=what)
    parser.set_defaults(draw=draw)
    output = Path(f"{kind}.png")
    parser.add_argument("-o", "--output", type=Path, default=output, help=f"png, svg or pdf (default: {output})")
    parser.add_argument("--width", type=_inches, help="in inches (default: a column, 3.3, or what it takes)")
    return parser


def _inches(word: str) -> float:
    try:
        inches = float(word)
    except ValueError:
        inches = math.nan
    if not 1.5 <= inches <= 40:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of inches between 1.5 and 40")
    return inches


def _draw_curve(records: list[Record], options: argparse.Namespace) -> None:
    if not any(record["steps"] for record in records):
        raise UserError(
            "none of these runs adapts in steps, so there is no curve", "`metarun plot heatmap` draws them."
        )
    metric = common_metric(records)
    told, keys = differences(records)
    in_steps = options.against != MILLISECONDS
    curves = []
    for record in told:
        try:
            curves.append(_curve(record, keys or ["algo"], in_steps))
        except UserError as error:
            leave_out(str(error))
    if not curves:
        raise UserError(
            "there is nothing to draw: no run's tasks.parquet can be read", "make one again with force=true."
        )
    devices = {record["device"] for record in records}
    on = f"on {devices.pop()}" if len(devices) == 1 else "on several devices"
    x_name = "inner steps" if in_steps else f"milliseconds per task, {on}"
    notes = [f"Bands: 95 % intervals over {_tasks(records)} meta-test tasks (Student t)."]
    if in_steps and not all(record["steps"] for record in records):
        notes.append("Level lines: methods that take no steps.")
    if diverged := sum(record["diverged"] for record in records if excludes_diverged(record)):
        notes.append(f"Without {diverged:,} tasks that diverged: lines of {metric.key} are means over the others.")
    notes += _marked(records)
    write_figure(options.output, lambda: draw_curves(curves, x_name, metric.title, notes, in_steps, options.width))


def _draw_heatmap(records: list[Record], options: argparse.Namespace) -> None:
    write_heatmap(records, options.output, options.width)


def _draw_tasks(options: argparse.Namespace) -> None:
    run = find_run(Path("results"), options.run)
    record = run.read_result()
    if record is None or not run.examples.is_file():
        raise UserError(
            f"{run.path} has no examples.npz: it is unfinished or older, or its data cannot be drawn",
            "make the run again with force=true.",
        )
    tasks = example_tasks.load(run.examples)
    settings = "{algo} on {test_data}, {test_way}-way {test_shot}-shot".format(**record)
    pictures = "Below a query: right ✓ or wrong ✗, what was said instead, and the confidence in percent."
    functions = "● support, ○ queries, × what was predicted of them."
    notes = [
        f"{settings}: the first meta-test tasks, after the last step.",
        functions if tasks[0].regression else pictures,
    ]
    write_figure(options.output, lambda: draw_tasks(tasks, notes, options.width))

"""The HTML page; it is self-contained, and every string from a run is escaped."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from metarun.reporting.configurations import configurations
from metarun.reporting.html.entries import DRAWN, of_rows
from metarun.reporting.html.environments import differing_environments
from metarun.reporting.html.examples import ShownTask, Strips, shown
from metarun.reporting.html.paths import NOTE, draw_paths
from metarun.reporting.html.poses import draw_poses
from metarun.reporting.html.run_files import DrawnRun
from metarun.reporting.html.sections import Setting, SizeMap, heat_maps_of, settings_of
from metarun.reporting.tables.render import Best
from metarun.reporting.tables.run_labels import NOT_COMPARED
from metarun.results.metrics import figure
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.results.set_rows import is_set_row
from metarun.system.version import __version__

OPEN = 3  # settings that are initially open; a browser renders the others when they are opened
WITH_EXAMPLES = 8  # settings with example tasks, whose pictures make a page large
HEADLINES = 6
SCRIPTS = ("rows_in_charts.js", "sort_and_filter.js", "pinned.js")  # in this order
MAX_FILE_LENGTH = 20_000  # characters of a file that are shown


@dataclass(frozen=True)
class Table:
    """A table of runs: names of the columns, one row of text per group of runs, the runs of each, and notes."""

    head: list[str]
    rows: list[list[str]]
    notes: list[str]
    groups: Sequence[Sequence[Record]]


def render(
    records: Sequence[Record], table: Table, seeds: Table | None, maps: Sequence[SizeMap], meanings: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the page of finished runs as HTML.

    Args:
        records: of `read_records`, in the table's order.
        table: as `metarun compare` prints it.
        seeds: the same with a row for each seed; None if no configuration has several.
        maps: accuracy by way and shot.
        meanings: of the marks in `maps`.

    Returns:
        The page, and a message for each file that cannot be read.
    """
    settings, overall, skipped = settings_of(configurations(records))
    strips = Strips()
    examples = [_examples(setting, strips) for setting in settings[:WITH_EXAMPLES]]
    script = "".join(map(_shipped, SCRIPTS))
    rows = {id(record): row for row, group in enumerate(table.groups) for record in group}
    unlike = differing_environments([record for record in records if not is_set_row(record)])
    jinja = Environment(
        loader=PackageLoader("metarun.reporting.html", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = jinja.get_template("page.html.j2").render(
        figure=figure,
        numbers={id(record): number for number, record in enumerate(records)},
        rows=rows,
        identity=id,
        of_rows=of_rows,
        ignored=("defaults", *NOT_COMPARED),
        environments=[(*found, [rows[id(record)] for record in found[-1]]) for found in unlike],
        seeds=seeds,
        overall=overall,
        headlines=[(each.headline, each.headline_rows) for each in settings if each.headline][:HEADLINES],
        is_best=lambda cell: isinstance(cell, Best),
        table=table,
        settings=settings,
        examples=examples,
        heat_maps=heat_maps_of(maps),
        meanings=meanings,
        runs=[(record, _provenance(record)) for record in records],
        open=OPEN,
        version=__version__,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        style=Markup(_shipped("style.css")),  # noqa: S704, part of the package
        strips=strips.css(),
        script=Markup(script),  # noqa: S704, part of the package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page, skipped


def _shipped(name: str) -> str:
    return files("metarun.reporting.html").joinpath(name).read_text(encoding="utf-8")


def _examples(setting: Setting, strips: Strips) -> list[tuple[DrawnRun, list[ShownTask]]]:
    """The example tasks of each run of a setting that is drawn at first."""
    found = [
        (
            run,
            [
                *(shown(task, strips) for task in run.examples),
                *(ShownTask(charts=(draw_paths(task),), note=NOTE) for task in run.paths),
                *(ShownTask(charts=(draw_poses(task),), note=task.note) for task in run.poses),
            ],
        )
        for run in setting.runs[:DRAWN]
    ]
    return [each for each in found if each[1]]


def _provenance(record: Record) -> list[tuple[str, str]]:
    """The names and contents of a run's config and environment files."""
    run = RunDirectory(Path(record["path"]))
    return [(path.name, _text(path)) for path in (run.config, run.environment) if path.is_file()]


def _text(path: Path) -> str:
    with path.open("rb") as file:
        text = file.read(4 * MAX_FILE_LENGTH).decode("utf-8", errors="replace")
    return text if len(text) <= MAX_FILE_LENGTH else text[:MAX_FILE_LENGTH] + "\n…"

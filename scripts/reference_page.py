"""Write docs/reference.md and docs/reference.png from results/reference/, the protocols and docs' own text.

python scripts/reference_page.py            after `metarun reproduce NAME --keep`, or a change of a protocol
"""

import re
import sys
from pathlib import Path

from metarun.reporting.plots.style import write_figure
from metarun.reporting.plots.training import draw_training
from metarun.reporting.reference.experiments import Experiment, experiments, stored_runs
from metarun.reporting.reference.protocols import own_recipes, protocols
from metarun.reporting.reference.tables import PROTOCOL, RESULTS, curve, protocol_rows, result_rows
from metarun.reporting.tables.render import as_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
KEPT = ROOT / "results" / "reference"


def page(text: str) -> str:
    """Return the page with its generated parts replaced; the text between them is written by hand."""
    stored = stored_runs(KEPT)
    rows = result_rows([*experiments().values()], stored)
    left = [f"`{name}` ({_takes(each)})" for name, each in experiments().items() if each.seedless not in stored]
    parts = {
        "results": as_text(RESULTS, rows, [], "md").strip(),
        "found": "\n".join(f"- `{name}`: {each.found}" for name, each in experiments().items() if each.found),
        "missing": f"{', '.join(left)}.",
        "protocols": "\n\n".join(_protocols()),
        "own": as_text(
            ["recipe", "what it is"], [[f"`{name}`", what] for name, what in own_recipes().items()], [], "md"
        ).strip(),
    }
    for name, part in parts.items():
        text, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda m, part=part: f"{m[1]}\n{part}\n\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
        if not count:
            raise ValueError(f"{PAGE} has no part {name}")
    return text


def _takes(experiment: Experiment) -> str:
    return f"{experiment.hours:g} h" if experiment.trained_as is None else f"the weights of `{experiment.trained_as}`"


def draw() -> None:
    """Draw the curves of all kept runs."""
    stored = stored_runs(KEPT)
    panels = [
        (name, [found for run in stored[each.seedless] if (found := curve(run)).steps], each.figure)
        for name, each in experiments().items()
        if each.seedless in stored
    ]
    write_figure(PAGE.with_suffix(".png"), lambda: draw_training([panel for panel in panels if panel[1]]))


def _protocols() -> list[str]:
    found = []
    for name, each in protocols().items():
        table = as_text(
            PROTOCOL, [[f"`{row[0]}`" if "." in row[0] else row[0], *row[1:]] for row in protocol_rows(each)], [], "md"
        )
        found += [f"### {name}", f"`{each.compose}`. {each.paper}; {each.code}. Checked: {each.read}.", table.strip()]
    return found


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw()
    sys.exit(0)

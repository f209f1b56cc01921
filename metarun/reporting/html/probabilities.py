"""Tables of how good predicted probabilities are, and of the classes that are hard."""

from collections.abc import Sequence
from itertools import zip_longest
from statistics import fmean, stdev

from markupsafe import Markup

from metarun.reporting.configurations import Configuration, marked_name
from metarun.reporting.html.entries import Chart, of_rows
from metarun.reporting.html.run_files import DrawnRun
from metarun.results.records import Record

FIGURES = {"nll": ("NLL", 1, 3), "brier": ("Brier", 1, 3), "ece": ("ECE, %", 100, 1)}  # key → head, scale, digits
WORST = 10  # classes


def probability_table(found: Sequence[Configuration]) -> Chart | None:
    """Return the figures of each configuration; None if none has them, as in regression and in older rows."""
    rows = []
    for i, each in enumerate(found):
        runs = [record for record in each.runs if "brier" in record]
        if runs:
            cells = Markup("").join(Markup("<td>{}</td>").format(_text(runs, key)) for key in FIGURES)
            row = Markup('<tr {}><th scope="row">{}</th>{}</tr>')
            rows.append(row.format(of_rows([each.row], i), marked_name(each), cells))
    if not rows:
        return None
    return Chart(
        "Predicted probabilities",
        _table("Predicted probabilities", ["", *(name for name, *_ in FIGURES.values())], rows),
        "After the last step; lower is better. NLL in nats; Brier score over all classes, from 0 to 2; ECE over "
        "queries, 15 bins. ±: 95 % interval over meta-test tasks; for several seeds: the mean and the sd.",
    )


def _text(runs: Sequence[Record], key: str) -> str:
    _, scale, digits = FIGURES[key]
    text = f"{scale * fmean(record[key] for record in runs):.{digits}f}"
    if len(runs) > 1:
        return f"{text} sd {scale * stdev(record[key] for record in runs):.{digits}f}"
    half = runs[0].get(f"{key}_ci95")
    return text if half is None else f"{text} ± {scale * half:.{digits}f}"


def class_table(best: DrawnRun) -> Chart | None:
    """Return the pairs that a run mixes up and its worst classes, of its first seed; None: unknown."""
    if best.classes is None or not best.classes.mixed_up:
        return None
    mixed, worst = best.classes.mixed_up, best.classes.classes[:WORST]
    rows = []
    for pair, single in zip_longest(mixed, worst):
        cells = [*(pair[:2] if pair else ("", "")), f"{100 * pair[2]:.1f}" if pair else ""]
        cells += [single[0], f"{100 * single[1]:.1f}"] if single else ["", ""]
        written = Markup("").join(Markup("<td>{}</td>").format(each) for each in cells)
        rows.append(Markup("<tr {}>{}</tr>").format(of_rows([best.row]), written))
    return Chart(
        "Classes mixed up",
        _table("Classes mixed up", ["class", "taken for", "share, %", "worst class", "%"], rows),
        f"{best.name}, seed {best.record['seed']}, after the last step: the pairs most often mixed up, with the "
        "share of the class's queries in tasks that have both; and the classes with the lowest accuracy.",
    )


def _table(name: str, heads: Sequence[str], rows: Sequence[Markup]) -> Markup:
    cells = (Markup('<th scope="col">{}</th>').format(head) if head else Markup("<td></td>") for head in heads)
    return Markup(
        '<div class="cells" tabindex="0" role="region" aria-label="{}"><table class="pairs wraps">'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(name, Markup("").join(cells), Markup("").join(rows))

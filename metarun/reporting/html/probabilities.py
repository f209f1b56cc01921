"""The table of how good predicted probabilities are: NLL, Brier score and calibration error over queries."""

from collections.abc import Sequence
from statistics import fmean, stdev

from markupsafe import Markup

from metarun.reporting.configurations import Configuration, marked_name
from metarun.reporting.html.chart import Chart
from metarun.results.records import Record

FIGURES = {"nll": ("NLL", 1, 3), "brier": ("Brier", 1, 3), "ece": ("ECE, %", 100, 1)}  # key → head, scale, digits


def probability_table(found: Sequence[Configuration]) -> Chart | None:
    """Return the figures of each configuration; None if none has them, as in regression and in older rows."""
    rows = []
    for each in found:
        runs = [record for record in each.runs if "nll" in record]
        if runs:
            cells = Markup("").join(Markup("<td>{}</td>").format(_text(runs, key)) for key in FIGURES)
            rows.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(marked_name(each), cells))
    if not rows:
        return None
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name, *_ in FIGURES.values())
    return Chart(
        "Predicted probabilities",
        Markup(
            '<div class="cells" tabindex="0" role="region" aria-label="Predicted probabilities"><table class="pairs">'
            "<thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>"
        ).format(head, Markup("").join(rows)),
        "After the last step; lower is better. NLL in nats; Brier score over all classes, from 0 to 2; ECE over "
        "queries, 15 bins. ±: 95 % interval over meta-test tasks; of several seeds, the mean and the standard deviation (sd).",
    )


def _text(runs: Sequence[Record], key: str) -> str:
    _, scale, digits = FIGURES[key]
    text = f"{scale * fmean(record[key] for record in runs):.{digits}f}"
    if len(runs) > 1:
        return f"{text} sd {scale * stdev(record[key] for record in runs):.{digits}f}"
    half = runs[0].get(f"{key}_ci95")
    return text if half is None else f"{text} ± {scale * half:.{digits}f}"

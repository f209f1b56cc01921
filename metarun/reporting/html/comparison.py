"""Which configuration is better, by how much, and at what price: forest plots, paired tests, costs and ranks."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from metarun.reporting.configurations import (
    COSTS,
    Configuration,
    in_every_setting,
    marked_name,
    pareto_front,
)
from metarun.reporting.html.axes import BOTTOM, WIDTH, Frame, svg, widened
from metarun.reporting.html.chart import Chart
from metarun.reporting.html.charts import Series, line_chart
from metarun.reporting.interval_rows import RANKS, Row, forest_row, friedman_text, rank_rows
from metarun.reporting.pairwise import Outcome, Pairs

ROW = 36  # units of the height of a row
LONGEST = 44  # characters of a name above its row
RANKED = 8  # methods in a chart of ranks
SIGNS: dict[Outcome, str] = {"win": "↑", "tie": "≈", "loss": "↓"}

Compared = tuple[Sequence[Configuration], Pairs]


def compared_charts(found: Sequence[Configuration], pairs: Pairs) -> Iterator[Chart]:
    """Draw the charts that compare the configurations of a setting; none for a single one.

    Args:
        found: at most 8, the best first; their places are their colours.
        pairs: their comparisons.
    """
    if len(found) < 2:
        return
    metric = found[0].metric
    several = any(len(each.runs) > 1 for each in found)
    note = "Thick: 95 % interval over meta-test tasks, for these trainings (Student t)."
    if several:
        note += " Thin: for new tasks and new trainings, where there are several seeds (n)."
    yield Chart("Results", _forest([forest_row(each) for each in found], metric.axis), note)
    if pairs:
        yield _differences(found, pairs)
    for cost, meaning in COSTS.items():
        known = [(i, value) for i, each in enumerate(found) if (value := each.cost(cost))]
        if len({value for _, value in known}) > 1:
            yield _against_cost(found, known, meaning)


def _forest(rows: Sequence[Row], x_label: str, coloured: bool = True) -> Markup:
    ends = [end for row in rows for span in ((row.value, row.value), row.thick, row.thin) if span for end in span]
    frame = Frame(widened(min(ends), max(ends)), (0, 1), x_label, "", height=ROW * len(rows) + BOTTOM + 4, right=12)
    inside = list(frame.draw(y_axis=False))
    for i, row in enumerate(rows):
        colour, y = i if coloured else 0, ROW * i + 26
        name = row.label if len(row.label) <= LONGEST else row.label[: LONGEST - 1] + "…"
        inside.append(
            Markup('<text x="4" y="{}" class="name">{}<title>{}</title></text>').format(y - 12, name, row.label)
        )
        inside.append(
            Markup('<text x="{}" y="{}" class="tick" text-anchor="end">{}</text>').format(WIDTH - 4, y - 12, row.text)
        )
        for kind, span in (("thin", row.thin), ("thick", row.thick)):
            if span is not None:
                inside.append(
                    Markup('<path class="span {} c{}" d="M{:.1f} {}H{:.1f}"/>').format(
                        kind, colour, frame.px(span[0]), y, frame.px(span[1])
                    )
                )
        inside.append(
            Markup('<circle class="dot c{}" cx="{:.1f}" cy="{}" r="4"/>').format(colour, frame.px(row.value), y)
        )
    return svg(inside, frame.height, f"{x_label} of each method with its intervals")


def _differences(found: Sequence[Configuration], pairs: Pairs) -> Chart:
    metric = found[0].metric
    cells = {
        place: (
            pair.outcome,
            f"{metric.difference_text(pair.difference, pair.half)} {SIGNS[pair.outcome]}",
        )
        for place, pair in pairs.items()
    }
    over = {pair.over_seeds for pair in pairs.values()}
    basis = "over tasks, and over seeds where both have several"
    if len(over) == 1:
        basis = "over tasks and seeds" if over.pop() else "over tasks, for these trainings"
    note = (
        f"Row minus column, by paired tests {basis}; ↑ better, ≈ cannot tell, ↓ worse at 0.05. Interval and test are "
        "corrected for all pairs (Holm)."
    )
    return Chart("Differences", _matrix([marked_name(each) for each in found], cells), note)


def _matrix(names: Sequence[str], cells: Mapping[tuple[int, int], tuple[str, str]]) -> Markup:
    """Return a table of pairs: by place the class of the cell and its text."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(i + 1) for i in range(len(names)))
    rows = []
    for i, name in enumerate(names):
        row = [Markup('<th scope="row">{}&#160;{}</th>').format(i + 1, name)]
        for j in range(len(names)):
            kind, text = cells.get((i, j), ("", "·" if i == j else "–"))
            row.append(Markup('<td class="{}">{}</td>').format(kind, text))
        rows.append(Markup("<tr>{}</tr>").format(Markup("").join(row)))
    return Markup(
        '<div class="cells" tabindex="0" role="region" aria-label="Pairs of methods"><table class="pairs">'
        "<thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(head, Markup("").join(rows))


def _against_cost(found: Sequence[Configuration], known: Sequence[tuple[int, float]], meaning: str) -> Chart:
    metric = found[0].metric
    series = []
    for i, cost in known:
        each = found[i]
        half = each.halves[0] if each.halves[1] is None else each.halves[1]
        halves = None if half is None else [metric.scale * half]
        series.append(Series(marked_name(each), i, [cost], [metric.scale * each.mean], halves))
    front = [known[i] for i in pareto_front([(cost, metric.score(found[i].mean)) for i, cost in known])]
    points = [(cost, metric.scale * found[i].mean) for i, cost in front]
    drawing = line_chart(series, meaning, metric.axis, from_zero=True, steps=points)
    return Chart(
        f"{metric.key.capitalize() if metric.key == 'accuracy' else 'Error'} against {meaning}",
        drawing,
        "Dashed: the Pareto front; no other configuration is as cheap and as good.",
    )


def charts_over_settings(groups: Sequence[Sequence[Configuration]], compared: Sequence[Compared]) -> Iterator[Chart]:
    """Draw ranks over settings, and how often each configuration wins, ties and loses; none for a single setting.

    Args:
        groups: the configurations of each setting.
        compared: those that were compared, with their comparisons, of each setting.
    """
    if len(groups) < 2:
        return
    names, scores = in_every_setting(groups)
    if len(names) > 1:
        from metarun.reporting.ranks import rank_methods  # takes a second to import

        ranks = rank_methods(scores)
        note = f"{len(groups)} settings; {friedman_text(ranks)}. {RANKS}"
        left_out = len(names) - RANKED
        note += f" The best {RANKED} of {len(names)} methods are shown." if left_out > 0 else ""
        rows = rank_rows(names, ranks)[:RANKED]
        yield Chart("Ranks over settings", _forest(rows, "average rank (1: best)", coloured=False), note)
    counts = _counted(compared)
    if counts:
        ordered = sorted({name for pair in counts for name in pair}, key=lambda name: -_balance(counts, name))[:RANKED]
        cells = {
            (i, j): (_leading(counts[one, other]), "/".join(map(str, counts[one, other].values())))
            for i, one in enumerate(ordered)
            for j, other in enumerate(ordered)
            if (one, other) in counts
        }
        yield Chart(
            "Wins, ties and losses",
            _matrix(ordered, cells),
            "In how many settings the row is better than the column, not distinguishable from it, and worse; by the "
            "paired tests of each setting (Holm, 0.05).",
        )


Counts = dict[tuple[str, str], dict[Outcome, int]]


def _counted(compared: Sequence[Compared]) -> Counts:
    counts: Counts = {}
    for found, pairs in compared:
        for (i, j), pair in pairs.items():
            cell = counts.setdefault((found[i].name, found[j].name), {"win": 0, "tie": 0, "loss": 0})
            cell[pair.outcome] += 1
    return counts


def _balance(counts: Counts, name: str) -> int:
    return sum(cell["win"] - cell["loss"] for (one, _), cell in counts.items() if one == name)


def _leading(cell: dict[Outcome, int]) -> Outcome:
    return "tie" if cell["win"] == cell["loss"] else "win" if cell["win"] > cell["loss"] else "loss"

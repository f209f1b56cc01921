"""Which configuration is better, by how much, and at what price: forest plots, paired tests, costs and ranks."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from metarun.reporting.configurations import COSTS, Configuration, in_every_setting, marked_name, on_the_front
from metarun.reporting.html.axes import BOTTOM, WIDTH, Frame, widened
from metarun.reporting.html.charts import Series, line_chart, stacked
from metarun.reporting.html.entries import DRAWN, Chart, Rows, of_rows
from metarun.reporting.interval_rows import RANKS, Row, forest_row, friedman_text, rank_rows
from metarun.reporting.pairwise import Outcome, Pairs
from metarun.results.metrics import MSE

ROW = 36  # units of the height of a row
COLUMN_OF = {"train_seconds": "trained", "adapt_ms": "ms/task"}  # the columns of the table with the costs
LONGEST = 44  # characters of a name above its row
SIGNS: dict[Outcome, str] = {"win": "↑", "tie": "≈", "loss": "↓"}

Compared = tuple[Sequence[Configuration], Pairs]


def compared_charts(found: Sequence[Configuration], pairs: Pairs) -> Iterator[Chart]:
    """Draw the charts that compare the configurations of a setting; none for a single one.

    Args:
        found: the best first; their places are their colours.
        pairs: comparisons of the first 8.
    """
    if len(found) < 2:
        return
    metric = found[0].metric
    several = any(len(each.runs) > 1 for each in found)
    note = "Thick: 95 % interval over meta-test tasks, for these trainings (Student t)."
    if several:
        note += " Thin: for new tasks and new trainings, where there are several seeds (n)."
    rows = [([each.row], i, forest_row(each)) for i, each in enumerate(found)]
    yield Chart("Results", _forest(rows, metric.axis), note)
    if pairs:
        yield _differences(found[:DRAWN], pairs)
    for cost, meaning in COSTS.items():
        known = [(i, value) for i, each in enumerate(found) if (value := each.cost(cost))]
        if len({value for _, value in known}) > 1:
            yield _against_cost(found, known, meaning, COLUMN_OF.get(cost))


def _forest(rows: Sequence[tuple[Sequence[int], int, Row]], x_label: str) -> Markup:
    """Draw a value with its intervals on each line, given the rows of the table and the place of each."""
    shown = [row for _, _, row in rows]
    ends = [end for row in shown for span in ((row.value, row.value), row.thick, row.thin) if span for end in span]
    frame = Frame(widened(min(ends), max(ends)), (0, 1), x_label, "", height=ROW + BOTTOM + 4, right=12)
    lines = [(of, place, list(_forest_line(frame, row))) for of, place, row in rows]
    return stacked(lines, frame, ROW, f"{x_label} of each method with its intervals")


def _forest_line(frame: Frame, row: Row) -> Iterator[Markup]:
    y = 26
    name = row.label if len(row.label) <= LONGEST else row.label[: LONGEST - 1] + "…"
    yield Markup('<text x="4" y="{}" class="name">{}<title>{}</title></text>').format(y - 12, name, row.label)
    yield Markup('<text x="{}" y="{}" class="tick" text-anchor="end">{}</text>').format(WIDTH - 4, y - 12, row.text)
    for kind, span in (("thin", row.thin), ("thick", row.thick)):
        if span is not None:
            yield Markup('<path class="span {}" d="M{:.1f} {}H{:.1f}"/>').format(
                kind, frame.px(span[0]), y, frame.px(span[1])
            )
    yield Markup('<circle class="dot" cx="{:.1f}" cy="{}" r="4"/>').format(frame.px(row.value), y)


def _differences(found: Sequence[Configuration], pairs: Pairs) -> Chart:
    metric = found[0].metric
    cells = {
        place: (pair.outcome, f"{metric.difference_text(pair.difference, pair.half)} {SIGNS[pair.outcome]}")
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
    named = [(marked_name(each), [each.row]) for each in found]
    return Chart("Differences", _matrix(named, cells), note)


def _matrix(named: Sequence[tuple[str, Rows]], cells: Mapping[tuple[int, int], tuple[str, str]]) -> Markup:
    """Return a table of pairs: names with their rows of the main table; by place the class of a cell and its text."""
    of = [of_rows(rows) for _, rows in named]
    head = Markup("").join(Markup('<th scope="col" {}>{}</th>').format(own, i + 1) for i, own in enumerate(of))
    rows = []
    for i, (name, _) in enumerate(named):
        row = [Markup('<th scope="row">{}&#160;{}</th>').format(i + 1, name)]
        for j, own in enumerate(of):
            kind, text = cells.get((i, j), ("", "·" if i == j else "–"))
            row.append(Markup('<td class="{}" {}>{}</td>').format(kind, own, text))
        rows.append(Markup("<tr {}>{}</tr>").format(of[i], Markup("").join(row)))
    return Markup(
        '<div class="cells" tabindex="0" role="region" aria-label="Pairs of methods"><table class="pairs">'
        "<thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(head, Markup("").join(rows))


def _against_cost(
    found: Sequence[Configuration], known: Sequence[tuple[int, float]], meaning: str, column: str | None
) -> Chart:
    metric = found[0].metric
    series = []
    for i, cost in known:
        each = found[i]
        half = each.halves[0] if each.halves[1] is None else each.halves[1]
        halves = None if half is None else [metric.scale * half]
        series.append(Series(marked_name(each), each.row, i, [cost], [metric.scale * each.mean], halves))
    front = [known[i] for i in on_the_front([(found[i], cost) for i, cost in known])]
    points = [(cost, metric.scale * found[i].mean) for i, cost in front]
    drawing = line_chart(series, meaning, metric.axis, from_zero=True, steps=points)
    return Chart(
        f"{'Error' if metric is MSE else metric.key.capitalize()} against {meaning}",
        drawing,
        "Dashed: the Pareto front; no other configuration is as cheap and as good.",
        column,
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
        note += f" The best {DRAWN} of {len(names)} methods are shown." if len(names) > DRAWN else ""
        places = _rows_by_name(groups)
        rows = [(places[row.label], 0, row) for row in rank_rows(names, ranks)[:DRAWN]]
        yield Chart("Ranks over settings", _forest(rows, "average rank (1: best)"), note)
    counts = _counted(compared)
    if counts:
        ordered = sorted({name for pair in counts for name in pair}, key=lambda name: -_balance(counts, name))[:DRAWN]
        cells = {
            (i, j): (_leading(counts[one, other]), "/".join(map(str, counts[one, other].values())))
            for i, one in enumerate(ordered)
            for j, other in enumerate(ordered)
            if (one, other) in counts
        }
        yield Chart(
            "Wins, ties and losses",
            _matrix([(name, _rows_by_name(groups)[name]) for name in ordered], cells),
            "The number of settings in which the row is better than the column, indistinguishable from it, and worse, "
            "by the paired tests of each setting (Holm, 0.05).",
        )


def _rows_by_name(groups: Sequence[Sequence[Configuration]]) -> dict[str, list[int]]:
    """Return the rows of the table that the configurations of each name have, over all settings."""
    rows: dict[str, list[int]] = {}
    for each in (each for group in groups for each in group):
        rows.setdefault(each.name, []).append(each.row)
    return rows


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

"""Charts as inline SVG; colours are CSS variables, so that a page can be light or dark.

All text goes through `Markup.format`, which escapes it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from metarun.reporting.html.axes import BOTTOM, LEFT, RIGHT, TOP, Frame, Range, evenly, svg, widened, within
from metarun.reporting.html.entries import DRAWN, entry
from metarun.reporting.label_placement import spread

LABEL_HEIGHT = 13
KEY_HEIGHT = 15
LABEL_LENGTH = 15  # characters that fit to the right of a chart
POINTS = 80  # per line, at most


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Args:
        label: written at the line's end.
        row: of the table.
        place: among the configurations of the setting; its colour.
        x, y: (points,) finite.
        half: (points,) half-width of the interval around each y; None: no band.
        dots: (points,) radius of each dot, for `scatter`.
    """

    label: str
    row: int
    place: int
    x: Sequence[float]
    y: Sequence[float]
    half: Sequence[float] | None = None
    dots: Sequence[float] | None = None


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    limits: Range = (-math.inf, math.inf),
    reference: tuple[str, float] | None = None,
    from_zero: bool = False,
    steps: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Draw lines with their bands.

    Args:
        series: at least one, none of them empty.
        x_label: of the x-axis, with its unit.
        y_label: of the y-axis, with its unit.
        limits: smallest and largest possible y.
        reference: a horizontal reference line: its name and its level.
        from_zero: whether the x-axis starts at 0.
        steps: points that a dashed staircase joins, from left to right.
    """
    lows = [y - half for each in series for y, half in zip(each.y, each.half or [0.0] * len(each.y), strict=True)]
    highs = [y + half for each in series for y, half in zip(each.y, each.half or [0.0] * len(each.y), strict=True)]
    levels = [] if reference is None else [reference[1]]
    xs = [x for each in series for x in each.x]
    frame = Frame(
        widened(0.0 if from_zero else min(xs), max(xs), 0.0),
        within(widened(min(lows + levels), max(highs + levels)), limits),
        x_label,
        y_label,
    )
    inside = list(frame.draw())
    if steps:
        (x, y), *rest = [(frame.px(x), frame.py(y)) for x, y in steps]
        path = f"M{x:.1f} {y:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest) + f"H{frame.end}"
        inside.append(Markup('<path class="reference front" d="{}"/>').format(path))
    short = shortened(each.label for each in series)
    ends = [frame.py(each.y[-1]) for each in series]
    level = None if reference is None else frame.py(reference[1])
    places = _label_places(frame, series, ends, level)
    if reference is not None and level is not None:
        line = Markup('<path class="reference" d="M{} {:.1f}H{}"/>').format(LEFT, level, frame.end)
        label = _label(frame.end + 8, places[-1] + 3.5, reference[0], "level", {}, level)
        inside.append(Markup('<g class="floor">{}{}</g>').format(line, label))
    for each, end, place in zip(series, ends, places, strict=False):
        leader = Markup('<path class="leader" d="M{:.1f} {:.1f}H{}L{} {:.1f}"/>').format(
            frame.px(each.x[-1]), end, frame.end, frame.end + 6, place
        )
        label = _label(frame.end + 8, place + 3.5, each.label, "label", short, end)
        inside.append(entry([each.row], each.place, [*_band_and_line(frame, each), leader, label]))
    moves = {"labels": f"{TOP} {frame.bottom:g} {LABEL_HEIGHT}"}
    return svg(inside, frame.height, f"{y_label} against {x_label}", moves)


def _label_places(frame: Frame, series: Sequence[Series], ends: Sequence[float], level: float | None) -> list[float]:
    """Return the y position of each label and, last, that of the reference: near the ends of the lines, apart."""
    wanted = [*ends, *([] if level is None else [level])]
    shown = [i for i in range(len(wanted)) if i >= len(series) or series[i].place < DRAWN]
    shown.sort(key=lambda i: wanted[i])
    apart = spread([wanted[i] for i in shown], LABEL_HEIGHT, TOP, frame.bottom)
    places = dict(zip(shown, apart, strict=True))
    return [places.get(i, wanted[i]) for i in range(len(wanted))]


def scatter(series: Sequence[Series], x_label: str, y_label: str) -> Markup:
    """Draw dots of the sizes `dots` and the ideal diagonal; both axes are in percent."""
    low = min(value for each in series for value in (*each.x, *each.y))
    square = (max(0.0, 10 * math.floor(low / 10 - 0.3)), 100.0)
    frame = Frame(square, square, x_label, y_label, right=RIGHT + 20)  # labels start with a dot and a number
    corners = (frame.px(square[0]), frame.py(square[0]), frame.px(100), frame.py(100))
    inside = [*frame.draw(), Markup('<path class="reference" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(*corners)]
    short = shortened(each.label for each in series)
    for i, each in enumerate(series):
        dots = [
            dot(frame, x, y, radius)
            for x, y, radius in zip(each.x, each.y, each.dots or [3.0] * len(each.x), strict=True)
        ]
        key = Markup('<g class="key" transform="translate(0 {})"><circle class="dot" cx="{}" cy="{}" r="4"/>{}</g>')
        label = _label(frame.end + 18, TOP + 3.5, each.label, "label", short)
        inside.append(entry([each.row], each.place, [*dots, key.format(i * KEY_HEIGHT, frame.end + 11, TOP, label)]))
    return svg(inside, frame.height, f"{y_label} against {x_label}", {"keys": str(KEY_HEIGHT)})


def dot(frame: Frame, x: float, y: float, radius: float) -> Markup:
    """Draw a dot in the colour of its group."""
    return Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(frame.px(x), frame.py(y), radius)


@dataclass(frozen=True)
class Histogram:
    """One row of a distribution chart.

    Args:
        label: the run.
        note: a second, smaller line below it.
        row: like the next, as in `Series`.
        place: its colour.
        counts: (bins,) the count of each bin.
        marked: (bins,) the highlighted part of each count.
        mean: of all values.
    """

    label: str
    note: str
    row: int
    place: int
    counts: Sequence[int]
    marked: Sequence[int]
    mean: float


def histograms(rows: Sequence[Histogram], edges: Sequence[float], x_label: str) -> Markup:
    """Draw histograms over the same bins below each other; the marked part of a bar is solid, a tick is the mean.

    Args:
        rows: at least one.
        edges: (bins + 1,) of the bins.
        x_label: of the values, with their unit.
    """
    step = 36
    frame = Frame((edges[0], edges[-1]), (0, 1), x_label, "tasks", height=TOP - 8 + step + BOTTOM)
    base, short = frame.bottom, shortened(each.label for each in rows)
    lines = []
    for each in rows:
        unit = (step - 8) / max(each.counts)
        parts = [Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, base, frame.end)]
        for kind, counts in {"bar": each.counts, "bar marked": each.marked}.items():
            path = "".join(
                f"M{frame.px(low):.1f} {base}v{-count * unit:.1f}H{frame.px(high) - 0.7:.1f}V{base}z"
                for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
                if count
            )
            parts.append(Markup('<path class="{}" d="{}"/>').format(kind, path))
        parts.append(Markup('<path class="mean" d="M{:.1f} {}v-{}"/>').format(frame.px(each.mean), base + 3, step - 5))
        parts.append(_label(frame.end + 8, base - 14, each.label, "label", short))
        parts.append(Markup('<text class="tick" x="{}" y="{}">{}</text>').format(frame.end + 8, base - 2, each.note))
        lines.append(([each.row], each.place, parts))
    return stacked(lines, frame, step, f"distribution over tasks of {x_label}")


def stacked(lines: Sequence[tuple[Sequence[int], int, Sequence[Markup]]], frame: Frame, step: int, name: str) -> Markup:
    """Draw a line for each configuration, one below the other, and the x-axis below the last.

    Args:
        lines: rows of the table, the place, and the parts, drawn where the first line is.
        frame: of a chart with a single line.
        step: from one line to the next.
        name: for screen readers.
    """
    shown = sum(place < DRAWN for _, place, _ in lines)
    extra = step * (shown - 1)
    axis = Markup('<g class="below" transform="translate(0 {})">{}</g>').format(extra, Markup("").join(frame.draw_x()))
    inside = [frame.draw_y_label(), axis]
    inside += [entry(rows, place, parts, step * i) for i, (rows, place, parts) in enumerate(lines)]
    return svg(inside, frame.height + extra, name, {"stack": f"{step} {frame.height:g}"})


def _band_and_line(frame: Frame, series: Series) -> Iterator[Markup]:
    kept = evenly(len(series.x), POINTS)
    points = [(series.x[i], series.y[i]) for i in kept]
    if series.half is not None:
        upper = [(series.x[i], series.y[i] + series.half[i]) for i in kept]
        lower = [(series.x[i], series.y[i] - series.half[i]) for i in reversed(kept)]
        # A band around a single point is a line; it is visible because bands have a stroke.
        yield Markup('<path class="band" d="{}z"/>').format(path_through(frame, upper + lower))
    if len(points) > 1:
        yield Markup('<path class="line" d="{}"/>').format(path_through(frame, points))
    else:
        yield dot(frame, *points[0], 3.5)


def path_through(frame: Frame, points: Sequence[tuple[float, float]]) -> str:
    """Return the path of a line through points."""
    return "M" + "L".join(f"{frame.px(x):.1f} {frame.py(y):.1f}" for x, y in points)


def shortened(labels: Iterable[str]) -> dict[str, str]:
    """Shorten labels that are too long to their first characters, or to the last ones where the first are the same."""
    long = [label for label in dict.fromkeys(labels) if len(label) > LABEL_LENGTH]
    first = {label: label[: LABEL_LENGTH - 1] + "…" for label in long}
    count = Counter(first.values())
    return {label: own if count[own] == 1 else "…" + label[1 - LABEL_LENGTH :].lstrip() for label, own in first.items()}


def _label(x: float, y: float, text: str, kind: str, short: Mapping[str, str], wanted: float | None = None) -> Markup:
    """Write a label; `wanted` is where the line ends that it belongs to, and the script moves it near."""
    end = Markup("") if wanted is None else Markup(' data-y="{:.1f}"').format(wanted)
    return Markup('<text class="{}" x="{}" y="{:.1f}"{}>{}<title>{}</title></text>').format(
        kind, x, y, end, short.get(text, text), text
    )

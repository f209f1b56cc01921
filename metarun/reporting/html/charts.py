"""Charts as inline SVG; colours are CSS variables, so that a page can be light or dark.

All text goes through `Markup.format`, which escapes it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from metarun.reporting.html.axes import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    Range,
    evenly,
    svg,
    widened,
    within,
)
from metarun.reporting.label_placement import spread
from metarun.system.ranges import ends

LABEL_HEIGHT = 13
LABEL_LENGTH = 15  # characters that fit to the right of a chart
POINTS = 80  # per line, at most

Label = tuple[str, int | None, Range]  # text, colour if any, and the end of its line


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Args:
        label: written at the line's end.
        colour: a number from 0 to 7 (`--c0` … `--c7` in style.css).
        x, y: (points,) finite.
        half: (points,) half-width of the interval around each y; None: no band.
        dots: (points,) radius of each dot, for `scatter`.
    """

    label: str
    colour: int
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
    labels: list[Label] = []
    if reference is not None:
        name, level = reference
        inside.append(Markup('<path class="reference" d="M{} {:.1f}H{}"/>').format(LEFT, frame.py(level), frame.end))
        labels.append((name, None, (frame.end, frame.py(level))))
    if steps:
        (x, y), *rest = [(frame.px(x), frame.py(y)) for x, y in steps]
        path = f"M{x:.1f} {y:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest) + f"H{frame.end}"
        inside.append(Markup('<path class="reference" d="{}"/>').format(path))
    for each in series:
        inside += _band_and_line(frame, each)
        labels.append((each.label, each.colour, (frame.px(each.x[-1]), frame.py(each.y[-1]))))
    return svg([*inside, *_end_labels(frame, labels)], frame.height, f"{y_label} against {x_label}")


def scatter(series: Sequence[Series], x_label: str, y_label: str) -> Markup:
    """Draw dots of the sizes `dots` and the ideal diagonal; both axes are in percent."""
    low = min(value for each in series for value in (*each.x, *each.y))
    square = (max(0.0, 10 * math.floor(low / 10 - 0.3)), 100.0)
    frame = Frame(square, square, x_label, y_label, right=RIGHT + 20)  # labels start with a dot and a number
    corners = (frame.px(square[0]), frame.py(square[0]), frame.px(100), frame.py(100))
    inside = [*frame.draw(), Markup('<path class="reference" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(*corners)]
    for i, each in enumerate(series):
        for x, y, radius in zip(each.x, each.y, each.dots or [3.0] * len(each.x), strict=True):
            inside.append(_dot(frame, x, y, radius, each.colour))
        place = TOP + 3.5 + i * (LABEL_HEIGHT + 2)
        inside.append(
            Markup('<circle class="dot c{}" cx="{}" cy="{}" r="4"/>').format(each.colour, frame.end + 11, place - 3.5)
        )
        inside.append(_label(frame.end + 18, place, each.label, each.colour))
    return svg(inside, frame.height, f"{y_label} against {x_label}")


def _dot(frame: Frame, x: float, y: float, radius: float, colour: int) -> Markup:
    return Markup('<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(
        colour, frame.px(x), frame.py(y), radius
    )


@dataclass(frozen=True)
class Histogram:
    """One row of a distribution chart.

    Args:
        label: the run.
        note: a second, smaller line below it.
        colour: as in `Series`.
        counts: (bins,) the count of each bin.
        marked: (bins,) the highlighted part of each count.
        mean: of all values.
    """

    label: str
    note: str
    colour: int
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
    row = 36
    frame = Frame((edges[0], edges[-1]), (0, 1), x_label, "tasks", height=TOP - 8 + row * len(rows) + BOTTOM)
    inside = list(frame.draw(y_axis=False))
    for i, each in enumerate(rows):
        base, unit = TOP - 8 + row * (i + 1), (row - 8) / max(each.counts)
        bars = {"bar": each.counts, "bar marked": each.marked}
        inside.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, base, frame.end))
        for kind, counts in bars.items():
            path = "".join(
                f"M{frame.px(low):.1f} {base}v{-count * unit:.1f}H{frame.px(high) - 0.7:.1f}V{base}z"
                for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
                if count
            )
            inside.append(Markup('<path class="{} c{}" d="{}"/>').format(kind, each.colour, path))
        inside.append(Markup('<path class="mean" d="M{:.1f} {}v-{}"/>').format(frame.px(each.mean), base + 3, row - 5))
        inside.append(_label(frame.end + 8, base - 14, each.label, each.colour))
        inside.append(Markup('<text class="tick" x="{}" y="{}">{}</text>').format(frame.end + 8, base - 2, each.note))
    return svg(inside, frame.height, f"distribution over tasks of {x_label}")


def heat_map(cells: Mapping[tuple[int | str, int | str], tuple[float, Sequence[str]]], colours: Range) -> Markup:
    """Draw a heat map with one row per way and one column per shot.

    Args:
        cells: (way, shot) → accuracy in percent, and its lines of text; all but the first are small.
        colours: the accuracies of the palest and the strongest colour.
    """
    ways, shots = (sorted({key[i] for key in cells}, key=ends) for i in (0, 1))
    lines = max(len(texts) for _, texts in cells.values())
    width, height = min(72.0, (WIDTH - LEFT) / len(shots)), 16 + 13 * lines
    inside = [Markup('<text class="unit" x="0" y="11">way ↓ &#160; shot →</text>')]
    for column, shot in enumerate(shots):
        inside.append(
            Markup('<text class="tick" x="{:.1f}" y="28" text-anchor="middle">{}</text>').format(
                LEFT + (column + 0.5) * width, shot
            )
        )
    for row, way in enumerate(ways):
        top = 34 + row * height
        inside.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(LEFT - 8, top + 24, way)
        )
        for column, shot in enumerate(shots):
            if (way, shot) in cells:
                inside.append(_cell(LEFT + column * width, top, width - 3, height - 3, *cells[way, shot], colours))
    return svg(inside, 34 + height * len(ways), "accuracy by way and shot")


def _cell(
    x: float, y: float, width: float, height: float, value: float, texts: Sequence[str], colours: Range
) -> Markup:
    low, high = widened(*colours, 0.0)
    strength = 0.12 + 0.83 * (value - low) / (high - low)
    inside = [
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3" style="opacity:{:.2f}"/>').format(
            x, y, width, height, strength
        )
    ]
    for line, text in enumerate(texts):
        inside.append(
            Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                Markup(' class="small"') if line else "", x + width / 2, y + 18 + 13 * line, text
            )
        )
    return Markup('<g class="cell{}">{}</g>').format(" strong" if strength > 0.6 else "", Markup("").join(inside))


def wave(
    support: Sequence[tuple[float, float]],
    truth: Sequence[tuple[float, float]],
    predicted: Sequence[tuple[float, float]],
) -> Markup:
    """Draw a regression task: the support points, the function, and the predictions."""
    frame = _frame_of_points([*support, *truth, *predicted], "x", "y")
    inside = list(frame.draw())
    for kind, points in {"wave truth": truth, "wave predicted c0": predicted}.items():
        inside.append(Markup('<path class="{}" d="{}"/>').format(kind, _path(frame, sorted(points))))
    for x, y in predicted:
        inside.append(_dot(frame, x, y, 2.0, 0))
    inside += [_circle(frame, "seen", x, y) for x, y in support]
    return svg(inside, frame.height, "support points, the function, and the predictions")


def predicted_rows(
    support: Sequence[tuple[float, float]],
    truth: Sequence[tuple[float, float]],
    predicted: Sequence[tuple[float, float]],
    x_label: str,
    y_label: str,
) -> Markup:
    """Draw a regression task of rows with several inputs, of which x is one: each query beside its prediction."""
    frame = _frame_of_points([*support, *truth, *predicted], x_label, y_label)
    inside = list(frame.draw())
    for (x, y), (_, guess) in zip(truth, predicted, strict=True):
        place = frame.px(x), frame.py(y), frame.py(guess)
        inside.append(Markup('<path class="error" d="M{:.1f} {:.1f}V{:.1f}"/>').format(*place))
    inside += [_circle(frame, "true", x, y) for x, y in truth]
    inside += [_dot(frame, x, y, 3.0, 0) for x, y in predicted]
    inside += [_circle(frame, "seen", x, y) for x, y in support]
    return svg(inside, frame.height, f"{y_label} by {x_label}: support rows, queries, and their predictions")


def _frame_of_points(points: Sequence[tuple[float, float]], x_label: str, y_label: str) -> Frame:
    xs, ys = zip(*points, strict=True)
    return Frame(widened(min(xs), max(xs), 0.02), widened(min(ys), max(ys)), x_label, y_label, height=190, right=8)


def _circle(frame: Frame, kind: str, x: float, y: float) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(kind, frame.px(x), frame.py(y))


def _band_and_line(frame: Frame, series: Series) -> Iterator[Markup]:
    kept = evenly(len(series.x), POINTS)
    points = [(series.x[i], series.y[i]) for i in kept]
    if series.half is not None:
        upper = [(series.x[i], series.y[i] + series.half[i]) for i in kept]
        lower = [(series.x[i], series.y[i] - series.half[i]) for i in reversed(kept)]
        # A band around a single point is a line; it is visible because bands have a stroke.
        yield Markup('<path class="band c{}" d="{}z"/>').format(series.colour, _path(frame, upper + lower))
    if len(points) > 1:
        yield Markup('<path class="line c{}" d="{}"/>').format(series.colour, _path(frame, points))
    else:
        yield _dot(frame, *points[0], 3.5, series.colour)


def _path(frame: Frame, points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{frame.px(x):.1f} {frame.py(y):.1f}" for x, y in points)


def _end_labels(frame: Frame, labels: list[Label]) -> Iterator[Markup]:
    """Write each label to the right, as close to the end of its line as possible, with a leader line."""
    labels = sorted(labels, key=lambda label: label[2][1])
    places = spread([place[1] for *_, place in labels], LABEL_HEIGHT, TOP, frame.bottom)
    for (text, colour, (x, y)), place in zip(labels, places, strict=True):
        if colour is not None:
            yield Markup('<path class="leader c{}" d="M{:.1f} {:.1f}H{}L{} {:.1f}"/>').format(
                colour, x, y, frame.end, frame.end + 6, place
            )
        yield _label(frame.end + 8, place + 3.5, text, colour)


def _label(x: float, y: float, text: str, colour: int | None) -> Markup:
    shown = text if len(text) <= LABEL_LENGTH else text[: LABEL_LENGTH - 1] + "…"
    kind = "level" if colour is None else f"label c{colour}"
    return Markup('<text class="{}" x="{}" y="{:.1f}">{}<title>{}</title></text>').format(kind, x, y, shown, text)

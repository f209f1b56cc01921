"""Charts of regression tasks as inline SVG.

All text goes through `Markup.format`, which escapes it.
"""

from collections.abc import Sequence

from markupsafe import Markup

from metarun.reporting.html.axes import Frame, svg, widened
from metarun.reporting.html.charts import dot, path_through


def wave(
    support: Sequence[tuple[float, float]],
    truth: Sequence[tuple[float, float]],
    predicted: Sequence[tuple[float, float]],
) -> Markup:
    """Draw a regression task: the support points, the function, and the predictions."""
    frame = _frame_of_points([*support, *truth, *predicted], "x", "y")
    inside = list(frame.draw())
    for kind, points in {"wave truth": truth, "wave predicted": predicted}.items():
        inside.append(Markup('<path class="{}" d="{}"/>').format(kind, path_through(frame, sorted(points))))
    for x, y in predicted:
        inside.append(dot(frame, x, y, 2.0))
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
    inside += [dot(frame, x, y, 3.0) for x, y in predicted]
    inside += [_circle(frame, "seen", x, y) for x, y in support]
    return svg(inside, frame.height, f"{y_label} by {x_label}: support rows, queries, and their predictions")


def _frame_of_points(points: Sequence[tuple[float, float]], x_label: str, y_label: str) -> Frame:
    xs, ys = zip(*points, strict=True)
    return Frame(widened(min(xs), max(xs), 0.02), widened(min(ys), max(ys)), x_label, y_label, height=190, right=8)


def _circle(frame: Frame, kind: str, x: float, y: float) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(kind, frame.px(x), frame.py(y))

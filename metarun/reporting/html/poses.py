"""A robot as inline SVG: a row for the policy before adaptation and after each step."""

import math
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from metarun.reporting.html.axes import WIDTH, svg
from metarun.results.robot_poses import RobotPoses

GAP, HEAD = 4, 16  # units between rows, and above each for a title
PALEST = 0.2  # opacity of the first frame


def draw_poses(task: RobotPoses) -> Markup:
    """Draw the rows of a task below each other, on one scale."""
    left, right, low, high = task.bounds
    tall = WIDTH * (high - low) / (right - left)
    inside: list[Markup] = []
    for step in range(len(task.lines)):
        inside += _row(task, step, step * (HEAD + tall + GAP) + HEAD, tall)
    return svg(inside, len(task.lines) * (HEAD + tall + GAP), f"a robot that should {task.goal}")


def _row(task: RobotPoses, step: int, top: float, tall: float) -> Iterator[Markup]:
    left, right, low, high = task.bounds
    title = f"{task.goal}: before" if step == 0 else f"after {step} step{'s' if step > 1 else ''}"
    yield Markup('<text class="unit" x="0" y="{:.1f}">{}</text>').format(top - 5, title)
    yield Markup('<rect class="pane" x="0" y="{:.1f}" width="{}" height="{:.1f}"/>').format(top, WIDTH, tall)

    def place(x: float, y: float) -> str:
        return f"{(x - left) / (right - left) * WIDTH:.1f} {top + (high - y) / (high - low) * tall:.1f}"

    floor = low if task.from_above else 0.0
    for metre in range(math.ceil(left), int(right) + 1):
        end = high if metre == 0 else floor + 0.06 * (high - low)
        yield Markup('<path class="grid" d="M{}L{}"/>').format(place(metre, floor), place(metre, end))
    if not task.from_above:
        yield Markup('<path class="grid" d="M{}L{}"/>').format(place(left, 0), place(right, 0))
    for opacity, body in zip(np.linspace(PALEST, 1, len(task.seconds)), task.lines[step], strict=True):
        if np.isfinite(body).all():
            limbs = "".join(f"M{place(*start)}L{place(*end)}" for start, end in body.tolist())
            yield Markup('<path class="robot" opacity="{:.2f}" d="{}"/>').format(opacity, limbs)

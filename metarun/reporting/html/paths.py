"""Trajectories in the plane as inline SVG: a panel for the policy before adaptation and after each step."""

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from metarun.reporting.html.axes import WIDTH, svg
from metarun.results.plane_paths import PlanePaths

GAP, HEAD = 6, 16  # units between panels, and above them for a title
NOTE = "● the goal, which the policy does not see; lines: some trajectories from the origin"


def draw_paths(task: PlanePaths) -> Markup:
    """Draw the panels of a task side by side, on the scale of all of them."""
    panels = len(task.positions)
    side = (WIDTH - GAP * (panels - 1)) / panels
    reach = 1.1 * max(float(np.nanmax(np.abs(task.positions))), float(np.abs(task.goal).max()), 1e-6)
    reach = min(reach, 3 * max(float(np.abs(task.goal).max()), 1e-6))  # the rest is cut off
    inside: list[Markup] = []
    for step in range(panels):
        inside += _panel(task, step, step * (side + GAP), side, reach)
    return svg(inside, side + HEAD + 2, "trajectories before adaptation and after each step")


def _panel(task: PlanePaths, step: int, left: float, side: float, reach: float) -> Iterator[Markup]:
    title = "before" if step == 0 else f"after {step} step{'s' if step > 1 else ''}"
    yield Markup('<text class="unit" x="{:.1f}" y="11">{}</text>').format(left, title)
    yield Markup('<rect class="pane" x="{:.1f}" y="{}" width="{:.1f}" height="{:.1f}"/>').format(left, HEAD, side, side)

    def place(x: float, y: float) -> tuple[float, float]:
        at = (np.clip([x, -y], -reach, reach) + reach) / (2 * reach) * side
        return left + float(at[0]), HEAD + float(at[1])

    for trajectory in task.positions[step]:
        points = [place(x, y) for x, y in trajectory.tolist() if np.isfinite(x + y)]
        if points:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            yield Markup('<path class="trajectory" d="{}"/>').format(path)
    yield Markup('<circle class="seen" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(*place(*task.goal.tolist()))

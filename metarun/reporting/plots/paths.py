"""Trajectories in the plane: a row for each task, a panel for the policy before adaptation and after each step."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarun.reporting.plots.style import GREY, LINE, SMALL, note_lines, write_notes
from metarun.results.plane_paths import PlanePaths

PANEL = 1.7  # inches; four are two columns of a paper
GAP, MARGIN = 0.08, 0.05
ACTED, GOAL = "#0072B2", "#D55E00"  # of Okabe and Ito's colours
NOTE = "● the goal, which the policy does not see; lines: some trajectories from the origin."


def draw_paths(tasks: Sequence[PlanePaths], notes: Sequence[str], width: float | None) -> Figure:
    """Draw the tasks of one run below each other, all on one scale.

    Args:
        tasks: with as many panels each.
        notes: lines at the foot, wrapped if they are too long.
        width: of the figure in inches; None: by the number of panels.
    """
    panels = len(tasks[0].positions)
    width = width or PANEL * panels
    lines = note_lines(notes, width)
    foot, head = LINE * len(lines) + 0.1, LINE + MARGIN
    side = (width - 2 * MARGIN - GAP * (panels - 1)) / panels
    height = head + len(tasks) * side + GAP * (len(tasks) - 1) + foot
    goals = 1.2 * max(float(np.abs(task.goal).max()) for task in tasks)
    farthest = 1.05 * max(float(np.nanmax(np.abs(task.positions))) for task in tasks)
    reach = max(goals, min(farthest, 3 * goals), 1e-6)  # the rest is cut off
    figure = Figure((width, height))
    for row, task in enumerate(tasks):
        for step in range(panels):
            left, top = MARGIN + step * (side + GAP), head + row * (side + GAP)
            box = (left / width, 1 - (top + side) / height, side / width, side / height)
            axes = figure.add_axes(box)
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
            axes.spines[:].set_color(GREY)
            if row == 0:
                title = "before" if step == 0 else f"after {step} step{'s' if step > 1 else ''}"
                axes.set_title(title, size=SMALL, color=GREY, loc="left", pad=3)
            _draw(axes, task, step)
    write_notes(figure, lines)
    return figure


def _draw(axes: Axes, task: PlanePaths, step: int) -> None:
    for trajectory in task.positions[step]:
        axes.plot(trajectory[:, 0], trajectory[:, 1], color=ACTED, linewidth=0.8, alpha=0.7)
    axes.plot(*task.goal.reshape(2, 1), "o", color=GOAL, markersize=4)

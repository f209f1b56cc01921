"""A robot in a few tasks: a column for each task, a row for the policy before adaptation and after each step."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from metarun.reporting.plots.paths import ACTED
from metarun.reporting.plots.style import GREY, LINE, SMALL, wrapped, write_notes
from metarun.results.robot_poses import RobotPoses

WIDTH = 6.8  # inches; two columns of a paper
GAP, MARGIN, LABEL = 0.08, 0.05, 0.72
PALEST = 0.2  # opacity of the first frame


def draw_poses(tasks: Sequence[RobotPoses], notes: Sequence[str], width: float | None) -> Figure:
    """Draw the tasks of one run beside each other, all on one scale.

    Args:
        tasks: with as many panels and frames each.
        notes: lines at the foot, wrapped if they are too long.
        width: of the figure in inches.
    """
    width = width or WIDTH
    panels = len(tasks[0].lines)
    lines = [line for note in notes for line in wrapped(note, width - 0.1).splitlines()]
    ends = np.array([task.bounds for task in tasks])
    left, right, low, high = ends[:, 0].min(), ends[:, 1].max(), ends[:, 2].min(), ends[:, 3].max()
    wide = (width - MARGIN - LABEL - GAP * (len(tasks) - 1)) / len(tasks)
    tall = wide * (high - low) / (right - left)
    foot, head = LINE * len(lines) + 0.1, LINE + MARGIN
    height = head + panels * tall + GAP * (panels - 1) + foot
    figure = Figure((width, height))
    for column, task in enumerate(tasks):
        for step in range(panels):
            x, top = LABEL + column * (wide + GAP), head + step * (tall + GAP)
            axes = figure.add_axes((x / width, 1 - (top + tall) / height, wide / width, tall / height))
            axes.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
            axes.spines[:].set_color(GREY)
            if step == 0:
                axes.set_title(f"{column + 1}. {task.goal}", size=SMALL, color=GREY, loc="left", pad=3)
            if column == 0:
                name = "before" if step == 0 else f"after {step} step{'s' if step > 1 else ''}"
                axes.set_ylabel(name, size=SMALL, color=GREY, rotation=0, ha="right", va="center")
            _draw(axes, task, step)
    write_notes(figure, lines)
    return figure


def _draw(axes: Axes, task: RobotPoses, step: int) -> None:
    left, right, low, high = *axes.get_xlim(), *axes.get_ylim()
    floor = low if task.from_above else 0.0
    for metre in range(int(np.ceil(left)), int(right) + 1):
        end = high if metre == 0 else floor + 0.06 * (high - low)
        axes.plot([metre, metre], [floor, end], color=GREY, linewidth=0.4)
    if not task.from_above:
        axes.axhline(0, color=GREY, linewidth=0.6)
    for opacity, body in zip(np.linspace(PALEST, 1, len(task.seconds)), task.lines[step], strict=True):
        if np.isfinite(body).all():
            axes.add_collection(
                LineCollection(list(body), colors=ACTED, linewidths=0.9, alpha=opacity, capstyle="round")
            )

"""Training curves: the result on meta-val against meta-training steps, a panel per experiment."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from metarun.reporting.plots.curve import COLOURS
from metarun.reporting.plots.style import GREY, LINE, SMALL, wrapped
from metarun.reporting.reference.tables import TrainingCurve
from metarun.results.metrics import MSE

ACROSS = 3  # panels in a row
PANEL = (2.3, 1.75)  # inches


def draw_training(panels: Sequence[tuple[str, Sequence[TrainingCurve], float | None]]) -> Figure:
    """Draw one panel per experiment with a line per seed.

    Args:
        panels: its name, the curves of its runs, and the published result on meta-test classes, a dotted line.
    """
    rows = -(-len(panels) // ACROSS)
    figure = Figure((ACROSS * PANEL[0], rows * PANEL[1]), layout="constrained")
    for axes in figure.subplots(rows, ACROSS, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (name, curves, published) in zip(figure.axes, panels, strict=False):
        axes.set_axis_on()
        metric = curves[0].metric
        for i, curve in enumerate(curves):
            values = [metric.scale * value for value in curve.values]
            axes.plot(curve.steps, values, ".-", color=COLOURS[i % len(COLOURS)], linewidth=0.9, markersize=2.5)
        if published is not None:
            axes.axhline(metric.scale * published, color=GREY, linestyle=":", linewidth=0.9)
        if metric is MSE:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(wrapped(name, PANEL[0] - LINE), fontsize=SMALL)
        axes.set_ylabel(metric.title, fontsize=SMALL)
        axes.set_xlabel("steps", fontsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="y", linewidth=0.4, alpha=0.4)
    return figure

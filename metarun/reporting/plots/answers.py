"""The support set of a learner, and the surest and least sure of its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metarun.reporting.plots.style import GREY, LINE, SMALL, text_width
from metarun.reporting.plots.tasks import RIGHT, WRONG

WIDTH, SIDE, NAME, MARGIN = 6.8, 0.62, 1.1, 0.1  # inches: of the figure, of a picture, of the names at the left
ACROSS = int((WIDTH - NAME - MARGIN) / SIDE)
_TEXT = LINE + 0.03  # inches, of a line of text with its gap


@dataclass(frozen=True)
class Tile:
    """One example to draw.

    Args:
        value: (channels, height, width) uint8, or (1, bands, frames) floats of a sound; None: draw the text.
        text: of a text or a row.
        caption: below it, or behind the text.
        right: whether the answer is right; None: that is not known.
    """

    value: NDArray[Any] | None
    text: str = ""
    caption: str = ""
    right: bool | None = None


def draw_answers(rows: Sequence[tuple[str, Sequence[Tile]]]) -> Figure:
    """Draw rows of examples.

    Args:
        rows: the name of each, at the left, and at most `ACROSS` examples.
    """
    heights = [_height(tiles) for _, tiles in rows]
    height = sum(heights) + 2 * MARGIN
    figure = Figure((WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))  # inches, y points down
    axes.axis("off")
    y = MARGIN
    for (name, tiles), taken in zip(rows, heights, strict=True):
        axes.text(MARGIN, y + 0.1, _cut(name, NAME - MARGIN), size=SMALL, color=GREY, va="center")
        for i, tile in enumerate(tiles):
            if tile.value is None:
                _draw_text(axes, tile, NAME, y + 0.1 + i * _TEXT)
            else:
                _draw_array(axes, tile, NAME + i * SIDE, y)
        y += taken
    return figure


def _height(tiles: Sequence[Tile]) -> float:
    if any(tile.value is None for tile in tiles):
        return len(tiles) * _TEXT + 0.1
    return SIDE + (LINE if any(tile.caption for tile in tiles) else 0.02)


def _draw_array(axes: Axes, tile: Tile, x: float, y: float) -> None:
    assert tile.value is not None
    value, edge = tile.value, 0.03
    extent = (x + edge, x + SIDE - edge, y + SIDE - edge, y + edge)
    if value.dtype == np.uint8:
        drawn = value[0] if len(value) == 1 else value.transpose(1, 2, 0)
        axes.imshow(drawn, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto", interpolation="nearest")
    else:  # low frequencies at the bottom
        axes.imshow(value[0, ::-1], cmap="gray", extent=extent, aspect="auto", interpolation="nearest")
    caption = _cut(tile.caption, SIDE)
    axes.text(x + SIDE / 2, y + SIDE, caption, size=SMALL - 1.5, color=_colour(tile), ha="center", va="top")


def _draw_text(axes: Axes, tile: Tile, x: float, y: float) -> None:
    caption = _cut(tile.caption, 2.2)
    text = _cut(tile.text, WIDTH - x - MARGIN - (2.3 if caption else 0))
    axes.text(x, y, text, size=SMALL, va="center")
    axes.text(WIDTH - MARGIN, y, caption, size=SMALL, color=_colour(tile), ha="right", va="center")


def _colour(tile: Tile) -> str:
    return GREY if tile.right is None else RIGHT if tile.right else WRONG


def _cut(text: str, inches: float) -> str:
    """Return as much of a text as is at most so wide."""
    if not text or text_width(text) <= inches:
        return text
    while text and text_width(f"{text}…") > inches:
        text = text[:-1]
    return f"{text}…"

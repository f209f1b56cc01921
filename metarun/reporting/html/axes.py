"""The axes of a chart, and helpers for scaling and placing.

All text goes through `Markup.format`, which escapes it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 360  # units of a chart, about the pixels of a phone
LEFT, RIGHT, TOP, BOTTOM = 34, 104, 24, 38

TINY = 1e-100  # smaller values are drawn as 0

Range = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The axes of a chart, which map numbers to positions."""

    x: Range
    y: Range
    x_label: str
    y_label: str
    height: float = 240
    right: float = RIGHT

    @property
    def bottom(self) -> float:
        """The y position of the x-axis."""
        return self.height - BOTTOM

    @property
    def end(self) -> float:
        """The x position of the right end of the x-axis."""
        return WIDTH - self.right

    def px(self, x: float) -> float:
        """The position of x."""
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.end - LEFT)

    def py(self, y: float) -> float:
        """The position of y."""
        return self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - TOP)

    def draw(self) -> Iterator[Markup]:
        """Grid lines, ticks and axis labels."""
        for y in ticks(*self.y):
            yield Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, self.py(y), self.end)
            yield Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                LEFT - 6, self.py(y) + 3.5, short(y)
            )
        yield from self.draw_x()
        yield self.draw_y_label()

    def draw_x(self) -> Iterator[Markup]:
        """The x-axis with its ticks and label."""
        yield Markup('<path class="axis" d="M{} {}H{}"/>').format(LEFT, self.bottom, self.end)
        for x in ticks(*self.x):
            yield Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                self.px(x), self.bottom + 15, short(x)
            )
        yield Markup('<text class="unit" x="{}" y="{}" text-anchor="end">{}</text>').format(
            self.end, self.height - 6, self.x_label
        )

    def draw_y_label(self) -> Markup:
        """The label of the y-axis."""
        return Markup('<text class="unit" x="0" y="11">{}</text>').format(self.y_label)


def svg(inside: Iterable[Markup], height: float, name: str, moves: Mapping[str, str] | None = None) -> Markup:
    """Assemble the parts of a chart.

    Args:
        inside: the parts.
        height: of the chart.
        name: its label for screen readers.
        moves: data attributes that tell the page's script how to move labels and lines when others are hidden.
    """
    data = Markup("").join(Markup(' data-{}="{}"').format(key, value) for key, value in (moves or {}).items())
    return Markup('<svg viewBox="0 0 {} {:g}" role="img" aria-label="{}"{}>{}</svg>').format(
        WIDTH, height, name, data, Markup("").join(inside)
    )


def evenly(count: int, most: int) -> list[int]:
    """Choose at most `most` of `count` indices, evenly spaced, including the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def widened(low: float, high: float, margin: float = 0.06) -> Range:
    """Return the range with a margin; an empty or almost empty range is widened to a real one."""
    if high - low <= 1e-9 * max(abs(low), abs(high), TINY):
        half = max(0.5, 1e-3 * abs(low))
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def within(values: Range, limits: Range) -> Range:
    """Return the intersection of a range with limits."""
    return max(values[0], limits[0]), min(values[1], limits[1])


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return about `about` round numbers from `low` to `high`."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def short(number: float) -> str:
    """Format a tick's number: 10k rather than 10,000, which is too wide."""
    if abs(number) >= 10_000:
        return f"{number / 1000:g}k"
    return f"{round(number, 10):g}"

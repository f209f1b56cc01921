"""The axes of a chart, and the arithmetic of where things go on it.

All text goes through `Markup.format`, which escapes it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 360  # units of a chart, about as many pixels on a phone
LEFT, RIGHT, TOP, BOTTOM = 34, 104, 24, 38

TINY = 1e-100  # what is smaller is drawn as 0

Range = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The axes of a chart: from numbers to places."""

    x: Range
    y: Range
    x_label: str
    y_label: str
    height: float = 240
    right: float = RIGHT

    @property
    def bottom(self) -> float:
        """Where the x-axis lies."""
        return self.height - BOTTOM

    @property
    def end(self) -> float:
        """Where the x-axis ends."""
        return WIDTH - self.right

    def px(self, x: float) -> float:
        """The place of x."""
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.end - LEFT)

    def py(self, y: float) -> float:
        """The place of y."""
        return self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - TOP)

    def draw(self, y_axis: bool = True) -> Iterator[Markup]:
        """Grid lines, numbers at them, and what the numbers are."""
        for y in ticks(*self.y) if y_axis else ():
            yield Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, self.py(y), self.end)
            yield Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                LEFT - 6, self.py(y) + 3.5, short(y)
            )
        yield Markup('<path class="axis" d="M{} {}H{}"/>').format(LEFT, self.bottom, self.end)
        for x in ticks(*self.x):
            yield Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                self.px(x), self.bottom + 15, short(x)
            )
        yield Markup('<text class="unit" x="0" y="11">{}</text>').format(self.y_label)
        yield Markup('<text class="unit" x="{}" y="{}" text-anchor="end">{}</text>').format(
            self.end, self.height - 6, self.x_label
        )


def svg(inside: Iterable[Markup], height: float, name: str) -> Markup:
    """Put a chart's parts together under a name for those who cannot see it."""
    return Markup('<svg viewBox="0 0 {} {:g}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, name, Markup("").join(inside)
    )


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Move sorted places so that neighbours are `apart`, from `low` to `high` as long as there is room."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + apart if places else low))
    limit = high
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - apart
    return places


def evenly(count: int, most: int) -> list[int]:
    """Choose at most so many of `count` indices, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def widened(low: float, high: float, margin: float = 0.06) -> Range:
    """Return the range with a margin; one of no width, or of hardly any beside its ends, becomes one."""
    if high - low <= 1e-9 * max(abs(low), abs(high), TINY):
        half = max(0.5, 1e-3 * abs(low))
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def within(values: Range, limits: Range) -> Range:
    """Return the part of a range that is inside the limits."""
    return max(values[0], limits[0]), min(values[1], limits[1])


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers, `about` so many, from `low` to `high`."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def short(number: float) -> str:
    """Write a tick's number: 10k, not 10,000, for which there is no room."""
    if abs(number) >= 10_000:
        return f"{number / 1000:g}k"
    return f"{round(number, 10):g}"
